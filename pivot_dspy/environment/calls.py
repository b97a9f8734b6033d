"""One call of a tool: made here or in the thread of its environment, typed, and watched from outside."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from pivot_dspy.environment.base import READ_ONLY, Environment, allowing
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.environment.worker import Worker
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, cap_text, error_text
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import Fault

GRACE = 1.0
"""Seconds beyond its timeout that an async tool gets to end when it is cancelled, before its thread is given up."""

LAST_WORDS = 0.1
"""Seconds that a cancelled coroutine gets to clean up."""


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
        if not self.worker.watch(future, partial(self.remaining, grace), partial(self.is_overdue, grace)):
            return self.timed_out()
        return future.result()

    async def aresult(self) -> CallResult:
        """Make the call from async code."""
        if self.spec.is_async:
            return await self.await_here()
        if self.timeout is None and not self.apart:
            return self.run_here()
        future = self.worker.submit(self.run_here)
        if not await self.worker.awatch(future, self.remaining, self.is_overdue):
            return self.timed_out()
        return future.result()

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
            return self.timed_out()
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
        failure = None
        if type(self.environment).error_of is not Environment.error_of:
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
        return self.timed_out()

    def timed_out(self) -> CallResult:
        """What the call gives where it hangs."""
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
