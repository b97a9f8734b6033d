"""Isolation that is checked: how what is real stands before and after a run, and an error that names what differs.

Compared are the user's own instance, and whatever the environment's class can reach besides its instances: mutable
state of classes, globals that its code names, what its functions close over, what the factory holds, and files whose
paths are kept on the instance. Values are read without calling the user's code.

What is not seen: a change that is undone before the run ends, or of what making an instance changes too; what lies
behind a socket or a client of a library that cannot be copied; state that only the standard library or an installed
package keeps; names that are looked up as text (`globals()["N"]`); what comes after `CAP` bytes of the instance or
`SIDE_CAP` bytes of the rest; folders beyond 500 files; the content of a file of more than 64 KiB that keeps its size
and time. A fork's `close` that closes what it shares is seen for files, sockets and SQLite connections, and for
objects that say in an attribute of their own whether they are open. Of plain functions given as tools nothing is
compared. What differs where a commit was at work meanwhile may be the commit's doing: it is named in a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.files import named_files
from pivot_dspy.environment.fingerprint import (
    CAP,
    READERS,
    TORN,
    Change,
    Shared,
    Snapshot,
    attributes_of,
    cached_names,
    changes,
)
from pivot_dspy.environment.own_code import is_code, reach_of
from pivot_dspy.environment.ownership import commits_on
from pivot_dspy.errors import IsolationError

SIDE_CAP = 256 << 10
"""Bytes that are compared of what is not the user's own instance, for each of classes and modules, factory, and what
an instance of the factory holds."""

FILE = "file named by "
OUTSIDE = (".total_changes", ".open", ".descriptor", ".file")
"""What says that something outside of the process has changed."""
REMEDY = (
    "keep what tools change on self, where fork copies it; or, where it is meant to be shared (a cache, a recorder), "
    "name it in `shared` of the environment's class; what other threads change meanwhile is held by "
    "`with pivot_dspy.real_instance_lock(environment)`"
)

logger = logging.getLogger(__name__)

Collect = Callable[[], dict[str, Any]]


class _Watched:
    """One part of what is real: how it is read, and how it stood.

    Args:
        commits: how often commits were at work that may change it, as of `commits_on`.
    """

    def __init__(self, collect: Collect, cap: int, commits: Callable[[], int | None], shared: Shared) -> None:
        self._collect, self._cap, self._commits, self._shared = collect, cap, commits, shared
        self.note()

    def note(self) -> None:
        """Take how it stands for how it has to stay."""
        self._mark = self._commits()
        self.before = self._now()

    def again(self) -> _Watched:
        """The same, to stay as it stands from here on."""
        return _Watched(self._collect, self._cap, self._commits, self._shared)

    def leaks(self) -> list[Change]:
        """What has changed, whether or not a commit may have changed it."""
        after = self._now()
        by_commit = self._mark is None or self._mark != self._commits()
        changed = [] if self.before == after else changes(self.before, after)
        if by_commit and (self.before.is_torn or after.is_torn):
            changed.append(Change(TORN, "changed", (f".{TORN}",), TORN))
        return [
            change._replace(by_commit=by_commit)
            for change in changed
            if change.kind == "changed" or not change.path.endswith("()")  # what was cached now
        ]

    def _now(self) -> Snapshot:
        return Snapshot(self._collect(), self._cap, self._shared)


class Isolation:
    """What a run must leave as it is, noted when it is made.

    Args:
        environment: the user's own instance, or one that the factory has made.
        factory: what makes instances; None where the instance is the real thing.
    """

    def __init__(self, environment: Environment, factory: Any) -> None:
        self.live = False
        """Whether reads run on the real thing: what they add there, or set that was None, may be a cache, and is no
        leak."""
        self.unclear: list[str] = []
        """What has changed by the run or by a commit, nobody knows which; a sentence each."""
        self._environment, self._is_real = environment, factory is None
        names = frozenset(environment.shared)
        values = [value for name, value in attributes_of(environment) if name in names]
        values += [getattr(type(environment), name, None) for name in names]
        shared = Shared(names, frozenset(id(value) for value in values if value is not None))
        cap, real = (CAP, environment) if self._is_real else (SIDE_CAP, None)
        self._instance = _Watched(lambda: _instance_state(environment), cap, lambda: commits_on(real), shared)
        met = self._instance.before.code
        if not self._is_real:  # each instance has functions of its own, which hold what is compared with the instance
            met = {part for part in met if isinstance(part, type)}
        code = [type(environment), *sorted(met, key=lambda part: str(part.__qualname__)), *([] if real else [factory])]
        self._around = _Watched(lambda: _state_around(code), SIDE_CAP, lambda: commits_on(None), shared)
        self._by_making: set[Any] = set()

    def require_own(self, another: Callable[[], Environment]) -> None:
        """Before the sessions are closed: that instances which a factory made share nothing which was changed.

        What changes by making an instance (a count of instances, a list of them) is no leak, and is noted as such.

        Args:
            another: makes one more instance, as the run's own are made.

        Raises:
            IsolationError: they do.
        """
        own = [] if self._is_real else self._instance.leaks()
        if self._around.leaks():
            around = self._around.again()
            another()
            self._by_making = {change.keys[0] for change in around.leaks() if not change.by_commit}
        self._refuse([change for change in own if self._is_shared(change, another)])

    def require(self) -> None:
        """Once all sessions are closed. Raises IsolationError where something differs."""
        around = self._around.leaks()
        self._refuse([*self._of_instance(), *(change for change in around if change.keys[0] not in self._by_making)])

    @contextmanager
    def excusing(self) -> Iterator[None]:
        """What the block changes in the instance is no leak: what `begin_checks` sets in the `live` tier."""
        self._refuse(self._of_instance())
        try:
            yield
        finally:
            self._instance.note()

    @contextmanager
    def unchanged_by(self, what: str) -> Iterator[None]:
        """Raises IsolationError where the instance differs in anything after the block."""
        instance = self._instance.again()
        yield
        self._refuse(instance.leaks(), what)

    def _of_instance(self) -> list[Change]:
        """What differs in the user's own instance."""
        leaks = self._instance.leaks() if self._is_real else []
        return [change for change in leaks if not (self.live and (change.kind == "added" or change.was is None))]

    def _is_shared(self, change: Change, another: Callable[[], Environment]) -> bool:
        """Whether what has changed in one instance is another's too, and not its own."""
        if self.live:  # no other is made, and nothing but the world outside is shared
            return change.keys[-1] in OUTSIDE or change.path.startswith(FILE)
        return _is_shared(change, self._environment, another())

    def _refuse(self, changed: list[Change], who: str = "a run") -> None:
        """Note and log what may be a commit's doing; raise IsolationError for the rest."""
        if unclear := [change for change in changed if change.by_commit]:
            message = f"{who}, or a commit that was at work meanwhile, has changed what is real: {_named(unclear)}"
            self.unclear.append(message)
            logger.warning("%s", message)
        if leaks := [change for change in changed if not change.by_commit]:
            paths = tuple(dict.fromkeys(change.path for change in leaks))
            raise IsolationError(
                f"{who} has changed what is real before anything was committed: {_named(leaks)}; {REMEDY}", paths
            )


