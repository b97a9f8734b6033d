"""Steps as a rule would write them: near misses of names that one candidate fits, and conditions as requirements ask.

None runs anything irreversible, and none has a tool that changes something be given a value that no result has shown:
there only names and the conditions inside bindings are mended.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.blame.extraction import predicates_of
from pivot_dspy.blame.predicates import Predicate, Relation, compare, same_field
from pivot_dspy.environment.toolbox import ArgumentError, Toolbox, ToolSpec
from pivot_dspy.trajectory import Step

_COMPARATORS = frozenset(("==", "!=", "<", "<=", ">", ">="))


def with_near_tool(step: Step, toolbox: Toolbox) -> Step | None:
    """The step with the one tool whose name is near to the one that it calls, and that takes its arguments."""
    name = _nearest(step.tool, toolbox.tools)
    spec = toolbox.spec(name) if name else None
    return _calling(step, spec) if spec is not None and not spec.misnamed(step.args) else None


def with_fitting_call(step: Step, toolbox: Toolbox, resolved: Mapping[str, Any] | None = None) -> Step | None:
    """The step whose arguments its tool does not take: under near names that it has, and in a list where it takes one;
    or, where no name is near, with the one tool that takes exactly them and does no more than its own.

    Args:
        resolved: what its bindings gave.
    """
    spec = toolbox.spec(step.tool)
    if spec is None:
        return None
    given = {**step.args, **(resolved or {})}
    free = [name for name in spec.parameters if name not in step.args]
    unknown = [name for name in step.args if name not in spec.parameters]
    near = {name: _nearest(name, free) or name for name in unknown}
    args = {near.get(name, name): _fitting(value, given[name], spec, near.get(name, name))
            for name, value in step.args.items()}  # fmt: skip
    if args != step.args and len(args) == len(step.args) and not spec.misnamed(args):
        return _calling(step.model_copy(update={"args": args}), spec)
    effects = ("read", spec.effect)
    others = [other for other in toolbox.tools.values() if other.effect in effects and _takes(other, step.args)]
    return _calling(step, others[0]) if unknown and len(others) == 1 else None


def with_field(step: Step, source: str, field: str, fields: Collection[str]) -> Step | None:
    """The step that reads from the result of `source` the one of its fields whose name is near to a wrong one."""
    near = _nearest(field, fields)
    pattern = rf"\${re.escape(source)}\.{re.escape(field)}(?!\w)"
    return None if near is None else _rewritten(step, pattern, f"${source}.{near}")


def with_predicate(
    step: Step, wrong: Predicate, meant: Predicate, toolbox: Toolbox, known: Collection[str]
) -> Step | None:
    """The step that selects as a requirement asks, where what it selects by stands in it once."""
    spec = toolbox.spec(step.tool)
    if spec is None or spec.effect == "irreversible" or meant.deferred:
        return None
    name = wrong.path[0]
    if len(wrong.path) == 1 and name in step.args and spec.effect == "read" and same_field(wrong, meant):
        mended = _with_argument(step, name, wrong, meant)
    else:
        mended = _rewritten(step, _pattern(wrong), _condition(_field(wrong, meant), meant))
    if mended is None:
        return None
    selected = predicates_of(mended, known).predicates
    return mended if any(compare(predicate, meant) is Relation.SAME for predicate in selected) else None


def _nearest(name: str, names: Collection[str]) -> str | None:
    """The one of `names` that is near to a wrong one; None where none is, or several are."""
    close = difflib.get_close_matches(name, list(names), n=2)
    return close[0] if len(close) == 1 else None


def _calling(step: Step, spec: ToolSpec) -> Step | None:
    return None if spec.effect == "irreversible" else step.model_copy(update={"tool": spec.name})


def _takes(spec: ToolSpec, args: Mapping[str, Any]) -> bool:
    """Whether a tool takes exactly these arguments, as far as they are written out."""
    if not args or spec.misnamed(args):
        return False
    if any("$" in text for text in bindings.strings(args)):
        return True
    try:
        spec.validate(args)
    except ArgumentError:
        return False
    return True


def _fitting(value: Any, resolved: Any, spec: ToolSpec, name: str) -> Any:
    """The argument in a list, where the tool takes one and it gives a text or a number, as far as that is known."""
    takes_list = spec.parameters.get(name, {}).get("type") == "array"
    unresolved = isinstance(resolved, str) and "$" in resolved
    return [value] if takes_list and isinstance(resolved, (str, int)) and not unresolved else value


def _with_argument(step: Step, name: str, wrong: Predicate, meant: Predicate) -> Step | None:
    if meant.op not in (wrong.op, "in", "==") or isinstance(meant.written, tuple):
        return None
    new, value = bindings.literal(meant.written), step.args[name]
    if isinstance(value, list):
        new = [new if item == wrong.written else item for item in value]
    return step.model_copy(update={"args": {**step.args, name: new}})


def _field(wrong: Predicate, meant: Predicate) -> str:
    """The field that a requirement means, where a step looks for it: `item.color` for `color`."""
    around = max(0, len(wrong.path) - len(meant.path))
    path = wrong.path if same_field(wrong, meant) else (*wrong.path[:around], *meant.path)
    return ".".join(part if part.isidentifier() else json.dumps(part) for part in path)


def _condition(field: str, meant: Predicate) -> str | None:
    """What a requirement asks of a field, as JMESPath; None where it cannot be said in one comparison."""
    value = meant.written
    if isinstance(value, tuple) or meant.op not in (*_COMPARATORS, "contains"):
        return None
    literal = f"`{json.dumps(value)}`"
    return f"contains({field}, {literal})" if meant.op == "contains" else f"{field} {meant.op} {literal}"


def _pattern(wrong: Predicate) -> str:
    """A pattern for a comparison as JMESPath writes it."""
    field = r"\.".join(f'"?{re.escape(part)}"?' for part in wrong.path)
    value = re.escape(str(wrong.written))
    literal = rf"(?:'{value}'|`\"?{value}\"?`)"
    if wrong.op == "contains":
        return rf"contains\(\s*{field}\s*,\s*{literal}\s*\)"
    return rf"(?<![\w.]){field}\s*{re.escape(wrong.op)}\s*{literal}"


def _rewritten(step: Step, pattern: str, new: str | None) -> Step | None:
    """The step with what the pattern matches in its bindings replaced; None unless that is just one place."""
    if new is None:
        return None
    if sum(len(re.findall(pattern, text)) for text in step.dollar_texts) != 1:
        return None

    def replaced(text: str) -> str:
        return re.sub(pattern, lambda match: new, text) if text in step.dollar_texts else text

    for_each = step.for_each and replaced(step.for_each)
    return step.model_copy(update={"args": bindings.map_strings(step.args, replaced), "for_each": for_each})
