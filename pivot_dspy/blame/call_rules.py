"""Clues from the calls that requirements ask for, and from what a judge says of those in words: what was not done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import WORD, show, singular
from pivot_dspy.blame.standing import holds, tokens
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import (
    OPEN,
    CallAssignment,
    MadeCall,
    RequiredCall,
    assign,
    made_calls,
    matches,
    nearest,
    stands_in,
)
from pivot_dspy.requirements import Requirement

_QUOTED = re.compile(r"""(?:"([^"]+)"|'([^']+)'|“([^”]+)”|`([^`]+)`)""")


def clues(context: BlameContext) -> Iterator[Clue]:
    """For each requirement in words that is not met: the call or quoted step that may be wrong, else a missing step."""
    unmet = [item for item in context.requirements.textual if item.id in context.violated]
    if not unmet:
        return
    calls = made_calls(context.execution, context.toolbox)
    asked = {item.id: item.call for item in context.requirements.textual if item.call is not None}
    assigned = assign(asked, calls)
    meant = _meant(context, calls, assigned)
    for item in unmet:
        if item.call is not None and item.id in assigned.missing:
            yield from _not_made(context, item.id, item.call, meant.get(item.id), calls)
        else:
            yield _judged(context, item, meant.get(item.id))


def _meant(context: BlameContext, calls: Sequence[MadeCall], assigned: CallAssignment) -> dict[str, MadeCall]:
    """The call that may be meant to serve each requirement, none twice: the one that it asks for, else the likest."""
    meant = {name: calls[index] for index, name in assigned.serves.items()}
    pairs = sorted(
        (item.call is None, -likeness, item.id in context.violated, place, index, item.id)
        for place, item in enumerate(context.requirements.textual) if item.id not in meant
        for index in assigned.extra if (likeness := _likeness(item, calls[index]))
    )  # fmt: skip
    taken: set[int] = set()
    for *_, index, name in pairs:
        if index not in taken and name not in meant:
            taken.add(index)
            meant[name] = calls[index]
    return meant


def _likeness(item: Requirement, call: MadeCall) -> int:
    """How many arguments of a call, and words of its tool's name, are as a requirement says; 0 for another tool."""
    if item.call is not None:
        return 0 if item.call.tool != call.tool else 1 + len(item.call.args) - len(_differing(item.call, call))
    text = tokens(item.text)
    named = {singular(word.lower()) for word in WORD.findall(call.tool)}
    return sum(holds(text, value) for value in scalars(dict(call.args))) + len(named & {singular(str(t)) for t in text})


def _differing(required: RequiredCall, call: MadeCall) -> list[str]:
    """The arguments that are not as required."""
    single = {name: RequiredCall(tool=required.tool, args={name: value}) for name, value in required.args.items()}
    return [name for name, asked in single.items() if not matches(asked, call)]


def _not_made(
    context: BlameContext, name: str, required: RequiredCall, call: MadeCall | None, calls: Sequence[MadeCall]
) -> Iterator[Clue]:
    """The call of the tool that serves nothing else, a step that made none, or else a missing step."""
    fixed = {key: value for key, value in required.args.items() if key not in required.open}
    if call is not None and (differs := nearest(required, [call])):
        wanted = [f"{key} {show(fixed[key])}" for key in _differing(required, call) if key in fixed]
        correction = f"use {', '.join(wanted)} ({name})" if wanted else ""
        yield context.clue(
            call.step, "wrong_value", Weight.CONTRADICTION, f"{differs[1]}, as {name} asks", correction, [name]
        )
        return
    planned = [step.id for step in context.steps if step.tool == required.tool]
    idle = [step_id for step_id in planned if step_id not in {call.step for call in calls}]
    for step_id in idle:  # why it failed is told apart
        if step_id not in context.failed:
            text = f"it makes no call, and {name} asks for one"
            yield context.clue(step_id, "narrow_result", Weight.OMISSION, text, "", [name])
    if not idle:
        correction = f"add a {required.tool} step{f' with {show(fixed)}' if fixed else ''}"
        text = f"nothing was written that {name} asks for"
        yield _missing(context, Weight.LACKING if planned else Weight.CERTAIN, text, correction, name)


def _judged(context: BlameContext, item: Requirement, call: MadeCall | None) -> Clue:
    """What a judge found unmet though no rule does: the evidence may quote a step."""
    evidence = context.violated[item.id].evidence
    said = f": {evidence}" if evidence else ""
    quoted = _quoted(context, evidence)
    if quoted is not None:
        text = f"it may be wrong: what speaks against {item.id} stands in it{said}"
        return context.clue(quoted, "wrong_value", Weight.OMISSION, text, "", [item.id])
    if call is None:
        text = f"nothing that was written is known to serve {item.id}{said}"
        return _missing(context, Weight.ORIGIN, text, "", item.id)
    free = [key for key in call.args if item.call is None or item.call.args.get(key, OPEN) == OPEN]
    text = f"it may be meant for {item.id}, which is not met{said}"
    correction = f"look at {', '.join(free)}" if free else ""
    return context.clue(call.step, "wrong_value", Weight.OMISSION, text, correction, [item.id])


def _missing(context: BlameContext, weight: int, text: str, correction: str, name: str) -> Clue:
    """A step that is missing before submit, or before the change that failed. Where there is no submit, that tells."""
    position = context.end
    where = context.steps[position].id if position < len(context.steps) else "the end"
    weight = min(weight, Weight.SERVES) if context.execution.trajectory.submit is None else weight
    return context.missing(position, weight, f"{text}; the missing step belongs before {where}", correction, [name])


def _quoted(context: BlameContext, evidence: str) -> str | None:
    """The step whose arguments, else result, hold most of what the evidence quotes: all of it, or what stands in
    quotation marks; None where none does."""
    pieces = {evidence, *filter(None, (piece for found in _QUOTED.findall(evidence) for piece in found))}
    best, most = None, (0, 0)
    for step in context.steps:
        seen = context.graph.observed.get(step.id)
        args = seen.args if seen is not None and seen.args is not None else step.args
        made = f"{step.tool} {show(args)}"
        found = (
            sum(stands_in(piece, made) for piece in pieces),
            sum(stands_in(piece, seen.value) for piece in pieces if seen is not None and seen.ok),
        )
        best, most = max((best, most), (step.id, found), key=lambda pair: pair[1])
    return best
