"""A thread that makes an environment's calls, so that one that hangs can be left behind."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class Worker:
    """One daemon thread, started when first needed; all calls of a session family run in it, in order.

    Some resources (an SQLite connection, say) may only be used from the thread that made them, and the interpreter
    must not wait for a tool that never returns: `ThreadPoolExecutor` keeps the first promise and breaks the second.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Run `function` in the thread, in a copy of the caller's context."""
        future: Future[Result] = Future()
        context = contextvars.copy_context()
        self._jobs.put((future, lambda: context.run(function)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pivot-environment", daemon=True)
            self._thread.start()
        return future

    def stop(self) -> None:
        """End the thread after what was submitted; a hung one is left to end with the process."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
