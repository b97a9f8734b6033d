"""A session: one isolated life of an environment, behind which calls are timed, typed and kept safe."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any, Literal, TypeVar

import dspy

from pivot_dspy.dspy_internals import BaseCallback, with_callbacks
from pivot_dspy.environment.base import EFFECTS, UNCHECKABLE, CheckResult, Environment
from pivot_dspy.environment.calls import CallResult, Ended, Permit, ToolCalls, Tour, advanced, said
from pivot_dspy.environment.from_class import own_shared_state, toolbox_of
from pivot_dspy.environment.permission import allowing
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.environment.worker import Worker
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import Await, Flow


def listened(spec: ToolSpec) -> bool:
    """Whether a callback in force wants to hear of this tool."""
    callbacks = [*(dspy.settings.get("callbacks") or ()), *(getattr(spec.tool, "callbacks", None) or ())]
    return any(
        getattr(getattr(callback, name, None), "__func__", None) is not getattr(BaseCallback, name)
        for callback in callbacks
        for name in ("on_tool_start", "on_tool_end")
    )


def with_tool_callbacks(job: ToolCalls, kwargs: dict[str, Any], wait: Await) -> Await:
    """`wait` for the one call of `job`, with `on_tool_start` before it and `on_tool_end` after it."""

    def call(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
        wait.call()
        return job.result()

    async def acall(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
        await wait.acall()
        return job.result()

    def outcomes() -> list[CallResult]:
        try:
            with_callbacks(call)(job.spec.as_tool, kwargs)
        except Exception as error:
            if error is not job.error:
                raise
        return job.outcomes

    async def aoutcomes() -> list[CallResult]:
        try:
            await with_callbacks(acall)(job.spec.as_tool, kwargs)
        except Exception as error:
            if error is not job.error:
                raise
        return job.outcomes

    return Await(outcomes, aoutcomes)


logger = logging.getLogger(__name__)

Tier = Literal["fork", "replay", "live"]
Result = TypeVar("Result")

GRACE = 1.0
"""Seconds beyond its timeout that an async tool gets to end when it is cancelled, before its thread is given up."""


class SessionGroup:
    """The sessions of one run of a refiner: they share a worker thread and are closed together."""

    def __init__(self, timeout: float | None) -> None:
        self.tier: Tier = "live"
        self.timeout = timeout
        self.worker = Worker()
        self.sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        weakref.finalize(self, self.worker.stop)

    def close(self) -> None:
        """Close every session that is still open."""
        for session in list(self.sessions):
            session.close()
        self.worker.stop()

    def inside(self, function: Callable[[], Result], timeout: float | None = None) -> Result:
        """Run `function` in the thread where this family's environments live.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was left behind.
        """
        if self.timeout is None or self.worker.is_current:
            return function()
        future = self.worker.submit(function)
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done():
                return future.result()
            self.worker.replace()
            raise TimeoutError(f"took longer than {timeout:g} s") from None


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
        family.sessions.add(self)
        # Most environments hold nothing that has to be released: then no visit to their thread is paid for it.
        releases = owned and type(environment).close is not Environment.close
        self._release = weakref.finalize(self, _close_later, environment, family) if releases else None

    def fork(self) -> Session:
        """An independent copy of this session."""
        return Session(self.family.inside(self.environment.fork), self.family)

    def close(self) -> None:
        """Release the environment; a second call does nothing. An error of its `close` is logged."""
        if self._release is not None and self._release.detach():
            try:
                self.family.inside(lambda: _close(self.environment), self.family.timeout)
            except TimeoutError as error:
                logger.warning("close of %s %s", type(self.environment).__name__, error)

    def describe(self) -> str:
        """The environment's own account of where it stands; empty, and a warning in the log, if it raises."""
        if type(self.environment).describe is Environment.describe:
            return ""
        try:
            return str(self.family.inside(self.environment.describe, self.family.timeout))
        except Exception as error:
            logger.warning("describe of %s failed: %s", type(self.environment).__name__, said(error))
            return ""

    def runner(self, spec: ToolSpec) -> Callable[..., Any] | None:
        """What may be called for `spec` here: the tool, its preview, or None where it has to wait for commit."""
        if self.committed or spec.effect == "read" or (spec.effect == "write" and self.family.tier != "live"):
            return spec.invoke
        return spec.preview

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Tell the environment which checks will be asked of it."""
        self.family.inside(lambda: self.environment.begin_checks(checks), self.family.timeout)

    def check(self, spec: ToolSpec, args: dict[str, Any]) -> CheckResult:
        """Evaluate a check on this session; what it raises is its failure, with the error as evidence."""
        try:
            kwargs = spec.validate(args)

            def asked() -> CheckResult:
                with allowing(frozenset({"read"})):
                    return CheckResult.of(spec.invoke(self.environment, **kwargs))

            return self.family.inside(asked, self.family.timeout)
        except (Exception, SystemExit) as error:
            return CheckResult(False, f"{UNCHECKABLE}{said(error)}")

    def call(self, spec: ToolSpec, batch: Sequence[dict[str, Any]], permit: Permit) -> Flow[list[CallResult]]:
        """Call the tool once for each set of validated arguments in `batch`, in order.

        A call that takes longer than its timeout gives a `timeout` fault, and the rest of the batch is not run. Once
        committed, nor is what comes after any failed call of a tool that does not only read.

        Raises:
            ConfigurationError: the tool may not run here, or not from this thread.
        """
        run = self.runner(spec)
        if run is None:
            raise ConfigurationError(f"{spec.name} may not run before commit")
        timeout = spec.timeout if spec.timeout is not None else self.family.timeout
        careful = self.committed and spec.effect != "read"

        own = spec.effect if run is spec.invoke else "read"  # a preview only reads
        granted = None if self.committed else frozenset(EFFECTS[: EFFECTS.index(own) + 1])

        def job(part: Sequence[dict[str, Any]], permit: Permit) -> ToolCalls:
            return ToolCalls(
                self.environment, spec, run, part, permit, timeout, self.family.worker, careful=careful, granted=granted
            )

        if not listened(spec):
            made: list[CallResult] = yield self._waiting(job(batch, permit))
            return made
        outcomes: list[CallResult] = []
        for kwargs in batch:
            permit()
            single = job([kwargs], _allow)
            outcomes += yield with_tool_callbacks(single, kwargs, self._waiting(single))
            if single.ended:
                break
        return outcomes

    def together(self, steps: Flow[Result]) -> Flow[Result]:
        """`steps` that make calls here, in which what lies between two calls is done in the worker too.

        They may not depend on their thread, nor wait for this family by themselves.
        """
        came = advanced(partial(next, steps))
        while not isinstance(came, Ended):
            if came.job is None or self.family.timeout is None:
                try:
                    answer = partial(steps.send, (yield came))
                except Exception as error:
                    answer = partial(steps.throw, error)
                came = advanced(answer)
            else:
                tour = Tour(steps, came.job)
                came = yield self._watched(tour)
                if tour.given_up:
                    came = advanced(partial(steps.send, tour.outcomes))
        result: Result = came.value
        return result

    def _waiting(self, job: ToolCalls) -> Await:
        if job.spec.is_async:
            return Await(lambda: self._in_worker(job), job.arun)
        if job.timeout is None:
            return Await(job.run, lambda: _ready(job.run))
        return self._watched(job)._replace(job=job)

    def _watched(self, job: ToolCalls | Tour) -> Await:
        return Await(lambda: self._wait(job, self._submit(job)), lambda: self._await(job))

    def _submit(self, job: ToolCalls | Tour) -> Future[Any]:
        return self.family.worker.submit(job.run)

    def _in_worker(self, job: ToolCalls) -> list[CallResult]:
        """Run async calls from sync code: in the worker's own event loop, never in one that waits for us."""
        _refuse_own_loop(job.spec)
        future = self.family.worker.submit(lambda: self.family.worker.finish(job.arun))
        made: list[CallResult] = self._wait(job, future, GRACE)
        return made

    def _wait(self, job: ToolCalls | Tour, future: Future[Any], grace: float = 0.0) -> Any:
        try:
            while True:
                try:
                    return future.result(job.patience(grace))
                except FutureTimeout:
                    if future.done():
                        return future.result()
                    if job.abandon(grace):
                        self.family.worker.replace()
                        return job.outcomes
        except KeyboardInterrupt:
            self._cancel(job)
            raise

    def _cancel(self, job: ToolCalls | Tour) -> None:
        """Leave a call that nobody waits for any more to its thread, so that closing need not wait for it."""
        job.cancel()
        if job.running:
            self.family.worker.replace()

    async def _await(self, job: ToolCalls | Tour) -> Any:
        waiting = asyncio.wrap_future(self._submit(job))
        try:
            while True:
                done, _ = await asyncio.wait((waiting,), timeout=job.patience())
                if done:
                    return waiting.result()
                if job.abandon():
                    self.family.worker.replace()
                    return job.outcomes
        except asyncio.CancelledError:
            self._cancel(job)
            raise
        finally:
            waiting.cancel()


def _refuse_own_loop(spec: ToolSpec) -> None:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    if running is spec.home:
        raise ConfigurationError(
            f"the tool {spec.name!r} needs this event loop, which a sync call would block; use `await ....acall(...)`"
        )


def _close(environment: Environment) -> None:
    try:
        environment.close()
    except Exception as error:
        logger.warning("close of %s failed: %s", type(environment).__name__, said(error))


def _close_later(environment: Environment, family: SessionGroup) -> None:
    """Close without waiting for it, for this runs wherever a session happens to be garbage collected."""
    if family.timeout is None:
        _close(environment)
    else:
        family.worker.submit(lambda: _close(environment))


def _allow() -> None:
    """The permit of a call that has been permitted already."""


async def _ready(function: Callable[[], Result]) -> Result:
    return function()
