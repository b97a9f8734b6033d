"""Environments that leak before commit, each in a way of its own."""

from __future__ import annotations

import copy
import functools
import io
import os
import queue
import time
import types
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from pivot_dspy import Environment, check, tool

CALLED: list[str] = []
"""What has really happened in the world outside: the calls of irreversible tools that were made."""

LOG: list[str] = []
COUNT = 0
TABLE = ({"sold": 0},)
QUEUE: queue.SimpleQueue[int] = queue.SimpleQueue()
REGISTRY: dict[str, Any] = {}
LEDGER: Any = types.ModuleType("ledger")
"""A module of the user's own."""


class Way(NamedTuple):
    """One way to leak."""

    make: Callable[[Path], tuple[Any, Callable[[], Any]]]
    """From a folder to what `Pivot` takes as its environment, and to a look at what must not change."""
    tools: tuple[str, ...] = ("act",)
    """What the plan calls, in order."""


WAYS: dict[str, Way] = {}


def way(
    name: str, *tools: str
) -> Callable[[Callable[[Path], tuple[Any, Callable[[], Any]]]], Callable[[Path], tuple[Any, Callable[[], Any]]]]:
    """Register what makes the environment of a way."""

    def register(make: Callable[[Path], tuple[Any, Callable[[], Any]]]) -> Any:
        WAYS[name] = Way(make, tools or ("act",))
        return make

    return register


class Box:
    """An object of the user's own, with state of its class too."""

    total = 0

    def __init__(self) -> None:
        self.items: list[int] = []


class Slotted:
    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Slotted:
        return self


class Shared(Box):
    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Model(BaseModel):
    items: list[int] = []


class SharedModel(Model):
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> SharedModel:
        return self


class Leaky(Environment):
    """Has a tool that acts, and one that may not run before commit."""

    @check
    def holds(self) -> bool:
        return True

    @tool(effect="irreversible")
    def pay(self) -> int:
        CALLED.append("paid")
        return 1


def writing(
    act: Callable[[Any], Any], held: Callable[[], dict[str, Any]] = dict, *, effect: Any = "write", **members: Any
) -> type[Environment]:
    """A leaky class whose tool `act` does this; `held` makes the attributes of an instance."""

    def start(self: Any) -> None:
        for name, value in held().items():
            setattr(self, name, value)

    def acts(self: Any) -> str:
        act(self)
        return "done"

    members = {"__init__": start, "act": tool(effect=effect)(acts), **members}
    return type("Made", (Leaky,), {"__module__": __name__, **members})


def paid() -> list[str]:
    """A look at the calls that were made."""
    return list(CALLED)


# ------------------------------------------------------------------------------------------- state of classes


def _of_class(name: str, value: Any, act: Callable[[Any], Any], look: Callable[[Any], Any]) -> None:
    """A way by the attribute `held` of the class, reached by the class and by the instance."""

    def by_class(folder: Path) -> tuple[Any, Callable[[], Any]]:
        kind = writing(lambda self: act(type(self)), held=dict, content=copy.deepcopy(value))
        return kind, lambda: look(kind)

    def by_self(folder: Path) -> tuple[Any, Callable[[], Any]]:
        kind = writing(lambda self: act(self), held=dict, content=copy.deepcopy(value))
        return kind(), lambda: look(kind)

    way(f"{name}, by type(self)")(by_class)
    way(f"{name}, by self")(by_self)


_of_class("class-level deque", deque([1]), lambda o: o.content.append(2), lambda o: list(o.content))
_of_class("class-level own object", Box(), lambda o: o.content.items.append(2), lambda o: list(o.content.items))
_of_class("class-level pydantic model", Model(), lambda o: o.content.items.append(2), lambda o: list(o.content.items))


def _bump(owner: Any) -> None:
    owner.content += 1


_of_class("class-level counter", 0, _bump, lambda o: o.content)


@way("a new attribute of the class")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    kind = writing(lambda self: setattr(type(self), "last", 1))
    return kind, lambda: hasattr(kind, "last")


@way("an iterator of the class")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    kind: Any = writing(lambda self: next(type(self).numbers), numbers=iter([1, 2, 3, 4, 5, 6, 7, 8]))
    return kind, lambda: kind.numbers.__length_hint__()


def _bump_box(self: Any) -> None:
    type(self.box).total += 1


@way("a counter of a member's class")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    return writing(_bump_box, lambda: {"box": Box()})(), lambda: Box.total


# ------------------------------------------------------------------------------------------- state of modules


def _count() -> None:
    global COUNT
    COUNT += 1


def _note() -> None:
    LOG.append("noted")


def _of_module(name: str, act: Callable[[Any], Any], look: Callable[[], Any]) -> None:
    way(name)(lambda folder: (writing(act), look))


