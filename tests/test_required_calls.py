"""Required calls: which of them were made, how the others fail, and what is a quote."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.required_calls import MadeCall, RequiredCall, assign, fill, made_calls, matches, nearest, stands_in
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory
from tests.scripted import step, submit
from tests.stores import executed


class Mail(Environment):
    """Messages that cannot be taken back, notes that can, and a payment with a preview."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @tool(effect="read")
    def contacts(self) -> list[dict[str, str]]:
        return [{"name": "Ann", "email": "ann@x.org"}, {"name": "Bob", "email": "bob@x.org"}]

    @tool(effect="write")
    def note(self, text: str, folder: str = "inbox") -> dict[str, Any]:
        if text == "":
            raise ValueError("nothing to note")
        self.notes.append(text)
        return {"id": len(self.notes)}

    @tool(effect="irreversible")
    def send(self, to: list[str], subject: str, cc: list[str] | None = None) -> dict[str, str]:
        return {"id": "m1"}

    @tool(effect="irreversible", preview="payable")
    def pay(self, to: str, amount: float) -> str:
        return "paid"

    def payable(self, to: str, amount: float) -> str:
        return "would be paid"


TOOLBOX = toolbox_of(Mail)


def call(name: str, /, **args: Any) -> MadeCall:
    return MadeCall("s", name, args, waits=False)


def asks(name: str, /, **args: Any) -> RequiredCall:
    return RequiredCall(tool=name, args=args)


# -------------------------------------------------------------------------------------------------------- what it names


@pytest.mark.parametrize(
    ("required", "said"),
    [
        (asks("send", to=["ann@x.org"], subject="?"), ""),
        (asks("send", to="ann@x.org"), ""),
        (asks("send", cc=None), ""),
        (asks("pay", amount="?"), ""),
        (asks("send_", to=["a"]), "no tool is called 'send_'; did you mean 'send'?"),
        (asks("fly"), "no tool is called 'fly'"),
        (asks("contacts"), "contacts only reads; a requirement names a call that changes something"),
        (asks("pay", amout=3), "pay takes no 'amout'; did you mean 'amount'?"),
        (asks("pay", to=["A", "B"], amount="all"), 'to is ["A", "B"], expected str; amount is "all", expected float'),
        (asks("send", cc=[3]), "cc is [3], expected [str] | null"),
    ],
)  # fmt: skip
def test_what_no_call_can_meet_is_said(required, said):
    assert required.problem(TOOLBOX) == said


def test_a_schema_that_refers_to_nothing_and_an_open_ended_tool_accept_any_argument():
    spec = ToolSpec("f", "", print, {"a": {"$ref": "#/$defs/gone"}}, ("a",), open_ended=True)
    assert asks("f", a=3, b=4).problem(Toolbox([spec])) == ""


def test_open_arguments_are_found_at_any_depth():
    required = asks("f", a="?", b=["x", "?"], c={"d": ["?"]}, e="why?", f=["x"])
    assert required.open == ("a", "b", "c")


# ------------------------------------------------------------------------------------------------- which calls are made


def test_every_change_that_ran_or_waits_is_a_call_and_nothing_else_is():
    run = executed(
        [
            step("a", "contacts"),
            step("b", "note", text="$a[0].name"),
            step("c", "note", text=""),
            step("d", "send", to=["$a[0].email"], subject="Hi"),
            step("e", "pay", to="Ann", amount=10),
            step("f", "note", text="$d.id", folder="at"),
            step("g", "note", text="$c.id"),
            step("h", "fly"),
            submit(answer="Done."),
        ],
        Mail,
    )
    assert made_calls(run.execution, TOOLBOX) == (
        MadeCall("b", "note", {"text": "Ann", "folder": "inbox"}, waits=False),
        MadeCall("d", "send", {"to": ["ann@x.org"], "subject": "Hi"}, waits=True),
        MadeCall("e", "pay", {"to": "Ann", "amount": 10}, waits=True),
        MadeCall("f", "note", {"text": "$d.id", "folder": "at"}, waits=True),
    )


