"""A function with all that it needs, sent to other processes, and its results sent back."""

from __future__ import annotations

import io
import logging
import pickle
import threading
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import dspy

from pivot_dspy.dspy_internals import DEFAULT_CONFIG, settings
from pivot_dspy.errors import ConfigurationError

logger = logging.getLogger(__name__)

_OF_THIS_PROCESS = frozenset(
    ("callbacks", "caller_modules", "caller_predict", "send_stream", "stream_listeners", "trace", "usage_tracker")
)
"""DSPy settings that tell something to the caller's process, and mean nothing in another one."""


class RemoteFailure(NamedTuple):
    """What a task raised, without the frames of its traceback, which would keep all that it worked on in memory."""

    error: Exception


class Batch(NamedTuple):
    """Tasks that travel together, ready to be sent, and what runs them."""

    shared: bytes
    """What all batches of a run have in common."""
    positions: tuple[int, ...]
    tasks: tuple[bytes, ...]


class TaskSerializer:
    """`function`, ready to be sent to other processes with one batch of tasks after another.

    With it go the DSPy settings that have a meaning elsewhere and how DSPy's cache is configured; histories of language
    models, callbacks and usage trackers stay behind.

    Args:
        threads: tasks of this function at a time in each process.
        kept: a folder for what is finished; a process that does not see it does without.

    Raises:
        ConfigurationError: something of it cannot be pickled; the message names the remedy.
    """

    def __init__(self, function: Callable[[Any], Any], threads: int = 1, kept: str = "") -> None:
        names = settings.config.keys() & DEFAULT_CONFIG.keys() - _OF_THIS_PROCESS
        values = {name: settings.config[name] for name in names}
        # Each run is told from any other, or Dask would take a second run of the same for the first.
        content = uuid.uuid4().hex, function, values, _cache_configuration(), threads, kept
        self._shared = _serialize("the program", content)

    def batch(self, tasks: Mapping[int, Any]) -> Batch:
        """Tasks by position, as `run_batch` takes them. Raises ConfigurationError where one cannot be pickled."""
        contents = (_serialize(f"task {position}", task) for position, task in tasks.items())
        return Batch(self._shared, tuple(tasks), tuple(contents))


def run_local(function: Callable[[Any], Any], task: Any) -> Any:
    """What `function` gives for `task`, or a `RemoteFailure`."""
    with dspy.context(trace=[]):  # the caller's would grow by all that is predicted
        try:
            return function(task)
        except Exception as error:
            _drop_tracebacks(error)
            return RemoteFailure(error)


def run_batch(batch: Batch) -> list[bytes]:
    """What `run_local` gives for each task, in another process, several at once: bytes that every executor can carry.

    The program is loaded once in a process, and its threads are shared by all batches there. Where an earlier attempt
    at the batch was lost with its process, what that one had finished is not run again.
    """
    try:
        with _loading:  # or two threads of one worker would each load a program of their own
            worker = _load(batch.shared)
    except Exception as error:
        return [_pickled(RemoteFailure(_unloadable("the program", error)))] * len(batch.tasks)
    return [*worker.pool.map(worker.run, batch.positions, batch.tasks)]


def finished(kept: str, position: int) -> bytes | None:
    """What `run_batch` left of a task in the folder for what is finished; None if it did not finish."""
    try:
        return (Path(kept) / str(position)).read_bytes()
    except OSError:
        return None


_loading = threading.Lock()


@dataclass(frozen=True)
class _LoadedProgram:
    """What a process needs for all tasks of a run."""

    function: Callable[[Any], Any]
    values: dict[str, Any]
    kept: str
    pool: ThreadPoolExecutor

    def run(self, position: int, content: bytes) -> bytes:
        outcome = finished(self.kept, position) if self.kept else None
        if outcome is None:
            outcome = self._outcome(content)
            if self.kept:
                _keep(Path(self.kept), position, outcome)
        return outcome

    def _outcome(self, content: bytes) -> bytes:
        try:
            task = pickle.loads(zlib.decompress(content))
        except Exception as error:
            return _pickled(RemoteFailure(_unloadable("a task", error)))
        with dspy.context(**self.values):
            return _pickled(run_local(self.function, task))


@lru_cache(maxsize=2)
def _load(shared: bytes) -> _LoadedProgram:
    _, function, values, cache, threads, kept = pickle.loads(zlib.decompress(shared))
    if cache is not None and cache != _cache_configuration():
        dspy.configure_cache(**cache)
    kept = kept if kept and Path(kept).is_dir() else ""
    return _LoadedProgram(function, values, kept, ThreadPoolExecutor(threads, thread_name_prefix="pivot"))


def _keep(folder: Path, position: int, outcome: bytes) -> None:
    """Puts an outcome on the disk as a whole or not at all."""
    unfinished = folder / f"{position}-{uuid.uuid4().hex}"
    try:
        unfinished.write_bytes(outcome)
        unfinished.replace(folder / str(position))
    except OSError as error:  # it is a second copy, of use only if this process dies before it has sent the first
        logger.debug("the outcome of task %d was not kept: %s", position, error)


def _unloadable(what: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"a process of the executor cannot load {what} ({type(error).__name__}: {error}); the same packages "
        "and modules must be importable there; pass executor=None for threads"
    )


def _drop_tracebacks(error: BaseException | None) -> None:
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _pickled(outcome: Any) -> bytes:
    try:
        content: bytes = cloudpickle.dumps(outcome)
        pickle.loads(content)  # an exception with arguments of its own may refuse only then
    except Exception as error:
        problem: Exception = ConfigurationError(
            f"the result of a task cannot be sent back from its process ({type(error).__name__}: {error}); pass "
            "executor=None for threads"
        )
        if isinstance(outcome, RemoteFailure):
            problem = RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}")
        return _pickled(RemoteFailure(problem))
    return content


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves the histories of language models behind."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, dspy.BaseLM) and obj.history:
            return obj.copy().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return super().reducer_override(obj)


def _serialize(what: str, content: Any) -> bytes:
    stream = io.BytesIO()
    try:
        _Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(content)
    except Exception as error:
        raise ConfigurationError(
            f"{what} cannot be sent to another process: {type(error).__name__}: {error}; an environment there is "
            "a class or a function that opens its connections, files and locks itself when it is called, and neither "
            "on_event nor a metric holds any; or pass executor=None for threads"
        ) from error
    return zlib.compress(stream.getvalue(), 1)  # it goes along with every task, and most of it is text


def _cache_configuration() -> dict[str, Any] | None:
    """What of DSPy's cache has to be told to `dspy.configure_cache` elsewhere; None for a cache of the user's own."""
    if type(dspy.cache).__name__ != "Cache":
        return None
    return {name: getattr(dspy.cache, name) for name in ("enable_disk_cache", "enable_memory_cache", "disk_cache_dir")}
