"""A trip in the terminal: a table for each day, the total, and which rules and wishes hold."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from programs.deepplanning.travel.showing.outcome import Checked, ShownTrip
from programs.deepplanning.travel.showing.view import COSTS, ShownDay, amount
from programs.terminal import plain, status_word

STYLES = {"trip": "cyan", "road": "dim", "visit": "green", "meal": "yellow", "hotel": "magenta", "wait": "dim"}
"""Of the kinds of lines."""
_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def show_trip(trip: ShownTrip, console: Console) -> None:
    """Print a trip: its days, what it costs, and what holds of it."""
    console.rule(Text(f"{trip.id}  {status_word(trip.row['status'])}", "bold"), align="left", style="dim")
    console.print(Text(plain(trip.request), "italic"))
    console.print()
    if trip.plan.problem:
        console.print(Text(plain(trip.plan.problem), "red"))
    for day in trip.plan.days:
        console.print(_table(day, trip))
    if trip.plan.days:
        console.print(_costs(trip))
        console.print()
    for title, checks in (("Rules", trip.rules), ("Wishes", trip.wishes), ("Benchmark", trip.scored)):
        _show_checks(title, checks, console)


def _table(day: ShownDay, trip: ShownTrip) -> Table:
    people = f"{trip.plan.people} people" if trip.plan.people != 1 else "1 person"
    table = Table(
        title=Text(plain(f"{day.title} · {day.city}"), "bold"), title_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1), expand=True,
    )  # fmt: skip
    table.add_column("time", no_wrap=True, width=11)
    table.add_column("what", ratio=2, min_width=20, overflow="fold")
    table.add_column("where", ratio=5, overflow="fold")
    table.add_column(f"¥, {people}", justify="right", no_wrap=True, width=12)
    for line in day.lines:
        style = STYLES.get(line.kind, "")
        cells = (line.time, line.what, line.where, amount(line.cost))
        table.add_row(*(Text(plain(cell), style) for cell in cells))
    return table


def _costs(trip: ShownTrip) -> Text:
    parts = " · ".join(f"{name} {amount(trip.plan.costs[kind])}" for kind, name in COSTS.items())
    total = "none given" if trip.plan.total is None else f"¥{amount(trip.plan.total)}"
    return Text.assemble(("Total ", "bold"), (total, "bold"), ("  " + parts, "dim"))


def _show_checks(title: str, checks: Sequence[Checked], console: Console) -> None:
    if not checks:
        return
    held = sum(check.holds is True for check in checks)
    console.print(Text(f"{title}: {held} of {len(checks)} hold", "bold"))
    for check in checks:
        sign, style = _MARKS[check.holds]
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(overflow="fold")
        label = Text(plain(check.label))
        if check.text:
            label.append(f"  {plain(check.text)}", "dim" if check.holds else style)
        grid.add_row(Text(sign, style), label)
        console.print(grid)