def test_a_repeated_step_makes_a_call_for_each_element_that_did_not_fail():
    run = executed(
        [
            step("a", "contacts"),
            step("b", "note", for_each="[$a[0].name, '', $a[1].name]", text="$item"),
            step("c", "send", for_each="$a", to=["$item.email"], subject="Hi $$"),
            step("d", "note", for_each="$c[].result.id", text="$item"),
        ],
        Mail,
    )
    assert made_calls(run.execution, TOOLBOX) == (
        MadeCall("b", "note", {"text": "Ann", "folder": "inbox"}, waits=False),
        MadeCall("b", "note", {"text": "Bob", "folder": "inbox"}, waits=False),
        MadeCall("c", "send", {"to": ["ann@x.org"], "subject": "Hi $"}, waits=True),
        MadeCall("c", "send", {"to": ["bob@x.org"], "subject": "Hi $"}, waits=True),
        MadeCall("d", "note", {"text": "$item", "folder": "inbox"}, waits=True),
    )


def test_the_defaults_that_a_call_takes_are_shown_with_it():
    parameters = {"a": {"type": "string"}, "b": {"default": 3}, "c": {"default": None}, "d": {}}
    spec = ToolSpec("put", "", print, parameters, ("a",), defaults={"d": Mail})
    execution = Execution(
        trajectory=Trajectory(steps=(Step(id="s", tool="put", args={"a": "x"}),)),
        observations=(Observation(step="s", args={"a": "x"}),),
    )
    assert made_calls(execution, Toolbox([spec])) == (call("put", a="x", b=3, d=str(Mail)),)


# ---------------------------------------------------------------------------------------------- which call is asked for


@pytest.mark.parametrize(
    ("wanted", "given", "same"),
    [
        (10, 10.0, True),
        (10, "10", True),
        (0.3, 0.1 + 0.2, True),
        (10, 10.5, False),
        (1, True, False),
        ("24", "024", False),
        ("Café", " Cafe\u0301\n", True),
        ("Ann", "ann", False),
        ("2024-05-10", "May 10, 2024", True),
        ("2024-05-10", "10th May 2024", True),
        ("2024-05-10", "May 11, 2024", False),
        ("Jan 9, 2024", "09 Jan 2024", True),
        ("Jan 9, 2024", "2024/01/09", True),
        ("January 9 2024 09:30:00", "2024-01-09 09:30", True),
        ("2024-05-10 09:30", "2024-05-10T09:30:00", True),
        ("2024-05-10 09:30", "2024-05-10T10:30:00", False),
        (["a", "b"], ["b", "a"], True),
        (["a", "a", "b"], ["a", "b", "b"], False),
        (["a"], ["a", "b"], False),
        (["a"], "a", True),
        ("a", ["a"], True),
        ([], None, True),
        (None, None, True),
        ({"a": 1, "b": ["x"]}, {"b": "x", "a": 1.0, "c": None}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, "a", False),
        ("?", 0, True),
        ("?", None, False),
        ("?", [], False),
        (["a", "?"], ["b", "a"], True),
        (["a", "?"], ["a"], False),
        (["a", "?"], ["b", "c"], False),
        ([{"x": "?", "y": 1}, {"x": 1, "y": "?"}], [{"x": 1, "y": 1}, {"x": 2, "y": 1}], True),
        ([{"x": 1, "y": "?"}, {"x": "?", "y": 1}], [{"x": 1, "y": 1}, {"x": 2, "y": 1}], True),
    ],
)
def test_arguments_are_compared_by_what_they_mean(wanted, given, same):
    assert matches(asks("f", a=wanted), call("f", a=given, b="free")) is same


def test_an_absent_argument_is_null_and_another_tool_is_another_call():
    assert matches(asks("f", a=None), call("f"))
    assert not matches(asks("f", a=1), call("f"))
    assert not matches(asks("f"), call("g"))


def test_long_lists_are_compared_without_recursion():
    assert not matches(asks("f", a=[0] * 1200), call("f", a=[0] * 1199 + [1]))


VALUES = st.integers(0, 2)
REQUIRED = st.dictionaries(
    st.sampled_from(["R1", "R2", "R3", "R4", "R5"]),
    st.builds(lambda args: asks("f", **args), st.dictionaries(st.sampled_from("ab"), VALUES | st.just("?"))),
)
MADE = st.lists(st.builds(lambda args: call("f", **args), st.dictionaries(st.sampled_from("ab"), VALUES)), max_size=5)


