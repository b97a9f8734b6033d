"""The tools and checks of an environment: schemas, validation of arguments, and the catalogue that a model reads."""

from __future__ import annotations

import dis
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_type_hints

import jsonschema
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from pivot_dspy.environment.base import CHECK_MARK, TOOL_MARK, Effect, Environment, ToolMark
from pivot_dspy.environment.render import Named, schema_text, type_text
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import SUBMIT


class ArgumentError(ValueError):
    """Arguments that do not fit a tool or check; `expected` is its signature."""

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(message)
        self.expected = expected


@dataclass(frozen=True)
class ToolSpec:
    """A tool or a check: how it is called, what it takes and what it gives.

    Attributes:
        invoke: takes the environment instance and the validated arguments.
        parameters: JSON schema of each parameter.
        required: parameters without a default.
        model: validates Python-typed arguments; None where only the JSON schema is known.
        returns: the annotation of the result, `inspect.Parameter.empty` where unknown.
    """

    name: str
    description: str
    invoke: Callable[..., Any]
    parameters: Mapping[str, dict[str, Any]]
    required: tuple[str, ...]
    annotations: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    returns: Any = inspect.Parameter.empty
    model: type[BaseModel] | None = None
    effect: Effect = "write"
    preview: Callable[..., Any] | None = None
    timeout: float | None = None
    is_async: bool = False
    open_ended: bool = False

    def validate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """`args` in the types that the function takes.

        Raises:
            ArgumentError: something is missing, unknown or of the wrong type.
        """
        if self.model is not None:
            try:
                checked = self.model.model_validate(dict(args))
            except ValidationError as error:
                problems = "; ".join(_problem(item) for item in error.errors(include_url=False)[:4])
                raise ArgumentError(f"{self.name}: {problems}", self.signature) from None
            return {name: getattr(checked, name) for name in checked.model_fields_set}
        missing = [name for name in self.required if name not in args]
        unknown = [] if self.open_ended else [name for name in args if name not in self.parameters]
        problems_ = [f"{name}: missing" for name in missing] + [f"{name}: not a parameter" for name in unknown]
        for name, value in args.items():
            if name in self._validators:
                problems_ += [f"{name}: {error.message}" for error in self._validators[name].iter_errors(value)]
        if problems_:
            raise ArgumentError(f"{self.name}: {'; '.join(problems_[:4])}", self.signature)
        return dict(args)

    def render(self, named: Named) -> str:
        """One line: name, parameters with types, result type, effect."""
        parts = []
        for name, schema in self.parameters.items():
            kind = type_text(self.annotations[name], named) if name in self.annotations else schema_text(schema)
            default = self.defaults.get(name, schema.get("default"))
            if name in self.required:
                parts.append(f"{name}: {kind}")
            elif default in (None, inspect.Parameter.empty):
                parts.append(f"{name}?: {kind.removesuffix(' | null')}")
            else:
                parts.append(f"{name}: {kind} = {json.dumps(default, ensure_ascii=False, default=str)}")
        gives = "" if self.returns is inspect.Parameter.empty else f" -> {type_text(self.returns, named)}"
        return f"{self.name}({', '.join(parts)}){gives}"

    @cached_property
    def signature(self) -> str:
        return self.render({})

    @cached_property
    def _validators(self) -> dict[str, Any]:
        return {name: jsonschema.Draft202012Validator(schema) for name, schema in self.parameters.items()}


class Toolbox:
    """The tools and checks by name, in the order of their definition."""

    def __init__(self, tools: Iterable[ToolSpec], checks: Iterable[ToolSpec] = ()) -> None:
        self.tools = _by_name(tools, "tool")
        self.checks = _by_name(checks, "check")
        if SUBMIT in self.tools:
            raise ConfigurationError(f"a tool is called {SUBMIT!r}, which ends a trajectory; rename the tool")

    @classmethod
    def of_class(cls, environment: type[Environment]) -> Toolbox:
        """The marked methods of `environment`, inherited ones included.

        Raises:
            ConfigurationError: a tool is called `submit`, a check writes, or an orientation names no read tool.
        """
        tools, checks = [], []
        for name, function in _methods(environment).items():
            mark: ToolMark | None = getattr(function, TOOL_MARK, None)
            if mark is not None:
                preview = _method(environment, mark.preview, name) if mark.preview else None
                spec = describe(
                    function, name=name, effect=mark.effect, preview=preview, timeout=mark.timeout, method=True
                )
                tools.append(spec if mark.returns is None else replace(spec, returns=mark.returns))
            if getattr(function, CHECK_MARK, False):
                if mark is not None and mark.effect != "read":
                    raise ConfigurationError(f"{name} is a check and a tool that writes; split it into two methods")
                checks.append(describe(function, name=name, effect="read", method=True))
        box = cls(tools, checks)
        writes = {spec.name for spec in tools if spec.effect != "read"}
        for spec in checks:
            _refuse_writes(getattr(environment, spec.name), spec.name, writes)
        for name in environment.orientation:
            found = box.tools.get(name)
            if found is None or found.effect != "read" or found.required:
                raise ConfigurationError(f"orientation names {name!r}; it takes read tools without required arguments")
        return box

    def render_tools(self, *, brief: bool = False) -> str:
        """The tools, one a line, then the record types that they use; `brief` leaves descriptions out."""
        named: Named = {}
        lines = []
        for spec in self.tools.values():
            effect = "" if spec.effect == "read" else f"  [{spec.effect}]"
            about = "" if brief or not spec.description else f"  # {spec.description}"
            lines.append(f"- {spec.render(named)}{effect}{about}")
        if named:
            lines += ["Types:", *(f"{name} = {text}" for name, text in named.items())]
        return "\n".join(lines)

    def render_checks(self, vocabulary: str = "") -> str:
        """The checks as a requirement names them, one a line."""
        named: Named = {}
        lines = [
            f"- {spec.render(named).split(' -> ')[0]}" + (f"  # {spec.description}" if spec.description else "")
            for spec in self.checks.values()
        ]
        lines += [f"{name} = {text}" for name, text in named.items() if name != "CheckResult"]
        return "\n".join([*lines, vocabulary.strip()]).strip()


