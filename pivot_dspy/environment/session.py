"""A session: one isolated life of an environment, behind which calls are timed, typed and kept safe."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from pivot_dspy.dspy_internals import is_listened_to, with_tool_callbacks
from pivot_dspy.environment.base import (
    EFFECTS,
    READ_ONLY,
    UNCHECKABLE,
    CheckResult,
    Environment,
    allowing,
)
from pivot_dspy.environment.calls import CallResult, ToolCall
from pivot_dspy.environment.closing import close, close_later
from pivot_dspy.environment.concurrent_calls import ConcurrentCalls
from pivot_dspy.environment.from_class import own_shared_state, toolbox_of
from pivot_dspy.environment.kept_reads import after
from pivot_dspy.environment.ownership import committing, own
from pivot_dspy.environment.pure_results import PureCall
from pivot_dspy.environment.session_group import SessionGroup
from pivot_dspy.environment.snapshot import KeptState
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.flow import Await, Flow, run_sync

logger = logging.getLogger(__name__)

_UP_TO = {effect: frozenset(EFFECTS[:number]) for number, effect in enumerate(EFFECTS, start=1)}
"""What may run inside of a call that has an effect."""

Result = TypeVar("Result")


class Forkable(Protocol):
    """What a session can be made from, again and again."""

    def fork(self) -> Session:
        """An independent session that stands as this did."""
        ...


class KeptSession:
    """How a session stood, as bytes: an environment is only made of them where one is needed."""

    def __init__(self, snapshot: KeptState, family: SessionGroup, lineage: str) -> None:
        self._snapshot, self._family, self._lineage = snapshot, family, lineage

    def fork(self) -> Session:
        """A session that stands as that one did."""
        snapshot = self._family.copied(self._snapshot.load)
        return Session(snapshot, self._family, lineage=self._lineage, kept=self)


class Session:
    """One environment instance and what may be done with it.

    Args:
        committed: everything may run here, irreversible tools too.
        owned: whether closing the session closes the instance; the user's own instance is closed by its owner.
        lineage: tells what has changed the instance until now, where the run keeps a journal.
        kept: how the instance stands, which was just made of it; it is not written again while nothing runs here.
    """

    def __init__(
        self, environment: Environment, family: SessionGroup, *, committed: bool = False, owned: bool = True,
        lineage: str = "", kept: KeptSession | None = None,
    ) -> None:  # fmt: skip
        self.lineage = lineage
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
        where = None if family.timeout is None else family.worker
        releases = owned and type(environment).close is not Environment.close
        self._release = weakref.finalize(self, close_later, environment, where, committed) if releases else None

    def fork(self) -> Session:
        """An independent copy of this session."""
        kept = self._state()
        if kept is not None:
            return kept.fork()
        copied = self.family.copied(self.environment.fork, self.environment)
        return Session(copied, self.family, lineage=self.lineage)

    def keep(self) -> Forkable:
        """How this session stands now, to fork from later; what it does from here on does not change that."""
        return self._state() or self.fork()

    def _state(self) -> KeptSession | None:
        """How it stands, as bytes; None where that cannot be written."""
        if self._kept is None:
            snapshot = self.family.snapshot_of(self.environment)
            return None if snapshot is None else KeptSession(snapshot, self.family, self.lineage)
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
                self.family.inside(partial(close, self.environment, self.committed), self.family.timeout)
            except TimeoutError as error:
                logger.warning("close of %s %s", type(self.environment).__name__, error)

    def keep_open(self) -> Callable[[], None] | None:
        """Let the environment outlive the family; what closes it, None where that is not ours to do."""
        if self._release is None or not self._release.detach():
            return None
        return partial(close, self.environment, self.committed)

    def describe(self) -> str:
        """The environment's own account of where it stands; empty, and a warning in the log, if it raises."""
        return run_sync(self.described())

    def described(self) -> Flow[str]:
        """As `describe`, in a visit that is under way where there is one."""
        if type(self.environment).describe is Environment.describe:
            return ""
        try:
            return str((yield from self.family.look(self._guarded(self.environment.describe), self.family.timeout)))
        except Exception as error:
            logger.warning("describe of %s failed: %s", type(self.environment).__name__, error_text(error))
            return ""

    def _reading(self, function: Callable[[], Result], unchanged: Environment | None = None) -> Result:
        """Run `function` where the environment lives; tools that change something refuse to run inside."""
        return self.family.inside(self._guarded(function, unchanged), self.family.timeout)

    def _guarded(self, function: Callable[[], Result], unchanged: Environment | None = None) -> Callable[[], Result]:
        """`function`, inside of which tools that change something refuse to run."""
        self._kept = None  # it is not believed to have left everything as it was

        def guarded() -> Result:
            with (
                committing(self.environment) if self.committed else nullcontext(),  # it may fill caches
                allowing(READ_ONLY, unchanged, inside=self.environment),
            ):
                return function()

        return guarded

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
        return self._recalled(spec, arguments) or (yield from self._made(spec, arguments))

    def _made(self, spec: ToolSpec, arguments: dict[str, Any]) -> Flow[CallResult]:
        call, pure = self._tool_call(spec, arguments), PureCall.of(spec, arguments)
        made = Await(call.result, call.aresult, None if spec.is_async else call)
        if is_listened_to(spec.tool):
            trial = not self.committed and spec.effect != "read"
            made = with_tool_callbacks(spec.as_tool, arguments, made, trial=trial)
        isolation = self.family.isolation if call.function is not spec.invoke and self.family.tier == "live" else None
        with nullcontext() if isolation is None else isolation.unchanged_by(f"the preview of {spec.name}"):
            result: CallResult = yield made
        self._keep(pure, result)
        self._note(spec, arguments, result)
        return result

    def _recalled(self, spec: ToolSpec, arguments: dict[str, Any]) -> CallResult | None:
        """What a read gave before its run was killed."""
        reads = None if self.committed or spec.effect != "read" else self.family.kept_reads
        return None if reads is None else reads.get(self.lineage, spec, arguments)

    def _note(self, spec: ToolSpec, arguments: dict[str, Any], result: CallResult) -> None:
        """Note what a read gave, or that something was changed, where the run keeps a journal."""
        if self.committed or self.family.kept_reads is None:
            return
        if spec.effect == "read":
            self.family.kept_reads.keep(self.lineage, spec, arguments, result)
        else:
            self.lineage = after(self.lineage, spec, arguments)

    def call_at_once(self, calls: Sequence[tuple[ToolSpec, dict[str, Any]]]) -> Flow[list[CallResult]]:
        """Make calls of tools of which each `overlaps`, at most `AT_ONCE`; the results are in the order of the calls.

        Raises:
            ConfigurationError: one needs the event loop that waits for it.
        """
        kept = [self._recalled(spec, arguments) for spec, arguments in calls]
        if any(result is not None for result in kept):
            in_turn = []
            for (spec, arguments), known in zip(calls, kept, strict=True):
                in_turn.append(known or (yield from self._made(spec, arguments)))
            return in_turn
        pure = [PureCall.of(spec, arguments) for spec, arguments in calls]
        made = []
        for number, (spec, arguments) in enumerate(calls):
            call = self._tool_call(spec, arguments)
            made.append(call if spec.is_async else replace(call, worker=self.family.helper(number), apart=True))
        at_once = ConcurrentCalls(made)
        results: list[CallResult] = yield Await(at_once.results, at_once.aresults)
        for (spec, arguments), call_made, result in zip(calls, pure, results, strict=True):
            self._keep(call_made, result)
            self._note(spec, arguments, result)
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
            allowed=None if self.committed else _UP_TO[effect],
            worker=self.family.worker,
        )
