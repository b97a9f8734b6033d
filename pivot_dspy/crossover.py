"""Crossover: joins the good parts of two trajectories that were run into a new one, without a language model.

Steps of the two are paired by what they say and what they are there for, in order. Of each pair the step that proved
better is taken, the first parent's where neither did; what it reads comes along. SE-Agent, arXiv 2508.02085, asks a
model for its crossover; this one is by rule.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, count

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
    """A trajectory with what its run showed, each by id of the step."""

    trajectory: Trajectory
    grades: Mapping[str, Grade] = Field(default_factory=dict)
    """How good each step proved; a step without a grade counts as one that ran."""
    purposes: Mapping[str, str] = Field(default_factory=dict)
    """The requirement that a step is there to meet."""
    writes: Mapping[str, str] = Field(default_factory=dict)
    """What each step that changes the environment did: equal texts for the same change, empty where not known."""
    needs: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Steps that a step depends on by more than its bindings, such as writes before a read of the same state."""


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
    digests: dict[str, str] = {}
    for step in trajectory.steps:
        text = _text(_with_names(step, digests, digests.keys(), ()))
        digests[step.id] = f"h{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return digests


def distance(one: Trajectory, other: Trajectory) -> float:
    """How much two trajectories differ, from 0 (the same, but for names) to 1: the steps to insert, drop or replace."""
    mine, theirs = list(contents(one).values()), list(contents(other).values())
    # A pair of equal steps saves an insertion and a deletion, any other pair one of the two.
    saved = _alignment([[1.0 + (text == beside) for beside in theirs] for text in mine])[0][0]
    return (len(mine) + len(theirs) - saved) / max(len(mine), len(theirs), 1)


@dataclass(frozen=True, eq=False)
class _Part:
    """A step of one of the parents, with what decides whether it is taken."""

    side: int
    """0 for the first parent, 1 for the second."""
    step: Step
    before: frozenset[str]
    """Ids of the steps before it."""
    reads: tuple[str, ...]
    """The earlier steps that its bindings name."""
    needs: tuple[str, ...]
    content: str
    effect: tuple[str, frozenset[str]]
    """What it does, and after which writes."""
    words: frozenset[str]
    grade: Grade
    purpose: str | None
    change: str | None
    """What it did to the environment, empty where that is not known; None where it changes nothing."""


def _parts(parent: Parent, side: int) -> dict[str, _Part]:
    """The steps of a parent, by id."""
    steps, digests = parent.trajectory.steps, contents(parent.trajectory)
    ends = {step.id for step in steps if step.is_submit}
    parts = {}
    for position, step in enumerate(steps):
        before = frozenset(parent.trajectory.ids[:position])
        earlier = before - ends
        named = bindings.dependencies([step.for_each, step.args, step.expects], earlier)
        anonymous = _with_names(step, digests, before, ())  # what is read counts, not its name
        needs = parent.needs.get(step.id, ())
        parts[step.id] = _Part(
            side=side,
            step=step,
            before=before,
            reads=tuple(name for name in named if name in earlier),
            needs=needs,
            content=digests[step.id],
            effect=(digests[step.id], frozenset(digests[name] for name in needs)),
            words=frozenset(_WORD.findall(json.dumps([anonymous.args, anonymous.for_each], ensure_ascii=False))),
            grade=parent.grades.get(step.id, Grade.RAN),
            purpose=parent.purposes.get(step.id),
            change=parent.writes.get(step.id),
        )
    return parts


