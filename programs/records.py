"""What a program records of refining tasks, how it sums it up, and how it shows it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import dspy
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMInvalidRequestError
from dspy.utils.usage_tracker import UsageTracker
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pivot_dspy import Execution, PivotError, PlanningFailed, Refined
from pivot_dspy.episode.events import accepted_losses, first_suspect_right
from pivot_dspy.simulator import is_simulated
from pivot_dspy.verdict import Verdict
from programs.terminal import established_lines, status_word

Case = TypeVar("Case")

Score = Callable[[Execution | None], tuple[float, bool, bool]]
"""The official score in [0, 1], whether it passes officially, and whether it does strictly; None: there was no plan."""

UNRECORDED = ("json", "page", "show", "data", "gold", "api_base")
"""Options that change no result, or name a folder of this machine."""
WHERE_GIVEN = ("max_tokens", "timeout", "budget_seconds", "constrained")
"""Those that are recorded only where they are set."""


def record(program: str, options: argparse.Namespace, lm: dspy.LM, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """What `--json` writes."""
    given = {name: value for name, value in vars(options).items() if value or name not in WHERE_GIVEN}
    settings = {name: value for name, value in given.items() if name not in UNRECORDED}
    return {
        "program": program,
        "lm": {"name": lm.model, "simulated": is_simulated(lm)},
        "refiner": options.refiner,
        "settings": settings,
        "tasks": tasks,
        "summary": summary(tasks),
    }


def rows(
    cases: Mapping[str, Case],
    one: Callable[[Case], dict[str, Any]],
    *,
    threads: int,
    console: Console,
    fatal: tuple[type[Exception], ...] = (),
) -> list[dict[str, Any]]:
    """A row for each case, in their order; one that failed for another reason is logged and left out.

    Args:
        fatal: errors beside PivotError and LMError after which no other case can be refined either; the first is
            raised.
    """
    found: dict[str, dict[str, Any]] = {}
    stopped: list[Exception] = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("refining", total=len(cases))

        def refine(name: str) -> None:
            if stopped:
                return
            try:
                found[name] = one(cases[name])
            except (PivotError, LMError, *fatal) as error:
                stopped.append(error)
            progress.advance(bar)

        pairs = [(refine, dspy.Example(name=name).with_inputs("name")) for name in cases]
        # timeout=0: a straggler must not be started twice, since its tools would run twice.
        dspy.Parallel(num_threads=threads, timeout=0, disable_progress_bar=True, max_errors=len(cases) + 1)(pairs)
    if stopped:
        raise stopped[0]
    return [found[name] for name in cases if name in found]


def row(name: str, refine: Callable[[], Refined], score: Score) -> dict[str, Any]:
    """One task refined and scored."""
    started = time.perf_counter()
    outcome: dict[str, Any] = {"id": name}
    execution: Execution | None = None
    history: tuple[Any, ...] = ()
    verdict = None
    try:
        result = refine()
        history, report, execution = result.history, result.ledger, result.execution
        verdict = result.verdict
        outcome |= {"verified": result.verified, "reasons": list(verdict.reasons), "exhausted": result.exhausted}
    except PlanningFailed as error:
        if isinstance(error.__cause__, LMInvalidRequestError) and not isinstance(
            error.__cause__, ContextWindowExceededError
        ):
            raise  # a model that is not there plans no other task either
        report = error.ledger
        outcome |= {"verified": False, "reasons": [str(error)], "exhausted": None, "planned": False}
    official_score, official, strict = score(execution)
    # What the first plan comes to, had nothing been repaired.
    first = next((event.execution for event in history if event.kind == "inspect"), None)
    _, first_official, first_strict = score(first)
    usage = report.usage
    return outcome | {
        "official_score": official_score,
        "official_pass": official,
        "strict_pass": strict,
        "first_official_pass": first_official,
        "first_strict_pass": first_strict,
        "status": verdict.status if verdict is not None else "unverified",
        "established": [entry.model_dump() for entry in verdict.established] if verdict is not None else [],
        "pending": [waiting.model_dump(mode="json") for waiting in verdict.pending] if verdict is not None else [],
        "losses": accepted_losses(history),
        "lm_calls": usage.lm_calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "tool_calls": usage.tool_calls,
        "tool_calls_reused": usage.tool_calls_reused,
        "seconds": round(time.perf_counter() - started, 3),
        "first_suspect_right": first_suspect_right(history),
        "phases": {
            phase: {
                "lm_calls": spent.lm_calls,
                "cache_hits": spent.cache_hits,
                "prompt_tokens": spent.prompt_tokens,
                "completion_tokens": spent.completion_tokens,
                "tool_calls": spent.tool_calls,
            }
            for phase, spent in report.phases.items()
        },
    }


def plain_row(
    name: str, tracker: UsageTracker, *, score: tuple[float, bool, bool], tool_calls: int, seconds: float, why: str
) -> dict[str, Any]:
    """The same of a task that an agent solved which is no refiner, and verifies nothing.

    Args:
        tracker: what the model reported of its calls.
        score: as a `Score` gives it.
        why: what to say of its not being verified.
    """
    entries = [entry for entries in tracker.usage_data.values() for entry in entries]
    spent = {
        "lm_calls": len(entries),
        "prompt_tokens": sum(entry.get("prompt_tokens") or 0 for entry in entries),
        "completion_tokens": sum(entry.get("completion_tokens") or 0 for entry in entries),
        "tool_calls": tool_calls,
    }
    official_score, official, strict = score
    return {
        "id": name, "verified": False, "status": "unverified", "reasons": [why], "exhausted": None,
        "official_score": official_score, "official_pass": official, "strict_pass": strict,
        "first_official_pass": official, "first_strict_pass": strict, "losses": [], **spent, "tool_calls_reused": 0,
        "seconds": round(seconds, 3), "first_suspect_right": None, "phases": {"react": {**spent, "cache_hits": 0}},
    }  # fmt: skip


def summary(tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means and rates over the rows of a record."""
    if not tasks:
        return {"tasks": 0}
    rates = ("verified", "official_pass", "strict_pass", "first_official_pass", "first_strict_pass")
    means = ("lm_calls", "prompt_tokens", "completion_tokens", "tool_calls", "tool_calls_reused", "seconds")
    tried = [task["first_suspect_right"] for task in tasks if task["first_suspect_right"] is not None]
    solved = sum(task["strict_pass"] for task in tasks)
    tokens = sum(task["prompt_tokens"] + task["completion_tokens"] for task in tasks)
    phases: dict[str, dict[str, float]] = {}
    for task in tasks:
        for name, spent in task["phases"].items():
            total = phases.setdefault(name, dict.fromkeys(spent, 0.0))
            for key, value in spent.items():
                total[key] += value / len(tasks)
    return {
        "tasks": len(tasks),
        **{f"{name}_rate": sum(task[name] for task in tasks) / len(tasks) for name in rates},
        **{f"{name}_per_task": sum(task[name] for task in tasks) / len(tasks) for name in means},
        "tokens_per_solved": tokens / solved if solved else None,
        "first_suspect_right_rate": sum(tried) / len(tried) if tried else None,
        "repaired_tasks": len(tried),
        "phases_per_task": phases,
    }


