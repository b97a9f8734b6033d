"""A bank whose payments wait for an approval, and a refiner that asks about them by files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy

from pivot_dspy import Environment, Pivot, check, tool
from pivot_dspy.human.files import FileReviewer
from tests.scripted import plan, scripted, step, submit

REQUEST = "Pay Ann what she is owed."


class Bank(Environment):
    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []

    @tool(effect="read")
    def debt(self, to: str) -> int:
        return 500

    @tool(effect="write", approval=True)
    def pay(self, to: str, amount: int) -> int:
        self.paid.append((to, amount))
        return amount

    @check
    def is_paid(self, to: str) -> bool:
        return any(payee == to for payee, _ in self.paid)


class Office:
    """The bank, the inbox of the reviews, and the refiner, whose model is asked once."""

    def __init__(self, folder: Path) -> None:
        self.bank, self.inbox, self._runs = Bank(), FileReviewer(folder / "reviews"), folder / "runs"
        self.lm = scripted(plan=plan(
            [step("a", "debt", to="Ann"), step("b", "pay", to="Ann", amount="$a"), submit(answer="$b")],
            [{"id": "R1", "check": "is_paid", "args": {"to": "Ann"}}],
        ))  # fmt: skip

    def go_on(self, **options: Any) -> Any:
        """Begin, or go on as another process would: the same call goes on with the run in the journal."""
        refiner = Pivot("request -> answer: int", self.bank, journal=self._runs, reviewer=self.inbox, timeout=None)
        with dspy.context(lm=self.lm):
            return refiner(request=REQUEST, **options)
