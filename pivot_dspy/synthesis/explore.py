"""Explores an environment without a model: calls what only reads, with values that were seen so far."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from pivot_dspy import bindings
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.execution import execute
from pivot_dspy.flow import Flow
from pivot_dspy.prompts.truncation import compact_json, fair_cap, truncate
from pivot_dspy.supervision import Permit, allow
from pivot_dspy.trajectory import Frozen, Step, Trajectory

CALLS = 40
"""Tool calls at most."""
EACH = 3
"""Calls of one tool that gave something, and elements of a list that are shown."""
TRIES = 8
"""Calls of one tool at most."""
OPTIONS = 6
"""Values that are tried for one parameter."""
LINE_CAP = 600
REPORT_CAP = 8000
"""Characters; about 2,000 tokens."""
_EMPTY: tuple[Any, ...] = (None, "", [])


class Sight(Frozen):
    """A call that gave something."""

    tool: str
    args: dict[str, Any]
    value: Any


def report(sights: tuple[Sight, ...]) -> str:
    """The calls and what they gave, one a line, long lists by their first elements."""
    lines = [f"{sight.tool}({_arguments(sight.args)}) -> {compact_json(_sample(sight.value))}" for sight in sights]
    cap = min(LINE_CAP, fair_cap([len(line) for line in lines], REPORT_CAP))
    return "\n".join(truncate(line, cap) for line in lines)


def explore(
    session: Session, known: Mapping[str, Any] | None = None, *, calls: int = CALLS, permit: Permit = allow
) -> Flow[tuple[Sight, ...]]:
    """Calls the read tools of a session: without arguments, then with values that earlier calls gave.

    A parameter is given what it lists itself (an enumeration), else what stood under the most similar name. The same
    environment gives the same calls. Tools take turns, so that each is seen; what failed is left out.

    Args:
        known: values by name that are known beforehand, such as the task's inputs.
        calls: how many calls are made at most.
        permit: asked before every call.
    """
    tools = [spec for spec in session.toolbox.tools.values() if spec.effect == "read"]
    values = [named for name, value in (known or {}).items() for named in _leaves(value, name)]
    sights: list[Sight] = []
    tried: set[tuple[str, str]] = set()
    seen_before = -1
    while len(sights) > seen_before:
        seen_before = len(sights)
        for spec in tools:
            candidates = {(spec.name, _arguments(args)): args for args in _candidates(spec, values)}
            tries = min(TRIES - sum(tool == spec.name for tool, _ in tried), calls - len(tried))
            if sum(sight.tool == spec.name for sight in sights) >= EACH:
                tries = 0
            for call in [call for call in candidates if call not in tried][:tries]:
                tried.add(call)
                step = Step(id="s", tool=spec.name, args=bindings.literal(candidates[call]))
                run = yield from execute(Trajectory(steps=(step,)), session, permit=permit)
                observation = run.execution.observations[0]
                leaves = [*_leaves(observation.value, spec.name)] if observation.ok else []
                if leaves:
                    sights.append(Sight(tool=spec.name, args=candidates[call], value=observation.value))
                    values += leaves
                    break
    return tuple(sights)


class _Named(NamedTuple):
    value: Any
    name: frozenset[str]
    """The words of the name that it stood under."""
    above: frozenset[str] = frozenset()
    """Those of the name above that."""


def _leaves(value: Any, name: str, above: str = "") -> Iterator[_Named]:
    """The values inside `value` that are not empty, with their names; the first of a list also together."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, str(key), name)
        return
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name, above)
        value = [inner for inner in value if not isinstance(inner, (Mapping, list)) and inner not in _EMPTY][:EACH]
    if value not in _EMPTY:
        yield _Named(value, _words(name), _words(above))


def _candidates(spec: ToolSpec, values: list[_Named]) -> Iterator[dict[str, Any]]:
    """Arguments to call a tool with: the required ones, then each optional one beside them."""
    options = {name: _options(name, schema, values) for name, schema in spec.parameters.items()}
    required = [options[name] for name in spec.required]
    if not all(required):
        return
    turns = range(max(map(len, required), default=1))
    rows = [{name: options[name][turn % len(options[name])] for name in spec.required} for turn in turns]
    yield rows[0]
    yield from ({**rows[0], name: options[name][0]} for name in options if name not in spec.required and options[name])
    yield from rows[1:]


def _options(parameter: str, schema: Mapping[str, Any], values: list[_Named]) -> list[Any]:
    """Values for a parameter: those that its schema names, else those of the most similar names, else any."""
    listed = [fitting for value in _constants(schema) for fitting in _fitting(value, schema)]
    if listed:
        return listed[:OPTIONS]
    words = _words(parameter)
    counts: Counter[tuple[frozenset[str], frozenset[str]]] = Counter()
    ranked: list[tuple[int, int, Any]] = []
    for value, name, above in {repr((named.value, *map(sorted, named[1:]))): named for named in values}.values():
        for fitting in _fitting(value, schema):
            # One of each name in turn, so that no name with many values hides another.
            counts[name, above] += 1
            ranked.append((-2 * len(words & name) - len(words & above), counts[name, above], fitting))
    ranked.sort(key=lambda row: row[:2])
    similar = [value for likeness, _, value in ranked if likeness] or [value for _, _, value in ranked]
    return similar[:OPTIONS]


def _constants(schema: Any) -> Iterator[Any]:
    """The values that a schema names, at whatever depth."""
    if isinstance(schema, Mapping):
        yield from [schema["const"]] if "const" in schema else schema.get("enum", ())
        yield from [True, False] if schema.get("type") == "boolean" else ()
        schema = [*schema.values()]
    for inner in schema if isinstance(schema, list) else ():
        yield from _constants(inner)


def _fitting(value: Any, schema: Mapping[str, Any]) -> list[Any]:
    """The value as the schema takes it, a list around it where a list is asked for; none where it does not fit."""
    validator = Draft202012Validator(schema)
    try:
        return [written for written in (value, [value]) if validator.is_valid(written)][:1]
    except Unresolvable:  # a schema that refers to nothing: no call will pass it
        return []


def _words(name: str) -> frozenset[str]:
    """The words of a name, so that singular and plural are one."""
    parts = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return frozenset(part.rstrip("es") or part for part in parts)


def _arguments(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items())


def _sample(value: Any) -> Any:
    """`value` with no more than the first elements of each list."""
    if isinstance(value, Mapping):
        return {key: _sample(inner) for key, inner in value.items()}
    if isinstance(value, list):
        first = [_sample(inner) for inner in value[:EACH]]
        return first if len(value) <= EACH else [*first, f"… {len(value)} in all"]
    return value
