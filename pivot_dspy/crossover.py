"""Crossover: joins the good parts of two trajectories that were run into a new one, without a language model.

Steps of the two are paired by what they say and what they are there for, in order. Of each pair the step that proved
better is taken, the first parent's where neither did; what it reads comes along. SE-Agent, arXiv 2508.02085, asks a
model for its crossover; this one is by rule.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import Field

from pivot_dspy import bindings
from pivot_dspy.trajectory import Frozen, Step, Trajectory

_WORD = re.compile(r"\w+")
_ALIKE = 0.5
"""Share of common words from which on steps of different tools are taken for versions of one step."""
_AKIN = 0.3
"""The same for steps that write by one tool; those that read by one tool need not be alike."""


class Grade(IntEnum):
    """What a run showed of a step."""

    BLAMED = 0
    """It failed, or is blamed for what went wrong."""
    UNTRIED = 1
    """It failed or did not run because of another step."""
    RAN = 2
    """It ran, and nothing speaks against it."""
    SERVES = 3
    """It ran, and a requirement that depends on it is met."""


class Parent(Frozen):
    """A trajectory with what its run showed, each by id of the step.

    Attributes:
        grades: how good each step proved; a step without a grade counts as one that ran.
        purposes: the requirement that a step is there to meet.
        writes: what each step that changes the environment did, such that equal texts are the same change; empty where
            it is not known.
        needs: steps that a step depends on by more than its bindings, such as writes before a read of the same state.
    """

    trajectory: Trajectory
    grades: Mapping[str, Grade] = Field(default_factory=dict)
    purposes: Mapping[str, str] = Field(default_factory=dict)
    writes: Mapping[str, str] = Field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    def grade(self, step_id: str) -> Grade:
        return self.grades.get(step_id, Grade.RAN)

    @cached_property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """The earlier steps that each step's bindings name."""
        ends = {step.id for step in self.trajectory.steps if step.is_submit}
        return {step.id: _reads(step, self.before[step.id] - ends) for step in self.trajectory.steps}

    @cached_property
    def before(self) -> Mapping[str, frozenset[str]]:
        """Ids of the steps before each step."""
        ids = self.trajectory.ids
        return {step_id: frozenset(ids[:place]) for place, step_id in enumerate(ids)}

    @cached_property
    def contents(self) -> Mapping[str, str]:
        return contents(self.trajectory)


def crossover(first: Parent, second: Parent) -> Trajectory:
    """The first parent's trajectory with what the second one does better.

    In the child every step is one of the parents', each parent's steps keep their order, and `submit` comes last and
    once. A binding that resolved to an earlier step still does: to the same step or an equal one; where that step
    writes, or the reader is untried, to the step that took its place. The same change of the environment is not made
    twice, unless one parent does. Where the second parent does nothing better, the child equals the first.
    """
    return _Crossing(first, second).child()


def contents(trajectory: Trajectory) -> dict[str, str]:
    """What each step does, whatever the steps are called: equal texts for steps that do the same to the same results.

    >>> one = Trajectory(steps=(Step(id="a", tool="find"), Step(id="b", tool="add", args={"x": "$a.id"})))
    >>> two = Trajectory(steps=(Step(id="c", tool="find"), Step(id="d", tool="add", args={"x": "$c.id"})))
    >>> list(contents(one).values()) == list(contents(two).values())
    True
    """
    found: dict[str, str] = {}
    for step in trajectory.steps:
        said = json.dumps(_renamed(step, found, found.keys(), ()).content() | {"id": ""}, sort_keys=True)
        found[step.id] = f"h{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    return found


def distance(one: Trajectory, other: Trajectory) -> float:
    """How much two trajectories differ, from 0 (the same, but for names) to 1: the steps to insert, drop or replace."""
    mine, theirs = list(contents(one).values()), list(contents(other).values())
    row = list(range(len(theirs) + 1))
    for place, text in enumerate(mine, start=1):
        last, row = row, [place]
        for n, beside in enumerate(theirs, start=1):
            row.append(min(last[n] + 1, row[n - 1] + 1, last[n - 1] + (text != beside)))
    return row[-1] / max(len(mine), len(theirs), 1)


class _Segment(NamedTuple):
    """A step of one of the parents, 0 or 1."""

    side: int
    id: str


