from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import dspy
import mcp.types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Pivot
from pivot_dspy.environment.mcp.results import value_of
from pivot_dspy.errors import OutcomeUnknown, ToolError
from pivot_dspy.trajectory import Fault
from tests.environment.mcp.desk_server import PIXEL
from tests.environment.mcp.desks import LIBRARIES, answer, committed, desk_over_http, inside, made
from tests.scripted import plan, scripted, step, submit

TEXTS: dict[str, Any] = {
    **{text: text for text in ("12345", "1.10", "1e5", "12e4567", "NaN", "null", "true", '"quoted"', "{not JSON}")},
    '{"id": "007"}': {"id": "007"},
    " [1, 2]\n": [1, 2],
    '{"price": NaN}': '{"price": NaN}',
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_real_server_answers_arrives_as_it_is(library: str) -> None:
    with committed(made(inside(library))) as session:
        assert {text: answer(session, "texts", which=text) for text in TEXTS} == TEXTS
        assert [answer(session, "hits", count=count) for count in (0, 1, 2)] == [[], {"n": 0}, [{"n": 0}, {"n": 1}]]
        title, image = answer(session, "picture")
        assert title == "a pixel" and (image["type"], image["mimeType"]) == ("image", "image/png") and image["data"]
        link, paper = answer(session, "papers")
        assert (link["type"], link["uri"]) == ("resource_link", "desk://more")
        assert paper["resource"]["text"] == "1.10"
        assert answer(session, "slow", seconds=0.1) == {"result": "late"}  # which tells how far it is, too
        refused = answer(session, "add", text="")
        assert isinstance(refused, Fault) and refused.kind == "tool_error" and "add" in refused.message


@pytest.mark.parametrize("library", LIBRARIES)
def test_pictures_and_progress_come_over_http_too(library: str) -> None:
    with desk_over_http(library) as address, committed(made(address)) as session:
        title, image = answer(session, "picture")
        assert title == "a pixel" and image["data"] == PIXEL
        assert [block["type"] for block in answer(session, "papers")] == ["resource_link", "resource"]
        assert answer(session, "slow", seconds=0.1) == {"result": "late"}


def test_a_picture_of_a_server_is_shown_as_one_and_may_be_the_answer() -> None:
    class Shown(dspy.Signature):  # type: ignore[misc]
        question: str = dspy.InputField()
        image: dspy.Image = dspy.OutputField()
        said: str = dspy.OutputField()

    lm = scripted(plan=plan([step("a", "picture"), submit(image="$a[1]", said="$a[0]")]))
    with dspy.context(lm=lm):
        found = Pivot(Shown, made(inside()))(question="Show it.")
    assert (found.image, found.said) == (dspy.Image(f"data:image/png;base64,{PIXEL}"), "a pixel")
    assert all(PIXEL not in prompt.text for prompt in lm.engine.prompts)


def result(*blocks: Any, **more: Any) -> Any:
    return SimpleNamespace(content=blocks, **more)


def text(said: str) -> Any:
    return mcp.types.TextContent(type="text", text=said)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()).map(str))
def test_text_that_holds_no_object_and_no_array_stays_text(said: str) -> None:
    if not said.lstrip().startswith(("{", "[")):
        assert value_of(result(text(said)), None, writes=False) == said


@given(st.lists(st.dictionaries(st.text(), st.integers())))
def test_a_list_that_the_schema_promises_is_a_list_however_many_it_holds(records: list[Any]) -> None:
    blocks = [text(json.dumps(record)) for record in records]
    assert value_of(result(*blocks), {"type": "array"}, writes=False) == records


def test_structured_content_outweighs_blocks_and_loses_no_picture() -> None:
    image = mcp.types.ImageContent(type="image", data="AA==", mimeType="image/png")
    value = value_of(result(text("{}"), image, structuredContent={"n": 1}), None, writes=False)
    assert value["n"] == 1 and [block["type"] for block in value["content"]] == ["image"]


def test_an_error_is_the_tools_own_unless_it_asked_and_got_no_answer() -> None:
    for said in ("no seats left", ""):
        with pytest.raises(ToolError) as caught:
            value_of(result(text(said), isError=True), None, writes=True)
        assert not isinstance(caught.value, OutcomeUnknown)
    with pytest.raises(OutcomeUnknown, match="unknown whether the call did what it does; a server that asks needs"):
        value_of(result(text("Elicitation not supported"), isError=True), None, writes=True)
