"""What sees the calls of a run, whatever program it is of: what they cost, what refiners returned, and equal ones."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import dspy

from pivot_dspy.dspy_internals import BaseCallback, count_tokens, settings
from pivot_dspy.episode.result import Refined, by_own_names
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.source_digest import digest


class RefinerCall(NamedTuple):
    """One call of a refiner: its path in the program, what it was given, and what it returned."""

    path: str
    inputs: dict[str, Any]
    result: Refined


class Meter(BaseCallback):  # type: ignore[misc]
    """What is seen of a run inside `with metered(...)`."""

    def __init__(self, refiners: Mapping[str, Refiner]) -> None:
        self.returned: list[RefinerCall] = []
        """The calls of refiners that returned something, in the order in which they ended."""
        self.history: list[Mapping[str, Any]] = []
        """DSPy's entry of each call of a language model."""
        self._refiners = refiners
        self._open: dict[str, tuple[str, dict[str, Any]]] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._without_history = bool(settings.disable_history)

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens, as if no call had been served from DSPy's cache: else whatever ran second would
        look cheaper. Where neither provider nor cache tells, they are counted as LiteLLM does for the model."""
        return sum(_reported_tokens(entry) or _estimated_tokens(entry) for entry in self.history)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        path = self._path_of(instance) if isinstance(instance, Refiner) else None
        if path is not None:
            self._open[call_id] = path, dict(inputs.get("kwargs") or {})

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        opened = self._open.pop(call_id, None)
        if opened is not None and isinstance(outputs, Refined):
            self.returned.append(RefinerCall(*opened, by_own_names(outputs)))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if self._without_history:  # DSPy makes no entries: ours has what there is to count
            self._requests[call_id] = {
                "messages": inputs.get("messages"), "prompt": inputs.get("prompt"), "model": instance.model
            }  # fmt: skip

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        request = self._requests.pop(call_id, None)
        if request is not None and exception is None:
            self.history.append({**request, "outputs": outputs})

    def _path_of(self, refiner: Refiner) -> str | None:
        alike = None
        for path, original in self._refiners.items():
            if original is refiner:
                return path
            if original.session_factory is refiner.session_factory and original.signature is refiner.signature:
                alike = alike or path  # of a copy, as `dspy.Refine` makes them
        return alike


@contextmanager
def metered(refiners: Mapping[str, Refiner]) -> Iterator[Meter]:
    """Sees what runs inside the `with` block."""
    meter = Meter(refiners)
    callbacks = [*(settings.callbacks or ()), meter]
    callers = [*(settings.caller_modules or ()), meter]  # whose history DSPy appends its entries to
    with dspy.context(callbacks=callbacks, caller_modules=callers):
        yield meter


def _reported_tokens(entry: Mapping[str, Any]) -> int:
    """What the call's provider, or of a call from the cache its stored responses, say; 0 where they say nothing."""
    usage = entry.get("usage") or {}
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    if not any(counts):
        response = entry.get("response")
        responses = response if isinstance(response, (list, tuple)) else [response]
        usages = [getattr(response, "usage", None) for response in responses]
        counts = [getattr(usage, name, None) for usage in usages for name in ("input_tokens", "output_tokens")]
    return int(sum(filter(None, counts)))


def _estimated_tokens(entry: Mapping[str, Any]) -> int:
    texts = [entry.get("messages") or entry.get("prompt"), entry["outputs"]]
    return count_tokens(str(entry["model"]), json.dumps(texts, ensure_ascii=False, default=str))


class SingleFlight(BaseCallback):  # type: ignore[misc]
    """Lets a call wait for an equal one of another thread, if DSPy's cache will then have the answer.

    Proposals that differ in nothing that a prompt tells ask the same, and DSPy's cache knows only what was answered.
    Calls from an event loop do not wait, since the one that they wait for may need it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        """Of each call that is made or waited for."""
        self._held: dict[str, threading.Lock] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: Mapping[str, Any]) -> None:
        if not getattr(instance, "cache", False) or _in_event_loop():
            return
        key = digest([str(instance.model), repr(instance.kwargs), repr(sorted(inputs.items()))])
        with self._guard:
            turn = self._turns.setdefault(key, threading.Lock())
        turn.acquire()
        self._held[call_id] = turn

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        turn = self._held.pop(call_id, None)
        if turn is not None:
            turn.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return SingleFlight, ()  # another process has calls of its own


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
