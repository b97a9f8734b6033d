"""What a call may rest on: what was told, and what stands in the results that came before it.

What a step was given before it stood in any result is no evidence: a search gives its own words back, and so does the
world after they were written into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.expressions import content
from pivot_dspy.identity_cache import RESULTS_KEPT, by_identity
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import MadeCall, RequiredCall, comparable
from pivot_dspy.told import Told, figure_of, moment_of, read, tells, tells_id, tells_words
from pivot_dspy.trajectory import Execution, Observation, Step

POLICY = "policy"
"""The told text of this name says who acts and by what rules."""

_ID = re.compile(r"(?:(?:^|_)ids?_?|[a-z]I[Dd]s?)$|^ID$")
"""Names of arguments and fields that hold an id."""
_ROOT = "\0"
"""Stands for the step in the paths of a result that is kept."""
_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Record(NamedTuple):
    """A record in a result."""

    fields: Mapping[str, Any]
    others: Sequence[Any]
    """The list that it stands in; empty where it stands in none."""


class Occurrence(NamedTuple):
    """Where a value stands in a result."""

    path: str
    key: str
    """The field that holds it; empty where it is the whole result."""
    records: tuple[Record, ...]
    """Those that hold it, the outermost first."""
    stale: bool


class ResultText(NamedTuple):
    """A text in a result."""

    step: str
    text: str
    stale: bool


class _LeafIndex:
    """Where the values of a result stand, worked out once: many calls look into it, each for a few values only."""

    def __init__(self, value: Any) -> None:
        self.leaves = [*leaves(value, _ROOT)]
        self._first: dict[str, int] = {}
        # A list for each value would be far more objects, all of which the garbage collector visits again and again.
        self._next: list[int | None] = [None] * len(self.leaves)
        for position in reversed(range(len(self.leaves))):
            same = _same(self.leaves[position][-1])
            self._next[position] = self._first.get(same)
            self._first[same] = position

    def __contains__(self, same: str) -> bool:
        return same in self._first

    def places(self, same: str) -> Iterator[tuple[str, str, tuple[Record, ...], Any]]:
        """Those of its leaves that mean the same, in their order."""
        position = self._first.get(same)
        while position is not None:
            yield self.leaves[position]
            position = self._next[position]

    @cached_property
    def texts(self) -> Sequence[tuple[str, Told]]:
        """Those of its leaves that are texts, and what they tell."""
        return [(leaf, Told(leaf)) for *_, leaf in self.leaves if isinstance(leaf, str)]


class _Taken(NamedTuple):
    """The result of a step."""

    step: str
    stale: bool
    held: _LeafIndex
    given: Sequence[str]
    """The texts that a step which changes something was given: a text of its result that repeats one tells nothing."""

    def places(self, same: str) -> Iterator[Occurrence]:
        for path, key, records, _ in self.held.places(same):
            yield Occurrence(path.replace(_ROOT, self.step, 1), key, records, self.stale)


@dataclass
class Grounds:
    """What was told, and what was read before a call."""

    told: Mapping[str, str]
    quotes: Sequence[str]
    required: Mapping[str, Any]
    steps: tuple[str, ...]
    """Ids of the steps before the call."""
    results: dict[str, Any] = field(default_factory=dict)
    taken: list[_Taken] = field(default_factory=list)
    """What the results hold, in the order of their steps."""
    own: set[str] = field(default_factory=set)
    """What was given to a step before it stood in any result: that it does afterwards tells nothing."""
    years: set[int] = field(default_factory=set)
    """Of the results that are themselves a date, such as today's."""
    stale: set[str] = field(default_factory=set)
    """Ids of the steps that ran after a call that waits for commit."""

    def asked(self, path: str, value: Any) -> str:
        """What tells a value that stands at this place in the arguments; empty where nothing does."""
        facts = [(source, read(text)) for source, text in self._told_texts()]
        years = self.years.union(*(fact.years for _, fact in facts))
        times = frozenset[tuple[int, int]]().union(*(fact.times for _, fact in facts))
        number = figure_of(value) if is_id(name_of(path)) else None
        for source, fact in facts:
            if tells_id(fact, number) if number else tells(fact, value, years=years, times=times):
                return source
        fixed = [_same(leaf) for leaf in scalars(self.required.get(re.split(r"[.\[]", path)[0]))]
        return "requirement" if not isinstance(value, bool) and _same(value) in fixed else ""

    @property
    def durations(self) -> dict[float, str]:
        """Those that are told, in minutes, each in the words that tell it."""
        return {minutes: words for _, text in self._told_texts() for minutes, words in read(text).durations}

    def _told_texts(self) -> Iterator[tuple[str, str]]:
        yield from self.told.items()
        yield from (("quote", quote) for quote in self.quotes)

    def whole(self, name: str, value: Any) -> Occurrence | None:
        """Where a value stands whole: the latest place, fresh and in a record that is named, if it can be. A number is
        an id in both places or in neither."""
        places = self._places(_same(value))
        if figure_of(value) is not None:
            places = [place for place in places if is_id(place.key) == is_id(name)]
        fresh = [place for place in reversed(places) if not place.stale]
        return next((place for place in fresh if self.names(place, value)), next(iter(fresh or places[::-1]), None))

    def within(self, value: Any) -> ResultText | None:
        """The latest text in which a value stands among others, a fresh one before a stale one."""
        least = len(str(value).strip())
        holding = (
            ResultText(result.step, text, result.stale)
            for result in reversed(self.taken)
            for text, told in reversed(result.held.texts)
            if len(text) >= least and tells(told, value, years=self.years)
            if not self.is_own(text) and not any(tells(told, given) for given in result.given)
        )
        return max(holding, key=lambda it: not it.stale, default=None)

    def _places(self, same: str) -> list[Occurrence]:
        """Where a value stands in the results, in the order of these."""
        return [] if same in self.own else [place for result in self.taken for place in result.places(same)]

    def names(self, place: Occurrence, value: Any) -> bool:
        """Whether what was told names the record in which a value stands: by another text in it, which stands in no
        other record of its list. The policy says who acts, and names nothing."""
        facts = [read(text) for source, text in self._told_texts() if source != POLICY]
        for record in reversed(place.records):
            texts = _texts(record.fields) - {_same(value)}
            named = [text for text in texts if any(tells_words(fact, text) for fact in facts)]
            beside = [_texts(other) for other in record.others if named and other is not record.fields]
            if any(not any(text in others for others in beside) for text in named):
                return True
            if record.others:  # what is around a list is of all its records
                return False
        return False

    def is_own(self, value: Any) -> bool:
        return _same(value) in self.own

    def take_in(self, step: str, value: Any, given: Sequence[str], stale: bool) -> None:
        """Take in what a step gave; of one that changes something, no text that only repeats what was `given`."""
        self.results[step] = value
        if stale:
            self.stale.add(step)
        if moment_of(value) is not None:
            self.years |= read(str(value)).years
        held = _kept_index(value) if isinstance(value, (dict, list)) else _LeafIndex(value)
        self.taken.append(_Taken(step, stale, held, given))


