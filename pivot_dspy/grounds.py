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
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.expressions import content
from pivot_dspy.identity_cache import RESULTS_KEPT, by_identity
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import MadeCall, RequiredCall
from pivot_dspy.result_index import Record, ResultIndex, leaves, meaning
from pivot_dspy.told import Told, figure_of, moment_of, read, tells, tells_id, tells_words
from pivot_dspy.trajectory import Execution, Observation, Step

POLICY = "policy"
"""The told text of this name says who acts and by what rules."""

_ID = re.compile(r"(?:(?:^|_)ids?_?|[a-z]I[Dd]s?)$|^ID$")
"""Names of arguments and fields that hold an id."""


class Occurrence(NamedTuple):
    """Where a value stands in a result."""

    path: str
    key: str
    """The field that holds it; empty where it is the whole result."""
    records: tuple[Record, ...]
    """Those that hold it, the outermost first."""
    stale: bool


class ResultText(NamedTuple):
    """Where a text stands in a result."""

    step: str
    stale: bool


@dataclass(frozen=True)
class _PastStep:
    """What a step was given, and what it gave."""

    step: Step
    seen: Observation
    changes: bool
    """Whether it may have changed something."""

    @cached_property
    def held(self) -> ResultIndex:
        """What its result holds; nothing, where it gave none."""
        value = self.seen.value if self.seen.ok else None
        return _kept_index(value) if isinstance(value, (dict, list)) else ResultIndex(value)

    @cached_property
    def given(self) -> Sequence[Any]:
        """The values in its arguments, bindings resolved as far as that is known."""
        return [leaf for leaf in _given(self.step, self.seen) if not is_empty(leaf)]

    @cached_property
    def given_meanings(self) -> frozenset[str]:
        return frozenset(map(meaning, self.given))

    def repeats(self, told: Told) -> bool:
        """Whether a text of its result only repeats what it was given, and so tells nothing."""
        return self.changes and any(tells(told, str(leaf)) for leaf in self.given)


@dataclass
class Grounds:
    """What was told, and what was read before a call."""

    told: Mapping[str, str]
    quotes: Sequence[str]
    required: Mapping[str, Any]
    steps: tuple[str, ...]
    """Ids of the steps before the call."""
    results: dict[str, Any] = field(default_factory=dict)
    past: list[_PastStep] = field(default_factory=list)
    """The steps before the call, in their order."""
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
        fixed = [meaning(leaf) for leaf in scalars(self.required.get(re.split(r"[.\[]", path)[0]))]
        return "requirement" if not isinstance(value, bool) and meaning(value) in fixed else ""

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
        places = self._places(value)
        if figure_of(value) is not None:
            places = [place for place in places if is_id(place.key) == is_id(name)]
        fresh = [place for place in reversed(places) if not place.stale]
        return next((place for place in fresh if self.names(place, value)), next(iter(fresh or places[::-1]), None))

    def within(self, value: Any) -> ResultText | None:
        """The latest result with a text in which a value stands among others, a fresh one before a stale one."""
        least = len(str(value).strip())
        holding = (
            ResultText(past.step.id, past.seen.stale)
            for past in reversed(self.past)
            for text, told in past.held.texts
            if len(text) >= least and tells(told, value, years=self.years)
            if not self.is_own(text) and not past.repeats(told)
        )
        return max(holding, key=lambda it: not it.stale, default=None)

    def _places(self, value: Any) -> list[Occurrence]:
        """Where a value stands in the results, in the order of these."""
        same = meaning(value)
        return [
            Occurrence(leaf.path, leaf.key, leaf.records, past.seen.stale)
            for past in ([] if self.is_own(value) else self.past)
            for leaf in past.held.places(same, past.step.id)
        ]

    def names(self, place: Occurrence, value: Any) -> bool:
        """Whether what was told names the record in which a value stands: by another text in it, which stands in no
        other record of its list. The policy says who acts, and names nothing."""
        facts = [read(text) for source, text in self._told_texts() if source != POLICY]
        for record in reversed(place.records):
            texts = _texts(record.fields) - {meaning(value)}
            named = [text for text in texts if any(tells_words(fact, text) for fact in facts)]
            beside = [_texts(other) for other in record.others if named and other is not record.fields]
            if any(not any(text in others for others in beside) for text in named):
                return True
            if record.others:  # what is around a list is of all its records
                return False
        return False

    def is_own(self, value: Any) -> bool:
        """Whether a value was given to a step before it stood in any result: that it does afterwards tells nothing."""
        same = meaning(value)
        for past in self.past:
            if same in past.given_meanings:
                return True
            if same in past.held:
                return False
        return False

    def take_in(self, step: Step, seen: Observation, spec: ToolSpec) -> None:
        """Take in what a step was given, and what it gave."""
        self.past.append(_PastStep(step, seen, changes=spec.effect != "read"))
        if not seen.ok:
            return
        self.results[step.id] = seen.value
        if seen.stale:
            self.stale.add(step.id)
        if moment_of(seen.value) is not None:
            self.years |= read(str(seen.value)).years


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
        seen, spec = self.execution.by_step.get(step.id), self._toolbox.spec(step.tool)
        if seen is not None and spec is not None:
            self._gathered.take_in(step, seen, spec)


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


_kept_index = by_identity(RESULTS_KEPT)(ResultIndex)


def _texts(value: Any) -> set[str]:
    """What the texts inside `value` mean, figures and the names of fields left out."""
    texts = (leaf.value for leaf in leaves(value, "") if isinstance(leaf.value, str) and not leaf.is_word)
    return {meaning(text) for text in texts if figure_of(text) is None}


def name_of(path: str) -> str:
    """The name of the innermost argument or field that a path leads to."""
    return re.sub(r"\[\d+\]", "", path).rpartition(".")[2]


def is_id(name: str) -> bool:
    """Whether an argument or field of this name holds an id."""
    return _ID.search(name) is not None


def is_empty(value: Any) -> bool:
    """Whether an argument says nothing."""
    return value is None or value in ("", [], {})
