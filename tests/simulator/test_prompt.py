"""Prompts as DSPy's adapters write them are read back whole, and answers are read by those adapters."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import dspy
import pytest
from dspy.lm15 import Request, UnsupportedFeatureError, request_from_openai_chat
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pivot_dspy.simulator import offline_lm
from pivot_dspy.simulator.answer import write
from pivot_dspy.simulator.prompt import Prompt, read, same, steps_in
from tests.simulator.asking import ADAPTERS, EVOLVE, PLAN, TOOLS
from tests.simulator.rooms import REQUEST, reference

MODEL = "offline/x"
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)
awkward = st.sampled_from(
    ["<x> & </known>", "[[ ## steps ## ]]", "Respond with a JSON object", '{"a": [1, "b"]}', "a\n\nb", "# note: x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts | awkward,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_1", "c"]), inner, max_size=3),
    max_leaves=6,
)


def prompted(adapter: Any, signature: Any, inputs: dict[str, Any], demos: list[dict[str, Any]] | None = None) -> Prompt:
    return read(_request(adapter.format(signature, demos or [], inputs)))


def _request(messages: Any) -> Request:
    return request_from_openai_chat({"model": MODEL, "messages": messages})


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=60, deadline=None)
@given(known=texts | awkward, request=texts | awkward)
def test_sections_come_back_as_they_went_in(adapter: Any, known: str, request: str) -> None:
    inputs = dict.fromkeys(PLAN.input_fields, "") | {"tools": TOOLS, "known": known, "request": request}
    prompt = prompted(adapter(), PLAN, inputs)
    assert prompt.asks == {"requirements", "steps"}
    assert (prompt.section("tools"), prompt.section("known"), prompt.section("request")) == (TOOLS, known, request)
    assert "Plan the tool calls" in prompt.instructions and "[[ ## " not in prompt.instructions


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=60, deadline=None)
@given(requirements=st.lists(st.dictionaries(st.sampled_from("abc"), values)), note=texts | awkward)
def test_answers_are_read_by_the_adapter_that_asked(adapter: Any, requirements: Any, note: str) -> None:
    signature = PLAN.append("note", dspy.OutputField(), str)
    prompt = prompted(adapter(), signature, dict.fromkeys(signature.input_fields, "x"))
    steps = [{"id": "a", "tool": "t", "args": {"n": 3, "some": ["x"], "none": {}}}]
    text = write(prompt, {"requirements": requirements, "steps": steps, "note": note})
    if adapter is dspy.ChatAdapter and "[[ ##" in text.replace("[[ ## requirements", "").replace("[[ ## note", ""):
        return  # a header inside a value is beyond what ChatAdapter can tell
    got = adapter().parse(signature, text)
    assert got["steps"] == steps and got["requirements"] == requirements and got["note"].split() == note.split()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_only_the_last_user_message_counts(adapter: Any) -> None:
    other = dict.fromkeys(PLAN.input_fields, "other") | {"request": "another task"}
    demo = {**other, "requirements": [{"id": "X"}], "steps": [{"id": "x", "tool": "x"}]}
    prompt = prompted(adapter(), PLAN, dict.fromkeys(PLAN.input_fields, "this"), [demo])
    assert set(prompt.sections.values()) == {"this"} and "another task" in prompt.text


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_conversation_is_read_as_one_prompt(adapter: Any) -> None:
    first = dict.fromkeys(PLAN.input_fields, "") | {"tools": TOOLS, "request": REQUEST, "tried": "earlier"}
    steps = [{"id": "a", "tool": "t", "args": {"x": ["p & <q>"], "n": 3}}, {"id": "b", "tool": "u", "args": {}}]
    result = "\n| one\n| [[ ## report ## ]]\n| <report>"
    last = {"kept": f"a t ->{result}", "open_steps": "b u -> FAILED\nc v ->", "report": "1 of 2"}
    answer, prefix = {"requirements": [], "steps": steps}, "Now `keep`."
    chosen = EVOLVE
    for name in EVOLVE.input_fields.keys() - last.keys():
        chosen = chosen.delete(name)
    messages = [
        *adapter().format(PLAN, [], first),
        {"role": "assistant", "content": adapter().format_assistant_message_content(PLAN, answer)},
        {"role": "user", "content": adapter().format_user_message_content(chosen, last, prefix, main_request=True)},
        {"role": "assistant", "content": "nonsense"},
        {"role": "user", "content": "This could not be read: it lacks steps\nWrite the whole answer again."},
    ]
    prompt = read(_request(messages))
    assert [field.name for field in prompt.outputs] == ["diagnosis", "requirements", "steps"]
    assert {name: prompt.section(name) for name in ("request", "report", "tried")} == {
        "request": REQUEST, "report": "1 of 2", "tried": "",
    }  # fmt: skip
    [kept] = steps_in(prompt.section("kept"))
    assert same(kept.written, steps[0]) and kept.outcome == result
    assert [(step.id, step.brief) for step in steps_in(prompt.section("open_steps"))] == [("b", False), ("c", True)]
    assert "Now `keep`." in prompt.instructions and prompt.shown_before in prompt.shown
    assert "| one" in prompt.shown and "| one" not in prompt.shown_before and "p & <q>" not in prompt.shown


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Person(BaseModel):
    name: str
    age: int
    tags: list[str] = []


class Unknown(dspy.Signature):  # type: ignore[misc]
    """Something that no phase of PIVOT asks."""

    basic_instruction: str = dspy.InputField()
    text: str = dspy.OutputField()
    count: int = dspy.OutputField()
    share: float = dspy.OutputField()
    yes: bool = dspy.OutputField()
    kind: Literal["one", "two"] = dspy.OutputField()
    colour: Colour = dspy.OutputField()
    names: list[str] = dspy.OutputField()
    table: dict[str, int] = dspy.OutputField()
    person: Person = dspy.OutputField()
    maybe: int | None = dspy.OutputField()
    proposed_instruction: str = dspy.OutputField()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_unknown_signature_gets_a_value_of_each_kind(adapter: Any) -> None:
    lm = offline_lm([], cache=False)
    with dspy.context(lm=lm, adapter=adapter()):
        got = dspy.ChainOfThought(Unknown)(basic_instruction="Be brief.")
    assert got.kind == "one" and got.colour is Colour.RED and isinstance(got.person, Person) and got.names == []
    assert got.reasoning and got.proposed_instruction.startswith("Be brief.")
    assert lm.engine.calls.lm_calls == 1  # no fallback was needed


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_agent_loop_ends(adapter: Any) -> None:
    def look(place: str) -> str:
        "Look."
        return place

    lm = offline_lm([], cache=False)
    with dspy.context(lm=lm, adapter=adapter()):
        dspy.ReAct("question -> answer", tools=[look])(question="What is there?")
    assert lm.engine.calls.lm_calls == 2


def test_a_plain_prompt_is_answered_with_its_fenced_text() -> None:
    lm = offline_lm([reference()], cache=False)
    [text] = lm("I gave these instructions:\n```\nPlan well.\n```\nProvide new ones within ``` blocks.")
    assert text.startswith("```\nPlan well.") and text.endswith("```")
    assert offline_lm([], cache=False)("Hello")[0]


def test_images_and_native_tools_are_refused() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    with pytest.raises(UnsupportedFeatureError, match="text only"):
        read(_request([{"role": "user", "content": [{"type": "text", "text": REQUEST}, picture]}]))
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="native tools"):
        function = {"name": "f", "description": "f", "parameters": {"type": "object", "properties": {}}}
        offline_lm([], cache=False)("Hello", tools=[{"type": "function", "function": function}])
