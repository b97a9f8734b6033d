"""Snapshots: what is loaded is what `copy.deepcopy` would have copied; what may be otherwise is refused."""

from __future__ import annotations

import collections
import copy
import datetime
import enum
import functools
import math
import threading
import weakref
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pivot_dspy import Environment, Step, Trajectory, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.snapshot import KeptState
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync


class Held(Environment):
    def __init__(self, value: Any = None) -> None:
        self.value = value

    @tool(effect="write")
    def put(self, text: str) -> int:
        """Puts a text."""
        self.value.append(text)
        return len(self.value)


class Color(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@dataclass
class Node:
    name: str
    others: list[Any]


class Pair(NamedTuple):
    left: Any
    right: Any


class Model(BaseModel):
    items: list[Any] = []


class Box(list[Any]):
    pass


def keys() -> st.SearchStrategy[Any]:
    return st.one_of(st.text(max_size=3), st.integers(), st.sampled_from([Color.RED, Point(1), Pair(1, "a")]))


leaves = st.one_of(
    keys(), st.none(), st.booleans(), st.floats(allow_nan=False), st.binary(max_size=2), st.dates(), st.uuids(),
    st.decimals(allow_nan=False), st.sampled_from([len, math.sin, Held, keys, range(3), datetime.timezone.utc]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(keys(), inner, max_size=3), st.sets(keys(), max_size=3),
        st.tuples(inner, inner), st.builds(Pair, inner, inner),
        st.builds(Node, st.text(max_size=2), st.lists(inner, max_size=2)),
        st.builds(lambda items: Model(items=items), st.lists(inner, max_size=2)),
        st.builds(Box, st.lists(inner, max_size=2)),
        st.builds(collections.deque, st.lists(inner, max_size=2)),
        st.builds(lambda item: [item, item], inner),  # shared
    ),
    max_leaves=12,
)  # fmt: skip


def shape(value: Any, met: dict[int, int]) -> Any:
    """A value with its types, and which of its objects are one."""
    if isinstance(value, (dict, list, set, frozenset, tuple, collections.deque, Node, Model)):
        if id(value) in met:
            return "seen", met[id(value)]
        if not isinstance(value, (tuple, frozenset)):
            met[id(value)] = len(met)
        held = vars(value) if isinstance(value, (Node, Model)) else value
        items = held.items() if isinstance(held, dict) else list(held)
        return type(value), [shape(item, met) for item in items]
    return type(value), repr(value)


@settings(max_examples=300, deadline=None)
@given(values)
def test_what_is_loaded_is_what_would_have_been_copied(value: Any) -> None:
    environment = Held(value)
    loaded = KeptState(environment).load()
    assert type(loaded) is Held and loaded is not environment
    assert shape(vars(loaded), {}) == shape(vars(copy.deepcopy(environment)), {})


def test_cycles_and_what_is_not_copied() -> None:
    node = Node("a", [])
    as_they_are = [lambda: 1, test_cycles_and_what_is_not_copied, Color.RED, weakref.ref(threading.main_thread())]
    node.others += [node, *as_they_are]
    loaded: Any = KeptState(Held(node)).load()
    assert isinstance(loaded, Held) and loaded.value.others[0] is loaded.value is not node
    assert all(mine is theirs for mine, theirs in zip(loaded.value.others[1:], node.others[1:], strict=True))


def test_each_load_is_another_copy_of_how_it_stood() -> None:
    environment = Held([1])
    snapshot = KeptState(environment)
    environment.value.append(2)
    first, second = snapshot.load(), snapshot.load()
    assert isinstance(first, Held) and isinstance(second, Held)
    first.value.append(3)
    assert second.value == [1]


class Reduced:
    def __reduce__(self) -> Any:
        return Reduced, ()


class WithState:
    def __getstate__(self) -> Any:
        return {"other": 1}


class Copied:
    def __deepcopy__(self, memo: Any) -> Copied:
        return self


class Made:
    def __new__(cls, *args: Any) -> Made:
        return super().__new__(cls)


class Proxy:
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Filling(list[Any]):
    def append(self, value: Any) -> None:
        super().append((value, value))


@pytest.mark.parametrize(
    "value",
    [
        Reduced(), WithState(), Copied(), Made(), Proxy(), Filling([1]), math.nan, [Decimal("1"), math.nan],
        threading.Lock(), Held().put, functools.partial(len), ValueError("a"), iter([1]), collections, object.__init__,
    ],
)  # fmt: skip
def test_in_doubt_there_is_no_snapshot(value: Any) -> None:
    with pytest.raises(ValueError, match="Held"):
        KeptState(Held([value]))


def test_an_open_file_is_refused(tmp_path: Any) -> None:
    with (tmp_path / "a").open("w") as file, pytest.raises(ValueError, match="Held"):
        KeptState(Held(file))


class Forking(Held):
    forks: int = 0

    def fork(self) -> Forking:
        copied = copy.deepcopy(self)
        copied.forks = self.forks + 1
        return copied


def test_a_fork_of_its_own_is_used() -> None:
    with pytest.raises(ValueError, match="fork of its own"):
        KeptState(Forking([]))
    session = SessionFactory(lambda: Forking([])).open(None)
    forked = session.keep().fork()
    assert isinstance(forked.environment, Forking) and forked.environment.forks > 0


@pytest.mark.parametrize("extra", [[], [Copied()]])
def test_a_rewrite_goes_on_from_how_it_stood_before_each_change(extra: list[Any]) -> None:
    session = SessionFactory(lambda: Held(list(extra))).open(None)
    steps = [Step(id=name, tool="put", args={"text": name}) for name in "abc"]
    run = run_sync(execute(Trajectory(steps=tuple(steps)), session.fork()))
    count = len(extra)
    for position in range(4):
        stood = run.after(position).fork().environment
        assert isinstance(stood, Held) and stood.value[count:] == list("abc"[:position])
    session.family.close()
