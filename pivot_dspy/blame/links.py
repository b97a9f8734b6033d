"""Clues from how steps hang together: results that nothing uses, and steps that read what was meant for another."""

from __future__ import annotations

from collections.abc import Iterator

from pivot_dspy.blame.facts import Relation
from pivot_dspy.blame.inquiry import Clue, Inquiry, Weight
from pivot_dspy.blame.matching import compare


def clues(inquiry: Inquiry) -> Iterator[Clue]:
    """Steps that should read a result that goes unused, and steps that read what contradicts their requirement."""
    trajectory = inquiry.execution.trajectory
    ends = {step.id for step in trajectory.steps if step.is_submit}
    if not any(read for step_id, read in trajectory.dependencies().items() if step_id not in ends):
        return  # a log of an agent that read results itself: bindings say nothing of what it used
    for step_id in inquiry.matching.unused:
        yield from _unused(inquiry, step_id)
    for step_id, name in inquiry.matching.serves.items():
        if inquiry.suspected(name, step_id):
            yield from _strangers(inquiry, step_id, name)


def _unused(inquiry: Inquiry, unused: str) -> Iterator[Clue]:
    matching, position = inquiry.matching, inquiry.graph.position
    facts = [fact for _, fact in matching.facts(unused)]
    for name, chooser in _candidates(inquiry, unused):
        used = [fact for _, fact in matching.facts(chooser)]
        lost = [
            fact for fact in facts
            if not any(fact[1:3] == one[1:3] for one in used)
            and any(compare(fact, wanted) is Relation.SAME for wanted in matching.wanted[name])
        ]  # fmt: skip
        if lost:
            reader = next(one for one in matching.exclusive(chooser) if position[one] > position[unused])
            weight = Weight.DISCONNECTED if inquiry.suspected(name, chooser) else Weight.DEVIATION
            text = f"nothing reads {unused}, which selects by {lost[0]} for {name}, and this step does not either"
            yield inquiry.clue(reader, "wrong_binding", weight, text, f"read ${unused} ({name})", [name])
            return


def _candidates(inquiry: Inquiry, unused: str) -> Iterator[tuple[str, str]]:
    """Requirements that an unused read may be meant for, the likeliest first, each with the step that serves it."""
    matching, position = inquiry.matching, inquiry.graph.position
    later = [one for one in matching.choosers if position[one] > position[unused]]
    families = [name for family in matching.families for name in family]
    meant = matching.meant_by(unused)
    if meant is None or (families and meant not in families):
        return
    idle = next((one for one in later if one in matching.idle), None)
    if meant in matching.lacking:
        if idle is not None:
            yield meant, idle
        return
    for name in dict.fromkeys([meant, *families]):
        chooser = matching.step_for(name) if name in families else next(iter(later), None)
        if chooser is not None and chooser in later:
            yield name, chooser


def _strangers(inquiry: Inquiry, step_id: str, name: str) -> Iterator[Clue]:
    """The step by which a chooser comes to read what was selected for another requirement."""
    matching, graph = inquiry.matching, inquiry.graph
    own = matching.exclusive(step_id)
    for source, fact in matching.facts(step_id):
        if source in own:
            continue
        stands = [
            (found, wanted)
            for wanted in [*matching.wanted[name], *(wanted.fact for wanted in matching.everywhere)]
            if (found := compare(fact, wanted)) is not None
        ]
        best = min(stands, default=None)
        if best is not None and best[0] in (Relation.SAME, Relation.LOOSER):
            continue
        if not any(compare(fact, wanted.fact) is Relation.SAME for wanted in matching.asked_of(source)):
            continue  # then the source itself is wrong
        reader = next((one for one in own if any(source in graph.chain(read) for read in graph.reads[one])), step_id)
        asked = f"asks {best[1]}" if best is not None else "does not ask that"
        weight = Weight.CONTRADICTION if best is not None else Weight.DISCONNECTED
        if best is not None and best[0] is Relation.TIGHTER:
            weight = Weight.ODD
        text = f"it reads {source}, which selects by {fact}, and {name} {asked}"
        yield inquiry.clue(reader, "wrong_binding", weight, text, "read another step", [name])
