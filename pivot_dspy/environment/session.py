"""A session: one isolated life of an environment, behind which calls are timed, typed and kept safe."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any, Literal, TypeVar
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
from pivot_dspy.environment.from_class import own_shared_state, toolbox_of
from pivot_dspy.environment.isolation import Isolation
from pivot_dspy.environment.ownership import InstanceLock, committing, own
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.flow import Await, Flow

logger = logging.getLogger(__name__)

LAST_CALL = 0.01
"""Seconds that a check or a hook gets where all that a run had to wait is spent: enough for one that does not wait."""

Tier = Literal["fork", "replay", "live"]
Result = TypeVar("Result")


class SessionGroup:
    """The sessions of one run of a refiner: they share a worker thread and are closed together.

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
        self.sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self.isolation: Isolation | None = None
        """What the run must leave as it is, where that is watched."""
        self.another: Callable[[SessionGroup], Session] | None = None
        """Opens one more instance like those of the run, where a factory makes them."""
        self.lock: InstanceLock | None = None
        """Of the real instance, where these sessions commit."""
        weakref.finalize(self, self.worker.stop)

    @property
    def unclear(self) -> Sequence[str]:
        """What has changed by the run or by a commit, nobody knows which, as of `Isolation`."""
        return () if self.isolation is None else self.isolation.unclear

    def idempotency_key(self, step: str, number: int) -> str:
        """The same text for the same call of a step, however often it is made in this run."""
        return str(uuid5(self.run_id, f"{step}:{number}"))

    def close(self) -> None:
        """Close every session that is still open, and let the next commit begin."""
        for session in list(self.sessions):
            session.close()
        self.worker.stop()
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

        def fork() -> Environment:
            with allowing(UNDOABLE):
                copied = environment.fork()
            if copied is not environment:
                own(copied)
            return copied

        return self.inside(fork)

    def inside(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run `function` in the thread where this family's environments live.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was left behind.
        """
        if self.timeout is None or self.worker.is_current:
            return function()
        future = self.worker.submit(function)
        if timeout is not None and self._deadline is not None:
            timeout = min(timeout, max(LAST_CALL, self._deadline + self.timeout - time.monotonic()))
        if not wait((future,), timeout).done:
            self.worker.replace()
            raise TimeoutError(f"took longer than {timeout:g} s")
        return future.result()


class Session:
    """One environment instance and what may be done with it.

    Args:
        committed: everything may run here, irreversible tools too.
        owned: whether closing the session closes the instance; the user's own instance is closed by its owner.
    """

    def __init__(
        self, environment: Environment, family: SessionGroup, *, committed: bool = False, owned: bool = True
    ) -> None:
        self.environment = environment
        self.toolbox: Toolbox = toolbox_of(environment)
        self.family = family
        self.committed = committed
        if owned and not committed:
            own_shared_state(environment)
            own(environment)
        family.sessions.add(self)
        # Most environments hold nothing that has to be released: then no visit to their thread is paid for it.
        releases = owned and type(environment).close is not Environment.close
        self._release = weakref.finalize(self, _close_later, environment, family, committed) if releases else None

    def fork(self) -> Session:
        """An independent copy of this session."""
        return Session(self.family.fork_of(self.environment), self.family)

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
        function = self.runner(spec)
        if function is None:
            raise ConfigurationError(f"{spec.name} may not run before commit")
        effect = spec.effect if function is spec.invoke else "read"  # a preview only reads
        call = ToolCall(
            self.environment,
            spec,
            function,
            arguments,
            timeout=self.family.timeout if spec.timeout is None else spec.timeout,
            allowed=None if self.committed else frozenset(EFFECTS[: EFFECTS.index(effect) + 1]),
            worker=self.family.worker,
        )
        made = Await(call.result, call.aresult)
        if is_listened_to(spec.tool):
            trial = not self.committed and spec.effect != "read"
            made = with_tool_callbacks(spec.as_tool, arguments, made, trial=trial)
        isolation = self.family.isolation if function is not spec.invoke and self.family.tier == "live" else None
        with nullcontext() if isolation is None else isolation.unchanged_by(f"the preview of {spec.name}"):
            result: CallResult = yield made
        return result


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
