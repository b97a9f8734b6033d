"""A comparison's record as tables and remarks, and these in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 120
"""Columns that the output takes at most."""

NONE = "-"

LEGEND = (
    "official: by the benchmark's own rule; strict: and nothing else was done. Tokens are prompt and completion, with "
    "reasoning where the model reports it; solved: strictly. calls: LM calls; tools: calls run + reused; s: seconds, "
    "each a run. [..]: 95% bootstrap intervals over tasks."
)

RATES = {
    "slip": "each planned step goes wrong at {}",
    "heed": "a fault that feedback names is repaired at {}",
    "relapse": "a right step that is written again breaks at {}",
    "judge_error": "a judge errs at {}",
}
"""What the rates of the offline model mean, in short; the whole noise model stands at its engine."""

_COLUMNS = ("refiner", "runs", "official", "strict [95%]", "tokens/task", "tokens/solved [95%]", "calls", "tools", "s")

Rows = tuple[tuple[str, ...], ...]
Record = Mapping[str, Any]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Sheet:
    """A table of texts; the first column holds names."""

    title: str
    columns: tuple[str, ...]
    rows: Rows


def sheets(record: Record) -> list[Sheet]:
    """The tables of a record: figures, paired differences, success at equal tokens."""
    refiners = record["refiners"]
    made = [Sheet(title(record), _COLUMNS, tuple((name, *_figures(found)) for name, found in refiners.items()))]
    baseline, *others = refiners
    if others and refiners[baseline]["runs"]:
        rows: Rows = tuple((name, *_paired(refiners[name]["paired"])) for name in others)
        columns = ("refiner", "strict, points [95%]", "tokens/task [95%]", "tokens/solved, ratio [95%]")
        made.append(Sheet(f"Against {baseline}, same tasks and seeds", columns, rows))
    measures = list(dict.fromkeys(measure for found in refiners.values() for measure in found["measures"]))
    if measures:
        rows = tuple((name, *_means(found["measures"], measures)) for name, found in refiners.items())
        made.append(Sheet("Means [95%]; a run without a result counts 0", ("refiner", *measures), rows))
    strict = {name: found["curve"] for name, found in refiners.items()}
    made += _at_equal_tokens("Strict success", strict)
    for measure in measures:
        curves = {name: found["measures"][measure]["curve"] for name, found in refiners.items() if found["runs"]}
        made += _at_equal_tokens(f"Mean {measure}", curves)
    return made


def _at_equal_tokens(what: str, curves: Mapping[str, Sequence[Sequence[float]]]) -> list[Sheet]:
    """The table of a rate at each token count; none where there are no counts."""
    points = [point for point, _ in next(iter(curves.values()), ())]
    if not points:
        return []
    best = [max(curve[place][1] for curve in curves.values()) for place in range(len(points))]
    rows = tuple(
        (name, *(_marked(rate, top) for (_, rate), top in zip(curve, best, strict=True)))
        for name, curve in curves.items()
    )
    heading = f"{what} at equal tokens: every run cut there (*: the best)"
    return [Sheet(heading, ("refiner", *map(amount, points)), rows)]


def title(record: Record) -> str:
    """What was compared, in a line."""
    settings = record["settings"]
    budget = f", at most {settings['budget_tokens']:,} tokens a run" if settings["budget_tokens"] else ""
    tasks, seeds = len(settings["tasks"]), settings["seeds"]
    return (
        f"{record['program']} ({settings['data']}): {tasks} task{'s' * (tasks != 1)} x {seeds} "
        f"seed{'s' * (seeds != 1)}{budget}"
    )


def remarks(record: Record) -> list[str]:
    """What has to be known beside the tables: what is missing, what failed, and what the model is."""
    said = []
    finished, planned = record["pairs"]["finished"], record["pairs"]["planned"]
    if finished < planned:
        said.append(f"Not finished: {finished} of {planned} pairs of task and seed are, and only these are shown.")
    for name, found in record["refiners"].items():
        if errors := found["errors"]:
            first, again = errors[0], sum(error["transient"] for error in errors)
            said.append(
                f"{name} failed in {len(errors)} of {found['runs']} runs, counted as not solved"
                + (f"; {again} of them for want of the provider, and tried again by the same command" if again else "")
                + f"; the first, {first['task']} with seed {first['seed']}: {first['error'][:160]}"
            )
    said += record["settings"]["notes"]
    said.append(f"Model: {record['lm']['name']}")
    if record["lm"]["simulated"]:
        noise = "; ".join(told.format(f"{record['settings'][name]:g}") for name, told in RATES.items())
        said.append(
            f"SIMULATED: no language model was asked. {noise[0].upper()}{noise[1:]}. It compares search strategies "
            "under this noise and says nothing of any real model."
        )
    return said


def show(record: Record, console: Console) -> None:
    """Prints tables and remarks."""
    for sheet in sheets(record):
        table = Table(
            title=Text(sheet.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0), show_edge=False,
        )  # fmt: skip
        for number, name in enumerate(sheet.columns):
            table.add_column(Text(name), justify="right" if number else "left", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        console.print(table)
        console.print()
    for text in (LEGEND, *remarks(record)):
        console.print(text, markup=False, highlight=False)


def console() -> Console:
    """A console on standard output that is as wide as the tables, where it is no narrower terminal."""
    found = Console()
    return Console(width=min(WIDTH, found.width) if found.is_terminal else WIDTH)


def amount(number: float) -> str:
    """A count in few characters.

    >>> amount(950), amount(12_345), amount(99_960), amount(1_250_000)
    ('950', '12.3k', '100k', '1.25M')
    """
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _figures(found: Record) -> tuple[str, ...]:
    if not found["runs"]:
        return ("0", *[NONE] * 7)
    ci = found["ci"]
    return (
        str(found["runs"]),
        _or_none(found["official_pass_rate"], _percent),
        _with(found["strict_pass_rate"], ci["strict_pass_rate"], _percent, _points),
        _or_none(found["tokens_per_task"], amount),
        _with(found["tokens_per_solved"], ci["tokens_per_solved"], amount),
        f"{found['lm_calls']:.1f}",
        f"{found['tool_calls']:.1f}+{found['tool_calls_reused']:.1f}",
        f"{found['seconds']:.2f}" if found["seconds"] < 100 else f"{found['seconds']:.0f}",
    )


def _means(found: Record, measures: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        _with(found[name]["mean"], found[name]["ci"], _percent, _points) if name in found else NONE for name in measures
    )


def _paired(found: Record) -> tuple[str, ...]:
    strict, tokens, solved = (found[name] for name in ("strict_pass_rate", "tokens_per_task", "tokens_per_solved"))
    return (
        _with(strict["difference"], strict["ci"], lambda value: _signed(100 * value, "{:.0f}".format)),
        _with(tokens["difference"], tokens["ci"], lambda value: _signed(value, amount)),
        _with(solved["ratio"], solved["ci"], "{:.2f}".format),
    )


def _with(value: float | None, ci: Sequence[float | None] | None, form: Format, inner: Format | None = None) -> str:
    """A value with its interval behind it; a dash stands for what is not defined, and for an end beyond all bounds."""
    told = _or_none(value, form)
    if ci is None or value is None:
        return told
    low, high = (_or_none(end, inner or form) for end in ci)
    return f"{told} [{low}, {high}]"


def _or_none(value: float | None, form: Format) -> str:
    return NONE if value is None else form(value)


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def _points(value: float) -> str:
    return f"{100 * value:.0f}"


def _signed(value: float, form: Format) -> str:
    told = form(abs(value))
    return told if told == "0" else f"{'-' if value < 0 else '+'}{told}"


def _marked(rate: float, best: float) -> str:
    return f"{_percent(rate)}{'*' if rate == best and best > 0 else ''}"
