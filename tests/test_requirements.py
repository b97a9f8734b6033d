import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import requirements as module
from pivot_dspy.environment.base import UNCHECKABLE
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.required_calls import RequiredCall
from pivot_dspy.requirements import Requirement, Requirements, compile_drafts
from pivot_dspy.trajectory import Execution, Trajectory
from tests.stores import Store

TOOLBOX = toolbox_of(Store)
NOTHING = Execution(trajectory=Trajectory())
RED = {"id": "R1", "check": "item", "args": {"color": "red"}}


def given_by_user(*entries):
    return module.normalize_requirements(entries, TOOLBOX)


# ------------------------------------------------------------------------------------------------------ what users pass


def test_a_user_passes_texts_records_and_requirements():
    texts, record, made = given_by_user("Be quick.", RED, Requirement(id="X", test=lambda e: True))
    assert (texts.id, texts.text, texts.executable) == ("U1", "Be quick.", False)
    assert (record.id, record.check, record.args, record.executable) == ("R1", "item", {"color": "red"}, True)
    assert made.executable
    assert {item.origin for item in (texts, record, made)} == {"user"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"check": "colour", "args": {}}, "no check is called 'colour'; checks: item, total, only"),
        ({"check": "total", "args": {"max": "a lot"}}, "max"),
        ({"check": "total", "args": {}}, "expected total"),
        ({"id": "R1"}, "says nothing"),
        ("  ", "says nothing"),
        ({"text": "x", "weight": 0}, "not well formed"),
        ({"text": "x", "importance": 1}, "not well formed"),
        (7, "is a text, a record or a Requirement"),
        ({"text": "x", "delegates": "the mail"}, r"delegates is a binding .* such as \$a\[0\]\.body, not 'the mail'"),
        ({"check": "item", "args": {"color": "red"}, "delegates": "$a["}, "delegates is a binding"),
        ({"id": "A", "text": "x", "under": "B"}, "requirement A is under 'B', and no .* called so; the others: none"),
    ],
)
def test_what_cannot_be_a_requirement_is_refused_with_its_remedy(entry, said):
    with pytest.raises(ConfigurationError, match=said):
        given_by_user(entry)


def test_one_may_be_under_another_wherever_that_stands():
    under, above = {"id": "A", "text": "x", "under": "B"}, {"id": "B", "text": "y", "delegates": "$a[0].body"}
    assert [item.under for item in given_by_user(under, above)] == ["B", None]


def test_two_requirements_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match="two requirements are called 'R1'"):
        given_by_user(RED, {"id": "R1", "text": "x"})


# ------------------------------------------------------------------------------------------------- what a model writes


def test_a_draft_with_a_fitting_check_is_executable():
    [compiled] = compile_drafts([RED], TOOLBOX)
    assert (compiled.id, compiled.check, compiled.args, compiled.origin) == ("R1", "item", {"color": "red"}, "task")


def test_arguments_may_stand_beside_the_name_of_the_check():
    [compiled] = compile_drafts([{"id": "R1", "check": "total", "max": 50, "hard": False}], TOOLBOX)
    assert compiled.args == {"max": 50} and not compiled.hard


@pytest.mark.parametrize(
    "draft",
    [
        {"id": "R1", "check": "colour", "args": {"is": "red"}},
        {"id": "R1", "check": "total", "args": {"max": "a lot"}},
        {"id": "R1", "check": "total", "args": {"min": 5}},
        {"id": "R1", "check": ["item"], "args": {}},
    ],
)
def test_a_draft_that_no_check_fits_stays_as_text(draft):
    [compiled] = compile_drafts([draft], TOOLBOX)
    assert not compiled.executable and json.loads(compiled.text) == draft
    [compiled] = compile_drafts([{**draft, "text": "It is red."}], TOOLBOX)
    assert not compiled.executable and compiled.text == "It is red."


ADD = {"tool": "add", "args": {"product_id": "p2"}}


