"""Clues from comparing what steps select by, and what they read, with what requirements ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.blame import mends
from pivot_dspy.blame.assignment import RequiredPredicate, agrees, closest
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import Predicate, Relation, canonical, compare, overlap, same_field, show, words
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.gradient import UNASKED
from pivot_dspy.trajectory import Step


def clues(context: BlameContext) -> Iterator[Clue]:
    """Steps that select by something else than is asked, omit what is asked, or use a value out of nowhere."""
    for step in context.steps:
        selection, asked = context.assignment.step_predicates[step.id], context.assignment.asked_of(step.id)
        for predicate in selection.predicates:
            yield from _of_predicate(context, step, predicate, asked, predicate in selection.arguments)
    for step_id, name in context.assignment.assigned.items():
        if name in context.violated or step_id in context.failed:
            yield from _omissions(context, step_id, name)
    yield from _unassigned(context)
    for name in context.violated:
        if name not in context.assignment.unassigned_requirements and name not in context.assignment.step_for:
            yield from _unattempted(context, name)
    yield from _wrong_bindings(context)


def _of_predicate(
    context: BlameContext, step: Step, predicate: Predicate, asked: Sequence[RequiredPredicate], is_argument: bool
) -> Iterator[Clue]:
    relations = {wanted: compare(predicate, wanted.predicate) for wanted in asked}
    alike = [wanted for wanted in asked if relations[wanted] is not None]
    same = [wanted for wanted in asked if relations[wanted] is Relation.SAME]
    best, _ = closest(predicate, alike)
    elsewhere = [] if is_argument else _asked_of_another_field(predicate, asked)
    if same:
        # Expressions compare exactly: a text in other letters than asked for finds nothing.
        if step.id in context.failed and not is_argument and _differs_in_letters(predicate, same):
            yield _contradiction(context, step, predicate, same)
    elif elsewhere:
        yield _contradiction(context, step, predicate, elsewhere)
    elif best is None:
        yield from _foreign(context, step, predicate, is_argument)
    elif best is Relation.LOOSER and predicate.op == "in":
        yield from _elements(context, step, predicate, alike)
    # To ask for more than is required may be a choice, but not by a number that stands nowhere.
    elif best is not Relation.TIGHTER or (isinstance(predicate.value, float) and not context.is_told(predicate.value)):
        yield _contradiction(context, step, predicate, alike)


def _asked_of_another_field(predicate: Predicate, asked: Sequence[RequiredPredicate]) -> list[RequiredPredicate]:
    same = [wanted for wanted in asked if wanted.predicate[1:3] == predicate[1:3]]
    return [wanted for wanted in same if not same_field(wanted.predicate, predicate)]


def _differs_in_letters(predicate: Predicate, same: Sequence[RequiredPredicate]) -> bool:
    asked = [wanted.predicate for wanted in same]
    return all(wanted.value == predicate.value and wanted.written != predicate.written for wanted in asked)


def _elements(
    context: BlameContext, step: Step, predicate: Predicate, alike: Sequence[RequiredPredicate]
) -> Iterator[Clue]:
    """A list is looser than each requirement where it serves several; each of its elements must serve one."""
    for written in predicate.written:
        single = Predicate(predicate.path, "==", canonical(written), written)
        if all(compare(single, wanted.predicate) is Relation.CONTRADICTS for wanted in alike):
            yield _contradiction(context, step, single, alike)


def _contradiction(
    context: BlameContext, step: Step, predicate: Predicate, alike: Sequence[RequiredPredicate]
) -> Clue:
    names = [wanted.requirement for wanted in alike]
    own = context.assignment.assigned.get(step.id)
    # The requirement that the step serves, else a violated one, says best what was meant.
    name, meant = min(alike, key=lambda w: (w.requirement != own, w.requirement not in context.violated))
    heavy = not context.violated.keys().isdisjoint(names) or context.troubled(step.id)
    weight = Weight.CONTRADICTION if heavy else Weight.DEVIATION
    text = f"it selects by {predicate}, and {name} asks {meant}"
    kind = "wrong_value" if same_field(predicate, meant) else "wrong_field"
    mended = mends.with_predicate(step, predicate, meant, context.toolbox, context.graph.position) if heavy else None
    return context.clue(step.id, kind, weight, text, f"{_correction(predicate, meant)} ({name})", names, mended)


def _correction(predicate: Predicate, meant: Predicate) -> str:
    if not same_field(predicate, meant):
        return f"compare {meant.field}, not {predicate.field}, with {show(predicate.written)}"
    if meant.op in (predicate.op, "in"):
        return f"use {show(meant.written)} instead of {show(predicate.written)} for {predicate.field}"
    return f"select by {meant} instead of {predicate}"


def _foreign(context: BlameContext, step: Step, predicate: Predicate, is_argument: bool) -> Iterator[Clue]:
    """A text that stands nowhere before the step; where requirements say what to select by, what none of them asks."""
    if step.is_submit or not context.has_task or context.is_told(predicate.value):
        return
    spec = context.toolbox.spec(step.tool)
    if is_argument and spec is not None and spec.draft:
        return  # what the planner may choose need stand nowhere
    selective = any(context.assignment.required.values())
    if selective and not is_argument:
        text = f"it selects by {predicate}, which neither the task nor a requirement asks"
        yield context.clue(step.id, "wrong_value", Weight.FOREIGN, text)
        return
    written = predicate.written if isinstance(predicate.written, tuple) else [predicate.written]
    worded = not selective and context.graph.changes(step.id)
    for value in written:
        # A number may have been worked out, and several words that are written somewhere may be chosen freely.
        if not isinstance(value, str) or (worded and " " in value):
            continue
        if not context.is_known(value, context.graph.position[step.id]):
            text = f"{show(value)} may be wrong: it is not known to stand anywhere that was read or asked"
            yield context.clue(step.id, "wrong_value", Weight.FOREIGN, text)


def _omissions(context: BlameContext, step_id: str, name: str) -> Iterator[Clue]:
    """What a requirement asks and the step that serves it does not select by, nor name outright."""
    assignment = context.assignment
    record = assignment.record(step_id)
    if record is not None and assignment.fits(record, name):
        return
    selections = [assignment.step_predicates[member] for member in context.graph.chains[step_id]]
    compared = [words(path) for selection in selections for path in selection.fields]
    for wanted in assignment.required[name]:
        if not any(overlap(field, wanted.words) for field in compared):
            text = f"it does not select by {wanted}, which {name} asks"
            yield context.clue(step_id, "wrong_value", Weight.OMISSION, text, f"also select by {wanted}", [name])


def _unassigned(context: BlameContext) -> Iterator[Clue]:
    """Steps that serve nothing, and requirements of a family that nothing serves."""
    assignment = context.assignment
    steps = list(assignment.unassigned_steps)
    if not assignment.unassigned_requirements:
        for step_id in steps:
            text = "it serves no requirement, and each has its step: it is one too many, or a requirement is missing"
            correction = "leave the step out if the task does not ask for it"
            yield context.clue(step_id, UNASKED, Weight.UNASKED, text, correction)
    for name in assignment.unassigned_requirements:
        family = next(family for family in assignment.families if name in family)
        if context.violated.keys().isdisjoint(family):
            continue
        asked, names = " and ".join(map(str, assignment.required[name])), [name, *family]
        if steps:
            text = f"what it takes serves no requirement, and nothing serves {name}"
            yield context.clue(steps.pop(0), "wrong_selection", Weight.LACKING, text, f"select by {asked}", names)
        else:
            correction = f"add a step that selects by {asked}"
            position = _position_for(context, name, family)
            yield context.missing(position, Weight.LACKING, f"no step attempts {name}", correction, names)


def _position_for(context: BlameContext, name: str, family: Sequence[str]) -> int:
    """Where a step for a requirement belongs: after a read for it that nothing uses, else in the family's order."""
    assignment, position = context.assignment, context.graph.position
    unread = assignment.unread_for(name)
    if unread is not None:
        return position[unread] + 1
    rank = family.index(name)
    before = [assignment.step_for[other] for other in family[:rank] if other in assignment.step_for]
    if before:
        return position[before[-1]] + 1
    after = [assignment.step_for[other] for other in family[rank:] if other in assignment.step_for]
    return position[assignment.own_chain(after[0])[0]] if after else context.end_of_acts


