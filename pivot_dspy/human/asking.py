"""Waits for a reviewer's answer: sync or async, for so long and no longer."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent import futures
from functools import partial
from typing import Any

from pivot_dspy.flow import Await
from pivot_dspy.human.review import Review, Reviewer


class ReviewTimeout(Exception):
    """The reviewer has not answered in time."""


def asking(reviewer: Reviewer, review: Review, timeout: float | None) -> Await:
    """The reviewer's answer; a blocking reviewer does not hold up an event loop, and a coroutine needs none.

    Raises when waited for: what the reviewer raises, and ReviewTimeout after `timeout` seconds.
    """
    return Await(partial(_ask, reviewer, review, timeout), partial(_aask, reviewer, review, timeout))


def _ask(reviewer: Reviewer, review: Review, timeout: float | None) -> Any:
    if timeout is None and not _is_async(reviewer):
        answer = reviewer(review)  # in this thread, where Ctrl-C and a terminal work as ever
        return _in_thread(lambda: asyncio.run(_awaited(answer)), None) if inspect.isawaitable(answer) else answer
    return _in_thread(lambda: asyncio.run(_aask(reviewer, review, None)), timeout)


async def _aask(reviewer: Reviewer, review: Review, timeout: float | None) -> Any:
    asked = reviewer(review) if _is_async(reviewer) else asyncio.to_thread(reviewer, review)
    try:
        answer: Any = await asyncio.wait_for(_awaited(asked), timeout)
    except asyncio.TimeoutError as error:
        raise ReviewTimeout from error
    return await answer if inspect.isawaitable(answer) else answer


async def _awaited(answer: Any) -> Any:
    return await answer


def _is_async(reviewer: Reviewer) -> bool:
    return any(map(inspect.iscoroutinefunction, (reviewer, type(reviewer).__call__)))


def _in_thread(call: Any, timeout: float | None) -> Any:
    """What `call` gives in a thread of its own, which is left behind where it takes too long."""
    future: futures.Future[Any] = futures.Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="pivot-review", daemon=True).start()
    try:
        return future.result(timeout)
    except futures.TimeoutError as error:
        if future.done():
            raise  # the reviewer's own
        raise ReviewTimeout from error
