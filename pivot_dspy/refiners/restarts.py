"""One run for one call, whoever asks again.

`dspy.Evaluate` and `dspy.Parallel` begin a task once more that takes longer than two minutes, beside the first attempt,
which goes on: every tool would run twice. What asks again waits for the first one here, and gets its result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary

from pivot_dspy.dspy_internals import WorkerTask, worker_task

_Calls = dict[tuple[Any, ...], list["Future[Any]"]]
_lock = threading.Lock()
_executors: WeakKeyDictionary[Any, _Calls] = WeakKeyDictionary()
"""By executor of DSPy, as long as it lives: the calls of each task, refiner and inputs, and what each attempt asked."""


def run_once(caller: Any, inputs: Mapping[str, Any], run: Callable[[], Any]) -> Any:
    """What `run` gives; where DSPy has begun its task again, what the first attempt's call gives.

    Calls that one attempt makes itself are each run, equal or not; the second attempt's n-th is the first one's n-th.

    Args:
        caller: whose call it is.
        inputs: of the call.
    """
    task = worker_task()
    if task is None:
        return run()
    future, is_ours = _claim(task, (task.position, id(caller), repr(sorted(inputs.items()))))
    if not is_ours:
        return future.result()
    try:
        result = run()
    except BaseException as error:
        future.set_exception(error)
        raise
    future.set_result(result)
    return result


def _claim(task: WorkerTask, key: tuple[Any, ...]) -> tuple[Future[Any], bool]:
    """The future of a call, and whether it is for this attempt to run it."""
    with _lock:
        calls = _executors.setdefault(task.executor, {}).setdefault(key, [])
        asked = _executors[task.executor].setdefault((*key, task.attempt), [])
        is_ours = len(asked) == len(calls)
        if is_ours:
            calls.append(Future())
        asked.append(calls[len(asked)])
        return asked[-1], is_ours
