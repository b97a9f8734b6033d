"""What Pivot says of a trajectory that it is given and may not rewrite, by the judge that stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from pivot_dspy import Budget, Pivot, Refined
from programs.office.data import Case
from programs.office.environment import Office, opened
from programs.trust.judges import FAILURES, JudgeEngine, accept_all, judge_lm, refuse_all
from programs.trust.office import Required, Trial, oracle

JUDGES = ("accept-all", "refuse-all", "failing", "oracle")
STATUSES = ("checked", "judged", "provisional", "unverified")
VERIFIED = frozenset({"checked", "judged"})


def rows(
    trials: Iterable[Trial],
    ways: dict[str, Callable[[Case], Required]],
    judges: Sequence[str] = JUDGES,
    *,
    done: Callable[[], None] = lambda: None,
) -> Iterator[dict[str, Any]]:
    """A row for every trial, way of giving its requirements, and judge; of failing ones each fails in its own way.

    Args:
        done: called after every trial.
    """
    for number, trial in enumerate(trials):
        for way, required in ways.items():
            settled: dict[str, Any] = {}
            for judge in judges:
                kind = FAILURES[number % len(FAILURES)] if judge == "failing" else judge
                if not settled or settled["asked"]:  # where it asks no judge, every other would find the same
                    settled = outcome(trial, required(trial.case), kind)
                yield {
                    "case": trial.case.id, "kind": trial.kind, "change": trial.change, "useful": trial.useful,
                    "requirements": way, "judge": judge, **{key: settled[key] for key in ("status", "reasons")},
                }  # fmt: skip
        done()


def outcome(trial: Trial, required: Required, kind: str) -> dict[str, Any]:
    """The verdict on a trial: its `status` and `reasons`, and whether a judge was `asked`, or should have been."""
    known = {"accept-all": accept_all, "refuse-all": refuse_all}
    character = oracle(trial) if kind == "oracle" else known.get(kind, kind)
    engine = JudgeEngine(character, required.drafts)
    # Requirements are settled in one call, also where there are none to add: then this budget is spent.
    budget = Budget(lm_calls=1) if kind == "budget" else Budget()
    pivot = Pivot(
        Office, partial(opened, trial.case), requirements=required.given, max_iters=0, restarts=0, audit="never",
        budget=budget, timeout=None,
    )  # fmt: skip
    pivot.set_lm(judge_lm(kind.replace(" ", "-"), engine))
    result: Refined = pivot(**trial.case.inputs, trajectory=trial.trajectory)
    asked = bool(engine.prompts) or kind == "budget"
    return {"status": status(result), "reasons": list(result.verdict.reasons), "asked": asked}


def status(result: Refined) -> str:
    """How far a result may be trusted; where a verdict knows no more than yes and no, yes is by a judge's word."""
    known: str = getattr(result.verdict, "status", "judged" if result.verified else "unverified")
    return known
