"""One body for sync and async: a search is a generator that yields effects, and a driver runs them.

The loop of a refiner, the executor and the phases are written once, as generators. `drive` runs their effects by
calling, `adrive` by awaiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")


class Await(NamedTuple):
    """Something that has to be waited for, in both ways of waiting.

    Attributes:
        job: where it is tool calls that a worker makes: what they are (see `environment.tour`).
    """

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]
    job: Any = None


Flow = Generator[Await, Any, Result]


def run_sync(steps: Flow[Result]) -> Result:
    """Run `steps` to its end in this thread."""
    try:
        effect = next(steps)
        while True:
            try:
                value = effect.call()
            except Exception as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def run_async(steps: Flow[Result]) -> Result:
    """Run `steps` to its end in this event loop."""
    try:
        effect = next(steps)
        while True:
            try:
                value = await effect.acall()
            except Exception as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(value)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()
