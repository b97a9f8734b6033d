"""Which step means to serve which requirement, judged by what both say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.blame.dependence import DependenceGraph, record_with
from pivot_dspy.blame.extraction import predicates_of
from pivot_dspy.blame.predicates import ANYHOW, Predicate, Relation, compare, meets, of_requirement, overlap, words
from pivot_dspy.requirements import Requirement, Requirements

_CREDIT: dict[Relation | None, float] = {
    Relation.SAME: 1.0, Relation.TIGHTER: 0.8, Relation.LOOSER: 0.5, Relation.DIFFERS: 0.1,
}
_ENOUGH = 0.2
_NAMING = frozenset({"==", "in", ANYHOW})
"""Operators that admit, or ask for, nothing but the values that they name."""
_FITS = 0.7
"""For a thing that is named outright and meets what is asked, as far as earlier results tell."""


class RequiredPredicate(NamedTuple):
    """A predicate that a requirement asks for."""

    requirement: str
    predicate: Predicate


class Assignment:
    """Pairs the steps that make a choice with the requirements that they mean to serve.

    Requirements of one check that says different things (one for each item, say) need a step each: they are a family.
    What all others ask is asked of every step.
    """

    def __init__(self, graph: DependenceGraph, requirements: Requirements) -> None:
        self._graph = graph
        self.record = cache(self._find_record)
        """What earlier steps saw of the thing that a step names outright, by the step's id."""
        known = {*graph.position, bindings.ITEM}
        self.step_predicates = {step.id: predicates_of(step, known) for step in graph.steps}
        self.chain_predicates = {
            step_id: [(name, predicate) for name in members for predicate in self.step_predicates[name].predicates]
            for step_id, members in graph.chains.items()
        }
        """What a step and all that it reads select by, with the step that says it."""
        self.required: dict[str, tuple[Predicate, ...]] = {
            item.id: () if self._tells_itself(item) else of_requirement(item) for item in requirements.items
        }
        """What each requirement asks of a selection."""
        by_check: dict[str, list[str]] = defaultdict(list)
        for item in requirements.items:
            if item.check and self.required[item.id]:
                by_check[item.check].append(item.id)
        self.families = [names for names in by_check.values() if len(names) > 1]
        """Ids of the requirements of each family."""
        self.in_families = list(chain.from_iterable(self.families))
        related = set(self.in_families)
        self.general = [name for name in self.required if name not in related]
        """Ids of the requirements on their own."""
        self.everywhere = self.asked_by(self.general)
        """What these ask, of every step."""
        acting = [step.id for step in graph.steps if not step.is_submit]
        members = set(acting)
        writes = [name for name in graph.writes if name in members]
        self.deciding_steps = writes or [name for name in acting if members.isdisjoint(graph.readers[name])]
        """Those that make the choices: all that write; where none does, those that only `submit` reads, or nothing."""
        self._deciding = frozenset(self.deciding_steps)
        self.assigned: dict[str, str] = {}
        """The requirement that a deciding step means to serve."""
        self.step_for: dict[str, str] = {}
        """The same the other way round: the deciding step that means to serve a requirement."""
        for family in self.families:
            self._assign(family)
        self.unassigned_requirements = [name for name in self.in_families if name not in self.step_for]
        """Requirements of a family that no deciding step attempts."""
        tools = {graph.step(step_id).tool for step_id in self.assigned}
        unassigned = [name for name in self.deciding_steps if name not in self.assigned]
        self.unassigned_steps = [name for name in unassigned if graph.step(name).tool in tools]
        """Deciding steps like those that serve a family, which serve nothing."""

    def asked_by(self, names: Iterable[str]) -> list[RequiredPredicate]:
        """What the requirements ask."""
        return [RequiredPredicate(name, predicate) for name in names for predicate in self.required[name]]

    def asked_of(self, step_id: str) -> list[RequiredPredicate]:
        """What may be asked of a step's selection: by the requirements that it and the deciding steps below it serve,
        or by all where one of them serves none."""
        deciding = [name for name in (step_id, *self._graph.below[step_id]) if name in self._deciding]
        served = dict.fromkeys(self.assigned.get(name, "") for name in deciding)
        return [*self.asked_by(self.in_families if not served or "" in served else served), *self.everywhere]

    def own_chain(self, step_id: str) -> tuple[str, ...]:
        """The steps that only this deciding step reads, directly or not, and itself; earliest first."""
        shared = self._read_by(other for other in self.deciding_steps if other != step_id) - {step_id}
        return tuple(name for name in self._graph.chains[step_id] if name not in shared)

    def unread_for(self, name: str) -> str | None:
        """The first read whose result nothing uses, though it is selected by what this requirement asks most of all."""
        graph, used = self._graph, self._read_by(self.deciding_steps)
        for step in graph.steps:
            if step.is_submit or graph.changes(step.id) or graph.readers[step.id]:
                continue
            predicates = [predicate for source, predicate in self.chain_predicates[step.id] if source not in used]
            agreed = {
                other: sum(agrees(predicates, wanted) for wanted in self.required[other])
                for other in [*self.in_families, *self.general]
            }
            if agreed[name] and max(agreed, key=agreed.__getitem__) == name:
                return step.id
        return None

    def fits(self, record: Mapping[str, Any], name: str) -> bool:
        """Whether a record meets all that a requirement asks of the fields that it has, and has some of them."""
        met = [meets(record, wanted) for wanted in self.required[name]]
        return any(met) and False not in met

    def _tells_itself(self, item: Requirement) -> bool:
        """Whether its check tells what fits, or what is wrong, so that no step has to select by what it says."""
        toolbox = self._graph.toolbox
        return item.check in toolbox.lookups or (item.check in toolbox.checks and not toolbox.checks[item.check].listed)

    def _read_by(self, step_ids: Iterable[str]) -> set[str]:
        """All that steps read, directly or not, and themselves."""
        return {name for step_id in step_ids for name in self._graph.chains[step_id]}

    def _assign(self, family: list[str]) -> None:
        """What the plan says itself; then the best pairs first, and of equal ones those whose places in their order are
        nearest."""
        for step_id in self.deciding_steps:
            said = [name for name in self._graph.step(step_id).serves if name in family and name not in self.step_for]
            if said and step_id not in self.assigned:
                self._pair(step_id, said[0])
        free = [name for name in self.deciding_steps if name not in self.assigned]
        wanted = _Wanted([self.required[name] for name in family])
        pairs = [
            (-score, abs(position - rank), position, rank)
            for position, step_id in enumerate(free)
            for rank, score in self._scores(step_id, family, wanted)
            if score > _ENOUGH
        ]
        for *_, position, rank in sorted(pairs):
            step_id, name = free[position], family[rank]
            if step_id not in self.assigned and name not in self.step_for:
                self._pair(step_id, name)

    def _pair(self, step_id: str, name: str) -> None:
        self.assigned[step_id] = name
        self.step_for[name] = step_id

    def _scores(self, step_id: str, family: list[str], wanted: _Wanted) -> Iterator[tuple[int, float]]:
        """How well a step serves each requirement of a family that it may serve: by what it selects by, else by what it
        names."""
        predicates = [predicate for _, predicate in self.chain_predicates[step_id]]
        record = self.record(step_id)
        if record is None or any(map(wanted.has_field, predicates)):
            yield from ((rank, _share(predicates, wanted.required[rank])) for rank in wanted.ranks(predicates))
        else:
            yield from ((rank, _FITS) for rank, name in enumerate(family) if self.fits(record, name))

    def _find_record(self, step_id: str) -> Mapping[str, Any] | None:
        graph, position = self._graph, self._graph.position[step_id]
        texts = [p.written for p in self.step_predicates[step_id].arguments if isinstance(p.written, str)]
        records = (record_with(graph.result(name), text) for text in texts for name in graph.holders(text, position))
        return next((record for record in records if record is not None), None)


