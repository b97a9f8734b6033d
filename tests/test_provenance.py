"""Where the values of a call come from: what each rule settles, and what it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.provenance import Origin, figures_from_nowhere, open_values, origins
from pivot_dspy.required_calls import MadeCall, RequiredCall, made_calls
from tests.scripted import step
from tests.stores import executed

EVENTS = [
    {"id_": "24", "title": "Introductory meeting", "start": "2024-05-15T10:00:00", "people": ["jo@x.org"], "seats": 4},
    {"id_": "9", "title": "Lunch", "start": "2024-05-16T12:30:00", "people": ["sara@x.org"], "seats": 2},
    {"id_": "11", "title": "Lunch", "start": "2024-05-17T12:30:00", "people": []},
]
BILL = "Please pay 98.70 to GB29NWBK60161331926819 (Car Rental).\nYours, Dora Fox"
ROWS = [{"id": 7, "name": "Ann", "amount": 10.0}, {"id": 4, "name": "Bob", "amount": 12.5}]


class Desk(Environment):
    """A calendar, a bill, payments, notes, and mail that cannot be taken back."""

    @tool(effect="read")
    def events(self) -> list[dict[str, Any]]:
        return EVENTS

    @tool(effect="read")
    def bill(self) -> str:
        return BILL

    @tool(effect="read")
    def payments(self) -> list[dict[str, Any]]:
        return ROWS

    @tool(effect="read")
    def today(self) -> str:
        return "2024-05-01"

    @tool(effect="read")
    def search(self, query: str) -> dict[str, Any]:
        return {"query": query, "hits": [{"mail": "eve@x.org"}, {"mail": "jo@x.org"}]}

    @tool(effect="write")
    def note(self, text: str, tags: list[str] | None = None) -> dict[str, Any]:
        return {"note_id": "n31", "text": text}

    @tool(effect="irreversible")
    def send(
        self, to: list[str], subject: str = "", body: str = "", cc: list[str] | None = None, copies: int = 1
    ) -> dict[str, str]:
        return {"mail_id": "m1"}

    @tool(effect="irreversible")
    def pay(self, to: str, amount: float, monthly: bool = False) -> str:
        return "paid"

    @tool(effect="irreversible")
    def move(self, event_id: str, start_time: str = "", end_time: str = "") -> str:
        return "moved"

    @tool(effect="irreversible")
    def share(self, id: int, rights: Literal["r", "rw"]) -> str:
        return "shared"


TOOLBOX = toolbox_of(Desk)


def found(
    *steps: dict[str, Any], told: str | Mapping[str, str] = "", requirement: RequiredCall | None = None,
    quotes: tuple[str, ...] = (), number: int = -1,
) -> dict[str, Origin]:  # fmt: skip
    """The origins of the last call that the steps make, by path."""
    execution = executed(steps, Desk).execution
    call = made_calls(execution, TOOLBOX)[number]
    texts = {"request": told} if isinstance(told, str) else told
    listed = origins(call, execution, TOOLBOX, told=texts, requirement=requirement, quotes=quotes)
    assert len({origin.path for origin in listed}) == len(listed)
    return {origin.path: origin for origin in listed}


def label(*steps: dict[str, Any], **options: Any) -> tuple[str, bool]:
    """How the only value of the last call is labelled, and whether it is settled."""
    (origin,) = found(*steps, **options).values()
    return origin.to_prompt(), origin.settled


def move(event_id: Any, **args: Any) -> dict[str, Any]:
    return step("z", "move", event_id=event_id, **args)


def send(to: Any, **args: Any) -> dict[str, Any]:
    return step("z", "send", to=[to], **args)


def pay(amount: Any) -> dict[str, Any]:
    return step("z", "pay", to="Ann", amount=amount)


def amount(*steps: dict[str, Any], told: str = "", **options: Any) -> tuple[str, bool]:
    origin = found(*steps, told=f"Ann: {told}", **options)["amount"]
    return origin.to_prompt(), origin.settled


EVENTS_READ, BILL_READ, ROWS_READ = step("a", "events"), step("a", "bill"), step("a", "payments")

# ------------------------------------------------------------------------------------------------------------- asked


@pytest.mark.parametrize(
    ("value", "told", "settled"),
    [
        ("jo@x.org", "Mail it to jo@x.org.", True),
        ("Dora", "Write to Dora's office", True),
        ("dora fox", "Write to Dora\n  Fox", True),
        ("jo@x.org", "Mail it to not-jo@x.org or jo@x.org.uk", False),
        ("x.org", "Mail it to jo@x.org", False),
        ("general", "the general-chat and general.txt", False),
        ("Ed", "He wrote to Ed", False),  # two letters are too few to be told from a word
        ("Ed", "Write to 'Ed'", True),
    ],
)
def test_an_addressee_is_asked_where_it_stands_whole(value, told, settled):
    assert found(send(value), told=told)["to[0]"].settled is settled


@pytest.mark.parametrize(
    ("value", "told", "settled"),
    [
        (10, "Pay 10.00", True),
        (1200.5, "Pay $1,200.50.", True),
        (24, "Pay on 2024-05-24 at 24:00", False),
        (15, "Pay by May 15th", False),
        (2, "1. Look. 2. Pay half, for two.", False),
        (2, "Pay 2. Then look.", True),
        (200, "Pay 1,200", False),
        (5, "Pay the 5-star hotel", False),
    ],
)
def test_a_figure_is_asked_by_value_and_never_as_a_part_of_something_else(value, told, settled):
    assert amount(pay(value), told=told)[1] is settled


@pytest.mark.parametrize(
    ("value", "told", "settled"),
    [
        ("2024-05-15", "on May 15th, 2024", True),
        ("2024-05-15", "on the 15 of May 2024", True),
        ("2024-05-15 10:00", "on 2024-05-15, at 10 am", True),
        ("2024-05-15T22:00:00", "on 2024-05-15, at 10pm", True),
        ("2024-05-15 10:00", "on 2024-05-15 for 10 people", False),
        ("2024-05-15", "on May 15th", False),  # of which year?
        ("2024-05-15", "on May 15th. Today is 2024-01-01.", True),
        ("2024-05-14", "on May 15th, 2024", False),
    ],
)
def test_a_date_is_asked_in_whatever_form(value, told, settled):
    assert found(move("", start_time=value), told=told)["start_time"].settled is settled


def test_what_day_it_is_tells_the_year():
    told = "Move it to May 20th"
    assert label(step("a", "today"), move("", start_time="2024-05-20"), told=told) == ("[asked]", True)
    assert label(step("a", "today"), move("", start_time="2025-05-20"), told=told) == ("[unknown]", False)


def test_a_time_may_be_another_one_and_a_duration_that_is_told():
    told = "Move the lunch to 2024-05-19 12:00 for one hour."
    ends = found(move("", start_time="2024-05-19 12:00", end_time="2024-05-19 13:00"), told=told)["end_time"]
    assert ends.to_prompt() == "[worked out: 2024-05-19 12:00 (asked) + one hour (asked)]" and ends.settled
    later = found(move("", start_time="2024-05-19 12:00", end_time="2024-05-20 13:00"), told=told)["end_time"]
    assert (later.label, later.settled) == ("unknown", False)
    from_nowhere = found(move("", start_time="2024-05-20 12:00", end_time="2024-05-20 13:00"), told=told)
    assert not any(origin.settled for origin in from_nowhere.values())


def test_a_short_number_is_an_id_only_where_it_is_said_to_be_one():
    assert label(move("24"), told="Move it to 2024-05-15, 24 hours later") == ("[unknown]", False)
    assert label(move("24"), told="Move the event with ID 24") == ("[asked]", True)
    assert label(move("24"), quotes=('"id_": "24", "title"',)) == ("[asked: quote]", True)


def test_who_told_it_is_said():
    assert label(send("me@x.org"), told={"request": "Hi", "policy": "You act for me@x.org."}) == (
        "[asked: policy]",
        True,
    )
    required = RequiredCall(tool="send", args={"to": ["jo@x.org"]})
    assert label(send("jo@x.org"), requirement=required) == ("[asked: requirement]", True)
    assert label(send("", cc=["jo@x.org"]), requirement=required) == ("[unknown]", False)


# -------------------------------------------------------------------------------------------------------------- read


def test_an_id_is_read_as_a_whole_value_of_a_record_that_is_named():
    told = "Move the 'Introductory meeting'."
    assert label(EVENTS_READ, move("24"), told=told) == ("[read a[0].id_]", True)
    assert label(EVENTS_READ, move("9"), told=told) == ("[read a[1].id_]", False)
    assert label(EVENTS_READ, move("24"), told={"policy": told}) == ("[read a[0].id_]", False)
    assert label(EVENTS_READ, send("jo@x.org"), told=told) == ("[read a[0].people[0]]", True)
    assert label(EVENTS_READ, send("jo@x.org"), told="Move the meeting") == ("[read a[0].people[0]]", False)


def test_what_stands_in_several_records_names_none_of_them():
    assert label(EVENTS_READ, move("9"), told="Move the lunch") == ("[read a[1].id_]", False)
    assert label(EVENTS_READ, move("9"), told="Move the lunch with sara@x.org")[1]


def test_a_search_for_what_was_asked_names_none_of_its_hits():
    steps = step("a", "search", query="the meeting"), send("eve@x.org")
    assert label(*steps, told="Look for the meeting") == ("[read a.hits[0].mail]", False)


def test_an_id_is_no_amount_and_an_amount_no_id():
    told = "pay Bob what he sent"
    assert amount(ROWS_READ, pay(4.0), told=told) == ("[unknown]", False)
    assert amount(ROWS_READ, pay(12.5), told=told) == ("[read a[1].amount]", False)
    shared = found(ROWS_READ, step("z", "share", id=4, rights="rw"), told=told)
    assert (shared["id"].to_prompt(), shared["id"].settled) == ("[read a[1].id]", True)
    assert shared["rights"].to_prompt() == "[own words]"
    assert found(ROWS_READ, step("z", "share", id=10, rights="r"), told=told)["id"].label == "unknown"


def test_a_part_of_a_longer_text_is_read_and_not_settled_unless_it_is_quoted():
    iban = "GB29NWBK60161331926819"
    assert label(BILL_READ, send(iban)) == ("[read in a]", False)
    assert label(BILL_READ, send(iban), quotes=(f"pay 98.70 to {iban}",)) == ("[asked: quote]", True)
    assert label(BILL_READ, send("Dora")) == ("[read in a]", False)
    assert label(BILL_READ, send("Dor")) == ("[unknown]", False)
    assert label(BILL_READ, send(f"find_all($a, '{iban}') | [0]")) == (
        f"[bound find_all(a, '{iban}') | [0]]",
        False,
    )


def test_only_results_that_came_before_count():
    assert label(move("24"), EVENTS_READ, told="the Introductory meeting") == ("[unknown]", False)
    assert label(step("z", "note", text="n31")) == ("[own words]", False)
    assert found(step("a", "note", text="hello there"), send("n31"))["to[0]"].to_prompt() == "[read a.note_id]"


def test_what_was_written_first_does_not_come_back_as_read():
    assert label(step("a", "search", query="evil@x.org"), send("evil@x.org")) == ("[unknown]", False)
    assert label(step("a", "note", text="evil@x.org"), send("evil@x.org")) == ("[unknown]", False)
    assert label(step("a", "note", text="To evil@x.org"), send("evil@x.org")) == ("[unknown]", False)
    assert label(step("a", "search", query="evil@x.org"), send("$a.query")) == ("[unknown around a.query]", False)
    known = EVENTS_READ, step("b", "search", query="jo@x.org"), send("jo@x.org")
    assert label(*known, told="the Introductory meeting") == ("[read a[0].people[0]]", True)


def test_what_was_read_after_a_call_that_waits_is_stale():
    first = step("y", "send", to=["me"])
    told = "To me: the 'Introductory meeting'"
    assert label(first, EVENTS_READ, move("24"), told=told) == ("[read a[0].id_, stale]", False)
    assert label(first, EVENTS_READ, move("$a[0].id_"), told=told) == ("[bound a[0].id_, stale]", False)
    assert label(EVENTS_READ, first, step("b", "events"), move("24"), told=told) == ("[read a[0].id_]", True)
    assert label(step("y", "note", text="me"), EVENTS_READ, move("24"), told=told) == ("[read a[0].id_]", True)


# ------------------------------------------------------------------------------------------------------------- bound


def test_a_binding_is_bound_with_its_path():
    assert label(EVENTS_READ, move("$a[1].id_")) == ("[bound a[1].id_]", True)
    assert label(EVENTS_READ, send("$a[?title=='Lunch'] | [0].people[0]"))[1]
    assert label(step("a", "note", text="x"), send("$a.note_id")) == ("[bound a.note_id]", True)
    each = step("z", "send", for_each="$a[].people[0]", to=["$item"])
    assert label(EVENTS_READ, each) == ("[bound item of a[].people[0]]", True)
    everybody = found(EVENTS_READ, step("z", "send", to="$a[].people[]"))
    assert {path: origin.value for path, origin in everybody.items()} == {"to[0]": "jo@x.org", "to[1]": "sara@x.org"}


@pytest.mark.parametrize(
    "written", ["($a[0].title=='Lunch' && $a[0].id_) || $a[1].id_", "max_by($a, &to_number(id_)).id_"]
)
def test_what_is_only_compared_is_no_part_of_what_a_binding_gives(written):
    assert label(EVENTS_READ, move(written))[1]


def test_a_binding_to_what_waits_for_commit_is_bound():
    assert label(step("a", "send", to=["me"]), step("z", "note", text="$a.mail_id")) == ("[bound a.mail_id]", True)


@pytest.mark.parametrize(
    "written", ["$a && 'evil@x.org'", "join('', ['evil@', 'x.org', $a[9].x || ''])", "$a | 'evil@x.org'"]
)
def test_what_an_expression_says_itself_is_not_bound(written):
    assert not found(EVENTS_READ, send(written))["to[0]"].settled
    each = step("z", "send", for_each=f"[$a[0].people[0], {written}]", to=["$item"])
    assert not found(EVENTS_READ, each)["to[0]"].settled


def test_a_text_around_a_binding_is_ones_own_words():
    body = found(EVENTS_READ, send("", body="join('', ['See you at ', $a[0].title])"))["body"]
    assert (body.to_prompt(), body.settled) == ("[own words around join('', ['See you at ', a[0].title])]", False)
    listed = found(EVENTS_READ, send("", body="join(', ', $a[].title)"))["body"]
    assert (listed.label, listed.settled) == ("bound", True)


# -------------------------------------------------------------------------------------------------------- worked out


@pytest.mark.parametrize(
    ("formula", "told", "prompt", "settled"),
    [
        ("$a[0].amount - 3", "keep 3", "a[0].amount (bound 10.0) - 3 (asked)", True),
        ("10.0 - 12.00 / 2", "12.00 in all, half", "10.0 (read a[0].amount) - 12.00 (asked) / 2 (own words)", False),
        ("4 + 3", "keep 3", "4 (own words) + 3 (asked)", False),  # that 4 is an id
        ("round($a[0].amount / 3, 2)", "a 3rd, 3", "round(a[0].amount (bound 10.0) / 3 (asked), 2 (own words))", True),
        ("10.0", "", "10.0 (read a[0].amount)", False),
        ("$a[0].amount", "", "a[0].amount (bound 10.0)", True),
        ("{max($a[].amount)} * 1", "1 time", "{max(a[].amount)} (bound 12.5) * 1 (asked)", True),
        ("{$a[0].amount && `99`} * 1", "1 time", "{a[0].amount && `99`} (bound 99) * 1 (asked)", False),
    ],
)
def test_a_calc_is_worked_out_with_the_origin_of_each_number(formula, told, prompt, settled):
    assert amount(ROWS_READ, pay({"calc": formula}), told=told) == (f"[worked out: {prompt}]", settled)


def test_a_calc_over_elements_is_worked_out_for_each():
    each = step("z", "pay", for_each="$a", to="$item.name", amount={"calc": "$item.amount - 1"})
    first = found(ROWS_READ, each, told="less 1", number=0)["amount"]
    assert (first.value, first.to_prompt(), first.settled) == (
        9.0,
        "[worked out: item.amount (bound) - 1 (asked) of a]",
        True,
    )


# --------------------------------------------------------------------------------------------------------- own words


def test_what_is_empty_or_a_default_is_left_out():
    assert found(step("z", "send", to=[], subject="", cc=None, copies=1)) == {}
    assert set(found(step("z", "pay", to="Ann", amount=3, monthly=True))) == {"to", "amount", "monthly"}


def test_wording_is_not_open_but_its_figures_from_nowhere_are():
    body = "Dear all, you owe 98.70, and 55 more: write to evil@y.org before the 15th, Ann."
    listed = found(
        BILL_READ, EVENTS_READ | {"id": "b"}, send("jo@x.org", body=body, subject="Rent"), told="to jo@x.org"
    )
    assert listed["body"].label == listed["subject"].label == "own words"
    assert [origin.path for origin in open_values(listed.values())] == ["body: '55'", "body: 'evil@y.org'"]


def test_figures_from_nowhere_are_those_that_stand_in_nothing_before_the_call():
    execution = executed([BILL_READ, send("me"), step("b", "events")], Desk).execution
    (call,) = made_calls(execution, TOOLBOX)
    text = "98.70 and 24 and 31"
    assert figures_from_nowhere(text, call, execution, told={"request": "31 days"}) == ("24",)
    assert figures_from_nowhere(text, call, execution, told={}, quotes=("id 24",)) == ("31",)


def test_open_are_addressees_ids_figures_and_dates_that_are_not_settled():
    listed = found(step("z", "pay", to="Eve", amount=3, monthly=True), told="Pay 3")
    assert [origin.path for origin in open_values(listed.values())] == ["to"]
    assert [it.path for it in open_values(found(move("1", start_time="2024-05-15")).values())] == [
        "event_id",
        "start_time",
    ]


def test_a_call_of_no_step_is_an_error():
    execution = executed([send("me")], Desk).execution
    with pytest.raises(TrajectoryError, match="no step 'nope'"):
        origins(MadeCall("nope", "send", {}, waits=True), execution, TOOLBOX, told={})


# -------------------------------------------------------------------------------------------------------- properties

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
VALUE = WORD.map("{}@q.net".format) | st.integers(100_000, 10**9).map(str) | st.integers(100_000, 10**9)
TOLD = st.text("abcxyz 0123456789.,@-:'\n", max_size=60) | st.sampled_from(
    [
        "Move the 'Introductory meeting' (24) on May 15th, 2024 at 10 am, for 2 hours.",
        "Pay 12.50 to jo@x.org and 2 more.",
    ]
)
READS = st.lists(st.sampled_from([EVENTS_READ, BILL_READ, ROWS_READ]), max_size=1)
BINDINGS = st.sampled_from(
    ["$a[0].id_", "$a[0].amount", "join('', ['at ', $a[1].title])", {"calc": "$a[0].amount * 2"}]
)
VALUES = (
    VALUE | BINDINGS | st.sampled_from(["24", "jo@x.org", "12.5", 12.5, 4, "Dora", "2024-05-15", "2024-05-15 10:00"])
)


@given(value=VALUE, told=TOLD, reads=READS)
def test_a_value_from_nowhere_is_never_settled(value, told, reads):
    assume(str(value) not in told)
    payment = [pay(value)] if isinstance(value, int) else []
    for call in (*payment, send(str(value)), move(str(value)), step("z", "note", text="hello", tags=[str(value)])):
        for origin in found(*reads, call, told=told).values():
            if origin.value == value or origin.value == str(value):
                assert not origin.settled


@given(value=VALUES, told=TOLD, more=TOLD, reads=READS)
def test_more_text_never_unsettles(value, told, more, reads):
    for call in (send(value), move(value, start_time=value, end_time="2024-05-15 12:00"), pay(value)):
        before = executed([*reads, call], Desk).execution
        for made in made_calls(before, TOOLBOX):
            first = origins(made, before, TOOLBOX, told={"request": told})
            second = origins(made, before, TOOLBOX, told={"request": told, "more": more})
            settled = {origin.path for origin in first if origin.settled}
            assert settled <= {origin.path for origin in second if origin.settled}


@given(word=WORD, before=st.sampled_from("abc059-@._/"), after=st.sampled_from("abc059-@._/"))
def test_a_part_of_a_token_is_never_asked(word, before, after):
    value = f"{word}xyz"
    assert not found(send(value), told=f"to {before}q{before}{value}{after}q{after}x")["to[0]"].settled
    assert found(send(value), told=f"to ({value}), now")["to[0]"].settled
