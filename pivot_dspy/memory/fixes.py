"""Fixes: what a lesson tells to change in a written step, in a form that needs no model to be applied.

A repair that a model has made before need not be asked for again: fix patterns are learned from repairs, as in Getafix
(Bader et al., OOPSLA 2019).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from pivot_dspy import bindings
from pivot_dspy.plain_json import encodable
from pivot_dspy.trajectory import Frozen, Step, Trajectory

Style = Literal["lower", "upper", "title", "strip"]
STYLES: tuple[Style, ...] = get_args(Style)
"""How the texts of an argument are written: the methods of `str`."""

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_NAME = re.compile(r'"[^"]*"|\$?\w+')
# Texts of an expression, and names joined by dots; one that a parenthesis follows is a function.
_TEXT_OR_PATH = re.compile(
    r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`"
    rf"|(?P<path>(?:{_NAME.pattern})(?:\s*\.\s*(?:{_NAME.pattern}))*(?!\w|\s*\())"
)
_AROUND_RECORD = re.compile(r"\$.*|item|result")
"""What names a record itself: a step, and what `for_each` puts around."""

Text = Annotated[str, AfterValidator(encodable)]


class Fix(Frozen):
    """One change to calls of a tool.

    >>> fix = Fix(tool="buy", kind="field", place="price", wrong="cost")
    >>> fix.applied(Step(id="b", tool="buy", args={"id": "$a.items[?cost < `5`] | [0].id"}), ["a", "b"]).args
    {'id': '$a.items[?price < `5`] | [0].id'}
    """

    tool: Annotated[Text, Field(min_length=1)]
    kind: Literal["tool", "argument", "field"] | Style
    """`tool`: a call of `wrong` becomes one of the tool; `argument`: its argument `wrong` becomes `place`; `field`: in
    its bindings, the field `wrong` becomes `place`, both as paths with dots; or the style in which texts that are
    written out for the argument `place` are put: in lower case, in capitals, capitalised, or stripped of spaces."""
    place: Text = ""
    wrong: Text = ""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        needed = ["place"] if self.kind in STYLES else ["wrong"] if self.kind == "tool" else ["place", "wrong"]
        if needed != [name for name in ("place", "wrong") if getattr(self, name)]:
            raise ValueError(f"a fix of kind {self.kind!r} has {' and '.join(needed)} alone")
        if self.wrong == (self.place or self.tool):
            raise ValueError(f"a fix of kind {self.kind!r} has another name for wrong")
        return self

    def applied(self, step: Step, ids: Collection[str]) -> Step:
        """The step with the change made; the same object where there is nothing to change.

        Args:
            ids: of all steps of its trajectory.
        """
        if step.is_submit or step.tool != (self.wrong if self.kind == "tool" else self.tool):
            return step
        changed = {name: value for name, value in self._changes(step, ids).items() if value != getattr(step, name)}
        return step.model_copy(update=changed) if changed else step

    def _changes(self, step: Step, ids: Collection[str]) -> dict[str, Any]:
        if self.kind == "tool":
            return {"tool": self.tool}
        if self.kind == "argument":
            names = {} if self.place in step.args else {self.wrong: self.place}
            return {"args": {names.get(name, name): value for name, value in step.args.items()}}
        if self.kind == "field":
            parts = {"args": step.args, "for_each": step.for_each}
            changed: dict[str, Any] = bindings.map_strings(
                parts, lambda text: _with_field(text, self.wrong, self.place) if _binds(text, ids) else text
            )
            return changed
        if self.place not in step.args:
            return {}
        style = operator.methodcaller(self.kind)
        styled = bindings.map_strings(step.args[self.place], lambda text: text if _binds(text, ids) else style(text))
        return {"args": {**step.args, self.place: styled}}


def apply_fixes(
    trajectory: Trajectory, fixes: Iterable[Fix], known: Collection[Step] = ()
) -> tuple[Trajectory, tuple[Fix, ...]]:
    """The trajectory with every change made that fits its steps, and those that did; of the same parent and operator.

    Args:
        known: steps that stay as they are, since they have been run.
    """
    steps = list(trajectory.steps)
    made: list[Fix] = []
    for fix in fixes:
        for position, step in enumerate(steps):
            if step not in known and (changed := fix.applied(step, trajectory.ids)) is not step:
                steps[position] = changed
                made.append(fix)
    if not made:
        return trajectory, ()
    child = Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)
    return child, tuple(dict.fromkeys(made))


def _binds(text: str, ids: Collection[str]) -> bool:
    return "$" in text and bindings.is_binding(text, {*ids, bindings.ITEM})


def _with_field(text: str, wrong: str, right: str) -> str:
    """The expression with the field at the path `right` in the place of that at `wrong`, which is the whole of a chain
    of names but for what names the record itself."""
    path = wrong.split(".")
    written = ".".join(name if _PLAIN.fullmatch(name) else f'"{name}"' for name in right.split("."))

    def rename(match: re.Match[str]) -> str:
        names = _NAME.findall(match["path"] or "")
        around = names[: -len(path)]
        if [name.strip('"') for name in names[-len(path) :]] != path or not all(map(_AROUND_RECORD.fullmatch, around)):
            return match[0]
        return ".".join([*around, written])

    return _TEXT_OR_PATH.sub(rename, text)