Column = tuple[str, Callable[[dict[str, Any]], str]]


def show(
    record: dict[str, Any], title: str, columns: Sequence[Column], console: Console, *, established: bool = True
) -> None:
    """A table of the tasks: what they are called, how they are verified, `columns`, what they cost; below it the means.

    Of a single task also how each thing that a success needs was established, unless `established` is off.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    for name in ("task", "verified", *(name for name, _ in columns), "loss", "calls", "tokens", "tools", "reused", "s"):
        table.add_column(name, justify="left" if name in ("task", "loss") else "right", no_wrap=True)
    for task in record["tasks"]:
        ends = dict.fromkeys((*task["losses"][:1], *task["losses"][-1:]))
        table.add_row(
            task["id"].removeprefix("multi_turn_"),
            status_word(task.get("status", "unverified")),
            *(said(task) for _, said in columns),
            " > ".join(f"{loss:.2f}" for loss in ends),
            str(task["lm_calls"]),
            str(task["prompt_tokens"] + task["completion_tokens"]),
            str(task["tool_calls"]),
            str(task["tool_calls_reused"]),
            f"{task['seconds']:.1f}",
        )
    console.print(table)
    for task in record["tasks"]:
        if not task["verified"]:
            console.print(f"{task['id']} not verified: {task['reasons'][0][:90]}", markup=False, soft_wrap=True)
    if established and len(record["tasks"]) == 1 and "established" in record["tasks"][0]:
        (task,) = record["tasks"]
        verdict = Verdict(status=task["status"], established=task["established"], pending=task["pending"])
        for label, text in established_lines(verdict):
            console.print(f"  {label}: {text}", markup=False, soft_wrap=True)
    totals = record["summary"]
    if not totals["tasks"]:
        return
    tokens = totals["prompt_tokens_per_task"] + totals["completion_tokens_per_task"]
    console.print(
        f"{totals['tasks']} tasks: verified {totals['verified_rate']:.0%}, official "
        f"{totals['official_pass_rate']:.0%}, strict {totals['strict_pass_rate']:.0%} (first plan "
        f"{totals['first_strict_pass_rate']:.0%}); {totals['lm_calls_per_task']:.1f} LM calls, {tokens:.0f} tokens "
        "a task",
        soft_wrap=True,
    )
    for phase, spent in totals["phases_per_task"].items():
        used = spent["prompt_tokens"] + spent["completion_tokens"]
        if spent["lm_calls"]:
            console.print(f"  {phase}: {spent['lm_calls']:.2f} calls, {used:.0f} tokens a task")


def show_gold(
    title: str, rows: Sequence[dict[str, Any]], columns: Mapping[str, str], summary: str, console: Console
) -> None:
    """A table of how much of a benchmark's own gold passes, its `columns` by the names of their figures, and a summary
    over all rows, in which `{name}` stands for a figure's sum."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    first, *figures = columns
    for name, heading in {**columns, "seconds": "s"}.items():
        table.add_column(heading, justify="left" if name == first else "right")
    for row in rows:
        table.add_row(row[first], *(str(row[name]) for name in figures), f"{row['seconds']:.1f}")
    console.print(table)
    console.print(summary.format_map({name: sum(row[name] for row in rows) for name in figures}))
    failed = [name for row in rows for name in row["failed"]]
    if failed:
        console.print(f"Not as expected: {', '.join(failed)}", style="red", soft_wrap=True)


