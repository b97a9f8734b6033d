"""Clues from comparing what steps say with what requirements ask: no observation is needed for these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.blame.assignment import Wanted, compare, fits
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import Predicate, Relation, canonical, overlap, same_field, show, words
from pivot_dspy.gradient import UNASKED
from pivot_dspy.trajectory import Step


def clues(inquiry: BlameContext) -> Iterator[Clue]:
    """Steps that select by something else than is asked, omit what is asked, or use a value out of nowhere."""
    for step in inquiry.steps:
        asked = inquiry.matching.asked_of(step.id)
        for fact in inquiry.matching.said[step.id].facts:
            yield from _of_fact(inquiry, step, fact, asked)
    for step_id, name in inquiry.matching.serves.items():
        yield from _omissions(inquiry, step_id, name)
    yield from _lacking(inquiry)
    yield from _unasked(inquiry)


# ------------------------------------------------------------------------------------------------------ contradictions


def _of_fact(inquiry: BlameContext, step: Step, fact: Predicate, asked: Sequence[Wanted]) -> Iterator[Clue]:
    stands = [(found, wanted) for wanted in asked if (found := compare(fact, wanted.fact)) is not None]
    if len({wanted.requirement for wanted in asked} - inquiry.matching.general) == 1:
        # What the one requirement says of a field goes before what is asked of everything.
        stands = [pair for pair in stands if pair[1].requirement not in inquiry.matching.general] or stands
    best = min((found for found, _ in stands), default=None)
    if best is Relation.SAME:
        yield from _letters(inquiry, step, fact, stands)
        return
    elsewhere = _elsewhere(inquiry, step, fact, asked)
    if elsewhere is not None:
        yield elsewhere
    elif best is None:
        if not step.is_submit and _foreign(inquiry, step, fact):
            text = f"{show(fact.written)} stands neither in the task nor in a requirement nor in an earlier result"
            weight = Weight.FOREIGN if _implicated(inquiry, step.id) else Weight.VARIATION
            yield inquiry.clue(step.id, "wrong_value", weight, text)
    elif best is Relation.TIGHTER:
        # To ask for more than is required may be a choice, but not by a number that stands nowhere.
        if isinstance(fact.value, float) and not inquiry.known.has(fact.value):
            yield _deviation(inquiry, step, fact, [wanted for _, wanted in stands])
    elif best is Relation.LOOSER and fact.op == "in":
        yield from _elements(inquiry, step, fact, [wanted for _, wanted in stands])
    else:
        yield _deviation(inquiry, step, fact, [wanted for _, wanted in stands])


def _letters(
    inquiry: BlameContext, step: Step, fact: Predicate, stands: Sequence[tuple[Relation, Wanted]]
) -> Iterator[Clue]:
    """Expressions compare exactly: a text in other letters than asked for finds nothing."""
    if step.id in inquiry.failed and isinstance(fact.written, str) and fact not in inquiry.matching.said[step.id].given:
        same = [wanted for found, wanted in stands if found is Relation.SAME]
        if all(wanted.fact.value == fact.value and wanted.fact.written != fact.written for wanted in same):
            yield _deviation(inquiry, step, fact, same)


def _elements(inquiry: BlameContext, step: Step, fact: Predicate, stands: Sequence[Wanted]) -> Iterator[Clue]:
    """A list is looser than each requirement where it serves several; each of its elements must serve one."""
    for written in fact.written:
        single = Predicate(fact.path, "==", canonical(written), written)
        if all(compare(single, wanted.fact) is Relation.CONTRADICTS for wanted in stands):
            yield _deviation(inquiry, step, single, stands)


def _deviation(inquiry: BlameContext, step: Step, fact: Predicate, stands: Sequence[Wanted]) -> Clue:
    names = [wanted.requirement for wanted in stands]
    own = inquiry.matching.serves.get(step.id)
    # The requirement that the step serves, else a violated one, says best what was meant.
    meant = min(stands, key=lambda w: (w.requirement != own, w.requirement not in inquiry.violated))
    heavy = any(name in inquiry.violated for name in names) or inquiry.troubled(step.id)
    weight = Weight.CONTRADICTION if heavy else Weight.DEVIATION
    text = f"it selects by {fact}, and {meant.requirement} asks {meant.fact}"
    return inquiry.clue(step.id, "wrong_value", weight, text, _instead(fact, meant), names)


def _instead(fact: Predicate, meant: Wanted) -> str:
    field = ".".join(fact.path)
    if fact.op == meant.fact.op or meant.fact.op == "in":
        return f"use {show(meant.fact.written)} instead of {show(fact.written)} for {field} ({meant.requirement})"
    return f"select by {meant.fact} instead of {fact} ({meant.requirement})"


def _elsewhere(inquiry: BlameContext, step: Step, fact: Predicate, asked: Sequence[Wanted]) -> Clue | None:
    """What is asked of one field is asked of another."""
    if fact in inquiry.matching.said[step.id].given:
        return None
    meant = [w for w in asked if w.fact[1:3] == fact[1:3] and not same_field(w.fact, fact)]
    if not meant:
        return None
    names = [wanted.requirement for wanted in meant]
    heavy = any(name in inquiry.violated for name in names) or inquiry.troubled(step.id)
    weight = Weight.CONTRADICTION if heavy else Weight.DEVIATION
    wrong, right = ".".join(fact.path), ".".join(meant[0].fact.path)
    text = f"it selects by {fact}, and {names[0]} asks {meant[0].fact}"
    correction = f"compare {right}, not {wrong}, with {show(fact.written)} ({names[0]})"
    return inquiry.clue(step.id, "wrong_field", weight, text, correction, names)


def _implicated(inquiry: BlameContext, step_id: str) -> bool:
    """Whether the step or one below it failed, or brought in what a violated requirement is about."""
    return inquiry.troubled(step_id) or any(one in inquiry.involved for one in (step_id, *inquiry.graph.below(step_id)))


def _foreign(inquiry: BlameContext, step: Step, fact: Predicate) -> bool:
    if not inquiry.known.complete or inquiry.known.has(fact.value):
        return False
    if fact not in inquiry.matching.said[step.id].given:
        return True
    spec = inquiry.toolbox.tools.get(step.tool)
    schema = spec.parameters.get(fact.path[0], {}) if spec is not None else {}
    if not isinstance(fact.written, str) or "enum" in schema or (spec is not None and fact.written in spec.details):
        return False
    return inquiry.graph.source_of(fact.written, inquiry.graph.position[step.id]) is None


# ----------------------------------------------------------------------------------------------------------- omissions


def _omissions(inquiry: BlameContext, step_id: str, name: str) -> Iterator[Clue]:
    matching = inquiry.matching
    if name not in inquiry.violated and step_id not in inquiry.failed:
        return
    facts = [fact for _, fact in matching.facts(step_id)]
    fields = [path for member in inquiry.graph.chain(step_id) for path in matching.said[member].fields]
    texts = [text for member in inquiry.graph.chain(step_id) for text in matching.said[member].texts]
    if not any(compare(fact, wanted) is not None for fact in facts for wanted in matching.wanted[name]):
        record = matching.record(step_id)  # it names what it takes outright
        if record is None or not fits(record, matching.wanted[name]):
            text, correction = f"what it takes does not meet {name}", _select(matching.wanted[name])
            yield inquiry.clue(step_id, "wrong_selection", Weight.OMISSION, text, correction, [name])
        return
    for wanted in matching.wanted[name]:
        covered = any(same_field(Predicate(path, "", None), wanted) for path in fields) or any(
            str(wanted.value) in text for text in texts
        )
        if not covered:
            text = f"it does not select by {wanted}, which {name} asks"
            yield inquiry.clue(step_id, "wrong_value", Weight.OMISSION, text, f"also select by {wanted}", [name])


def _select(facts: Sequence[Predicate]) -> str:
    return f"select by {' and '.join(map(str, facts))}"


# -------------------------------------------------------------------------------------------------------- missing steps


def _lacking(inquiry: BlameContext) -> Iterator[Clue]:
    matching = inquiry.matching
    idle = list(matching.idle)
    for name in matching.lacking:
        if not inquiry.suspected(name):
            continue
        shown = [one for family in matching.families if name in family for one in family if one in inquiry.violated]
        # Of a thing that no result shows, only the check can tell whether it serves.
        strays = [one for one in idle if name in inquiry.violated or matching.record(one) is not None]
        if strays:
            step_id = strays[0]
            idle.remove(step_id)
            text = f"what it takes serves no requirement, and nothing serves {name}"
            correction = _select(matching.wanted[name])
            yield inquiry.clue(step_id, "wrong_selection", Weight.LACKING, text, correction, [name, *shown])
        elif name in inquiry.violated or len(idle) < len(matching.lacking):
            text = f"no step attempts {name}"
            correction = f"add a step that selects by {' and '.join(map(str, matching.wanted[name]))}"
            yield inquiry.missing(_place(inquiry, name), Weight.LACKING, text, correction, [name, *shown])
    for name in inquiry.violated:
        if name not in matching.lacking and name not in matching.serves.values():
            yield from _unattempted(inquiry, name)


def _unasked(inquiry: BlameContext) -> Iterator[Clue]:
    """Steps that take something though every requirement like theirs has its step: plan and requirements disagree."""
    if not inquiry.matching.lacking:
        for step_id in inquiry.matching.idle:
            text = "it serves no requirement, and each has its step: it is one too many, or a requirement is missing"
            correction = "leave the step out if the task does not ask for it"
            yield inquiry.clue(step_id, UNASKED, Weight.UNASKED, text, correction)


def _place(inquiry: BlameContext, name: str) -> int:
    """Where a step for a requirement belongs: after a read for it that nothing uses, else in their own order."""
    matching, graph = inquiry.matching, inquiry.graph
    unused = next((one for one in matching.unused if matching.meant_by(one) == name), None)
    if unused is not None:
        return graph.position[unused] + 1
    family = next(family for family in matching.families if name in family)
    rank = family.index(name)
    for earlier in reversed(family[:rank]):
        step_id = matching.step_for(earlier)
        if step_id is not None:
            return _after_loose_ends(inquiry, graph.position[step_id] + 1)
    for later in family[rank + 1 :]:
        step_id = matching.step_for(later)
        if step_id is not None:
            return graph.position[matching.exclusive(step_id)[0]]
    return inquiry.end


def _after_loose_ends(inquiry: BlameContext, position: int) -> int:
    """The position after the steps from `position` on that only lead to results that nothing uses."""
    matching, graph = inquiry.matching, inquiry.graph
    loose = {one for unused in matching.unused for one in graph.chain(unused)}
    loose -= {one for chooser in matching.choosers for one in graph.chain(chooser)}
    while position < len(inquiry.steps) and inquiry.steps[position].id in loose:
        position += 1
    return position


def _unattempted(inquiry: BlameContext, name: str) -> Iterator[Clue]:
    """A requirement on its own for which a tool exists that takes what it asks, and which no call serves."""
    facts = inquiry.matching.wanted.get(name, ())
    for spec in inquiry.toolbox.tools.values():
        taken = [words((parameter,)) for parameter in spec.parameters]
        fitting = [fact for fact in facts if any(overlap(fact.words, one) for one in taken)]
        if spec.effect == "read" or not fitting or len(fitting) * 2 < len(facts):
            continue
        calls = [step for step in inquiry.steps if step.tool == spec.name]
        said = [fact for step in calls for fact in inquiry.matching.said[step.id].facts]
        if not calls or not any(compare(one, fact) in (Relation.SAME, Relation.TIGHTER)
                                for fact in fitting for one in said):
            near = [step for step in calls if not inquiry.matching.said[step.id].facts]
            if near:  # its arguments come from elsewhere, so that nothing can be said
                return
            text = f"no step attempts {name}"
            correction = f"add a {spec.name} step with {' and '.join(map(str, fitting))}"
            position = inquiry.graph.position[calls[-1].id] + 1 if calls else inquiry.end
            yield inquiry.missing(position, Weight.LACKING, text, correction, [name])
            return
