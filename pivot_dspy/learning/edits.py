"""What a rewrite changed in a step, in words that name the tool and the argument or field but no value of the task."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.blame.extraction import StepPredicates, predicates_of
from pivot_dspy.memory.fixes import STYLES, Fix
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
    "argument": (
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
}  # fmt: skip
"""When an edit applies, what was wrong, and what to do instead."""

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

    @property
    def texts(self) -> tuple[str, ...]:
        """When it applies, what the step did, and what to do instead."""
        return tuple(text.format_map(self._asdict()) for text in _WORDS[self.kind])

    @property
    def fix(self) -> Fix | None:
        """The same in a form that is applied to a step, where there is one."""
        if self.kind in ("tool", "argument", "field") or self.kind in STYLES:
            return Fix.model_validate({"tool": self.tool, "kind": self.kind, "place": self.place, "wrong": self.other})
        return None


def edits(before: Step, after: Step, ids: Collection[str]) -> list[StepEdit]:
    """The differences between two versions of a step that can be put into words for any task.

    Choices that were written out (a binding that became an id) are the task's own, and left out; so is another call in
    the place of one, as both tools have their use.

    Args:
        ids: of all steps of both trajectories.
    """
    tool = after.tool
    if before.tool != tool:
        only_the_tool = before.model_copy(update={"tool": tool}).content() == after.content()
        return [StepEdit("tool", tool, other=before.tool)] if only_the_tool else []
    differences = [*_argument_edits(before, after, ids)]
    if all(edit.kind != "made_up" for edit in differences):  # else nothing was selected before
        was, now = (predicates_of(step, ids) for step in (before, after))
        differences += _expression_edits(tool, was, now, {*before.args, *after.args})
    return list(dict.fromkeys(differences))


def _argument_edits(before: Step, after: Step, ids: Collection[str]) -> Iterator[StepEdit]:
    tool = after.tool
    lost = [name for name in before.args if name not in after.args]
    gained = [name for name in after.args if name not in before.args]
    if len(lost) == len(gained) == 1 and before.args[lost[0]] == after.args[gained[0]]:
        yield StepEdit("argument", tool, gained[0], lost[0])
    else:
        yield from (StepEdit("missing", tool, name) for name in gained)
        yield from (StepEdit("unwanted", tool, name) for name in lost)
    for name in [name for name in after.args if before.args.get(name, after.args[name]) != after.args[name]]:
        old, new = before.args[name], after.args[name]
        was_bound, is_bound = (
            any(bindings.is_binding(text, ids) for text in bindings.strings(value)) for value in (old, new)
        )
        if is_bound and not was_bound:
            yield StepEdit("made_up", tool, name)
        elif not is_bound and not was_bound:
            yield StepEdit(_value_kind(old, new), tool, name)


def _value_kind(old: Any, new: Any) -> str:
    """How the value of an argument was wrong."""
    while isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = next(pair for pair in zip(old, new, strict=True) if pair[0] != pair[1])
    styles = STYLES if isinstance(old, str) else ()
    return next((style for style in styles if getattr(old, style)() == new), "value")


def _expression_edits(
    tool: str, was: StepPredicates, now: StepPredicates, arguments: Collection[str]
) -> Iterator[StepEdit]:
    """What was selected by another field, or by the other end of it."""
    if not was.fields and not was.reads and not was.orders:
        return
    before, after = _field_names(was), _field_names(now)
    lost = [name for name in before if name not in after]
    gained = [name for name in after if name not in before]
    for right in gained:
        if right in arguments or not _NAME.fullmatch(right):
            continue
        near = difflib.get_close_matches(right, lost, n=1, cutoff=_ALIKE)
        wrong = near[0] if near else lost[0] if len(lost) == len(gained) == 1 else ""
        if _NAME.fullmatch(wrong) and wrong not in arguments:
            yield StepEdit("field", tool, right, wrong)
        else:
            yield StepEdit("condition", tool, right)
    directions = {order.path: order.direction for order in was.orders if order.path}
    for order in now.orders:
        if directions.get(order.path, order.direction) != order.direction:
            yield StepEdit("direction", tool, _name(order.path), order.direction)


def _field_names(predicates: StepPredicates) -> list[str]:
    """Every field that is compared or sorted by, once."""
    paths = (*predicates.fields, *(order.path for order in predicates.orders))
    return list(dict.fromkeys(_name(path) for path in paths if path))


def _name(path: tuple[str, ...]) -> str:
    """A field as its record has it; what `for_each` puts around the record is left out."""
    return ".".join(path[1:] if len(path) > 1 and path[0] in ("item", "result") else path)