class RunGrounds:
    """What the calls of one run rest on, gathered once: they are asked about in the order of their steps."""

    def __init__(self, execution: Execution, toolbox: Toolbox) -> None:
        self.execution = execution
        self._toolbox = toolbox
        self._gathered = Grounds({}, (), {}, ())
        self._position = 0

    def of(
        self, call: MadeCall, texts: Mapping[str, str], requirement: RequiredCall | None, quotes: Sequence[str]
    ) -> Grounds:
        """What a call rests on; it holds until a later call is asked about.

        Raises:
            TrajectoryError: the call is of no step of the execution.
        """
        trajectory = self.execution.trajectory
        position = trajectory.index(call.step)
        if position < self._position:
            self._gathered, self._position = Grounds({}, (), {}, ()), 0
        for step in trajectory.steps[self._position : position]:
            self._take_in(step)
        self._position = position
        required = requirement.args if requirement is not None else {}
        before = trajectory.ids[:position]
        return replace(self._gathered, told=texts, quotes=quotes, required=required, steps=before)

    def _take_in(self, step: Step) -> None:
        grounds = self._gathered
        seen, spec = self.execution.by_step.get(step.id), self._toolbox.spec(step.tool)
        if seen is None or spec is None:
            return
        given = [leaf for leaf in _given(step, seen) if not is_empty(leaf)]
        fresh = {_same(leaf) for leaf in given} - grounds.own
        grounds.own.update(same for same in fresh if not any(same in result.held for result in grounds.taken))
        if seen.ok:
            changes = spec.effect != "read"
            grounds.take_in(step.id, seen.value, [str(leaf) for leaf in given] if changes else [], seen.stale)


def _given(step: Step, seen: Observation) -> Iterator[Any]:
    """What a step was given, bindings resolved as far as that is known."""
    if seen.args is not None:
        yield from scalars(seen.args)
        return
    yield from (leaf for leaf in scalars(step.args) if not isinstance(leaf, str))
    for text in bindings.strings(step.args):
        yield from content(text).literals if "$" in text else (text,)
    if step.for_each is not None and isinstance(seen.value, list):
        yield from scalars([pair["item"] for pair in seen.value])


_kept_index = by_identity(RESULTS_KEPT)(_LeafIndex)


def leaves(
    value: Any, path: str, key: str = "", records: tuple[Record, ...] = (), others: Sequence[Any] = ()
) -> Iterator[tuple[str, str, tuple[Record, ...], Any]]:
    """Every text and number inside `value`, with its path, the field that holds it and the records around it; and keys,
    which may be names or ids."""
    if isinstance(value, Mapping):
        records = (*records, Record(value, others))
        for name, item in value.items():
            yield f"keys({path})", "id", records, name
            yield from leaves(item, member(path, name), name, records)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, f"{path}[{place}]", key, records, value)
    elif value is not None and not isinstance(value, bool):
        yield path, key, records, value


def _texts(value: Any) -> set[str]:
    """The texts inside `value`, figures and the names of fields left out."""
    found = (leaf for path, _, _, leaf in leaves(value, "") if not (path.startswith("keys(") and _KEY.fullmatch(leaf)))
    return {_same(leaf) for leaf in found if isinstance(leaf, str) and figure_of(leaf) is None}


def member(path: str, key: str) -> str:
    """The path of a field."""
    return f"{path}.{key}" if _KEY.fullmatch(key) else f'{path}."{key}"'


def _same(value: Any) -> str:
    """Equal for values that mean the same: texts without regard to case, numbers by value, dates in whatever form."""
    return str(comparable(value)).casefold()


def name_of(path: str) -> str:
    """The name of the innermost argument or field that a path leads to."""
    return re.sub(r"\[\d+\]", "", path).rpartition(".")[2]


def is_id(name: str) -> bool:
    """Whether an argument or field of this name holds an id."""
    return _ID.search(name) is not None


def is_empty(value: Any) -> bool:
    """Whether an argument says nothing."""
    return value is None or value in ("", [], {})
