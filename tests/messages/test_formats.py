"""Every format that can be read, written by the library that it is of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Trajectory
from tests.messages.writing import WRITERS, Made, Run, Turn

WITHOUT_ANSWER = {"react_trajectory", "react_history"}
"""Formats whose answer stands beside the log."""
WITHOUT_FLAG = {"openai_chat", "openai_responses", "atif", "react_trajectory", "openinference", "smolagents"}
"""Formats that do not tell of a call that it failed."""

RUN = Run(
    task="How much flour is there?",
    turns=(
        Turn("I look.", (Made("count", {"item": "flour"}, '{"n": 3}'), Made("count", {"item": "eggs"}, "12345"))),
        Turn("", (Made("weigh", {"item": "flour", "in": {"unit": "g"}}, "it is broken", failed=True),)),
    ),
    answer="Three.",
)


@pytest.fixture(autouse=True)
def _messages_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_is_read_from_the_log_that_each_library_writes(name: str) -> None:
    log = messages.read(WRITERS[name](RUN))
    assert [(call.tool, call.arguments) for call in log.calls] == [(made.tool, made.args) for made in RUN.calls]
    assert [call.value for call in log.calls] == [{"n": 3}, "12345", "it is broken"]
    assert all(call.answered and call.problem is None for call in log.calls)
    if name.removesuffix("_dicts") not in WITHOUT_FLAG:
        assert [call.failed for call in log.calls] == [False, False, True]
    if name not in WITHOUT_ANSWER:
        assert log.final_text == "Three."
        assert log.calls[0].why == ("I look." if name != "smolagents" else log.calls[0].why)
        assert log.task == RUN.task


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=8)
CALLS = st.builds(
    Made,
    tool=st.sampled_from(["count", "weigh", "send_all"]),
    args=st.dictionaries(st.sampled_from(["item", "n", "to"]), TEXTS | st.integers(-9, 9) | st.booleans(), max_size=3),
    result=TEXTS.map(lambda text: f"r{text}"),
)
TURNS = st.builds(Turn, st.just("I look."), st.lists(CALLS, min_size=1, max_size=3).map(tuple))
RUNS = st.builds(Run, st.just("Do it."), st.lists(TURNS, max_size=4).map(tuple), st.just("Done."), st.booleans())


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(run=RUNS)
@pytest.mark.parametrize("name", WRITERS)
def test_no_call_is_lost_and_none_is_read_twice(name: str, run: Run) -> None:
    log = messages.read(WRITERS[name](run))
    assert [(call.tool, call.arguments) for call in log.calls] == [(made.tool, made.args) for made in run.calls]
    assert all(call.answered for call in log.calls)


@pytest.mark.parametrize("name", WRITERS)
def test_a_log_that_is_cut_after_a_tool_has_no_answer(name: str) -> None:
    whole = WRITERS[name](RUN)
    if not isinstance(whole, list):
        pytest.skip("a document")
    log = messages.read(whole[:-1])
    assert len(log.calls) == 3 and log.answer is None
    assert Trajectory.from_messages(whole[:-1], output="answer").submit is None
    execution = Execution.from_messages(whole[:-1])
    assert execution.missing_outputs == ("answer",) and not execution.outputs


@pytest.mark.parametrize("name", ["anthropic", "gemini", "gemini_json", "langchain", "langchain_dumped", "pydantic_ai"])
def test_a_log_without_its_beginning_is_refused(name: str) -> None:
    with pytest.raises(TrajectoryError, match="give it from its beginning"):
        messages.read(WRITERS[name](RUN)[2:])


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_json_is_read_as_the_objects_are(name: str) -> None:
    log = WRITERS[name](RUN)
    try:
        text = json.dumps(log)
    except TypeError:
        pytest.skip("objects")
    assert messages.read(json.loads(text)) == messages.read(log)


def test_a_thank_you_at_the_end_is_no_answer() -> None:
    thanks: dict[str, Any] = {
        "openai_chat": {"role": "user", "content": "thanks!"},
        "langchain_dicts": {"type": "human", "data": {"content": "thanks!"}},
        "gemini_json": {"role": "user", "parts": [{"text": "thanks!"}]},
        "anthropic": {"role": "user", "content": [{"type": "text", "text": "thanks!"}]},
        "pydantic_ai_json": {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "thanks!"}]},
    }
    for name, message in thanks.items():
        assert messages.read([*WRITERS[name](RUN), message]).final_text == "Three.", name
