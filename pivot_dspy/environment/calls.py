"""One call of a tool, and the thread in which an environment lives and which is left behind if a call hangs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pivot_dspy.environment.base import READ_ONLY, Environment, allowing
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, PivotError, cap_text, error_text
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import Fault

Result = TypeVar("Result")

GRACE = 1.0
"""Seconds beyond its timeout that an async tool gets to end when it is cancelled, before its thread is given up."""

LAST_WORDS = 0.1
"""Seconds that a cancelled coroutine gets to clean up."""


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


class CallResult(NamedTuple):
    """What one call gave: a value as plain JSON data, or a fault; and the seconds it took."""

    value: Any
    fault: Fault | None
    seconds: float
    error: Exception | None = None
    """What the call raised, in a form that may pass through a coroutine."""


@dataclass
class ToolCall:
    """One call: made here or in a worker, and watched from outside."""

    environment: Environment
    spec: ToolSpec
    function: Callable[..., Any]
    """The tool or its preview; takes the environment and the arguments."""
    arguments: dict[str, Any]
    timeout: float | None
    allowed: frozenset[str] | None
    """Effects of the tools that may run inside the call, itself included; None for all."""
    worker: Worker
    apart: bool = False
    """Whether it is made in the worker even where nobody watches the time, so that others can be made meanwhile."""
    started: float | None = None
    """When it began; None also once it has ended."""

    def result(self) -> CallResult:
        """Make the call from sync code."""
        if self.spec.is_async:
            self.refuse_own_loop()
            # In the worker's own event loop, never in one that waits for us.
            future, grace = self.worker.submit(lambda: self.worker.finish(self.await_here())), GRACE
        elif self.timeout is None:
            return self.run_here()
        else:
            future, grace = self.worker.submit(self.run_here), 0.0
        try:
            while not ended(future, self.remaining(grace)):
                if self.is_overdue(grace):
                    return self.give_up()
        except KeyboardInterrupt:
            self.worker.abandon(future)
            raise
        return future.result()

    async def aresult(self) -> CallResult:
        """Make the call from async code."""
        if self.spec.is_async:
            return await self.await_here()
        if self.timeout is None and not self.apart:
            return self.run_here()
        future = self.worker.submit(self.run_here)
        waiting = asyncio.wrap_future(future)
        try:
            while not (await asyncio.wait((waiting,), timeout=self.remaining()))[0]:
                if self.is_overdue():
                    return self.give_up()
            return waiting.result()
        except asyncio.CancelledError:
            self.worker.abandon(future)
            raise
        finally:
            waiting.cancel()

    def run_here(self) -> CallResult:
        """Make the call in this thread."""
        self.started = time.perf_counter()
        try:
            with allowing(self.allowed, inside=self.environment):
                value = self.function(self.environment, **self.arguments)
                if inspect.iscoroutine(value):
                    if not self.worker.is_current:
                        value.close()
                        raise TypeError(f"{self.spec.name} returned a coroutine; declare it with `async def`")
                    value = self.worker.finish(value)
                return self._to_result(value)
        except EnvironmentFailed:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            return self._to_failure(error)
        finally:
            self.started = None

    def is_overdue(self, grace: float = 0.0) -> bool:
        return self.started is not None and self.remaining(grace) == 0.0

    def remaining(self, grace: float = 0.0) -> float | None:
        """Seconds until the call is overdue, which it cannot be before it has begun."""
        if self.timeout is None:
            return None
        return max(0.0, self.timeout + grace - self._elapsed())

    def _elapsed(self) -> float:
        started = self.started
        return 0.0 if started is None else time.perf_counter() - started

    async def await_here(self) -> CallResult:
        """Make the call in this event loop, in a task that is cancelled when it is overdue, and left if it goes on."""
        self.started = time.perf_counter()
        task = asyncio.ensure_future(self._awaited())
        try:
            done, _ = await asyncio.wait((task,), timeout=self.timeout)
        finally:
            task.cancel()
        if not done:
            await asyncio.wait((task,), timeout=LAST_WORDS)
            return self._timed_out()
        if task.cancelled():
            return self._to_failure(RuntimeError("the call cancelled itself"))
        return task.result()

    async def _awaited(self) -> CallResult:
        try:
            with allowing(self.allowed, inside=self.environment):
                value = self.function(self.environment, **self.arguments)
                return self._to_result(await value if inspect.isawaitable(value) else value)
        except EnvironmentFailed:
            raise
        except SystemExit as error:  # it would end the event loop
            return self._to_failure(RuntimeError(f"SystemExit: {error}"))
        except Exception as error:
            return self._to_failure(error)

    def _to_result(self, value: Any) -> CallResult:
        """The result as plain data: a copy, so that what a tool does later to its objects changes no observation."""
        if isinstance(value, Iterator):  # what it raises is the tool's own error
            value = list(value)
        try:
            data = plain(value)
        except Exception as error:
            message = f"{self.spec.name} returned {type(value).__name__}, which has no JSON form: {error_text(error)}"
            expected = "a value that pydantic can turn into JSON"
            return CallResult(None, Fault(kind="unserialisable", message=message, expected=expected), self._elapsed())
        with allowing(READ_ONLY, inside=self.environment):
            failure = self.environment.error_of(self.spec.name, data)
        fault = None if failure is None else Fault(kind="tool_error", message=cap_text(failure))
        return CallResult(data, fault, self._elapsed())

    def _to_failure(self, error: BaseException) -> CallResult:
        message = error_text(error)
        raised = error if isinstance(error, Exception) else RuntimeError(message)
        if isinstance(raised, (StopIteration, StopAsyncIteration)):  # these end a coroutine
            raised = RuntimeError(message)
        return CallResult(None, Fault(kind="tool_error", message=message), self._elapsed(), raised)

    def give_up(self) -> CallResult:
        """Leave the call, which hangs, to its thread."""
        self.worker.replace()
        return self._timed_out()

    def _timed_out(self) -> CallResult:
        seconds = self.timeout or 0.0
        message = f"{self.spec.name} took longer than {seconds:g} s"
        return CallResult(None, Fault(kind="timeout", message=message), seconds, TimeoutError(message))

    def refuse_own_loop(self) -> None:
        """Raises ConfigurationError where a call from sync code would wait for itself."""
        with contextlib.suppress(RuntimeError):  # none runs
            if asyncio.get_running_loop() is self.spec.home:
                raise ConfigurationError(
                    f"the tool {self.spec.name!r} needs this event loop, which a sync call would block; use "
                    "`await ....acall(...)`"
                )
