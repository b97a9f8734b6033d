"""What a rewrite changed in a step, in words that name the tool and the argument or field but no value of the task."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.blame import extraction
from pivot_dspy.blame.predicates import Predicate
from pivot_dspy.memory.fixes import STYLES, Fix, Style
from pivot_dspy.trajectory import Step

Kind = Literal[
    "tool", "argument", "value", "made_up", "field", "condition", "source", "repeat", "added",
]  # fmt: skip

_NAME = re.compile(r"\w+(?:\.\w+)*")
_ALIKE = 0.6
_CASES: tuple[tuple[str, Style], ...] = (("in lower case", "lower"), ("in capitals", "upper"), ("capitalised", "title"))


class How(NamedTuple):
    """How a value was wrong, how to write it right, and the style of writing that would have done it."""

    wrong: str
    right: str
    style: Style | None = None


class StepEdit(NamedTuple):
    """One difference between a step before and after, about a tool and a place in its call.

    Attributes:
        place: the argument or field that it is about; empty where the whole step is meant.
        mistake: what the step did; `avoid` what to do instead. Both without values of the task.
        wrong: the names of fields or tools that it tells not to use.
        fix: the same in a form that is applied to a step, where there is one.
        position: of the step in the trajectory as it is now.
    """

    kind: Kind
    tool: str
    place: str
    mistake: str
    avoid: str
    wrong: tuple[str, ...] = ()
    fix: Fix | None = None
    position: int = 0

    @property
    def trigger(self) -> str:
        """When it applies."""
        if self.kind in ("field", "condition"):
            return f"a binding of {self.tool} that compares or sorts by {self.place}"
        if self.kind == "added":
            return f"a plan that may need {self.tool}"
        return f"a call of {self.tool}" + (f" with {self.place}" if self.place else "")


def edits(before: Step, after: Step, ids: Collection[str], tools: Mapping[str, str] | None = None) -> list[StepEdit]:
    """The differences between two versions of a step that can be put into words for any task.

    Choices that were written out (a binding that became an id) are the task's own, and left out.

    Args:
        ids: of all steps of both trajectories.
        tools: the tool of each step, by id.
    """
    if before.tool != after.tool:
        renamed = before.model_copy(update={"tool": after.tool}).content() == after.content()
        return [_of_tool(before.tool, after.tool, renamed)]
    found = [*_of_arguments(before, after, ids)]
    if all(change.kind != "made_up" for change in found):  # else nothing was selected before
        found += _of_expressions(before, after, ids, tools or {})
    if bool(before.for_each) != bool(after.for_each):
        found.append(_of_repeat(after))
    return list(dict.fromkeys(found))


def added(step: Step, before: str | None) -> StepEdit:
    """A step that was missing; `before` names the tool of the step that it was put before."""
    place = f" before {before}" if before else ""
    return StepEdit(
        "added", step.tool, "", f"the plan did not call {step.tool}{place}", f"call {step.tool}{place} where it serves"
    )


def _of_tool(wrong: str, right: str, renamed: bool) -> StepEdit:
    said = f"the plan called {wrong} where {right} was needed"
    fix = Fix(tool=right, kind="tool", wrong=wrong) if renamed else None
    return StepEdit("tool", right, "", said, f"call {right}, not {wrong}", (wrong,), fix)


def _of_repeat(after: Step) -> StepEdit:
    if after.for_each:
        said = ("it was called once, where it was needed for each element of a list", "repeat it with for_each")
    else:
        said = ("it was repeated over a list, where one call was needed", "call it once, without for_each")
    return StepEdit("repeat", after.tool, "for_each", f"{after.tool}: {said[0]}", f"in {after.tool}: {said[1]}")


def _of_arguments(before: Step, after: Step, ids: Collection[str]) -> Iterator[StepEdit]:
    tool = after.tool
    lost, gained = ([name for name in one.args if name not in other.args]
                    for one, other in ((before, after), (after, before)))  # fmt: skip
    if len(lost) == len(gained) == 1 and before.args[lost[0]] == after.args[gained[0]]:
        (wrong,), (right,) = lost, gained
        said, avoid = f"{tool} was called with an argument {wrong}", f"the argument of {tool} is {right}, not {wrong}"
        renamed = Fix(tool=tool, kind="argument", place=right, wrong=wrong)
        yield StepEdit("argument", tool, right, said, avoid, (wrong,), renamed)
        lost = gained = []
    for name in gained:
        yield StepEdit("argument", tool, name, f"{tool} was called without {name}", f"give {tool} its argument {name}")
    for name in lost:
        said = f"{tool} was called with an argument {name} that was not wanted"
        yield StepEdit("argument", tool, name, said, f"leave {name} out of {tool}")
    for name in after.args:
        if name in before.args and before.args[name] != after.args[name]:
            was, now = (_bound(step.args[name], ids) for step in (before, after))
            if now and not was:
                said = f"the argument {name} of {tool} was written out, and made up or wrong"
                avoid = f"bind the argument {name} of {tool} to the result that holds it"
                yield StepEdit("made_up", tool, name, said, avoid)
            elif not was and not now:
                how = _how(before.args[name], after.args[name])
                if how is not None:
                    said = f"the argument {name} of {tool} was {how.wrong}"
                    fix = Fix(tool=tool, kind=how.style, place=name) if how.style else None
                    advice = f"write the argument {name} of {tool} {how.right}"
                    yield StepEdit("value", tool, name, said, advice, fix=fix)


def _of_expressions(before: Step, after: Step, ids: Collection[str], tools: Mapping[str, str]) -> Iterator[StepEdit]:
    was, now = (extraction.predicates_of(step, ids) for step in (before, after))
    if not was.fields and not was.reads and not was.orders:
        return
    tool = after.tool
    lost = [name for name in _names(was) if name not in _names(now)]
    gained = [name for name in _names(now) if name not in _names(was)]
    given = {*before.args, *after.args}
    for right in gained:
        if right in given or not _NAME.fullmatch(right):
            continue
        near = difflib.get_close_matches(right, lost, n=1, cutoff=_ALIKE)
        wrong = near[0] if near else lost[0] if len(lost) == len(gained) == 1 else None
        ordered = [_name(order.path) for order in now.orders]
        if right in ordered and wrong is None:
            said = f"a binding of {tool} did not choose by {right}"
            yield StepEdit("condition", tool, right, said, f"for {tool} choose by {right}")
        elif wrong is not None and _NAME.fullmatch(wrong) and wrong not in given:
            said = f"a binding of {tool} used the field {wrong}"
            avoid = f"in bindings of {tool} the field is {right}, not {wrong}"
            fix = Fix(tool=tool, kind="field", place=right, wrong=wrong)
            yield StepEdit("field", tool, right, said, avoid, (wrong,), fix)
        else:
            said = f"a binding of {tool} did not look at the field {right}"
            yield StepEdit("condition", tool, right, said, f"in bindings of {tool} compare the field {right} too")
    yield from _of_facts(tool, was.predicates, now.predicates, given)
    for order in now.orders:
        turned = next((one for one in was.orders if one.path == order.path and one.direction != order.direction), None)
        if turned is not None and order.path:
            name = _name(order.path)
            said = f"a binding of {tool} took the wrong end of {name}"
            yield StepEdit("condition", tool, name, said, f"for {tool} choose the {order.direction} by {name}")
    sources = [{tools.get(read[0], "") for read in side.reads} - {""} for side in (was, now)]
    if sources[0] and sources[1] and not sources[0] & sources[1]:
        wrong, right = (", ".join(sorted(side)) for side in sources)
        avoid = f"bind {tool} to the result of {right}, not of {wrong}"
        yield StepEdit("source", tool, "", f"{tool} read the result of {wrong}", avoid)


def _of_facts(
    tool: str, was: tuple[Predicate, ...], now: tuple[Predicate, ...], given: Collection[str]
) -> Iterator[StepEdit]:
    """Comparisons on one field whose operator or value is another now."""
    for fact in now:
        name = _name(fact.path)
        if fact in was or name in given or not _NAME.fullmatch(name):
            continue
        old = [one for one in was if one.path == fact.path and one not in now]
        if len(old) != 1:
            continue
        if old[0].op != fact.op and old[0].value == fact.value:
            said = f"a binding of {tool} compared {name} by {old[0].op}"
            avoid = f"in {tool} mind whether {name} is asked for as {fact.op} or {old[0].op}"
            yield StepEdit("condition", tool, name, said, avoid)
        elif (how := _how(old[0].written, fact.written)) is not None:
            said = f"a binding of {tool} compared {name} with a value that was {how.wrong}"
            advice = f"in bindings of {tool} write the value of {name} {how.right}"
            yield StepEdit("condition", tool, name, said, advice)


def _names(said: extraction.StepPredicates) -> list[str]:
    paths = [*said.fields, *(order.path for order in said.orders)]
    return list(dict.fromkeys(_name(path) for path in paths if path))


def _name(path: tuple[str, ...]) -> str:
    """A field as its record has it; what `for_each` puts around the record is left out."""
    return ".".join(path[1:] if len(path) > 1 and path[0] in ("item", "result") else path)


def _bound(value: Any, ids: Collection[str]) -> bool:
    return any(bindings.references(text) and bindings.is_binding(text, ids) for text in bindings.strings(value))


def _how(before: Any, after: Any) -> How | None:
    """How a value was wrong, and how to write it; None where nothing general can be said."""
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        if len(before) != len(after):
            if len(before) < len(after):
                return How("not all that was asked for", "in full")
            return How("more than was asked for", "without more")
        found = [_how(was, now) for was, now in zip(before, after, strict=True) if was != now]
        return found[0] if found else None
    if isinstance(before, (list, tuple)) != isinstance(after, (list, tuple)):
        wanted = "a list" if isinstance(after, (list, tuple)) else "a single value, not a list"
        return How(f"not {wanted}", f"as {wanted}")
    if isinstance(before, bool) or isinstance(after, bool):
        return How("the opposite of what was wanted", "the other way round") if isinstance(before, bool) else None
    if isinstance(before, (int, float)) and isinstance(after, (int, float)):
        if before and after and max(before / after, after / before) in (10, 100, 1000):
            size = "large" if before > after else "small"
            return How(f"too {size} by a factor", "with its digits as they are given")
        return How("another number than was asked for", "with the number exactly as it is given")
    if not isinstance(before, str) or not isinstance(after, str):
        wanted = "a text" if isinstance(after, str) else "a number"
        return How(f"not {wanted}", f"as {wanted}")
    if before.strip() == after.strip():
        return How("padded with spaces", "without spaces around it", "strip" if after == before.strip() else None)
    if before.casefold() == after.casefold():
        name, style = next((one for one in _CASES if after == STYLES[one[1]](after)), ("in its own case", None))
        return How("in the wrong case", f"{name}, exactly as the tool has it", style)
    if difflib.SequenceMatcher(None, before, after).ratio() > _ALIKE:
        return How("misspelt", "letter by letter as it is given")
    return How("another than was asked for", "exactly as it is asked for")
