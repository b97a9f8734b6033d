"""An answer is read whole or not at all."""

from __future__ import annotations

import json

import dspy
import pytest
from dspy.lm15 import Message, Response, Usage
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Pivot, PlanningFailed
from pivot_dspy.phases.plan import Plan
from pivot_dspy.phases.settle import Settle
from pivot_dspy.phases.verify import JudgeAnswer
from pivot_dspy.prompts.adapter import CUT_OFF, MAX_DEPTH, BriefChatAdapter, Heard, read_whole
from tests.refiners.loops import LARGE, NICE, ONE, REQUEST, RIGHT
from tests.scripted import GARBAGE, Scripted, plan, scripted
from tests.stores import Store

TASK = "request -> answer"
SIGNATURES = {
    "plan": Plan(dspy.Signature(TASK)).predict.signature,
    "settle": Settle(dspy.Signature(TASK)).predict.signature,
    "judge": JudgeAnswer,
}
REQUIREMENTS = [LARGE, ONE, {"id": "R3", "text": 'It has brackets ]} and {[ and "quotes" and a \\ in it.'}]
ANSWERS = {
    "plan": {"requirements": REQUIREMENTS, "steps": RIGHT},
    "settle": {"requirements": REQUIREMENTS},
    "judge": {
        "verdicts": [
            {"id": "R1", "evidence": 'the "cap"', "holds": True},
            {"id": "R3", "evidence": "", "holds": False},
        ],
    },
}
ADAPTERS = [BriefChatAdapter(), dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()]


def read(adapter, signature, text, finish=None):
    heard = Heard()
    if finish is not None:
        usage = Usage(input_tokens=1, output_tokens=1)
        message = Message.assistant(text)
        heard.history.append(
            {"response": Response(id=None, model="m", message=message, finish_reason=finish, usage=usage)}
        )
    return read_whole(adapter, heard).parse(signature, text)


def written(adapter, signature, outputs):
    return adapter.format_assistant_message_content(signature, outputs)


@pytest.mark.parametrize("phase", ANSWERS)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
def test_an_answer_that_is_cut_at_any_place_is_read_whole_or_not_at_all(adapter, phase):
    signature = SIGNATURES[phase]
    text = written(adapter, signature, ANSWERS[phase])
    whole = read(adapter, signature, text)
    assert set(whole) == set(ANSWERS[phase])
    refused = 0
    for end in range(len(text)):
        try:
            assert read(adapter, signature, text[:end]) == whole, text[:end]
        except AdapterParseError:
            refused += 1
    assert refused > 0.8 * len(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="ab[]{}\"'\\,: \n#"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab]\"'", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.data())
def test_whatever_stands_in_a_list_a_cut_never_shortens_it(values, data):
    signature = SIGNATURES["settle"]
    text = f"[[ ## requirements ## ]]\n{json.dumps(values)}"
    end = data.draw(st.integers(25, len(text)))
    try:
        fields = read(BriefChatAdapter(), signature, text[:end])
    except AdapterParseError:
        assert end < len(text)
    else:
        assert fields == {"requirements": values}


WHOLE = [
    '[{"id": "R1", "text": "a"}]',
    '```json\n[{"id": "R1", "text": "a"}]\n```',
    "[{'id': 'R1', 'text': 'a ]'}]",
    "[{'id': 'R1', 'text': 'a \" b'}]",
    '[{"id": "R1", "text": "a",},]',
    'Here it is (see [1]): [{"id": "R1", "text": "a"}]',
    "[]",
]


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("marker", ["", "\n\n[[ ## completed ## ]]"])
def test_what_is_whole_is_read_as_ever_with_the_marker_or_without(text, marker):
    answer = f"[[ ## requirements ## ]]\n{text}{marker}"
    signature = SIGNATURES["settle"]
    assert read(BriefChatAdapter(), signature, answer) == BriefChatAdapter().parse(signature, answer)