class _Crossing:
    def __init__(self, first: Parent, second: Parent) -> None:
        self.first = first.trajectory
        self.parts = (_parts(first, 0), _parts(second, 1))
        self.slots = _align(*([*parts.values()] for parts in self.parts))
        pairs = [slot for slot in self.slots if len(slot) == 2]
        self.twins = {part: twin for pair in pairs for part, twin in (pair, pair[::-1])}
        self.taken: set[_Part] = set()
        self.sources: dict[tuple[_Part, str], _Part] = {}

    def child(self) -> Trajectory:
        self._choose()
        if not any(part.side for part in self.taken):
            return self.first
        self._bring_along()
        return Trajectory(steps=tuple(self._child_steps()), parent=self.first.id, operator="crossover")

    def _choose(self) -> None:
        """Takes the better step of each pair, and of the others those that are good or needed."""
        for mine, theirs in (slot for slot in self.slots if len(slot) == 2):
            better = theirs.grade > mine.grade and theirs.effect != mine.effect
            self.taken.add(theirs if better else mine)
        met = {None, *(part.purpose for part in self.taken)}
        for (part,) in (slot for slot in self.slots if len(slot) == 1):
            good, lacking = part.grade > Grade.BLAMED, part.purpose not in met
            # What only the second parent has must be there for something; what others read comes along with them.
            serves = lacking and good if part.side else lacking or good
            if serves or part.step.is_submit:
                self.taken.add(part)
                met.add(part.purpose)

    def _bring_along(self) -> None:
        """Gives every taken step what it reads and depends on, taking more steps where it must."""
        # In order of position, for names must not decide: what one step takes along another reads as well.
        queue = sorted(self.taken, key=lambda part: (part.side, len(part.before)))
        for part in queue:  # it grows meanwhile
            own = self.parts[part.side]
            more = []
            for name in part.reads:
                self.sources[part, name] = source = self._source(part, own[name])
                more.append(source)
            for needed in (own[name] for name in part.needs):
                if self.twins.get(needed) not in self.taken and needed.grade > Grade.BLAMED:
                    more.append(needed)
            fresh = [needed for needed in dict.fromkeys(more) if needed not in self.taken]
            self.taken.update(fresh)
            queue += fresh

    def _source(self, reader: _Part, read: _Part) -> _Part:
        """The step whose result stands for that of `read`: itself, or the one that was taken in its place."""
        twin = self.twins.get(read)
        if read in self.taken or twin is None or twin not in self.taken:
            return read
        both_write = None not in (read.change, twin.change) and read.step.tool == twin.step.tool
        replaced = twin.content == read.content or reader.grade == Grade.UNTRIED or both_write
        return twin if replaced else read

    def _child_steps(self) -> Iterator[Step]:
        """The taken steps in order, under names of their own."""
        used, other = (set(parts) for parts in self.parts)
        known = used | other
        names: dict[_Part, str] = {}
        done: dict[str, _Part] = {}
        for part in (part for part in chain(*self.slots) if part in self.taken):
            sources = {name: names[self.sources[part, name]] for name in part.reads}
            step = _with_names(part.step, sources, part.before, known)
            keys = [_text(step), *([part.change] if part.change else [])]
            earlier = [done[key] for key in keys if key in done and done[key].side != part.side]
            if earlier:
                names[part] = names[earlier[0]]
                continue
            names[part] = name = self._name(part, used)
            used.add(name)
            known.add(name)
            if part.change is not None:  # what was read before it need not stand after it
                done = {key: doer for key, doer in done.items() if doer.change is not None}
            done |= dict.fromkeys(keys, part)
            yield step.model_copy(update={"id": name})

    def _name(self, part: _Part, used: Collection[str]) -> str:
        """The id of a step in the child: of the second parent's, that of the step which it replaces, or a new one."""
        twin = self.twins.get(part)
        if part.side == 0:
            return part.step.id
        if twin is not None and twin not in self.taken:
            return twin.step.id
        numbered = (f"{part.step.id[:56]}_{number}" for number in count(2))
        return next(name for name in chain([part.step.id], numbered) if name not in used)


