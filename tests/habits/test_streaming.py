"""`dspy.streamify`: pieces of what an inner predictor writes, status messages, and the result at the end."""

from __future__ import annotations

import logging
from typing import Any

import dspy
import pytest
from dspy.streaming import StatusMessage, StatusMessageProvider, StreamListener, StreamResponse

from pivot_dspy import Refined
from tests.habits.tasks import pivot, simulated
from tests.simulator.rooms import REQUEST


class Told(StatusMessageProvider):
    def module_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str:
        return f"module {type(instance).__name__}"

    def lm_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str:
        return "lm"

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str:
        return f"tool {instance.name}"

    def tool_end_status_message(self, outputs: Any) -> str:
        return "tool done"


async def heard(program: Any) -> tuple[list[str], str, Refined]:
    """Status messages, streamed text and the result of one run."""
    messages, text, result = [], "", None
    async for piece in program(request=REQUEST):
        if isinstance(piece, StatusMessage):
            messages.append(piece.message)
        elif isinstance(piece, StreamResponse):
            text += piece.chunk
        else:
            result = piece
    assert isinstance(result, Refined)
    return messages, text, result


async def test_an_output_of_an_inner_predictor_is_streamed() -> None:
    program = pivot(simulated())
    listener = StreamListener("diagnosis", predict=program.evolve.predict, predict_name="evolve.predict")
    _, text, result = await heard(dspy.streamify(program, stream_listeners=[listener]))
    [diagnosis] = [event.diagnosis for event in result.history if event.kind == "evolve"]
    assert text == diagnosis and result.verified
    assert result.ledger.usage.lm_calls == 4 and result.ledger.usage.prompt_tokens > 0


def test_a_sync_stream() -> None:
    program = pivot(simulated())
    listener = StreamListener("considerations", predict=program.compose.predict, predict_name="compose.predict")
    pieces = list(dspy.streamify(program, stream_listeners=[listener], async_streaming=False)(request=REQUEST))
    assert any(isinstance(piece, StreamResponse) for piece in pieces)
    assert isinstance(pieces[-1], Refined) and pieces[-1].verified


async def test_status_messages_of_phases_and_model_calls() -> None:
    messages, _, result = await heard(dspy.streamify(pivot(simulated()), status_message_provider=Told()))
    modules = [message.removeprefix("module ") for message in messages if message.startswith("module ")]
    assert modules[:3] == ["Pivot", "Plan", "Predict"] and {"Inspect", "Evolve", "Verify"} <= set(modules)
    assert messages.count("lm") == result.ledger.usage.lm_calls


@pytest.mark.parametrize("is_async", [False, True])
async def test_status_messages_of_tools(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    program = dspy.streamify(pivot(simulated()), status_message_provider=Told(), is_async_program=is_async)
    with caplog.at_level(logging.WARNING):
        messages, _, result = await heard(program)
    assert not caplog.records
    tools = [message for message in messages if message.startswith("tool ")]
    assert tools.count("tool done") == result.ledger.usage.tool_calls == len(tools) / 2
    assert tools[:2] == ["tool list_rooms", "tool done"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_dspys_own_status_says_that_a_change_is_only_tried(is_async: bool) -> None:
    messages, _, result = await heard(dspy.streamify(pivot(simulated()), is_async_program=is_async))
    booked = [message for message in messages if "tool book" in message]
    assert booked and {message.split()[0] for message in booked} == {"Trying"}
    assert "Calling tool list_rooms..." in messages and "Tried; nothing is real before commit." in messages
