"""Plain `dspy.ReAct` on a task's tools, to stand beside the refiners: it acts at once, and nothing is verified."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.utils.usage_tracker import UsageTracker

from pivot_dspy.environment.toolbox import ToolSpec
from programs.office.data import Case
from programs.office.environment import Office, OfficeEnvironment, opened
from programs.office.judge import useful
from programs.records import plain_row

REACT = "dspy-react"
"""What it is called among the refiners."""

UNVERIFIED = "dspy.ReAct acts at once and verifies nothing"


class Solved(NamedTuple):
    """A task solved: the row that `programs.records.row` would record, the world as it was left, and the answer."""

    row: dict[str, Any]
    world: OfficeEnvironment
    answer: Any


def solve(case: Case, lm: dspy.LM) -> Solved:
    """One task solved and judged. Raises LMError, MissingPackage."""
    world = opened(case)
    signature = Office.with_instructions(f"{Office.instructions}\n{world.policy}")
    agent = dspy.ReAct(signature, tools=[_tool(spec, world) for spec in world.toolbox.tools.values()])
    tracker = UsageTracker()
    started = time.perf_counter()
    with dspy.context(lm=lm, usage_tracker=tracker):
        answer = agent(**case.inputs).answer
    passed = useful(case, answer, world)
    row = plain_row(
        case.id, tracker, score=(float(passed), passed, passed), tool_calls=len(world.calls),
        seconds=time.perf_counter() - started, why=UNVERIFIED,
    )  # fmt: skip
    return Solved(row, world, answer)


def _tool(spec: ToolSpec, world: OfficeEnvironment) -> dspy.Tool:
    """The tool as DSPy takes it, acting on `world` itself."""
    return dspy.Tool(
        partial(spec.invoke, world),
        name=spec.name,
        desc=spec.description,
        args={name: dict(schema) for name, schema in spec.parameters.items()},
        arg_types=dict(spec.annotations),
    )
