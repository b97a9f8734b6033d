"""Calls of models: what is one, what it used, and what it cost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest
from dspy.dsp.utils.settings import thread_local_overrides
from dspy.lm15 import AuthError, Request, Response, ServerError
from dspy.lm15 import Usage as ProviderUsage

from pivot_dspy.budget import Ledger, Usage
from tests.budget.counting import ANSWER, CountingEngine, Watcher, ask, in_parallel, predict, respond

# ---- LM calls -------------------------------------------------------------------------------------------------------


def test_phases_are_booked_apart_and_nothing_leaks(lm: dspy.LM, engine: CountingEngine) -> None:
    before = thread_local_overrides.get()
    ledger = Ledger()
    ask("owner=before")
    with pytest.raises(ZeroDivisionError), ledger.phase("plan"):
        inside = thread_local_overrides.get()
        lm("owner=plan")
        assert thread_local_overrides.get() is inside
        with ledger.phase("evolve"):
            ask("owner=evolve 1")
            ask("owner=evolve 2")
        ask("owner=plan again")
        raise ZeroDivisionError
    ask("owner=after")
    assert ledger.by_phase == {name: engine.used[name] for name in ("plan", "evolve")}
    assert thread_local_overrides.get() is before


def test_a_nested_ledger_books_alone(lm: dspy.LM, engine: CountingEngine) -> None:
    outer, inner = Ledger(), Ledger()
    with outer.phase("plan"):
        ask("owner=outer 1")
        with inner.phase("plan"):
            ask("owner=inner")
        ask("owner=outer 2")
    assert outer.usage == engine.used["outer"] and inner.usage == engine.used["inner"]


@pytest.mark.parametrize("way", ["memory", "disk"])
def test_a_cache_hit_is_no_call(lm: dspy.LM, engine: CountingEngine, way: str) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        ask("owner=a")
        if way == "disk":
            dspy.cache.reset_memory_cache()
        ask("owner=a")
        ask("owner=a", rollout_id=7)
        ask("owner=a silent")
        ask("owner=a silent")
    assert engine.requests["a"] == 3
    assert ledger.usage == engine.total() + Usage(cache_hits=2)


async def test_async_calls_and_cache_hits(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        await predict.acall(question="owner=a")
        await predict.acall(question="owner=a")
    assert ledger.usage == engine.total() + Usage(cache_hits=1)


def test_a_fallback_to_json_is_a_second_call(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        assert ask("owner=a garbled").answer == "yes"
        ask("owner=a garbled")
    assert engine.requests["a"] == 2
    assert ledger.usage == engine.total() + Usage(cache_hits=2)


async def test_a_failed_request_is_a_call(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        with pytest.raises(Exception, match="no entry"):
            ask("owner=a refused")
        with pytest.raises(Exception, match="no entry"):
            await predict.acall(question="owner=a refused")
        ask("owner=b")
    assert ledger.usage == engine.used["b"] + Usage(lm_calls=engine.requests["a"])


async def test_a_cancelled_request_is_a_call_and_leaves_the_context_clean(lm: dspy.LM) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        inside = thread_local_overrides.get()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(lm.copy(async_engine=Hanging(), engine=CountingEngine()).acall("hello"), 0.05)
        assert thread_local_overrides.get() is inside
    assert ledger.usage == Usage(lm_calls=1)


class Hanging:
    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(60)
        raise ServerError("never")


def test_a_retried_call_counts_once(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        ask("owner=a flaky")
    assert engine.requests["a"] == 2
    assert ledger.usage == engine.total() and ledger.usage.lm_calls == 1


def test_several_candidates_are_several_requests(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        ask("owner=a", n=3)
        ask("owner=a", n=3)
        lm("owner=b")
    assert engine.requests == {"a": 3, "b": 1}
    assert ledger.usage == engine.total() + Usage(cache_hits=1)


def test_without_history_all_but_cost_is_counted(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with dspy.context(disable_history=True), ledger.phase("plan"):
        ask("owner=a")
        ask("owner=a")
    assert ledger.usage == engine.total() + Usage(cache_hits=1)


@pytest.mark.parametrize("replaced", ["callbacks", "tracker"])
def test_code_that_brings_its_own_callbacks_or_tracker_is_counted(
    lm: dspy.LM, engine: CountingEngine, replaced: str
) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        if replaced == "callbacks":
            with dspy.context(callbacks=[Watcher()]):
                ask("owner=a")
        else:
            with dspy.track_usage():
                ask("owner=a")
    assert ledger.usage == engine.total()


# ---- a provider over HTTP, with prices ------------------------------------------------------------------------------


class Provider(BaseHTTPRequestHandler):
    requests = 0

    def do_POST(self) -> None:
        type(self).requests += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "model": "gpt-4o-mini",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
                "usage": {
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "prompt_tokens_details": {"cached_tokens": 4},
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def priced() -> Iterator[dspy.LM]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lm = dspy.LM("openai/gpt-4o-mini", api_base=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm
    lm.close()
    server.shutdown()
    server.server_close()


def test_cost_comes_from_dspy_and_a_cache_hit_costs_nothing(priced: dspy.LM) -> None:
    Provider.requests, ledger = 0, Ledger()
    with ledger.phase("plan"):
        ask("what?")
        ask("what?")
        in_parallel(predict, [f"what {i}?" for i in range(3)])
    price = priced.history[0]["cost"]
    assert price > 0 and Provider.requests == 4
    tokens = Usage(lm_calls=4, cache_hits=1, prompt_tokens=4000, completion_tokens=400, cached_prompt_tokens=16)
    assert ledger.usage.model_copy(update={"cost": 0.0}) == tokens
    assert ledger.usage.cost == pytest.approx(4 * price)


def test_a_model_behind_a_model_is_booked_once(priced: dspy.LM) -> None:
    class Router:
        def complete(self, request: Request) -> Response:
            return respond(priced("which?")[0], ProviderUsage(input_tokens=5, output_tokens=1))

    ledger = Ledger()
    with ledger.phase("plan"), dspy.context(lm=dspy.LM("router/model", engine=Router())):
        ask("what?")
    total = Usage(lm_calls=2, prompt_tokens=1005, completion_tokens=101, cached_prompt_tokens=4)
    assert ledger.usage == total + Usage(cost=priced.history[0]["cost"])


def test_the_cost_of_a_model_behind_one_that_fails_is_booked_once(priced: dspy.LM) -> None:
    class Router:
        def complete(self, request: Request) -> Response:
            priced("which?")
            raise AuthError("no entry")

    ledger, router = Ledger(), dspy.LM("router/model", engine=Router())
    with ledger.phase("plan"), pytest.raises(Exception, match="no entry"):
        router("what?")
    used = Usage(lm_calls=2, prompt_tokens=1000, completion_tokens=100, cached_prompt_tokens=4)
    assert ledger.usage == used + Usage(cost=priced.history[0]["cost"])
