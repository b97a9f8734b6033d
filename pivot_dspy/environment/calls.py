"""Calls of one tool, made one after another: what each gave, as plain data or as a typed fault."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.permission import allowing
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.environment.worker import Worker
from pivot_dspy.flow import Await, Flow
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import Fault

Permit = Callable[[], None]
"""Called before each tool call; it may raise to stop the execution, as a spent budget does."""

LAST_WORDS = 0.1
"""Seconds that a cancelled coroutine gets to clean up."""

MESSAGE_CAP = 1000
"""Characters of an error's message that are kept."""


class CallResult(NamedTuple):
    """What one call gave: a value as plain JSON data, or a fault; and the seconds it took."""

    value: Any
    fault: Fault | None
    seconds: float


class Overdue(Exception):
    """An awaited call took longer than its timeout."""


class ToolCalls:
    """Calls that run one after another, here or in a worker, watched from outside.

    Args:
        run: the tool or its preview; takes the environment and the arguments.
        careful: whether a failed call ends the batch.
        granted: effects of the tools that may run inside the calls, themselves included; None for all.

    Attributes:
        error: what the last call raised, if it did; always one that may pass through a coroutine.
    """

    def __init__(
        self,
        environment: Environment,
        spec: ToolSpec,
        run: Callable[..., Any],
        batch: Sequence[dict[str, Any]],
        permit: Permit,
        timeout: float | None,
        worker: Worker,
        *,
        careful: bool = False,
        granted: frozenset[str] | None = None,
    ) -> None:
        self._granted = granted
        self.environment, self.spec, self.timeout = environment, spec, timeout
        self.outcomes: list[CallResult] = []
        self.error: BaseException | None = None
        self.cancelled = False
        self._run, self._batch, self._permit, self._worker, self._careful = run, batch, permit, worker, careful
        self._started: float | None = None  # of the call that runs; None while none does
        self._lock = threading.Lock()  # a call ends or is given up, never both

    def patience(self, grace: float = 0.0) -> float | None:
        """Seconds to wait before asking whether the present call is overdue."""
        if self.timeout is None:
            return None
        elapsed = 0.0 if self._started is None else time.perf_counter() - self._started
        return max(0.0, self.timeout + grace - elapsed)

    def cancel(self) -> None:
        """Make no further call."""
        self.cancelled = True

    @property
    def running(self) -> bool:
        return self._started is not None

    def overdue(self, grace: float = 0.0) -> bool:
        return self._started is not None and self.patience(grace) == 0.0

    def abandon(self, grace: float = 0.0) -> bool:
        """Give the present call up if it is overdue; whether it was, for it may have ended after all."""
        with self._lock:
            late = self.overdue(grace) and not self.cancelled
            if late:
                self._leave()
            return late

    def _leave(self) -> None:
        self.cancelled = True
        timeout = self.timeout or 0.0
        message = f"{self.spec.name} took longer than {timeout:g} s"
        self.error = TimeoutError(message)
        self.outcomes.append(CallResult(None, Fault(kind="timeout", message=message), timeout))

    def result(self) -> Any:
        """The value of the last call, or what it raised."""
        if self.error is not None:
            raise self.error
        return self.outcomes[-1].value

    def run(self) -> list[CallResult]:
        """Make the calls in this thread."""
        for kwargs in self._batch:
            if self.ended:
                break
            self._permit()
            self._started = time.perf_counter()
            try:
                self._took(self._called(kwargs))
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                self._failed(error)
        return self.outcomes

    async def arun(self) -> list[CallResult]:
        """Make the calls in this event loop."""
        for kwargs in self._batch:
            if self.ended:
                break
            self._permit()
            self._started = time.perf_counter()
            try:
                self._took(await within(self._acalled(kwargs), self.timeout))
            except Overdue:
                with self._lock:
                    if not self.cancelled:
                        self._leave()
            except Exception as error:
                self._failed(error)
        return self.outcomes

    def _called(self, kwargs: dict[str, Any]) -> Any:
        with allowing(self._granted):
            value = self._run(self.environment, **kwargs)
            if not inspect.iscoroutine(value):
                return value
            if not self._worker.is_current:
                value.close()
                raise TypeError(f"{self.spec.name} returned a coroutine; declare it with `async def`")
            return self._worker.finish(lambda: value)

    async def _acalled(self, kwargs: dict[str, Any]) -> Any:
        with allowing(self._granted):
            value = self._run(self.environment, **kwargs)
            return await value if inspect.isawaitable(value) else value

    @property
    def ended(self) -> bool:
        """Whether no further call may be made."""
        failed = self._careful and self.outcomes and self.outcomes[-1].fault is not None
        return self.cancelled or bool(failed)

    def _took(self, value: Any) -> None:
        """The result as plain data: a copy, so that what a tool does later to its objects changes no observation."""
        try:
            value, fault = plain(value), None
        except Exception as error:
            value, fault = None, Fault(
                kind="unserialisable",
                message=f"{self.spec.name} returned {type(value).__name__}, which has no JSON form: {said(error)}",
                expected="a value that pydantic can turn into JSON",
            )
        else:
            message = self.environment.error_of(self.spec.name, value)
            if message is not None:
                fault = Fault(kind="tool_error", message=cut(message))
        self._add(value, fault, None)

    def _failed(self, error: BaseException) -> None:
        passes = isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration))
        self._add(None, Fault(kind="tool_error", message=said(error)), error if passes else RuntimeError(said(error)))

    def _add(self, value: Any, fault: Fault | None, error: BaseException | None) -> None:
        with self._lock:
            if not self.cancelled:  # else the call was given up, and comes back after all
                self.outcomes.append(CallResult(value, fault, time.perf_counter() - (self._started or 0.0)))
                self.error = error
                self._started = None


