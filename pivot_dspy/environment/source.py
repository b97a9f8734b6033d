"""Opens sessions of whatever a user passes as an environment, and settles how they are kept safe."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_type_hints

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.session import Family, Session, Tier
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.errors import ConfigurationError

logger = logging.getLogger(__name__)

EnvironmentLike = type[Environment] | Environment | Callable[..., Environment]

DEFAULT_TIMEOUT = 30.0
"""Seconds that one tool call may take."""


class Source:
    """Where sessions come from.

    A class, or a function that makes an instance (with the task as its argument, if it takes one), is opened afresh
    for every run. An instance is the real thing: runs work on forks of it, and commit acts on it.

    Raises:
        ConfigurationError: it is none of these, or the tools of its class clash.
    """

    def __init__(self, environment: EnvironmentLike, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        if timeout is not None and timeout <= 0:
            raise ConfigurationError(f"timeout is in seconds and above 0, or None for no limit; got {timeout!r}")
        self._timeout = timeout
        self._instance = environment if isinstance(environment, Environment) else None
        self._factory = None if self._instance is not None else environment
        self._tier: Tier | None = None
        if self._instance is None and not callable(environment):
            raise ConfigurationError(
                "environment must be an Environment class, an instance of one, or a function that returns one; "
                f"got {type(environment).__name__}"
            )
        declared = type(self._instance) if self._instance is not None else _declared(environment)
        self._known = toolbox_of(self._instance or declared) if declared else None
        self._takes_task = self._factory is not None and _takes_task(self._factory)
        self.name = declared.__name__ if declared else getattr(environment, "__name__", "environment")

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        return self  # a copy of a refiner acts on the same environment

    @property
    def toolbox(self) -> Toolbox | None:
        """The tools and checks, where they are known before a session is opened."""
        return self._known

    def open(self, task: Any) -> Session:
        """A fresh session for `task`, in a family of its own: nothing done in it is seen elsewhere."""
        family = Family(self._timeout)
        environment = self._instance or family.inside(lambda: self._made(task))
        family.toolbox = toolbox_of(environment)
        family.tier = self._tier_of(environment, family)
        return self._session(environment, family)

    def reopen(self, session: Session, task: Any) -> Session:
        """Another fresh session in the family of `session`."""
        family = session.family
        return self._session(self._instance or family.inside(lambda: self._made(task)), family)

    def open_real(self, task: Any) -> Session:
        """A session in which everything may run: the instance itself, or a new one from the factory."""
        family = Family(self._timeout)
        environment = self._instance or family.inside(lambda: self._made(task))
        family.toolbox = toolbox_of(environment)
        return Session(environment, family, committed=True, owned=self._instance is None)

    def _session(self, environment: Environment, family: Family) -> Session:
        if self._instance is None:
            return Session(environment, family)
        if family.tier == "fork":
            return Session(family.inside(environment.fork), family)
        return Session(environment, family, owned=False)

    def _made(self, task: Any) -> Environment:
        factory: Any = self._factory
        made = factory(task) if self._takes_task else factory()
        if not isinstance(made, Environment):
            raise ConfigurationError(f"{self.name} returned {type(made).__name__}; it must return an Environment")
        return made

    def _tier_of(self, environment: Environment, family: Family) -> Tier:
        if self._tier is None:
            reopens = self._instance is None
            if not environment.forkable:
                self._tier = "replay" if reopens else "live"
            else:
                try:
                    family.inside(lambda: environment.fork().close())
                    self._tier = "fork"
                except Exception as error:
                    self._tier = "replay" if reopens else "live"
                    logger.info("%s cannot be forked (%s); using the %s tier", self.name, error, self._tier)
        return self._tier


def toolbox_of(environment: Environment | type[Environment]) -> Toolbox:
    """The toolbox of an instance that carries its own, or of its class."""
    own = getattr(environment, "toolbox", None)
    if isinstance(own, Toolbox):
        return own
    return _toolbox_of_class(environment if isinstance(environment, type) else type(environment))


@lru_cache(maxsize=256)
def _toolbox_of_class(environment: type[Environment]) -> Toolbox:
    return Toolbox.of_class(environment)


def _declared(factory: Any) -> type[Environment] | None:
    if isinstance(factory, type):
        if not issubclass(factory, Environment):
            raise ConfigurationError(f"{factory.__name__} is no subclass of pivot_dspy.Environment")
        return factory
    try:
        hint = get_type_hints(factory).get("return")
    except (TypeError, NameError):
        return None
    return hint if isinstance(hint, type) and issubclass(hint, Environment) and hint is not Environment else None


def _takes_task(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
