"""What Pivot itself costs: wall time beside the same model and tool calls made by hand, in one run.

`python -m programs.benchmarks.overhead [--json PATH]`. The model is the offline one, with a set latency and no cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import dspy
from dspy.utils.callback import BaseCallback

from pivot_dspy import Environment, Execution, Pivot, Refined, Step, Trajectory, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.prompts.report import unmet_in
from pivot_dspy.simulator import Reference, offline_lm
from programs.benchmarks.figures import show
from programs.options import positive, writable

ToolCall = tuple[str, dict[str, Any]]
"""A tool's name and its arguments."""

LATENCY = 0.2
STEPS = 8
WANTED = f"what you find at the places {', '.join(map(str, range(1, STEPS // 2 + 1)))}"
"""What a request has to name, since the model makes up no place."""
LIMITS = {
    "ratio_at_200_ms": 1.05,
    "own_ms_per_step": 1.0,
    "own_ms_per_iteration": 5.0,
    "import_ms": 150.0,
}


class NoOp(Environment):
    """Tools that do next to nothing, so that all that is left is overhead."""

    def __init__(self) -> None:
        self.sum = 0

    @tool(effect="read")
    def look(self, place: int) -> dict[str, int]:
        """Looks at a place."""
        return {"found": place}

    @tool(effect="write")
    def add(self, number: int) -> dict[str, int]:
        """Adds a number."""
        self.sum += number
        return {"sum": self.sum}

    @check
    def sum_is(self, number: int) -> bool:
        """The numbers added so far make this sum."""
        return self.sum == number


