"""Runs one function over many tasks on any `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Generic, TypeVar

import dspy
import tqdm

from pivot_dspy.parallel.executors import Load, check_executor, load_of
from pivot_dspy.parallel.serialization import RemoteFailure, TaskSerializer, finished, run_batch, run_local

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
    executor (a `ProcessPoolExecutor`, Dask's `Client.get_executor()`, Ray's pool) the function travels by cloudpickle,
    with the DSPy settings and cache configuration of the caller; what it changes there, other than by its result, is
    not seen here. Each process loads it once, and runs several tasks of a batch at a time.

    A process that dies takes down only what it had not finished: that runs again if the executor has another process
    for it, and is else an error of its tasks. What was finished is kept where the processes see the folder for
    temporary files of the caller; elsewhere the rest of its batch runs again, too. Either way a task has one result.

    Args:
        executor: threads of its own, if None.
        on_done: is given position and result of each task in this thread, as soon as the task is done (in another
            process: its batch); what it returns is all that is kept of it.
        max_errors: when so many tasks have failed no other begins; DSPy's setting, if None.
        fatal: errors of a task that end the run, and come through.
        stop: is asked whenever a task is done; when it gives a reason, no other task begins. Those that run then are
            waited for, after errors too.
        num_threads: tasks at a time, in each process of an executor; DSPy's setting, if None. A `ThreadPoolExecutor`
            has a number of its own.
        progress: what the bar is called on the terminal; empty for no bar.

    Raises:
        ConfigurationError: the executor works in other processes, and something cannot be sent there.
        KeyboardInterrupt: at once, when everything that was done has been given to `on_done`.
    """
    most_errors = dspy.settings.max_errors if max_errors is None else max_errors
    results: list[Kept | None] = [None] * len(tasks)
    errors: dict[int, Exception] = {}
    running: dict[Future[Any], tuple[int, ...]] = {}
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    ready: deque[tuple[int, Any]] = deque()
    bar = tqdm.tqdm(total=len(tasks), desc=progress, disable=not progress, dynamic_ncols=True)
    stopped = ""

    def begin_more() -> str:
        """Fills the window; or says why no other task begins."""
        reason = "too many errors" if len(errors) >= most_errors else stop()
        if reason:
            _cancel(running)
            return reason
        while lane.waiting and len(running) < lane.window:
            positions = lane.waiting.popleft()
            try:
                future = lane.submit(positions)
            except RuntimeError as error:  # the executor is broken or shut down
                future = Future()
                future.set_exception(error)
            running[future] = positions
            future.add_done_callback(done.put)
        return ""

    def take(future: Future[Any]) -> None:
        positions = running.pop(future)
        if future.cancelled() and stopped:
            return
        outcomes = zip(positions, lane.outcomes(future, positions), strict=True)
        ready.extend((position, outcome) for position, outcome in outcomes if outcome is not None)

    def deliver() -> None:
        while ready:
            position, outcome = ready.popleft()
            bar.update()
            if not isinstance(outcome, RemoteFailure):
                results[position] = on_done(position, outcome)
                continue
            if isinstance(outcome.error, fatal):
                raise outcome.error
            errors[position] = outcome.error
            logger.warning("Task %d failed: %s: %s", position, type(outcome.error).__name__, outcome.error)

    with _lane(check_executor(executor), tasks, function, num_threads) as lane:
        try:
            stopped = begin_more()
            while running:
                try:
                    future = done.get(timeout=1.0)  # a wait without end cannot be interrupted everywhere
                except Empty:
                    continue
                take(future)
                deliver()
                stopped = stopped or begin_more()
        except BaseException:
            stopped = "an error"
            _cancel(running)
            while ready or not done.empty():
                try:
                    if not ready:
                        take(done.get())
                    deliver()
                except Exception as error:  # the one that ended the run is not replaced by another
                    logger.warning("A result was lost while the run was ended: %s: %s", type(error).__name__, error)
            raise
        finally:
            bar.close()
    return Ran(tuple(results), dict(sorted(errors.items())), stopped)


class _Threads:
    """Tasks on threads of this process, each by itself."""

    def __init__(self, executor: Executor, tasks: Sequence[Any], function: Callable[[Any], Any], window: int) -> None:
        self.executor, self.tasks, self.function, self.window = executor, tasks, function, window
        self.waiting = deque((position,) for position in range(len(tasks)))

    def submit(self, positions: tuple[int, ...]) -> Future[Any]:
        (position,) = positions
        return self.executor.submit(copy_context().run, run_local, self.function, self.tasks[position])

    def outcomes(self, future: Future[Any], positions: tuple[int, ...]) -> list[Any]:
        """What became of each task: what the function returned, or a `RemoteFailure`."""
        try:
            return [future.result()]
        except (Exception, CancelledError) as error:
            return [RemoteFailure(error)]


class _Processes:
    """Tasks in other processes, in batches."""

    def __init__(
        self, executor: Executor, tasks: Sequence[Any], function: Callable[[Any], Any], load: Load, kept: str
    ) -> None:
        self.executor, self.tasks, self.kept, self.window = executor, tasks, kept, max(1, len(tasks))
        self.serializer = TaskSerializer(function, load.threads, kept)
        self.waiting = deque(
            tuple(range(first, min(first + load.batch, len(tasks)))) for first in range(0, len(tasks), load.batch)
        )

    def submit(self, positions: tuple[int, ...]) -> Future[Any]:
        batch = self.serializer.batch({position: self.tasks[position] for position in positions})
        return self.executor.submit(run_batch, batch)

    def outcomes(self, future: Future[Any], positions: tuple[int, ...]) -> list[Any]:
        """As of `_Threads`; None where the task waits to run again, alone, since its batch was lost."""
        try:
            sent: list[bytes | None] = future.result()
        except (Exception, CancelledError) as error:  # the executor's own: a worker was lost, say
            sent = [finished(self.kept, position) for position in positions]
            again = [position for position, content in zip(positions, sent, strict=True) if content is None]
            if len(positions) == 1 and again:
                return [RemoteFailure(error)]
            logger.warning("%d tasks run again; their batch was lost: %s: %s", len(again), type(error).__name__, error)
            self.waiting.extend((position,) for position in again)
        for position in positions:
            Path(self.kept, str(position)).unlink(missing_ok=True)
        return [None if content is None else pickle.loads(content) for content in sent]


@contextmanager
def _lane(
    executor: Executor | None, tasks: Sequence[Any], function: Callable[[Any], Any], num_threads: int | None
) -> Iterator[_Threads | _Processes]:
    """How tasks get to the executor and back."""
    if isinstance(executor, ThreadPoolExecutor):
        yield _Threads(executor, tasks, function, window=max(1, len(tasks)))
    elif executor is not None:
        with TemporaryDirectory(prefix="pivot-", ignore_cleanup_errors=True) as kept:
            yield _Processes(executor, tasks, function, load_of(executor, len(tasks), num_threads), kept)
    else:
        window = max(1, min(num_threads or dspy.settings.num_threads, len(tasks)))  # no more threads than asked for
        threads = ThreadPoolExecutor(window, thread_name_prefix="pivot")
        try:
            yield _Threads(threads, tasks, function, window)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _cancel(futures: Iterable[Future[Any]]) -> None:
    """Of those that have not begun, none does so."""
    for future in tuple(futures):
        future.cancel()
