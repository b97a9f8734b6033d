"""The sessions of one run of a refiner, and what they share: a thread, the limits of time, what is to stay as it is."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Literal, TypeVar, cast
from uuid import UUID, uuid4, uuid5

from pivot_dspy.environment.base import UNDOABLE, Environment, allowing
from pivot_dspy.environment.isolation import Isolation
from pivot_dspy.environment.kept_reads import KeptReads
from pivot_dspy.environment.ownership import InstanceLock, own
from pivot_dspy.environment.pure_results import PureResults
from pivot_dspy.environment.snapshot import KeptState
from pivot_dspy.environment.visits import Look, visiting
from pivot_dspy.environment.worker import Worker
from pivot_dspy.errors import EnvironmentFailed
from pivot_dspy.flow import Flow, awaited_at_once

if TYPE_CHECKING:
    from pivot_dspy.environment.session import Session

logger = logging.getLogger(__name__)

LAST_CALL = 0.01
"""Seconds that a check or a hook gets where all that a run had to wait is spent: enough for one that does not wait."""

Tier = Literal["fork", "replay", "live"]
Result = TypeVar("Result")
Copy = TypeVar("Copy")


class SessionGroup:
    """The sessions of one run of a refiner: they share a worker thread, and what is known of pure reads, and are
    closed together.

    Args:
        timeout: seconds that one call may take, None for no limit.
        seconds: that the run may take, None for no limit: what hangs after these does so for one timeout in all.
        run_id: tells the calls of this run, in copies and at commit, from those of any other.
    """

    def __init__(self, timeout: float | None, seconds: float | None = None, run_id: UUID | None = None) -> None:
        self.run_id = run_id or uuid4()
        self.tier: Tier = "live"
        self._copy_limit = timeout
        self._hung: str | None = None
        """What became of a copy that took too long; no other is waited for."""
        self.timeout = min((limit for limit in (timeout, seconds) if limit is not None), default=None)
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self.worker = Worker()
        self._helpers: list[Worker] = []
        """For calls of plain functions that are made at once."""
        self.pure_results = PureResults()
        self.kept_reads: KeptReads | None = None
        """What reads gave, where the run keeps a journal."""
        self.sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self.isolation: Isolation | None = None
        """What the run must leave as it is, where that is watched."""
        self.another: Callable[[SessionGroup], Session] | None = None
        """Opens one more instance like those of the run, where a factory makes them."""
        self.lock: InstanceLock | None = None
        """Of the real instance, where these sessions commit."""
        self._takes_snapshots = True
        weakref.finalize(self, self.worker.stop)

    @property
    def unclear(self) -> Sequence[str]:
        """What has changed by the run or by a commit, nobody knows which, as of `Isolation`."""
        return () if self.isolation is None else self.isolation.unclear

    def idempotency_key(self, step: str, number: int) -> str:
        """The same text for the same call of a step, however often it is made in this run."""
        return str(uuid5(self.run_id, f"{step}:{number}"))

    def helper(self, number: int) -> Worker:
        """The worker for the call of this number among those that are made at once."""
        while len(self._helpers) <= number:
            worker = Worker()
            weakref.finalize(self, worker.stop)
            self._helpers.append(worker)
        return self._helpers[number]

    def close(self) -> None:
        """Close every session that is still open, and let the next commit begin."""
        for session in list(self.sessions):
            session.close()
        for worker in (self.worker, *self._helpers):
            worker.stop()
        if self.lock is not None:
            self.lock.release()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Close the sessions after the block, and see that it left what is real as it was.

        Raises:
            IsolationError: it did not; what the block itself raised is the error's context.
        """
        try:
            yield
        except Exception:
            self.close_isolated()
            raise
        except BaseException:
            self.close()
            raise
        self.close_isolated()

    def close_isolated(self) -> None:
        """Close, and raise IsolationError where what is real does not stand as when the first session was opened."""
        try:
            if self.isolation is not None and self.another is not None:
                another = cache(partial(self.another, self))
                self.isolation.require_own(lambda: another().environment)
        finally:
            self.close()
        if self.isolation is not None:
            self.isolation.require()

    def fork_of(self, environment: Environment) -> Environment:
        """A copy of `environment`, made where it lives; nothing that cannot be undone runs in its `fork`.

        Raises:
            EnvironmentFailed: as `copied`.
        """

        def fork() -> Environment:
            snapshot = self.snapshot_of(environment)
            return _own_copy(environment.fork if snapshot is None else snapshot.load, environment)

        return self._in_the_time_of_a_call(fork, environment)

    def snapshot_of(self, environment: Environment) -> KeptState | None:
        """How `environment` stands, where that can be written; one that cannot is not tried again in this run."""
        if not self._takes_snapshots:
            return None
        try:
            return self.inside(lambda: KeptState(environment))
        except ValueError as error:
            logger.debug("copied at once before each change: %s", error)
            self._takes_snapshots = False
            return None

    def copied(self, copy: Callable[[], Environment], original: Environment | None = None) -> Environment:
        """What `copy` makes where environments live, as this run's own; nothing that cannot be undone runs in it.

        Raises:
            EnvironmentFailed: it took longer than a call may, and was left behind with the thread it hangs in.
        """
        return self._in_the_time_of_a_call(partial(_own_copy, copy, original), original)

    def _in_the_time_of_a_call(
        self, make: Callable[[], Environment], original: Environment | None = None
    ) -> Environment:
        if self._hung is not None:
            raise EnvironmentFailed(self._hung)
        ended = threading.Event()

        def attempt() -> Environment:
            try:
                return make()
            finally:
                ended.set()

        try:
            if self._copy_limit is None or self.worker.is_current:  # in a visit, whoever watches that bounds it
                return self.inside(attempt)
            return self.worker.run(attempt, self._copy_limit)
        except TimeoutError as error:
            if ended.is_set():
                raise
            raise self._left_behind("an environment" if original is None else type(original).__name__, error) from error

    def copying(self, name: str, copy: Callable[[], Copy]) -> Flow[Copy]:
        """What `copy` makes of an environment called so, in a visit that is under way where there is one.

        Raises:
            EnvironmentFailed: as `copied`.
        """

        def attempt() -> tuple[Copy | None, Exception | None]:
            try:
                return copy(), None
            except Exception as error:  # one of its own may be a TimeoutError too
                return None, error

        try:
            made, raised = yield from self.look(attempt, self._copy_limit)
        except TimeoutError as error:
            raise self._left_behind(name, error) from error
        if raised is not None:
            raise raised
        return cast(Copy, made)

    def _left_behind(self, name: str, error: TimeoutError) -> EnvironmentFailed:
        self._hung = (
            f"fork of {name} {error}, the limit of a call, and was left behind; mend what it waits for, pass a "
            "longer timeout, or set forkable = False"
        )
        return EnvironmentFailed(self._hung)

    def inside(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run `function` in the thread where this family's environments live.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was left behind.
        """
        if self.timeout is None or self.worker.is_current:
            return function()
        return self.worker.run(function, self._in_time(timeout))

    def look(self, function: Callable[[], Result], timeout: float | None) -> Flow[Result]:
        """As `inside`, in a visit that is under way where there is one."""
        job = Look(function, self._in_time(timeout))
        result: Result = yield awaited_at_once(lambda: self.inside(function, timeout), job)
        return result

    def visiting(self, steps: Flow[Result]) -> Flow[Result]:
        """`steps`, driven where this family's environments live, as far as they wait for nothing else than these."""
        return visiting(steps, self.worker, self.timeout)

    def _in_time(self, timeout: float | None) -> float | None:
        """At most so many seconds, and no more than the run has left."""
        if timeout is None or self.timeout is None or self._deadline is None:
            return timeout
        return min(timeout, max(LAST_CALL, self._deadline + self.timeout - time.monotonic()))


def _own_copy(copy: Callable[[], Environment], original: Environment | None) -> Environment:
    """What `copy` makes, as a trial's own."""
    with allowing(UNDOABLE):
        made = copy()
    if made is not original:
        own(made)
    return made
