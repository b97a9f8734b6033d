"""Opens sessions of whatever a user passes as an environment, and settles how they are kept safe."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints
from uuid import UUID

import dspy

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.from_functions import FunctionEnvironment
from pivot_dspy.environment.session import Session, SessionGroup, Tier
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.errors import ConfigurationError

logger = logging.getLogger(__name__)

EnvironmentLike = type[Environment] | Environment | Callable[..., Environment]

DEFAULT_TIMEOUT = 30.0
"""Seconds that one tool call may take."""


def task_of(inputs: Mapping[str, Any]) -> dspy.Example:
    """A task of which an environment is told its inputs, and nothing of its gold outputs."""
    fields = dict(inputs.items())
    return dspy.Example(base=fields).with_inputs(*fields)


class SessionFactory:
    """Where sessions come from.

    A class, or a function that makes an instance (with the task as its argument, if it takes one), is opened afresh
    for every run. An instance is the real thing: runs work on forks of it, and commit acts on it.

    Raises:
        ConfigurationError: it is none of these, or the tools of its class clash.
    """

    def __init__(self, environment: EnvironmentLike, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"timeout is in seconds and above 0, or None for no limit; got {timeout!r}")
        self._timeout = timeout
        is_instance = isinstance(environment, Environment)
        self._instance: Any = environment if is_instance else None
        self._factory: Any = None if is_instance else environment
        self._tiers: dict[tuple[type[Environment], bool, bool], Tier] = {}
        self._last: weakref.ref[Environment] | None = None
        self._takes_task = not is_instance and _takes_task(environment)
        declared = _declared_class(environment)
        self.name = declared.__name__ if declared else getattr(environment, "__name__", "environment")
        known: Any = environment if is_instance else declared
        if declared is not None and not is_instance and issubclass(declared, FunctionEnvironment):
            known = None  # its tools are those of an instance
        self.toolbox: Toolbox | None = None if known is None else toolbox_of(known)
        """The tools and checks, where they are known before a session is opened."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}  # a weak reference cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any]) -> SessionFactory:
        return self  # a copy of a refiner acts on the same environment

    def open(self, task: Any) -> Session:
        """A fresh session for `task`, in a family of its own: nothing done in it is seen elsewhere.

        Raises:
            ConfigurationError: the factory gave no `Environment`, or one that it gave before.
        """
        family = SessionGroup(self._timeout)
        environment = self._environment(task, family)
        family.tier = self._tier_of(environment, family)
        return self._session(environment, family)

    def reopen(self, session: Session, task: Any) -> Session:
        """Another fresh session in the family of `session`."""
        return self._session(self._environment(task, session.family), session.family)

    def open_real(self, task: Any, run_id: UUID | None = None) -> Session:
        """A session in which everything may run: the instance itself, or a new one from the factory.

        Args:
            run_id: of the run that is made real.
        """
        family = SessionGroup(self._timeout, run_id=run_id)
        return Session(self._environment(task, family), family, committed=True, owned=self._instance is None)

    def reopens_same_world(self, session: Session) -> bool:
        """Whether another real session would act on what this one acts on."""
        return self._instance is not None or not session.environment.reopenable

    def _session(self, environment: Environment, family: SessionGroup) -> Session:
        if self._instance is None:
            return Session(environment, family)
        if family.tier == "fork":
            return Session(family.inside(environment.fork), family)
        return Session(environment, family, owned=False)

    def _environment(self, task: Any, family: SessionGroup) -> Environment:
        return self._instance if self._instance is not None else family.inside(lambda: self._make(task))

    def _make(self, task: Any) -> Environment:
        environment = self._factory(task) if self._takes_task else self._factory()
        if not isinstance(environment, Environment):
            returned = type(environment).__name__
            raise ConfigurationError(f"{self.name} returned {returned}; it must return an Environment")
        toolbox_of(environment)
        if environment.reopenable:
            if self._last is not None and self._last() is environment:
                raise ConfigurationError(
                    f"{self.name} returned the instance that it returned before; pass the instance itself, or a "
                    "function that makes a new one each time"
                )
            self._last = weakref.ref(environment)
        return environment

    def _tier_of(self, environment: Environment, family: SessionGroup) -> Tier:
        kind = (type(environment), environment.forkable, environment.reopenable)
        if kind not in self._tiers:
            self._tiers[kind] = self._try_fork(environment, family)
        return self._tiers[kind]

    def _try_fork(self, environment: Environment, family: SessionGroup) -> Tier:
        """The tier, by whether a copy can be made; one is made and closed."""
        without: Tier = "replay" if self._instance is None and environment.reopenable else "live"
        if not environment.forkable:
            return without
        try:
            copied = family.inside(environment.fork)
            if copied is not environment:
                family.inside(copied.close)
        except Exception as error:
            # What cannot be copied holds something of the outside (a connection, say) that a new instance may share.
            bases = [base for base in type(environment).__mro__ if base not in (Environment, object)]
            if not any("reopenable" in vars(place) for place in (environment, *bases)):
                without = "live"
            logger.warning(
                "%s cannot be forked (%s: %s), so the tier is %s; override fork, or set reopenable = True if every "
                "instance that is made is a world of its own",
                self.name, type(error).__name__, error, without,
            )  # fmt: skip
            return without
        if copied is environment and any(spec.effect != "read" for spec in toolbox_of(environment).tools.values()):
            raise ConfigurationError(
                f"fork of {self.name} returned the instance itself, in which nothing that is written can be dropped; "
                "return a copy, or set forkable = False"
            )
        return "fork"


def _declared_class(source: Any) -> type[Environment] | None:
    """The class of the environment, where it can be told without opening one."""
    if isinstance(source, Environment):
        return type(source)
    if isinstance(source, type):
        if not issubclass(source, Environment):
            raise ConfigurationError(f"{source.__name__} is no subclass of pivot_dspy.Environment")
        return source
    if not callable(source) or isinstance(source, dspy.Tool) or inspect.iscoroutinefunction(source):
        raise ConfigurationError(
            "environment must be an Environment class, an instance of one, or a plain function that returns one; "
            f"got {source!r:.80}; make one of tools with pivot_dspy.from_functions"
        )
    try:
        hint = get_type_hints(source).get("return")
    except (TypeError, NameError):
        return None
    if hint is Any or not isinstance(hint, type) or issubclass(Environment, hint):
        return None
    if not issubclass(hint, Environment):
        raise ConfigurationError(
            f"{source!r:.80} says that it returns {hint!r:.80}; a function given as environment must return an "
            "Environment; make one of tools with pivot_dspy.from_functions"
        )
    return hint


def _takes_task(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
