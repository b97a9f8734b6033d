"""Clues from where things came from: steps unlike their kind, and values that a failed check is about."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from pivot_dspy import bindings
from pivot_dspy.blame.assignment import compare
from pivot_dspy.blame.context import BULK, BlameContext, Clue, Weight
from pivot_dspy.blame.dependence import scalars
from pivot_dspy.blame.predicates import Relation
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import Step


def link_clues(inquiry: BlameContext) -> Iterator[Clue]:
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


def _unused(inquiry: BlameContext, unused: str) -> Iterator[Clue]:
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


def _candidates(inquiry: BlameContext, unused: str) -> Iterator[tuple[str, str]]:
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


def _strangers(inquiry: BlameContext, step_id: str, name: str) -> Iterator[Clue]:
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


_FEWEST = 3
"""Steps of one tool from which on one that differs from all others is odd."""
_SHORTEST = 3
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r'"([^"]+)"')


def origin_clues(inquiry: BlameContext) -> Iterator[Clue]:
    """Steps that brought in what a violated requirement is about or mean to serve it, and odd steps."""
    found: list[Clue] = []
    for name, finding in inquiry.violated.items():
        found += _origins(inquiry, name, finding)
        server = inquiry.matching.step_for(name)
        if server is not None:
            text = f"it serves {name}: {finding.evidence}"
            found.append(inquiry.clue(server, "wrong_selection", Weight.SERVES, text, finding.hint, [name]))
    yield from found
    involved = {clue.step for clue in found if clue.kind != "missing_step"}
    yield from _odd(inquiry, {*involved, *inquiry.failed})


def unrelated(inquiry: BlameContext, clues: Collection[Clue]) -> Iterator[Clue]:
    """Where every step ran, no clue speaks of a violated requirement, and its check has more requirements than there
    are steps that act, a step is missing: as many requirements of the check before it as steps that act."""
    explained = {name for clue in clues for name in clue.requirements}
    acting = [inquiry.graph.position[one] for one in inquiry.graph.writes]
    for name, finding in inquiry.violated.items():
        like = inquiry.alike(name)
        if name in explained or inquiry.failed or len(acting) >= len(like):
            continue
        at = [*acting, acting[-1] + 1 if acting else inquiry.end][min(like.index(name), len(acting))]
        text = f"no step has to do with {name}: {finding.evidence}"
        yield inquiry.missing(at, Weight.UNRELATED, text, finding.hint, [name])


def unexplained(inquiry: BlameContext) -> Iterator[Clue]:
    """The earliest step that any symptom depends on, and the others after it.

    What a judge found unmet in words may show in any result.
    """
    symptoms = {d.step for d in inquiry.execution.discrepancies if d.step is not None}
    textual = {item.id for item in inquiry.requirements.textual}
    if textual.intersection(inquiry.violated):
        symptoms |= {step.id for step in inquiry.steps}
    elif inquiry.violated:
        symptoms |= set(inquiry.graph.writes)
        symptoms |= {inquiry.steps[-1].id} if inquiry.steps else set()
    names = list(inquiry.violated)
    for step_id in inquiry.graph.slice(symptoms):
        if not inquiry.step(step_id).is_submit:
            yield inquiry.clue(step_id, "unexplained", Weight.UNEXPLAINED, "what went wrong depends on it", "", names)


# ------------------------------------------------------------------------------------------------------------ odd ones


def _odd(inquiry: BlameContext, involved: Collection[str | None]) -> Iterator[Clue]:
    groups: dict[str, list[Step]] = defaultdict(list)
    for step in inquiry.steps:
        groups[step.tool].append(step)
    for steps in groups.values():
        if len(steps) < _FEWEST:
            continue
        for what, traits in _traits(inquiry, steps).items():
            counts = Counter(traits.values())
            if len(traits) < _FEWEST or len(counts) != 2 or min(counts.values()) != 1:
                continue
            common = counts.most_common(1)[0][0]
            step_id = next(name for name, trait in traits.items() if trait != common)
            text = f"{what} {_said(traits[step_id])}, all other {steps[0].tool} steps {_said(common)}"
            names = [inquiry.matching.serves[step_id]] if step_id in inquiry.matching.serves else []
            weight = Weight.ODD if step_id in involved else Weight.VARIATION
            yield inquiry.clue(step_id, "wrong_selection", weight, text, "", names)


def _traits(inquiry: BlameContext, steps: list[Step]) -> dict[str, dict[str, tuple[str, ...]]]:
    """How each step selects, in ways in which like steps tend to agree."""
    said = {step.id: one for step in steps if (one := inquiry.matching.said[step.id]).reads}
    return {
        "it reads": {name: tuple(".".join(path) for path in one.reads) for name, one in said.items()},
        "it takes the": {name: tuple(path[-1] for path in one.picks) for name, one in said.items()},
        "it chooses by": {
            name: tuple(f"{order.direction} {order.path[-1]}" for order in one.orders if order.path)
            for name, one in said.items()
        },
        "it is given": {step.id: tuple(step.args) for step in steps},
    }


def _said(trait: tuple[str, ...]) -> str:
    return ", ".join(trait) or "nothing"


# ------------------------------------------------------------------------------------------------------------- origins


def _origins(inquiry: BlameContext, name: str, finding: Finding) -> Iterator[Clue]:
    """The steps that brought in the values that a finding is about; without any, those that its evidence mentions."""
    for value in finding.about:
        step_id = inquiry.bringer(value) if isinstance(value, (str, int, float)) else None
        if step_id is not None:
            proposed = not finding.hint or str(value) in finding.hint
            text = f"it brought in {value}, which {name} is about: {finding.evidence}"
            weight = Weight.ORIGIN if proposed else Weight.UNPROPOSED
            yield inquiry.clue(step_id, "wrong_selection", weight, text, finding.hint, [name])
    yield from _proposed(inquiry, name, finding)
    yield from _replaced(inquiry, name, finding)
    if not finding.about:
        for step in inquiry.steps:
            if not step.is_submit and any(word in finding.evidence for word in _words(inquiry, step)):
                text = f"the evidence for {name} mentions what it is given: {finding.evidence}"
                yield inquiry.clue(step.id, "wrong_selection", Weight.MENTION, text, finding.hint, [name])


def _proposed(inquiry: BlameContext, name: str, finding: Finding) -> Iterator[Clue]:
    """What a check proposes in quotes, or is about, and no step brings in: a step is missing.

    Its place is next to the steps for what is proposed beside it, in that order; else after the last step that acts.
    """
    about = (value for value in finding.about if isinstance(value, str))
    wanted = dict.fromkeys([*_QUOTED.findall(finding.hint), *about])
    sources = {value: inquiry.bringer(value) for value in wanted}
    lost = [value for value, step_id in sources.items() if step_id is None]
    if not lost:
        return
    values = list(wanted)
    place = values.index(lost[0])
    before = [step_id for value in values[:place] if (step_id := sources[value]) is not None]
    after = [step_id for value in values[place:] if (step_id := sources[value]) is not None]
    position = inquiry.graph.position
    if before:
        at = position[before[-1]] + 1
    elif after:
        at = position[after[0]]
    else:
        at = max((position[step_id] + 1 for step_id in inquiry.graph.writes), default=inquiry.end)
    text = f"no step brings in {', '.join(lost)}, which {name} wants: {finding.evidence}"
    yield inquiry.missing(at, Weight.ABSENT, text, finding.hint, [name])


def _replaced(inquiry: BlameContext, name: str, finding: Finding) -> Iterator[Clue]:
    """Steps whose choice a check does not propose, where it proposes the choices of others.

    Only of a check that stands alone: where several requirements share one, each proposes for itself only.
    """
    if len(inquiry.alike(name)) > 1 or not finding.hint:
        return
    said = set(_WORD.findall(finding.hint)).union(_QUOTED.findall(finding.hint))
    proposed: dict[str, bool] = {}
    seen: set[tuple[str, ...]] = set()
    for step_id in inquiry.matching.choosers:
        given = [value for value in inquiry.brought[inquiry.graph.position[step_id]][0] if isinstance(value, str)]
        if given:
            key = (inquiry.step(step_id).tool, *given)
            proposed[step_id] = not said.isdisjoint(given) and key not in seen  # twice the same is not proposed
            seen.add(key)
    if any(proposed.values()):
        for step_id in [one for one, found in proposed.items() if not found]:
            text = f"what it brings in is not what {name} proposes: {finding.evidence}"
            yield inquiry.clue(step_id, "wrong_selection", Weight.UNPROPOSED, text, finding.hint, [name])


def _words(inquiry: BlameContext, step: Step) -> list[str]:
    given = inquiry.brought[inquiry.graph.position[step.id]][0] or scalars(step.args, BULK)
    return [
        value for value in given
        if isinstance(value, str) and len(value) >= _SHORTEST and not bindings.references(value)
    ]  # fmt: skip