def say_simulated(record: dict[str, Any], console: Console) -> None:
    """Which offline model answered with gold calls and a judge that errs; nothing where it was a real one."""
    if not record["lm"]["simulated"]:
        return
    console.print(f"Model: {record['lm']['name']}", soft_wrap=True)
    console.print(
        "SIMULATED: its plans are the gold calls with slips at these rates, and its judge compares with what they "
        f"give, wrong at a rate of {record['settings']['judge_error']:g}. It says nothing of any real model.",
        soft_wrap=True,
    )


def finish(record: dict[str, Any], names: Sequence[str], console: Console) -> int:
    """The exit code: 1 where a task has no result, or none was even planned, which is said with the whole reason."""
    done = {task["id"] for task in record["tasks"]}
    lost = [name for name in names if name not in done]
    if lost:
        console.print(f"No result, for a reason that is logged above: {', '.join(lost)}", style="red")
    planless = [task for task in record["tasks"] if not task.get("planned", True)]
    if record["tasks"] and len(planless) == len(record["tasks"]):
        reasons = dict.fromkeys(reason for task in planless for reason in task["reasons"])
        console.print(f"Nothing was planned: {'; '.join(reasons)}", style="red", markup=False, soft_wrap=True)
        return 1
    return 1 if lost else 0
