"""Blame where nothing can be checked: required calls, judges' words, and values that stand somewhere or nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Environment, Requirement, Requirements, Step, Trajectory, tool
from pivot_dspy.blame.ranking import gradient, rank
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.gradient import Suspect
from pivot_dspy.required_calls import RequiredCall
from pivot_dspy.requirements import Finding

TASK = "Pay Ann what she asks for in her mail of May 10th, and tell her."
MAILS = [
    {"id": "24", "from": "ann@x.org", "body": "Please pay 1,200 to CH93-7.\nSee www.eve-blog.com by 2024-05-21T10:00."},
    {"id": "31", "from": "bob@x.org", "body": "175 for rent and 200 for wine. Luxury Palace is full."},
]  # fmt: skip


class Office(Environment):
    """Mail, and an account that money leaves only at commit."""

    @tool(effect="read")
    def mails(self, query: str) -> list[dict[str, Any]]:
        return MAILS

    @tool(effect="irreversible")
    def pay(self, recipient: str, amount: float, note: str = "") -> str:
        return "paid"

    @tool(effect="write")
    def send(self, to: list[str], body: str) -> str:
        if not body:
            raise ValueError("nothing to send")
        return "sent"


READ = Step(id="a", tool="mails", args={"query": "Ann"})
PAY = Step(id="p", tool="pay", args={"recipient": "CH93-7", "amount": 1200})
SEND = Step(id="m", tool="send", args={"to": ["ann@x.org"], "body": "It is paid."})
SUBMIT = Step(id="submit", tool="submit", args={"answer": "I have paid Ann."})
PAID = Requirement(id="R1", text="Ann is paid.", call=RequiredCall(tool="pay", args={"recipient": "?", "amount": 1200}))
TOLD = Requirement(id="R2", text="Ann is told.", call=RequiredCall(tool="send", args={"to": ["ann@x.org"]}))
CALLS = (PAID, TOLD)
PAID_IN_WORDS = Requirement(id="R1", text="Pay 1200 to CH93-7.")
TOLD_IN_WORDS = Requirement(id="R2", text="Send a mail to ann@x.org.")
WORDS = (PAID_IN_WORDS, TOLD_IN_WORDS)


def case(steps: tuple[Step, ...], requirements: tuple[Requirement, ...] = CALLS, **unmet: str) -> tuple[Any, ...]:
    """A run with its findings: what rules find, and the evidence of a judge against what else is `unmet`."""
    settled = Requirements(items=requirements)
    session = SessionFactory(Office, timeout=None).open(None)
    done = run_sync(execute(Trajectory(steps=steps), session.fork(), outputs={"answer": str}))
    found = [
        Finding(requirement=finding.requirement, status="violated", evidence=unmet[finding.requirement])
        if finding.requirement in unmet else finding
        for finding in evaluate(settled, done.execution, done.session)
    ]  # fmt: skip
    session.close()
    return done.execution, settled, found, session.toolbox


def first(steps: tuple[Step, ...], requirements: tuple[Requirement, ...] = CALLS, **unmet: str) -> Suspect:
    return rank(*case(steps, requirements, **unmet), task=TASK)[0]


def changed(step: Step, **args: Any) -> Step:
    return step.model_copy(update={"args": {**step.args, **args}})


def test_what_is_done_as_required_has_no_suspects() -> None:
    assert rank(*case((READ, PAY, SEND, SUBMIT)), task=TASK) == ()


# -- requirements that name their call

NOT_PAID = Suspect(
    position=2, step="submit", kind="missing_step", certain=True, requirements=("R1",),
    diagnosis="Nothing was written that R1 asks for; the missing step belongs before submit.",
    correction='Add a pay step with {"amount": 1200}.',
)  # fmt: skip
WRONG_AMOUNT = Suspect(
    position=1, step="p", kind="wrong_value", requirements=("R1",),
    diagnosis="In p, pay was called with amount 120 instead of 1200, as R1 asks.",
    correction="Use amount 1200 (R1).",
    evidence=("it may be the cause: what went wrong depends on it",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param((READ, SEND, SUBMIT), NOT_PAID, id="dropped"),
        pytest.param((READ, changed(PAY, amount=120), SEND, SUBMIT), WRONG_AMOUNT, id="wrong value"),
        pytest.param(
            (SUBMIT,), NOT_PAID.model_copy(update={"position": 0, "requirements": ("R1", "R2")}), id="answer alone"
        ),
    ],
)
def test_a_call_that_was_not_made(steps: tuple[Step, ...], expected: Suspect) -> None:
    assert first(steps).model_copy(update={"evidence": ()}) == expected.model_copy(update={"evidence": ()})


def test_two_are_asked_for_and_one_is_made() -> None:
    """The one that is made serves one of them, and of the other one cannot be certain: one mail may serve two."""
    twice = Requirement(id="R3", text="Ann is told once more.", call=TOLD.call)
    found = first((READ, PAY, SEND, SUBMIT), (*CALLS, twice))
    assert (found.step, found.kind, found.certain, found.requirements) == ("submit", "missing_step", False, ("R3",))


def test_each_wrong_call_is_laid_to_the_requirement_that_it_is_nearest_to() -> None:
    bob = PAID.model_copy(update={"id": "R3", "call": RequiredCall(tool="pay", args={"recipient": "B1", "amount": 9})})
    second = changed(PAY, amount=12).model_copy(update={"id": "q"})
    steps = (READ, changed(PAY, recipient="B1", amount=8), second, SUBMIT)
    found = {suspect.step: suspect for suspect in rank(*case(steps, (PAID, bob)), task=TASK)}
    assert (found["p"].diagnosis, found["p"].correction) == (
        "In p, pay was called with amount 8 instead of 9, as R3 asks.", "Use amount 9 (R3)."
    )  # fmt: skip
    assert found["q"].correction == "Use amount 1200 (R1)."


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (changed(SEND, body=""), "tool_error"),
        (changed(SEND, to=["$item.from"]).model_copy(update={"for_each": "$a[?id=='0']"}), "unresolved_binding"),
    ],
)
def test_a_step_that_failed_is_not_missing(step: Step, kind: str) -> None:
    found = rank(*case((READ, PAY, step, SUBMIT)), task=TASK)
    assert (found[0].step, found[0].kind) == ("m", kind)
    assert "missing_step" not in [one.kind for one in found]


def test_what_is_missing_belongs_before_the_change_that_failed_for_want_of_it() -> None:
    found = rank(*case((READ, changed(SEND, body=""), SUBMIT)), task=TASK)[0]
    assert (found.position, found.kind, found.diagnosis) == (
        1, "missing_step", "Nothing was written that R1 asks for; the missing step belongs before m."
    )  # fmt: skip


def test_a_plan_that_stopped_to_look_is_told_to_go_on() -> None:
    found = rank(*case((READ,)), task=TASK)
    assert [(one.kind, one.certain) for one in found][:2] == [("missing_submit", True), ("missing_step", False)]


# -- what a judge finds unmet


@pytest.mark.parametrize(
    ("requirements", "unmet", "step", "kind", "diagnosis"),
    [
        (CALLS, {"R1": ""}, "p", "wrong_value", "It may be meant for R1, which is not met."),
        (CALLS, {"R1": "Please pay 1,200 to CH93-7."}, "p", "wrong_value", "It may be meant for R1"),
        (CALLS, {"R1": '"It is paid." is too early'}, "m", "wrong_value", "what speaks against R1 stands in it"),
        (WORDS, {"R2": ""}, "m", "wrong_value", "It may be meant for R2"),
        ((TOLD,), {"R2": ""}, "m", "wrong_value", "It may be meant for R2"),
        (CALLS, {"R2": "I have paid Ann."}, "submit", "wrong_value", "what speaks against R2 stands in it"),
    ],
)
def test_what_a_judge_says_points_to_a_step(
    requirements: tuple[Requirement, ...], unmet: dict[str, str], step: str, kind: str, diagnosis: str
) -> None:
    found = first((READ, PAY, SEND, SUBMIT), requirements, **unmet)
    assert (found.step, found.kind, found.certain) == (step, kind, False) and diagnosis in found.diagnosis


def test_what_may_be_wrong_are_the_arguments_that_had_to_be_read_first() -> None:
    assert first((READ, PAY, SEND, SUBMIT), R1="").correction == "Look at recipient."


@pytest.mark.parametrize(
    ("evidence", "step", "kind"),
    [
        ("", "submit", "missing_step"),
        ("nothing shows it", "submit", "missing_step"),
        ("Luxury Palace is full", "a", "wrong_value"),
        ("`Luxury Palace` is not what was asked for", "a", "wrong_value"),
    ],
)
def test_what_no_call_serves_is_missing_or_stands_in_a_result(evidence: str, step: str, kind: str) -> None:
    hotel = Requirement(id="R5", text="A room is booked.")
    found = first((READ, PAY, SEND, SUBMIT), (*CALLS, hotel), R5=evidence)
    assert (found.step, found.kind, found.certain) == (step, kind, False)


def test_in_words_a_dropped_write_is_missing_though_others_were_made() -> None:
    found = first((READ, SEND, SUBMIT), WORDS, R1="")
    assert (found.position, found.kind, found.requirements) == (2, "missing_step", ("R1",))
    assert first((SUBMIT,), WORDS, R1="", R2="").kind == "missing_step"


# -- values


def suspected(value: str, task: str = TASK) -> list[str]:
    """What is said against a value that is passed on after the mails were read."""
    return unknown(case((READ, changed(PAY, recipient=value), SEND, SUBMIT), WORDS, R1=""), task)


def unknown(ran: tuple[Any, ...], task: str = TASK) -> list[str]:
    """All that is said to stand nowhere."""
    texts = [text for one in rank(*ran, task=task) for text in (one.diagnosis, *one.evidence)]
    return [text.rstrip(".") for text in texts if "not known to stand" in text]


@pytest.mark.parametrize(
    "value",
    [
        "CH93-7", "24", "www.eve-blog.com", "https://www.eve-blog.com", "Luxury Palace", "body", "1200", "375",
        "2024-05-10", "May 10th, 2024", "10 May", "2024-05-21", "10:00", "May 21 10:00", "Palace", "1200.0", "from",
    ],
)  # fmt: skip
def test_a_value_that_stands_somewhere_is_not_suspected(value: str) -> None:
    assert suspected(value) == []


@pytest.mark.parametrize("value", ["CH94-8", "www.eva-blog.com", "ann@y.org", "hotels", "XK7"])
def test_a_value_that_stands_nowhere_may_be_wrong(value: str) -> None:
    text = f"{json.dumps(value)} may be wrong: it is not known to stand anywhere that was read or asked"
    assert suspected(value) == [text]


def test_without_the_task_nothing_stands_nowhere() -> None:
    assert suspected("XK7", task="") == []


TEXT = st.text(min_size=1, max_size=30)
DATA = st.recursive(
    st.one_of(TEXT, st.integers(-9999, 10**6), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)), max_leaves=8,
)  # fmt: skip


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *leaves(list(value.values()))]
    return [text for item in value for text in leaves(item)] if isinstance(value, list) else [str(value)]


@settings(deadline=None, max_examples=200)
@given(data=DATA, draw=st.data())
def test_what_stands_in_a_result_is_never_said_to_stand_nowhere(data: Any, draw: st.DataObject) -> None:
    texts = [part for text in leaves(data) for part in (text, *text.split())]
    value = draw.draw(st.sampled_from(texts or ["Ann"]))
    execution, *rest = case((READ, changed(PAY, recipient=value), SUBMIT), WORDS, R1="")
    shown = [seen.model_copy(update={"value": data}) if seen.step == "a" else seen for seen in execution.observations]
    assert unknown((execution.model_copy(update={"observations": tuple(shown)}), *rest)) == []


# -- gradients


def test_an_answer_that_is_written_out_is_always_shown() -> None:
    wrong = changed(PAY, amount=120)
    found = gradient(*case((READ, wrong, SEND, SUBMIT)), task=TASK)
    assert found is not None and (found.step, found.questioned) == ("p", ("p", "submit"))
    bound = gradient(*case((READ, wrong, SEND, changed(SUBMIT, answer="$a[0].body"))), task=TASK)
    assert bound is not None and bound.questioned == ("p",)
