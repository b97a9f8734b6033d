"""The thread in which an environment lives, and which is left behind where a call hangs."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, TypeVar

from pivot_dspy.errors import PivotError

Result = TypeVar("Result")


def ended(future: futures.Future[Any], timeout: float | None) -> bool:
    """Whether a call ends within so many seconds; half the processor time of `futures.wait`, for one future alone."""
    try:
        future.exception(timeout)
    except futures.TimeoutError:
        return future.done()
    except futures.CancelledError:
        return True
    return True


class Worker:
    """One daemon thread, started when first needed; all calls of a session group run in it, in order.

    Some resources (an SQLite connection, say) may only be used from the thread that made them, and the interpreter
    must not wait for a tool that never returns: `ThreadPoolExecutor` keeps the first promise and breaks the second.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[futures.Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = False
        self._local = threading.local()

    def submit(self, function: Callable[[], Result]) -> futures.Future[Result]:
        """Run `function` in the thread, in a copy of the caller's context.

        Raises:
            PivotError: the worker has been stopped.
        """
        if self._stopped:
            raise PivotError("the sessions of this run are closed; open the environment again")
        future: futures.Future[Result] = futures.Future()
        context = contextvars.copy_context()
        self._jobs.put((future, lambda: context.run(function)))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()
        return future

    def run(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run `function` in the thread, and wait for it.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was left behind.
            PivotError: the worker has been stopped.
        """
        future = self.submit(function)
        if not ended(future, timeout):
            self.replace()
            raise TimeoutError(f"took longer than {timeout:g} s")
        return future.result()

    def finish(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end in this thread's event loop; to be called in the thread itself.

        The loop lives as long as the thread, so that what an async tool keeps open can be used by its next call.
        """
        loop: asyncio.AbstractEventLoop | None = getattr(self._local, "loop", None)
        if loop is None:
            loop = self._local.loop = asyncio.new_event_loop()
        return loop.run_until_complete(coroutine)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this worker's thread."""
        return threading.current_thread() is self._thread

    def replace(self) -> None:
        """Leave the thread with the call that it hangs in, and let a new one go on with what waits."""
        with self._lock:
            self._start()

    def watch(
        self, future: futures.Future[Any], wait: Callable[[], float | None], is_overdue: Callable[[], bool]
    ) -> bool:
        """Wait for what was submitted, from sync code; whether it has ended, and is not left to its thread.

        Args:
            wait: the seconds until the next look at whether it is overdue.
        """
        try:
            while not ended(future, wait()):
                if is_overdue():
                    self.replace()
                    return False
        except KeyboardInterrupt:
            self.abandon(future)
            raise
        return True

    async def awatch(
        self, future: futures.Future[Any], wait: Callable[[], float | None], is_overdue: Callable[[], bool]
    ) -> bool:
        """As `watch`, from async code."""
        waiting = asyncio.wrap_future(future)
        try:
            while not (await asyncio.wait((waiting,), timeout=wait()))[0]:
                if is_overdue():
                    self.replace()
                    return False
        except asyncio.CancelledError:
            self.abandon(future)
            raise
        finally:
            waiting.cancel()
        return True

    def abandon(self, future: futures.Future[Any]) -> None:
        """Take back what was submitted, or leave it to its thread, so that closing need not wait for it."""
        if not future.cancel() and future.running():
            self.replace()

    def stop(self) -> None:
        """End the thread after what was submitted; a hung one is left to end with the process."""
        self._stopped = True
        self._jobs.put(None)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="pivot-environment", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while self.is_current:
            job = self._jobs.get()
            if threading.current_thread() is not self._thread:  # replaced while it waited
                self._jobs.put(job)
                break
            if job is None:
                break
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del job, future, function  # an idle thread must keep nothing alive
        self._close_loop()

    def _close_loop(self) -> None:
        loop: asyncio.AbstractEventLoop | None = getattr(self._local, "loop", None)
        if loop is not None:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
