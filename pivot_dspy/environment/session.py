"""A session: one isolated life of an environment, behind which calls are timed, typed and kept safe."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic_core import PydanticSerializationError, to_jsonable_python

from pivot_dspy._drive import Effect as Wait
from pivot_dspy._drive import Steps
from pivot_dspy.environment.base import CheckResult, Environment
from pivot_dspy.environment.toolbox import ToolSpec, Toolbox
from pivot_dspy.environment.worker import Worker
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Fault

Tier = Literal["fork", "replay", "live"]
Result = TypeVar("Result")
Permit = Callable[[], None]
"""Called before each tool call; it may raise to stop the execution, as a spent budget does."""


class Outcome(NamedTuple):
    """What one call gave: a value as plain JSON data, or a fault; and the seconds it took."""

    value: Any
    fault: Fault | None
    seconds: float


class Family:
    """The sessions of one run of a refiner: they share a worker thread and are closed together."""

    def __init__(self, timeout: float | None) -> None:
        self.toolbox = Toolbox(())
        self.tier: Tier = "live"
        self.timeout = timeout
        self.worker = Worker()
        self.sessions: weakref.WeakSet[Session] = weakref.WeakSet()

    def close(self) -> None:
        """Close every session that is still open."""
        for session in list(self.sessions):
            session.close()
        self.worker.stop()

    def inside(self, function: Callable[[], Result]) -> Result:
        """Run `function` in the thread where this family's environments live."""
        return function() if self.timeout is None else self.worker.submit(function).result()


