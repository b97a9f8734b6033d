"""What Pivot says of a trajectory that it is given and may not rewrite, by the judge that stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from pivot_dspy import Budget, Pivot, Refined
from programs.office.data import Case
from programs.office.environment import Office, opened
from programs.trust.judges import FAILURES, JudgeEngine, accept_all, judge_lm, refuse_all
from programs.trust.office import Trial, oracle, right, worked_out
from programs.trust.required import OWN, Way

JUDGES = ("accept-all", "refuse-all", "failing", "oracle")
STATUSES = ("checked", "judged", "provisional", "unverified")
VERIFIED = frozenset({"checked", "judged"})


def rows(
    trials: Iterable[Trial],
    ways: Mapping[str, Way],
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
            found: dict[str, Any] = {}
            for judge in judges:
                kind = FAILURES[number % len(FAILURES)] if judge == "failing" else judge
                if not found or found["asked"]:  # where it asks no judge, every other would find the same
                    found = outcome(trial, required, kind)
                row = {
                    "case": trial.case.id, "kind": trial.kind, "change": trial.change, "useful": trial.useful,
                    "requirements": way, "judge": judge, **{key: found[key] for key in ("status", "reasons")},
                }  # fmt: skip
                yield row | {"wanted": is_wanted(row)}
        done()


def is_wanted(row: Mapping[str, Any]) -> bool:
    """Whether a trial's verdict is one that may be trusted."""
    verified = row["status"] in VERIFIED
    if row["requirements"] == "none":
        return not verified
    if row["kind"] == "truth":
        return verified or row["judge"] != "oracle" or row["requirements"] == OWN  # which may ask for what is unread
    return not verified if row["judge"] != "accept-all" else row["status"] != "checked"


def outcome(trial: Trial, way: Way, kind: str) -> dict[str, Any]:
    """The verdict on a trial: its `status` and `reasons`, and whether a judge was `asked`, or should have been."""
    known = {"accept-all": accept_all, "refuse-all": refuse_all}
    character = oracle(trial) if kind == "oracle" else known.get(kind, kind)
    known_sums = worked_out(trial.case) if kind == "oracle" else None
    engine = JudgeEngine(character, way(trial).drafts, known_sums)
    pivot = _refiner(trial.case, way)
    pivot.set_lm(judge_lm(kind.replace(" ", "-"), engine))
    # Requirements are settled in one call, also where there are none to add: then this budget is spent.
    budget = Budget(lm_calls=1) if kind == "budget" else None
    result: Refined = pivot(**trial.case.inputs, trajectory=trial.trajectory, budget=budget)
    asked = bool(engine.prompts) or kind == "budget"
    return {"status": status(result), "reasons": list(result.verdict.reasons), "asked": asked}


@cache
def _refiner(case: Case, way: Way) -> Pivot:
    """A refiner that only measures and verifies what it is given."""
    return Pivot(
        Office,
        partial(opened, case),
        requirements=way(right(case)).given,
        max_iters=0,
        restarts=0,
        audit="never",
        timeout=None,
    )


def status(result: Refined) -> str:
    """How far a result may be trusted; where a verdict knows no more than yes and no, yes is by a judge's word."""
    known: str = getattr(result.verdict, "status", "judged" if result.verified else "unverified")
    return known