def _align(first: Sequence[_Part], second: Sequence[_Part]) -> list[tuple[_Part, ...]]:
    """The steps of both in one order, those that are versions of one step side by side; `submit` comes last."""
    rows, columns = ([part for part in parts if not part.step.is_submit] for parts in (first, second))
    start, end = _alike_around(rows, columns)
    slots: list[tuple[_Part, ...]] = [*zip(rows[:start], columns[:start], strict=True)]
    slots += _align_differing(rows[start : len(rows) - end], columns[start : len(columns) - end])
    slots += zip(rows[len(rows) - end :], columns[len(columns) - end :], strict=True)
    ends = [next((part for part in parts if part.step.is_submit), None) for parts in (first, second)]
    last = tuple(part for part in ends if part is not None)
    return [*slots, last] if last else slots


def _alike_around(rows: Sequence[_Part], columns: Sequence[_Part]) -> tuple[int, int]:
    """How many steps at the beginning, and at the end, are the same in both: nothing weighs more than to pair these.

    At the end only those count that are like no other step, which might be paired as well.
    """
    pairs = list(zip(rows, columns, strict=False))
    start = next((place for place, (mine, theirs) in enumerate(pairs) if mine.content != theirs.content), len(pairs))
    counts = [Counter(part.content for part in parts[start:]) for parts in (rows, columns)]
    rest = zip(reversed(rows[start:]), reversed(columns[start:]), strict=False)
    end = 0
    for mine, theirs in rest:
        if mine.content != theirs.content or any(count[mine.content] > 1 for count in counts):
            break
        end += 1
    return start, end


def _align_differing(rows: Sequence[_Part], columns: Sequence[_Part]) -> list[tuple[_Part, ...]]:
    """The steps of both in one order, so that versions of one step side by side weigh most."""
    weights = [[_likeness(row, column) for column in columns] for row in rows]
    totals = _alignment(weights)
    slots: list[tuple[_Part, ...]] = []
    i = j = 0
    while i < len(rows) and j < len(columns):
        if weights[i][j] and totals[i][j] == totals[i + 1][j + 1] + weights[i][j]:
            slots.append((rows[i], columns[j]))
            i, j = i + 1, j + 1
        elif totals[i][j] == totals[i + 1][j]:
            slots.append((rows[i],))
            i += 1
        else:
            slots.append((columns[j],))
            j += 1
    return [*slots, *((part,) for part in (*rows[i:], *columns[j:]))]


def _alignment(weights: Sequence[Sequence[float]]) -> list[list[float]]:
    """At [i][j], how much pairs of rows from i and columns from j on, in order, weigh together at most."""
    width = max(map(len, weights), default=0)
    totals = [[0.0] * (width + 1) for _ in range(len(weights) + 1)]
    for i in reversed(range(len(weights))):
        for j in reversed(range(width)):
            totals[i][j] = max(totals[i + 1][j], totals[i][j + 1], totals[i + 1][j + 1] + weights[i][j])
    return totals


def _likeness(one: _Part, other: _Part) -> float:
    """How surely two steps are versions of one; 0 where they are not."""
    if one.content == other.content:
        return 5.0
    same_purpose = one.purpose is not None and one.purpose == other.purpose
    if not same_purpose and None not in (one.purpose, other.purpose):
        return 0.0
    common = len(one.words & other.words) / max(1, len(one.words | other.words))
    if same_purpose or (one.change and one.change == other.change):
        return 3.0 + common
    if one.step.tool != other.step.tool:
        return common if common >= _ALIKE else 0.0
    only_read = one.change is None and other.change is None
    return 1.0 + common if only_read or common >= _AKIN else 0.0


def _with_names(step: Step, names: Mapping[str, str], own: Collection[str], known: Collection[str]) -> Step:
    """The step with its references under new names; text that was no binding among `own` is none among `known`."""

    def rename(text: str) -> str:
        if bindings.is_binding(text, own):
            return bindings.rename(text, names)
        return bindings.escape(text.replace("$$", "$")) if bindings.is_binding(text, known) else text

    texts = {"args": step.args, "for_each": step.for_each, "expects": step.expects}
    return step.model_copy(update=bindings.map_strings(texts, rename))


def _text(step: Step) -> str:
    """What a step does, whatever it is called."""
    return json.dumps(step.content() | {"id": ""}, sort_keys=True)
