"""Both engines of DSPy, its own and LiteLLM's, against one server: what it answers comes to the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMError

from pivot_dspy import ConfidenceGate, LedgerReport, Pivot, PivotOptimizer, PlanningFailed, Refined, TooManyErrors
from pivot_dspy.simulator import OfflineEngine, Rates
from tests.openai_server import OVERFLOW, OpenAIServer
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

ENGINES = ["lm15", "litellm"]
BEST_SO_FAR = Rates(slip=0.0, systematic=1.0, heed=1.0)  # every first plan is wrong in the same way


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else LiteLLM asks the network when it is imported
    pytest.importorskip("litellm")
    with OpenAIServer(OfflineEngine([reference()], BEST_SO_FAR)) as running:
        yield running


def model(server: OpenAIServer, engine: str, **options: Any) -> dspy.LM:
    options = {"cache": False, "num_retries": 0, "timeout": 20, **options}
    return dspy.LM("openai/loopback", api_base=server.url, api_key="x", engine=engine, **options)


def refine(program: Any, lm: dspy.LM) -> Refined:
    with dspy.context(lm=lm):
        result: Refined = program(request=REQUEST)
    return result


@pytest.mark.parametrize("engine", ENGINES)
def test_log_probabilities_are_read(server: OpenAIServer, engine: str) -> None:
    server.engine = OfflineEngine([reference()], Rates(slip=0.0))
    lm = model(server, engine, logprobs=True, top_logprobs=5)
    result = refine(ConfidenceGate(Pivot(Book, Rooms), threshold=1.0), lm)
    assert result.verified and {step.confidence.source for step in result.trajectory.steps} == {"tokens"}
    assert [step.confidence.value for step in result.trajectory.steps] == pytest.approx([10.0] * len(result.trajectory))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_prompt_that_is_too_long(server: OpenAIServer, engine: str) -> None:
    server.fail("overflow")
    with pytest.raises(PlanningFailed, match="exceeds the available context size") as failed:
        refine(Pivot(Book, Rooms), model(server, engine))
    assert isinstance(failed.value.__cause__, ContextWindowExceededError)
    assert isinstance(failed.value.ledger, LedgerReport) and failed.value.ledger.usage.lm_calls == len(server.requests)
    server.fail("overflow", when=lambda prompt: "open_steps" in prompt)
    best = refine(Pivot(Book, Rooms), model(server, engine))
    assert not best.verified and len(best.trajectory) > 1 and any(OVERFLOW[:30] in told for told in best.failures)


@pytest.mark.parametrize("failure, said", [("overflow", OVERFLOW[:30]), ("schema", "not permitted"), ("500", "on dem")])
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_compiled_where_every_call_is_refused(
    server: OpenAIServer, engine: str, failure: Any, said: str
) -> None:
    server.fail(failure)
    tasks = [dspy.Example(request=f"{REQUEST} {number}", room="r3").with_inputs("request") for number in range(4)]
    optimizer = PivotOptimizer(lambda gold, pred: 1.0, max_tasks=12, num_threads=1, display_progress=False)
    with dspy.context(lm=model(server, engine)), pytest.raises(TooManyErrors, match=re.escape(said)) as refused:
        optimizer.compile(Pivot(Book, Rooms), trainset=tasks[:2], valset=tasks[2:])
    assert "no run of the program got an answer" in str(refused.value) and refused.value.errors


@pytest.mark.parametrize("failure", ["html", "empty", "truncated"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_answers_with_something_else(server: OpenAIServer, engine: str, failure: Any) -> None:
    server.fail(failure)
    with pytest.raises(PlanningFailed) as failed:
        refine(Pivot(Book, Rooms), model(server, engine))
    assert isinstance(failed.value.__cause__, LMError)
    assert isinstance(failed.value.ledger, LedgerReport) and failed.value.ledger.usage.lm_calls >= 1
    server.fail(failure, when=lambda prompt: "open_steps" in prompt)
    best = refine(Pivot(Book, Rooms), model(server, engine))
    assert not best.verified and best.failures and len(best.trajectory) > 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_is_not_there(server: OpenAIServer, engine: str) -> None:
    nowhere = dspy.LM("openai/x", api_base="http://127.0.0.1:9/v1", api_key="x", engine=engine, num_retries=0)
    with pytest.raises(PlanningFailed) as failed:
        refine(Pivot(Book, Rooms), nowhere)
    assert isinstance(failed.value.__cause__, LMError)
    assert isinstance(failed.value.ledger, LedgerReport) and failed.value.ledger.usage.lm_calls == 1
