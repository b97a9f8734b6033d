"""The tools that a server lists, as the package describes tools; those that cannot be described, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from pivot_dspy.environment.base import Effect
from pivot_dspy.environment.declarations import with_key
from pivot_dspy.environment.mcp.results import field
from pivot_dspy.environment.schemas import parameters_of, require_valid, self_contained, without_foreign_patterns
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.errors import ConfigurationError, did_you_mean
from pivot_dspy.trajectory import SUBMIT

EXCLUDED = "exclude names it"


@dataclass(frozen=True)
class ServerTool:
    """What is needed to call a tool and to read what it gives."""

    name: str
    writes: bool
    returns: Mapping[str, Any] | None = None
    """Its output schema."""
    hidden: frozenset[str] = frozenset()
    """Its parameters that are given to every call and that no model sees."""
    listed: str = ""
    """What the server listed of it; empty where nobody looked."""

    async def __call__(self, environment: Any, /, **arguments: Any) -> Any:
        return await environment.server.call(self, arguments)


@dataclass(frozen=True)
class Listing:
    """The tools of a server by name, and why others are left out."""

    tools: Mapping[str, Any]
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, listed: Iterable[Any], exclude: Iterable[str] = ()) -> Listing:
        """Sort what a server lists.

        Args:
            exclude: names of tools that are not wanted.

        Raises:
            ConfigurationError: one of these is no tool.
        """
        tools: dict[str, Any] = {}
        left_out: dict[str, str] = {}
        for tool in listed:
            if tool.name in tools and tool != tools[tool.name]:
                left_out[tool.name] = "the server lists two tools of this name"
            tools.setdefault(tool.name, tool)
        for name, tool in tools.items():
            if why := _why_not(tool):
                left_out.setdefault(name, why)
        for name in exclude:
            if name not in tools:
                raise ConfigurationError(f"exclude names {name!r}, which is no tool{did_you_mean(name, tools)}")
            left_out[name] = EXCLUDED
        return cls({name: tool for name, tool in tools.items() if name not in left_out}, left_out)

    def refuse(self, option: str, names: Iterable[str]) -> None:
        """Raises ConfigurationError where an option names a tool that is left out."""
        for name in names:
            if name in self.left_out:
                raise ConfigurationError(f"{option} names the tool {name!r}, which is left out: {self.left_out[name]}")

    def differences(self, tools: Iterable[Any]) -> str:
        """How the tools that a server lists now differ from these, in words; empty where they do not."""
        now = {tool.name: tool for tool in tools}
        before = {**self.left_out, **self.tools}
        gone = [f"{name} is gone" for name in before if name not in now]
        new = [f"{name} is new" for name in now if name not in before]
        both = [name for name in self.tools if name in now]
        changed = [f"{name} has changed" for name in both if told_of(now[name]) != told_of(self.tools[name])]
        return ", ".join([*gone, *new, *changed])

    def hinted(self) -> dict[str, Effect]:
        """The effects of the tools of which the server tells one."""
        hints = {name: _hinted_effect(tool) for name, tool in self.tools.items()}
        return {name: effect for name, effect in hints.items() if effect is not None}


def spec_of(tool: Any, effect: Effect, hidden: Iterable[str] = ()) -> ToolSpec:
    """The description of a listed tool; what calls it is a `ServerTool`.

    Args:
        hidden: names of parameters that no model sees.
    """
    schema = _input_schema(tool)
    parameters, required = parameters_of(schema)
    returns = _output_schema(tool)
    own = [name for name in hidden if name in parameters]
    spec = ToolSpec(
        name=tool.name,
        description=" ".join((tool.description or "").split()),
        invoke=ServerTool(tool.name, effect != "read", returns, frozenset(own), told_of(tool)),
        parameters=parameters,
        required=required,
        returns_schema=None if returns is None else self_contained(returns),
        effect=effect,
        is_async=True,
        open_ended=bool(schema.get("additionalProperties", False) or schema.get("patternProperties")),
    )
    for name in own:  # like an idempotency key, it is taken from what is told of the tool
        spec = replace(with_key(spec, name), idempotency_key=None)
    return spec


def told_of(tool: Any) -> str:
    """What a server lists of a tool but for words: schemas and hints. Where this changes, it may do something else."""
    about = [_input_schema(tool), _output_schema(tool), _hinted_effect(tool)]
    return json.dumps(about, sort_keys=True, default=str)


def called_by(spec: ToolSpec) -> ServerTool:
    """What calls a tool of a server."""
    return cast(ServerTool, spec.invoke)


def _why_not(tool: Any) -> str:
    """Why a tool cannot be offered; empty where it can."""
    if tool.name == SUBMIT:
        return "it is called like what ends a trajectory; rename it in the server"
    try:
        if (returns := _output_schema(tool)) is not None:
            require_valid(returns)
        spec = spec_of(tool, "write")
        _ = spec.signature, spec.details
    except ConfigurationError as error:
        return f"its schema cannot be used: {error}"
    except (RecursionError, TypeError, ValueError, AttributeError, LookupError) as error:
        return f"it cannot be described: {type(error).__name__}: {error}"
    return ""


def _input_schema(tool: Any) -> Mapping[str, Any]:
    return without_foreign_patterns(field(tool, "input_schema", "inputSchema") or {})  # type: ignore[no-any-return]


def _output_schema(tool: Any) -> Mapping[str, Any] | None:
    return without_foreign_patterns(field(tool, "output_schema", "outputSchema"))  # type: ignore[no-any-return]


def _hinted_effect(tool: Any) -> Effect | None:
    hints = getattr(tool, "annotations", None)
    if field(hints, "read_only_hint", "readOnlyHint") is True:
        return "read"
    return {True: "irreversible", False: "write"}.get(field(hints, "destructive_hint", "destructiveHint"))  # type: ignore
