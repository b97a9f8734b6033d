"""`Pivot` on a model behind HTTP: DSPy's client, adapters, retries and streaming against a server on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError, LMRateLimitError, LMServerError, LMTransportError

from pivot_dspy import Budget, LedgerReport, Pivot, PlanningFailed, Refined, Usage
from pivot_dspy.simulator import OfflineEngine, Rates, is_simulated
from tests.openai_server import GARBAGE, OpenAIServer
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

ADAPTERS = [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter]
RATES = Rates(slip=0.0, systematic=1.0, heed=1.0)  # every first plan is wrong in the same way, and one rewrite mends it


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(OfflineEngine([reference()], RATES)) as running:
        yield running


def model(server: OpenAIServer, **options: Any) -> dspy.LM:
    return dspy.LM("openai/loopback", api_base=server.url, api_key="x", **{"cache": False, "num_retries": 0, **options})


def refine(server: OpenAIServer, adapter: Any = dspy.ChatAdapter, **options: Any) -> Refined:
    with dspy.context(lm=model(server, **options), adapter=adapter()):
        result: Refined = Pivot(Book, Rooms)(request=REQUEST)
    return result


def spent(error: PlanningFailed) -> Usage:
    """What the ledger of a failed run holds."""
    assert isinstance(error.ledger, LedgerReport)
    return error.ledger.usage


def check(result: Refined, server: OpenAIServer) -> None:
    """It was done, was repaired on the way, and the ledger holds what the server answered."""
    assert result.verified and (result.room, result.message) == ("r3", "Booked r3.")
    assert "evolve" in result.ledger.phases
    booked, answered = result.ledger.usage, server.engine.calls
    assert (booked.lm_calls, booked.prompt_tokens, booked.completion_tokens) == (
        answered.lm_calls, answered.prompt_tokens, answered.completion_tokens,
    )  # fmt: skip
    assert len(server.requests) == answered.lm_calls  # no retry and no fallback


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_sync(server: OpenAIServer, adapter: Any) -> None:
    check(refine(server, adapter), server)
    assert not is_simulated(model(server))  # it is a real client; only this server knows what answers


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_async(server: OpenAIServer, adapter: Any) -> None:
    with dspy.context(lm=model(server), adapter=adapter()):
        check(await Pivot(Book, Rooms).acall(request=REQUEST), server)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_streamed(server: OpenAIServer, adapter: Any, is_async: bool) -> None:
    pivot = Pivot(Book, Rooms)
    listener = dspy.streaming.StreamListener(signature_field_name="diagnosis", predict=pivot.evolve.predict)
    heard, result = "", None
    with dspy.context(lm=model(server), adapter=adapter()):
        program = dspy.streamify(pivot, stream_listeners=[listener], is_async_program=is_async)
        async for piece in program(request=REQUEST):
            if isinstance(piece, dspy.streaming.StreamResponse):
                heard += piece.chunk
            elif isinstance(piece, dspy.Prediction):
                result = piece
    assert isinstance(result, Refined) and result.verified
    assert [body for body in server.requests if body.get("stream")] == [
        body for body in server.requests if "open_steps" in str(body["messages"])
    ]  # DSPy streams the calls that a listener waits for
    [diagnosis] = [event.diagnosis for event in result.history if event.kind == "evolve"]
    assert diagnosis and heard.strip().removeprefix('"').startswith(diagnosis)
    assert adapter is dspy.JSONAdapter or heard.strip() == diagnosis  # DSPy's listener reads past the field in JSON


async def test_many_at_once(server: OpenAIServer) -> None:
    pivot = Pivot(Book, Rooms)
    with dspy.context(lm=model(server)):
        results = await asyncio.gather(*(pivot.acall(request=REQUEST) for _ in range(6)))
    assert all(result.verified for result in results)
    assert sum(result.ledger.usage.lm_calls for result in results) == server.engine.calls.lm_calls


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_garbage_every_time(server: OpenAIServer, adapter: Any) -> None:
    server.fail("garbage")
    with pytest.raises(PlanningFailed) as failed:
        refine(server, adapter)
    assert isinstance(failed.value.__cause__, AdapterParseError)
    usage = spent(failed.value)
    assert usage.lm_calls == len(server.requests) and usage.completion_tokens == usage.lm_calls * -(-len(GARBAGE) // 4)


def test_garbage_once(server: OpenAIServer) -> None:
    server.fail("garbage", times=1)
    result = refine(server)
    assert result.verified and result.ledger.usage.lm_calls == len(server.requests)


@pytest.mark.parametrize(
    ("failure", "cause"), [("429", LMRateLimitError), ("500", LMServerError), ("timeout", LMTransportError)]
)
def test_no_plan_at_all(server: OpenAIServer, failure: Any, cause: type[Exception]) -> None:
    server.fail(failure)
    with pytest.raises(PlanningFailed) as failed:
        refine(server, timeout=0.9 if failure == "timeout" else 60)
    assert isinstance(failed.value.__cause__, cause)
    assert spent(failed.value).lm_calls == 1 and spent(failed.value).total_tokens == 0


@pytest.mark.parametrize("failure", ["429", "500", "timeout", "garbage"])
@pytest.mark.parametrize("field", ["open_steps", "considerations"])
def test_the_best_so_far_where_a_later_phase_fails(server: OpenAIServer, failure: Any, field: str) -> None:
    server.fail(failure, when=lambda prompt: field in prompt)
    result = refine(server, timeout=0.9 if failure == "timeout" else 60)
    assert not result.verified and result.verdict.reasons and len(result.trajectory) > 1
    failures = [event.message for event in result.history if event.kind == "failure"]
    assert failures and all(message.startswith(("evolve", "compose")) for message in failures)
    assert result.ledger.usage.lm_calls == len(server.requests)
    assert (result.room == "r3") is (field == "considerations") and result.message is None


def test_dspy_retries_what_passes(server: OpenAIServer) -> None:
    server.fail("429", times=1)
    result = refine(server, num_retries=1)
    assert result.verified
    assert len(server.requests) == server.engine.calls.lm_calls + 1


def test_no_second_question_is_asked_where_the_budget_is_spent(server: OpenAIServer) -> None:
    server.fail("garbage")
    with dspy.context(lm=model(server)), pytest.raises(PlanningFailed):
        Pivot(Book, Rooms, budget=Budget(lm_calls=1))(request=REQUEST)
    assert len(server.requests) == 1


def test_a_cut_answer_names_the_remedy(server: OpenAIServer) -> None:
    server.fail("cut")
    with pytest.raises(PlanningFailed, match="cut off before its end.*raise max_tokens"):
        refine(server)
