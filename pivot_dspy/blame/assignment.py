"""Which step means to serve which requirement, judged by what both say."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.blame.dependence import DependenceGraph, record_with
from pivot_dspy.blame.extraction import StepPredicates, predicates_of
from pivot_dspy.blame.predicates import Predicate, Relation, canonical, of_requirement, relation, same_field, words
from pivot_dspy.requirements import Requirement, Requirements

_CREDIT = {Relation.SAME: 1.0, Relation.TIGHTER: 0.8, Relation.LOOSER: 0.5, Relation.DIFFERS: 0.1}
_ELSEWHERE = 0.3
"""For the value of a requirement, compared with another field."""
_ENOUGH = 0.2
_OPEN = 0.3
"""For a requirement that no step attempts, when asking what an unused result was meant for."""
_FITS = 0.5
"""For a thing that is named outright and meets what is asked, as far as earlier results tell."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Wanted(NamedTuple):
    """A fact that a requirement asks for."""

    requirement: str
    fact: Predicate


@lru_cache(maxsize=16384)
def compare(mine: Predicate, wanted: Predicate) -> Relation | None:
    """How two facts stand to each other, None where they are about different fields."""
    if not same_field(mine, wanted):
        return None
    # A number that is passed as `quantity=2` is compared with a bound only where the names are alike.
    if mine.op == "==" and isinstance(mine.value, float) and wanted.op in "<=>=":
        return relation(mine, wanted) if words(mine.path[-1:]) == words(wanted.path[-1:]) else None
    return relation(mine, wanted)


class Known:
    """The words and numbers that a planner was given: requirements, task, and what else it saw."""

    def __init__(self, requirements: Iterable[Requirement], task: str, known: str) -> None:
        said = [item.text + json.dumps(item.args, ensure_ascii=False, default=str) for item in requirements]
        self.text = "\n".join([*said, task, known]).casefold()
        # Numbers only of what is asked: records hold too many.
        self.numbers = {_number(match) for match in _NUMBER.findall("\n".join([*said, task]))}
        self.complete = bool(task or known)

    def has(self, value: Any) -> bool:
        if isinstance(value, frozenset):
            return all(self.has(item) for item in value)
        return value in self.numbers if isinstance(value, float) else str(value) in self.text


