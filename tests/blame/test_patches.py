"""Repairs that need no model: what a check proposes in data, and failed reads that nothing needs."""

from __future__ import annotations

from typing import Any

import pytest

from pivot_dspy import CheckResult, Environment, Pivot, check, tool
from tests.scripted import plan, rewrite, scripted, step, submit

ROOMS = {"blue": 40, "red": 30, "green": 90}
REQUEST = "Book the cheapest room for Ann."
CHEAPEST = {"id": "R1", "check": "cheapest", "args": {"guest": "Ann"}}


class Desk(Environment):
    """A desk that books rooms."""

    def __init__(self) -> None:
        self.booked: dict[str, str] = {}

    @tool(effect="read")
    def rooms(self) -> list[dict[str, Any]]:
        return [{"room": room, "rate": rate} for room, rate in ROOMS.items()]

    @tool(effect="read")
    def rate(self, room: str) -> int:
        return ROOMS[room]

    @tool(effect="write")
    def book(self, guest: str, room: str) -> str:
        """Book a room for a guest."""
        self.booked[guest] = room
        return room

    @tool(effect="write")
    def cancel(self, booking: str) -> str:
        """Cancel a booking."""
        return self.booked.pop(booking)

    @check
    def cheapest(self, guest: str) -> CheckResult:
        """The guest has the cheapest room."""
        room, best = self.booked.get(guest, ""), min(ROOMS, key=lambda room: ROOMS[room])
        instead = self.proposal(room, best) if room else ()
        return CheckResult(room == best, f"{guest} has {room or 'no room'}", about=(room,), instead=instead)

    def proposal(self, room: str, best: str) -> tuple[tuple[str, str], ...]:
        return ((room, best),)


def run(environment: Any, steps: list[dict[str, Any]], **options: Any) -> tuple[Any, Any]:
    refiner = Pivot("request -> answer", environment, restarts=0, **options)
    refiner.set_lm(lm := scripted(plan=plan(steps, [CHEAPEST]), evolve=rewrite(BOOKED), audit={"changes": []}))
    return refiner(request=REQUEST), lm.engine


BOOKED = [step("a", "rooms"), step("b", "book", guest="Ann", room="red"), submit(answer="$b")]
DEAR = [BOOKED[0], step("b", "book", guest="Ann", room="blue"), BOOKED[2]]


def test_what_a_check_proposes_is_done_without_a_model():
    result, engine = run(Desk, DEAR)
    assert result.verified and result.answer == "red" and [prompt.phase for prompt in engine.prompts] == ["plan"]
    gradient = next(event.gradient for event in result.history if event.kind == "gradient")
    assert (gradient.kind, gradient.step) == ("proposed", "b")
    assert gradient.correction == "As its check proposes, red instead of blue."
    assert result.trajectory.operator == "patch" and result.trajectory.steps[0] == result.history[0].trajectory.steps[0]


def test_what_no_result_has_shown_is_not_proposed():
    unseen = [step("a", "rate", room="blue"), *DEAR[1:]]
    result, engine = run(Desk, unseen)
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "evolve"]


def test_half_of_a_proposal_is_none():
    class Two(Desk):
        def proposal(self, room: str, best: str) -> tuple[tuple[str, str], ...]:
            return ((room, best), ("yellow", "green"))

    _, engine = run(Two, DEAR)
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve"]


def test_a_proposal_that_makes_nothing_better_leaves_it_to_the_model():
    class Wrong(Desk):
        def proposal(self, room: str, best: str) -> tuple[tuple[str, str], ...]:
            return ((room, "green"),)

    result, engine = run(Wrong, DEAR, patience=1)  # a proposal in vain costs none of it
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "evolve"]


def test_what_cannot_be_undone_is_never_patched():
    class Real(Desk):
        @tool(effect="irreversible", preview="preview")
        def book(self, guest: str, room: str) -> str:
            """Book a room for a guest."""
            return self.preview(guest, room)

        def preview(self, guest: str, room: str) -> str:
            self.booked[guest] = room
            return room

    result, _ = run(Real, DEAR)
    assert all(event.gradient.patch is None for event in result.history if event.kind == "gradient")


FAILING = [step("x", "rate", room="pink"), step("x", "cancel", booking="b7")]


@pytest.mark.parametrize("decided", [True, False])
@pytest.mark.parametrize("needless", FAILING, ids=["read", "write"])
def test_a_failed_step_is_dropped_only_where_checks_tell_that_all_holds(decided, needless):
    failed = [BOOKED[0], needless, *BOOKED[1:]]
    words = [] if decided else [{"id": "R2", "text": "The rate of the pink room is told."}]
    refiner = Pivot("request -> answer", Desk, restarts=0, max_iters=1)
    answers = {"evolve": rewrite(BOOKED), "audit": {"changes": []}}
    refiner.set_lm(lm := scripted(plan=plan(failed, [CHEAPEST, *words]), **answers))
    result = refiner(request=REQUEST)
    patched = [event for event in result.history if event.kind == "gradient" and event.gradient.patch is not None]
    assert bool(patched) is decided
    if decided:
        assert result.verified and result.trajectory.ids == ("a", "b", "submit") and lm.engine.count() == 1


def test_what_a_call_does_already_is_not_missed_for_another_tool_that_would_take_it():
    class Cancelling(Desk):
        @tool(effect="write")
        def dismiss(self, guest: str) -> str:
            """Dismiss a guest."""
            return self.booked.pop(guest)

        def proposal(self, room: str, best: str) -> tuple[tuple[str, str], ...]:
            return ()

    result, _ = run(Cancelling, DEAR)
    first = next(event.gradient for event in result.history if event.kind == "gradient")
    assert (first.step, first.kind) == ("b", "wrong_selection")