class Session:
    """One environment instance and what may be done with it.

    Args:
        committed: everything may run here, irreversible tools too.
        owned: whether closing the session closes the instance; the user's own instance is closed by its owner.
    """

    def __init__(
        self, environment: Environment, family: Family, *, committed: bool = False, owned: bool = True
    ) -> None:
        self.environment = environment
        self.family = family
        self.committed = committed
        family.sessions.add(self)
        self._release = weakref.finalize(self, environment.close if owned else _nothing)

    @property
    def toolbox(self) -> Toolbox:
        return self.family.toolbox

    def fork(self) -> Session:
        """An independent copy of this session."""
        return Session(self.family.inside(self.environment.fork), self.family)

    def close(self) -> None:
        """Release the environment; a second call does nothing."""
        if self._release.alive:
            self.family.inside(lambda: self._release() and None)

    def describe(self) -> str:
        return self.family.inside(self.environment.describe)

    def runner(self, spec: ToolSpec) -> Callable[..., Any] | None:
        """What may be called for `spec` here: the tool, its preview, or None where it has to wait for commit."""
        if self.committed or spec.effect == "read" or (spec.effect == "write" and self.family.tier != "live"):
            return spec.invoke
        return spec.preview

    def check(self, spec: ToolSpec, args: dict[str, Any]) -> CheckResult:
        """Evaluate a check on this session; what it raises is its failure, with the error as evidence."""
        try:
            kwargs = spec.validate(args)
            found = self.family.inside(lambda: spec.invoke(self.environment, **kwargs))
        except Exception as error:
            return CheckResult(False, f"cannot be checked: {error}")
        if isinstance(found, CheckResult):
            return found
        if isinstance(found, tuple):
            return CheckResult(*found)
        return CheckResult(bool(found))

    def call(self, spec: ToolSpec, batch: Sequence[dict[str, Any]], permit: Permit) -> Steps[list[Outcome]]:
        """Call the tool once for each set of validated arguments in `batch`, in order.

        A call that takes longer than its timeout gives a `timeout` fault, and the rest of the batch is not run.
        """
        run = self.runner(spec)
        if run is None:
            raise ConfigurationError(f"{spec.name} may not run before commit")
        timeout = spec.timeout if spec.timeout is not None else self.family.timeout
        if spec.is_async and run is spec.invoke:
            outcomes: list[Outcome] = yield Wait(
                lambda: _in_new_loop(self._acall(spec, run, batch, permit, timeout), spec.name),
                lambda: self._acall(spec, run, batch, permit, timeout),
            )
            return outcomes
        job = _Batch(self.environment, spec, run, batch, permit)
        if timeout is None:
            done: list[Outcome] = yield Wait(job.run, lambda: _ready(job.run()))
            return done
        result: list[Outcome] = yield Wait(
            lambda: self._wait(job, self.family.worker.submit(job.run), timeout),
            lambda: self._await(job, self.family.worker.submit(job.run), timeout),
        )
        return result

    async def _acall(
        self, spec: ToolSpec, run: Callable[..., Any], batch: Sequence[dict[str, Any]], permit: Permit,
        timeout: float | None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for kwargs in batch:
            permit()
            started = time.perf_counter()
            try:
                value = await asyncio.wait_for(run(self.environment, **kwargs), timeout)
                outcomes.append(_outcome(self.environment, spec, value, started))
            except asyncio.TimeoutError:
                outcomes.append(_timed_out(spec, timeout or 0.0))
                break
            except Exception as error:
                outcomes.append(_raised(spec, error, started))
        return outcomes

    def _wait(self, job: _Batch, future: Future[list[Outcome]], timeout: float) -> list[Outcome]:
        while True:
            try:
                return future.result(timeout)
            except FutureTimeout:
                if future.done() or not job.overdue(timeout):
                    continue
                return self._abandon(job, timeout)

    async def _await(self, job: _Batch, future: Future[list[Outcome]], timeout: float) -> list[Outcome]:
        waiting = asyncio.wrap_future(future)
        while True:
            done, _ = await asyncio.wait((waiting,), timeout=timeout)
            if done:
                return waiting.result()
            if job.overdue(timeout):
                return self._abandon(job, timeout)

    def _abandon(self, job: _Batch, timeout: float) -> list[Outcome]:
        job.cancelled = True
        self.family.worker.stop()
        self.family.worker = Worker()
        return [*job.outcomes, _timed_out(job.spec, timeout)]


class _Batch:
    """Calls that run one after another in the worker, watched from outside."""

    def __init__(
        self, environment: Environment, spec: ToolSpec, run: Callable[..., Any], batch: Sequence[dict[str, Any]],
        permit: Permit,
    ) -> None:
        self.environment, self.spec, self._run, self._batch, self._permit = environment, spec, run, batch, permit
        self.outcomes: list[Outcome] = []
        self.cancelled = False
        self._started = time.perf_counter()

    def overdue(self, timeout: float) -> bool:
        return time.perf_counter() - self._started >= timeout

    def run(self) -> list[Outcome]:
        for kwargs in self._batch:
            if self.cancelled:
                break
            self._permit()
            self._started = started = time.perf_counter()
            try:
                value = self._run(self.environment, **kwargs)
                self.outcomes.append(_outcome(self.environment, self.spec, value, started))
            except Exception as error:
                self.outcomes.append(_raised(self.spec, error, started))
        return self.outcomes


def _outcome(environment: Environment, spec: ToolSpec, value: Any, started: float) -> Outcome:
    """The result as plain data: a copy, so that what the tool does later to its own objects changes no observation."""
    try:
        plain = to_jsonable_python(value)
    except (PydanticSerializationError, UnicodeDecodeError, ValueError) as error:
        fault = Fault(
            kind="unserialisable",
            message=f"{spec.name} returned {type(value).__name__}, which has no JSON form: {error}",
            expected="a value that pydantic can turn into JSON",
        )
        return Outcome(None, fault, time.perf_counter() - started)
    message = environment.error_of(spec.name, plain)
    if message is not None:
        return Outcome(plain, Fault(kind="tool_error", message=message), time.perf_counter() - started)
    return Outcome(plain, None, time.perf_counter() - started)


def _raised(spec: ToolSpec, error: Exception, started: float) -> Outcome:
    message = str(error) or "no message"
    return Outcome(
        None, Fault(kind="tool_error", message=f"{type(error).__name__}: {message}"), time.perf_counter() - started
    )


def _timed_out(spec: ToolSpec, timeout: float) -> Outcome:
    return Outcome(None, Fault(kind="timeout", message=f"{spec.name} took longer than {timeout:g} s"), timeout)


def _nothing() -> None:
    return None


async def _ready(value: Result) -> Result:
    return value


def _in_new_loop(coroutine: Coroutine[Any, Any, Result], name: str) -> Result:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    coroutine.close()
    raise ConfigurationError(
        f"the tool {name!r} is async and this call is not, inside a running event loop; use `await pivot.acall(...)`"
    )
