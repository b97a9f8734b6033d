"""Calls of tools, made in a session one after another."""

from __future__ import annotations

import asyncio
from typing import Any

from pivot_dspy.environment.session import Session
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory


def run(session: Session, *calls: tuple[str, dict[str, Any]], awaited: bool = False) -> Execution:
    steps = tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(calls))
    body = execute(Trajectory(steps=steps), session)
    return (asyncio.run(run_async(body)) if awaited else run_sync(body)).execution


def values(execution: Execution) -> list[Any]:
    return [o.value if o.ok else o.fault for o in execution.observations]
