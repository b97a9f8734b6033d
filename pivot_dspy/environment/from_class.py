"""The toolbox of an `Environment` class, from its marked methods."""

from __future__ import annotations

import copy
import dis
import inspect
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple, cast

from pivot_dspy.environment.base import CHECK_MARK, EFFECTS, TOOL_MARK, Environment, ToolMark
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec, describe
from pivot_dspy.errors import ConfigurationError


class SelfUse(NamedTuple):
    """Names that a method reads from its instance (methods it calls among them), and attributes that it sets."""

    reads: frozenset[str]
    sets: frozenset[str]


def self_use(function: Callable[..., Any]) -> SelfUse:
    """How `function`, its inner functions included, uses its first parameter; nothing where there is no bytecode."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not code.co_argcount:
        return SelfUse(frozenset(), frozenset())
    instance = code.co_varnames[0]
    reads, sets = set(), set()
    for previous, instruction in _pairs(code):
        loads = "LOAD_" in previous.opname
        # Some versions load two names, or store one and load one, in one instruction; a constant may be a tuple too,
        # and an empty one.
        names = previous.argval if isinstance(previous.argval, tuple) else (previous.argval,)
        of_self = loads and names[-1:] == (instance,)
        if of_self and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            reads.add(instruction.argval)
        # An augmented assignment swaps the instance under the new value, so that what is before is no load.
        augmented = previous.opname in ("SWAP", "ROT_TWO")
        if instruction.opname in ("STORE_ATTR", "DELETE_ATTR") and (of_self or augmented):
            sets.add(instruction.argval)
    return SelfUse(frozenset(reads), frozenset(sets))


def _pairs(code: CodeType) -> Iterator[tuple[dis.Instruction, dis.Instruction]]:
    instructions = list(dis.get_instructions(code))
    yield from zip(instructions, instructions[1:], strict=False)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _pairs(constant)


def toolbox_of(environment: Environment | type[Environment]) -> Toolbox:
    """The toolbox of an instance that carries its own, or of its class.

    Raises:
        ConfigurationError: see `of_class`.
    """
    own = getattr(environment, "toolbox", None)
    if isinstance(own, Toolbox):
        return own
    return of_class(environment if isinstance(environment, type) else type(environment))


def of_class(environment: type[Environment]) -> Toolbox:
    """The marked methods of `environment`, inherited ones included.

    Raises:
        ConfigurationError: two tools clash, a check writes, a tool calls one of a stronger effect than its own, a
            preview does not fit, or an orientation names no read tool.
    """
    made: Toolbox = _of_class(cast(Hashable, environment))
    return made


@lru_cache(maxsize=256)
def _of_class(environment: Any) -> Toolbox:
    methods = _marked_methods(environment)
    effects = {name: getattr(function, TOOL_MARK).effect for name, function in methods.items() if _mark(function)}
    tools, checks = [], []
    for name, function in methods.items():
        mark = _mark(function)
        if mark is not None:
            _refuse_stronger(environment, function, f"tool {name!r}", mark.effect, effects)
            preview = _preview(environment, mark.preview, name, effects) if mark.preview else None
            tools.append(
                describe(
                    function, name=name, effect=mark.effect, preview=preview, timeout=mark.timeout, method=True,
                    returns=mark.returns,
                )  # fmt: skip
            )
        if getattr(function, CHECK_MARK, False):
            checks.append(_check(environment, function, name, mark, effects))
    for name in ("describe", "summarise", "error_of", "begin_checks"):
        _refuse_stronger(environment, getattr(environment, name), f"method {name!r}", "read", effects)
    box = Toolbox(tools, checks)
    box.of_orientation(environment.orientation)
    return box


def own_shared_state(environment: Environment) -> None:
    """Give an instance its own copy of what its class holds for all instances and its tools that write may change."""
    if hasattr(environment, "__dict__"):
        own = vars(environment)
        for name in _shared_state(cast(Hashable, type(environment))):
            if name not in own:
                own[name] = copy.deepcopy(getattr(environment, name))


@lru_cache(maxsize=256)
def _shared_state(environment: Any) -> tuple[str, ...]:
    """Names of the class's own lists, dicts and sets that a tool that writes reaches."""
    if not issubclass(environment, Environment):
        return ()
    writes = [f for f in _marked_methods(environment).values() if (mark := _mark(f)) and mark.effect != "read"]
    reached = {name for function in writes for name in _reached(environment, function)}
    held = (name for base in environment.__mro__ if base not in Environment.__mro__ for name in vars(base))
    kinds = (list, dict, set, bytearray)
    return tuple(n for n in dict.fromkeys(held) if n in reached and isinstance(getattr(environment, n, None), kinds))


