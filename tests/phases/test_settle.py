import pytest

from pivot_dspy.phases.settle import Audit, Settle
from pivot_dspy.requirements import Requirement, Requirements
from tests.phases.showing import CATALOGUE, INPUTS, PLANNING, TASK, TOOLBOX, asked

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


def audited(changes, requirements=SETTLED):
    told = {"inputs": INPUTS, "catalogue": CATALOGUE, "toolbox": TOOLBOX, "requirements": requirements}
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


def test_the_prompts(snapshot):
    _, engine = settled([], given=SETTLED.items[:1])
    snapshot("phases/settle.txt", engine.prompts[0].text)
    _, engine = audited([])
    snapshot("phases/audit.txt", engine.prompts[0].text)


def test_an_audit_corrects_adds_and_drops_with_its_reasons():
    found, _ = audited(
        [
            {"id": "R1", "reason": "the request says red", "check": "item", "args": {"color": "red"}},
            {"id": "R2", "reason": "nobody asked for it", "drop": True},
            {"id": "R3", "reason": "forgotten", "text": "It is the cheapest."},
        ]
    )
    assert [(item.id, item.args, item.text) for item in found.items] == [
        ("U1", {}, "Spend at most 50."), ("R1", {"color": "red"}, ""), ("R3", {}, "It is the cheapest."),
    ]  # fmt: skip
    assert [(a.requirement, a.reason, a.by) for a in found.amendments] == [
        ("R1", "the request says red", "audit"), ("R2", "nobody asked for it", "audit"), ("R3", "forgotten", "audit"),
    ]  # fmt: skip


@pytest.mark.parametrize("origin", ["user", "person"])
@pytest.mark.parametrize(
    "change", [{"drop": True}, {"text": "Spend what you like."}, {"check": "only", "args": {"count": 1}}]
)
def test_what_a_person_asked_for_is_neither_changed_nor_dropped(origin, change):
    mine = Requirements(items=(Requirement(id="U1", text="Spend at most 50.", origin=origin),))
    found, _ = audited([{"id": "U1", "reason": "it is hard", **change}], mine)
    assert found == mine


@pytest.mark.parametrize(
    "change",
    [{"id": "R1", "drop": True}, {"id": "R1", "reason": " ", "text": "x"}, {"id": "R9", "reason": "x", "drop": True}],
)
def test_a_change_without_a_reason_or_a_subject_changes_nothing(change):
    found, _ = audited([change])
    assert found == SETTLED


def test_a_correction_that_no_check_fits_stays_as_text_and_is_recorded():
    found, _ = audited([{"id": "R1", "reason": "misread", "check": "colour", "args": {"is": "red"}}])
    assert not found["R1"].executable and found.amendments[0].before == SETTLED["R1"]


def test_an_addition_without_a_name_gets_one_that_is_free():
    found, _ = audited([{"reason": "forgotten", "text": "It is warm."}])
    assert len({item.id for item in found.items}) == 4 and found.amendments[0].before is None


def test_an_audit_of_nothing_says_so():
    _, engine = audited([], Requirements())
    assert engine.prompts[0].section("requirements") == "none"
