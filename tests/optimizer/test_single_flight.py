"""Equal calls at the same time are one call."""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, Usage

from pivot_dspy.optimizer.metering import SingleFlight

THREADS = 4


class Slow:
    """Answers each call once all that are expected at the same time have come; then fails as often as told."""

    def __init__(self, together: int, failures: int = 0) -> None:
        self.calls = 0
        self._failures = failures
        self._met = threading.Barrier(together)
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        with self._lock:
            self.calls += 1
            fails = self.calls <= self._failures
        self._met.wait(timeout=60)
        if fails:
            raise ValueError("no answer")
        said = Message.assistant("[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]")
        spent = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model=request.model, message=said, finish_reason="stop", usage=spent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Slow:
        return self


class AsyncSlow:
    def __init__(self) -> None:
        self.going = 0

    async def complete(self, request: Request) -> Response:
        self.going += 1
        while self.going < 2:
            await asyncio.sleep(0)
        return Slow(1).complete(request)


def asked(engine: Slow, questions: list[str], **options: Any) -> list[Any]:
    """What came of each question, all asked at once, each in a thread of its own."""
    lm = dspy.LM(f"slow-{uuid.uuid4()}", engine=engine, num_retries=0, **options)
    turns, predict = SingleFlight(), dspy.Predict("question -> answer")

    def ask(question: str) -> Any:
        with dspy.context(lm=lm, callbacks=[turns], adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
            try:
                return predict(question=question).answer
            except Exception as error:
                return type(error).__name__

    with ThreadPoolExecutor(len(questions)) as pool:
        return list(pool.map(ask, questions))


def test_equal_calls_are_made_once() -> None:
    engine = Slow(together=1)
    assert asked(engine, ["same?"] * THREADS) == ["yes"] * THREADS and engine.calls == 1


def test_different_calls_do_not_wait_for_one_another() -> None:
    engine = Slow(together=THREADS)  # none is answered before all of them have come
    assert asked(engine, [f"number {n}?" for n in range(THREADS)]) == ["yes"] * THREADS and engine.calls == THREADS


def test_without_a_cache_each_is_made() -> None:
    engine = Slow(together=THREADS)
    assert asked(engine, ["same?"] * THREADS, cache=False) == ["yes"] * THREADS and engine.calls == THREADS


def test_after_a_failure_the_next_one_asks() -> None:
    engine = Slow(together=1, failures=1)
    said = asked(engine, ["same?"] * THREADS)
    assert said.count("yes") == THREADS - 1 and engine.calls == 2


def test_calls_from_an_event_loop_do_not_wait() -> None:
    lm = dspy.LM(f"slow-{uuid.uuid4()}", engine=Slow(1), async_engine=AsyncSlow())
    predict = dspy.Predict("question -> answer")

    async def both() -> list[str]:
        with dspy.context(lm=lm, callbacks=[SingleFlight()]):
            found = await asyncio.wait_for(asyncio.gather(*(predict.acall(question="same?") for _ in range(2))), 60)
        return [one.answer for one in found]

    assert asyncio.run(both()) == ["yes", "yes"]


def test_it_goes_to_another_process_empty() -> None:
    assert isinstance(pickle.loads(pickle.dumps(SingleFlight())), SingleFlight)


def test_nothing_is_left_of_calls_that_ended() -> None:
    turns = SingleFlight()
    lm = dspy.LM(f"slow-{uuid.uuid4()}", engine=Slow(together=1))
    with dspy.context(lm=lm, callbacks=[turns]):
        dspy.Predict("question -> answer")(question="why?")
    assert not turns._turns and not turns._held
