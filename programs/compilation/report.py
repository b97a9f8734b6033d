"""What a compilation is shown as: before, after, and beside a memory filled at random."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from programs.deepplanning.readable import remark

COLUMNS = {
    "before": "before",
    "after": "compiled",
    "random": "memory at random",
    "random_borne_out": "at random, borne out",
    "loaded": "loaded",
}
_LESSONS = 12


def show(record: dict[str, Any], console: Console) -> None:
    """The record of `programs.compile_shopping`, for a terminal."""
    columns = {name: record[name]["summary"] for name in COLUMNS if name in record}
    parts = {name: len(ids) for name, ids in record["split"].items()}
    title = f"{parts['test']} tasks never trained on; trained on {parts['train']}, validated on {parts['val']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in columns:
        table.add_column(COLUMNS[name], justify="right")
    for key, told, form in (
        ("strict_pass_rate", "strict pass rate", "{:.1%}"),
        ("tokens_per_task", "tokens per task", "{:,.0f}"),
        ("tokens_per_solved", "tokens per solved task", "{:,.0f}"),
        ("first_plan_loss", "loss of the first plan", "{:.3f}"),
        ("verified_rate", "verified", "{:.1%}"),
        ("lm_calls_per_task", "LM calls per task", "{:.2f}"),
        ("brier", "Brier score", "{:.3f}"),
        ("brier_of_certainty", "if verified counts as certain", "{:.3f}"),
    ):
        values = [column[key] for column in columns.values()]
        table.add_row(told, *("-" if value is None else form.format(value) for value in values))
    console.print(table)
    if record["unread"]:
        _say(console, remark(record["unread"]))
    unfitted = [COLUMNS[name] for name, column in columns.items() if column["probabilities"] != "fitted"]
    if unfitted:
        _say(console, f"No probability was fitted for: {', '.join(unfitted)}. There, verified counts as certain.")
    _memory(record["memory"], console)
    if "compiling" in record:
        _compiling(record["compiling"], console)
    if "reloaded" in record:
        again = "the same results" if record["reloaded"]["same"] else "OTHER RESULTS"
        _say(console, f"Saved ({record['reloaded']['bytes']:,} bytes), and loaded in a fresh process: {again}.")
    if record["lm"]["simulated"]:
        _say(console, f"Model: {record['lm']['name']}")
        _say(
            console,
            "SIMULATED LEARNER: it errs at these rates and heeds what its prompt tells at a fixed rate; this says "
            "nothing of any real model.",
        )


def _compiling(details: dict[str, Any], console: Console) -> None:
    """What compiling took, what it brought on the validation tasks, and how far the probabilities may be trusted."""
    before, after = details["before"], details["after"]
    accepted = sum(one["accepted"] for one in details["proposals"])
    _say(
        console,
        f"Compiling: {details['runs']} runs, {details['tokens']:,} tokens; {accepted} of {len(details['proposals'])} "
        f"proposals accepted. On the validation tasks: score {before['score']:.3f} > {after['score']:.3f}, tokens per "
        f"task {before['tokens']:,.0f} > {after['tokens']:,.0f}.",
    )
    for found in details["calibration"].values():
        if found["brier"] is not None:
            told = (
                f"Brier score {found['brier']:.3f}, {found['base']:.3f} for the mean alone, {found['certain']:.3f} if "
                "verified counts as certain"
            )
            left_out = f"Probabilities, cross-validated on {found['count']} outcomes of {found['tasks']} tasks"
            _say(console, f"{left_out}: {told}.")
        _say(console, f"Of these probabilities: {found['note']}.")
        for row in found["table"]:
            _say(
                console,
                f"  {row['low']:.1f} to {row['high']:.1f}: {row['count']} results, said {row['predicted']:.2f}, "
                f"right {row['observed']:.2f}",
            )


def _memory(memory: dict[str, Any], console: Console) -> None:
    lessons = sorted(memory["lessons"], key=lambda lesson: lesson["requirement"] is None)
    _say(
        console,
        f"Memory: {len(lessons)} lessons, {memory['demonstrations']} demonstrations, {memory['notes']} notes on tools.",
    )
    for lesson in lessons[:_LESSONS]:
        required = f" Required: {lesson['requirement']}" if lesson["requirement"] else ""
        _say(console, f"- {lesson['says']}{required}")
    if len(lessons) > _LESSONS:
        _say(console, f"  and {len(lessons) - _LESSONS} more")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
