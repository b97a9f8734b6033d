"""Who may change an environment instance at this moment: what threads without a permission may call, and commits.

What is known of an instance stands here and not on it: a mark on the instance would be copied, compared and passed to
constructors with the user's own attributes.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

POLL = 0.005
"""Seconds between two looks at whether a lock that an event loop waits for is free."""


class Activity:
    """Counts what commits do (a call, say), so that what it changes is not taken for a leak of a run beside it."""

    def __init__(self) -> None:
        self._begun = self._ended = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._begun += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._ended += 1

    @property
    def mark(self) -> int | None:
        """The number so far; None while one is under way, of which nobody knows what it has changed."""
        with self._lock:
            return self._begun if self._begun == self._ended else None


class _Standing:
    """What is known of one instance."""

    def __init__(self, of: weakref.ref[object]) -> None:
        self.of = of
        self.owned = False
        """Whether a session made it: then nothing that cannot be undone runs in it, in whatever thread."""
        self.grants: list[frozenset[str] | None] = []
        """Effects that the calls now under way in it may have; None for all."""
        self.lock = threading.Lock()
        self.activity = Activity()


EVERYTHING = Activity()
"""Of commits on whatever instance: they may change modules, classes and files that others look at too."""

_standings: dict[int, _Standing] = {}
_noting = threading.RLock()
_dead: deque[tuple[float, int]] = deque()
"""Instances that were collected, and when. What is known of them stays for a while: the collector ends weak references
before finalizers run, which must be refused too."""
KEPT = 60.0
"""Seconds."""


def _forget(key: int) -> None:
    _dead.append((time.monotonic(), key))


def begin_life(instance: object) -> None:
    """Forget what is known of another instance that stood where this one now stands in memory."""
    standing = _standings.get(id(instance))
    if standing is not None and standing.of() is None:
        _standings.pop(id(instance), None)


def _sweep() -> None:
    """Forget those that were collected long ago."""
    while _dead and _dead[0][0] < time.monotonic() - KEPT:
        _, key = _dead.popleft()
        standing = _standings.get(key)
        if standing is not None and standing.of() is None:
            _standings.pop(key, None)


def _standing_of(instance: object) -> _Standing:
    key = id(instance)
    with _noting:
        standing = _standings.get(key)
        if standing is None or standing.of() is not instance:
            _sweep()
            standing = _standings[key] = _Standing(weakref.ref(instance, lambda _: _forget(key)))
        return standing


def own(instance: object) -> None:
    """Note that a session made `instance`: outside of its calls nothing that cannot be undone may run in it."""
    _standing_of(instance).owned = True


class Grant:
    """Lets threads that were started without the context of a call do in `instance` what the call may do."""

    __slots__ = ("_effects", "_grants")

    def __init__(self, instance: object, effects: frozenset[str] | None) -> None:
        self._grants, self._effects = _standing_of(instance).grants, effects

    def begin(self) -> None:
        self._grants.append(self._effects)

    def end(self) -> None:
        with suppress(ValueError):
            self._grants.remove(self._effects)


def permitted_on(instance: object) -> frozenset[str] | None:
    """Effects that code without a permission of its own may have in `instance`; None for all.

    In an instance of a session these are the effects of the call under way, for what calls may be a thread of it, and
    between calls what is undone by dropping the instance. In
    the user's own instance it is everything, unless a run is at work in it: then the two cannot be told apart.
    """
    standing = _standings.get(id(instance))
    if standing is None or not (standing.owned or standing.grants):
        return None
    grants = list(standing.grants) or [frozenset({"read", "write"})]
    return None if None in grants else frozenset().union(*(grant for grant in grants if grant is not None))


class InstanceLock:
    """The lock by which two commits on one instance wait for each other; released when this is collected, too."""

    def __init__(self, instance: object) -> None:
        self._lock = _standing_of(instance).lock
        self._held: list[threading.Lock] = []
        weakref.finalize(self, _release, self._held)

    def acquire(self) -> None:
        """Wait, in this thread, until no other commit holds the instance."""
        if not self._held:
            self._lock.acquire()
            self._held.append(self._lock)

    async def aacquire(self) -> None:
        """As `acquire`, in an event loop, which goes on meanwhile."""
        while not self._held:
            if self._lock.acquire(blocking=False):
                self._held.append(self._lock)
            else:
                await asyncio.sleep(POLL)

    def release(self) -> None:
        """Let the next one begin; a second call does nothing."""
        _release(self._held)


def _release(held: list[threading.Lock]) -> None:
    while held:
        held.pop().release()


@contextmanager
def committing(instance: object | None) -> Iterator[None]:
    """Count what the block changes as a commit's, on `instance` too where there is one."""
    with EVERYTHING, nullcontext() if instance is None else _standing_of(instance).activity:
        yield


@contextmanager
def real_instance_lock(instance: object) -> Iterator[None]:
    """Hold what is real for changes of one's own, while runs and commits may be at work on it in other threads.

    No commit on the instance begins meanwhile, and no run takes the changes for a leak of its own.

    >>> from pivot_dspy import Environment
    >>> class Notes(Environment):
    ...     def __init__(self) -> None:
    ...         self.lines: list[str] = []
    >>> notes = Notes()
    >>> with real_instance_lock(notes):
    ...     notes.lines.append("by hand")
    """
    lock = InstanceLock(instance)
    lock.acquire()
    try:
        with committing(instance):
            yield
    finally:
        lock.release()


def commits_on(instance: object | None) -> int | None:
    """How often a commit was at work so far on `instance`, or on anything; None while one is."""
    return EVERYTHING.mark if instance is None else _standing_of(instance).activity.mark
