"""An engine that counts what it is asked, to compare the ledger with."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import dspy
from dspy.lm15 import AuthError, Message, Request, Response, ServerError, TextPart, response_to_events
from dspy.lm15 import Usage as ProviderUsage
from dspy.utils.callback import BaseCallback

from pivot_dspy.budget import Usage

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


predict = dspy.Predict("question -> answer")


def ask(question: str, **config: Any) -> Any:
    return predict(question=question, config=config)


def in_parallel(module: dspy.Module, questions: list[str]) -> None:
    dspy.Parallel(num_threads=8, disable_progress_bar=True, timeout=0)([(module, {"question": q}) for q in questions])
