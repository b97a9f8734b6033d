"""A bank in each tier, and what has really happened outside."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory

DONE: list[str] = []
"""What has really happened in the world outside."""


class Bank(Environment):
    """Payments leave the process; drafts stay in the instance."""

    def __init__(self) -> None:
        self.drafts: list[int] = [10, 20]

    @tool(effect="read")
    def list_drafts(self) -> list[int]:
        return self.drafts

    @tool(effect="write")
    def draft(self, amount: int) -> int:
        self.drafts.append(amount)
        DONE.append("drafted")
        return amount

    @tool(effect="irreversible")
    def pay(self, amount: int) -> str:
        DONE.append("paid")
        return "paid"

    @tool(effect="irreversible", timeout=0.05)
    async def apay(self, amount: int) -> str:
        DONE.append("paid")
        await asyncio.sleep(1)
        return "paid"

    @tool(effect="irreversible", preview="quote")
    def buy(self, amount: int) -> str:
        DONE.append("bought")
        return f"bought {amount}"

    @tool(effect="write", timeout=0.05)
    def slow_draft(self) -> None:
        time.sleep(0.3)
        self.drafts.append(99)

    def quote(self, amount: int) -> str:
        return f"bought {amount}"

    @tool(effect="read")
    def fail(self) -> None:
        raise ValueError("no")

    @check
    def spends(self) -> CheckResult:
        self.drafts.clear()  # what a check must not do, and no rule can see
        return CheckResult(True)

    def describe(self) -> str:
        return str(self.drafts)


def run(session: Session, *steps: Step, awaited: bool = False) -> Execution:
    body = execute(Trajectory(steps=steps), session)
    return (asyncio.run(run_async(body)) if awaited else run_sync(body)).execution


@tool(effect="irreversible")
def pay(self: Any, amount: int = 1) -> int:
    DONE.append("paid")
    return amount


def made(**members: Any) -> Session:
    """A session of an environment class with these members."""
    return SessionFactory(type("Made", (Environment,), members)).open(None)