def reference(request: str) -> Reference:
    """A plan whose sixth step adds too little, and the repair once the report shows it."""
    steps: list[dict[str, Any]] = []
    for n in range(1, STEPS // 2 + 1):
        steps.append({"id": f"l{n}", "tool": "look", "args": {"place": n}})
        steps.append({"id": f"a{n}", "tool": "add", "args": {"number": f"$l{n}.found"}})
    right = steps[5]
    wrong = {**right, "args": {"number": "$l1.found"}}
    end = {"id": "submit", "tool": "submit", "args": {"sum": f"$a{STEPS // 2}.sum"}}
    total = sum(range(1, STEPS // 2 + 1))

    def revise(sections: Mapping[str, str], plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
        failing = unmet_in(sections.get("report", ""))
        return [right if failing and step["id"] == right["id"] else step for step in plan]

    return Reference(
        match=request,
        requirements=[{"id": "R1", "check": "sum_is", "args": {"number": total}}],
        steps=[*steps[:5], wrong, *steps[6:], end],
        serves={right["id"]: "R1"},
        revise=revise,
    )


class ModelCall(NamedTuple):
    """One call of a `dspy.Predict`, as it can be made again by hand."""

    predict: dspy.Predict
    inputs: dict[str, Any]
    adapter: dspy.Adapter
    """Puts the conversation so far before what the call says."""


class Recorder(BaseCallback):  # type: ignore[misc]
    """Notes the calls of `dspy.Predict`, to make them again by hand."""

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if isinstance(instance, dspy.Predict):
            self.calls.append(ModelCall(instance, dict(inputs["kwargs"]), dspy.settings.adapter))


def recorded(refiner: Pivot, request: str) -> tuple[Refined, list[ModelCall]]:
    """A run and the calls that it made. Raises RuntimeError where the task is not solved."""
    recorder = Recorder()
    with dspy.context(callbacks=[recorder]):
        result = refiner(request=request)
    if not result.verified:
        raise RuntimeError(f"the benchmark's task was not solved: {result.verdict.reasons}")
    return result, recorder.calls


def side_by_side(latency: float, runs: int) -> tuple[list[float], list[float], int, int]:
    """Seconds of each Pivot run, seconds of the same calls by hand, model calls a run, executed steps a run."""
    request = f"Add {WANTED}."
    lm = offline_lm([reference(request)], slip=0.0, heed=1.0, relapse=0.0, latency=latency, cache=False)
    refiner = Pivot("request -> sum: int", NoOp)
    refiner.set_lm(lm)
    result, asked = recorded(refiner, request)
    made = tool_calls(result)
    mine, theirs = [], []
    for _ in range(runs):
        started = time.perf_counter()
        refiner(request=request)
        mine.append(time.perf_counter() - started)
        started = time.perf_counter()
        by_hand(asked, made)
        theirs.append(time.perf_counter() - started)
    return mine, theirs, len(asked), sum(map(len, made))


def tool_calls(result: Refined) -> list[list[ToolCall]]:
    """The tool calls of a run, one list for each execution; what follows a change is tried without it, and verification
    makes all of the last one's again."""
    executed = [event.execution for event in result.history if event.kind == "inspect"]
    changes = [entry.about.removeprefix("step ") for entry in result.verdict.established if entry.kind == "call"]
    return [
        *(_calls(execution, fresh=False) for execution in executed),
        *(_calls(result.execution, fresh=True, after=step) for step in changes),
        _calls(result.execution, fresh=True),
    ]


def _calls(execution: Execution, fresh: bool, after: str | None = None) -> list[ToolCall]:
    first = 0 if after is None else execution.trajectory.index(after) + 1
    pairs = zip(execution.trajectory.steps[first:], execution.observations[first:], strict=True)
    return [(step.tool, seen.args or {}) for step, seen in pairs if seen.calls and (fresh or not seen.reused)]


def by_hand(predictions: Sequence[ModelCall], calls: Sequence[Sequence[ToolCall]]) -> None:
    """The same predictions and the same tool calls, with nothing around them."""
    for predict, inputs, adapter in predictions:
        with dspy.context(adapter=adapter):
            predict(**inputs)
    for run in calls:
        environment = NoOp()
        for name, args in run:
            getattr(environment, name)(**args)


def per_step(count: int = 200, repeats: int = 20) -> float:
    """Own milliseconds for each executed step of a long trajectory, the tools' own time left out."""
    steps = [Step(id=f"s{n}", tool="look" if n % 2 else "add", args={_argument(n): n}) for n in range(count)]
    trajectory = Trajectory(steps=tuple(steps))
    source = SessionFactory(NoOp)

    def run() -> None:
        session = source.open(None)
        run_sync(execute(trajectory, session))
        session.family.close()

    def raw() -> None:
        environment = NoOp()
        for step in steps:
            getattr(environment, step.tool)(**step.args)

    return (_best(run, repeats) - _best(raw, repeats)) / count * 1000


def import_cost(repeats: int = 5) -> float:
    """Milliseconds that `import pivot_dspy` adds to `import dspy`, in fresh processes; the least of several."""
    code = "import time, dspy; t = time.perf_counter(); import pivot_dspy; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]
    return min(times) * 1000


def measure(runs: int) -> dict[str, float]:
    """All figures, by name."""
    mine, theirs, _, _ = side_by_side(LATENCY, max(3, runs // 10))
    fast, hand, calls, steps = side_by_side(0.0, runs)
    own = (min(fast) - min(hand)) * 1000  # the least of many: what else the machine did meanwhile is no cost of ours
    return {
        "ratio_at_200_ms": statistics.median(mine) / statistics.median(theirs),
        "own_ms_per_step": per_step(),
        "own_ms_per_iteration": own / calls,
        "own_ms_per_run": own,
        "model_calls_per_run": calls,
        "executed_steps_per_run": steps,
        "import_ms": import_cost(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.overhead", description=__doc__)
    parser.add_argument("--runs", type=positive, default=50)
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    figures = measure(options.runs)
    show("Overhead", figures, LIMITS, options.json)
    return 0 if all(figures[name] <= limit for name, limit in LIMITS.items()) else 1


def _argument(number: int) -> str:
    return "place" if number % 2 else "number"


def _best(function: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    sys.exit(main())