class _Crossing:
    def __init__(self, first: Parent, second: Parent) -> None:
        self.parents = (first, second)
        self.steps = {
            _Segment(side, step.id): step
            for side, parent in enumerate(self.parents)
            for step in parent.trajectory.steps
        }
        self.slots = [
            tuple(_Segment(n, i) for n, i in enumerate(pair) if i is not None) for pair in _pairs(first, second)
        ]
        self.twins: dict[_Segment, _Segment] = {}
        for slot in self.slots:
            if len(slot) == 2:
                self.twins |= {slot[0]: slot[1], slot[1]: slot[0]}
        self.taken: set[_Segment] = set()
        self.target: dict[tuple[_Segment, str], _Segment] = {}

    def child(self) -> Trajectory:
        first, second = self.parents
        self._choose()
        if not any(part.side for part in self.taken):
            return first.trajectory
        self._bring_along()
        steps = tuple(self._written())
        return Trajectory(steps=steps, parent=first.trajectory.id, operator="crossover")

    def _choose(self) -> None:
        """Takes the better step of each pair, and of the others those that are good or needed."""
        self.taken.update(self._better(*slot) for slot in self.slots if len(slot) == 2)
        met = {self._purpose(part) for part in self.taken}
        for part in (slot[0] for slot in self.slots if len(slot) == 1):
            purpose = self._purpose(part)
            lacking = purpose is not None and purpose not in met
            good = self._grade(part) > Grade.BLAMED
            # What only the second parent has must be there for something; what others read comes along with them.
            wanted = (lacking and good) if part.side else (lacking or good)
            if wanted or self.steps[part].is_submit:
                self.taken.add(part)
                met.add(purpose)

    def _better(self, one: _Segment, other: _Segment) -> _Segment:
        return other if self._grade(other) > self._grade(one) and self._does(one) != self._does(other) else one

    def _does(self, part: _Segment) -> tuple[str, frozenset[str]]:
        """What a step does, and after which writes."""
        parent = self.parents[part.side]
        return self._content(part), frozenset(parent.contents[name] for name in parent.needs.get(part.id, ()))

    def _bring_along(self) -> None:
        """Gives every taken step what it reads and depends on, taking more steps where it must."""
        todo = deque(sorted(self.taken))
        while todo:
            part = todo.popleft()
            parent = self.parents[part.side]
            for name in parent.reads[part.id]:
                self.target[part, name] = needed = self._source(part, _Segment(part.side, name))
                if needed not in self.taken:
                    self.taken.add(needed)
                    todo.append(needed)
            for name in parent.needs.get(part.id, ()):
                needed = _Segment(part.side, name)
                present = needed in self.taken or self.twins.get(needed) in self.taken
                if not present and self._grade(needed) > Grade.BLAMED:
                    self.taken.add(needed)
                    todo.append(needed)

    def _source(self, reader: _Segment, read: _Segment) -> _Segment:
        """The step whose result stands for that of `read`: itself, or the one that was taken in its place."""
        twin = self.twins.get(read)
        if read in self.taken or twin is None or twin not in self.taken:
            return read
        if self._content(twin) == self._content(read) or self._grade(reader) == Grade.UNTRIED:
            return twin
        changes = all(part.id in self.parents[part.side].writes for part in (read, twin))
        return twin if changes and self.steps[read].tool == self.steps[twin].tool else read

    def _written(self) -> Iterator[Step]:
        """The taken steps in order, under names of their own."""
        used = set(self.parents[0].trajectory.ids)
        known = used | set(self.parents[1].trajectory.ids)
        names: dict[_Segment, str] = {}
        done: dict[str, _Segment] = {}
        for part in (part for slot in self.slots for part in slot if part in self.taken):
            parent, twin = self.parents[part.side], self.twins.get(part)
            sources = {name: names[self.target[part, name]] for name in parent.reads[part.id]}
            step = _renamed(self.steps[part], sources, parent.before[part.id], known)
            does = json.dumps(step.content() | {"id": ""}, sort_keys=True)
            change = parent.writes.get(part.id, "")
            same = next((done[key] for key in (does, change) if key in done and done[key].side != part.side), None)
            if same is not None:
                names[part] = names[same]
                continue
            name = part.id
            if part.side and twin is not None and twin not in self.taken:
                name = twin.id
            elif part.side:
                name = _unused(part.id, used)
            used.add(name)
            known.add(name)
            names[part] = name
            if part.id in parent.writes:  # what was read before it need not stand after it
                done = {key: one for key, one in done.items() if one.id in self.parents[one.side].writes}
            done |= {key: part for key in (does, change) if key}
            yield step.model_copy(update={"id": name})

    def _grade(self, part: _Segment) -> Grade:
        return self.parents[part.side].grade(part.id)

    def _purpose(self, part: _Segment) -> str | None:
        return self.parents[part.side].purposes.get(part.id)

    def _content(self, part: _Segment) -> str:
        return self.parents[part.side].contents[part.id]