def most(required: list[RequiredCall], calls: list[MadeCall]) -> int:
    """The size of the largest assignment, by trying all."""
    if not required:
        return 0
    first, rest = required[0], required[1:]
    served = [1 + most(rest, calls[:i] + calls[i + 1 :]) for i, made in enumerate(calls) if matches(first, made)]
    return max([most(rest, calls), *served])


@given(REQUIRED, MADE)
def test_an_assignment_is_one_to_one_and_none_is_larger(required, calls):
    found = assign(required, calls)
    assert all(matches(required[name], calls[index]) for index, name in found.serves.items())
    assert sorted([*found.serves.values(), *found.missing]) == sorted(required)
    assert sorted([*found.serves, *found.extra]) == list(range(len(calls)))
    assert len(found.serves) == most(list(required.values()), calls)


def test_the_earlier_of_several_is_preferred():
    same = asks("f", a=1)
    assert assign({"R1": same}, [call("f", a=1), call("f", a=1)]) == ({0: "R1"}, (), (1,))
    assert assign({"R1": same, "R2": same}, [call("f", a=1)]) == ({0: "R1"}, ("R2",), ())


PAYMENTS = st.lists(st.tuples(st.sampled_from(["Ann", "Bob", "Cid"]), st.integers(1, 9)), unique=True, min_size=1)
MUTATIONS = {
    "recipient": lambda one: [call("pay", **{**one.args, "to": "Eve"})],
    "amount": lambda one: [call("pay", **{**one.args, "amount": one.args["amount"] + 0.5})],
    "tool": lambda one: [call("lend", **one.args)],
    "dropped": lambda one: [],
    "doubled": lambda one: [one, one],
}


@given(PAYMENTS, st.sampled_from(sorted(MUTATIONS)), st.data())
def test_a_mutated_call_is_told(payments, mutation, data):
    required = {f"R{n}": asks("pay", to=to, amount=amount) for n, (to, amount) in enumerate(payments)}
    calls = [call("pay", to=to, amount=amount, note="free") for to, amount in payments]
    right = assign(required, calls)
    assert (right.missing, right.extra) == ((), ())
    place = data.draw(st.integers(0, len(calls) - 1))
    mutated = MUTATIONS[mutation](calls[place])
    found = assign(required, [*calls[:place], *mutated, *calls[place + 1 :]])
    assert found.missing == (() if mutation == "doubled" else (f"R{place}",))
    extra = {"dropped": (), "doubled": (place + 1,)}.get(mutation, (place,))
    assert found.extra == extra


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([call("pay", to="Ann", amount=12)], "pay was called with amount 12 instead of 10"),
        ([call("pay", to="Bob", amount=12), call("pay", to="Bob", amount=10)],
         'pay was called with to "Bob" instead of "Ann"'),
        ([call("pay", to="Bob")], 'pay was called with to "Bob" instead of "Ann", without amount 10'),
        ([call("pay", to="Ann", amount=10), call("lend", to="Ann")], None),
    ],
)  # fmt: skip
def test_the_nearest_call_is_shown_with_how_it_fails(calls, said):
    found = nearest(asks("pay", to="Ann", amount=10), calls)
    assert (found and found[1]) == said


# --------------------------------------------------------------------------------------------------- what is read later


@pytest.mark.parametrize(
    ("later", "result"),
    [
        ({"tool": "send", "args": {"to": ["david", "anna"]}}, asks("send", to=["david", "anna"], subject="Hi", id="?")),
        ({"args": {"id": "3", "cc": ["x"]}}, asks("send", to=["david", "?"], subject="Hi", id="3", cc=["x"])),
        ({"args": {"subject": " Hi"}}, asks("send", to=["david", "?"], subject="Hi", id="?")),
        ({}, asks("send", to=["david", "?"], subject="Hi", id="?")),
        ({"tool": "pay"}, "the call is one of send and stays so; pay is another"),
        ({"args": {"subject": "Ho"}}, 'subject is "Hi" and cannot become "Ho"'),
        ({"args": {"subject": "?"}}, 'subject is "Hi" and cannot become "?"'),
        ({"args": {"to": ["eve", "anna"]}}, 'to is ["david", "?"] and cannot become ["eve", "anna"]'),
        ({"args": {"id": None}}, 'id is "?" and cannot become null'),
        ({"args": ["3"]}, 'args is an object of arguments, not ["3"]'),
    ],
)
def test_only_what_is_open_or_free_is_filled(later, result):
    assert fill(asks("send", to=["david", "?"], subject="Hi", id="?"), later) == result


