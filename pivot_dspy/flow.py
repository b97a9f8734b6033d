"""One body for sync and async: a search is a generator that yields what it waits for, and a driver waits for it.

The loop of a refiner, the executor and the phases are written once, as generators. `run_sync` waits by calling,
`run_async` by awaiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")


class Await(NamedTuple):
    """Something that has to be waited for, in both ways of waiting."""

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]
    job: Any = None
    """What gives the same in the thread of an environment (see `pivot_dspy.environment.visits`), if something does."""


Flow = Generator[Await, Any, Result]


def run_sync(steps: Flow[Result]) -> Result:
    """Run `steps` to its end in this thread."""
    try:
        waiting = next(steps)
        while True:
            try:
                value = waiting.call()
            except (Exception, KeyboardInterrupt) as error:
                waiting = steps.throw(error)
            else:
                waiting = steps.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def run_async(steps: Flow[Result]) -> Result:
    """Run `steps` to its end in this event loop."""
    try:
        waiting = next(steps)
        while True:
            try:
                value = await waiting.acall()
            except Exception as error:
                waiting = steps.throw(error)
            else:
                waiting = steps.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def awaited_at_once(function: Callable[[], Any], job: Any = None) -> Await:
    """Something that is waited for in the same way by sync and async code, which it blocks."""

    async def later() -> Any:
        return function()

    return Await(function, later, job)
