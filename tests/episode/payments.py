"""A bank whose calls cannot be tried, for the tests of commits."""

from __future__ import annotations

import time
from typing import Any

from pivot_dspy import Environment, Refined, Requirement, check, tool
from tests.scripted import step, submit


class Bank(Environment):
    """Pays what is due. `faults` says which of the calls to come raise, in the real world alone."""

    def __init__(self) -> None:
        self.due: list[dict[str, Any]] = [{"to": "Ann", "amount": 10}, {"to": "Bob", "amount": 20}]
        self.balance = 100
        self.paid: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.keys: list[str] = []
        self.faults: list[bool] = []
        self.said = "paid"
        self.slow = 0.0

    def _begin(self) -> None:
        if self.faults and self.faults.pop(0):
            raise ConnectionError("the bank is closed")

    @tool(effect="read")
    def bills(self) -> list[dict[str, Any]]:
        self._begin()
        return self.due

    @tool(effect="read")
    def account(self) -> dict[str, int]:
        return {"balance": self.balance}

    @tool(effect="write", undo="forget")
    def note(self, text: str) -> dict[str, Any]:
        self._begin()
        self.notes.append(text)
        return {"note": len(self.notes), "text": text}

    def forget(self, text: str, result: dict[str, Any]) -> None:
        self.notes.remove(text)

    @tool(effect="irreversible", undo="take_back")
    def pay(self, to: str, amount: int) -> dict[str, Any]:
        self._begin()
        self.balance -= amount
        self.paid.append((to, amount))
        time.sleep(self.slow)
        return {"id": f"k{len(self.paid)}", "state": self.said}

    @tool(effect="irreversible")
    def take_back(self, result: dict[str, Any]) -> str:
        return f"took {result['id']} back"

    @tool(effect="irreversible")
    def receipt(self, payment: str) -> str:
        self._begin()
        return f"receipt of {payment}"

    @check
    def covered(self, least: int) -> tuple[bool, str]:
        return self.balance >= least, f"balance {self.balance}"

    @check
    def settled(self, count: int) -> tuple[bool, str]:
        return len(self.paid) == count, f"{len(self.paid)} paid"


PAY = step("p", "pay", to="Ann", amount=10)
PLAN = [
    step("a", "bills"),
    step("n", "note", text="first"),
    PAY,
    step("c", "account"),
    step("q", "pay", to="$a[1].to", amount="$a[1].amount"),
    submit(answer="Both are paid."),
]
SETTLED = Requirement(id="R1", check="settled", args={"count": 2})


def values(result: Refined) -> dict[str, Any]:
    return {seen.step: seen.value for seen in result.committed.observations if seen.ok}


# --------------------------------------------------------------------------------------------------------------- clocks


class Desk(Environment):
    """Sends mail; each result says when, by a clock that only the real world moves."""

    def __init__(self) -> None:
        self.clock = "Mon 30 Nov, 11:58 AM"
        self.later = ["Mon 30 Nov, 11:59 AM", "Tue 1 Dec, 12:00 AM", "Tue 1 Dec, 12:01 AM"]
        self.sent: list[str] = []
        self.moves = False

    @tool(effect="irreversible", preview="as_if")
    def send(self, to: str) -> dict[str, str]:
        self.sent.append(to)
        if self.moves:
            self.clock = self.later[len(self.sent) - 1]
        return {"at": self.clock, "state": "sent"}

    def as_if(self, to: str) -> dict[str, str]:
        return {"at": self.clock, "state": "sent"}

    @tool(effect="read")
    def told(self, of: str) -> str:
        return of