LEAVES = st.sampled_from(["?", "a", "b", 1, 1.5, None, "2024-05-10", "May 10, 2024"])
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner), max_leaves=4
)
ARGS = st.dictionaries(st.sampled_from("ab"), NESTED)


@given(ARGS, ARGS, ARGS)
def test_whatever_meets_a_filled_call_meets_the_call_as_it_was(fixed, later, made):
    required = asks("f", **fixed)
    filled = fill(required, {"args": later})
    if isinstance(filled, str):
        assert any(matches(asks("f", **{name: fixed[name]}), call("f", **later)) is False for name in fixed)
        return
    assert {name: filled.args[name] for name in fixed if name not in required.open} == {
        name: value for name, value in fixed.items() if name not in required.open
    }
    for candidate in (made, later, {**fixed, **later}):
        if matches(filled, call("f", **candidate)):
            assert matches(required, call("f", **candidate))


# ------------------------------------------------------------------------------------------------------- what is quoted

MAIL = [
    {"id_": "24", "size": 4, "body": "Hi Emma,\n  - 1. Take \"plan.docx\", add 1,500.50 to it.\n", "at": "2024-05-15"},
    {"id_": "r", "size": 40, "body": "C:\\new\\café 東京都庁", "at": "2024-05-16"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("quote", "stands"),
    [
        ("Take \"plan.docx\"", True),
        ("Take \\\"plan.docx\\\", add", True),
        ("Hi Emma,\n- 1. Take", True),
        ("Hi Emma,\\n  - 1. Take", True),
        ("| Hi Emma,\n|   - 1. Take", True),
        ('"id_": "24", "size": 4', True),
        ('"at": "2024-05-15"}\n| {"id_": "r"', True),
        ("C:\\new\\cafe\u0301", True),
        ('"C:\\\\new', True),
        ("京都庁", True),
        ("24", True),
        ("r", True),
        ("4", True),
        ("40", True),
        ("15", False),
        ("1", False),
        ("", False),
        ("|", False),
        ("Emm", False),
        ("mma,", False),
        ('"size": 4, "body": "C', False),
        ("add 1", False),
        ("add 1,500", False),
        ("add 1,500.50 to it.", True),
        ("500.50 to it", False),
        ("hi emma", False),
        ("Hi Emma, add", False),
        ("plan.docx\" add 1,500.50", False),
    ],
)  # fmt: skip
def test_a_quote_stands_in_a_text_or_in_the_rows_as_they_are_shown(quote, stands):
    assert stands_in(quote, MAIL) is stands


def test_a_quote_stands_in_a_plain_text_or_number():
    assert stands_in("the rent is 1200", "From May on\nthe rent is 1200.")
    assert stands_in("7", 7)
    assert not stands_in("7", 77)


TEXT = st.text("ab dE5é1.,:-'\"\\\n|@東", max_size=30)
ROW = st.fixed_dictionaries({"id": st.integers(), "x y": TEXT, "body": TEXT})
TOKEN = re.compile(r"\\.|\w+(?:[.,]\w+)*|\S")


@st.composite
def cuts(draw):
    """Two rows, and a part of one of them as prompts show it, from the beginning of a token to the end of one."""
    rows = [draw(ROW), draw(ROW)]
    row = json.dumps(rows[1], ensure_ascii=False)
    tokens = list(TOKEN.finditer(row))
    begin = draw(st.sampled_from([token.start() for token in tokens if token.start() < len(row) - 8]))
    quote = row[begin : draw(st.sampled_from([token.end() for token in tokens if token.end() >= begin + 8]))]
    assume(sum(map(str.isalnum, re.sub(r"\\.", "", quote))) >= 3)
    return rows, quote


@given(cuts())
def test_what_is_cut_out_of_a_row_stands_in_it(cut):
    rows, quote = cut
    assert stands_in(quote, rows)


@given(cuts(), st.data())
def test_a_quote_with_one_altered_word_does_not(cut, data):
    rows, quote = cut
    words = [match for match in TOKEN.finditer(quote) if match[0][0].isalnum()]
    word = data.draw(st.sampled_from(words))
    assert not stands_in(f"{quote[: word.start()]}other{quote[word.end() :]}", rows)
