"""What there is to know of an executor: whether it is one, and how many tasks go well together to its workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import dspy

from pivot_dspy.errors import ConfigurationError

FEWEST = 4
"""Tasks that travel together where a worker takes several batches at once, so that sending them costs little."""


class RayPool(Executor):
    """A `ray.util.multiprocessing.Pool` as an executor. It belongs to the caller, who also closes it."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self._max_workers = int(getattr(pool, "_processes", 0)) or None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future of the call, which cannot be cancelled once it was given to Ray."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.pool.apply_async(fn, args, kwargs, callback=future.set_result, error_callback=future.set_exception)
        return future


def check_executor(executor: Any) -> Executor | None:
    """The executor, or None. Raises ConfigurationError where it is something else."""
    if executor is None or isinstance(executor, Executor):
        return executor
    if type(executor).__module__.partition(".")[0] == "ray" and hasattr(executor, "apply_async"):
        return RayPool(executor)
    raise ConfigurationError(
        f"executor= takes a concurrent.futures.Executor or a ray.util.multiprocessing.Pool, not "
        f"{type(executor).__name__}; of a Dask client, pass client.get_executor()"
    )


class Load(NamedTuple):
    """How tasks are spread over the processes of an executor."""

    threads: int
    """Tasks at a time in each process."""
    batch: int
    """Tasks that travel together."""


def load_of(executor: Executor, tasks: int, threads: int | None) -> Load:
    """Batches that keep every process busy, and of which there are at least two for each, so that none waits for long.

    Args:
        tasks: how many there are.
        threads: tasks at a time in each process; if None DSPy's setting, or more where the executor has more.
    """
    client = getattr(executor, "_client", None)  # Dask's, whose executor tells nothing of its workers itself
    if client is not None:
        slots = [*client.nthreads().values()] or [1]
        workers, at_once = len(slots), max(slots)
    else:
        workers, at_once = getattr(executor, "_max_workers", None) or os.cpu_count() or 1, 1
    threads = threads or max(dspy.settings.num_threads, at_once)
    most = 2 * threads if at_once == 1 else max(FEWEST, -(-threads // at_once))
    return Load(threads, max(1, min(most, -(-tasks // (2 * workers)))))