def _pairs(first: Parent, second: Parent) -> list[tuple[str | None, str | None]]:
    """Ids of the steps of both in one order, those of versions of one step side by side; `submit` comes last."""
    rows, columns = ([_StepSummary.of(parent, step) for step in parent.trajectory.steps if not step.is_submit]
                     for parent in (first, second))  # fmt: skip
    likeness = [[_likeness(one, other) for other in columns] for one in rows]
    best = [[0.0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    for i in range(len(rows) - 1, -1, -1):
        for j in range(len(columns) - 1, -1, -1):
            paired = best[i + 1][j + 1] + likeness[i][j] if likeness[i][j] else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], paired)
    found: list[tuple[str | None, str | None]] = []
    i = j = 0
    while i < len(rows) or j < len(columns):
        together = i < len(rows) and j < len(columns)
        if together and likeness[i][j] and best[i][j] == best[i + 1][j + 1] + likeness[i][j]:
            found.append((rows[i].id, columns[j].id))
            i, j = i + 1, j + 1
        elif i < len(rows) and (not together or best[i][j] == best[i + 1][j]):
            found.append((rows[i].id, None))
            i += 1
        else:
            found.append((None, columns[j].id))
            j += 1
    ends = tuple(parent.trajectory.submit for parent in (first, second))
    if any(ends):
        found.append((ends[0].id if ends[0] else None, ends[1].id if ends[1] else None))
    return found


class _StepSummary(NamedTuple):
    """What is compared of a step."""

    id: str
    tool: str
    words: frozenset[str]
    content: str
    purpose: str | None
    writes: bool
    change: str

    @classmethod
    def of(cls, parent: Parent, step: Step) -> _StepSummary:
        same = _renamed(step, parent.contents, parent.before[step.id], ())  # what is read counts, not its name
        words = frozenset(_WORD.findall(json.dumps([same.args, same.for_each], ensure_ascii=False)))
        purpose, writes = parent.purposes.get(step.id), step.id in parent.writes
        return cls(step.id, step.tool, words, parent.contents[step.id], purpose, writes, parent.writes.get(step.id, ""))


def _likeness(one: _StepSummary, other: _StepSummary) -> float:
    """How surely two steps are versions of one; 0 where they are not."""
    if one.content == other.content:
        return 5.0
    if one.purpose is not None and other.purpose is not None and one.purpose != other.purpose:
        return 0.0
    every = one.words | other.words
    common = len(one.words & other.words) / len(every) if every else 1.0
    if (one.purpose is not None and one.purpose == other.purpose) or (one.change and one.change == other.change):
        return 3.0 + common
    if one.tool != other.tool:
        return common if common >= _ALIKE else 0.0
    return 1.0 + common if common >= _AKIN or not (one.writes or other.writes) else 0.0


def _reads(step: Step, before: frozenset[str]) -> tuple[str, ...]:
    named = bindings.dependencies([step.for_each, step.args, step.expects], before)
    return tuple(name for name in named if name in before)


def _renamed(step: Step, names: Mapping[str, str], own: Collection[str], known: Collection[str]) -> Step:
    """The step with its references under new names; text that was no binding among `own` is none among `known`."""

    def text(said: str) -> str:
        if "$" not in said or bindings.is_binding(said, own):
            return bindings.renamed(said, names)
        return bindings.escape(said.replace("$$", "$")) if bindings.is_binding(said, known) else said

    fields = {name: text(said) for name in ("for_each", "expects") if (said := getattr(step, name))}
    return step.model_copy(update={**fields, "args": _mapped(step.args, text)})


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def _unused(name: str, used: Collection[str]) -> str:
    """`name`, or with a number after it, such that it is none of `used`."""
    number, found = 2, name
    while found in used:
        number, found = number + 1, f"{name[:56]}_{number}"
    return found
