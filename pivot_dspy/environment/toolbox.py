"""The tools and checks of an environment: schemas, validation of arguments, and the catalogue that a model reads."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, get_type_hints

import dspy
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from typing_extensions import NotRequired, Required, TypedDict

from pivot_dspy.environment.base import EFFECTS, Approval, Effect
from pivot_dspy.environment.brevity import describe_briefly
from pivot_dspy.environment.callables import Keywords, Parameters, annotated, by_name, documentation
from pivot_dspy.environment.render import Named, schema_text, type_text
from pivot_dspy.environment.schemas import nested_descriptions, validator
from pivot_dspy.environment.written_values import as_taken
from pivot_dspy.errors import ConfigurationError, PivotError
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import SUBMIT

EMPTY: Any = inspect.Parameter.empty
HELD = """\
[write] changes the copy. [held] is only noted, and runs after verification exactly as planned: nothing can bind its \
result."""
"""What the marks behind the tools mean, where one of them is not what it says."""


BINDS_WHAT_FITS = """\
What a requirement's check gives (-> [...]) is all that fits it, best first; steps bind it by the requirement's id: \
"$R1[0].id"."""
"""How what fits a requirement is bound, where a check tells it."""


class OrientationRead(NamedTuple):
    """A call whose result the planner sees before planning."""

    tool: str
    args: Mapping[str, Any]


class ArgumentError(PivotError, ValueError):
    """Arguments that do not fit a tool or check; `expected` is its signature."""

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(message)
        self.expected = expected


class Undo(NamedTuple):
    """What undoes the calls of a tool."""

    name: str
    """Of a tool, or of a method of the environment."""
    takes: frozenset[str] | None
    """Its parameters; None where it takes any."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool or a check: how it is called, what it takes and what it gives."""

    name: str
    description: str
    invoke: Callable[..., Any]
    """Takes the environment instance and the validated arguments."""
    parameters: Mapping[str, dict[str, Any]]
    """JSON schema of each."""
    required: tuple[str, ...]
    annotations: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = EMPTY
    """The annotation of the result."""
    returns_schema: Mapping[str, Any] | None = None
    """The JSON schema of the result, where there is no annotation."""
    adapter: TypeAdapter[Any] | None = None
    """Validates arguments into Python types; None where only the JSON schema is known."""
    check_schema: bool = False
    """Whether arguments must also fit the JSON schema, which may say more than the types."""
    effect: Effect = "write"
    preview: Callable[..., Any] | None = None
    timeout: float | None = None
    is_async: bool = False
    open_ended: bool = False
    """Whether it takes arguments that are no parameters."""
    keywords: Keywords | None = None
    """What these are called together and their type, where that is known."""
    home: asyncio.AbstractEventLoop | None = None
    """The event loop that calls must be made in, if the tool is bound to one."""
    idempotency_key: str | None = None
    """The parameter, none of the above, that takes a text by which the world knows a call that is made again."""
    undo: Undo | None = None
    """What undoes a call."""
    draft: bool = False
    """Whether it only puts together what is submitted."""
    listed: bool = True
    """Whether planners are told of it."""
    volatile: tuple[str, ...] = ()
    """Paths of what may differ between the results of two calls that are the same."""
    parallel: bool = False
    """Whether calls, which only read, may be made at once with others."""
    pure: bool = False
    """Whether the result, of a read, hangs on the arguments alone."""
    approval: Approval = False
    """Whether calls wait for a person's approval, or a function of their arguments that says so."""
    tool: dspy.Tool | None = None
    """What this was made from."""

    def validate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of `args` in the types that the function takes.

        Raises:
            ArgumentError: something is missing, unknown or of the wrong type.
        """
        try:
            arguments: dict[str, Any] = plain(dict(args))
            typed = arguments
            if self.adapter:
                arguments, typed = self._typed(arguments, self.adapter)
            problems = self._misfits(arguments) if self.check_schema or self.adapter is None else []
            if problems and self.adapter:  # lax as for a function: what counts is what it takes, `3` for "3"
                problems = self._misfits(plain(typed))
            if not problems:
                return typed
        except ValidationError as error:
            problems = [_problem(item) for item in error.errors(include_url=False)]
        except Exception as error:  # a validator of the user's, or a schema that refers to nothing
            problems = [f"cannot be validated: {type(error).__name__}: {error}"]
        raise ArgumentError(f"{self.name}: {'; '.join(problems[:4])}", self.signature)

    def refuse_names(self, names: Collection[str]) -> None:
        """Refuse arguments by their names alone, before their values are known.

        Raises:
            ArgumentError: one is missing or unknown.
        """
        if problems := self.misnamed(names):
            raise ArgumentError(f"{self.name}: {'; '.join(problems)}", self.signature)

    def render(self, named: Named, *, result: bool = True) -> str:
        """The call in one line: name, parameters with defaults and with types other than str, result type."""
        parts = []
        for name, schema in self.parameters.items():
            typed = name in self.annotations
            kind = type_text(self.annotations[name], named, argument=True) if typed else schema_text(schema)
            kind = kind if name in self.required else kind.removesuffix(" | null")
            default = None if name in self.required else _as_taken(self.defaults.get(name, schema.get("default")))
            part = name if name in self.required or default is not None else f"{name}?"
            part += "" if kind == "str" else f": {kind}"
            told = "" if default is None else f" = {json.dumps(default, ensure_ascii=False)}"
            parts.append(f"{part}{told}")
        parts += self.rendered_keywords(named)
        gives = self.result(named) if result else ""
        return f"{self.name}({', '.join(parts)}){f' -> {gives}' if gives else ''}"

    def rendered_keywords(self, named: Named) -> list[str]:
        """`**filters: int`, where other arguments than its parameters are taken, and it is known as what."""
        if self.keywords is None:
            return []
        kind = type_text(self.keywords.kind, named, argument=True)
        return [f"**{self.keywords.name}{'' if kind in ('str', 'any') else f': {kind}'}"]

    def result(self, named: Named) -> str:
        """The type of what it returns; empty where nothing tells it."""
        if self.returns is not EMPTY:
            return type_text(self.returns, named)
        return schema_text(self.returns_schema) if self.returns_schema else ""

    @property
    def other_types(self) -> Any:
        """The type of arguments that are no parameters; `EMPTY` where none is taken."""
        return self.keywords.kind if self.keywords is not None else Any if self.open_ended else EMPTY

    @property
    def outline(self) -> str:
        """The call without types: `find(query, limit?)`."""
        return f"{self.name}({', '.join(name if name in self.required else f'{name}?' for name in self.parameters)})"

    @cached_property
    def signature(self) -> str:
        return self.render({})

    @property
    def details(self) -> str:
        """What the tool does and what its parameters mean, in one line, as far as names and types do not tell."""
        described = {name: schema.get("description") or "" for name, schema in self.parameters.items()}
        for name, schema in self.parameters.items():
            described |= nested_descriptions(schema, name)
        named: Named = {}
        result = [self.result(named), *named.values()]
        return describe_briefly(self.name, self.description, described, result=" ".join(result))

    @cached_property
    def as_tool(self) -> dspy.Tool:
        """The `dspy.Tool` that DSPy's callbacks are told of; not to be called."""
        return self.tool or dspy.Tool(
            self.invoke, name=self.name, desc=self.description, args=dict(self.parameters), arg_types={}
        )

    def misnamed(self, names: Collection[str]) -> list[str]:
        """What is missing among the names of arguments, or is no parameter."""
        missing = [f"{name}: missing" for name in self.required if name not in names]
        known = {*names} - {self.idempotency_key} if self.open_ended else self.parameters
        unknown = [name for name in names if name not in known]
        return [*missing, *(f"{name}: not a parameter" for name in unknown)]

    def _typed(
        self, arguments: dict[str, Any], adapter: TypeAdapter[Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments as they are taken, and in Python types."""
        try:
            return arguments, dict(adapter.validate_python(arguments))
        except ValidationError:
            taken = {key: as_taken(value, self.annotations.get(key, Any)) for key, value in arguments.items()}
            if taken == arguments:
                raise
            return taken, dict(adapter.validate_python(taken))

    def _misfits(self, arguments: Mapping[str, Any]) -> list[str]:
        problems = self.misnamed(arguments)
        for name, check in self._validators.items():
            if name in arguments:
                problems += [f"{name}: {error.message:.200}" for error in check.iter_errors(arguments[name])]
        return problems

    @cached_property
    def _validators(self) -> dict[str, Any]:
        return {name: validator(schema) for name, schema in self.parameters.items()}


class Toolbox:
    """The tools and checks by name, in the order of their definition.

    Raises:
        ConfigurationError: two tools or two checks of one name, a tool called `submit` or like a check whose results
            can be bound, or a check that is async.
    """

    def __init__(
        self, tools: Iterable[ToolSpec], checks: Iterable[ToolSpec] = (), lookups: Iterable[ToolSpec] = ()
    ) -> None:
        self.tools = _by_name(tools, "tool")
        self.checks = _by_name(checks, "check")
        self.lookups = _by_name(lookups, "check")
        """Reads of all that fits, by the name of the check that tells it; no planner calls one by itself."""
        self.warned: set[str] = set()
        """What was said in the log, so as not to say it again."""
        if SUBMIT in self.tools:
            raise ConfigurationError(f"a tool is called {SUBMIT!r}, which ends a trajectory; rename the tool")
        for spec in self.checks.values():
            if spec.is_async:
                raise ConfigurationError(f"the check {spec.name!r} is async; make it a plain function")
        for name in self.lookups:
            if name in self.tools:
                raise ConfigurationError(f"a tool and a check whose results are bound are both {name!r}; rename one")

    def spec(self, name: str) -> ToolSpec | None:
        """What a step calls by this name: a tool, or the read of all that fits a check."""
        return self.tools.get(name) or self.lookups.get(name)

    def of_orientation(self, reads: Iterable[str | tuple[str, Mapping[str, Any]]]) -> tuple[OrientationRead, ...]:
        """The calls whose results the planner may see before planning, each as a tool's name and its arguments.

        Raises:
            ConfigurationError: one of them is no read tool, or its arguments do not fit.
        """
        if isinstance(reads, str):
            raise ConfigurationError(f"orientation is a tuple of tool names; write ({reads!r},)")
        calls = [OrientationRead(read, {}) if isinstance(read, str) else OrientationRead(*read) for read in reads]
        for name, args in calls:
            spec = self.tools.get(name)
            if spec is None or spec.effect != "read":
                raise ConfigurationError(f"orientation names {name!r}; it takes read tools, with their arguments")
            try:
                spec.validate(args)
            except ArgumentError as error:
                raise ConfigurationError(f'orientation: {error}; write ("{name}", {{...}})') from error
        return tuple(calls)

    def render_tools(
        self, *, brief: bool = False, typed: Collection[str] | None = None, known: Collection[str] = (),
        last: Callable[[Named], str] | None = None, named: Named | None = None,
    ) -> str:
        """The tools, one a line, then the record types that they use, each once.

        Args:
            brief: whether to leave descriptions out.
            typed: names of the tools that are rendered with types; of the others only the parameters are named.
            known: names of the tools whose results the prompt shows, so that their types need not stand there.
            last: renders one more line after the tools, and adds the types that it names.
            named: is filled with the types that are told.
        """
        named = {} if named is None else named
        holds = any(spec.effect == "irreversible" and spec.preview is None for spec in self.tools.values())
        lines = [HELD] if holds else []
        for spec in self.tools.values():
            held = spec.effect == "irreversible" and spec.preview is None
            effect = "" if spec.effect == "read" else f"  [{'held' if held else spec.effect}]"
            about = "" if brief or not spec.details else f"  # {spec.details}"
            if typed is None or spec.name in typed:
                call = spec.render(named, result=spec.name not in known)
            else:
                call = spec.outline
            lines.append(f"- {call}{effect}{about}")
        if last is not None:
            lines.append(last(named))
        if named:
            lines += ["Types:", *(f"{name} = {text}" for name, text in named.items())]
        return "\n".join(lines)

    def render_checks(self, vocabulary: str = "", told: Named | None = None) -> str:
        """The checks as a requirement names them, one a line, with what they give that can be bound.

        Args:
            told: types that need not be told again.
        """
        named: Named = dict(told or {})
        lines = []
        for name, spec in self.checks.items():
            if not spec.listed:
                continue
            gives = self.lookups.get(name)
            call = (gives or spec).render(named, result=gives is not None)
            lines.append(f"- {call}" + (f"  # {spec.details}" if spec.details else ""))
        lines += [f"{name} = {text}" for name, text in named.items() if name not in (told or {})]
        return "\n".join([*lines, vocabulary.strip(), BINDS_WHAT_FITS if self.lookups else ""]).strip()


def describe(function: Callable[..., Any], *, name: str, effect: Effect, method: bool = False) -> ToolSpec:
    """The `ToolSpec` of a typed Python callable; with `method`, its first parameter is the environment instance.

    Raises:
        ConfigurationError: its parameters cannot be given by name, or its annotations cannot be used as a schema.
    """
    target = annotated(function)
    try:
        hints = get_type_hints(target, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
        types, required, defaults, keywords = Parameters.of(parameters, hints)
        adapter = arguments_adapter(name, types, required, EMPTY if keywords is None else keywords.kind)
        schema = adapter.json_schema()
    except (NameError, TypeError, ValueError, AttributeError, PydanticUserError) as error:
        raise ConfigurationError(
            f"{name!r} cannot be described: {first_line(error)}; annotate its parameters with types that pydantic knows"
        ) from error

    def invoke(environment: Any, /, **args: Any) -> Any:
        return by_name(getattr(environment, name) if method else function, parameters)(**args)

    return ToolSpec(
        name=name,
        description=documentation(function),
        invoke=invoke,
        parameters=inline(schema),
        required=required,
        annotations=types,
        defaults=defaults,
        returns=hints.get("return", EMPTY),
        adapter=adapter,
        effect=effect,
        is_async=inspect.iscoroutinefunction(target),
        open_ended=keywords is not None,
        keywords=keywords,
    )


def arguments_adapter(
    name: str, types: Mapping[str, Any], required: Iterable[str], others: Any = EMPTY
) -> TypeAdapter[Any]:
    """What turns a dictionary of arguments into one of the given types.

    Args:
        others: the type of what has another name, which is refused where there is none.
    """
    typed_dict: Any = TypedDict  # made at run time, which a type checker cannot follow
    fields = {key: Required[kind] if key in required else NotRequired[kind] for key, kind in types.items()}
    arguments = typed_dict(f"{name}_arguments", fields, **({} if others in (EMPTY, Any) else {"extra_items": others}))
    arguments.__pydantic_config__ = ConfigDict(extra="forbid" if others is EMPTY else "allow")
    return TypeAdapter(arguments)


def inline(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of an object schema; each keeps the shared definitions that its references need."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    properties: Mapping[str, dict[str, Any]] = schema.get("properties") or {}
    return {name: {**inner, **shared} for name, inner in properties.items()}


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def _as_taken(default: Any) -> Any:
    """A default as a caller would write it; None where it cannot be written."""
    try:
        return plain(default)
    except ValueError:
        return None


def _problem(error: Any) -> str:
    problems = {"missing": "missing", "extra_forbidden": "not a parameter"}
    problem = problems.get(error["type"]) or f"{error['msg']}, got {error['input']!r:.80}"
    return f"{'.'.join(map(str, error['loc']))}: {problem}"


def _by_name(specs: Iterable[ToolSpec], kind: str) -> dict[str, ToolSpec]:
    by_name: dict[str, ToolSpec] = {}
    for spec in specs:
        if spec.name in by_name:
            raise ConfigurationError(f"two {kind}s are called {spec.name!r}; give each a name of its own")
        if spec.effect not in EFFECTS:
            raise ConfigurationError(f"effect must be one of {', '.join(EFFECTS)}; got {spec.effect!r}")
        by_name[spec.name] = spec
    return by_name
