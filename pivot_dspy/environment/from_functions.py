"""Environments made of plain functions or `dspy.Tool`s, as `dspy.ReAct` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_type_hints

import dspy
from pydantic.errors import PydanticUserError

from pivot_dspy.environment.base import CHECK_MARK, Approval, Effect, Environment
from pivot_dspy.environment.callables import Parameters, annotated, by_name, unwrapped
from pivot_dspy.environment.declarations import Reads, declare, refuse_unknown
from pivot_dspy.environment.lookups import lookup
from pivot_dspy.environment.toolbox import EMPTY, Toolbox, ToolSpec, arguments_adapter, describe, first_line, inline
from pivot_dspy.errors import ConfigurationError

Effects = str | Mapping[str, str] | None


class FunctionEnvironment(Environment):
    """Tools without a state of their own that could be copied.

    Where every tool only reads, all sessions share it. A tool that writes acts on something that this package cannot
    see, let alone fork: then the tier is `live`, reads run, and writes wait for commit. Made by a factory with
    `isolated`, it is opened again instead, and the tier is `replay`.
    """

    def __init__(
        self,
        tools: Iterable[ToolSpec],
        checks: Iterable[Callable[..., Any]] = (),
        *,
        policy: str = "",
        vocabulary: str = "",
        orientation: Iterable[str | tuple[str, Mapping[str, Any]]] = (),
        isolated: bool = False,
    ) -> None:
        checks = list(checks)
        specs = [describe(check, name=_name(check), effect="read") for check in checks]
        marks = [getattr(check, CHECK_MARK, None) for check in checks]
        lookups = [each for spec, mark in zip(specs, marks, strict=True) for each in lookup(spec, mark)]
        self.toolbox = Toolbox(tools, specs, lookups)
        self.policy = policy
        self.vocabulary = vocabulary
        reads = orientation if isinstance(orientation, str) else tuple(orientation)
        self.toolbox.of_orientation(reads)
        self.orientation = tuple(reads)
        self.forkable = all(spec.effect == "read" for spec in self.toolbox.tools.values())
        self.reopenable = isolated

    def fork(self) -> Environment:
        if self.forkable:
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
    orientation: Iterable[str | tuple[str, Mapping[str, Any]]] = (),
    isolated: bool = False,
    undo: Mapping[str, str] | None = None,
    idempotency_key: Mapping[str, str] | None = None,
    volatile: Mapping[str, Iterable[str]] | None = None,
    parallel: Reads = False,
    pure: Reads = False,
    approval: Mapping[str, Approval] | None = None,
) -> FunctionEnvironment:
    """An environment from what `dspy.ReAct(signature, tools)` takes: functions, callables or `dspy.Tool`s.

    Args:
        effects: one of `read`, `write`, `irreversible` for all tools, or a mapping from tool name to one of them;
            a tool that is not named writes.
        checks: read-only functions that requirements may use.
        orientation: read tools whose results the planner sees before planning: names, or `(name, arguments)`.
        isolated: for use in a factory that makes the tools together with all that they act on: says that what they
            write is gone with them, so that writes may run before commit.
        undo: for tools, by name, the tool that undoes a call; see `pivot_dspy.tool`, also for the next two.
        idempotency_key: for tools, by name, the parameter that takes an idempotency key.
        volatile: for tools, by name, paths of what may differ between two results.
        parallel: names of read tools of which calls may be made at once, plain functions in threads; True for all that
            read. See `pivot_dspy.tool`, also for the next.
        pure: names of read tools whose results hang on their arguments alone; True for all that read.
        approval: by tool name, whether its calls wait for a person's approval, or a function of their arguments that
            says so, as in `@tool(approval=)`.

    Raises:
        ConfigurationError: two tools of one name, a tool called `submit`, an unknown effect, a tool that cannot be
            described, or something declared of a tool that does not exist, or that does not fit it.

    >>> def add(a: int, b: int) -> int:
    ...     "Sum of two numbers."
    ...     return a + b
    >>> print(from_functions([add], effects="read").toolbox.render_tools())
    - add(a: int, b: int) -> int  # Sum of two numbers.
    >>> reads = from_functions([add], effects="read", parallel=["add"], pure=True).toolbox
    >>> reads.tools["add"].parallel, reads.tools["add"].pure
    (True, True)
    """
    tools = list(tools)
    names = [_name(item) for item in tools]
    chosen = effect_of(effects, names)
    specs = [
        of_tool(item, chosen[name]) if isinstance(item, dspy.Tool) else describe(item, name=name, effect=chosen[name])
        for item, name in zip(tools, names, strict=True)
    ]
    return FunctionEnvironment(
        declare(
            specs, undo=undo, idempotency_key=idempotency_key, volatile=volatile, parallel=parallel, pure=pure,
            approval=approval,
        ),  # fmt: skip
        checks,
        policy=policy,
        vocabulary=vocabulary,
        orientation=orientation,
        isolated=isolated,
    )


def effect_of(effects: Effects, names: Iterable[str], default: Mapping[str, Effect] | None = None) -> dict[str, Effect]:
    """The effect of each tool; `write`, or what `default` says, where none is given.

    Raises:
        ConfigurationError: an unknown tool name.
    """
    names = list(names)
    declared = dict.fromkeys(names, effects) if isinstance(effects, str) else dict(effects or {})
    refuse_unknown("effects", declared, names)
    return {**dict.fromkeys(names, "write"), **(default or {}), **declared}  # type: ignore[dict-item]


def of_tool(tool: dspy.Tool, effect: Effect) -> ToolSpec:
    """The `ToolSpec` of a `dspy.Tool`: its own schema and types, and its function called directly.

    Raises:
        ConfigurationError: its argument types cannot be used as a schema.
    """
    name = str(tool.name)
    function, target = tool.func, annotated(tool.func)
    signature = list(inspect.signature(function).parameters.values())
    variadic = {p.name: p for p in signature if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    defaults = {p.name: p.default for p in signature if p.default is not EMPTY}
    inferred = (dspy.Tool(function).args or {}) if variadic else {}
    # dspy.Tool lists *args and **kwargs among the arguments; a given schema may name a true argument so.
    args = {
        key: schema
        for key, schema in (tool.args or {}).items()
        if key not in variadic or {**schema, "description": ""} != {**inferred[key], "description": ""}
    }
    types = {key: kind for key, kind in (tool.arg_types or {}).items() if key in args}
    required = tuple(key for key, schema in args.items() if "default" not in schema and key not in defaults)
    try:
        hints = get_type_hints(target, include_extras=True)
        more = Parameters.of([p for key, p in variadic.items() if key not in args], hints)
        args |= inline(arguments_adapter(name, more.types, more.required).json_schema())
        others = EMPTY if more.keywords is None else more.keywords.kind
        if any(variadic[key].kind is inspect.Parameter.VAR_KEYWORD for key in variadic.keys() & types.keys()):
            others = Any  # a given schema has given its name away
        types, required = {**types, **more.types}, (*required, *more.required)
        adapter = arguments_adapter(name, {key: types.get(key, Any) for key in args}, required, others)
        returns = hints.get("return", EMPTY)
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        raise ConfigurationError(
            f"the tool {name!r} cannot be described: {first_line(error)}; give dspy.Tool types that pydantic knows"
        ) from error

    def invoke(_: Any, /, **kwargs: Any) -> Any:
        return by_name(function, signature)(**kwargs)

    return ToolSpec(
        name=name,
        description=" ".join((tool.desc or "").split()),
        invoke=invoke,
        parameters=args,
        required=required,
        annotations={key: kind for key, kind in types.items() if kind not in (Any, list, dict)},
        defaults={key: defaults[key] for key, schema in args.items() if key in defaults and "default" not in schema},
        returns=returns,
        adapter=adapter,
        check_schema=True,
        effect=effect,
        is_async=inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(target),
        open_ended=others is not EMPTY,
        keywords=more.keywords,
        tool=tool,
    )


def _name(tool: Any) -> str:
    if isinstance(tool, dspy.Tool):
        return str(tool.name)
    if not callable(tool):
        raise ConfigurationError(f"a tool must be callable or a dspy.Tool, not {type(tool).__name__}")
    tool = unwrapped(tool)
    name = str(getattr(tool, "__name__", type(tool).__name__))
    if not name.isidentifier():
        raise ConfigurationError(f"a tool is called {name!r}; give it a name: dspy.Tool(function, name=...)")
    return name
