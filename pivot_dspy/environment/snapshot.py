"""How an environment stood, as bytes from which a copy is made only if one is needed.

A copy before each change costs more than most changes, and few are ever used. Where the copy is `copy.deepcopy`'s, the
C pickler writes what it would copy several times as fast, in a third of the memory. These bytes never leave the
process, and nothing but what this module wrote is read: what is said of pickle and files is not said of them.

Written is only what comes back just as `copy.deepcopy` would copy it. Functions, classes and all else that it does not
copy are kept beside the bytes. In doubt there is no snapshot, and the environment is copied at once: with a class that
says how it is copied, pickled or made; with a kind of the standard library or of another library that is not listed
here; with a NaN, which is told apart by identity.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import pickle
import random
import re
import types
import uuid
import weakref
import zlib
from collections.abc import Callable
from typing import Any, cast

from pydantic import BaseModel

from pivot_dspy.environment.base import Environment

KEPT: frozenset[type] = frozenset({
    types.FunctionType, types.BuiltinFunctionType, types.CodeType, property, range, weakref.ref, re.Pattern,
})  # fmt: skip
"""What `copy.deepcopy` gives back as it is, beside classes and the members of enumerations."""
HOOKS = (
    "__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__",
    "__getnewargs_ex__", "__new__", "__getattribute__", "__getattr__",
)  # fmt: skip
"""Methods that copying may call, or that may change what it sees."""
FILLERS = ("__setitem__", "append", "extend")
"""Methods by which the copy of a container is filled: before or after its attributes are set, one by one or at once."""
TRUSTED: frozenset[type] = frozenset({
    object, Environment, BaseModel, dict, list, set, frozenset, tuple, str, int, float, bytes, bytearray, complex,
    collections.deque, collections.OrderedDict, collections.defaultdict, collections.Counter, datetime.date,
    datetime.datetime, datetime.time, datetime.timedelta, datetime.tzinfo, datetime.timezone,
    decimal.Decimal, fractions.Fraction, uuid.UUID, *random.Random.__mro__, *pathlib.PosixPath.__mro__,
    *pathlib.WindowsPath.__mro__,
})  # fmt: skip
"""Classes whose own such methods give the same in both."""
COMPRESSED = 1 << 20
"""Bytes from which on they are kept compressed, where that is worth while: a run keeps a state before each change."""
_SAMPLE = 1 << 16
NAN = (b"G\x7f\xf8", b"G\xff\xf8")
"""How a NaN begins as it is written."""


class KeptState:
    """How an environment stood when this was made.

    Raises:
        ValueError: what it holds cannot be written for sure as it would be copied.

    >>> class Notes(Environment):
    ...     def __init__(self) -> None:
    ...         self.lines = ["a"]
    >>> notes = Notes()
    >>> before = KeptState(notes)
    >>> notes.lines.append("b")
    >>> before.load().lines
    ['a']
    """

    def __init__(self, environment: Environment) -> None:
        if not _is_copied_by_default(environment):
            raise ValueError(f"{type(environment).__name__} has a fork of its own")
        sink = io.BytesIO()
        pickler = _CopyPickler(sink)
        try:
            pickler.dump(environment)
        except Exception as error:
            raise ValueError(f"{type(environment).__name__} cannot be written: {error}") from error
        data, self._kept = sink.getvalue(), tuple(pickler.kept)
        if any(start in data for start in NAN):
            raise ValueError(f"{type(environment).__name__} may hold a NaN")
        self._is_compressed = len(data) >= COMPRESSED and _is_compressible(data)
        self._data = zlib.compress(data, level=1) if self._is_compressed else data

    def load(self) -> Environment:
        """A copy, another one each time."""
        data = zlib.decompress(self._data) if self._is_compressed else self._data
        unpickler = _CopyUnpickler(io.BytesIO(data))
        unpickler.kept = self._kept
        copied: Environment = unpickler.load()
        return copied


def _is_compressible(data: bytes) -> bool:
    """Whether a part from the middle takes a third when it is compressed, as records do and pictures do not."""
    middle = len(data) // 2
    sample = data[middle : middle + _SAMPLE]
    return 3 * len(zlib.compress(sample, level=1)) <= len(sample)


def _is_copied_by_default(environment: Environment) -> bool:
    return type(environment).fork is Environment.fork and "fork" not in vars(environment)


def _kept_at(number: int) -> Any:
    """Stands in the bytes for the function of an unpickler that gives what is kept."""
    raise NotImplementedError("it is only read by the unpickler of this module")


class _CopyPickler(pickle.Pickler):
    def __init__(self, sink: io.BytesIO) -> None:
        super().__init__(sink, protocol=5)
        self.kept: list[Any] = []

    def reducer_override(self, value: Any) -> Any:
        if value is _kept_at:
            return NotImplemented
        kind = type(value)
        if kind in KEPT or issubclass(kind, (type, enum.Enum)):
            self.kept.append(value)
            return _kept_at, (len(self.kept) - 1,)
        if not _is_plain(cast(Any, kind)):
            raise ValueError(f"{kind.__module__}.{kind.__qualname__} may be copied otherwise than it is written")
        return NotImplemented


class _CopyUnpickler(pickle.Unpickler):
    kept: tuple[Any, ...] = ()

    def find_class(self, module: str, name: str) -> Callable[[int], Any]:
        if (module, name) != (_kept_at.__module__, _kept_at.__name__):  # nothing else was written by name
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a snapshot")
        return self.kept.__getitem__


@functools.lru_cache(maxsize=4096)
def _is_plain(kind: Any) -> bool:
    """Whether objects of a class are written just as they are copied: by what they hold, without code of their own."""
    if kind in copyreg.dispatch_table:
        return False
    hooks = (*HOOKS, *FILLERS) if issubclass(kind, (dict, list, collections.deque)) else HOOKS
    return all(_is_trusted(kind, hook) for hook in hooks)


def _is_trusted(kind: type, hook: str) -> bool:
    owner = next((base for base in kind.__mro__ if hook in vars(base)), object)
    if owner in TRUSTED:
        return True
    # What `collections.namedtuple` and `dataclasses` write into a class takes and gives its fields.
    written_by = getattr(vars(owner)[hook], "__module__", None)
    if issubclass(owner, tuple) and hasattr(owner, "_fields"):
        return (hook, written_by) in (("__new__", None), ("__getnewargs__", "collections"))
    return hook in ("__getstate__", "__setstate__") and written_by == "dataclasses"