def describe(
    function: Callable[..., Any],
    *,
    name: str,
    effect: Effect,
    preview: Callable[..., Any] | None = None,
    timeout: float | None = None,
    method: bool = False,
) -> ToolSpec:
    """The `ToolSpec` of a typed Python function; with `method`, its first parameter is the environment instance.

    Raises:
        ConfigurationError: its annotations cannot be evaluated or used as a schema.
    """
    try:
        hints = get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1 if method else 0 :]
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        fields: dict[str, Any] = {
            p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default) for p in named
        }
        model = create_model(
            f"{name}_arguments",
            __config__=ConfigDict(extra="allow" if open_ended else "forbid", arbitrary_types_allowed=True),
            **fields,
        )
        schema = model.model_json_schema()
    except (NameError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"the tool {name!r} cannot be described: {error}; annotate its parameters with types that pydantic knows"
        ) from error
    if open_ended:
        model_: type[BaseModel] | None = None
    else:
        model_ = model

    def invoke(environment: Any, **args: Any) -> Any:
        return getattr(environment, name)(**args) if method else function(**args)

    return ToolSpec(
        name=name,
        description=" ".join((inspect.getdoc(function) or "").split()),
        invoke=invoke,
        parameters=inline(schema),
        required=tuple(p.name for p in named if p.default is p.empty),
        annotations={p.name: hints.get(p.name, Any) for p in named},
        defaults={p.name: p.default for p in named if p.default is not p.empty},
        returns=hints.get("return", inspect.Parameter.empty),
        model=model_,
        effect=effect,
        preview=preview,
        timeout=timeout,
        is_async=inspect.iscoroutinefunction(function),
        open_ended=open_ended,
    )


def inline(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of an object schema; each keeps the shared definitions that its references need."""
    definitions = schema.get("$defs")
    properties: Mapping[str, dict[str, Any]] = schema.get("properties", {})
    return {name: {**inner, "$defs": definitions} if definitions else dict(inner) for name, inner in properties.items()}


def _problem(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "extra_forbidden":
        return f"{place}: not a parameter"
    return f"{place}: {error['msg']}, got {error['input']!r:.80}"


def _by_name(specs: Iterable[ToolSpec], kind: str) -> dict[str, ToolSpec]:
    found: dict[str, ToolSpec] = {}
    for spec in specs:
        if spec.name in found:
            raise ConfigurationError(f"two {kind}s are called {spec.name!r}; give each a name of its own")
        found[spec.name] = spec
    return found


def _methods(environment: type[Environment]) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(environment.__mro__):
        for name, member in vars(base).items():
            if hasattr(member, TOOL_MARK) or hasattr(member, CHECK_MARK):
                found[name] = member
            elif name in found:
                del found[name]  # overridden by something that is no tool
    return found


def _method(environment: type[Environment], preview: str, tool: str) -> Callable[..., Any]:
    if not callable(getattr(environment, preview, None)):
        raise ConfigurationError(f"the tool {tool!r} names the preview {preview!r}, which is no method of its class")

    def invoke(instance: Any, **args: Any) -> Any:
        return getattr(instance, preview)(**args)

    return invoke


def _refuse_writes(function: Callable[..., Any], name: str, writes: set[str]) -> None:
    for instruction in dis.get_instructions(function):
        if instruction.opname in ("STORE_ATTR", "DELETE_ATTR"):
            raise ConfigurationError(f"the check {name!r} sets an attribute; a check only reads: make it a tool")
        if instruction.opname in ("LOAD_METHOD", "LOAD_ATTR") and instruction.argval in writes:
            raise ConfigurationError(
                f"the check {name!r} calls the tool {instruction.argval!r}, which writes; a check only reads"
            )
