"""Tables, terminal and page: nothing is lost, nothing is too wide, everything is escaped."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from programs.comparison.page import page
from programs.comparison.report import WIDTH, remarks, sheets, show
from programs.comparison.statistics import figures, finished_pairs
from tests.programs.comparing import record


def made(refiners: int = 3, tasks: int = 4, *, simulated: bool = True, planned: int = 4, **odd: Any) -> dict[str, Any]:
    """A comparison's record; of task t0, the first refiner's run is `odd`."""
    names = [f"refiner-no-{number}" for number in range(refiners)]
    counts: dict[str, Any] = {"lm_calls": 12, "tool_calls": 1234, "tool_calls_reused": 5678, "seconds": 12.34}
    runs = [
        record(name, f"t{task}", strict=(task + place) % 3 == 0, tokens=1234 * (place + 1) + 97 * task,
               **counts, **(odd if place == task == 0 else {}))
        for place, name in enumerate(names) for task in range(tasks)
    ]  # fmt: skip
    return {
        "program": "shopping",
        "lm": {"name": "offline/slip=0.2" if simulated else "openai/<b>&", "simulated": simulated},
        "settings": {
            "refiners": names, "tasks": [f"t{task}" for task in range(tasks)], "seeds": 1, "data": "generated",
            "budget_tokens": 50_000, "threads": 2, "notes": ["A note."],
            **({"slip": 0.2, "heed": 0.85, "relapse": 0.05, "judge_error": 0.0} if simulated else {}),
        },
        "refiners": figures(finished_pairs(runs, names), names),
        "pairs": {"finished": tasks, "planned": planned},
    }  # fmt: skip


def shown(found: dict[str, Any]) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=WIDTH))
    return out.getvalue()


@pytest.mark.parametrize("refiners", [1, 3, 20])
@pytest.mark.parametrize("tasks", [0, 1, 4])
def test_it_is_shown_whole_and_no_wider_than_promised(refiners: int, tasks: int) -> None:
    found = made(refiners, tasks)
    text = shown(found)
    assert max(map(len, text.splitlines())) <= WIDTH and "…" not in text and "nan" not in text
    for sheet in sheets(found):
        for row in sheet.rows:
            assert len(row) == len(sheet.columns)
            line = next(line for line in text.splitlines() if line.startswith(row[0]))
            assert line.split()[0] == row[0]
    for row in sheets(found)[0].rows:
        assert any(" ".join(line.split()) == " ".join(" ".join(row).split()) for line in text.splitlines())


def test_the_simulator_says_what_it_is() -> None:
    text = " ".join(shown(made()).split())
    assert "SIMULATED: no language model was asked. Each planned step goes wrong at 0.2;" in text
    assert "says nothing of any real model" in text and "Model: offline/slip=0.2" in text
    assert "SIMULATED" not in shown(made(simulated=False))


def test_what_failed_and_what_is_missing_is_said() -> None:
    found = made(planned=9, error="RuntimeError: <gone> [red]", transient=True)
    said = "\n".join(remarks(found))
    assert "Not finished: 4 of 9 pairs" in said and "A note." in said
    assert "refiner-no-0 failed in 1 of 4 runs, counted as not solved; 1 of them for want of the provider" in said
    assert "t0 with seed 0: RuntimeError: <gone> [red]" in said and "[red]" in shown(found)
    assert "Not finished" not in "\n".join(remarks(made()))


def test_the_best_of_each_column_is_marked() -> None:
    found = made()
    curve = sheets(found)[-1]
    for place in range(1, len(curve.columns)):
        rates = [int(row[place].rstrip("*%")) for row in curve.rows]
        marked = [row[place].endswith("*") for row in curve.rows]
        assert marked == [rate == max(rates) > 0 for rate in rates]


def test_an_end_beyond_all_bounds_is_a_dash_and_no_interval_is_none() -> None:
    found = made(2)
    one, other = found["refiners"].values()
    one["ci"] |= {"strict_pass_rate": None, "tokens_per_solved": [1000.0, None]}
    other["tokens_per_solved"] = None
    other["paired"]["tokens_per_solved"] = {"ratio": 0.97, "ci": [None, None]}
    figures_, pairs, _ = sheets(found)
    assert figures_.rows[0][3] == "50%" and figures_.rows[0][5].endswith(" [1k, -]") and figures_.rows[1][5] == "-"
    assert pairs.rows[0][3] == "0.97 [-, -]"


class Reader(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data", "action", "style")]


@pytest.mark.parametrize("found", [made(), made(1), made(20), made(tasks=0), made(tasks=1), made(simulated=False)])
def test_the_page_is_well_formed_and_needs_nothing_else(found: dict[str, Any]) -> None:
    found["settings"]["notes"] = ['<script>alert("x")</script> & more']
    written = page(found)
    root = ElementTree.fromstring(written)
    text = "".join(root.itertext())
    reader = Reader()
    reader.feed(written)
    assert not reader.links and "script" not in reader.tags and "url(" not in written and "@import" not in written
    assert '<script>alert("x")</script> & more' in text and found["lm"]["name"] in text
    for sheet in sheets(found):
        assert all(cell in text for row in sheet.rows for cell in row)
    lines = [item for item in root.iter() if item.tag.endswith("polyline")]
    assert len(lines) == (len(found["refiners"]) if found["pairs"]["finished"] else 0)
    looks = {(line.get("stroke"), line.get("stroke-dasharray")) for line in lines}
    assert len(looks) == len(lines)  # each series can be told from the others
