"""What may be declared of a tool beside its effect: how it is undone, its idempotency key, what differs in its results,
and which reads may be made at once or need not be made twice.

>>> def book(room: str, request_id: str) -> dict[str, str]:
...     return {"id": request_id, "room": room}
>>> def cancel(result: dict[str, str]) -> None:
...     "Take a booking back."
>>> from pivot_dspy.environment.toolbox import describe
>>> specs = [describe(function, name=function.__name__, effect="write") for function in (book, cancel)]
>>> booking = declare(specs, undo={"book": "cancel"}, idempotency_key={"book": "request_id"})[0]
>>> booking.signature, booking.undo.name
('book(room) -> {str: str}', 'cancel')
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pivot_dspy.environment.base import Approval, refuse_approval, require_read
from pivot_dspy.environment.toolbox import ToolSpec, Undo, arguments_adapter
from pivot_dspy.errors import ConfigurationError, did_you_mean
from pivot_dspy.leaf_paths import checked

RESULT = "result"
"""The parameter of an undo that takes what the call gave which it undoes."""

Reads = bool | Iterable[str]
"""For which tools something is declared that only reads can be: by name, or True for all that only read."""


def declare(
    specs: Sequence[ToolSpec],
    *,
    undo: Mapping[str, str] | None = None,
    idempotency_key: Mapping[str, str] | None = None,
    volatile: Mapping[str, Iterable[str]] | None = None,
    parallel: Reads = False,
    pure: Reads = False,
    approval: Mapping[str, Approval] | None = None,
) -> list[ToolSpec]:
    """The tools with what is declared of them, each by name; `undo` names other tools.

    Raises:
        ConfigurationError: what is declared names no tool, or does not fit it.
    """
    at_once, pure_reads = _reads("parallel", parallel, specs), _reads("pure", pure, specs)
    undo, idempotency_key, volatile, approval = undo or {}, idempotency_key or {}, volatile or {}, approval or {}
    names = [spec.name for spec in specs]
    by_option: dict[str, Iterable[str]] = {
        "undo": undo, "idempotency_key": idempotency_key, "volatile": volatile, "approval": approval
    }  # fmt: skip
    for option, declared in by_option.items():
        refuse_unknown(option, declared, names)
    keyed = [with_key(spec, idempotency_key.get(spec.name)) for spec in specs]
    by_name = {spec.name: spec for spec in keyed}
    made = []
    for spec in keyed:
        undone_by = None
        if name := undo.get(spec.name):
            if name not in by_name:
                raise ConfigurationError(
                    f"the tool {spec.name!r} names the undo {name!r}, which is no tool{_meant(name, names)}"
                )
            takes = by_name[name]
            undone_by = undo_of(spec, name, {key: key in takes.required for key in takes.parameters}, takes.open_ended)
        paths = checked(volatile.get(spec.name, ()))
        needs = approval.get(spec.name, False)
        if needs:
            refuse_approval(spec.effect, spec.name)
        made.append(
            replace(
                spec, undo=undone_by, volatile=paths, parallel=spec.name in at_once, pure=spec.name in pure_reads,
                approval=needs,
            )
        )  # fmt: skip
    return made


def _reads(option: str, declared: Reads, specs: Sequence[ToolSpec]) -> set[str]:
    """The names of the tools of which something is declared that only reads can be."""
    effects = {spec.name: spec.effect for spec in specs}
    if isinstance(declared, bool):
        return {name for name, effect in effects.items() if declared and effect == "read"}
    if isinstance(declared, str):
        raise ConfigurationError(f"{option} takes names of tools, or True for all that read; write [{declared!r}]")
    names = set(declared)
    refuse_unknown(option, sorted(names), list(effects))
    for name in sorted(names):
        require_read(option, effects[name], name)
    return names


def refuse_unknown(option: str, declared: Iterable[str], names: Sequence[str]) -> None:
    """Raises ConfigurationError where something is declared of what is no tool."""
    if unknown := [name for name in declared if name not in names]:
        raise ConfigurationError(f"{option} names {', '.join(unknown)}, which is no tool; tools: {', '.join(names)}")


def with_key(spec: ToolSpec, key: str | None) -> ToolSpec:
    """The tool without the parameter that takes its idempotency key: no model sees that, or gives it.

    Raises:
        ConfigurationError: it takes no such parameter.
    """
    if key is None:
        return spec
    if key not in spec.parameters and not spec.open_ended:
        raise ConfigurationError(
            f"the tool {spec.name!r} takes no {key!r}, which idempotency_key names{_meant(key, spec.parameters)}"
        )
    parameters = {name: schema for name, schema in spec.parameters.items() if name != key}
    types = {name: spec.annotations.get(name, Any) for name in parameters}
    required = tuple(name for name in spec.required if name != key)
    return replace(
        spec,
        description=_without_mention(spec.description, key),
        parameters=parameters,
        required=required,
        annotations={name: kind for name, kind in spec.annotations.items() if name != key},
        defaults={name: value for name, value in spec.defaults.items() if name != key},
        adapter=spec.adapter and arguments_adapter(spec.name, types, required, spec.other_types),
        idempotency_key=key,
    )


def undo_of(spec: ToolSpec, name: str, takes: Mapping[str, bool], open_ended: bool = False) -> Undo:
    """How calls of a tool are undone: by what is called `name` and takes these parameters (whether each is required).

    It is given the arguments of the call, and what the call gave as `result`.

    Raises:
        ConfigurationError: the tool only reads, or the parameters are others.
    """
    if spec.effect == "read":
        raise ConfigurationError(f"the tool {spec.name!r} only reads; there is nothing for {name!r} to undo")
    known = {*spec.parameters, spec.idempotency_key, RESULT}
    unknown = [parameter for parameter, required in takes.items() if required and parameter not in known]
    # What it is not told of a call it has to find in the call's result.
    missing = [] if open_ended or RESULT in takes else [key for key in spec.parameters if key not in takes]
    if unknown or missing:
        problems = [f"cannot be given {', '.join(unknown)}"] if unknown else []
        problems += [f"does not take {', '.join(missing)}"] if missing else []
        raise ConfigurationError(
            f"{name!r}, which undoes {spec.name!r}, {' and '.join(problems)}; it takes the parameters of "
            f"{spec.name!r}, or what that gave as {RESULT!r}"
        )
    return Undo(name, None if open_ended else frozenset(takes))


def undo_by_method(spec: ToolSpec, name: str, kind: type) -> Undo:
    """How calls of a method are undone: by another method of its class.

    Raises:
        ConfigurationError: as `undo_of`, or there is no such method.
    """
    function: Callable[..., Any] | None = getattr(kind, name, None)
    if not inspect.isfunction(function):
        raise ConfigurationError(f"the tool {spec.name!r} names the undo {name!r}, which is no method of its class")
    parameters = list(inspect.signature(function).parameters.values())[1:]
    named = {p.name: p.default is p.empty for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return undo_of(spec, name, named, any(p.kind is p.VAR_KEYWORD for p in parameters))


def _meant(name: str, names: Iterable[str]) -> str:
    names = list(names)
    return did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"


def _without_mention(description: str, name: str) -> str:
    """A description, its line ends joined, without what it says of a parameter."""
    entry = rf":?(?:param )?`?\b{re.escape(name)}\b`?(?: \([^)]*\))?:.*?(?= :?\w+(?: \w+)?(?: \([^)]*\))?:(?: |$)|$)"
    rest = " ".join(re.sub(entry, "", description).split())
    rest = re.sub(r"\b(?:Args|Arguments|Parameters):\s*(?=(?:Returns|Raises|Yields|Examples?):|$)", "", rest)
    sentences = re.split(r"(?<=[.!?])\s+", rest)
    return " ".join(sentence for sentence in sentences if not re.search(rf"\b{re.escape(name)}\b", sentence)).strip()
