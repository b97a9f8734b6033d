"""Clues from comparing what steps say with what requirements ask: no observation is needed for these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.blame.facts import Fact, Relation, canonical, same_field, show, words
from pivot_dspy.blame.inquiry import Clue, Inquiry, Weight
from pivot_dspy.blame.matching import Wanted, compare, fits
from pivot_dspy.trajectory import Step


def clues(inquiry: Inquiry) -> Iterator[Clue]:
    """Steps that select by something else than is asked, omit what is asked, or use a value out of nowhere."""
    for step in inquiry.steps:
        asked = inquiry.matching.asked_of(step.id)
        for fact in inquiry.matching.said[step.id].facts:
            yield from _of_fact(inquiry, step, fact, asked)
    for step_id, name in inquiry.matching.serves.items():
        yield from _omissions(inquiry, step_id, name)
    yield from _lacking(inquiry)


# ------------------------------------------------------------------------------------------------------ contradictions


def _of_fact(inquiry: Inquiry, step: Step, fact: Fact, asked: Sequence[Wanted]) -> Iterator[Clue]:
    stands = [(found, wanted) for wanted in asked if (found := compare(fact, wanted.fact)) is not None]
    if not stands:
        yield from _unasked(inquiry, step, fact, asked)
        return
    best = min(found for found, _ in stands)
    if best in (Relation.SAME, Relation.TIGHTER):
        if best is Relation.TIGHTER and fact.op not in ("==", "in") and not inquiry.known.has(fact.value):
            yield _deviation(inquiry, step, fact, best, [wanted for _, wanted in stands])
        return
    if best is Relation.LOOSER and fact.op == "in":
        yield from _elements(inquiry, step, fact, [wanted for _, wanted in stands])
    else:
        yield _deviation(inquiry, step, fact, best, [wanted for _, wanted in stands])


def _elements(inquiry: Inquiry, step: Step, fact: Fact, stands: Sequence[Wanted]) -> Iterator[Clue]:
    """A list is looser than each requirement where it serves several; each of its elements must serve one."""
    for written in fact.written:
        single = Fact(fact.path, "==", canonical(written), written)
        if all(compare(single, wanted.fact) is Relation.CONTRADICTS for wanted in stands):
            yield _deviation(inquiry, step, single, Relation.CONTRADICTS, stands)


def _deviation(
    inquiry: Inquiry, step: Step, fact: Fact, relation: Relation, stands: Sequence[Wanted]
) -> Clue:
    names = [wanted.requirement for wanted in stands]
    own = inquiry.matching.serves.get(step.id)
    # The requirement that the step serves, else a violated one, says best what was meant.
    meant = min(stands, key=lambda w: (w.requirement != own, w.requirement not in inquiry.violated))
    heavy = relation >= Relation.LOOSER and (
        any(name in inquiry.violated for name in names) or inquiry.troubled(step.id)
    )
    weight = Weight.CONTRADICTION if heavy else Weight.DEVIATION
    text = f"it selects by {fact}, and {meant.requirement} asks {meant.fact}"
    return inquiry.clue(step.id, "wrong_value", weight, text, _instead(fact, meant), names)


def _instead(fact: Fact, meant: Wanted) -> str:
    field = ".".join(fact.path)
    if fact.op == meant.fact.op or meant.fact.op == "in":
        return f"use {show(meant.fact.written)} instead of {show(fact.written)} for {field} ({meant.requirement})"
    return f"select by {meant.fact} instead of {fact} ({meant.requirement})"


def _unasked(inquiry: Inquiry, step: Step, fact: Fact, asked: Sequence[Wanted]) -> Iterator[Clue]:
    """A fact about a field of which nothing is asked: the right value for another field, or a value from nowhere."""
    compared = fact.path in inquiry.matching.said[step.id].fields and not _is_argument(step, fact)
    elsewhere = [wanted for wanted in asked if wanted.fact.value == fact.value and wanted.fact.op == fact.op]
    if compared and elsewhere:
        meant = elsewhere[0]
        names = [wanted.requirement for wanted in elsewhere]
        heavy = any(name in inquiry.violated for name in names) or inquiry.troubled(step.id)
        weight = Weight.CONTRADICTION if heavy else Weight.DEVIATION
        field, right = ".".join(fact.path), ".".join(meant.fact.path)
        text = f"it selects by {fact}, and {meant.requirement} asks {meant.fact}"
        correction = f"compare {right}, not {field}, with {show(fact.written)} ({meant.requirement})"
        yield inquiry.clue(step.id, "wrong_field", weight, text, correction, names)
    elif not step.is_submit and _foreign(inquiry, step, fact, compared):
        text = f"{show(fact.written)} stands neither in the task nor in a requirement nor in an earlier result"
        yield inquiry.clue(step.id, "wrong_value", Weight.FOREIGN, text)


def _is_argument(step: Step, fact: Fact) -> bool:
    return len(fact.path) == 1 and fact.path[0] in step.args


def _foreign(inquiry: Inquiry, step: Step, fact: Fact, compared: bool) -> bool:
    if not inquiry.known.complete or inquiry.known.has(fact.value):
        return False
    if compared:
        return True
    schema = getattr(inquiry.toolbox.tools.get(step.tool), "parameters", {}).get(fact.path[0], {})
    if not isinstance(fact.written, str) or "enum" in schema:
        return False
    return inquiry.graph.source_of(fact.written, inquiry.graph.position[step.id]) is None


# ----------------------------------------------------------------------------------------------------------- omissions


def _omissions(inquiry: Inquiry, step_id: str, name: str) -> Iterator[Clue]:
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
        covered = any(same_field(Fact(path, "", None), wanted) for path in fields) or any(
            str(wanted.value) in text for text in texts
        )
        if not covered:
            text = f"it does not select by {wanted}, which {name} asks"
            yield inquiry.clue(step_id, "wrong_value", Weight.OMISSION, text, f"also select by {wanted}", [name])


def _select(facts: Sequence[Fact]) -> str:
    return f"select by {' and '.join(map(str, facts))}"


# -------------------------------------------------------------------------------------------------------- missing steps


def _lacking(inquiry: Inquiry) -> Iterator[Clue]:
    matching = inquiry.matching
    idle = list(matching.idle)
    for name in matching.lacking:
        # A check may let another step's choice serve this one, and so show the lack elsewhere in the family.
        shown = [one for family in matching.families if name in family for one in family if one in inquiry.violated]
        if not shown:
            continue
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
    for step_id, name in matching.serves.items():
        if name in inquiry.violated and _unused_read(inquiry, step_id):
            position = inquiry.graph.position[step_id] + 1
            text = f"nothing uses the result of {step_id}, which serves {name}"
            yield inquiry.missing(position, Weight.LACKING, text, f"act on ${step_id}", [name])
    for name in inquiry.violated:
        if name not in matching.lacking and name not in matching.serves.values():
            yield from _unattempted(inquiry, name)


def _place(inquiry: Inquiry, name: str) -> int:
    """Where a step for a requirement belongs: after the step for the one before it, as the requirements are ordered."""
    matching, graph = inquiry.matching, inquiry.graph
    family = next(family for family in matching.families if name in family)
    rank = family.index(name)
    for earlier in reversed(family[:rank]):
        step_id = matching.step_for(earlier)
        if step_id is not None:
            return graph.position[step_id] + 1
    for later in family[rank + 1 :]:
        step_id = matching.step_for(later)
        if step_id is not None:
            own = [one for one in graph.chain(step_id) if all(r == step_id for r in graph.readers[one])]
            return min(graph.position[one] for one in [*own, step_id])
    return inquiry.end


def _unused_read(inquiry: Inquiry, step_id: str) -> bool:
    return step_id not in inquiry.graph.writes and not inquiry.graph.readers[step_id] and (
        inquiry.execution.trajectory.submit is not None or bool(inquiry.graph.writes)
    )


def _unattempted(inquiry: Inquiry, name: str) -> Iterator[Clue]:
    """A requirement on its own for which a tool exists that takes what it asks, and which no call serves."""
    facts = inquiry.matching.wanted.get(name, ())
    for spec in inquiry.toolbox.tools.values():
        taken = [words((parameter,)) for parameter in spec.parameters]
        fitting = [fact for fact in facts if any(fact.words <= one or one <= fact.words for one in taken)]
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
