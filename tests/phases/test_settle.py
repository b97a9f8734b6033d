import json

import dspy
import pytest

from pivot_dspy.environment.base import UNCHECKABLE
from pivot_dspy.phases.settle import Audit, Settle
from pivot_dspy.requirements import Finding, Requirement, Requirements
from tests.phases.showing import CATALOGUE, INPUTS, PLANNING, TASK, TOOLBOX, asked, shown_of
from tests.scripted import scripted, step, submit

SETTLED = Requirements(
    items=(
        Requirement(id="U1", text="Spend at most 50.", origin="user"),
        Requirement(id="R1", check="item", args={"color": "blue"}),
        Requirement(id="R2", text="It is nice."),
    )
)


def settled(drafts, **told):
    said, engine = asked(Settle(TASK), {"settle": {"requirements": drafts}}, planning=PLANNING._replace(**told))
    return said.requirements, engine


def audited(changes, requirements=SETTLED, view=None):
    told = {"inputs": INPUTS, "catalogue": CATALOGUE, "toolbox": TOOLBOX, "requirements": requirements, "view": view}
    said, engine = asked(Audit(TASK), {"audit": {"changes": changes}}, **told)
    return said.requirements, engine


def test_requirements_for_a_trajectory_that_is_given():
    found, engine = settled([{"id": "R1", "check": "item", "args": {"color": "red"}}, {"id": "R2", "check": "nope"}])
    assert [(item.id, item.executable) for item in found] == [("R1", True), ("R2", False)]
    assert list(engine.prompts[0].sections) == ["checks", "tools", "policy", "known", "request"]


def test_those_of_the_user_are_told_and_keep_their_names():
    found, engine = settled([{"id": "U1", "text": "x"}], given=SETTLED.items[:1])
    assert engine.prompts[0].section("user_requirements") == "U1: Spend at most 50."
    assert [item.id for item in found] == ["U1_"]


WHOLE = [{"id": "R1", "text": 'Buy a "cap".', "hard": True}, {"id": "R2", "check": "item", "args": {"color": "red"}}]


@pytest.mark.parametrize("adapter", [None, dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_an_answer_that_was_cut_off_loses_no_requirement_wherever_it_was_cut(adapter):
    is_json = isinstance(adapter, dspy.JSONAdapter)
    text = json.dumps({"requirements": WHOLE} if is_json else WHOLE)
    text = text if is_json else f"[[ ## requirements ## ]]\n{text}"
    with dspy.context(adapter=adapter):
        for end in range(len(text)):
            lm = scripted(settle=[text[:end] or "[", text])
            with dspy.context(lm=lm):
                found = Settle(TASK)(planning=PLANNING).requirements
            assert len(found) == 2 and lm.engine.count() == 2, text[:end]


def test_the_prompts(snapshot):
    _, engine = settled([], given=SETTLED.items[:1])
    snapshot("phases/settle.txt", engine.prompts[0].text)
    _, engine = audited([])
    snapshot("phases/audit.txt", engine.prompts[0].text)


SEEN = [step("a", "find", color="red", size="L"), submit(answer="$a.ids[0]")]


def test_an_audit_corrects_adds_and_drops_with_its_reasons_and_its_evidence():
    found, _ = audited(
        [
            {"id": "R1", "reason": "it says red", "quote": "red thing", "check": "item", "args": {"color": "red"}},
            {"id": "R2", "reason": "nobody can tell", "quote": '"p2", "p4"', "drop": True},
            {"id": "R3", "reason": "forgotten", "quote": "the cheapest", "text": "It is the cheapest."},
        ],
        view=shown_of(SEEN),
    )
    assert [(item.id, item.args, item.text) for item in found.items] == [
        ("U1", {}, "Spend at most 50."), ("R1", {"color": "red"}, ""), ("R3", {}, "It is the cheapest."),
    ]  # fmt: skip
    assert [(a.requirement, a.reason, a.by, a.evidence) for a in found.amendments] == [
        ("R1", "it says red", "audit", "red thing"),
        ("R2", "nobody can tell", "audit", '"p2", "p4"'),
        ("R3", "forgotten", "audit", "the cheapest"),
    ]
    assert not any(change.is_unfounded for change in found.amendments)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "R1", "reason": "the request says red", "check": "item", "args": {"color": "red"}},
        {"id": "R1", "quote": "blue thing", "reason": "it says so", "text": "It is blue."},
        {"id": "R3", "quote": '"p2", "p4"', "reason": "it was read", "text": "It is p2."},  # which only a result says
        {"id": "R2", "reason": "nobody asked for it", "drop": True},
        {"id": "R2", "quote": "", "reason": "nobody asked for it", "drop": True},
        {"id": "R2", "quote": "it is nasty", "reason": "it was read", "drop": True},
        {"id": "R2", "quote": "Buy the cheapest red thing", "reason": "the request", "drop": True},
    ],
)
def test_nothing_is_changed_or_dropped_without_words_that_a_rule_finds(change):
    found, _ = audited([change], view=shown_of(SEEN))
    assert found == SETTLED


def test_a_requirement_whose_check_raises_may_be_dropped_without_a_quote():
    view = shown_of(SEEN)
    broken = Finding(requirement="R1", status="violated", evidence=f"{UNCHECKABLE}KeyError: 'color'")
    drop = {"id": "R1", "reason": "it cannot be checked", "drop": True}
    found, _ = audited([drop], view=view._replace(findings=[broken]))
    assert [item.id for item in found.items] == ["U1", "R2"] and found.amendments[0].evidence == broken.evidence


def test_an_audit_may_not_take_a_call_from_what_was_read():
    call = {"tool": "add", "args": {"product_id": "p4"}}
    change = {"id": "R3", "reason": "forgotten", "quote": "red thing", "text": "It is in the cart.", "call": call}
    found, _ = audited([change], view=shown_of(SEEN))
    assert found == SETTLED


@pytest.mark.parametrize("origin", ["user", "person"])
@pytest.mark.parametrize(
    "change", [{"drop": True}, {"text": "Spend what you like."}, {"check": "only", "args": {"count": 1}}]
)
def test_what_a_person_asked_for_is_neither_changed_nor_dropped(origin, change):
    mine = Requirements(items=(Requirement(id="U1", text="Spend at most 50.", origin=origin),))
    found, _ = audited([{"id": "U1", "reason": "it is hard", "quote": "red", **change}], mine, shown_of(SEEN))
    assert found == mine


@pytest.mark.parametrize(
    "change",
    [
        {"id": "R1", "quote": '"p2", "p4"', "drop": True},
        {"id": "R1", "quote": "red thing", "reason": " ", "text": "x"},
        {"id": "R9", "quote": '"p2", "p4"', "reason": "x", "drop": True},
    ],
)
def test_a_change_without_a_reason_or_a_subject_changes_nothing(change):
    found, _ = audited([change], view=shown_of(SEEN))
    assert found == SETTLED


def test_a_correction_that_no_check_fits_stays_as_text_and_is_recorded():
    found, _ = audited([{"id": "R1", "reason": "misread", "quote": "red", "check": "colour", "args": {"is": "red"}}])
    assert not found["R1"].executable and found.amendments[0].before == SETTLED["R1"]


def test_an_addition_without_a_name_gets_one_that_is_free():
    found, _ = audited([{"reason": "forgotten", "quote": "thing", "text": "It is warm."}])
    assert len({item.id for item in found.items}) == 4 and found.amendments[0].before is None


def test_an_audit_of_nothing_says_so():
    _, engine = audited([], Requirements())
    assert engine.prompts[0].section("requirements") == "none"
