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
        values = {
            name: value
            for name, value in settings.config.items()
            if name in DEFAULT_CONFIG and name not in _OF_THIS_PROCESS
        }
        # Each run is told from any other, or Dask would take a second run of the same for the first.
        self._shared = _packed("the program", (uuid.uuid4().hex, function, values, _cache()))

    def arguments(self, position: int, task: Any) -> tuple[bytes, int, bytes]:
        """What `run_there` takes, for one task.

        Raises:
            ConfigurationError: the task cannot be pickled.
        """
        return self._shared, position, _packed(f"task {position}", task)


def run_local(function: Callable[[Any], Any], task: Any) -> Any:
    """What `function` gives for `task`, or `Failed`."""
    with dspy.context(trace=[]):  # the caller's would grow by all that is predicted
        try:
            return function(task)
        except Exception as error:
            return RemoteFailure(_bare(error))


def run_remote(shared: bytes, position: int, task: bytes) -> SerializedResult:
    """What `run_here` gives, in another process; as bytes, since these every executor can carry back.

    Args:
        position: tells two equal tasks apart, which Dask would otherwise run only once.
    """
    with _unpacking:  # or two threads of one worker would each unpack a program of their own
        try:
            function, values = _unpacked(shared)
            known = pickle.loads(zlib.decompress(task))
        except Exception as error:
            return SerializedResult(cloudpickle.dumps(RemoteFailure(_missing_there(error))))
    with dspy.context(**values):
        return _posted(run_local(function, known))


class SerializedResult(NamedTuple):
    """An outcome on its way back."""

    content: bytes

    def opened(self) -> Any:
        return pickle.loads(self.content)


_unpacking = threading.Lock()


@lru_cache(maxsize=2)
def _unpacked(shared: bytes) -> tuple[Callable[[Any], Any], dict[str, Any]]:
    _, function, values, cache = pickle.loads(zlib.decompress(shared))
    if cache is not None and cache != _cache():
        dspy.configure_cache(**cache)
    return function, values


def _bare(error: Exception) -> Exception:
    below: BaseException | None = error
    while below is not None and below.__traceback__ is not None:
        below.__traceback__ = None
        below = below.__cause__ or below.__context__
    return error


def _posted(outcome: Any) -> SerializedResult:
    try:
        content = cloudpickle.dumps(outcome)
        if isinstance(outcome, RemoteFailure):
            pickle.loads(content)  # an exception with arguments of its own may refuse only then
    except Exception as error:
        if isinstance(outcome, RemoteFailure):
            told: Exception = RuntimeError(f"{type(outcome.error).__name__}: {outcome.error}")
        else:
            told = ConfigurationError(
                f"the result of a task cannot be sent back from its process ({type(error).__name__}: {error}); pass "
                "executor=None for threads"
            )
        content = cloudpickle.dumps(RemoteFailure(told))
    return SerializedResult(content)


def _missing_there(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"a process of the executor cannot load the program ({type(error).__name__}: {error}); the same packages and "
        "modules must be importable there; pass executor=None for threads"
    )


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves the histories of language models behind."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, dspy.BaseLM) and obj.history:
            return obj.copy().__reduce_ex__(self.proto)
        return super().reducer_override(obj)


def _packed(what: str, content: Any) -> bytes:
    stream = io.BytesIO()
    pickler = _Pickler(stream, pickle.HIGHEST_PROTOCOL)
    pickler.proto = pickle.HIGHEST_PROTOCOL
    try:
        pickler.dump(content)
    except Exception as error:
        raise ConfigurationError(
            f"{what} cannot be sent to another process: {type(error).__name__}: {error}; an environment there is "
            "a class or a function that opens its connections, files and locks itself when it is called, and neither "
            "on_event nor a metric holds any; or pass executor=None for threads"
        ) from error
    return zlib.compress(stream.getvalue(), 1)  # it goes along with every task, and most of it is text


def _cache() -> dict[str, Any] | None:
    """What of DSPy's cache has to be told to `dspy.configure_cache` elsewhere; None for a cache of the user's own."""
    cache = dspy.cache
    if type(cache).__name__ != "Cache":
        return None
    return {
        "enable_disk_cache": cache.enable_disk_cache,
        "enable_memory_cache": cache.enable_memory_cache,
        "disk_cache_dir": cache.disk_cache_dir,
    }
