"""What may differ between two runs, and what may not: a shop whose orders carry an id, a clock and a price."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.departures import DIFFERENCE_CAP, Difference, Foreseen, differences
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


class Desk(Environment):
    @tool(effect="read")
    def look(self) -> Any:
        """What there is."""

    @tool(effect="read")
    def details(self, of: str) -> Any:
        """Of one thing."""

    @tool(effect="read", volatile=("took", "rows[*].at", "cursor"))
    def query(self) -> Any:
        """Rows."""

    @tool(effect="write", volatile=("id", "trace"))
    def reserve(self, what: str) -> Any:
        """Reserve it."""

    @tool(effect="write")
    def book(self, what: str) -> Any:
        """Book it."""

    @tool(effect="write")
    def pay(self, booking: str) -> Any:
        """Pay for it."""


def ran(*pairs: tuple[Step, Any], **outputs: Any) -> Execution:
    """An execution of steps with what they gave: a value, or with arguments a pair of both."""
    observations = []
    for step, gave in pairs:
        args, value = gave if isinstance(gave, tuple) else ({}, gave)
        observations.append(Observation(step=step.id, args=args, value=value))
    trajectory = Trajectory(steps=tuple(step for step, _ in pairs))
    return Execution(trajectory=trajectory, observations=tuple(observations), tier="fork", outputs=outputs)


LOOK, BOOK = Step(id="a", tool="look"), Step(id="b", tool="book", args={"what": "$a.name"})
PAY = Step(id="c", tool="pay", args={"booking": "$b.id"})


def departure(first: Execution, second: Execution, *relied_on: str) -> str | None:
    foreseen = Foreseen(first, toolbox_of(Desk), relied_on)
    return next(filter(None, map(foreseen.departure, second.observations)), None)


@pytest.mark.parametrize(
    ("was", "now", "outputs", "said"),
    [
        ({"n": 1, "took_ms": 3}, {"n": 1, "took_ms": 9}, {"answer": "There is one."}, None),
        ({"n": 1, "took_ms": 3}, {"n": 1, "took_ms": 9}, {"answer": "It took 3 ms."}, "a gave took_ms = 3 and now 9"),
        ({"n": [1, 2]}, {"n": [1, 2, 3]}, {"answer": "x"}, "a gave n = [1, 2] and now [1, 2, 3]"),
        ({"full": False}, {"full": True}, {"answer": "x"}, "a gave full = false and now true"),
        ({"at": "10:02"}, {"at": None}, {"answer": "x"}, 'a gave at = "10:02" and now null'),
        ("2026-11-30T10:02:11", "2026-11-30T10:02:12", {"answer": "x"}, None),
        ("It is open.", "It is shut.", {"answer": "x"}, 'a gave "It is open." and now "It is shut."'),
        ("Room 7 at 10:02", "Room 8 at 10:03", {"answer": "x"}, None),
        ("Mon 30 Nov, 11:58 AM", "Tuesday at noon", {"answer": "x"}, 'a gave "Mon 30 Nov, 11:58 AM" and now'),
        ("Mon 30 Nov, 11:58 PM", "Tue 1 Dec, 12:03 AM", {"answer": "x"}, None),
        ("Mon 30 Nov, 11:58 PM", "Tue 1 Dec, 12:03 AM", {"answer": "Sent Mon 30 Nov, 11:58 PM."}, "a gave"),
        ("Monday or sunny", "Monday or rainy", {"answer": "x"}, "a gave"),
        ("c56a4180-65aa-42ec-a945-5fd21dec0538", "deadbeef-cafe-babe-feed-facadefacade", {"answer": "x"}, None),
    ],
)
def test_a_value_of_a_read_may_differ_where_nothing_depends_on_it(was, now, outputs, said):
    found = departure(ran((LOOK, was), **outputs), ran((LOOK, now), **outputs))
    assert found is None if said is None else str(found).startswith(f"step {said}")


def test_a_value_that_a_binding_passed_on_may_not_differ():
    first = ran((LOOK, {"name": "p2"}), (BOOK, ({"what": "p2"}, {"ok": 1})))
    second = ran((LOOK, {"name": "p4"}), (BOOK, ({"what": "p4"}, {"ok": 1})))
    assert departure(first, second) == 'step b was called with what = "p2" and now "p4"'


def test_the_handle_of_what_a_call_made_may_differ_and_is_followed():
    first = ran((BOOK, ({"what": "x"}, {"id": "k1"})), (PAY, ({"booking": "k1"}, "paid k1 at 10:00")))
    second = ran((BOOK, ({"what": "x"}, {"id": "k2"})), (PAY, ({"booking": "k2"}, "paid k2 at 10:00")))
    assert departure(first, second) is None
    other = ran((BOOK, ({"what": "x"}, {"id": "k2"})), (PAY, ({"booking": "k3"}, "paid k3 at 10:00")))
    assert departure(first, other) == 'step c was called with booking = "k1" and now "k3"'


def test_an_id_that_the_answer_spells_out_may_not_differ():
    first = ran((BOOK, ({"what": "x"}, {"id": "k1"})), answer="Booked as k1.")
    second = ran((BOOK, ({"what": "x"}, {"id": "k2"})), answer="Booked as k1.")
    assert departure(first, second) == 'step b gave id = "k1" and now "k2"'
    quiet = [ran((BOOK, ({"what": "x"}, {"id": key})), answer="Booked.") for key in ("k1", "k2")]
    assert departure(*quiet) is None
    assert departure(*quiet, "the booking k1 is paid") is None  # what came of it is compared in both runs


SUBMIT = Step(id="submit", tool="submit", args={"answer": "join('', ['Booked: ', $b.id])"})


def answered(key: str, value: Any, submit: Step = SUBMIT, said: str | None = None) -> Execution:
    answer = f"Booked: {value}" if said is None else said
    step = submit.model_copy(update={"args": {"answer": submit.args["answer"].replace("$b.id", f"$b.{key}")}})
    return ran((BOOK, ({"what": "x"}, {key: value})), (step, ({"answer": answer}, {"answer": answer})), answer=answer)


@given(
    st.sampled_from(["id", "booking_id", "bookingId", "ref", "order_ref", "token"]),
    st.lists(st.from_regex(r"[A-Z]{2,4}-?[0-9]{3,9}", fullmatch=True), min_size=2, max_size=2, unique=True),
)
def test_a_fresh_id_may_stand_in_the_answer_that_binds_it(key: str, values: list[str]) -> None:
    first, second = (answered(key, value) for value in values)
    assert departure(first, second) is None
    assert departure(first, answered(key, values[1], said=f"Booked: {values[0]}!")) is not None


@pytest.mark.parametrize(
    ("key", "was", "now"),
    [("price", 10, 12), ("total", "12 EUR", "13 EUR"), ("seat", "12A", "12B"), ("id", "3.50", "4.50")],
)
def test_what_may_be_an_amount_or_a_seat_may_not_differ_in_the_answer(key: str, was: Any, now: Any) -> None:
    assert departure(answered(key, was), answered(key, now)) is not None


def test_a_uuid_or_hexadecimal_is_an_id_by_whatever_name() -> None:
    whole = "5f6c2a90-1b1d-4a6e-8d3c-0c8c3e1f9a10"
    for was, now, may in (("feab0534", "2e35fc37", True), (whole, whole[::-1], False), (whole, f"a{whole[1:]}", True)):
        assert (departure(answered("made", was), answered("made", now)) is None) is may


def test_what_a_read_gave_may_not_differ_in_the_answer_though_it_is_an_id() -> None:
    submit = Step(id="submit", tool="submit", args={"answer": "$a.id"})
    first, second = (ran((LOOK, {"id": key}), (submit, ({"answer": key}, key)), answer=key) for key in ("k1", "k2"))
    assert departure(first, second) is not None


def test_an_id_that_was_copied_by_hand_may_not_differ():
    copied = Step(id="c", tool="pay", args={"booking": "k1"})
    paid = copied, ({"booking": "k1"}, 1)
    first, second = (ran((BOOK, ({"what": "x"}, {"id": key})), paid) for key in ("k1", "k2"))
    assert departure(first, second) == 'step b gave id = "k1" and now "k2"'


def test_another_outcome_departs():
    first, second = ran((LOOK, 1)), ran((LOOK, 1))
    failed = second.model_copy(update={"observations": (Observation(step="a", status="error"),)})
    assert departure(first, failed) == "step a was ok and is now error"


def test_calls_of_a_repeated_step_are_compared_one_by_one():
    repeated = Step(id="b", tool="book", args={"what": "$item"}, for_each="$a")
    first = ran((repeated, [{"item": 1, "result": {"id": "k1", "n": 1}}, {"item": 2, "result": {"id": "k2", "n": 2}}]))
    foreseen = Foreseen(first, toolbox_of(Desk))
    assert not foreseen.departs("b", 0, {"id": "z1", "n": 1})
    assert foreseen.departs("b", 1, {"id": "z2", "n": None}) and not foreseen.departs("b", 2, "more than before")


def test_two_long_texts_are_cut_around_where_they_differ() -> None:
    words = " ".join(f"word{number}" for number in range(400))
    found = str(Difference("text", words, words.replace("word300 ", "else300 ")))
    assert "word300" in found and "else300" in found and len(found) < 2 * DIFFERENCE_CAP + 40
    assert str(Difference("n", 1, 2)) == "n = 1 and now 2"


LETTERS = st.text(alphabet="ab", max_size=600)


@given(LETTERS, LETTERS, LETTERS)
def test_what_is_shown_of_two_values_is_never_the_same(start: str, was: str, now: str) -> None:
    shown, other = str(Difference("", start + was, start + now)).split(" and now ")
    assert (shown == other) == (was == now)


def test_what_is_declared_volatile_may_be_anything() -> None:
    query, said = Step(id="a", tool="query"), "It took 3 ms."
    rows = [{"took": 3, "rows": [{"n": 1, "at": "early"}]}, {"took": None, "rows": [{"n": 1, "at": ["late"]}]}]
    assert departure(*(ran((query, value), answer=said) for value in rows)) is None
    assert departure(*(ran((query, value), answer=said) for value in (rows[0], {"rows": [{"n": 1}]}))) is None
    other = {"took": 3, "rows": [{"n": 2, "at": "early"}]}
    found = departure(*(ran((query, value), answer="1") for value in (rows[0], other)))
    assert found == "step a gave rows[0].n = 1 and now 2"
    each = query.model_copy(update={"for_each": "$x"})
    repeated = [[{"item": 1, "result": value}] for value in rows]
    assert departure(*(ran((each, value), answer=said) for value in repeated)) is None
    foreseen = Foreseen(ran((each, repeated[0]), answer="1"), toolbox_of(Desk))
    assert not foreseen.departs("a", 0, rows[1]) and foreseen.departs("a", 0, other)


def test_a_volatile_id_of_what_a_call_made_is_followed_and_one_that_was_read_binds_no_change() -> None:
    reserve = Step(id="b", tool="reserve", args={"what": "x"})

    def reserved(made: str, paid: str) -> Execution:
        return ran((reserve, ({"what": "x"}, {"id": made})), (PAY, ({"booking": paid}, f"paid {paid}")))

    assert departure(reserved("QWERTZ", "QWERTZ"), reserved("ASDFGH", "ASDFGH")) is None
    found = departure(reserved("QWERTZ", "QWERTZ"), reserved("ASDFGH", "YXCVBN"))
    assert found == 'step c was called with booking = "QWERTZ" and now "YXCVBN"'
    query, book = Step(id="a", tool="query"), Step(id="b", tool="book", args={"what": "$a.cursor"})
    read = [ran((query, {"cursor": key}), (book, ({"what": key}, {"ok": 1}))) for key in ("k1", "k2")]
    assert departure(*read) == 'step b was called with what = "k1" and now "k2"'


@pytest.mark.parametrize(
    ("gave", "now", "given", "passes"),
    [
        ({"total": 40}, {"total": 90}, "total", False),
        ({"total": "40.00 EUR"}, {"total": "90.00 EUR"}, "total", False),
        ({"order_id": 7}, {"order_id": 9}, "order_id", True),
        ({"orderId": 7}, {"orderId": 9}, "orderId", True),
        ({"id_": 7}, {"id_": 9}, "id_", True),
        ({"made": "k7"}, {"made": "k9"}, "made", True),
        ({"paid": 7}, {"paid": 9}, "paid", False),
    ],
)
def test_an_amount_is_no_handle(gave: Any, now: Any, given: str, passes: bool) -> None:
    first, second = (
        ran((BOOK, ({"what": "x"}, made)), (PAY, ({"booking": made[given]}, "ok"))) for made in (gave, now)
    )
    assert (departure(first, second) is None) == passes
    foreseen = Foreseen(first, toolbox_of(Desk))
    foreseen.departure(second.observations[0])
    assert (foreseen.refusal("c", 0, {"booking": now[given]}) is None) == passes


def test_what_a_read_passes_on_to_another_read_is_compared_by_what_came_of_it() -> None:
    look, details = Step(id="a", tool="look"), Step(id="b", tool="details", args={"of": "$a.page"})
    runs = [ran((look, {"page": key}), (details, ({"of": key}, {"name": "Cap"})), answer="Cap") for key in ("t1", "t2")]
    assert departure(*runs) is None
    other = ran((look, {"page": "t2"}), (details, ({"of": "t2"}, {"name": "Coat"})), answer="Cap")
    assert departure(runs[0], other) == 'step b gave name = "Cap" and now "Coat"'


def test_a_volatile_path_that_never_occurs_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    class Fresh(Environment):
        @tool(effect="read", volatile=("took", "rows[*].at", "tok"))
        def query(self) -> Any:
            """Rows."""

    for took in (1, 2, 2):
        Foreseen(ran((Step(id="a", tool="query"), {"took": took, "rows": []})), toolbox_of(Fresh))
    assert [message.split(";")[0] for message in caplog.messages] == [
        "volatile of query names tok, and no result of it has anything there"
    ]


def test_a_departure_names_the_place_and_both_values() -> None:
    foreseen = Foreseen(ran((LOOK, {"rows": [{"ok": True}]})), toolbox_of(Desk))
    found = foreseen.departure(Observation(step="a", args={}, value={"rows": [{"ok": False}]}))
    assert found == "step a gave rows[0].ok = true and now false"
    assert found is not None and found.difference == Difference("rows[0].ok", True, False)


def test_a_stale_read_established_nothing() -> None:
    first = ran((LOOK, {"n": "one"}))
    stale = first.model_copy(update={"observations": (first.observations[0].model_copy(update={"stale": True}),)})
    for seen in (Observation(step="a", args={"x": 1}, value="else"), Observation(step="a", status="error")):
        assert Foreseen(stale, toolbox_of(Desk)).departure(seen) is None
        assert Foreseen(first, toolbox_of(Desk)).departure(seen) is not None


@given(JSON)
def test_what_is_the_same_has_no_differences(value):
    assert [*differences(value, value)] == []


@given(JSON, JSON)
def test_each_difference_stands_where_it_says(was, now):
    for found in differences(was, now):
        assert isinstance(found, Difference) and (found.was != found.now or type(found.was) is not type(found.now))
    assert bool([*differences(was, now)]) == (was != now or repr(was) != repr(now))
