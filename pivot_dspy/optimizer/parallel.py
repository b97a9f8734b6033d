"""Runs one function over many tasks on any `concurrent.futures.Executor`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import dspy
import tqdm

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.optimizer.serialization import RemoteFailure, SerializedResult, TaskSerializer, run_local, run_remote

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Ran(Generic[Kept]):
    """What became of the tasks.

    Attributes:
        results: what `on_done` returned for each task, in the order of the tasks; None where there is no result.
        errors: what the tasks that failed raised, by position, in the order of the tasks.
        stopped: why not all tasks were run ("too many errors", or what `stop` said); empty if all were.
    """

    results: tuple[Kept | None, ...]
    errors: dict[int, Exception]
    stopped: str = ""

    def summary(self) -> str:
        """The errors in a line for each kind, most frequent first; empty if there were none."""
        kinds = Counter(f"{type(error).__name__}: {error}" for error in self.errors.values())
        return "\n".join(f"{count} of {len(self.results)} tasks: {told:.300}" for told, count in kinds.most_common())


def run_all(
    executor: Executor | None,
    tasks: Sequence[Task],
    function: Callable[[Task], Result],
    *,
    on_done: Callable[[int, Result], Kept],
    max_errors: int | None = None,
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
        stop: is asked whenever a task is done; when it gives a reason, no other task begins. Those that run then are
            waited for, after errors too.
        num_threads: of the executor that is made here; DSPy's setting, if None.
        progress: what the bar is called on the terminal; empty for no bar.

    Raises:
        ConfigurationError: the executor works in other processes, and something cannot be sent there.
        KeyboardInterrupt: at once, when everything that was done has been given to `on_done`.
    """
    if executor is not None and not isinstance(executor, Executor):
        raise ConfigurationError(
            f"executor= takes a concurrent.futures.Executor, not {type(executor).__name__}; of a Dask client, pass "
            "client.get_executor()"
        )
    if executor is not None:
        return _Run(executor, len(tasks), tasks, function, on_done, max_errors, stop, progress).run()
    workers = max(1, min(num_threads or dspy.settings.num_threads, len(tasks)))
    threads = ThreadPoolExecutor(workers, thread_name_prefix="pivot")
    try:
        return _Run(threads, workers, tasks, function, on_done, max_errors, stop, progress).run()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class _Run(Generic[Task, Result, Kept]):
    def __init__(
        self,
        executor: Executor,
        window: int,
        tasks: Sequence[Task],
        function: Callable[[Task], Result],
        on_done: Callable[[int, Result], Kept],
        max_errors: int | None,
        stop: Callable[[], str],
        progress: str,
    ) -> None:
        self.executor = executor
        self.window = window  # tasks at once with the executor: no more of its own threads begin than are asked for
        self.waiting = iter(enumerate(tasks))
        self.function = function
        self.parcels = None if isinstance(executor, ThreadPoolExecutor) else TaskSerializer(function)
        self.on_done = on_done
        self.max_errors = dspy.settings.max_errors if max_errors is None else max_errors
        self.stop = stop
        self.results: list[Kept | None] = [None] * len(tasks)
        self.errors: dict[int, Exception] = {}
        self.stopped = ""
        self.open: dict[Future[Any], int] = {}
        self.done: SimpleQueue[Future[Any]] = SimpleQueue()
        self.bar = tqdm.tqdm(total=len(tasks), desc=progress, disable=not progress, dynamic_ncols=True)

    def run(self) -> Ran[Kept]:
        try:
            self._submit()
            while self.open:
                try:
                    future = self.done.get(timeout=1.0)  # a wait without end cannot be interrupted everywhere
                except Empty:
                    continue
                self._take(future)
                if not self.stopped:
                    self._submit()
        except BaseException:
            self._cancel()
            self._save()
            raise
        finally:
            self.bar.close()
        return Ran(tuple(self.results), dict(sorted(self.errors.items())), self.stopped)

    def _submit(self) -> None:
        self._ask()
        while not self.stopped and len(self.open) < self.window:
            position, task = next(self.waiting, (-1, None))
            if position < 0:
                return
            if self.parcels is None:
                future = self.executor.submit(copy_context().run, run_local, self.function, task)
            else:
                future = self.executor.submit(run_remote, *self.parcels.arguments(position, task))
            self.open[future] = position
            future.add_done_callback(self.done.put)

    def _ask(self) -> None:
        self.stopped = "too many errors" if len(self.errors) >= self.max_errors else self.stop()
        if self.stopped:
            self._cancel()

    def _cancel(self) -> None:
        for future in tuple(self.open):
            future.cancel()

    def _save(self) -> None:
        """Gives `on_done` what is done by now; the error that ended the run is not replaced by another."""
        while not self.done.empty():
            try:
                self._take(self.done.get())
            except Exception as error:
                logger.warning("A result was lost while the run was ended: %s: %s", type(error).__name__, error)

    def _take(self, future: Future[Any]) -> None:
        position = self.open.pop(future, None)
        if position is None or future.cancelled():
            return
        outcome = self._outcome(future)
        self.bar.update()
        if isinstance(outcome, RemoteFailure):
            self.errors[position] = outcome.error
            logger.warning("Task %d failed: %s: %s", position, type(outcome.error).__name__, outcome.error)
        else:
            self.results[position] = self.on_done(position, outcome)

    def _outcome(self, future: Future[Any]) -> Any:
        try:
            outcome = future.result()
        except (Exception, CancelledError) as error:  # the executor's own: a worker was lost, say
            return RemoteFailure(error)
        return outcome.opened() if isinstance(outcome, SerializedResult) else outcome
