"""A session: one isolated life of an environment, behind which calls are timed, typed and kept safe."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID, uuid4, uuid5

from pivot_dspy.dspy_internals import is_listened_to, with_tool_callbacks
from pivot_dspy.environment.base import (
    EFFECTS,
    READ_ONLY,
    UNCHECKABLE,
    UNDOABLE,
    CheckResult,
    Environment,
    allowing,
)
from pivot_dspy.environment.calls import CallResult, ToolCall, Worker
from pivot_dspy.environment.concurrent_calls import ConcurrentCalls
from pivot_dspy.environment.from_class import own_shared_state, toolbox_of
from pivot_dspy.environment.isolation import Isolation
from pivot_dspy.environment.ownership import InstanceLock, committing, own
from pivot_dspy.environment.pure_results import PureCall, PureResults
from pivot_dspy.environment.snapshot import KeptState
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.flow import Await, Flow

logger = logging.getLogger(__name__)

LAST_CALL = 0.01
"""Seconds that a check or a hook gets where all that a run had to wait is spent: enough for one that does not wait."""

Tier = Literal["fork", "replay", "live"]
Result = TypeVar("Result")


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
        self.timeout = min((limit for limit in (timeout, seconds) if limit is not None), default=None)
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self.worker = Worker()
        self._helpers: list[Worker] = []
        """For calls of plain functions that are made at once."""
        self.pure_results = PureResults()
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
        """A copy of `environment`, made where it lives; nothing that cannot be undone runs in its `fork`."""
        snapshot = self.snapshot_of(environment)
        return self.copied(environment.fork if snapshot is None else snapshot.load, environment)

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
        """What `copy` makes where environments live, as this run's own; nothing that cannot be undone runs in it."""

        def make() -> Environment:
            with allowing(UNDOABLE):
                made = copy()
            if made is not original:
                own(made)
            return made

        return self.inside(make)

    def inside(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run `function` in the thread where this family's environments live.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was left behind.
        """
        if self.timeout is None or self.worker.is_current:
            return function()
        if timeout is not None and self._deadline is not None:
            timeout = min(timeout, max(LAST_CALL, self._deadline + self.timeout - time.monotonic()))
        return self.worker.run(function, timeout)


class Forkable(Protocol):
    """What a session can be made from, again and again."""

    def fork(self) -> Session:
        """An independent session that stands as this did."""
        ...


class KeptSession:
    """How a session stood, as bytes: an environment is only made of them where one is needed."""

    def __init__(self, snapshot: KeptState, family: SessionGroup) -> None:
        self._snapshot, self._family = snapshot, family

    def fork(self) -> Session:
        """A session that stands as that one did."""
        return Session(self._family.copied(self._snapshot.load), self._family, kept=self)


class Session:
    """One environment instance and what may be done with it.

    Args:
        committed: everything may run here, irreversible tools too.
        owned: whether closing the session closes the instance; the user's own instance is closed by its owner.
        kept: how the instance stands, which was just made of it; it is not written again while nothing runs here.
    """

    def __init__(
        self, environment: Environment, family: SessionGroup, *, committed: bool = False, owned: bool = True,
        kept: KeptSession | None = None,
    ) -> None:  # fmt: skip
        self.environment = environment
        self.toolbox: Toolbox = toolbox_of(environment)
        self.family = family
        self.committed = committed
        if owned and not committed:
            own_shared_state(environment)
            own(environment)
        family.sessions.add(self)
        self._kept = kept
        # Most environments hold nothing that has to be released: then no visit to their thread is paid for it.
        releases = owned and type(environment).close is not Environment.close
        self._release = weakref.finalize(self, _close_later, environment, family, committed) if releases else None

    def fork(self) -> Session:
        """An independent copy of this session."""
        kept = self._state()
        if kept is not None:
            return kept.fork()
        return Session(self.family.copied(self.environment.fork, self.environment), self.family)

    def keep(self) -> Forkable:
        """How this session stands now, to fork from later; what it does from here on does not change that."""
        return self._state() or self.fork()

    def _state(self) -> KeptSession | None:
        """How it stands, as bytes; None where that cannot be written."""
        if self._kept is None:
            snapshot = self.family.snapshot_of(self.environment)
            return None if snapshot is None else KeptSession(snapshot, self.family)
        return self._kept

    def hold(self) -> Flow[None]:
        """Wait until no other commit holds the same instance; `release`, or `family.close`, lets the next one begin."""
        if self.family.lock is not None:
            yield Await(self.family.lock.acquire, self.family.lock.aacquire)

    def release(self) -> None:
        """Let other commits on the same instance begin, until `hold` waits for them."""
        if self.family.lock is not None:
            self.family.lock.release()

    def close(self) -> None:
        """Release the environment; a second call does nothing. An error of its `close` is logged."""
        if self._release is not None and self._release.detach():
            try:
                self.family.inside(lambda: _close(self.environment, self.committed), self.family.timeout)
            except TimeoutError as error:
                logger.warning("close of %s %s", type(self.environment).__name__, error)

    def keep_open(self) -> Callable[[], None] | None:
        """Let the environment outlive the family; what closes it, None where that is not ours to do."""
        if self._release is None or not self._release.detach():
            return None
        return partial(_close, self.environment, self.committed)

    def describe(self) -> str:
        """The environment's own account of where it stands; empty, and a warning in the log, if it raises."""
        if type(self.environment).describe is Environment.describe:
            return ""
        try:
            return str(self._reading(self.environment.describe))
        except Exception as error:
            logger.warning("describe of %s failed: %s", type(self.environment).__name__, error_text(error))
            return ""

    def _reading(self, function: Callable[[], Result], unchanged: Environment | None = None) -> Result:
        """Run `function` where the environment lives; tools that change something refuse to run inside."""
        self._kept = None  # it is not believed to have left everything as it was

        def guarded() -> Result:
            with (
                committing(self.environment) if self.committed else nullcontext(),  # it may fill caches
                allowing(READ_ONLY, unchanged, inside=self.environment),
            ):
                return function()

        return self.family.inside(guarded, self.family.timeout)

    def runner(self, spec: ToolSpec) -> Callable[..., Any] | None:
        """What may be called for `spec` here: the tool, its preview, or None where it has to wait for commit."""
        if self.committed or spec.effect == "read" or (spec.effect == "write" and self.family.tier != "live"):
            return spec.invoke
        return spec.preview

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Tell the environment which checks will be asked of it."""
        isolation = self.family.isolation if self.family.tier == "live" else None
        with nullcontext() if isolation is None else isolation.excusing():
            self._reading(lambda: self.environment.begin_checks(checks))

    def check(self, spec: ToolSpec, args: dict[str, Any]) -> CheckResult:
        """Evaluate a check on this session; what it raises is its failure, with the error as evidence."""
        try:
            arguments = spec.validate(args)
            return self._reading(
                lambda: CheckResult.of(spec.invoke(self.environment, **arguments)), unchanged=self.environment
            )
        except (Exception, SystemExit) as error:
            return CheckResult(False, f"{UNCHECKABLE}{error_text(error)}")

    def call(self, spec: ToolSpec, arguments: dict[str, Any]) -> Flow[CallResult]:
        """Call the tool once with validated arguments. A call that takes longer than its timeout gives a fault.

        Raises:
            ConfigurationError: the tool may not run here, or not from this thread.
            IsolationError: its preview has changed the real thing, in the `live` tier.
        """
        call, pure = self._tool_call(spec, arguments), PureCall.of(spec, arguments)
        made = Await(call.result, call.aresult)
        if is_listened_to(spec.tool):
            trial = not self.committed and spec.effect != "read"
            made = with_tool_callbacks(spec.as_tool, arguments, made, trial=trial)
        isolation = self.family.isolation if call.function is not spec.invoke and self.family.tier == "live" else None
        with nullcontext() if isolation is None else isolation.unchanged_by(f"the preview of {spec.name}"):
            result: CallResult = yield made
        self._keep(pure, result)
        return result

    def call_at_once(self, calls: Sequence[tuple[ToolSpec, dict[str, Any]]]) -> Flow[list[CallResult]]:
        """Make calls of tools of which each `overlaps`, at most `AT_ONCE`; the results are in the order of the calls.

        Raises:
            ConfigurationError: one needs the event loop that waits for it.
        """
        pure = [PureCall.of(spec, arguments) for spec, arguments in calls]
        made = []
        for number, (spec, arguments) in enumerate(calls):
            call = self._tool_call(spec, arguments)
            made.append(call if spec.is_async else replace(call, worker=self.family.helper(number), apart=True))
        at_once = ConcurrentCalls(made)
        results: list[CallResult] = yield Await(at_once.results, at_once.aresults)
        for call_made, result in zip(pure, results, strict=True):
            self._keep(call_made, result)
        return results

    def overlaps(self, spec: ToolSpec) -> bool:
        """Whether calls of the tool may be made at once with others: they are declared to bear it, nothing is being
        made real, and no callback wants to hear, in this thread, of each call as it begins and ends.
        """
        return spec.parallel and not self.committed and not is_listened_to(spec.tool)

    def recall(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> CallResult | None:
        """What an equal call of a pure tool gave in this task; None where it has to be made, as always in a commit."""
        pure = None if self.committed else PureCall.of(spec, arguments)
        kept = None if pure is None else self.family.pure_results.get(pure)
        return None if kept is None else CallResult(kept[0], None, 0.0)

    def _keep(self, call: PureCall | None, result: CallResult) -> None:
        if call is not None and result.fault is None:
            self.family.pure_results.keep(call, result.value)

    def _tool_call(self, spec: ToolSpec, arguments: dict[str, Any]) -> ToolCall:
        function = self.runner(spec)
        if function is None:
            raise ConfigurationError(f"{spec.name} may not run before commit")
        self._kept = None
        effect = spec.effect if function is spec.invoke else "read"  # a preview only reads
        return ToolCall(
            self.environment,
            spec,
            function,
            arguments,
            timeout=self.family.timeout if spec.timeout is None else spec.timeout,
            allowed=None if self.committed else frozenset(EFFECTS[: EFFECTS.index(effect) + 1]),
            worker=self.family.worker,
        )


def _close(environment: Environment, committed: bool) -> None:
    try:
        with allowing(None if committed else UNDOABLE):
            environment.close()
    except Exception as error:
        logger.warning("close of %s failed: %s", type(environment).__name__, error_text(error))


def _close_later(environment: Environment, family: SessionGroup, committed: bool) -> None:
    """Close without waiting for it, for this runs wherever a session happens to be garbage collected."""
    if family.timeout is None:
        _close(environment, committed)
    else:
        family.worker.submit(lambda: _close(environment, committed))
