"""One run for one call, whoever asks again.

`dspy.Evaluate` and `dspy.Parallel` begin a task once more that takes longer than two minutes, beside the first attempt,
which goes on: every tool would run twice. What asks again waits for the first one here, and gets its result.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from pivot_dspy.dspy_internals import WorkerTask, worker_tasks

Path = tuple[int, ...]


@dataclass
class _TaskCalls:
    """What was asked in the tasks of one executor of DSPy's."""

    by_call: dict[tuple[Any, ...], list[Future[Any]]] = field(default_factory=dict)
    """For each task, refiner and inputs; and for these and an attempt, what that has asked."""
    inner: dict[tuple[Path, Path], list[Any]] = field(default_factory=dict)
    """The executors that each attempt at a task has made, in order."""


_lock = threading.Lock()
_executors: WeakKeyDictionary[Any, _TaskCalls] = WeakKeyDictionary()
"""By the outermost executor, as long as it lives."""


def run_once(caller: Any, inputs: Mapping[str, Any], run: Callable[[], Any]) -> Any:
    """What `run` gives; where DSPy has begun its task again, what the first attempt's call gives.

    Calls that one attempt makes itself are each run, equal or not; the second attempt's n-th is the first one's n-th.

    Args:
        caller: whose call it is.
        inputs: of the call.
    """
    future, is_ours = _claim(caller, inputs)
    if future is None:
        return run()
    if not is_ours:
        return future.result()
    try:
        result = run()
    except BaseException as error:
        future.set_exception(error)
        raise
    future.set_result(result)
    return result


async def arun_once(caller: Any, inputs: Mapping[str, Any], run: Callable[[], Awaitable[Any]]) -> Any:
    """As `run_once`, awaited; the attempts are in event loops of their own."""
    future, is_ours = _claim(caller, inputs)
    if future is None:
        return await run()
    if not is_ours:
        return await asyncio.shield(asyncio.wrap_future(future))
    try:
        result = await run()
    except BaseException as error:
        future.set_exception(error)
        raise
    future.set_result(result)
    return result


def _claim(caller: Any, inputs: Mapping[str, Any]) -> tuple[Future[Any] | None, bool]:
    """The future of a call, and whether it is for this attempt to run it; None where nobody may begin it again."""
    tasks = worker_tasks()
    if not tasks:
        return None, True
    with _lock:
        held = _executors.setdefault(tasks[0].executor, _TaskCalls())
        task, attempt = _path(tasks, held)
        key = (task, id(caller), repr(sorted(inputs.items())))
        calls = held.by_call.setdefault(key, [])
        asked = held.by_call.setdefault((*key, attempt), [])
        is_ours = len(asked) == len(calls)
        if is_ours:
            calls.append(Future())
        asked.append(calls[len(asked)])
        return asked[-1], is_ours


def _path(tasks: Sequence[WorkerTask], held: _TaskCalls) -> tuple[Path, Path]:
    """What is alike in all attempts at the innermost task, and what tells them apart."""
    task: Path = (tasks[0].position,)
    attempt: Path = (tasks[0].attempt,)
    for inner in tasks[1:]:
        made = held.inner.setdefault((task, attempt), [])
        if all(inner.executor is not other for other in made):
            made.append(inner.executor)
        number = next(number for number, other in enumerate(made) if other is inner.executor)
        task, attempt = (*task, number, inner.position), (*attempt, inner.attempt)
    return task, attempt
