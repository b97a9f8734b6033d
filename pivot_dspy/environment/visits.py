"""Flows driven in the thread of their environment: one visit there for many calls, each within its own time.

A visit costs more than most tools do. So a flow goes on in that thread while all that it waits for are jobs that are
done there. Somebody outside watches the job that is being done: one that hangs is left to the thread, and the flow,
which stands at the job until it is told the result, goes on in another.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pivot_dspy.environment.worker import Worker
from pivot_dspy.flow import Await, Flow

Result = TypeVar("Result")


class VisitJob(Protocol):
    """What is done in the thread of an environment."""

    @property
    def timeout(self) -> float | None:
        """Seconds that it may take, None for no limit."""
        ...

    def run_here(self) -> Any:
        """Do it in this thread."""
        ...

    def timed_out(self) -> Any:
        """What it gives, or raises, where it hangs."""
        ...


class Look(NamedTuple):
    """A function that is run in the thread of an environment, as a job."""

    function: Callable[[], Any]
    timeout: float | None

    def run_here(self) -> Any:
        return self.function()

    def timed_out(self) -> Any:
        """Raises TimeoutError."""
        raise TimeoutError(f"took longer than {self.timeout or 0.0:g} s")


def visiting(steps: Flow[Result], worker: Worker, timeout: float | None) -> Flow[Result]:
    """`steps`, driven in the thread of `worker` from job to job; what else it waits for is waited for outside.

    Args:
        timeout: seconds that most of its jobs may take; None where they are not watched, but done where they are met.
    """
    if timeout is None or worker.is_current:  # a visit is under way already, whose jobs these are too
        return (yield from steps)
    visit = _Visit(steps, partial(next, steps), worker, timeout)
    while True:
        stop: _VisitEnd = yield Await(visit.made, visit.amade)
        if stop.waiting is None:
            return stop.value  # type: ignore[no-any-return]
        grain, job = timeout, stop.waiting.job
        if stop.hung:
            resume = partial(_timed_out, steps, stop.waiting.job)
        elif job is not None:
            resume, grain = partial(_given, stop.waiting), min(timeout, job.timeout or timeout)
        else:
            try:
                value = yield stop.waiting
            except (Exception, KeyboardInterrupt) as error:
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, value)
        visit = _Visit(steps, resume, worker, grain)


def _given(waiting: Await) -> Await:
    return waiting


def _timed_out(steps: Flow[Any], job: VisitJob) -> Await:
    """Tell a flow that its job hangs; what it waits for next."""
    try:
        value = job.timed_out()
    except Exception as error:
        return steps.throw(error)
    return steps.send(value)


class _VisitEnd(NamedTuple):
    """Where a visit ended."""

    waiting: Await | None = None
    """What has to be waited for elsewhere, or is to be done in another visit; None where the flow has ended."""
    hung: bool = False
    """Whether that is a job which hangs."""
    value: Any = None
    """What the flow returned."""


@dataclass(eq=False)
class _Visit(Generic[Result]):
    """One stay of a flow in the thread, and what is to be seen of it from outside.

    Nobody outside looks before `_looks_at`: a job that would be overdue before that is left for another visit.
    """

    steps: Flow[Result]
    resume: Callable[[], Await]
    """Lets the flow begin, or go on; gives what it waits for next."""
    worker: Worker
    grain: float
    """Seconds between two looks from outside, at most."""
    _waiting: Await | None = None
    """For the job that is being done."""
    _deadline: float = math.inf
    """Of that job."""
    _looks_at: float = 0.0
    _is_left: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def made(self) -> _VisitEnd:
        """Make the visit from sync code."""
        future = self.worker.submit(self._run)
        try:
            ended = self.worker.watch(future, self._until_next_look, self._leave_overdue)
        except KeyboardInterrupt:
            self._leave()
            raise
        return future.result() if ended else _VisitEnd(self._waiting, hung=True)

    async def amade(self) -> _VisitEnd:
        """Make it from async code."""
        future = self.worker.submit(self._run)
        try:
            ended = await self.worker.awatch(future, self._until_next_look, self._leave_overdue)
        except BaseException:
            self._leave()
            raise
        return future.result() if ended else _VisitEnd(self._waiting, hung=True)

    def _run(self) -> _VisitEnd:
        """The visit itself, in the thread."""
        try:
            waiting = self.resume()
            while self._begins(waiting):
                failure: BaseException | None = None
                try:
                    value = waiting.job.run_here()
                except BaseException as error:
                    failure = error
                if not self._ends():
                    return _VisitEnd(waiting)
                waiting = self.steps.send(value) if failure is None else self.steps.throw(failure)
        except StopIteration as stop:
            return _VisitEnd(value=stop.value)
        return _VisitEnd(waiting)

    def _begins(self, waiting: Await) -> bool:
        """Whether this is a job to be done in this visit, which then counts as begun."""
        job: VisitJob | None = waiting.job
        if job is None:
            return False
        deadline = math.inf if job.timeout is None else time.monotonic() + job.timeout
        with self._lock:
            if self._is_left or deadline < self._looks_at:
                return False
            self._waiting, self._deadline = waiting, deadline
        return True

    def _ends(self) -> bool:
        """Note that the job has ended; whether somebody still waits for it."""
        with self._lock:
            if not self._is_left:
                self._waiting, self._deadline = None, math.inf
            return not self._is_left

    def _until_next_look(self) -> float:
        now = time.monotonic()
        with self._lock:
            self._looks_at = min(now + self.grain, max(now, self._deadline))
            return self._looks_at - now

    def _leave_overdue(self) -> bool:
        """Leave the thread to its job where that hangs; whether it does."""
        with self._lock:
            self._is_left = self._waiting is not None and time.monotonic() >= self._deadline
            return self._is_left

    def _leave(self) -> None:
        with self._lock:
            self._is_left = True
