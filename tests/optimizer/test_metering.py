"""What a run is found to have spent, whoever served its calls."""

from __future__ import annotations

import uuid

import dspy
import pytest

from pivot_dspy import Pivot
from pivot_dspy.optimizer.metering import metered
from pivot_dspy.simulator import offline_lm
from tests.openai_server import OpenAIServer
from tests.simulator.rooms import REQUEST, Rooms, reference


def spent(program: Pivot) -> tuple[int, int]:
    with metered({"self": program}) as meter:
        program(request=REQUEST)
    assert [returned.path for returned in meter.returned] == ["self"]
    return len(meter.history), meter.tokens


@pytest.fixture
def pivot() -> Pivot:
    return Pivot("request -> booking", Rooms)


def test_what_the_cache_serves_counts_as_if_it_had_been_asked_for(pivot: Pivot) -> None:
    lm = offline_lm([reference()], slip=0.5, seed=uuid.uuid4().int % 10**6)
    pivot.set_lm(lm)
    first, again = spent(pivot), spent(pivot)
    assert first == again and min(first) > 0


def test_it_is_seen_without_dspys_history_too(pivot: Pivot) -> None:
    pivot.set_lm(offline_lm([reference()], slip=0.5, cache=False))
    calls, tokens = spent(pivot)
    with dspy.context(disable_history=True):
        alone = spent(pivot)
    assert alone[0] == calls and tokens / 2 < alone[1] < tokens * 2


def test_a_provider_that_the_cache_does_not_speak_for_is_estimated(
    pivot: Pivot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(offline_lm([reference()], slip=0.5, cache=False).engine) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        pivot.set_lm(dspy.LM(f"openai/{uuid.uuid4()}"))
        (calls, tokens), asked = spent(pivot), len(server.requests)
        again = spent(pivot)
        assert asked == len(server.requests) == calls
    assert again[0] == calls and tokens / 2 < again[1] < tokens * 2
