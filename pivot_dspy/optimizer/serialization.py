"""A function with all that it needs, sent to another process and its results sent back."""

from __future__ import annotations

import io
import pickle
import threading
import uuid
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import cloudpickle
import dspy

from pivot_dspy.dspy_internals import DEFAULT_CONFIG, settings
from pivot_dspy.errors import ConfigurationError

_OF_THIS_PROCESS = frozenset(
    ("callbacks", "caller_modules", "caller_predict", "send_stream", "stream_listeners", "trace", "usage_tracker")
)
"""DSPy settings that tell something to the caller's process, and mean nothing in another one."""


class RemoteFailure(NamedTuple):
    """What a task raised, without the frames of its traceback, which would keep all that it worked on in memory."""

    error: Exception


class TaskSerializer:
    """`function`, ready to be sent to another process with one task after another.

    With it go the DSPy settings that have a meaning elsewhere and how DSPy's cache is configured; histories of language
    models, callbacks and usage trackers stay behind.

    Raises:
        ConfigurationError: something of it cannot be pickled; the message names the remedy.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        names = settings.config.keys() & DEFAULT_CONFIG.keys() - _OF_THIS_PROCESS
        values = {name: settings.config[name] for name in names}
        # Each run is told from any other, or Dask would take a second run of the same for the first.
        self._shared = _serialize("the program", (uuid.uuid4().hex, function, values, _cache_configuration()))

    def arguments(self, position: int, task: Any) -> tuple[bytes, int, bytes]:
        """What `run_remote` takes, for one task. Raises ConfigurationError where the task cannot be pickled."""
        return self._shared, position, _serialize(f"task {position}", task)


def run_local(function: Callable[[Any], Any], task: Any) -> Any:
    """What `function` gives for `task`, or a `RemoteFailure`."""
    with dspy.context(trace=[]):  # the caller's would grow by all that is predicted
        try:
            return function(task)
        except Exception as error:
            _drop_tracebacks(error)
            return RemoteFailure(error)


def run_remote(shared: bytes, position: int, task: bytes) -> bytes:
    """What `run_local` gives, in another process, pickled: bytes every executor can carry.

    Args:
        position: tells two equal tasks apart, which Dask would otherwise run only once.
    """
    try:
        with _loading:  # or two threads of one worker would each load a program of their own
            function, values = _load(shared)
        arguments = pickle.loads(zlib.decompress(task))
    except Exception as error:
        problem = ConfigurationError(
            f"a process of the executor cannot load the program ({type(error).__name__}: {error}); the same packages "
            "and modules must be importable there; pass executor=None for threads"
        )
        return bytes(cloudpickle.dumps(RemoteFailure(problem)))
    with dspy.context(**values):
        return _pickled(run_local(function, arguments))


_loading = threading.Lock()


@lru_cache(maxsize=2)
def _load(shared: bytes) -> tuple[Callable[[Any], Any], dict[str, Any]]:
    _, function, values, cache = pickle.loads(zlib.decompress(shared))
    if cache is not None and cache != _cache_configuration():
        dspy.configure_cache(**cache)
    return function, values


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
