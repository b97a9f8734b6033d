"""How state stands, as bytes that are cheap to compare, and what differs between two of them, by path.

What is built in is written by the C pickler, at some 50 MB/s. Any other object is written as its attributes, items and
cells, read without calling its own code: a property, a `__getstate__` or a `__reduce__` of the user's might have
effects. The bytes are only read again where two differ, and then no object but plain data is made of them.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import itertools
import pickle
import queue
import random
import sqlite3
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple, TypeVar

from pivot_dspy.environment.files import file_state
from pivot_dspy.environment.own_code import held_by_function, is_code, is_library

CAP = 4 << 20
"""Bytes of one part of the state that are compared; what comes after them is not seen."""

CONTENT_CAP = 64 << 10
"""Bytes of one object of a library."""

CUT = "what is too large for its attributes to be told apart"
TORN = "what changed while it was read"

READERS: dict[type, Any] = {
    list: list.__iter__, set: set.__iter__, frozenset: frozenset.__iter__, tuple: tuple.__iter__,
    collections.deque: collections.deque.__iter__,
}  # fmt: skip
"""How the items of a container are read, whatever its subclasses say."""

RAW: dict[type, Any] = {
    kind: kind.__repr__ for kind in (int, float, str, bytes, complex, bytearray)
}  # fmt: skip
"""How a value is read that a subclass (an enumeration's, say) still is."""

ROUTINES = (types.FunctionType, type, staticmethod, classmethod, types.BuiltinFunctionType, types.MethodDescriptorType)

OPAQUE: tuple[type, ...] = (
    types.ModuleType, types.CodeType, types.FrameType, weakref.ref, random.Random, itertools.count,
)  # fmt: skip
OPAQUE_MODULES = (
    "asyncio", "concurrent", "dspy", "litellm", "logging", "multiprocessing", "numpy.random", "pivot_dspy",
    "subprocess", "threading", "_thread",
)  # fmt: skip
"""Where kinds of objects come from that are the process's and not the user's state, and change by themselves: threads,
loops, loggers, locks, sources of numbers, models."""


Answer = TypeVar("Answer")


def _for_class(function: Callable[[Any], Answer]) -> Callable[[Any], Answer]:
    """Answered once for each class."""
    return functools.lru_cache(maxsize=4096)(function)


class ObjectNumber(NamedTuple):
    """Stands for an object, by its number among those that were met."""

    number: int


class State(NamedTuple):
    """What an object holds."""

    kind: str
    attributes: Mapping[str, Any]
    items: Any = None
    """The content of a container, or the value that the object is."""
    caches: Mapping[str, Any] = {}
    """Attributes that a `cached_property` fills when it is first asked: they may appear, and then stay."""


class Change(NamedTuple):
    """One difference: the way to it, and what was done there."""

    path: str
    kind: str
    """`added`, `removed` or `changed`."""
    keys: tuple[Any, ...]
    """The way as attribute names (`.name`) and keys, from the root."""
    was: Any = None
    by_commit: bool = False
    """Whether a commit may have made it."""


class Shared(NamedTuple):
    """What is shared on purpose, and not compared: by name wherever it stands, and by identity."""

    names: frozenset[str] = frozenset()
    objects: frozenset[int] = frozenset()

    def declares(self, path: str, value: Any) -> bool:
        """Whether the value at a path is one of them."""
        return bool(self.names) and (
            path.partition("[")[0].rpartition(".")[2] in self.names or id(value) in self.objects
        )


NOTHING = Shared()


class _Full(Exception):
    """More bytes than are compared."""


class _Sink(io.BytesIO):
    def __init__(self, cap: int) -> None:
        super().__init__()
        self.cap = cap

    def write(self, data: Any) -> int:
        if self.tell() > self.cap:
            raise _Full
        return super().write(data)


class Snapshot:
    """How the values of a mapping stood: compare two with `==`, and ask `changes` where they differ.

    >>> held = {"lines": ["a"], "lock": __import__("threading").Lock()}
    >>> before = Snapshot(held)
    >>> held["lines"].append("b")
    >>> before == Snapshot(held), [change.path for change in changes(before, Snapshot(held))]
    (False, ['lines[1]'])
    """

    def __init__(self, value: Mapping[str, Any], cap: int = CAP, shared: Shared = NOTHING) -> None:
        self.is_torn = False
        """Whether it ends where an object could not be read, which may have changed meanwhile."""
        sink = _Sink(cap)
        pickler = _StatePickler(sink, shared)
        try:
            pickler.dump({name: held for name, held in value.items() if not shared.declares(name, held)})
            for met in pickler.met:  # grows meanwhile
                pickler.dump(_state_of(met, shared))
        except (_Full, RecursionError):
            pass  # what was written so far is compared
        except Exception as error:  # an object that changes while it is read, or of a kind that nobody foresaw
            self.is_torn = True
            sink.seek(0, io.SEEK_END)
            io.BytesIO.write(sink, type(error).__name__.encode())
        self.data = sink.getvalue()
        code = (met if is_code(met) else type(met) for met in pickler.met)
        self.code = {part for part in code if not is_library(getattr(part, "__module__", None))}
        """Classes of the objects in it, and classes and functions among them, as far as they are the user's."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]

    def load(self) -> list[Any]:
        """The value, then the states of the objects in it by number, as far as they were written."""
        unpickler, loaded = _Unpickler(io.BytesIO(self.data)), []
        try:
            while True:
                loaded.append(unpickler.load())
        except Exception:  # the end, or the place where it was cut off
            return loaded


class _StatePickler(pickle.Pickler):
    def __init__(self, sink: io.BytesIO, shared: Shared) -> None:
        super().__init__(sink, protocol=5)
        self.met: list[Any] = []
        self._shared = shared

    def reducer_override(self, value: Any) -> Any:
        if value is ObjectNumber or value is State or value is _make_number:
            return NotImplemented
        if type(value) is State:
            return NotImplemented
        if id(value) in self._shared.objects or _is_opaque(type(value)):
            return _make_number, (-1,)
        self.met.append(value)  # which keeps it alive, so that its number stays its own
        return _make_number, (len(self.met) - 1,)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == __name__:
            return {"State": State, "_make_number": _make_number}[name]
        return {"set": set, "frozenset": frozenset, "bytearray": bytearray, "complex": complex}[name]


def _make_number(number: int) -> ObjectNumber:
    return ObjectNumber(number)


def _state_of(value: Any, shared: Shared) -> State:
    """What an object holds, read by the methods of built-in types alone."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if issubclass(kind, type):
        return State(f"class {value.__module__}.{value.__qualname__}", {})
    if issubclass(kind, PurePath):
        return State(name, {"file": file_state(str(value))}, str(value))
    special = _special(value)
    if special is None and kind not in READERS and not issubclass(kind, (dict, *RAW)) and is_library(kind.__module__):
        return State(name, {}, _content(value))
    if special is not None:
        return State(name, {key: item for key, item in special.items() if not shared.declares(key, item)})
    attributes = {key: item for key, item in attributes_of(value) if not shared.declares(key, item)}
    items: Any = None
    if issubclass(kind, dict):
        items = dict(dict.items(value))
    elif issubclass(kind, tuple(RAW)):
        items = next(read(value) for base, read in RAW.items() if issubclass(kind, base))
    else:
        items = next((list(read(value)) for base, read in READERS.items() if issubclass(kind, base)), None)
    caches = {cached: attributes.pop(cached) for cached in cached_names(kind) if cached in attributes}
    return State(name, attributes, items, caches)


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an instance holds, in its dictionary and its slots, without calling a property."""
    with contextlib.suppress(AttributeError, TypeError):
        yield from list(object.__getattribute__(value, "__dict__").items())
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            mangled = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and name[-2:] != "__" else name
            member = vars(base).get(mangled)
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield mangled, member.__get__(value)
                except AttributeError:  # not set
                    continue


def _special(value: Any) -> dict[str, Any] | None:
    """What kinds of objects hold that is not among their attributes; None for any other."""
    kind = type(value)
    if issubclass(kind, types.FunctionType):
        return dict(held_by_function(value))
    if issubclass(kind, types.MethodType):
        return {"__func__": value.__func__, "__self__": value.__self__}
    if issubclass(kind, (types.BuiltinMethodType, types.MethodWrapperType)):
        return {"__name__": value.__name__, "__self__": value.__self__}
    if issubclass(kind, functools.partial):
        return {"func": value.func, "args": value.args, "keywords": value.keywords}
    if issubclass(kind, types.GeneratorType):
        frame = value.gi_frame
        return {"at": frame and frame.f_lasti, "locals": dict(frame.f_locals) if frame else None}
    if issubclass(kind, sqlite3.Connection):
        return _of_connection(value)
    if issubclass(kind, io.IOBase):
        return _of_file(value)
    if issubclass(kind, itertools.repeat):
        return {"next": repr(value)}
    if issubclass(kind, types.MappingProxyType):
        return {"items": dict(value)}
    if issubclass(kind, queue.SimpleQueue):
        return {"size": value.qsize()}
    if issubclass(kind, queue.Queue):
        return {"items": value.queue}
    descriptor = _descriptor(value)
    return None if descriptor is None else {"descriptor": descriptor}


def _of_connection(connection: sqlite3.Connection) -> dict[str, Any]:
    try:
        return {"open": True, "total_changes": connection.total_changes}
    except sqlite3.Error:
        return {"open": False}


def _of_file(file: io.IOBase) -> dict[str, Any]:
    """Whether it is open, and where it stands; what is buffered for writing counts too."""
    try:
        if io.IOBase.closed.__get__(file) or getattr(file, "closed", False):
            return {"open": False}
        binary = file.buffer if isinstance(file, io.TextIOWrapper) else file
        if isinstance(file, (io.StringIO, io.BytesIO)):
            return {"open": True, "value": file.getvalue(), "position": file.tell()}
        if type(file).__module__ not in ("_io", "io"):
            return {"open": True}
        if isinstance(file, io.TextIOWrapper) and file.writable():
            file.flush()
        return {"open": True, "position": binary.tell() if binary.seekable() else None}
    except (OSError, ValueError):  # closed meanwhile, or a device
        return {"open": False}


def _descriptor(value: Any) -> int | None:
    """The number of the file that an object of the standard library has open, -1 for none; None for what has none."""
    if type(value).__module__ not in ("socket", "_socket", "ssl", "mmap", "select", "selectors"):
        return None
    try:
        return int(value.fileno())
    except (AttributeError, OSError, ValueError):
        return -1 if getattr(value, "closed", False) else None


def _content(value: Any) -> Any:
    """What an object of a library holds, as it is copied; None for what has no copy, such as a lock or a connection,
    whose state is not the user's."""
    sink = _Sink(CONTENT_CAP)
    try:
        pickle.Pickler(sink, 5).dump(value)
    except _Full:  # what was written so far is compared
        return sink.getvalue()
    except Exception:
        return None
    return sink.getvalue()


@_for_class
def cached_names(kind: Any) -> tuple[str, ...]:
    """The names of the class's cached properties, of whatever library: they are descriptors that leave the instance's
    own value alone."""
    members = {name: member for base in reversed(kind.__mro__) for name, member in vars(base).items()}
    return tuple(
        name for name, member in members.items() if not isinstance(member, ROUTINES) and _may_fill(type(member))
    )


def _may_fill(descriptor: type) -> bool:
    return hasattr(descriptor, "__get__") and not hasattr(descriptor, "__set__")


@_for_class
def _is_opaque(kind: Any) -> bool:
    module = kind.__module__ if isinstance(kind.__module__, str) else ""
    if module == "asyncio.queues":
        return False
    return issubclass(kind, OPAQUE) or any(module == name or module.startswith(f"{name}.") for name in OPAQUE_MODULES)


def changes(before: Snapshot, after: Snapshot) -> list[Change]:
    """Where two snapshots of one mapping differ; empty where only the order of names does."""
    was, now = before.load(), after.load()
    if not was or not now:
        return [] if before == after else [Change(CUT, "changed", (f".{CUT}",))]
    found: list[Change] = []
    seen: set[tuple[int, int]] = set()
    waiting: collections.deque[tuple[str, tuple[Any, ...], Any, Any]] = collections.deque()
    waiting.extend(_paired("", was[0], now[0], (), found, sign="."))
    while waiting:
        path, keys, old, new = waiting.popleft()
        if isinstance(old, ObjectNumber) and isinstance(new, ObjectNumber):
            numbers = (old.number, new.number)
            if numbers in seen or old.number + 1 >= len(was) or new.number + 1 >= len(now):
                continue
            seen.add(numbers)
            old, new = (was[old.number + 1], now[new.number + 1]) if min(numbers) >= 0 else (old, new)
        if type(old) is not type(new) or (isinstance(old, State) and old.kind != new.kind):
            found.append(Change(path, "changed", keys, old))
        elif isinstance(old, State):
            waiting.extend(_paired(f"{path}.", old.attributes, new.attributes, keys, found, sign="."))
            waiting.append((path, keys, old.items, new.items))
            lasting = old.caches.keys() & new.caches.keys()
            waiting.extend(
                (f"{path}.{name}", (*keys, f".{name}"), old.caches[name], new.caches[name]) for name in lasting
            )
        elif isinstance(old, dict):
            waiting.extend(_paired(path, old, new, keys, found))
        elif isinstance(old, (list, tuple)) and not isinstance(old, ObjectNumber):
            waiting.extend(_paired(path, dict(enumerate(old)), dict(enumerate(new)), keys, found))
        elif old != new and not (old != old and new != new):  # NaN is what it was
            found.append(Change(path, "added" if isinstance(old, set) and old < new else "changed", keys, old))
    return found


def _paired(
    path: str,
    old: Mapping[Any, Any],
    new: Mapping[Any, Any],
    keys: tuple[Any, ...],
    found: list[Change],
    sign: str = "",
) -> Iterator[tuple[str, tuple[Any, ...], Any, Any]]:
    """What stands at the same key; what does at only one of them is found."""
    for key in [*old, *(key for key in new if key not in old)]:
        to = f"{path}{key}" if sign else f"{path}[{key!r}]"
        way = (*keys, f"{sign}{key}" if sign else key)
        if key not in new:
            found.append(Change(to, "removed", way, old[key]))
        elif key not in old:
            found.append(Change(to, "added", way))
        else:
            yield to, way, old[key], new[key]