def test_what_ended_by_its_length_is_not_whole_unless_its_end_is_seen():
    signature = dspy.Signature("question -> answer")
    text = "[[ ## answer ## ]]\nThe cap costs 4"
    assert read(BriefChatAdapter(), signature, text, "stop") == {"answer": "The cap costs 4"}
    with pytest.raises(AdapterParseError, match="cut off"):
        read(BriefChatAdapter(), signature, text, "length")
    assert read(BriefChatAdapter(), signature, f"{text}0\n\n[[ ## completed ## ]]", "length")["answer"].endswith("40")
    assert read(dspy.JSONAdapter(), signature, '{"answer": "4"}', "length") == {"answer": "4"}
    with pytest.raises(AdapterParseError, match="cut off"):
        read(dspy.JSONAdapter(), signature, '{"answer": "4', "length")
    assert read(dspy.XMLAdapter(), signature, "<answer>4</answer>", "length") == {"answer": "4"}


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH + 2, 5000])
def test_what_is_nested_deeper_than_can_be_walked_is_refused(depth):
    signature = SIGNATURES["settle"]
    nested = "[" * depth + "]" * depth
    xml = "<requirements>" + "<item>" * depth + "</item>" * depth + "</requirements>"
    for adapter, text in ((BriefChatAdapter(), f"[[ ## requirements ## ]]\n{nested}"), (dspy.XMLAdapter(), xml)):
        if depth < MAX_DEPTH:
            read(adapter, signature, text)
        else:
            with pytest.raises(AdapterParseError):
                read(adapter, signature, text)


class Truncated(Scripted):
    """Ends an answer by its length where it is cut, as a provider says."""

    def complete(self, request):
        response = super().complete(request)
        text = response.message.text or ""
        if "completed" in text:
            return response
        usage = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model=request.model, message=response.message, finish_reason="length", usage=usage)


def test_a_model_that_was_cut_off_is_asked_again_and_told_so():
    whole = "[[ ## requirements ## ]]\n[]\n\n[[ ## steps ## ]]\n" + json.dumps(RIGHT)
    lm = scripted(Truncated(plan=[whole[:-1], plan(RIGHT, [LARGE])]))
    with dspy.context(lm=lm):
        result = Pivot("request -> answer", Store)(request=REQUEST)
    assert result.verified and f"This could not be read: {CUT_OFF}" in lm.engine.last("plan").text
    lm = scripted(Truncated(plan=whole))  # complete, but for all that is known it ended by its length
    with dspy.context(lm=lm), pytest.raises(PlanningFailed, match="cut off"):
        Pivot("request -> answer", Store)(request=REQUEST)


@pytest.mark.parametrize("adapter", [None, dspy.JSONAdapter(), dspy.XMLAdapter()], ids=["chat", "json", "xml"])
def test_no_cut_of_a_plan_verifies_with_fewer_requirements(adapter):
    """The whole run, at every 7th place: the model gives the cut answer, and once more when it is asked again."""
    signature = SIGNATURES["plan"]
    outputs = {"requirements": [LARGE, ONE, NICE], "steps": RIGHT}
    text = written(adapter or BriefChatAdapter(), signature, outputs)
    for end in range(0, len(text), 7):
        lm = scripted(plan=text[:end] or GARBAGE, judge=GARBAGE)
        with dspy.context(lm=lm, adapter=adapter):
            try:
                result = Pivot("request -> answer", Store, timeout=None, max_iters=0)(request=REQUEST)
            except PlanningFailed:
                continue
        assert len(result.requirements.items) == 3


@given(st.dictionaries(st.sampled_from(["text", "rows", "number"]), st.text() | st.lists(st.text()) | st.integers()))
def test_brief_messages_hold_their_fields_as_the_chat_adapter_writes_them(values: dict[str, object]) -> None:
    signature = dspy.Signature("text, rows: list[str], number: int -> answer, steps: list[str]")
    brief, plain = BriefChatAdapter(), dspy.ChatAdapter()
    for prefix, suffix in (("", ""), ("before", "after")):
        texts = {"signature": signature, "inputs": values, "prefix": prefix, "suffix": suffix}
        assert brief.format_user_message_content(**texts) == plain.format_user_message_content(**texts)
    outputs = {"answer": values.get("text"), "steps": values.get("rows")}
    written = brief.format_assistant_message_content(signature, outputs)
    assert written == plain.format_assistant_message_content(signature, outputs)