def _unattempted(context: BlameContext, name: str) -> Iterator[Clue]:
    """A requirement on its own for which a tool exists that takes what it asks, and which no call serves."""
    asked = context.assignment.required.get(name, ())
    changes = [context.assignment.step_predicates[step_id].predicates for step_id in context.graph.writes]
    if asked and all(any(agrees(change, wanted, Relation.TIGHTER) for change in changes) for wanted in asked):
        return
    for spec in context.toolbox.tools.values():
        fitting = [] if spec.effect == "read" else _taken_by(spec, asked)
        if not fitting:
            continue
        calls = [step.id for step in context.steps if step.tool == spec.name]
        selections = [context.assignment.step_predicates[step_id].predicates for step_id in calls]
        if any(agrees(predicates, wanted, Relation.TIGHTER) for predicates in selections for wanted in fitting):
            continue
        if () not in selections:  # else its arguments come from elsewhere, so that nothing can be said
            correction = f"add a {spec.name} step with {' and '.join(map(str, fitting))}"
            position = context.graph.position[calls[-1]] + 1 if calls else context.end_of_acts
            yield context.missing(position, Weight.LACKING, f"no step attempts {name}", correction, [name])
        return


def _taken_by(spec: ToolSpec, required: Sequence[Predicate]) -> list[Predicate]:
    """What a tool has parameters for, where that is at least half of what is asked."""
    parameters = [words((parameter,)) for parameter in spec.parameters]
    taken = [wanted for wanted in required if any(overlap(wanted.words, parameter) for parameter in parameters)]
    return taken if len(taken) * 2 >= len(required) else []


def _wrong_bindings(context: BlameContext) -> Iterator[Clue]:
    """Steps that read what contradicts their requirement."""
    assignment = context.assignment
    if not any(context.graph.reads[step.id] for step in context.steps if not step.is_submit):
        return  # a log of an agent that read results itself: bindings say nothing of what it used
    for step_id, name in assignment.assigned.items():
        if name in context.violated or context.troubled(step_id):
            yield from _strangers(context, step_id, name)


def _strangers(context: BlameContext, step_id: str, name: str) -> Iterator[Clue]:
    """The step by which a deciding step comes to read what was selected for another requirement."""
    assignment, graph = context.assignment, context.graph
    own = assignment.own_chain(step_id)
    required = [*assignment.asked_by([name]), *assignment.everywhere]
    for source, predicate in assignment.chain_predicates[step_id]:
        relation, meant = closest(predicate, required)
        if source in own or relation in (Relation.SAME, Relation.LOOSER):
            continue
        if closest(predicate, assignment.asked_of(source))[0] is not Relation.SAME:
            continue  # then the source itself is wrong
        reader = next(member for member in own if source in graph.chains[member])
        asked = f"asks {meant}" if meant is not None else "does not ask that"
        text = f"it reads {source}, which selects by {predicate}, and {name} {asked}"
        weight = Weight.DISCONNECTED if meant is None else Weight.CONTRADICTION
        yield context.clue(reader, "wrong_binding", weight, text, "read another step", [name])
