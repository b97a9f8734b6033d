"""What a rewrite changed in a step, in words that name the tool and the argument or field but no value of the task."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.blame.extraction import StepPredicates, predicates_of
from pivot_dspy.memory.fixes import STYLES, Fix, Style
from pivot_dspy.trajectory import Step

_CALL = "a call of {tool}"
_ARGUMENT = "a call of {tool} with {place}"
_BINDING = "a binding of {tool} that compares or sorts by {place}"
_CASE = "the argument {place} of {tool} was in the wrong case"
_WORDS: Mapping[str, tuple[str, str, str]] = {
    "tool": (_CALL, "the plan called {other} where {tool} was needed", "call {tool}, not {other}"),
    "added": (
        "a plan that may need {tool}", "the plan did not call {tool}{other}", "call {tool}{other} where it serves",
    ),
    "renamed": (
        _ARGUMENT, "{tool} was called with an argument {other}", "the argument of {tool} is {place}, not {other}",
    ),
    "missing": (_ARGUMENT, "{tool} was called without {place}", "give {tool} its argument {place}"),
    "unwanted": (
        _ARGUMENT, "{tool} was called with an argument {place} that was not wanted", "leave {place} out of {tool}",
    ),
    "made_up": (
        _ARGUMENT, "the argument {place} of {tool} was written out, and made up or wrong",
        "bind the argument {place} of {tool} to the result that holds it",
    ),
    "lower": (_ARGUMENT, _CASE, "write the argument {place} of {tool} in lower case, exactly as the tool has it"),
    "upper": (_ARGUMENT, _CASE, "write the argument {place} of {tool} in capitals, exactly as the tool has it"),
    "title": (_ARGUMENT, _CASE, "write the argument {place} of {tool} capitalised, exactly as the tool has it"),
    "strip": (
        _ARGUMENT, "the argument {place} of {tool} was padded with spaces",
        "write the argument {place} of {tool} without spaces around it",
    ),
    "type": (
        _ARGUMENT, "the argument {place} of {tool} was not {other}", "write the argument {place} of {tool} as {other}",
    ),
    "value": (
        _ARGUMENT, "the argument {place} of {tool} was another than was asked for",
        "write the argument {place} of {tool} exactly as it is asked for",
    ),
    "field": (
        _BINDING, "a binding of {tool} used the field {other}",
        "in bindings of {tool} the field is {place}, not {other}",
    ),
    "condition": (
        _BINDING, "a binding of {tool} did not look at the field {place}",
        "in bindings of {tool} compare the field {place} too",
    ),
    "direction": (
        _BINDING, "a binding of {tool} took the wrong end of {place}", "for {tool} choose the {other} by {place}",
    ),
    "source": (_CALL, "{tool} read the result of {other}", "bind {tool} to the result of {place}, not of {other}"),
}  # fmt: skip
"""When an edit applies, what was wrong, and what to do instead."""

_TYPES: Mapping[type, str] = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
_STYLES: tuple[Style, ...] = ("lower", "upper", "title", "strip")
_NAME = re.compile(r"\w+(?:\.\w+)*")
_ALIKE = 0.6


class StepEdit(NamedTuple):
    """One difference between a step before and after, about a tool and a place in its call."""

    kind: str
    tool: str
    place: str = ""
    """The argument or field that it is about; empty where the whole step is meant."""
    other: str = ""
    """What stood in its place, or what else the kind tells of."""
    fix: Fix | None = None
    """The same in a form that is applied to a step, where there is one."""

    @property
    def trigger(self) -> str:
        """When it applies."""
        return _WORDS[self.kind][0].format_map(self._asdict())

    @property
    def mistake(self) -> str:
        """What the step did, without values of the task."""
        return _WORDS[self.kind][1].format_map(self._asdict())

    @property
    def avoid(self) -> str:
        """What to do instead."""
        return _WORDS[self.kind][2].format_map(self._asdict())


def edits(before: Step, after: Step, ids: Collection[str], tools: Mapping[str, str] | None = None) -> list[StepEdit]:
    """The differences between two versions of a step that can be put into words for any task.

    Choices that were written out (a binding that became an id) are the task's own, and left out.

    Args:
        ids: of all steps of both trajectories.
        tools: the tool of each step, by id.
    """
    if before.tool != after.tool:
        only_the_tool = before.model_copy(update={"tool": after.tool}).content() == after.content()
        fix = Fix(tool=after.tool, kind="tool", wrong=before.tool) if only_the_tool else None
        return [StepEdit("tool", after.tool, other=before.tool, fix=fix)]
    differences = [*_argument_edits(before, after, ids)]
    if all(edit.kind != "made_up" for edit in differences):  # else nothing was selected before
        was, now = (predicates_of(step, ids) for step in (before, after))
        differences += _expression_edits(after.tool, was, now, {*before.args, *after.args})
        differences += _source_edits(after.tool, was, now, tools or {})
    return list(dict.fromkeys(differences))


def addition(step: Step, before: str | None) -> StepEdit:
    """A step that was missing; `before` names the tool of the step that it was put before."""
    return StepEdit("added", step.tool, other=f" before {before}" if before else "")


def _argument_edits(before: Step, after: Step, ids: Collection[str]) -> Iterator[StepEdit]:
    tool = after.tool
    lost = [name for name in before.args if name not in after.args]
    gained = [name for name in after.args if name not in before.args]
    if len(lost) == len(gained) == 1 and before.args[lost[0]] == after.args[gained[0]]:
        (wrong,), (right,) = lost, gained
        yield StepEdit("renamed", tool, right, wrong, Fix(tool=tool, kind="argument", place=right, wrong=wrong))
    else:
        yield from (StepEdit("missing", tool, name) for name in gained)
        yield from (StepEdit("unwanted", tool, name) for name in lost)
    for name, new in after.args.items():
        old = before.args.get(name, new)
        if old == new:
            continue
        was_bound, is_bound = (_is_bound(value, ids) for value in (old, new))
        if is_bound and not was_bound:
            yield StepEdit("made_up", tool, name)
        elif not is_bound and not was_bound:
            yield from _value_edit(tool, name, old, new)


def _value_edit(tool: str, name: str, old: Any, new: Any) -> Iterator[StepEdit]:
    """How the value of an argument was wrong."""
    while isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = next(pair for pair in zip(old, new, strict=True) if pair[0] != pair[1])
    expected = _TYPES.get(type(new), "")
    if expected != _TYPES.get(type(old), ""):
        if expected:
            yield StepEdit("type", tool, name, expected)
        return
    style = next((style for style in _STYLES if isinstance(old, str) and STYLES[style](old) == new), None)
    if style is None:
        yield StepEdit("value", tool, name)
    else:
        yield StepEdit(style, tool, name, fix=Fix(tool=tool, kind=style, place=name))


def _expression_edits(
    tool: str, was: StepPredicates, now: StepPredicates, arguments: Collection[str]
) -> Iterator[StepEdit]:
    """What was selected by another field, or by the other end of it."""
    if not was.fields and not was.reads and not was.orders:
        return
    lost, gained = _only_in(was, now), _only_in(now, was)
    for right in gained:
        if right in arguments or not _NAME.fullmatch(right):
            continue
        near = difflib.get_close_matches(right, lost, n=1, cutoff=_ALIKE)
        wrong = near[0] if near else lost[0] if len(lost) == len(gained) == 1 else ""
        if _NAME.fullmatch(wrong) and wrong not in arguments:
            yield StepEdit("field", tool, right, wrong, Fix(tool=tool, kind="field", place=right, wrong=wrong))
        else:
            yield StepEdit("condition", tool, right)
    directions = {order.path: order.direction for order in was.orders if order.path}
    for order in now.orders:
        if directions.get(order.path, order.direction) != order.direction:
            yield StepEdit("direction", tool, _name(order.path), order.direction)


def _source_edits(
    tool: str, was: StepPredicates, now: StepPredicates, tools: Mapping[str, str]
) -> Iterator[StepEdit]:
    """What was read from the result of another tool."""
    wrong, right = ({tools.get(read[0], "") for read in side.reads} - {""} for side in (was, now))
    if wrong and right and wrong.isdisjoint(right):
        yield StepEdit("source", tool, ", ".join(sorted(right)), ", ".join(sorted(wrong)))


def _only_in(predicates: StepPredicates, others: StepPredicates) -> list[str]:
    """Names of fields that only the first look at."""
    mine, theirs = (
        dict.fromkeys(_name(path) for path in (*side.fields, *(order.path for order in side.orders)) if path)
        for side in (predicates, others)
    )
    return [name for name in mine if name not in theirs]


def _name(path: tuple[str, ...]) -> str:
    """A field as its record has it; what `for_each` puts around the record is left out."""
    return ".".join(path[1:] if len(path) > 1 and path[0] in ("item", "result") else path)


def _is_bound(value: Any, ids: Collection[str]) -> bool:
    return any(bindings.is_binding(text, ids) for text in bindings.strings(value))
