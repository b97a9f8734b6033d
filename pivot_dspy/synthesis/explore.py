"""Explores an environment without a model: calls what only reads, with values that were seen so far."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from pivot_dspy import bindings
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.execution import Permit, allow, execute
from pivot_dspy.flow import Flow
from pivot_dspy.prompts.truncation import compact_json, fair_cap, truncate
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
    values = _Values()
    for name, value in (known or {}).items():
        values.note((name,), value)
    sights: list[Sight] = []
    useful: Counter[str] = Counter()
    tried: dict[str, set[str]] = {spec.name: set() for spec in session.toolbox.tools.values() if spec.effect == "read"}
    progress = True
    while progress:
        progress = False
        for name, before in tried.items():
            for args in _candidates(session.toolbox.tools[name], values):
                if useful[name] >= EACH or len(before) >= TRIES or sum(map(len, tried.values())) >= calls:
                    break
                if _arguments(args) in before:
                    continue
                before.add(_arguments(args))
                step = Step(id="s", tool=name, args=bindings.literal(args))
                run = yield from execute(Trajectory(steps=(step,)), session, permit=permit)
                observation = run.execution.observations[0]
                if observation.ok and not _is_empty(observation.value):
                    sights.append(Sight(tool=name, args=args, value=observation.value))
                    values.note((name,), observation.value)
                    useful[name] += 1
                    progress = True
                    break
    return tuple(sights)


class _Named(NamedTuple):
    name: frozenset[str]
    above: frozenset[str]
    value: Any


class _Values:
    """Values with the names that they stood under, in the order in which they were seen."""

    def __init__(self) -> None:
        self._seen: dict[str, _Named] = {}

    def note(self, path: tuple[str, ...], value: Any) -> None:
        """Remember a value and all that is inside it; `path` holds the names on the way to it."""
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self.note((*path, str(key)), inner)
            return
        if isinstance(value, list):
            for inner in value:
                self.note(path, inner)
            value = [inner for inner in value if not isinstance(inner, (Mapping, list))][:EACH]
        if value not in (None, "", []):
            above = _words(path[-2]) if len(path) > 1 else frozenset()
            named = _Named(_words(path[-1]), above, value)
            self._seen.setdefault(repr((sorted(named.name), sorted(above), value)), named)

    def like(self, parameter: str, schema: Mapping[str, Any]) -> list[Any]:
        """Values that fit the schema: of the most similar names first; of any name, where none is similar."""
        wanted = _words(parameter)
        counts: Counter[tuple[frozenset[str], frozenset[str]]] = Counter()
        ranked: list[tuple[int, int, Any]] = []
        for name, above, value in self._seen.values():
            for fitting in _fitting(value, schema):
                # One of each name in turn, so that no name with many values hides another.
                counts[name, above] += 1
                ranked.append((2 * len(wanted & name) + len(wanted & above), counts[name, above], fitting))
        ranked.sort(key=lambda row: (-row[0], row[1]))
        similar = [value for likeness, _, value in ranked if likeness] or [value for _, _, value in ranked]
        return similar[:OPTIONS]


def _candidates(spec: ToolSpec, values: _Values) -> Iterator[dict[str, Any]]:
    """Arguments to call a tool with: the required ones, then each optional one beside them."""
    options = {
        name: _list_values(schema)[:OPTIONS] or values.like(name, schema) for name, schema in spec.parameters.items()
    }
    required = [options[name] for name in spec.required]
    if not all(required):
        return
    turns = range(max(map(len, required), default=1))
    rows = [{name: options[name][turn % len(options[name])] for name in spec.required} for turn in turns]
    yield rows[0]
    for name, choices in options.items():
        if name not in spec.required and choices:
            yield {**rows[0], name: choices[0]}
    yield from rows[1:]


def _list_values(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> list[Any]:
    """The values that a schema itself names."""
    definitions = schema.get("$defs") or definitions or {}
    if "$ref" in schema:
        return _list_values(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1], {}), definitions)
    if schema.get("type") == "array":
        return [[value] for value in _list_values(schema.get("items") or {}, definitions)]
    own = [True, False] if schema.get("type") == "boolean" else schema.get("enum") or ()
    constant = [schema["const"]] if "const" in schema else []
    alternatives = (_list_values(inner, definitions) for inner in schema.get("anyOf", ()))
    return [*constant, *own, *chain.from_iterable(alternatives)]


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


def _is_empty(value: Any) -> bool:
    """Whether there is nothing in it, however deep."""
    if isinstance(value, (Mapping, list)):
        return all(map(_is_empty, value.values() if isinstance(value, Mapping) else value))
    return value is None or value == ""


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