def _named(changed: list[Change]) -> str:
    first = list({change.keys[0]: change for change in reversed(changed)}.values())[::-1]  # of each attribute
    named = ", ".join(f"{change.path} ({change.kind})" for change in first[:4])
    return f"{named} and {len(first) - 4} more" if len(first) > 4 else named


def _instance_state(environment: Environment) -> dict[str, Any]:
    """Its attributes, by name, and the files that they name. Its own cached properties may be filled at any time."""
    cached = cached_names(type(environment))
    held = {name: value for name, value in attributes_of(environment) if name not in cached}
    state = {f"self.{name}": value for name, value in held.items()}
    return {**state, **{f"{FILE}self.{name}": found for name, found in named_files(held)}}


def _state_around(code: list[Any]) -> dict[str, Any]:
    """What classes and a factory reach; of a factory that is no plain function also what it holds."""
    found: dict[str, Any] = {}
    for source in code:
        if not is_code(source):
            found["factory"] = source.__self__ if isinstance(source, MethodType) else source
        else:
            found |= reach_of(source).state()
    return found


def _is_shared(change: Change, one: Environment, other: Environment) -> bool:
    """Whether two instances hold the same object where the change was made, or name the same file."""
    label = str(change.keys[0])[1:]
    if label.startswith(FILE):
        return _file_texts(one).get(label) == _file_texts(other).get(label, "")
    here: Any = dict(attributes_of(one)).get(label.removeprefix("self."))
    there: Any = dict(attributes_of(other)).get(label.removeprefix("self."))
    for key in (*change.keys[1:], None):
        if here is there and not isinstance(here, (str, int, float, bytes, tuple, frozenset, type(None))):
            return True
        if key == ".file":
            return str(here) == str(there)
        here, there = _part_of(here, key), _part_of(there, key)
    return False


def _part_of(value: Any, key: Any) -> Any:
    """What stands at a key of the way to a change; the value itself where nobody knows."""
    if isinstance(key, str) and key.startswith("."):
        return dict(attributes_of(value)).get(key[1:], getattr(value, "__self__", value))
    try:
        if issubclass(type(value), dict):
            return dict.__getitem__(value, key)
        return next((list(read(value))[key] for kind, read in READERS.items() if issubclass(type(value), kind)), value)
    except (KeyError, IndexError, TypeError):
        return value


def _file_texts(environment: Environment) -> Mapping[str, str]:
    """What names each file."""
    held = dict(attributes_of(environment))
    return {f"{FILE}self.{name}": str(held.get(name.partition("[")[0])) for name, _ in named_files(held)}
