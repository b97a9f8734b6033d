"""Clues from where things came from: steps unlike their kind, and values that a failed check is about."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.blame.inquiry import BULK, Clue, Inquiry, Weight
from pivot_dspy.blame.slices import scalars
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import Step

_FEWEST = 3
"""Steps of one tool from which on one that differs from all others is odd."""
_SHORTEST = 3
_QUOTED = re.compile(r'"([^"]+)"')


def clues(inquiry: Inquiry) -> Iterator[Clue]:
    """Odd steps, steps that brought in what a violated requirement is about, and, failing these, what it depends on."""
    yield from _odd(inquiry)
    for name, finding in inquiry.violated.items():
        yield from _origins(inquiry, name, finding)
        server = inquiry.matching.step_for(name)
        if server is not None:
            yield inquiry.clue(server, "wrong_selection", Weight.SERVES, f"it serves {name}: {finding.evidence}",
                               finding.hint, [name])  # fmt: skip


def unexplained(inquiry: Inquiry) -> Iterator[Clue]:
    """The earliest step that any symptom depends on, and the others after it."""
    symptoms = {d.step for d in inquiry.execution.discrepancies if d.step is not None}
    if inquiry.violated:
        symptoms |= set(inquiry.graph.writes)
        symptoms |= {inquiry.steps[-1].id} if inquiry.steps else set()
    names = list(inquiry.violated)
    for step_id in inquiry.graph.slice(symptoms):
        if not inquiry.step(step_id).is_submit:
            yield inquiry.clue(step_id, "unexplained", Weight.UNEXPLAINED, "what went wrong depends on it", "", names)


# ------------------------------------------------------------------------------------------------------------ odd ones


def _odd(inquiry: Inquiry) -> Iterator[Clue]:
    groups: dict[str, list[Step]] = defaultdict(list)
    for step in inquiry.steps:
        groups[step.tool].append(step)
    for steps in groups.values():
        if len(steps) < _FEWEST:
            continue
        for what, traits in _traits(inquiry, steps).items():
            counts = Counter(traits.values())
            if len(counts) != 2 or min(counts.values()) != 1:
                continue
            common = counts.most_common(1)[0][0]
            step_id = next(name for name, trait in traits.items() if trait != common)
            text = f"{what} {_said(traits[step_id])}, all other {steps[0].tool} steps {_said(common)}"
            names = [inquiry.matching.serves[step_id]] if step_id in inquiry.matching.serves else []
            yield inquiry.clue(step_id, "wrong_selection", Weight.ODD, text, f"{what} {_said(common)}", names)


def _traits(inquiry: Inquiry, steps: list[Step]) -> dict[str, dict[str, Hashable]]:
    """How each step selects, in ways in which like steps tend to agree."""
    said = {step.id: inquiry.matching.said[step.id] for step in steps}
    bound = {step_id for step_id, one in said.items() if one.reads}
    return {
        "it reads": {name: said[name].reads for name in bound},
        "it takes the": {name: said[name].picks for name in bound},
        "it chooses the": {name: said[name].orders for name in bound},
        "it is given": {step.id: tuple(step.args) for step in steps},
    }


def _said(trait: Any) -> str:
    parts = [" ".join([item.direction, ".".join(item.path)]) if hasattr(item, "direction") else
             ".".join(item) if isinstance(item, tuple) else str(item) for item in trait]  # fmt: skip
    return ", ".join(parts) or "nothing"


# ------------------------------------------------------------------------------------------------------------- origins


def _origins(inquiry: Inquiry, name: str, finding: Finding) -> Iterator[Clue]:
    """The steps that brought in the values that a finding is about; without any, those that its evidence mentions."""
    for value in finding.about:
        step_id = _bringer(inquiry, value) if isinstance(value, (str, int, float)) else None
        if step_id is not None:
            proposed = not finding.hint or str(value) in finding.hint
            text = f"it brought in {value}, which {name} is about: {finding.evidence}"
            weight = Weight.ORIGIN if proposed else Weight.UNPROPOSED
            yield inquiry.clue(step_id, "wrong_selection", weight, text, finding.hint, [name])
    yield from _proposed(inquiry, name, finding)
    if not finding.about:
        for step in inquiry.steps:
            if not step.is_submit and any(word in finding.evidence for word in _words(inquiry, step)):
                text = f"the evidence for {name} mentions what it is given: {finding.evidence}"
                yield inquiry.clue(step.id, "wrong_selection", Weight.MENTION, text, finding.hint, [name])


def _proposed(inquiry: Inquiry, name: str, finding: Finding) -> Iterator[Clue]:
    """What a check proposes in quotes, or is about, and no step brings in: a step is missing.

    Its place is next to the steps for what is proposed beside it, in that order; else after the last step that acts.
    """
    about = [value for value in finding.about if isinstance(value, str)]
    wanted = dict.fromkeys([*_QUOTED.findall(finding.hint), *about])
    sources = {value: _bringer(inquiry, value) for value in wanted}
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


def _bringer(inquiry: Inquiry, value: Any) -> str | None:
    """The step that was given the value beside the fewest others; else the first whose small result shows it."""
    given = min(((len(args), place) for place, (args, _) in enumerate(inquiry.brought) if value in args), default=None)
    if given is not None:
        return inquiry.steps[given[1]].id
    return next((inquiry.steps[place].id for place, (_, shown) in enumerate(inquiry.brought) if value in shown), None)


def _words(inquiry: Inquiry, step: Step) -> list[str]:
    given = inquiry.brought[inquiry.graph.position[step.id]][0] or scalars(step.args, BULK)
    return [
        value for value in given
        if isinstance(value, str) and len(value) >= _SHORTEST and not bindings.references(value)
    ]  # fmt: skip
