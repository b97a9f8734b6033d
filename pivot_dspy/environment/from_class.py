"""The toolbox of an `Environment` class, from its marked methods, and what its instances share through it."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pivot_dspy.environment.base import CHECK_MARK, TOOL_MARK, CheckMark, Environment, ToolMark
from pivot_dspy.environment.declarations import undo_by_method, with_key
from pivot_dspy.environment.lookups import lookup
from pivot_dspy.environment.toolbox import Toolbox, describe
from pivot_dspy.errors import ConfigurationError

logger = logging.getLogger(__name__)


def toolbox_of(environment: Environment | type[Environment]) -> Toolbox:
    """The toolbox of an instance that carries its own, or of its class.

    Raises:
        ConfigurationError: see `of_class`.
    """
    own = getattr(environment, "toolbox", None)
    kind: Any = environment if isinstance(environment, type) else type(environment)
    return own if isinstance(own, Toolbox) else of_class(kind)


@lru_cache(maxsize=256)
def of_class(environment: Any) -> Toolbox:
    """The marked methods of `environment`, inherited ones included.

    Raises:
        ConfigurationError: two tools clash, a check writes, a preview, an undo or an idempotency key does not fit, or
            an orientation names no read tool, or its arguments do not fit.
    """
    tools, checks, lookups = [], [], []
    for name, function in _marked_methods(environment).items():
        mark: ToolMark | None = getattr(function, TOOL_MARK, None)
        if mark is not None:
            preview = _preview(environment, mark.preview, name) if mark.preview else None
            spec = with_key(describe(function, name=name, effect=mark.effect, method=True), mark.idempotency_key)
            returns = spec.returns if mark.returns is None else mark.returns
            undo = undo_by_method(spec, mark.undo, environment) if mark.undo else None
            tools.append(
                replace(
                    spec, preview=preview, timeout=mark.timeout, returns=returns, undo=undo, volatile=mark.volatile,
                    draft=mark.draft, parallel=mark.parallel, pure=mark.pure, approval=mark.approval,
                )
            )  # fmt: skip
        if getattr(function, CHECK_MARK, False):
            if mark is not None and mark.effect != "read":
                raise ConfigurationError(f"{name!r} is a check and a tool that writes; split it into two methods")
            checked: CheckMark = getattr(function, CHECK_MARK)
            spec = describe(function, name=name, effect="read", method=True)
            checks.append(replace(spec, listed=checked.listed))
            lookups += lookup(spec, checked)
    toolbox = Toolbox(tools, checks, lookups)
    toolbox.of_orientation(environment.orientation)
    return toolbox


def own_shared_state(environment: Environment) -> None:
    """Give an instance its own copy of the mutable objects that its class holds for all instances.

    What `copy.deepcopy` cannot copy, such as a lock, stays shared.
    """
    own = vars(environment)
    for base in [base for base in type(environment).__mro__ if base not in Environment.__mro__]:
        for name, value in list(vars(base).items()):
            is_state = not name.startswith("__") and not hasattr(type(value), "__get__")
            if is_state and name not in own:
                try:
                    copied = copy.deepcopy(value)
                except Exception as error:
                    logger.debug("%s.%s is shared by all forks: %s", base.__name__, name, error)
                else:
                    if copied is not value:
                        own[name] = copied


def _marked_methods(environment: type[Environment]) -> dict[str, Callable[..., Any]]:
    methods: dict[str, Callable[..., Any]] = {}
    for base in reversed(environment.__mro__):
        for name, member in vars(base).items():
            if _is_marked(member):
                if isinstance(member, (staticmethod, classmethod, property)):
                    raise ConfigurationError(f"{name!r} is a {type(member).__name__}; make it a plain method")
                if hasattr(Environment, name):
                    raise ConfigurationError(f"{name!r} is part of Environment itself; give the tool another name")
                methods[name] = member
            elif methods.pop(name, None) is not None and member is not None:
                raise ConfigurationError(
                    f"{base.__name__}.{name} overrides a tool or check without being marked; mark it too, or set "
                    f"{name} = None to drop it"
                )
    return methods


def _is_marked(member: Any) -> bool:
    inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
    return any(hasattr(part, mark) for part in (inner, member) for mark in (TOOL_MARK, CHECK_MARK))


def _preview(environment: type[Environment], preview: str, tool: str) -> Callable[..., Any]:
    function = getattr(environment, preview, None)
    real = getattr(environment, tool)
    if not inspect.isfunction(function):
        raise ConfigurationError(f"the tool {tool!r} names the preview {preview!r}, which is no method of its class")
    if list(inspect.signature(function).parameters) != list(inspect.signature(real).parameters):
        raise ConfigurationError(f"the preview {preview!r} must take the same parameters as the tool {tool!r}")
    if inspect.iscoroutinefunction(function) != inspect.iscoroutinefunction(real):
        raise ConfigurationError(f"the preview {preview!r} and the tool {tool!r} must both be async, or neither")
    if getattr(function, TOOL_MARK, None) and getattr(function, TOOL_MARK).effect != "read":
        raise ConfigurationError(f"the preview {preview!r} of {tool!r} is a tool that writes; name one that only reads")

    def invoke(instance: Any, /, **args: Any) -> Any:
        return getattr(instance, preview)(**args)

    return invoke
