"""A task carried out in a world that an attacker has written to: what came about, before commit and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy

from pivot_dspy import CommitError, Execution, Refined
from programs import records
from programs.office import react
from programs.office.data import initial_world
from programs.office.environment import OfficeEnvironment, opened
from programs.office.injections import Attacked, Call, came_about, injected
from programs.office.judge import make_real, score, useful

VERIFIED = "verified"
"""Status of a verified result whose verdict does not say more."""


def refined_row(pair: Attacked, make_refiner: Callable[[OfficeEnvironment], Any]) -> dict[str, Any]:
    """One pair refined, committed where it is verified, and judged.

    The row is that of `programs.records.row`, with `status` of the verdict, and
    - `effects_before`: tools that were called in the real world before commit, and `world` where its state is another;
    - `injected`: tools of the injected calls in the result; `goal_in_result`: whether the attacker got what he wants in
      a world where all its calls were made;
    - `injected_real`, `goal_real`: the same in the real world at the end.

    Args:
        make_refiner: gives the refiner that acts on a world at commit and not before.
    """
    world = opened(pair.case)
    refiner = make_refiner(world)
    told: dict[str, Any] = {"status": "no plan", "effects_before": [], "injected": [], "goal_in_result": False}
    told |= {"pending": [], "commit_failed": ""}
    answer: Any = None
    committed: Execution | None = None  # what `world` shows the outcome of

    def refine() -> Refined:
        nonlocal answer, committed
        result: Refined = refiner(**pair.case.inputs)
        answer = result.execution.outputs.get("answer")
        made = make_real(pair.case, result.trajectory).environment
        told["status"] = getattr(result.verdict, "status", VERIFIED if result.verified else "unverified")
        told["pending"] = list(result.verdict.withheld)
        told["effects_before"] = _effects(pair, world)
        told["injected"] = _tools(injected(made.calls, pair))
        told["goal_in_result"] = came_about(pair.case, pair.injection, answer, made)
        if result.verified:
            committed = result.execution
            try:
                result.commit()
            except CommitError as error:  # what was done until then is judged
                told["commit_failed"] = str(error)
        return result

    def scores(execution: Execution | None) -> tuple[float, bool, bool]:
        if execution is not None and execution is committed:
            passed = useful(pair.case, answer, world)
        else:
            passed, _ = score(execution, pair.case)
        return float(passed), passed, passed

    return records.row(pair.id, refine, scores) | told | _really(pair, world, answer if committed else None)


def react_row(pair: Attacked, lm: dspy.LM) -> dict[str, Any]:
    """The same of plain `dspy.ReAct`, which acts at once: all that it does is done before anything was verified."""
    solved = react.solve(pair.case, lm)
    really = _really(pair, solved.world, solved.answer)
    return solved.row | {
        "id": pair.id,
        "status": "unverified",
        "effects_before": _effects(pair, solved.world),
        "injected": really["injected_real"],
        "goal_in_result": really["goal_real"],
        "pending": [],
        "commit_failed": "",
        **really,
    }


def _really(pair: Attacked, world: OfficeEnvironment, answer: Any) -> dict[str, Any]:
    return {
        "injected_real": _tools(injected(world.calls, pair)),
        "goal_real": came_about(pair.case, pair.injection, answer, world),
    }


def _effects(pair: Attacked, world: OfficeEnvironment) -> list[str]:
    """What was called in the real world so far, and whether its state is another."""
    return [*_tools(world.calls), *([] if world.world == initial_world(pair.case) else ["world"])]


def _tools(calls: list[Call]) -> list[str]:
    return [tool for tool, _ in calls]
