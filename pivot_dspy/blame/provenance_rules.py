"""Clues from where things came from: what steps read, and values that a failed check is about."""

from __future__ import annotations

from collections.abc import Iterator

from pivot_dspy.blame.assignment import closest
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import Relation, compare
from pivot_dspy.requirements import Finding


def binding_clues(context: BlameContext) -> Iterator[Clue]:
    """Steps that should read a result that goes unread, and steps that read what contradicts their requirement."""
    assignment = context.assignment
    if not any(context.graph.reads[step.id] for step in context.steps if not step.is_submit):
        return  # a log of an agent that read results itself: bindings say nothing of what it used
    for unread in assignment.unread_steps:
        yield from _unread(context, unread)
    for step_id, name in assignment.assigned.items():
        if context.in_doubt(name, step_id):
            yield from _strangers(context, step_id, name)


def _unread(context: BlameContext, unread: str) -> Iterator[Clue]:
    """The step that lacks what an unread result is selected by, and should read it."""
    assignment, position = context.assignment, context.graph.position
    for name, step_id in _candidates(context, unread):
        selected = {predicate[1:3] for _, predicate in assignment.chain_predicates[step_id]}
        for _, predicate in assignment.chain_predicates[unread]:
            if predicate[1:3] in selected or not any(
                compare(predicate, wanted) is Relation.SAME for wanted in assignment.required[name]
            ):
                continue
            reader = next(member for member in assignment.own_chain(step_id) if position[member] > position[unread])
            text = f"nothing reads {unread}, which selects by {predicate} for {name}, and this step does not either"
            weight = Weight.DISCONNECTED if context.in_doubt(name, step_id) else Weight.DEVIATION
            yield context.clue(reader, "wrong_binding", weight, text, f"read ${unread} ({name})", [name])
            return


def _candidates(context: BlameContext, unread: str) -> Iterator[tuple[str, str]]:
    """Requirements that an unread result may be meant for, the likeliest first, each with the step that serves it."""
    assignment, position = context.assignment, context.graph.position
    later = [step_id for step_id in assignment.deciding_steps if position[step_id] > position[unread]]
    purpose = assignment.purpose_of(unread)
    if purpose is None or (assignment.families and purpose in assignment.general):
        return
    if purpose in assignment.unassigned_requirements:
        yield from ((purpose, step_id) for step_id in later if step_id in assignment.unassigned_steps)
        return
    if not assignment.families:
        yield from ((purpose, step_id) for step_id in later)
    for name in dict.fromkeys([purpose, *assignment.in_families]):
        if assignment.step_for.get(name) in later:
            yield name, assignment.step_for[name]


_STRANGER = {None: Weight.DISCONNECTED, Relation.TIGHTER: Weight.ODD}


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
        reader = next(member for member in own if source in graph.chain(member))
        asked = f"asks {meant}" if meant is not None else "does not ask that"
        text = f"it reads {source}, which selects by {predicate}, and {name} {asked}"
        weight = _STRANGER.get(relation, Weight.CONTRADICTION)
        yield context.clue(reader, "wrong_binding", weight, text, "read another step", [name])


# ------------------------------------------------------------------------------------------------------------- origins


def origin_clues(context: BlameContext) -> Iterator[Clue]:
    """Steps that brought in what a violated requirement is about, or mean to serve it."""
    for name, finding in context.violated.items():
        yield from _origins(context, name, finding)
        server = context.assignment.step_for.get(name)
        if server is not None:
            text = f"it serves {name}: {finding.evidence}"
            yield context.clue(server, "wrong_selection", Weight.SERVES, text, finding.hint, [name])


def _origins(context: BlameContext, name: str, finding: Finding) -> Iterator[Clue]:
    """The steps that brought in the values that a finding is about. Where none brought one in, such a step is missing:
    before the one for the next value, else after all that act."""
    following = context.end_of_acts
    for value in reversed(finding.about):
        step_id = context.bringer(value) if isinstance(value, (str, int, float)) else None
        if step_id is not None:
            following = context.graph.position[step_id]
            text = f"it brought in {value}, which {name} is about: {finding.evidence}"
            yield context.clue(step_id, "wrong_selection", Weight.ORIGIN, text, finding.hint, [name])
        elif isinstance(value, str):
            text = f"no step brings in {value}, which {name} wants: {finding.evidence}"
            yield context.missing(following, Weight.ORIGIN, text, finding.hint, [name])


def unexplained(context: BlameContext) -> Iterator[Clue]:
    """The earliest step that any symptom depends on, and the others after it.

    What a judge found unmet in words may show in any result.
    """
    symptoms = {found.step for found in context.execution.discrepancies if found.step is not None}
    if any(item.id in context.violated for item in context.requirements.textual):
        symptoms.update(context.graph.ids)
    elif context.violated:
        symptoms.update(context.graph.writes, context.graph.ids[-1:])
    names = list(context.violated)
    for step_id in context.graph.slice(symptoms):
        if not context.step(step_id).is_submit:
            yield context.clue(step_id, "unexplained", Weight.UNEXPLAINED, "what went wrong depends on it", "", names)
