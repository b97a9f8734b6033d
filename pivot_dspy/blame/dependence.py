"""What depends on what in an execution: explicit bindings, values that earlier steps brought in, and writes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.identity_cache import RESULTS_KEPT, by_identity
from pivot_dspy.trajectory import Execution, Observation, Step

_IDENTIFIER = re.compile(r"(?=\S*\d)\S{2,}")
_SHORTEST = 3
_NESTED = frozenset({dict, list})


def slice_of(execution: Execution, step_ids: Iterable[str], toolbox: Toolbox) -> tuple[str, ...]:
    """Ids of the given steps and of all that they depend on, earliest first."""
    return DependenceGraph(execution, toolbox).slice(step_ids)


class DependenceGraph:
    """The dependences of one execution."""

    def __init__(self, execution: Execution, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        self.steps = execution.trajectory.steps
        self.ids = execution.trajectory.ids
        self.position = {step_id: position for position, step_id in enumerate(self.ids)}
        self.observed: Mapping[str, Observation] = execution.by_step
        self.reads: dict[str, tuple[str, ...]] = {}
        """The earlier steps that a step reads through bindings."""
        self.readers: dict[str, list[str]] = {step_id: [] for step_id in self.ids}
        """The steps that read a step through bindings."""
        self.chains: dict[str, tuple[str, ...]] = {}
        """The steps that a step reads through bindings, directly or not, and itself; earliest first."""
        self.below: dict[str, tuple[str, ...]] = {}
        """The steps that read a step through bindings, directly or not; earliest first."""
        writing = {name for name, spec in toolbox.tools.items() if spec.effect != "read"}
        self.writes = tuple(step.id for step in self.steps if step.tool in writing)
        """Ids of the steps that may change the environment."""
        self._writing = frozenset(self.writes)
        self._write_positions = [self.position[name] for name in self.writes]
        self.source_of = cache(self._find_source)
        """The latest step before a position whose result holds a value."""
        for position, step in enumerate(self.steps):
            named = step.depends_on(self.position)
            reads = tuple(name for name in named if self.position.get(name, position) < position)
            self.reads[step.id] = reads
            self.chains[step.id] = self._in_order({step.id}.union(*(self.chains[name] for name in reads)))
            for name in reads:
                self.readers[name].append(step.id)
        for step_id in reversed(self.ids):
            readers = self.readers[step_id]
            self.below[step_id] = self._in_order(set(readers).union(*(self.below[name] for name in readers)))

    def changes(self, step_id: str) -> bool:
        """Whether a step may change the environment."""
        return step_id in self._writing

    def step(self, step_id: str) -> Step:
        return self.steps[self.position[step_id]]

    def result(self, step_id: str) -> Any:
        """What a step returned; None where it returned nothing."""
        observation = self.observed.get(step_id)
        return observation.value if observation is not None and observation.ok else None

    def slice(self, step_ids: Iterable[str]) -> tuple[str, ...]:
        """The given steps and all that they depend on, earliest first."""
        members: set[str] = set()
        pending = [name for name in step_ids if name in self.position]
        while pending:
            name = pending.pop()
            if name not in members:
                members.add(name)
                pending.extend(self.parents(name))
        return self._in_order(members)

    def parents(self, step_id: str) -> tuple[str, ...]:
        """The steps that a step depends on directly."""
        position, reads = self.position[step_id], self.reads[step_id]
        # Beside a binding, only what looks like an identifier is traced: other words recur by chance.
        texts = [text for text in bindings.strings(self.steps[position].args) if not bindings.references(text)]
        literals = [bindings.unescape(text) for text in texts]
        traced = [text for text in literals if len(text) >= _SHORTEST and (not reads or _IDENTIFIER.fullmatch(text))]
        parents = [*reads, *filter(None, (self.source_of(text, position) for text in traced))]
        observation = self.observed.get(step_id)
        fault = observation.fault if observation is not None else None
        if not parents or (fault is not None and fault.kind == "tool_error"):
            # It hangs on the state then, and so on whatever was written before.
            parents += self.writes[: bisect_left(self._write_positions, position)]
        return tuple(dict.fromkeys(parents))

    def holders(self, wanted: Any, before: int) -> Sequence[str]:
        """The steps before a position whose results hold a scalar, earliest first."""
        places = self._places.get(wanted, ())
        return [self.ids[place] for place in places[: bisect_left(places, before)]]

    @cached_property
    def _places(self) -> Mapping[Any, Sequence[int]]:
        """The positions of the steps whose results hold each scalar."""
        places: dict[Any, list[int]] = defaultdict(list)
        for place, name in enumerate(self.ids):
            for scalar in _scalars_in(self.result(name)):
                places[scalar].append(place)
        return places

    def _find_source(self, wanted: str, before: int) -> str | None:
        return next(reversed(self.holders(wanted, before)), None)

    def _in_order(self, step_ids: Collection[str]) -> tuple[str, ...]:
        return tuple(sorted(step_ids, key=self.position.__getitem__))


def holds(value: Any, wanted: Any) -> bool:
    """Whether `wanted` stands in `value`."""
    return bool(value == wanted) or any(wanted in items for items, _ in _containers(value))


@by_identity(RESULTS_KEPT)
def _scalars_in(value: Any) -> frozenset[Any]:
    """The scalars inside plain JSON data."""
    if type(value) not in _NESTED:
        return frozenset([value])
    return frozenset(item for items, _ in _containers(value) for item in items if type(item) not in _NESTED)


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
