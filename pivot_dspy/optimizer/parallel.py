"""Runs one function over many tasks on any `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import dspy
import tqdm

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.optimizer.serialization import RemoteFailure, TaskSerializer, run_local, run_remote

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Ran(Generic[Kept]):
    """What became of the tasks."""

    results: tuple[Kept | None, ...]
    """What `on_done` returned for each task, in the order of the tasks; None where there is no result."""
    errors: dict[int, Exception]
    """What the tasks that failed raised, by position, in the order of the tasks."""
    stopped: str = ""
    """Why not all tasks were run ("too many errors", or what `stop` said); empty if all were."""

    def summary(self) -> str:
        """The errors in a line for each kind, most frequent first; empty if there were none."""
        kinds = Counter(f"{type(error).__name__}: {error}" for error in self.errors.values())
        return "\n".join(f"{count} of {len(self.results)} tasks: {kind:.300}" for kind, count in kinds.most_common())


def check_executor(executor: Any) -> Executor | None:
    """The executor, or None. Raises ConfigurationError where it is something else."""
    if executor is None or isinstance(executor, Executor):
        return executor
    raise ConfigurationError(
        f"executor= takes a concurrent.futures.Executor, not {type(executor).__name__}; of a Dask client, pass "
        "client.get_executor()"
    )


def run_all(
    executor: Executor | None,
    tasks: Sequence[Task],
    function: Callable[[Task], Result],
    *,
    on_done: Callable[[int, Result], Kept],
    max_errors: int | None = None,
    fatal: type[Exception] | tuple[()] = (),
    stop: Callable[[], str] = lambda: "",
    num_threads: int | None = None,
    progress: str = "",
) -> Ran[Kept]:
    """Runs `function` for each of `tasks`, several at once.

    Threads of a `ThreadPoolExecutor` share everything with the caller, and see its `dspy.context`. To any other
    executor (a `ProcessPoolExecutor`, Dask's `Client.get_executor()`) the function travels by cloudpickle, with the
    DSPy settings and cache configuration of the caller; what it changes there, other than by its result, is not seen
    here.

    Args:
        executor: threads of its own, if None.
        on_done: is given position and result of each task in this thread, as soon as the task is done; what it returns
            is all that is kept of it.
        max_errors: when so many tasks have failed no other begins; DSPy's setting, if None.
        fatal: errors of a task that end the run, and come through.
        stop: is asked whenever a task is done; when it gives a reason, no other task begins. Those that run then are
            waited for, after errors too.
        num_threads: of the executor that is made here; DSPy's setting, if None.
        progress: what the bar is called on the terminal; empty for no bar.

    Raises:
        ConfigurationError: the executor works in other processes, and something cannot be sent there.
        KeyboardInterrupt: at once, when everything that was done has been given to `on_done`.
    """
    most_errors = dspy.settings.max_errors if max_errors is None else max_errors
    window = len(tasks)  # tasks at once with the executor
    threads = None
    executor = check_executor(executor)
    if executor is None:  # no more threads of its own begin than are asked for
        window = max(1, min(num_threads or dspy.settings.num_threads, len(tasks)))
        executor = threads = ThreadPoolExecutor(window, thread_name_prefix="pivot")
    serializer = None if isinstance(executor, ThreadPoolExecutor) else TaskSerializer(function)
    results: list[Kept | None] = [None] * len(tasks)
    errors: dict[int, Exception] = {}
    waiting = iter(enumerate(tasks))
    running: dict[Future[Any], int] = {}
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    bar = tqdm.tqdm(total=len(tasks), desc=progress, disable=not progress, dynamic_ncols=True)

    def begin_more() -> str:
        """Fills the window; or says why no other task begins."""
        reason = "too many errors" if len(errors) >= most_errors else stop()
        if reason:
            _cancel(running)
        for position, task in islice(waiting, 0 if reason else window - len(running)):
            if serializer is None:
                future: Future[Any] = executor.submit(copy_context().run, run_local, function, task)
            else:
                future = executor.submit(run_remote, *serializer.arguments(position, task))
            running[future] = position
            future.add_done_callback(done.put)
        return reason

    def take(future: Future[Any]) -> None:
        position = running.pop(future)
        if future.cancelled():
            return
        bar.update()
        outcome = _outcome(future, is_remote=serializer is not None)
        if not isinstance(outcome, RemoteFailure):
            results[position] = on_done(position, outcome)
            return
        if isinstance(outcome.error, fatal):
            raise outcome.error
        errors[position] = outcome.error
        logger.warning("Task %d failed: %s: %s", position, type(outcome.error).__name__, outcome.error)

    try:
        stopped = begin_more()
        while running:
            try:
                future = done.get(timeout=1.0)  # a wait without end cannot be interrupted everywhere
            except Empty:
                continue
            take(future)
            stopped = stopped or begin_more()
    except BaseException:
        _cancel(running)
        while not done.empty():
            try:
                take(done.get())
            except Exception as error:  # the one that ended the run is not replaced by another
                logger.warning("A result was lost while the run was ended: %s: %s", type(error).__name__, error)
        raise
    finally:
        bar.close()
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
    return Ran(tuple(results), dict(sorted(errors.items())), stopped)


def _cancel(futures: Iterable[Future[Any]]) -> None:
    """Of those that have not begun, none does so."""
    for future in tuple(futures):
        future.cancel()


def _outcome(future: Future[Any], is_remote: bool) -> Any:
    """What the function returned, or a `RemoteFailure`."""
    try:
        return pickle.loads(future.result()) if is_remote else future.result()
    except (Exception, CancelledError) as error:  # the executor's own: a worker was lost, say
        return RemoteFailure(error)