def _attributed() -> None:
    _attributed.calls = getattr(_attributed, "calls", 0) + 1  # type: ignore[attr-defined]


def _defaulted(seen: list[int] = []) -> None:  # noqa: B006  # the very mistake
    seen.append(1)


@functools.cache
def _store() -> list[int]:
    return []


_store()
LEDGER.sold = 0


def _sell() -> None:
    LEDGER.sold += 1


_of_module("a list in a module", lambda self: LOG.append("x"), lambda: list(LOG))
_of_module("a list in a module, by a helper", lambda self: _note(), lambda: list(LOG))
_of_module("a counter in a module", lambda self: _count(), lambda: COUNT)
_of_module(
    "a dict inside a tuple of a module", lambda self: TABLE[0].update(sold=TABLE[0]["sold"] + 1), lambda: str(TABLE)
)
_of_module("an attribute of a user's module", lambda self: _sell(), lambda: LEDGER.sold)
_of_module("a queue in a module", lambda self: QUEUE.put(1), QUEUE.qsize)
_of_module("the class of another object", lambda self: setattr(Box, "total", Box.total + 1), lambda: Box.total)
_of_module("an attribute of a function", lambda self: _attributed(), lambda: getattr(_attributed, "calls", 0))
_of_module("a mutable default", lambda self: _defaulted(), lambda: str(_defaulted.__defaults__))
_of_module("what a cached function returned", lambda self: _store().append(1), lambda: list(_store()))
_of_module("a variable of the process", lambda self: os.environ.update(PIVOT_LEAK=f"{time.time_ns()}"),
           lambda: os.environ.get("PIVOT_LEAK"))  # fmt: skip
_of_module(
    "the folder of the process", lambda self: os.chdir(".." if os.path.dirname(os.getcwd()) != "/" else "/"), os.getcwd
)


@way("the real instance, by a registry")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    real = writing(lambda self: REGISTRY["real"].items.append(1), lambda: {"items": []})()
    REGISTRY["real"] = real
    return real, lambda: list(real.items)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------- what copies share


def _held(name: str, held: Callable[[list[int]], dict[str, Any]], act: Callable[[Any], Any]) -> None:
    """A way by an attribute that acts on a list outside of the instance."""

    def make(folder: Path) -> tuple[Any, Callable[[], Any]]:
        outside: list[int] = []
        return writing(act, lambda: held(outside))(), lambda: list(outside)

    def made(folder: Path) -> tuple[Any, Callable[[], Any]]:
        outside: list[int] = []
        kind = writing(act, lambda: held(outside))
        return lambda: kind(), lambda: list(outside)

    way(name)(make)
    way(f"{name}, of a factory")(made)


_held("a closure on self", lambda outside: {"log": lambda: outside.append(1)}, lambda self: self.log())
_held("a bound builtin on self", lambda outside: {"log": outside.append}, lambda self: self.log(1))
_held("a partial on self", lambda outside: {"log": functools.partial(outside.append, 1)}, lambda self: self.log())


def _counting(outside: list[int]) -> dict[str, Any]:
    count = 0

    def bump() -> None:
        nonlocal count
        count += 1
        outside.append(count)

    return {"bump": bump}


_held("a nonlocal counter on self", _counting, lambda self: self.bump())


def _instance(name: str, held: Callable[[], dict[str, Any]], act: Callable[[Any], Any], look: Callable[[Any], Any],
              **members: Any) -> None:  # fmt: skip
    """A way by what the copies of the user's own instance share with it."""

    def make(folder: Path) -> tuple[Any, Callable[[], Any]]:
        real = writing(act, held, **members)()
        return real, lambda: look(real)

    way(name)(make)


def _add(self: Any) -> None:
    self.held.items.append(1)


_instance("a member that shares on deepcopy", lambda: {"held": Shared()}, _add, lambda o: list(o.held.items))
_instance("a member with slots that shares", lambda: {"held": Slotted()}, _add, lambda o: list(o.held.items))
_instance("a model that shares on deepcopy", lambda: {"held": SharedModel()}, _add, lambda o: list(o.held.items))
_instance("a shallow fork", lambda: {"held": [[]]}, lambda self: self.held[0].append(1), str, fork=copy.copy,
          __str__=lambda self: str(self.held))  # fmt: skip
_instance("a bytearray that a fork shares", lambda: {"held": bytearray()}, lambda self: self.held.append(1),
          lambda o: bytes(o.held), fork=copy.copy)  # fmt: skip
_instance("a buffer that a fork shares", lambda: {"held": io.StringIO()}, lambda self: self.held.write("x"),
          lambda o: o.held.getvalue(), fork=copy.copy)  # fmt: skip


@way("a weak reference to the real instance")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    real: Any = writing(lambda self: self.me().items.append(1), lambda: {"items": []})()
    real.me = weakref.ref(real)
    return real, lambda: list(real.items)
