"""Clues from where things came from: steps unlike their kind, and values that a failed check is about."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from pivot_dspy import bindings
from pivot_dspy.blame.inquiry import BULK, Clue, Inquiry, Weight
from pivot_dspy.blame.slices import scalars
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import Step

_FEWEST = 3
"""Steps of one tool from which on one that differs from all others is odd."""
_SHORTEST = 3
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r'"([^"]+)"')


def clues(inquiry: Inquiry) -> Iterator[Clue]:
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


def unrelated(inquiry: Inquiry, clues: Collection[Clue]) -> Iterator[Clue]:
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


def unexplained(inquiry: Inquiry) -> Iterator[Clue]:
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


def _odd(inquiry: Inquiry, involved: Collection[str | None]) -> Iterator[Clue]:
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


def _traits(inquiry: Inquiry, steps: list[Step]) -> dict[str, dict[str, tuple[str, ...]]]:
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


def _origins(inquiry: Inquiry, name: str, finding: Finding) -> Iterator[Clue]:
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


def _proposed(inquiry: Inquiry, name: str, finding: Finding) -> Iterator[Clue]:
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


def _replaced(inquiry: Inquiry, name: str, finding: Finding) -> Iterator[Clue]:
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


def _words(inquiry: Inquiry, step: Step) -> list[str]:
    given = inquiry.brought[inquiry.graph.position[step.id]][0] or scalars(step.args, BULK)
    return [
        value for value in given
        if isinstance(value, str) and len(value) >= _SHORTEST and not bindings.references(value)
    ]  # fmt: skip
