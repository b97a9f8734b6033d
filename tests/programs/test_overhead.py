"""The overhead benchmark: that it compares the same calls, and what it reports. Nothing that is timed is asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy import tool
from programs.benchmarks import overhead
from programs.benchmarks.overhead import LIMITS, NoOp, main, measure, per_step, side_by_side


class Prompts(BaseCallback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append(inputs["messages"])


def test_by_hand_makes_the_same_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []

    class Counted(NoOp):
        shared = ("made",)

        @tool(effect="read")
        def look(self, place: int) -> dict[str, int]:
            """Looks at a place."""
            made.append(("look", place))
            return super().look(place)

        @tool(effect="write")
        def add(self, number: int) -> dict[str, int]:
            """Adds a number."""
            made.append(("add", number))
            return super().add(number)

    monkeypatch.setattr(overhead, "NoOp", Counted)
    prompts = Prompts()
    with dspy.context(callbacks=[prompts]):
        mine, theirs, models, tools = side_by_side(0.0, 1)
    assert len(mine) == len(theirs) == 1
    # The run that is timed, and the same by hand; before them the run that is recorded, which has callbacks of its own.
    assert len(prompts.seen) == 2 * models and len(made) == 3 * tools
    assert prompts.seen[:models] == prompts.seen[models:]
    assert made[:tools] == made[tools : 2 * tools] == made[2 * tools :]
    assert models == 2  # one plan, one repair


def test_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "LATENCY", 0.001)
    monkeypatch.setattr(overhead, "per_step", lambda: per_step(count=10, repeats=1))
    monkeypatch.setattr(overhead, "import_cost", lambda: 0.0)
    figures = measure(1)
    assert figures.keys() == {
        "ratio_at_200_ms", "own_ms_per_step", "own_ms_per_iteration", "own_ms_per_run", "model_calls_per_run",
        "executed_steps_per_run", "import_ms",
    }  # fmt: skip
    assert LIMITS.keys() < figures.keys()
    assert all(isinstance(value, (int, float)) for value in figures.values())


@pytest.mark.parametrize(("value", "code"), [(0.0, 0), (1e9, 1)])
def test_the_command(
    value: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = dict.fromkeys(LIMITS, value)
    monkeypatch.setattr(overhead, "measure", lambda runs: figures)
    assert main(["--runs", "1", "--json", str(tmp_path / "figures.json")]) == code
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == figures
    shown = capsys.readouterr().out
    assert all(name in shown for name in LIMITS)


def test_the_cost_of_the_import_is_measured() -> None:
    assert overhead.import_cost(repeats=1) > 0
