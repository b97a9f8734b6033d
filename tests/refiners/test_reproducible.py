"""Results that are never twice the same: what nothing depends on neither costs a call nor stops a commit."""

from __future__ import annotations

import time
import uuid
from typing import Any

import dspy

from pivot_dspy import Environment, Pivot, check, tool
from tests.scripted import plan, scripted, step, submit


class Clinic(Environment):
    """Every result tells how long it took, every booking has an id of its own."""

    def __init__(self) -> None:
        self.booked: dict[str, str] = {}
        self.reminded: list[str] = []

    @tool(effect="read")
    def free(self, day: str) -> dict[str, Any]:
        """Free hours of a day."""
        return {"hours": ["ten", "two"], "took_ms": time.perf_counter_ns()}

    @tool(effect="write")
    def book(self, hour: str) -> dict[str, str]:
        """Book an hour."""
        made = str(uuid.uuid4())
        self.booked[made] = hour
        return {"id": made, "hour": hour}

    @tool(effect="write", volatile=("ticket",))
    def remind(self, booking: str) -> dict[str, Any]:
        """Send a reminder of a booking."""
        self.reminded.append(self.booked[booking])
        return {"of": booking, "ticket": uuid.uuid4().hex}

    @check
    def has(self, hour: str) -> bool:
        """The hour is booked and reminded of."""
        return hour in self.booked.values() and hour in self.reminded


PLAN = [
    step("a", "free", day="Monday"),
    step("b", "book", hour="$a.hours[0]"),
    step("c", "remind", booking="$b.id"),
]
TEN = {"id": "R1", "check": "has", "args": {"hour": "ten"}}


def test_it_is_verified_by_the_first_plan_and_committed() -> None:
    real = Clinic()
    lm = scripted(plan=plan([*PLAN, submit(answer="$a.hours[0]")], [TEN]))
    with dspy.context(lm=lm):
        result = Pivot("question -> answer", real, audit="never")(question="Book ten on Monday.")
    assert result.verified and lm.engine.count() == 1 and real.booked == {}
    result.commit()
    assert list(real.booked.values()) == ["ten"] and real.reminded == ["ten"]


def test_an_answer_that_is_bound_to_the_id_tells_the_real_one_after_commit() -> None:
    real = Clinic()
    lm = scripted(plan=plan([*PLAN, submit(answer="join('', ['Booked: ', $b.id])")], [TEN]))
    with dspy.context(lm=lm):
        result = Pivot("question -> answer", real, audit="never", patience=1)(question="Book ten on Monday.")
    assert result.verified and lm.engine.count() == 1
    tried = result.answer
    result.commit()
    assert [result.answer] == [f"Booked: {key}" for key in real.booked] and result.answer != tried