class _Wanted:
    """What the requirements of a family ask, by the values that they name: with many of them a step that selects by a
    value is compared with few."""

    def __init__(self, required: Sequence[tuple[Predicate, ...]]) -> None:
        self.required = required
        self._fields = {words(predicate.path) for predicates in required for predicate in predicates}
        self._by_value: dict[Any, list[int]] = defaultdict(list)
        self._others: list[int] = []
        for rank, predicates in enumerate(required):
            for predicate in predicates:
                if predicate.deferred or predicate.op not in _NAMING:
                    self._others.append(rank)
                else:
                    for value in predicate.values:
                        self._by_value[value].append(rank)

    def has_field(self, mine: Predicate) -> bool:
        """Whether one of them asks something of the field of a predicate."""
        return any(overlap(words(mine.path), field) for field in self._fields)

    def ranks(self, predicates: Iterable[Predicate]) -> Iterable[int]:
        """The places in the family of those that the predicates may serve by more than `_ENOUGH`: the rest names none
        of their values, and is contradicted or differs throughout."""
        ranks = set(self._others)
        for mine in predicates:
            if mine.deferred or mine.op not in _NAMING:
                return range(len(self.required))
            ranks.update(rank for value in mine.values for rank in self._by_value.get(value, ()))
        return sorted(ranks)


def _share(predicates: list[Predicate], required: Sequence[Predicate]) -> float:
    """How much of what is required the predicates select by, in [0, 1]."""
    best = (max((_CREDIT.get(compare(mine, wanted), 0.0) for mine in predicates), default=0.0) for wanted in required)
    return sum(best) / max(1, len(required))


def closest(predicate: Predicate, asked: Iterable[RequiredPredicate]) -> tuple[Relation | None, Predicate | None]:
    """What is asked of a predicate's field that it agrees with best, and how well; None where nothing is."""
    pairs = [(relation, wanted) for _, wanted in asked if (relation := compare(predicate, wanted)) is not None]
    return min(pairs, key=itemgetter(0), default=(None, None))


def agrees(predicates: Iterable[Predicate], wanted: Predicate, loosest: Relation = Relation.SAME) -> bool:
    """Whether one of the predicates is as good as a required one."""
    relations = [compare(predicate, wanted) for predicate in predicates]
    return any(relation is not None and relation <= loosest for relation in relations)
