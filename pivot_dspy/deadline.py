"""Waiting for a language model that ends at a deadline, whatever the model does meanwhile.

A model that sleeps on a `Retry-After`, or a server that hangs, cannot be interrupted; only the waiting for it can. So a
call under a deadline is made where it can be left behind: in a daemon thread with a copy of the caller's context, or in
a task of the event loop, which is cancelled. Without a deadline a call is made as ever, and no thread is paid for.

A sync program that DSPy streams is called in its own thread all the same, since DSPy streams from no other: there the
deadline holds between calls only.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from typing import Any

import dspy

from pivot_dspy.dspy_internals import LMTimeoutError, settings
from pivot_dspy.flow import Await

# Keys in `dspy.settings`, which follow DSPy into its threads.
DEADLINE, _ATTEMPT = "pivot_dspy_deadline", "pivot_dspy_attempt"

_LONGEST_WAIT = 3600.0
"""Seconds that are waited for at once; far longer waits are too long for the operating system."""
LAST_WORDS = 0.1
"""Seconds that a cancelled task gets to clean up."""


class Attempt:
    """One call that may be given up while it is waited for. What is under way in it is then booked once, as it is."""

    def __init__(self) -> None:
        self.given_up = False
        self._lock = threading.Lock()
        self._under_way: dict[object, Callable[[], None]] = {}

    def begin(self, key: object, book: Callable[[], None]) -> None:
        """Something begins that `book` books if the attempt is given up before its `end`."""
        with self._lock:
            if not self.given_up:
                self._under_way[key] = book

    def end(self, key: object) -> bool:
        """Whether what ends here is still to be booked."""
        with self._lock:
            return self._under_way.pop(key, None) is not None

    def give_up(self) -> None:
        """Nobody waits any more: what is under way is booked now, and what comes of it later is not."""
        with self._lock:
            self.given_up = True
            left, self._under_way = [*self._under_way.values()], {}
        for book in left:
            book()


def current_attempt() -> Attempt | None:
    """The attempt that this code is part of; None where no deadline is set."""
    return settings.get(_ATTEMPT)  # type: ignore[no-any-return]


def refuse_if_given_up() -> None:
    """Raises LMTimeoutError where nobody waits any more for what would be asked."""
    attempt = current_attempt()
    if attempt is not None and attempt.given_up:
        raise _overdue()


def until_deadline(made: Await) -> Await:
    """`made`, given up with an LMTimeoutError at the deadline in force; as it is where there is none."""
    deadline: float | None = settings.get(DEADLINE)
    return made if deadline is None else Await(partial(_call, made, deadline), partial(_acall, made, deadline))


def _call(made: Await, deadline: float) -> Any:
    if settings.send_stream is not None:
        return made.call()
    future: futures.Future[Any] = futures.Future()
    attempt = Attempt()

    def call() -> None:
        try:
            with _inside(attempt):
                value = made.call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    try:
        if _left(deadline):
            thread = threading.Thread(
                target=contextvars.copy_context().run, args=(call,), name="pivot-asking", daemon=True
            )
            thread.start()
        while not future.done():
            if not _left(deadline):
                raise _overdue()
            futures.wait((future,), _left(deadline))
    except BaseException:
        attempt.give_up()
        raise
    return future.result()


async def _acall(made: Await, deadline: float) -> Any:
    attempt = Attempt()

    async def call() -> Any:
        with _inside(attempt):
            return await made.acall()

    if not _left(deadline):
        raise _overdue()
    task = asyncio.ensure_future(call())
    try:
        while not task.done():
            if not _left(deadline):
                raise _overdue()
            await asyncio.wait((task,), timeout=_left(deadline))
    except BaseException:
        attempt.give_up()
        task.cancel()
        task.add_done_callback(_retrieve)
        await asyncio.wait((task,), timeout=LAST_WORDS)
        raise
    return task.result()


@contextmanager
def _inside(attempt: Attempt) -> Iterator[None]:
    """What is called here is one attempt; DSPy's trace gets what it added only if the attempt is not given up."""
    trace = settings.trace
    own: list[Any] | None = None if trace is None else []
    with dspy.context(**{DEADLINE: None, _ATTEMPT: attempt, "trace": own}):
        yield
    if own and not attempt.given_up:
        trace.extend(own)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Looks at how a task ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()


def _left(deadline: float) -> float:
    """Seconds until the deadline that may be waited at once; 0 when it has come."""
    return min(_LONGEST_WAIT, max(0.0, deadline - time.monotonic()))


def _overdue() -> LMTimeoutError:
    return LMTimeoutError("given up, for the seconds of the budget are spent")
