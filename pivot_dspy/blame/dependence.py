"""What depends on what in an execution: explicit bindings, values that earlier steps brought in, and writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.trajectory import Execution, Observation, Step

_IDENTIFIER = re.compile(r"(?=\S*\d)\S{2,}")
_SHORTEST = 3
_NESTED = frozenset({dict, list})


def slice_of(execution: Execution, step_ids: Iterable[str], toolbox: Toolbox | None = None) -> tuple[str, ...]:
    """Ids of the given steps and of all that they depend on, earliest first.

    Args:
        toolbox: tells which tools write; without it, any earlier step that no other reads may have.
    """
    return DependenceGraph(execution, toolbox).slice(step_ids)


class DependenceGraph:
    """The dependences of one execution."""

    def __init__(self, execution: Execution, toolbox: Toolbox | None = None) -> None:
        self.steps = execution.trajectory.steps
        self.ids = execution.trajectory.ids
        self.position = {step_id: position for position, step_id in enumerate(self.ids)}
        self.observed: Mapping[str, Observation] = execution.by_step
        self._toolbox = toolbox
        self._chains: dict[str, tuple[str, ...]] = {}
        self._below: dict[str, tuple[str, ...]] = {}
        self._sources: dict[tuple[str, int], str | None] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self.readers: dict[str, list[str]] = {step_id: [] for step_id in self.ids}
        for position, step in enumerate(self.steps):
            named = step.depends_on(self.position)
            self.reads[step.id] = tuple(name for name in named if self.position.get(name, position) < position)
            for name in self.reads[step.id]:
                self.readers[name].append(step.id)

    @cached_property
    def writes(self) -> tuple[str, ...]:
        """Ids of the steps that may change the environment."""
        if self._toolbox is None:
            return tuple(step.id for step in self.steps if not step.is_submit and not self.readers[step.id])
        tools = self._toolbox.tools
        return tuple(step.id for step in self.steps if step.tool in tools and tools[step.tool].effect != "read")

    def chain(self, step_id: str) -> tuple[str, ...]:
        """The steps that a step reads through bindings, directly or not, and itself; earliest first."""
        if step_id not in self._chains:
            self._chains[step_id] = self._closure([step_id], self.reads.__getitem__)
        return self._chains[step_id]

    def below(self, step_id: str) -> tuple[str, ...]:
        """The steps that read a step through bindings, directly or not; earliest first."""
        if step_id not in self._below:
            self._below[step_id] = self._closure(self.readers[step_id], self.readers.__getitem__)
        return self._below[step_id]

    def slice(self, step_ids: Iterable[str]) -> tuple[str, ...]:
        """The given steps and all that they depend on, earliest first."""
        return self._closure([name for name in step_ids if name in self.position], self.parents)

    def parents(self, step_id: str) -> tuple[str, ...]:
        """The steps that a step depends on directly."""
        step, position = self.steps[self.position[step_id]], self.position[step_id]
        found = dict.fromkeys(self.reads[step_id])
        for text in _literals(step):
            # Beside a binding, only what looks like an identifier is traced: other words recur by chance.
            if len(text) >= _SHORTEST and (not self.reads[step_id] or _IDENTIFIER.fullmatch(text)):
                source = self.source_of(text, position)
                if source is not None:
                    found[source] = None
        seen = self.observed.get(step_id)
        refused = seen is not None and seen.fault is not None and seen.fault.kind == "tool_error"
        if refused or not found:  # it hangs on the state then, and so on whatever was written before
            found |= dict.fromkeys(name for name in self.writes if self.position[name] < position)
        return tuple(found)

    def source_of(self, wanted: str, before: int) -> str | None:
        """The latest step before position `before` whose result holds `wanted`."""
        key = (wanted, before)
        if key not in self._sources:
            self._sources[key] = self._find(wanted, before)
        return self._sources[key]

    def _find(self, wanted: str, before: int) -> str | None:
        for step in reversed(self.steps[:before]):
            observation = self.observed.get(step.id)
            if observation is not None and observation.ok and holds(observation.value, wanted):
                return step.id
        return None

    def _closure(self, start: Iterable[str], next_: Any) -> tuple[str, ...]:
        seen: set[str] = set()
        todo = list(start)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(next_(name))
        return tuple(sorted(seen, key=self.position.__getitem__))


def holds(value: Any, wanted: Any) -> bool:
    """Whether `wanted` is one of the scalars inside `value`."""
    return value == wanted or any(wanted in items for items, _ in _containers(value))


def scalars(value: Any, limit: int | None = None) -> Iterator[Any]:
    """The scalars inside `value`, at most `limit` of them."""
    todo, count = [value], 0
    while todo:
        current = todo.pop()
        if isinstance(current, dict):
            todo.extend(reversed(list(current.values())))
        elif isinstance(current, (list, tuple)):
            todo.extend(reversed(current))
        else:
            yield current
            count += 1
            if count == limit:
                return


def record_with(value: Any, wanted: Any) -> Mapping[str, Any] | None:
    """The first record inside `value` of which `wanted` is a direct value."""
    for items, container in _containers(value):
        if wanted in items and isinstance(container, dict) and len(container) > 1:
            return container
    return None


def _containers(value: Any) -> Iterator[tuple[Collection[Any], Any]]:
    """Every object and list inside `value`, with its items, outer and earlier ones first."""
    todo = [value] if type(value) in _NESTED else []
    while todo:
        container = todo.pop()
        items = container.values() if type(container) is dict else container
        yield items, container
        # Observations are plain JSON data: no other types occur, and this loop runs over all of it.
        inner = [item for item in items if type(item) in _NESTED]
        if inner:
            inner.reverse()
            todo += inner


def _literals(step: Step) -> Iterator[str]:
    for text in bindings.strings(step.args):
        if not bindings.references(text):
            yield text.replace("$$", "$")
