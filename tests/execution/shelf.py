"""A small state with tools, trajectories over it, and how they are run."""

from __future__ import annotations

from typing import Any

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory

CALLS: list[str] = []
"""Every call that a tool of this module got, for counting."""


class Shelf(Environment):
    """A small state that every tool can see the traces of."""

    def __init__(self) -> None:
        self.things: list[str] = ["ball", "cup"]

    @tool(effect="read")
    def look(self) -> list[str]:
        CALLS.append("look")
        return self.things

    @tool(effect="read")
    def find(self, name: str) -> int:
        CALLS.append("find")
        return self.things.index(name)

    @tool(effect="write")
    def put(self, name: str) -> list[str]:
        CALLS.append("put")
        if name in self.things:
            raise ValueError(f"{name} is there")
        self.things.append(name)
        return self.things

    @tool(effect="write")
    async def take(self, name: str) -> dict[str, Any]:
        CALLS.append("take")
        self.things.remove(name)
        return {"taken": name, "left": self.things}

    @tool(effect="irreversible")
    def burn(self) -> None:
        CALLS.append("burn")
        self.things.clear()

    def describe(self) -> str:
        return ", ".join(self.things)


OUTPUTS = {"answer": str, "count": int}


def essence(execution: Execution) -> dict[str, Any]:
    """All of an execution but how long it took and what was reused."""
    dumped = execution.model_dump()
    for observation in dumped["observations"]:
        del observation["seconds"], observation["reused"]
    return dumped


def run(trajectory: Trajectory, source: SessionFactory, **options: Any) -> ExecutedRun:
    return run_sync(execute(trajectory, source.open(None), outputs=OUTPUTS, **options))


def steps(*found: tuple[str, str, dict[str, Any]], **options: Any) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=i, tool=name, args=args, **options) for i, name, args in found))


def kinds(execution: Execution) -> list[str]:
    return [o.fault.kind if o.fault else o.status for o in execution.observations]