class Assignment:
    """Pairs the steps that make a choice with the requirements that they mean to serve.

    Requirements of one check that says different things (one for each item, say) need a step each: they are a family.
    What all others ask is asked of every step.

    Attributes:
        wanted: what each requirement asks.
        families: ids of the requirements of each family.
        general: ids of the others.
        everywhere: what these ask, of every step.
        choosers: ids of the steps that make the choices: those that write; where none does, those that only `submit`
            reads, or that nothing does.
        serves: the requirement that a chooser means to serve.
        lacking: requirements of a family that no chooser attempts.
        idle: choosers like those that serve a family, which serve nothing.
        unused: ids of the reads that select something and that nothing reads, though other steps act.
    """

    def __init__(self, graph: DependenceGraph, requirements: Requirements) -> None:
        self._graph = graph
        self._facts: dict[str, list[tuple[str, Predicate]]] = {}
        self._asked: dict[str, list[Wanted]] = {}
        self._records: dict[str, Mapping[str, Any] | None] = {}
        self.said: dict[str, StepPredicates] = {step.id: predicates_of(step, graph.position) for step in graph.steps}
        self.wanted = {item.id: of_requirement(item) for item in requirements.items}
        self.families = self._families(requirements)
        in_family = {name for family in self.families for name in family}
        self.everywhere = tuple(
            Wanted(name, fact) for name, facts in self.wanted.items() if name not in in_family for fact in facts
        )
        self.general = frozenset(self.wanted) - in_family
        self.choosers, self.unused = self._choosers()
        self.serves: dict[str, str] = {}
        self.lacking: list[str] = []
        self.idle: list[str] = []
        for family in self.families:
            self._assign(family)
        self._server = {name: step_id for step_id, name in self.serves.items()}

    def step_for(self, requirement_id: str) -> str | None:
        """The chooser that means to serve a requirement."""
        return self._server.get(requirement_id)

    def facts(self, step_id: str) -> list[tuple[str, Predicate]]:
        """What a step and all that it reads select by, with the step that says it."""
        if step_id not in self._facts:
            chain = self._graph.chain(step_id)
            self._facts[step_id] = [(name, fact) for name in chain for fact in self.said[name].facts]
        return self._facts[step_id]

    def asked_of(self, step_id: str) -> list[Wanted]:
        """What may be asked of a step's selection: by the requirements that it and the choosers below it serve."""
        if step_id not in self._asked:
            self._asked[step_id] = self._asked_of(step_id)
        return self._asked[step_id]

    def _asked_of(self, step_id: str) -> list[Wanted]:
        below = [name for name in (step_id, *self._graph.below(step_id)) if name in self.choosers]
        if below and all(name in self.serves for name in below):
            names: Iterable[str] = dict.fromkeys(self.serves[name] for name in below)
        else:
            names = (name for family in self.families for name in family)
        return [*(Wanted(name, fact) for name in names for fact in self.wanted[name]), *self.everywhere]

    def _families(self, requirements: Requirements) -> list[list[str]]:
        groups: dict[str, list[str]] = {}
        for item in requirements.items:
            if item.check and self.wanted[item.id]:
                groups.setdefault(item.check, []).append(item.id)
        return [names for names in groups.values() if len(names) > 1]

    def exclusive(self, step_id: str) -> tuple[str, ...]:
        """The steps that only this chooser reads, directly or not, and itself; earliest first."""
        shared = {one for other in self.choosers if other != step_id for one in self._graph.chain(other)}
        return tuple(one for one in self._graph.chain(step_id) if one not in shared or one == step_id)

    def meant_by(self, unused: str) -> str | None:
        """The requirement that an unused result was likely meant for, by what it alone is selected by."""
        used = {one for chooser in self.choosers for one in self._graph.chain(chooser)}
        facts = [fact for source, fact in self.facts(unused) if source not in used]
        best, found = 0.0, None
        for family in [*self.families, *([name] for name in self.general)]:
            weights = self._weights(family)
            for name in family:
                held = sum(
                    weights[wanted] for wanted in self.wanted[name]
                    if any(compare(fact, wanted) is Relation.SAME for fact in facts)
                )  # fmt: skip
                held += _OPEN if held and name in self.lacking else 0.0
                if held > best:
                    best, found = held, name
        return found

    def _choosers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        graph = self._graph
        acting = [step for step in graph.steps if not step.is_submit]
        writes = tuple(step.id for step in acting if step.id in graph.writes)
        submit = {step.id for step in graph.steps if step.is_submit}
        unread = [step.id for step in acting if step.id not in writes and submit.issuperset(graph.readers[step.id])]
        if not writes:
            return tuple(unread), ()
        return writes, tuple(one for one in unread if not graph.readers[one] and self.facts(one))

    def _assign(self, family: list[str]) -> None:
        free = [name for name in self.choosers if name not in self.serves]
        weights = self._weights(family)
        pairs = []
        for place, step_id in enumerate(free):
            facts = [fact for _, fact in self.facts(step_id)]
            record = self.record(step_id) if not any(self._about(fact, family) for fact in facts) else None
            for rank, name in enumerate(family):
                if record is not None:
                    got = _ENOUGH + _FITS if fits(record, self.wanted[name]) else 0.0
                else:
                    got = _share(facts, self.wanted[name], weights)
                if got > _ENOUGH:
                    pairs.append((-got, abs(place - rank), place, rank, step_id, name))
        open_, taken = set(family), set()
        for *_, step_id, name in sorted(pairs):
            if name in open_ and step_id not in taken:
                self.serves[step_id] = name
                open_.discard(name)
                taken.add(step_id)
        tools = {self._tool(name) for name in taken}
        self.lacking += [name for name in family if name in open_]
        self.idle += [name for name in free if name not in taken and self._tool(name) in tools]

    def _weights(self, family: list[str]) -> dict[Predicate, float]:
        """What few requirements of a family ask tells more than what all of them ask."""
        asked = Counter(fact[:3] for name in family for fact in set(self.wanted[name]))
        return {fact: 1.0 / asked[fact[:3]] for name in family for fact in self.wanted[name]}

    def _about(self, fact: Predicate, family: list[str]) -> bool:
        return any(same_field(fact, wanted) for name in family for wanted in self.wanted[name])

    def record(self, step_id: str) -> Mapping[str, Any] | None:
        """What earlier steps saw of the thing that a step names outright."""
        if step_id not in self._records:
            self._records[step_id] = self._record(step_id)
        return self._records[step_id]

    def _record(self, step_id: str) -> Mapping[str, Any] | None:
        position = self._graph.position[step_id]
        for fact in self.said[step_id].given:
            if isinstance(fact.written, str):
                for step in self._graph.steps[:position]:
                    observation = self._graph.observed.get(step.id)
                    found = record_with(observation.value, fact.written) if observation and observation.ok else None
                    if found is not None:
                        return found
        return None

    def _tool(self, step_id: str) -> str:
        return self._graph.steps[self._graph.position[step_id]].tool


def fits(record: Mapping[str, Any], wanted: Iterable[Predicate]) -> bool:
    """Whether a record meets all of the facts about fields that it has, and has some of them."""
    held = [held for fact in wanted if (held := _holds_in(record, fact)) is not None]
    return bool(held) and all(held)


def _holds_in(record: Mapping[str, Any], wanted: Predicate) -> bool | None:
    value: Any = record
    for part in wanted.path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, (list, tuple)):
        return any(canonical(item) == wanted.value for item in value)
    if value is None or isinstance(value, (bool, Mapping)):
        return None
    return relation(Predicate(wanted.path, "==", canonical(value), value), wanted) in (Relation.SAME, Relation.TIGHTER)


def _share(facts: Collection[Predicate], wanted: Collection[Predicate], weights: Mapping[Predicate, float]) -> float:
    """How much of what is wanted the facts select by, in [0, 1]."""
    whole = sum(weights[fact] for fact in wanted)
    return sum(weights[fact] * _credit(facts, fact) for fact in wanted) / whole if whole else 0.0


def _credit(facts: Iterable[Predicate], wanted: Predicate) -> float:
    best = 0.0
    for fact in facts:
        stands = compare(fact, wanted)
        if stands is not None:
            if stands is Relation.SAME:
                return _CREDIT[stands]
            best = max(best, _CREDIT.get(stands, 0.0))
        elif fact.value == wanted.value:
            best = max(best, _ELSEWHERE)
    return best


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:  # a version or a date
        return float("nan")
