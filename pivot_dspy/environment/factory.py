"""Opens sessions of whatever a user passes as an environment, and settles how they are kept safe."""

from __future__ import annotations

import inspect
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints
from uuid import UUID

import dspy

from pivot_dspy.environment.base import UNDOABLE, Environment, allowing
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.from_functions import FunctionEnvironment
from pivot_dspy.environment.isolation import Isolation
from pivot_dspy.environment.ownership import InstanceLock, commits_on
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.session_group import SessionGroup, Tier
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, PivotError, error_text

logger = logging.getLogger(__name__)

EnvironmentLike = type[Environment] | Environment | Callable[..., Environment]

DEFAULT_TIMEOUT = 30.0
"""Seconds that one tool call may take."""

TRIES = 5
"""Times that a copy is tried while a commit changes what is copied."""

PAUSE = 0.01
"""Seconds between two of them."""


def task_of(inputs: Mapping[str, Any]) -> dspy.Example:
    """A task of which an environment is told its inputs, and nothing of its gold outputs."""
    fields = dict(inputs.items())
    return dspy.Example(base=fields).with_inputs(*fields)


class SessionFactory:
    """Where sessions come from.

    A class, or a function that makes an instance (with the task as its argument, if it takes one), is opened afresh
    for every run. An instance is the real thing: runs work on forks of it, and commit acts on it. So do they where each
    instance that is made acts on the same outside world (`reopenable = False`) and can be copied.

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
        self._forks: set[tuple[type[Environment], bool]] = set()
        """Kinds of environments of which a copy could be made."""
        self._last: weakref.ref[Environment] | None = None
        self._takes_task = not is_instance and _takes_task(environment)
        declared = _declared_class(environment)
        self.name = declared.__name__ if declared else getattr(environment, "__name__", "environment")
        known: Any = environment if is_instance else declared
        if declared is not None and not is_instance and issubclass(declared, FunctionEnvironment):
            known = None  # its tools are those of an instance
        self.toolbox: Toolbox | None = None if known is None else toolbox_of(known)
        """The tools and checks, where they are known before a session is opened."""
        self.unsafe = ""
        """Why changes are not tried before commit, or only in a fresh instance, with the remedy; empty where copies
        are made or nothing is known against it."""

    def announce(self) -> None:
        """Say in the log, once, that changes to an instance cannot be tried before commit, where that is so."""
        environment = self._instance
        if environment is None or all(spec.effect == "read" for spec in toolbox_of(environment).tools.values()):
            return
        if not environment.forkable:
            self._say(_why_live(environment))
        elif type(environment).fork is Environment.fork:
            family = SessionGroup(self._timeout)
            try:
                Session(family.fork_of(environment), family)
            except Exception as error:
                self._say(self._uncopied(environment, error, "live"))
            finally:
                family.close()

    def _say(self, reason: str) -> None:
        if reason != self.unsafe:
            self.unsafe = reason
            logger.warning("%s", reason)

    def _uncopied(self, environment: Environment, error: Exception, tier: Tier) -> str:
        return (
            f"{self.name} cannot be forked ({type(error).__name__}: {error}), so the tier is {tier}; override fork, or "
            "set reopenable = True if every instance that is made is a world of its own"
        )

    @property
    def code(self) -> tuple[Any, ...]:
        """What the user wrote of it, to tell it from another: its name, the class or function, the tools' functions."""
        source = type(self._instance) if self._factory is None else self._factory
        tools = self.toolbox.tools.values() if self.toolbox is not None else ()
        return (self.name, source, *(spec.invoke for spec in tools))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}  # a weak reference cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any]) -> SessionFactory:
        return self  # a copy of a refiner acts on the same environment

    def open(
        self, task: Any, seconds: float | None = None, *, watched: bool = False, run_id: UUID | None = None
    ) -> Session:
        """A fresh session for `task`, in a family of its own: nothing done in it is seen elsewhere.

        Args:
            seconds: as of `SessionGroup`.
            watched: whether what is real is noted, for `SessionGroup.watched` to compare.
            run_id: of a run that is made again.

        Raises:
            ConfigurationError: the factory gave no `Environment`, or one that it gave before.
        """
        family = SessionGroup(self._timeout, seconds, run_id)
        environment = self._environment(task, family)
        if watched and not isinstance(environment, FunctionEnvironment):  # nothing is known of what functions act on
            family.isolation = Isolation(environment, self._factory)
            family.another = partial(self._another, environment, task)
        family.tier, copied = self._tier_of(environment, family)
        if family.isolation is not None:
            family.isolation.live = family.tier == "live"
        return self._session(environment, family, copied)

    def reopen(self, session: Session, task: Any) -> Session:
        """Another fresh session in the family of `session`."""
        return self._session(self._environment(task, session.family), session.family)

    def open_real(self, task: Any, run_id: UUID | None = None) -> Session:
        """A session in which everything may run: the instance itself, or a new one from the factory.

        While a call is at work in it, no run takes what changes for a leak of its own. Two of them on one instance wait
        for each other at `Session.hold`:

            session = source.open_real(task)
            try:
                yield from session.hold()
                ...
            finally:
                session.family.close()

        Args:
            run_id: of the run that is made real.
        """
        family = SessionGroup(self._timeout, run_id=run_id)
        environment = self._environment(task, family, committed=True)
        family.lock = InstanceLock(environment)
        return Session(environment, family, committed=True, owned=self._instance is None)

    def reopens_same_world(self, session: Session) -> bool:
        """Whether another real session would act on what this one acts on."""
        return self._instance is not None or not session.environment.reopenable

    def _session(self, environment: Environment, family: SessionGroup, copied: Environment | None = None) -> Session:
        if self._instance is None and (environment.reopenable or family.tier != "fork"):
            return Session(environment, family)
        if family.tier == "fork":
            copied = self._fork(environment, family) if copied is None else copied
            if self._instance is None:  # what was made acts on what is real, and has served as soon as it is copied
                Session(environment, family).close()
            return Session(copied, family, owned=copied is not environment)
        return Session(environment, family, owned=False)

    def _another(self, environment: Environment, task: Any, family: SessionGroup) -> Session:
        """One more instance like those of a run, made in all ways in which a run makes them.

        Raises:
            EnvironmentFailed: none can be made.
        """
        try:
            made = self._session(self._environment(task, family), family)
            if family.tier != "fork" or self._instance is not None or not environment.reopenable:
                return made
            return Session(family.fork_of(environment), family)
        except PivotError:
            raise
        except Exception as error:  # the environment's own code
            raise EnvironmentFailed(f"{self.name} cannot be opened again: {error_text(error)}") from error

    def _environment(self, task: Any, family: SessionGroup, *, committed: bool = False) -> Environment:
        if self._instance is not None:
            return self._instance  # type: ignore[no-any-return]

        def make() -> Environment:
            with allowing(None if committed else UNDOABLE):
                return self._make(task)

        return family.inside(make)

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

    def _tier_of(self, environment: Environment, family: SessionGroup) -> tuple[Tier, Environment | None]:
        """The tier, by whether a copy can be made, and the copy where one was made of the user's own instance.

        That a copy could be made is remembered; that it could not is not, for a commit may have been in its way.
        """
        kind = (type(environment), environment.forkable)
        if kind in self._forks and self._instance is None:
            return "fork", None
        without: Tier = "replay" if self._instance is None and environment.reopenable else "live"
        if not environment.forkable:
            if without == "live":
                self._say(_why_live(environment))
            return without, None
        try:
            copied = self._fork(environment, family)
            if copied is not environment and self._instance is None and environment.reopenable:
                Session(copied, family).close()
        except EnvironmentFailed:
            raise
        except Exception as error:
            # What cannot be copied holds something of the outside (a connection, say) that a new instance may share.
            bases = [base for base in type(environment).__mro__ if base not in (Environment, object)]
            if not any("reopenable" in vars(place) for place in (environment, *bases)):
                without = "live"
            self._say(self._uncopied(environment, error, without))
            return without, None
        if copied is environment and any(spec.effect != "read" for spec in toolbox_of(environment).tools.values()):
            raise ConfigurationError(
                f"fork of {self.name} returned the instance itself, in which nothing that is written can be dropped; "
                "return a copy, or set forkable = False"
            )
        self._forks.add(kind)
        return "fork", copied

    def _fork(self, environment: Environment, family: SessionGroup) -> Environment:
        """A copy; once more where a commit was in the way, which changes what is being copied."""
        for _ in range(TRIES - 1):
            before = commits_on(environment)
            try:
                return family.fork_of(environment)
            except EnvironmentFailed:
                raise
            except Exception:
                if before is not None and before == commits_on(environment):
                    raise
                time.sleep(PAUSE)
        return family.fork_of(environment)


def _why_live(environment: Environment) -> str:
    """Why no change to an environment that cannot be copied is tried before commit, and what to do about it."""
    if because := getattr(environment, "live_because", ""):  # an environment of a server knows its own remedy
        return f"the tier is live, so that what changes something waits for commit: {because}"
    name, functions = type(environment).__name__, isinstance(environment, FunctionEnvironment)
    anew = "pass a function that makes a new one, lambda: "
    anew += "from_functions(..., isolated=True)" if functions else f"{name}(...)"
    copied = "write an Environment class whose state can be copied" if functions else "override fork"
    alone = "if each is a world of its own"
    remedy = f"{anew}, or {copied}" if environment.reopenable else f"{copied}, or, {alone}, {anew}"
    return (
        f"the tier is live, so that what changes something waits for commit: this {name} is the real thing, and cannot "
        f"be copied; {remedy}"
    )


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
    is_class = isinstance(factory, type) and issubclass(factory, Environment)  # whose `__new__` says nothing of it
    try:
        parameters = list(inspect.signature(factory.__init__ if is_class else factory).parameters.values())[is_class:]
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