def _mark(function: Any) -> ToolMark | None:
    found: ToolMark | None = getattr(function, TOOL_MARK, None)
    return found


def _marked_methods(environment: type[Environment]) -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(environment.__mro__):
        for name, member in vars(base).items():
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if any(hasattr(one, mark) for one in (inner, member) for mark in (TOOL_MARK, CHECK_MARK)):
                if isinstance(member, (staticmethod, classmethod, property)):
                    raise ConfigurationError(f"{name!r} is a {type(member).__name__}; make it a plain method")
                if hasattr(Environment, name):
                    raise ConfigurationError(f"{name!r} is part of Environment itself; give the tool another name")
                found[name] = member
            elif found.pop(name, None) is not None and member is not None:
                raise ConfigurationError(
                    f"{base.__name__}.{name} overrides a tool or check without being marked; mark it too, or set "
                    f"{name} = None to drop it"
                )
    return found


def _check(
    environment: type[Environment],
    function: Callable[..., Any],
    name: str,
    mark: ToolMark | None,
    effects: dict[str, str],
) -> ToolSpec:
    if mark is not None and mark.effect != "read":
        raise ConfigurationError(f"{name!r} is a check and a tool that writes; split it into two methods")
    if self_use(function).sets:
        raise ConfigurationError(f"the check {name!r} sets an attribute; a check only reads: make it a tool")
    _refuse_stronger(environment, function, f"check {name!r}", "read", effects)
    return describe(function, name=name, effect="read", method=True)


def _preview(
    environment: type[Environment], preview: str, tool: str, effects: dict[str, str]
) -> Callable[..., Any]:
    function = getattr(environment, preview, None)
    real = getattr(environment, tool)
    if not inspect.isfunction(function):
        raise ConfigurationError(f"the tool {tool!r} names the preview {preview!r}, which is no method of its class")
    if list(inspect.signature(function).parameters) != list(inspect.signature(real).parameters):
        raise ConfigurationError(f"the preview {preview!r} must take the same parameters as the tool {tool!r}")
    if inspect.iscoroutinefunction(function) != inspect.iscoroutinefunction(real):
        raise ConfigurationError(f"the preview {preview!r} and the tool {tool!r} must both be async, or neither")
    if effects.get(preview, "read") != "read":
        raise ConfigurationError(f"the preview {preview!r} of {tool!r} is a tool that writes; name one that only reads")
    _refuse_stronger(environment, function, f"preview {preview!r}", "read", effects)

    def invoke(instance: Any, /, **args: Any) -> Any:
        return getattr(instance, preview)(**args)

    return invoke


def _reached(environment: type[Environment], function: Callable[..., Any]) -> set[str]:
    """Names that `function` reads from its instance, and those that its class's unmarked methods read for it."""
    found: set[str] = set()
    waiting = [function]
    while waiting:
        new = self_use(waiting.pop()).reads - found
        found |= new
        members = (inspect.getattr_static(environment, name, None) for name in new)
        helpers = (getattr(member, "fget", member) for member in members)
        waiting += [helper for helper in helpers if inspect.isfunction(helper) and _mark(helper) is None]
    return found


def _refuse_stronger(
    environment: type[Environment], function: Callable[..., Any], what: str, effect: str, effects: dict[str, str]
) -> None:
    """A method may call tools of its own effect or a weaker one, else a stronger one would run unannounced."""
    for name in sorted(_reached(environment, function) & effects.keys()):
        if EFFECTS.index(effects[name]) > EFFECTS.index(effect):
            raise ConfigurationError(
                f"the {what} calls the tool {name!r}, which is {effects[name]}; declare it {effects[name]} too, or "
                "move what they share to a method of its own"
            )
