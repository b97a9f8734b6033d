"""Clues from the calls that requirements ask for, and from what a judge says of those in words: what was not done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy import required_calls
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import WORD, show
from pivot_dspy.blame.standing import holds, tokens
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import CallAssignment, MadeCall, RequiredCall, stands_in
from pivot_dspy.requirements import Requirement

_QUOTED = re.compile(r'"([^"]+)"|\'([^\']+)\'|`([^`]+)`|“([^”]+)”')


def clues(context: BlameContext) -> Iterator[Clue]:
    """For each requirement in words that is not met: the call or quoted step that may be wrong, or what is missing."""
    textual = context.requirements.textual
    unmet = [item for item in textual if item.id in context.violated]
    if not unmet:
        return
    calls = required_calls.made_calls(context.execution, context.toolbox)
    assigned = required_calls.assign({item.id: item.call for item in textual if item.call is not None}, calls)
    meant = _meant(context, calls, assigned)
    for item in unmet:
        if item.call is not None and item.id in assigned.missing:
            yield from _not_made(context, item.id, item.call, meant, calls)
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
    free = set(assigned.extra)
    for *_, index, name in pairs:
        if index in free and name not in meant:
            free.remove(index)
            meant[name] = calls[index]
    return meant


def _likeness(item: Requirement, call: MadeCall) -> int:
    """How many arguments of a call, and words of its tool's name, are as a requirement says; 0 for another tool."""
    if item.call is not None:
        right = len(_fixed(item.call)) - len(_wrong(item.call, call))
        return 1 + right if item.call.tool == call.tool else 0
    text = tokens(item.text)
    named = [word for word in WORD.findall(call.tool.casefold()) if word in text]
    return len(named) + sum(holds(text, value) for value in scalars(dict(call.args)) if value not in (None, ""))


def _fixed(required: RequiredCall) -> dict[str, Any]:
    return {name: value for name, value in required.args.items() if name not in required.open}


def _wrong(required: RequiredCall, call: MadeCall) -> dict[str, Any]:
    """The arguments that a call has otherwise, as they are required."""
    single = {name: RequiredCall(tool=call.tool, args={name: value}) for name, value in _fixed(required).items()}
    return {name: asked.args[name] for name, asked in single.items() if not required_calls.matches(asked, call)}


def _not_made(
    context: BlameContext, name: str, required: RequiredCall, meant: Mapping[str, MadeCall], calls: Sequence[MadeCall]
) -> Iterator[Clue]:
    """The call of its tool that serves nothing else, or else a missing step."""
    near = required_calls.nearest(required, [meant[name]] if name in meant else [])
    if near is not None:
        call, differs = near
        right = ", ".join(f"{key} {show(value)}" for key, value in _wrong(required, call).items())
        text, correction = f"in {call.step}, {differs}, as {name} asks", right and f"use {right} ({name})"
        yield context.clue(call.step, "wrong_value", Weight.CONTRADICTION, text, correction, [name])
        return
    planned = {step.id for step in context.steps if step.tool == required.tool}
    if planned.issubset(call.step for call in calls):  # else it is told why one made no call
        weight = Weight.LACKING if planned else Weight.CERTAIN
        fixed = _fixed(required)
        correction = f"add a {required.tool} step" + (f" with {show(fixed)}" if fixed else "")
        yield _missing(context, weight, f"nothing was written that {name} asks for", correction, name)


def _judged(context: BlameContext, item: Requirement, call: MadeCall | None) -> Clue:
    """What a judge found unmet: the step whose arguments the evidence quotes, else the call that is meant to serve it,
    else the step whose result is quoted; a missing step where there is none of these."""
    evidence = context.violated[item.id].evidence
    said = f": {evidence}" if evidence else ""
    in_arguments, in_result = _quoted(context, evidence, call)
    if call is not None and in_arguments in (None, call.step):
        read = ", ".join(item.call.open) if item.call is not None else ""
        text, correction = f"it may be meant for {item.id}, which is not met{said}", read and f"look at {read}"
        return context.clue(call.step, "wrong_value", Weight.OMISSION, text, correction, [item.id])
    quoted = in_arguments or in_result
    if quoted is not None:
        text = f"it may be wrong, as what speaks against {item.id} stands in it{said}"
        return context.clue(quoted, "wrong_value", Weight.OMISSION, text, "", [item.id])
    return _missing(context, Weight.ORIGIN, f"nothing that was written is known to serve {item.id}{said}", "", item.id)


def _quoted(context: BlameContext, evidence: str, call: MadeCall | None) -> tuple[str | None, str | None]:
    """The steps whose arguments and whose results hold most of what is quoted: all of it, or what stands in quotes."""
    pieces = {evidence, *(piece for found in _QUOTED.findall(evidence) for piece in found)} - {""}

    def most(held: Mapping[str, Any]) -> str | None:
        counts = {step_id: sum(stands_in(piece, value) for piece in pieces) for step_id, value in held.items()}
        best = max(counts, key=lambda step_id: (counts[step_id], call is not None and call.step == step_id), default="")
        return best if counts.get(best) else None

    observed = context.graph.observed
    made = {step.id: f"{step.tool} {show(observed[step.id].args or step.args)}" for step in context.steps}
    return most(made), most({step_id: seen.value for step_id, seen in observed.items() if seen.ok})


def _missing(context: BlameContext, weight: int, text: str, correction: str, name: str) -> Clue:
    """A step that is missing before submit, or before a change that failed for want of it. Where there is no submit,
    that is to be said first."""
    graph, submit = context.graph, context.execution.trajectory.submit
    failed = [graph.position[step_id] for step_id in graph.writes if step_id in context.failed]
    position = min([*failed, len(context.steps) if submit is None else graph.position[submit.id]])
    text += f"; the missing step belongs before {context.steps[position].id}" if position < len(context.steps) else ""
    return context.missing(position, weight if submit else Weight.SERVES, text, correction, [name])
