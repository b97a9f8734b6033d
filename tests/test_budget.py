from __future__ import annotations

import asyncio
import contextvars
import copy
import json
import pickle
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.dsp.utils.settings import thread_local_overrides
from dspy.lm15 import AuthError, Message, Request, Response, ServerError, TextPart, response_to_events
from dspy.lm15 import Usage as ProviderUsage
from dspy.utils.callback import BaseCallback
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy.budget import OUTSIDE, Budget, BudgetExhausted, Ledger, LedgerReport, Usage, _tokens
from pivot_dspy.errors import ConfigurationError, PivotError

ANSWER = "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"


def respond(text: str, usage: ProviderUsage) -> Response:
    message = Message.assistant([TextPart(text)])
    return Response(id=None, model="counting", message=message, finish_reason="stop", usage=usage)


class CountingEngine:
    """Answers every question, keeps its own books per owner, and misbehaves when the question says so.

    A question reads "owner=NAME ..."; with "garbled" only JSON is answered well, with "flaky" every first attempt
    fails and is retried, with "refused" every attempt fails for good, with "silent" no usage is reported.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.used: dict[str, Usage] = {}
        self.flaked: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> CountingEngine:
        return self

    def complete(self, request: Request) -> Response:
        text = request.messages[-1].text or ""
        found = re.search(r"owner=(\w+)[^\n]*", text)
        question, owner = (found[0], found[1]) if found else (text, "?")
        prompt, completion = 10 + len(question), 3 + len(question) % 7
        with self.lock:
            self.requests[owner] += 1
            if "refused" in question:
                raise AuthError("no entry")
            if "flaky" in question and question not in self.flaked:
                self.flaked.add(question)
                raise ServerError("try again", retry_after=0.0)
            if "silent" in question:
                prompt = completion = 0
            shares = {"cached_prompt_tokens": prompt // 2, "reasoning_tokens": completion // 3}
            usage = Usage(lm_calls=1, prompt_tokens=prompt, completion_tokens=completion, **shares)
            self.used[owner] = self.used.get(owner, Usage()) + usage
        answer = ANSWER
        if "garbled" in question:
            answer = '{"answer": "yes"}' if "Respond with a JSON object" in text else "???"
        reported = ProviderUsage(
            input_tokens=prompt,
            output_tokens=completion,
            cache_read_tokens=usage.cached_prompt_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )
        return respond(answer, ProviderUsage() if "silent" in question else reported)

    def stream(self, request: Request) -> Iterator[Any]:
        return response_to_events(self.complete(request))

    def close(self) -> None:
        pass

    def total(self) -> Usage:
        return sum(self.used.values(), Usage())


class AsyncCountingEngine:
    def __init__(self, sync: CountingEngine) -> None:
        self.sync = sync

    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(0.001)
        return self.sync.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        for event in self.sync.stream(request):
            yield event

    async def aclose(self) -> None:
        pass


class Watcher(BaseCallback):
    def __init__(self) -> None:
        self.events: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.events.append("start")

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.events.append("end")


@pytest.fixture(autouse=True)
def local_cache_and_prices(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # no download of model prices
    before = vars(dspy).get("cache")
    dspy.configure_cache(enable_disk_cache=True, enable_memory_cache=True, disk_cache_dir=str(tmp_path / "cache"))
    yield
    dspy.cache.disk_cache.close()
    if before is None:
        del dspy.cache
    else:
        dspy.cache = before


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def lm(engine: CountingEngine) -> Iterator[dspy.LM]:
    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), temperature=1.0)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm


predict = dspy.Predict("question -> answer")


def ask(question: str, **config: Any) -> Any:
    return predict(question=question, config=config)


# ---- budget, usage, report ------------------------------------------------------------------------------------------

LIMITS = ("lm_calls", "tokens", "cost", "tool_calls", "seconds")
counts = st.integers(0, 10**6)
usages = st.builds(Usage, **dict.fromkeys(Usage.model_fields, counts))


@given(st.sampled_from(LIMITS), st.integers(max_value=0))
def test_a_limit_must_be_above_zero(name: str, limit: int) -> None:
    with pytest.raises(ValueError, match="finite number above 0; leave it out"):
        Budget(**{name: limit})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_limit_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Budget(cost=bad)


def test_a_misspelled_limit_is_refused_and_a_budget_is_frozen() -> None:
    with pytest.raises(ValueError, match="lm_call"):
        Budget(lm_call=3)
    with pytest.raises(ValidationError):
        Budget(lm_calls=3).lm_calls = 4


@given(usages, usages, usages)
def test_usage_adds_up(a: Usage, b: Usage, c: Usage) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a
    assert (a + b).total_tokens == a.total_tokens + b.total_tokens


@given(st.dictionaries(st.text(min_size=1), usages), st.floats(0, 1e9))
def test_a_report_goes_to_json_and_back(phases: dict[str, Usage], seconds: float) -> None:
    report = LedgerReport(phases=phases, seconds=seconds)
    assert LedgerReport.model_validate_json(report.model_dump_json()) == report
    assert report.usage == sum(phases.values(), Usage())


@pytest.mark.parametrize(("prompt", "completion"), [("prompt", "completion"), ("input", "output")])
@pytest.mark.parametrize("wrap", [dict, SimpleNamespace])
def test_tokens_are_read_in_every_naming(prompt: str, completion: str, wrap: Callable[..., Any]) -> None:
    entry = {
        f"{prompt}_tokens": 10,
        f"{completion}_tokens": 5,
        f"{prompt}_tokens_details": wrap(cached_tokens=4),
        f"{completion}_tokens_details": wrap(reasoning_tokens=2),
    }
    expected = Usage(prompt_tokens=10, completion_tokens=5, cached_prompt_tokens=4, reasoning_tokens=2)
    assert _tokens(entry) == expected


odd = st.none() | st.floats() | st.integers(max_value=0) | st.text() | st.dictionaries(st.text(), st.none())


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "output_tokens", "prompt_tokens_details"]), odd))
def test_odd_usage_never_raises(entry: dict[str, Any]) -> None:
    assert _tokens(entry).total_tokens >= 0


# ---- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_named_with_its_numbers(name: str) -> None:
    used = Usage(lm_calls=3, prompt_tokens=2, completion_tokens=1, cost=3.0, tool_calls=3, tool_calls_reused=9)
    ledger = Ledger(LedgerReport(phases={"plan": used}, seconds=3.0))
    assert ledger.spent(Budget()) is None
    assert ledger.spent(Budget(**{name: 5})) is None
    ledger.check(Budget(**{name: 5}))
    spent = ledger.spent(Budget(**{name: 3}))
    assert spent is not None and spent.startswith(f"{name}: 3") and spent.endswith("of 3")
    with pytest.raises(BudgetExhausted, match=re.escape(name)) as caught:
        ledger.check(Budget(**{name: 2}))
    assert caught.value.limit == name
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, PivotError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.limit == name and str(again) == str(caught.value)


def test_time_passes_and_a_resumed_ledger_goes_on() -> None:
    first = Ledger()
    first.tool_call()
    resumed = Ledger(LedgerReport(phases=first.by_phase, seconds=100.0))
    resumed.tool_call()
    assert 0 <= first.elapsed < 100 <= resumed.elapsed < 200
    assert resumed.usage.tool_calls == 2 and first.usage.tool_calls == 1
    assert resumed.spent(Budget(seconds=50)) == "seconds: 100 of 50"


def test_copies_are_the_ledger_itself_and_a_pickle_is_independent() -> None:
    ledger = Ledger()
    ledger.tool_call()
    assert copy.deepcopy(ledger) is ledger and copy.copy(ledger) is ledger
    other = pickle.loads(pickle.dumps(ledger))
    other.tool_call()
    assert (ledger.usage.tool_calls, other.usage.tool_calls) == (1, 2)


def test_a_phase_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="name"), Ledger().phase(""):
        pass


# ---- tool calls -----------------------------------------------------------------------------------------------------


def test_tool_calls_go_to_the_innermost_phase_of_their_ledger() -> None:
    outer, inner = Ledger(), Ledger()
    with outer.phase("inspect"):
        outer.tool_call()
        with inner.phase("plan"):
            outer.tool_call(reused=True)
            inner.tool_call()
    outer.tool_call()
    assert outer.by_phase == {"inspect": Usage(tool_calls=1, tool_calls_reused=1), OUTSIDE: Usage(tool_calls=1)}
    assert inner.by_phase == {"plan": Usage(tool_calls=1)}


def test_tool_calls_are_counted_under_threads() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.tool_call(reused=i % 2 == 0), range(2000)))
    assert ledger.usage == Usage(tool_calls=1000, tool_calls_reused=1000)


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


# ---- DSPy's ways to run at once -------------------------------------------------------------------------------------


def in_parallel(module: dspy.Module, questions: list[str]) -> None:
    dspy.Parallel(num_threads=8, disable_progress_bar=True, timeout=0)([(module, {"question": q}) for q in questions])


def in_evaluate(module: dspy.Module, questions: list[str]) -> None:
    examples = [dspy.Example(question=q).with_inputs("question") for q in questions]
    dspy.Evaluate(devset=examples, metric=lambda *_: 1.0, num_threads=8, display_progress=False)(module)


def in_threads(module: dspy.Module, questions: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(contextvars.copy_context().run, module, question=q) for q in questions]:
            job.result()


def in_asyncify(module: dspy.Module, questions: list[str]) -> None:
    async def main() -> None:
        await asyncio.gather(*(dspy.asyncify(module)(question=q) for q in questions))

    asyncio.run(main())


def in_gather(module: dspy.Module, questions: list[str]) -> None:
    async def main() -> None:
        await asyncio.gather(*(module.acall(question=q) for q in questions))

    asyncio.run(main())


Way = Callable[[dspy.Module, list[str]], None]
WAYS: list[Way] = [in_parallel, in_evaluate, in_threads, in_asyncify, in_gather]


@pytest.mark.parametrize("way", WAYS)
def test_totals_equal_the_engines_own_count(lm: dspy.LM, engine: CountingEngine, way: Way) -> None:
    ledger = Ledger()
    with ledger.phase("inspect"):
        way(predict, [f"owner=a {i} {'garbled' if i % 5 == 0 else ''}" for i in range(40)])
    assert engine.requests["a"] == 48
    assert ledger.by_phase == {"inspect": engine.total()}


@pytest.mark.parametrize("way", WAYS)
def test_a_ledger_per_item_when_many_run_at_once(lm: dspy.LM, engine: CountingEngine, way: Way) -> None:
    reports: dict[str, LedgerReport] = {}

    class Refiner(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            ledger = Ledger()
            with ledger.phase("plan"):
                predict(question=question)
            with ledger.phase("evolve"):
                in_threads(predict, [f"{question} {i}" for i in range(3)])  # nested, dspy.Parallel trips over tqdm
            reports[question] = ledger.snapshot()
            return dspy.Prediction(answer="yes")

        async def aforward(self, question: str) -> dspy.Prediction:
            ledger = Ledger()
            with ledger.phase("plan"):
                await predict.acall(question=question)
            with ledger.phase("evolve"):
                await asyncio.gather(*(predict.acall(question=f"{question} {i}") for i in range(3)))
            reports[question] = ledger.snapshot()
            return dspy.Prediction(answer="yes")

    around = Ledger()
    with around.phase("other run"):
        way(Refiner(), [f"owner=o{i} {'x' * i}" for i in range(10)])
    assert len(reports) == 10 and around.usage == Usage()
    for question, report in reports.items():
        assert report.usage == engine.used[question.split()[0].removeprefix("owner=")]
        assert [report.phases[name].lm_calls for name in ("plan", "evolve")] == [1, 3]


script = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["plan", "evolve"]), st.integers(0, 5)), max_size=25)


@settings(max_examples=15, deadline=None)
@given(script)
def test_any_interleaving_of_ledgers_and_phases(jobs: list[tuple[int, str, int]]) -> None:
    engine = CountingEngine()
    ledgers = [Ledger() for _ in range(3)]

    async def one(who: int, phase: str, what: int) -> None:
        with ledgers[who].phase(phase):
            await predict.acall(question=f"owner=o{who}{phase} {what}")

    async def main() -> None:
        await asyncio.gather(*(one(*job) for job in jobs))

    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), cache=False)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        asyncio.run(main())
    for who, ledger in enumerate(ledgers):
        for phase, usage in ledger.by_phase.items():
            assert usage == engine.used[f"o{who}{phase}"]
    assert sum((ledger.usage for ledger in ledgers), Usage()) == engine.total()


async def test_streamify_around_a_refiner(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()

    class Refiner(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plan = dspy.Predict("question -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return self.plan(question=question)

    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]
    stream = dspy.streamify(Refiner(), stream_listeners=listeners)
    last = [item async for item in stream(question="owner=a")][-1]
    assert last.answer == "yes"
    assert ledger.usage == engine.total() == engine.used["a"]


async def test_streamify_inside_a_phase_and_after_it(lm: dspy.LM, engine: CountingEngine) -> None:
    first, second = Ledger(), Ledger()
    with first.phase("plan"):
        stream = dspy.streamify(dspy.Predict("question -> answer"))
        [item async for item in stream(question="owner=first")]
    [item async for item in stream(question="owner=nobody")]
    with second.phase("plan"):
        [item async for item in stream(question="owner=second")]
    assert first.usage == engine.used["first"] and second.usage == engine.used["second"]


async def test_a_task_that_outlives_its_phase_is_booked_to_it(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        task = asyncio.create_task(predict.acall(question="owner=a"))
    await task
    assert ledger.by_phase == {"plan": engine.used["a"]}


# ---- the user's own tracking ----------------------------------------------------------------------------------------


def tokens_of(usage: dict[str, Any]) -> int:
    return sum(entry["prompt_tokens"] + entry["completion_tokens"] for entry in usage.values())


def test_track_usage_around_a_phase_sees_all_even_from_threads(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with dspy.track_usage() as tracker, ledger.phase("plan"):
        ask("owner=a")
        in_parallel(predict, [f"owner=a {i}" for i in range(10)])
        with dspy.track_usage() as nested:
            ask("owner=a nested")
        ask("owner=a")
    assert tokens_of(tracker.get_total_tokens()) == ledger.usage.total_tokens == engine.total().total_tokens
    assert 0 < tokens_of(nested.get_total_tokens()) < ledger.usage.total_tokens


@pytest.mark.parametrize("where", ["phase in module", "module in phase"])
async def test_get_lm_usage_works_as_ever(lm: dspy.LM, engine: CountingEngine, where: str) -> None:
    ledger = Ledger()

    class Refiner(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return ask(question)

        async def aforward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return await predict.acall(question=question)

    with dspy.context(track_usage=True):
        if where == "phase in module":
            first, second = Refiner()(question="owner=a"), await Refiner().acall(question="owner=b")
        else:
            with ledger.phase("plan"):
                first, second = ask("owner=a"), await predict.acall(question="owner=b")
    assert tokens_of(first.get_lm_usage()) == engine.used["a"].total_tokens
    assert tokens_of(second.get_lm_usage()) == engine.used["b"].total_tokens
    assert ledger.usage == engine.total()


def test_the_users_callbacks_go_on(lm: dspy.LM, engine: CountingEngine) -> None:
    everywhere, on_lm = Watcher(), Watcher()
    lm.callbacks.append(on_lm)
    ledger = Ledger()
    with dspy.context(callbacks=[everywhere]):
        with ledger.phase("plan"), ledger.phase("inspect"):
            ask("owner=a")
        ask("owner=b")
        assert dspy.settings.callbacks == [everywhere]
    assert everywhere.events == on_lm.events == ["start", "end"] * 2
    assert ledger.by_phase == {"inspect": engine.used["a"]}


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
