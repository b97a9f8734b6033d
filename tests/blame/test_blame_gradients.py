"""Slices and gradients, permissions of a calendar, and what holds of any plan."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import CheckResult, Environment, Requirement, Requirements, Step, check, tool
from pivot_dspy.blame.predicates import Predicate, Relation, of_requirement, relation
from pivot_dspy.blame.ranking import gradient, rank, slice_of
from pivot_dspy.environment.factory import SessionFactory
from tests.blame.shirts import PLAN, TASK, Shop, choose, first, run, with_step, without

# -- calendar


class Calendar(Environment):
    """Rooms that can be booked once access has been granted."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.booked: list[tuple[str, str, int]] = []

    @tool(effect="write")
    def grant(self, scope: str) -> str:
        self.scopes.append(scope)
        return scope

    @tool(effect="read")
    def rooms(self, day: str) -> list[dict[str, Any]]:
        if "calendar" not in self.scopes:
            raise PermissionError("insufficient scope: calendar")
        return [{"name": "Blue", "seats": 4}, {"name": "Red", "seats": 9}]

    @tool(effect="write")
    def book(self, room: str, day: str, people: int) -> dict[str, str]:
        self.booked.append((room, day, people))
        return {"confirmation": f"{room}-{day}"}

    @check
    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes

    @check
    def room_is_booked(self, day: str, people: int) -> CheckResult:
        kept = any(booking[1:] == (day, people) for booking in self.booked)
        return CheckResult(kept, f"booked: {self.booked}")


MEETING = (
    Step(id="g", tool="grant", args={"scope": "calendar"}),
    Step(id="r", tool="rooms", args={"day": "friday"}),
    Step(id="b", tool="book", args={"room": "$r[?seats >= `6`] | [0].name", "day": "friday", "people": 6}),
    Step(id="submit", tool="submit", args={"total": 1.0}),
)
MEETS = Requirements(items=(
    Requirement(id="S", check="has_scope", args={"scope": "calendar"}),
    Requirement(id="B", check="room_is_booked", args={"day": "friday", "people": 6}),
))  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "place", "kind"),
    [
        (with_step("b", MEETING, args={**MEETING[2].args, "day": "monday"}), 2, "wrong_value"),
        (with_step("b", MEETING, args={**MEETING[2].args, "people": 5}), 2, "wrong_value"),
        (without("b", MEETING), 2, "missing_step"),
        (with_step("g", MEETING, args={"scope": "mail"}), 0, "wrong_value"),
        (without("g", MEETING), 0, "tool_error"),  # what is absent comes before the step that wants it
    ],
)
def test_a_calendar(steps: tuple[Step, ...], place: int, kind: str) -> None:
    found = first(steps, MEETS, environment=Calendar)
    assert (found.kind, found.position) == (kind, place)


# -- slices, gradients


def test_slices() -> None:
    execution, *_ = run(with_step("c", args={"id": "pbm1"}))
    box = SessionFactory(Shop).toolbox
    assert box is not None and slice_of(execution, ["b"], box) == ("s", "p", "b")
    assert "p" in slice_of(execution, ["c"], box)
    assert slice_of(execution, ["submit"], box) == ("s", "p", "a", "b", "c", "d", "z", "submit")
    assert slice_of(execution, ["nothing"], box) == ()


def test_refuted_suspects_are_not_blamed_again() -> None:
    case = run(with_step("b", with_step("s", args={"sizes": ["XL", "M"]}), args=choose("color=='Blue'")))
    refuted: set[tuple[str | None, str]] = set()
    loci = []
    while (found := gradient(*case, task=TASK, refuted=refuted)) is not None:
        assert (found.step, found.kind) not in refuted
        refuted.add((found.step, found.kind))
        loci.append(found.step)
    assert loci[:2] == ["s", "b"]
    assert len(loci) == len(rank(*case, task=TASK))


def test_a_gradient_carries_the_slice_of_its_step() -> None:
    found = gradient(*run(with_step("b", args=choose("color=='Blue'"))), task=TASK)
    assert found is not None and found.by == "rule"
    assert (found.locus, found.slice) == (3, ("s", "p", "b"))
    assert "Change: " in found.to_text() and "Evidence: " in found.to_text()


TOOLS = st.sampled_from(["by_size", "by_brand", "details", "prices", "add", "pay", "look", "submit", "nothing"])
TEXTS = st.sampled_from([
    "$s.ids", "$p.rows", "$p.rows[?color=='Red'].id", "$p.rows[0].id", "min_by($p.rows, &price).id", "nrl1", "$z.total",
    "$item", "$item.id", "$gone.x", "pays $5", "$p.rows[?", "$submit", "$s.ids[?x]", "max_by($s.ids, &x)",
])  # fmt: skip
ARGS = st.dictionaries(
    st.sampled_from(["ids", "id", "sizes", "brand_names", "total", "coupon"]),
    st.one_of(TEXTS, st.lists(TEXTS, max_size=2), st.integers(0, 3)), max_size=2,
)  # fmt: skip


@st.composite
def plans(draw: st.DrawFn) -> tuple[Step, ...]:
    ids = draw(st.permutations(["s", "p", "a", "b", "z", "submit"]))[: draw(st.integers(0, 6))]
    return tuple(
        Step(
            id=one, tool="submit" if one == "submit" else draw(TOOLS), args=draw(ARGS),
            for_each=draw(st.one_of(st.none(), TEXTS)), expects=draw(st.sampled_from([None, "ids", "x >"])),
        )
        for one in ids
    )  # fmt: skip


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(plans(), st.permutations(PLAN).map(tuple)))
def test_any_plan_is_blamed_in_good_order(steps: tuple[Step, ...]) -> None:
    case = run(steps)
    suspects = rank(*case, task=TASK)
    wrong = bool(case[0].discrepancies) or not all(f.holds for f in case[2]) or case[0].trajectory.submit is None
    assert bool(suspects) == wrong
    assert suspects == rank(*case, task=TASK)
    for suspect in suspects:
        assert 0 <= suspect.position <= len(steps)
        assert suspect.step == (steps[suspect.position].id if suspect.position < len(steps) else None)
        assert suspect.diagnosis
    assert len({(suspect.position, suspect.kind == "missing_step") for suspect in suspects}) == len(suspects)
    for step in steps:
        found = slice_of(case[0], [step.id], case[3])
        assert step.id in found and list(found) == sorted(found, key=[one.id for one in steps].index)


def test_a_rewrite_begins_no_later_than_the_first_step_that_failed() -> None:
    """What stands after a failed step could not run: a fault there is told along, and mended in the same rewrite."""
    steps = with_step("z", with_step("s", args={"sizes": "$nothing.here"}), tool="no_such_tool")
    found = gradient(*run(steps), task=TASK)
    assert found is not None and found.step == "s"
    assert any(item.startswith("z: ") and "no_such_tool" in item for item in found.evidence)


def test_a_named_number_does_not_say_how_it_is_compared() -> None:
    """`people: 6` may ask for exactly, at least or at most six; a filter on `people` is no contradiction to it."""
    asks = {"people": 6, "tags": ["tv", "whiteboard"]}
    shown = of_requirement(Requirement(id="B", check="room_is_booked", args=asks))
    people, tags = shown
    assert relation(Predicate(("people",), ">=", 6.0), people) is Relation.SAME
    assert relation(Predicate(("people",), ">=", 4.0), people) is Relation.DIFFERS
    assert relation(Predicate(("tags",), "contains", "tv"), tags) is Relation.LOOSER
    assert str(people) == "people: 6"
