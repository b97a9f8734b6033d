"""Environments made of plain functions or `dspy.Tool`s, as `dspy.ReAct` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

import dspy

from pivot_dspy.environment.base import EFFECTS, Effect, Environment
from pivot_dspy.environment.toolbox import ToolSpec, Toolbox, describe
from pivot_dspy.errors import ConfigurationError

Effects = str | Mapping[str, str] | None


class FunctionEnvironment(Environment):
    """Tools without a state of their own that could be copied.

    Where every tool only reads, all sessions share it. A tool that writes acts on something that this package cannot
    see, let alone fork: then the tier is `live`, reads run, and writes wait for commit.
    """

    def __init__(self, toolbox: Toolbox, *, policy: str = "", vocabulary: str = "") -> None:
        self.toolbox = toolbox
        self.policy = policy
        self.vocabulary = vocabulary

    @property
    def read_only(self) -> bool:
        return all(spec.effect == "read" for spec in self.toolbox.tools.values())

    def fork(self) -> Environment:
        if self.read_only:
            return self
        raise ConfigurationError(
            "plain functions that write cannot be forked; write an Environment class whose state can be copied"
        )


def from_functions(
    tools: Iterable[Callable[..., Any] | dspy.Tool],
    *,
    effects: Effects = None,
    checks: Iterable[Callable[..., Any]] = (),
    policy: str = "",
    vocabulary: str = "",
) -> FunctionEnvironment:
    """An environment from what `dspy.ReAct(signature, tools)` takes: functions, callables or `dspy.Tool`s.

    Args:
        effects: one of `read`, `write`, `irreversible` for all tools, or a mapping from tool name to one of them;
            a tool that is not named writes.
        checks: read-only functions that requirements may use.

    Raises:
        ConfigurationError: two tools of one name, a tool called `submit`, an unknown effect, or an effect for a tool
            that does not exist.

    >>> def add(a: int, b: int) -> int:
    ...     "Sum of two numbers."
    ...     return a + b
    >>> print(from_functions([add], effects="read").toolbox.render_tools())
    - add(a: int, b: int) -> int  # Sum of two numbers.
    """
    tools = list(tools)
    names = [item.name if isinstance(item, dspy.Tool) else _name(item) for item in tools]
    chosen = effect_of(effects, names)
    specs = [
        of_tool(item, chosen[name]) if isinstance(item, dspy.Tool) else _of_function(item, name, chosen[name])
        for item, name in zip(tools, names, strict=True)
    ]
    check_specs = [_of_function(item, _name(item), "read") for item in checks]
    return FunctionEnvironment(Toolbox(specs, check_specs), policy=policy, vocabulary=vocabulary)


def effect_of(effects: Effects, names: Iterable[str], default: Effect = "write") -> dict[str, Effect]:
    """The effect of each tool.

    Raises:
        ConfigurationError: an unknown effect or tool name.
    """
    names = list(names)
    given = dict.fromkeys(names, effects) if isinstance(effects, str) else dict(effects or {})
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ConfigurationError(f"effects names {', '.join(unknown)}, which is no tool; tools: {', '.join(names)}")
    wrong = [effect for effect in given.values() if effect not in EFFECTS]
    if wrong:
        raise ConfigurationError(f"effect must be one of {', '.join(EFFECTS)}; got {wrong[0]!r}")
    return {name: given.get(name, default) for name in names}  # type: ignore[misc]


def of_tool(tool: dspy.Tool, effect: Effect) -> ToolSpec:
    """The `ToolSpec` of a `dspy.Tool`; calls go through the tool, so that DSPy's callbacks see them."""
    is_async = inspect.iscoroutinefunction(tool.func) or inspect.iscoroutinefunction(getattr(tool.func, "__call__", 0))
    args: dict[str, dict[str, Any]] = tool.args or {}

    def invoke(_: Any, **kwargs: Any) -> Any:
        return tool.acall(**kwargs) if is_async else tool(**kwargs)

    try:
        returns = get_type_hints(tool.func).get("return", inspect.Parameter.empty)
    except (TypeError, NameError):
        returns = inspect.Parameter.empty
    return ToolSpec(
        name=str(tool.name),
        description=" ".join((tool.desc or "").split()),
        invoke=invoke,
        parameters=args,
        required=tuple(name for name, schema in args.items() if "default" not in schema),
        annotations={
            name: kind
            for name, kind in (tool.arg_types or {}).items()
            if name in args and args[name].get("type") != "object" and "enum" not in args[name]
        },
        returns=returns,
        effect=effect,
        is_async=is_async,
        open_ended=bool(tool.has_kwargs),
    )


def _of_function(function: Callable[..., Any], name: str, effect: Effect) -> ToolSpec:
    if not callable(function):
        raise ConfigurationError(f"a tool must be callable or a dspy.Tool, not {type(function).__name__}")
    if not inspect.isroutine(function):
        return of_tool(dspy.Tool(function), effect)
    return describe(function, name=name, effect=effect)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
