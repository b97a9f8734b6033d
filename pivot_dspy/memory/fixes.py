"""Fixes: what a lesson tells to change in a written step, in a form that needs no model to be applied.

A repair that a model has made before need not be asked for again: fix patterns are learned from repairs, as in Getafix
(Bader et al., OOPSLA 2019).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from pivot_dspy import bindings
from pivot_dspy.plain_json import encodable
from pivot_dspy.trajectory import Frozen, Step, Trajectory

Style = Literal["lower", "upper", "title", "strip"]
STYLES: Mapping[Style, Callable[[str], str]] = {
    "lower": str.lower, "upper": str.upper, "title": str.title, "strip": str.strip
}  # fmt: skip
"""How the texts of an argument are written."""

_PLAIN = re.compile(r"[A-Za-z_]\w*")
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`")
_NAME = re.compile(r'"[^"]*"|\$?\w+')
# Names joined by dots; one that a parenthesis follows is a function.
_CHAIN = re.compile(rf"(?:{_NAME.pattern})(?:\s*\.\s*(?:{_NAME.pattern}))*(?!\w|\s*\()")
_AROUND = ("item", "result")
"""What `for_each` puts around a record."""

Text = Annotated[str, AfterValidator(encodable)]


class Fix(Frozen):
    """One change to calls of a tool.

    Attributes:
        kind: `tool`: a call of `wrong` becomes one of the tool; `argument`: its argument `wrong` becomes `place`;
            `field`: in its bindings, the field `wrong` becomes `place`, both as paths with dots; or a style: texts that
            are written out for the argument `place` are put in lower case, in capitals, capitalised, or stripped of
            spaces.

    >>> fix = Fix(tool="buy", kind="field", place="price", wrong="cost")
    >>> fix.applied(Step(id="b", tool="buy", args={"id": "$a.items[?cost < `5`] | [0].id"}), ["a", "b"]).args
    {'id': '$a.items[?price < `5`] | [0].id'}
    """

    tool: Annotated[Text, Field(min_length=1)]
    kind: Literal["tool", "argument", "field"] | Style
    place: Text = ""
    wrong: Text = ""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if bool(self.place) == (self.kind == "tool"):
            raise ValueError(f"a fix of kind {self.kind!r} has {'no' if self.place else 'a'} place")
        if bool(self.wrong) == (self.kind in STYLES) or self.wrong == (self.place or self.tool):
            needs = "nothing" if self.kind in STYLES else "another name"
            raise ValueError(f"a fix of kind {self.kind!r} has {needs} for wrong")
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

    def examples(self, step: Step, ids: Collection[str]) -> frozenset[str]:
        """Texts of the step that are written in the style of the fix, and could be written otherwise."""
        style = next((style for name, style in STYLES.items() if name == self.kind), None)
        if style is None or step.tool != self.tool:
            return frozenset()
        texts = (text for text in bindings.strings(step.args.get(self.place)) if not _binds(text, ids))
        return frozenset(
            text for text in texts if style(text) == text and (self.kind == "strip" or text.lower() != text.upper())
        )

    def _changes(self, step: Step, ids: Collection[str]) -> dict[str, Any]:
        if self.kind == "tool":
            return {"tool": self.tool}
        if self.kind == "argument":
            if self.place in step.args:
                return {}
            return {"args": {self.place if name == self.wrong else name: value for name, value in step.args.items()}}
        if self.kind == "field":
            return {"args": self._renamed(step.args, ids), "for_each": self._renamed(step.for_each, ids)}
        styled = self._styled(STYLES[self.kind], step.args.get(self.place), ids)
        return {"args": {name: styled if name == self.place else value for name, value in step.args.items()}}

    def _styled(self, style: Callable[[str], str], value: Any, ids: Collection[str]) -> Any:
        return _mapped(value, lambda text: text if _binds(text, ids) else style(text))

    def _renamed(self, value: Any, ids: Collection[str]) -> Any:
        return _mapped(value, lambda text: _with_field(text, self.wrong, self.place) if _binds(text, ids) else text)


def fixed(
    trajectory: Trajectory, fixes: Iterable[Fix], known: Collection[Step] = ()
) -> tuple[Trajectory, tuple[Fix, ...]]:
    """The trajectory with every change made that fits its steps, and those that did; of the same parent and operator.

    Args:
        known: steps that stay as they are, since they have been run.
    """
    steps = list(trajectory.steps)
    made: list[Fix] = []
    for fix in fixes:
        for place, step in enumerate(steps):
            if step in known or (changed := fix.applied(step, trajectory.ids)) is step:
                continue
            steps[place] = changed
            made.append(fix)
    if not made:
        return trajectory, ()
    child = Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)
    return child, tuple(dict.fromkeys(made))


def _binds(text: str, ids: Collection[str]) -> bool:
    return "$" in text and bindings.is_binding(text, {*ids, bindings.ITEM})


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with each text inside it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    return value


def _with_field(text: str, wrong: str, right: str) -> str:
    """The expression with the field at the path `right` in the place of that at `wrong`."""
    written = ".".join(name if _PLAIN.fullmatch(name) else f'"{name}"' for name in right.split("."))
    for start, end in reversed(list(_fields(text, wrong.split(".")))):
        text = f"{text[:start]}{written}{text[end:]}"
    return text


def _fields(text: str, path: list[str]) -> Iterator[tuple[int, int]]:
    """Where the field at `path` of a record stands in an expression: the whole of a chain of names, but for what
    names the record itself."""
    masked = _LITERAL.sub(lambda found: " " * len(found[0]), text)
    for chain in _CHAIN.finditer(masked):
        names = list(_NAME.finditer(chain[0]))
        said = [name[0].strip('"') for name in names]
        around = len(said) - len(path)
        if around >= 0 and said[around:] == path and all(map(_names_record, said[:around])):
            yield chain.start() + names[around].start(), chain.end()


def _names_record(name: str) -> bool:
    return name.startswith("$") or name in _AROUND
