"""Calls of a model that several runs make at the same time are made once: the others wait, and find it in the cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from pivot_dspy.dspy_internals import BaseCallback
from pivot_dspy.optimizer.targets import digest


class SingleFlight(BaseCallback):  # type: ignore[misc]
    """Lets a call wait for an equal one of another thread, if DSPy's cache will then have the answer.

    Proposals that differ in nothing that a prompt tells ask the same, and DSPy's cache knows only what was answered.
    Calls from an event loop do not wait, since the one that they wait for may need it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._going: dict[str, tuple[threading.Lock, int]] = {}
        self._held: dict[str, str] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: Mapping[str, Any]) -> None:
        if not getattr(instance, "cache", False) or _in_a_loop():
            return
        key = digest([str(instance.model), repr(instance.kwargs), repr(sorted(inputs.items()))])
        with self._guard:
            turn, users = self._going.get(key, (threading.Lock(), 0))
            self._going[key] = turn, users + 1
        turn.acquire()
        with self._guard:
            self._held[call_id] = key

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        with self._guard:
            key = self._held.pop(call_id, None)
            if key is None:
                return
            turn, users = self._going.pop(key)
            if users > 1:
                self._going[key] = turn, users - 1
        turn.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return SingleFlight, ()  # another process has calls of its own


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