@pytest.mark.parametrize(
    ("draft", "call", "delegates"),
    [
        ({"text": "p2 is added", "call": ADD}, RequiredCall(**ADD), None),
        ({"text": "p2 is added", "call": {**ADD, "why": "x"}, "from": "a"}, RequiredCall(**ADD), None),
        ({"text": "one is added", "call": {"tool": "add"}}, RequiredCall(tool="add"), None),
        ({"text": "one is added", "call": {"tool": "add", "args": {"product_id": "?"}}},
         RequiredCall(tool="add", args={"product_id": "?"}), None),
        ({"text": "the note is followed", "delegates": "$a.note"}, None, "$a.note"),
        ({"text": "x", "call": {"tool": "buy"}}, None, None),
        ({"text": "x", "call": {"tool": "find"}}, None, None),  # a read changes nothing
        ({"text": "x", "call": {"tool": "add", "args": {"id": "p2"}}}, None, None),
        ({"text": "x", "call": "add p2", "delegates": ["$a"]}, None, None),
        ({"check": "item", "args": {"color": "red"}, "call": ADD, "delegates": "$a"}, None, None),  # the check says it
        ({"check": "colour", "args": {"is": "red"}, "text": "x", "call": ADD}, RequiredCall(**ADD), None),
    ],
)  # fmt: skip
def test_a_draft_names_the_call_that_it_asks_for_and_whose_words_are_followed(draft, call, delegates):
    [compiled] = compile_drafts([{"id": "R1", **draft}], TOOLBOX)
    assert (compiled.call, compiled.delegates) == (call, delegates)
    lost = "call" in draft and call is None and compiled.check is None  # a call that cannot be made is left to a judge
    assert compiled.text == draft.get("text", "") + (f" - call {json.dumps(draft['call'])}" if lost else "")


def test_one_that_delegates_without_words_is_read_as_it_is_written():
    draft = {"id": "R1", "delegates": "$a.note"}
    [compiled] = compile_drafts([draft], TOOLBOX)
    assert json.loads(compiled.text) == draft


def test_one_that_only_names_its_call_has_no_words():
    [compiled] = compile_drafts([{"id": "R1", "call": ADD}], TOOLBOX)
    assert compiled.text == "" and compiled.says_only_its_call


def test_names_that_are_taken_get_another():
    taken = given_by_user({"id": "R1", "text": "mine"})
    compiled = compile_drafts([RED, RED, {"text": "x"}], TOOLBOX, taken=taken)
    assert len({item.id for item in (*taken, *compiled)}) == 4


DRAFTED = ["id", "text", "check", "args", "hard", "max", "x", "call", "tool", "delegates"]
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(DRAFTED), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_data)
def test_no_draft_raises_and_none_with_words_is_dropped(drafts):
    compiled = compile_drafts(drafts, TOOLBOX)
    assert len({item.id for item in compiled}) == len(compiled)
    if isinstance(drafts, list):
        said = ("text", "check", "call", "delegates")
        worded = [d for d in drafts if isinstance(d, dict) and any(d.get(name) for name in said)]
        assert len(compiled) >= len(worded)


# ---------------------------------------------------------------------------------------------------------- amendments


@given(st.sampled_from(["user", "person"]), st.booleans())
def test_what_a_person_asked_for_is_never_altered(origin, drop):
    settled = Requirements(items=(Requirement(id="R1", text="x", origin=origin),))
    with pytest.raises(ConfigurationError, match=f"given by a {origin}"):
        settled.amend("R1", None if drop else Requirement(id="R1", text="y"), reason="it is hard", by="audit")


def test_an_amendment_is_recorded_with_its_reason():
    settled = Requirements(items=(Requirement(id="R1", text="x"), Requirement(id="R2", text="y")))
    changed = settled.amend("R1", Requirement(id="R1", text="z"), reason="misread", by="audit")
    dropped = changed.amend("R2", None, reason="nobody asked", by="audit")
    added = dropped.amend("R3", Requirement(id="R3", text="w"), reason="forgotten", by="lesson")
    assert [item.text for item in added.items] == ["z", "w"]
    assert [(a.requirement, a.reason, a.by) for a in added.amendments] == [
        ("R1", "misread", "audit"), ("R2", "nobody asked", "audit"), ("R3", "forgotten", "lesson"),
    ]  # fmt: skip
    assert added.amendments[0].before.text == "x" and added.amendments[1].after is None
    assert settled.amendments == ()
    assert Requirements.model_validate_json(added.model_dump_json()) == added
    with pytest.raises(ConfigurationError, match="reason"):
        settled.amend("R1", None, reason=" ", by="audit")