async def within(coroutine: Coroutine[Any, Any, Any], timeout: float | None) -> Any:
    """What `coroutine` gives, in a task of its own that is cancelled after `timeout` seconds, and left if it goes on.

    Raises:
        Overdue: it took longer.
    """
    task = asyncio.ensure_future(_contained(coroutine))
    try:
        done, _ = await asyncio.wait((task,), timeout=timeout)
    finally:
        if not task.done():
            task.cancel()
    if not done:
        await asyncio.wait((task,), timeout=LAST_WORDS)
        raise Overdue
    if task.cancelled():
        raise RuntimeError("the call cancelled itself")
    return task.result()


async def _contained(coroutine: Awaitable[Any]) -> Any:
    """`coroutine`, in which `sys.exit` is a plain error and does not end the event loop."""
    try:
        return await coroutine
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error}") from error


def said(error: BaseException) -> str:
    """The kind of an error and what it says, in at most `MESSAGE_CAP` characters."""
    try:
        text = str(error)
    except Exception as broken:  # an error of the user's may fail even at this
        text = f"its message cannot be read, {type(broken).__name__}"
    return f"{type(error).__name__}: {cut(text or 'no message')}"


def cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CAP else f"{text[:MESSAGE_CAP]}…"


class Ended(NamedTuple):
    """Steps that came to their end, with what they returned."""

    value: Any


def advanced(answer: Callable[[], Await]) -> Await | Ended:
    """What steps wait for next, once they have got an answer."""
    try:
        return answer()
    except StopIteration as end:
        return Ended(end.value)


class Tour:
    """Runs steps in a worker, from the job that they wait for to where they wait for something else.

    Watched from outside like a `Batch`. A call that is given up ends the tour, and the steps belong to the caller
    again: they wait for an answer and nothing else touches them.

    Attributes:
        given_up: whether that happened; `outcomes` are then the answer.
    """

    def __init__(self, steps: Flow[Any], job: ToolCalls) -> None:
        self._steps = steps
        self._job = job
        self._cancelled = False
        self.given_up = False

    def run(self) -> Await | Ended:
        """Go on in this thread. Raises what the steps raise."""
        while True:
            try:
                answer = partial(self._steps.send, self._job.run())
            except Exception as error:  # of the permit: for the steps
                answer = partial(self._steps.throw, error)
            if self._job.cancelled:
                return Ended(None)
            came = advanced(answer)
            # Who waits sleeps for a whole timeout, and would be late for a shorter one.
            if isinstance(came, Ended) or came.job is None or came.job.timeout != self._job.timeout:
                return came
            self._job = came.job
            if self._cancelled:
                return Ended(None)

    @property
    def outcomes(self) -> list[CallResult]:
        return self._job.outcomes

    @property
    def running(self) -> bool:
        return self._job.running

    def patience(self, grace: float = 0.0) -> float | None:
        """As `Batch.patience`, of the present job."""
        return self._job.patience(grace)

    def abandon(self, grace: float = 0.0) -> bool:
        """As `Batch.abandon`, of the present job."""
        self.given_up = self._job.abandon(grace)
        return self.given_up

    def cancel(self) -> None:
        """Make no further call; nobody waits for the steps any more."""
        self._cancelled = True
        self._job.cancel()
