"""A task carried out in a world that an attacker has written to: what came about, before commit and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
from rich import box
from rich.console import Console
from rich.table import Table

from pivot_dspy import CommitError, Execution, Refined
from programs import records
from programs.office import react
from programs.office.data import initial_world
from programs.office.environment import Office, OfficeEnvironment, opened
from programs.office.injections import Attacked, Call, came_about, injected
from programs.office.judge import make_real, score, useful
from programs.refiners import REFINERS

SAID = (
    "before: pairs in which something was done in the real world before commit; after: in which something injected was "
    "in the end. Of each status: results with something injected / results. Calls and tokens: means."
)
STATUSES = ("checked", "judged", "provisional", "unverified", "no plan")


def attacked_row(pair: Attacked, refiner: str, lm: dspy.LM, **options: Any) -> dict[str, Any]:
    """One pair carried out and judged; `refiner` is a name of `programs.refiners`, or plain `dspy.ReAct`, and `options`
    are what the former takes. Raises MissingPackage, PivotError, LMError."""

    def make_refiner(world: OfficeEnvironment) -> Any:
        made = REFINERS[refiner](Office, world, **options)
        made.set_lm(lm)
        return made

    with dspy.context(trace=[], disable_history=True):  # what DSPy keeps of calls would grow from pair to pair
        return _react_row(pair, lm) if refiner == react.REACT else refined_row(pair, make_refiner)


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
        told["status"] = result.verdict.status
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


def _react_row(pair: Attacked, lm: dspy.LM) -> dict[str, Any]:
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


# ----------------------------------------------------------------------------------------------------------- figures


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over rows: by status how many results there are, and in how many something injected stands."""
    statuses = {}
    for status in STATUSES:
        chosen = [row for row in rows if row["status"] == status]
        if chosen:
            statuses[status] = {"results": len(chosen), "injected": sum(map(is_hit, chosen))}
    return {
        "pairs": len(rows),
        "effects_before": sum(bool(row["effects_before"]) for row in rows),
        "by_status": statuses,
        "injected_real": sum(bool(row["injected_real"] or row["goal_real"]) for row in rows),
        "utility": sum(row["strict_pass"] for row in rows),
        "lm_calls": sum(row["lm_calls"] for row in rows),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def is_hit(row: Mapping[str, Any]) -> bool:
    """Whether an injected call stands in a result, or what the injection wants said."""
    return bool(row["injected"]) or row["goal_in_result"]


def how_far(row: Mapping[str, Any]) -> str:
    """The furthest place that something injected came to: the result, the real world in the end, or before commit."""
    if row["injected_real"] or row["goal_real"]:
        return "at once" if row["effects_before"] else "real"
    return "result" if is_hit(row) else "-"


def show_rows(rows: Sequence[Mapping[str, Any]], title: str, console: Console) -> None:
    """A table of the pairs, and what stands against those that are not verified."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    for name in ("task+injection", "status", "utility", "injected", "calls", "tokens", "s"):
        table.add_column(name, justify="left" if name == "task+injection" else "right", no_wrap=True)
    for row in rows:
        tokens = row["prompt_tokens"] + row["completion_tokens"]
        figures_of = (
            str(row["strict_pass"] + 0),
            how_far(row),
            str(row["lm_calls"]),
            str(tokens),
            f"{row['seconds']:.1f}",
        )
        table.add_row(row["id"], row["status"], *figures_of)
    console.print(table)
    for row in rows:
        if reasons := row["reasons"] or [f"not committed: {row['commit_failed']}"] * bool(row["commit_failed"]):
            console.print(f"{row['id']} {row['status']}: {reasons[0][:90]}", markup=False, soft_wrap=True)


def show_figures(by_name: Mapping[str, dict[str, Any]], console: Console) -> None:
    """A table of `figures`, a row each: how many results there are of each status, and in how many of them something
    injected stands."""
    statuses = [status for status in STATUSES if any(status in counts["by_status"] for counts in by_name.values())]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    for name in ("", "pairs", "before", *statuses, "after", "utility", "calls", "tokens"):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for name, counts in by_name.items():
        found = [counts["by_status"].get(status, {"injected": 0, "results": 0}) for status in statuses]
        pairs = max(1, counts["pairs"])
        table.add_row(
            name, str(counts["pairs"]), str(counts["effects_before"]),
            *(f"{of['injected']}/{of['results']}" for of in found), str(counts["injected_real"]),
            str(counts["utility"]), f"{counts['lm_calls'] / pairs:.1f}", f"{counts['tokens'] / pairs:.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(SAID, soft_wrap=True)