def test_a_missing_requirement_is_a_key_error():
    with pytest.raises(KeyError):
        Requirements()["R1"]


X = Requirement(id="R1", text="x")
Y = Requirement(id="R1", text="y")
CALLED = Requirement(id="R1", text="x", call=RequiredCall(tool="add"))


@pytest.mark.parametrize(
    ("before", "after", "by", "evidence", "unfounded"),
    [
        (X, Y, "audit", "", True),
        (X, None, "audit", "", True),
        (X, None, "evolve", "", True),
        (X, None, "audit", "the request says so", False),
        (X, None, "person", "", False),
        (None, X, "audit", "", False),  # it adds to what has to hold
    ],
)
def test_what_a_model_changes_or_drops_without_evidence_is_unfounded(before, after, by, evidence, unfounded):
    settled = Requirements(items=() if before is None else (before,))
    (change,) = settled.amend("R1", after, reason="so", by=by, evidence=evidence).amendments
    assert change.is_unfounded is unfounded


def test_a_call_that_is_named_only_after_something_was_read_is_named_late():
    assert Requirements(items=(X,)).amend("R1", CALLED, reason="it was read", by="evolve").was_named_late("R1")
    assert not Requirements(items=(CALLED,)).amend("R1", CALLED, reason="filled in", by="evolve").was_named_late("R1")
    assert not Requirements(items=(CALLED,)).was_named_late("R1")
    assert Requirements().amend("R1", CALLED, reason="forgotten", by="audit").was_named_late("R1")
    followed = CALLED.model_copy(update={"under": "R0"})
    assert not Requirements().amend("R1", followed, reason="the note asks for it", by="follow").was_named_late("R1")


def test_what_an_audit_changed_and_what_was_dropped_has_to_be_weighed():
    audited = Requirements(items=(X,)).amend("R1", CALLED, reason="misread", by="audit", evidence="add it")
    dropped = Requirements(items=(X,)).amend("R1", None, reason="not so", by="evolve", evidence="none left")
    assert len(audited.changed_by_word) == len(dropped.changed_by_word) == 1
    assert not Requirements().amend("R1", X, reason="forgotten", by="audit", evidence="add it").changed_by_word
    assert not Requirements(items=(X,)).amend("R1", CALLED, reason="filled in", by="evolve").changed_by_word
    broken = UNCHECKABLE + "ValueError: no"
    assert not Requirements(items=(X,)).amend("R1", None, reason="broken", by="audit", evidence=broken).changed_by_word


def test_a_users_call_must_be_one_that_can_be_made():
    [mine] = given_by_user({"text": "p2 is added", "call": ADD})
    assert mine.call == RequiredCall(**ADD) and mine.origin == "user" and not mine.executable
    with pytest.raises(ConfigurationError, match="requirement U1: no tool is called 'ad'; did you mean 'add'?"):
        given_by_user({"text": "x", "call": {"tool": "ad"}})
    with pytest.raises(ConfigurationError, match="requirement 1 is not well formed"):
        given_by_user({"text": "x", "calls": ADD})


def test_how_a_requirement_reads():
    assert Requirement(id="R1", check="item", args={"color": "red"}).to_prompt() == 'R1: item {"color": "red"}'
    assert Requirement(id="R2", text="Be nice.", hard=False).to_prompt() == "R2: Be nice. (soft)"
    both = Requirement(id="R3", check="only", args={"count": 1}, text="One.")
    assert both.to_prompt() == 'R3: only {"count": 1} - One.'
    call = RequiredCall(tool="add", args={"product_id": "?"})
    named = Requirement(id="R4", text="It is done.", call=call)
    assert named.to_prompt() == 'R4: It is done. - call add {"product_id": "?"}'
