"""Runs a trajectory in a session: bindings, validation, timeouts, typed faults, and prefixes that are not run twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pivot_dspy import bindings, submission
from pivot_dspy.bindings import BindingError
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Effect
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.concurrent_calls import AT_ONCE
from pivot_dspy.environment.session import Forkable, Session
from pivot_dspy.environment.session_group import Copy
from pivot_dspy.environment.toolbox import ArgumentError, ToolSpec
from pivot_dspy.errors import EnvironmentFailed, did_you_mean, error_text
from pivot_dspy.flow import Flow
from pivot_dspy.sharing import sharing
from pivot_dspy.step_calls import StepCalls, StepFailed, bind, fault_of
from pivot_dspy.supervision import Permit, Supervisor, allow
from pivot_dspy.trajectory import SUBMIT, Discrepancy, Execution, Fault, Observation, Step, Trajectory


@dataclass(frozen=True)
class ExecutedRun:
    """An execution with the sessions it left behind."""

    execution: Execution
    session: Session
    """Where the environment stands after the last step."""
    before: Mapping[int, Forkable] = field(default_factory=dict)
    """How the environment stood before each step that may have changed it, by position."""
    reach: int | None = None
    """Number of leading steps that were settled before the budget ended; None where it did not end."""

    def after(self, count: int) -> Forkable:
        """How the environment stood after the first `count` steps; fork it for use."""
        later = [position for position in self.before if position >= count]
        return self.before[min(later)] if later else self.session


def execute(
    trajectory: Trajectory,
    session: Session,
    *,
    outputs: Mapping[str, Any] | None = None,
    base: ExecutedRun | None = None,
    permit: Permit = allow,
    supervisor: Supervisor | None = None,
    copies: bool = True,
) -> Flow[ExecutedRun]:
    """Run `trajectory` in `session`.

    A step that fails stops only the steps that depend on it. Nothing that a tool does escapes as an exception. Calls of
    tools declared `parallel` that follow each other, and of which none needs what another gives, are made at once; all
    else is as if they were made one by one.

    Args:
        outputs: the output fields that `submit` takes, with their types.
        base: an earlier run of a trajectory that starts with the same steps. In the `fork` tier, and given the forked
            `base.after(k)` as session, those steps are taken over; in the others only their reads are.
        permit: asked before every tool call; when it raises `BudgetExhausted`, the rest is blocked.
        supervisor: told of each call and observation; what it raises ends the run there.
        copies: whether the environment is copied before each change, in the `fork` tier. Without these the run is no
            base for another, and what comes after a call that hangs is blocked.
    """
    runner = StepRunner(trajectory, session, outputs or {}, permit, supervisor or Supervisor(), copies)
    return session.family.visiting(runner.run(base))


@dataclass
class StepRunner:
    """The arguments of `execute`, and how far it got, also where something was raised."""

    trajectory: Trajectory
    session: Session
    outputs: Mapping[str, Any]
    permit: Permit = allow
    supervisor: Supervisor = field(default_factory=Supervisor)
    copies: bool = True
    results: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Observation] = field(default_factory=dict)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    before: dict[int, Forkable] = field(default_factory=dict)
    submitted: dict[str, Any] = field(default_factory=dict)
    ahead: dict[tuple[str, int], tuple[CallResult, bool] | Exception] = field(default_factory=dict)
    """What became of calls that were made at once with one before them, by step and number, until their turn comes."""
    kept: frozenset[str] = frozenset()
    """Steps that may be taken over, or are not to be run."""
    reach: int | None = None
    stopped: bool = False
    waits: bool = False
    """Whether a call that changes something waits for commit."""

    @property
    def forks(self) -> bool:
        return self.session.family.tier == "fork" and not self.session.committed

    @property
    def execution(self) -> Execution:
        """What was observed until now."""
        return self._observed_until_now(self.session.describe())

    def _observed_until_now(self, state: str) -> Execution:
        return Execution(
            trajectory=self.trajectory,
            observations=tuple(self.observed.values()),
            tier=self.session.family.tier,
            outputs=self.submitted,
            missing_outputs=tuple(name for name in self.outputs if name not in (*self.submitted, *self._waiting)),
            state=state,
            discrepancies=tuple(self.discrepancies),
        )

    def run(self, base: ExecutedRun | None = None) -> Flow[ExecutedRun]:
        shared = 0
        if base is not None:
            shared = base.execution.trajectory.common_prefix(self.trajectory)
            shared = shared if base.reach is None else min(shared, base.reach)
            if self.forks:
                self.before = {position: session for position, session in base.before.items() if position < shared}
        shares = (step.id for step in self.trajectory.steps[:shared])
        self.kept = frozenset((*shares, *self.supervisor.taken, *self.supervisor.calls, *self.supervisor.withheld))
        for position, step in enumerate(self.trajectory.steps):
            if base is not None and position < shared and self._takes_over(base, position):
                continue
            observation = self.supervisor.taken.get(step.id) or (yield from self._observe(position, step))
            self._record(step, observation if base is None else sharing(observation, base.execution))
            self.supervisor.observed(self.observed[step.id])
        state = yield from self.session.described()
        return ExecutedRun(self._observed_until_now(state), self.session, self.before, self.reach)

    def _takes_over(self, base: ExecutedRun, position: int) -> bool:
        """Take the observation of an equal step over from `base`, if that is as good as running the step."""
        step, observation = self.trajectory.steps[position], base.execution.observations[position]
        spec = self.session.toolbox.spec(step.tool)
        reads = spec is not None and spec.effect == "read"
        if not self.forks and not (reads and observation.ok and self._standing(step.depends_on(self.observed)) is None):
            return False
        for _ in range(observation.calls):
            self.permit(True)
        if step.is_submit:
            self.submitted = dict(base.execution.outputs)
        self._record(step, observation if observation.reused else observation.model_copy(update={"reused": True}))
        return True

    def _effect(self, step: Step) -> Effect | None:
        spec = self.session.toolbox.spec(step.tool)
        return None if spec is None else spec.effect

    def _record(self, step: Step, observation: Observation) -> None:
        spec = self.session.toolbox.spec(step.tool)
        if self.waits and observation.ok and spec is not None and spec.effect == "read" and not spec.pure:
            observation = observation.model_copy(update={"stale": True})
        self.observed[step.id] = observation
        self.waits |= observation.status == "withheld" and self._effect(step) not in ("read", None)
        if observation.ok:
            self.results[step.id] = observation.value
            self._expect(step, observation.value)
        if observation.fault is not None:
            self.discrepancies.append(Discrepancy(step=step.id, **observation.fault.model_dump()))
            self.stopped |= observation.fault.kind == "low_confidence"

    def _expect(self, step: Step, value: Any) -> None:
        if not step.expects:
            return
        try:
            problem = "" if bindings.holds(step.expects, value, self.results) else f"expected {step.expects}"
        except BindingError as error:
            problem = f"expectation cannot be evaluated: {error}"
        if problem:
            unmet = Discrepancy(kind="unmet_expectation", step=step.id, message=problem, expected=step.expects)
            self.discrepancies.append(unmet)

    def _observe(self, position: int, step: Step) -> Flow[Observation]:
        if self.reach is not None or (self.stopped and not step.stopped):
            return Observation(step=step.id, status="blocked")
        if step.result is not None:
            return Observation(step=step.id, value=step.result.value)
        spec = self.session.toolbox.spec(step.tool)
        args: dict[str, Any] | None = None
        try:
            # Only earlier steps count as known: what comes after a step must not change what the step does.
            needs = step.depends_on(self.observed)
            self._refuse_malformed(step, spec, needs)
            standing = self._standing(needs)
            if standing is not None:
                return Observation(step=step.id, status=standing)
            if spec is None or step.is_submit:
                args = submission.resolve(step.args, self.outputs, self.results, self.observed)
                self.submitted = submission.validate(args, self.outputs)
                return Observation(step=step.id, value=args, args=args)
            bound = bind(step, self.results, self.observed)
            args = bound.args
            calls = bound.validated(spec)
        except (BindingError, ArgumentError, StepFailed) as error:
            return Observation(step=step.id, status="error", fault=fault_of(error, step), args=args)
        if self.session.runner(spec) is None or step.id in self.supervisor.withheld:
            return Observation(step=step.id, status="withheld", args=args)
        return (yield from self._call(position, calls))

    @property
    def _waiting(self) -> Collection[str]:
        """The outputs that are bound to what waits for commit, and so are not lacking; texts can be worded before."""
        submit = self.trajectory.submit
        seen = None if submit is None else self.observed.get(submit.id)
        if submit is None or seen is None or seen.status != "withheld":
            return ()
        return [name for name in submit.args if self.outputs.get(name) is not str]

    def _standing(self, needs: Collection[str]) -> Literal["blocked", "withheld"] | None:
        """Why a step that reads the results of `needs` cannot run; None if it can."""
        states = {self.observed[name].status for name in needs if name in self.observed}
        if states & {"error", "blocked"}:
            return "blocked"
        return "withheld" if "withheld" in states else None

    def _refuse_malformed(self, step: Step, spec: ToolSpec | None, needs: tuple[str, ...]) -> None:
        """What can be said against a step without running anything before it."""
        if step.stopped:
            raise StepFailed("low_confidence", step.stopped)
        if step.problem:
            raise StepFailed("malformed_step", step.problem)
        submit = self.trajectory.submit
        if step.is_submit and (step.for_each or submit is not step):
            raise StepFailed("malformed_step", "a trajectory submits once, at its end, and without for_each")
        if submit is not None and submit.id in self.observed:
            raise StepFailed("malformed_step", "it stands after submit, which ends the trajectory; put it before")
        if spec is None and not step.is_submit:
            names = [*self.session.toolbox.tools, SUBMIT]
            meant = f"no tool is called {step.tool!r}{did_you_mean(step.tool, names)}"
            raise StepFailed("unknown_tool", meant, expected=", ".join(names))
        for name in needs:
            if name not in self.observed:
                raise BindingError(f"${name}: no earlier step is called {name!r}", name)
        if spec is not None:
            spec.refuse_names(step.args)

    def _call(self, position: int, calls: StepCalls) -> Flow[Observation]:
        step, spec = calls.step, calls.spec
        changes = self.forks and spec.effect != "read"
        if changes and self.copies:
            try:
                self.before[position] = yield from self._copying(self.session.keep)
            except EnvironmentFailed:  # the thread of the session is lost, and with it what the session holds
                raise
            except Exception as error:  # without a copy, what it does could not be dropped
                message = f"not run, since the environment cannot be copied before it: {error_text(error)}"
                fault = Fault(kind="tool_error", message=message)
                return Observation(step=step.id, status="error", fault=fault, args=calls.args)
        results: list[CallResult] = []
        known = self.supervisor.calls.get(step.id, ())
        reused, ends = 0, False
        try:
            for number, written in enumerate(calls.written):
                if ends and (step.id, number) not in self.ahead:
                    break
                if number < len(known):
                    result = known[number]
                else:
                    result, recalled = yield from self._made(position, calls, number)
                    reused += recalled
                results.append(result)
                ends |= self.supervisor.called(step.id, number, written, result) or self._is_last(result)
        except BudgetExhausted:
            self.reach = position
            if changes and self.copies:  # what part of the batch did must not stay, for the step counts as not run
                self.session = yield from self._copying(self.before[position].fork)
            return Observation(step=step.id, status="blocked", args=calls.args, calls=len(results) - reused)
        except BaseException:  # what was seen until then is not lost
            if results:
                self._record(step, calls.observation(results, reused))
            raise
        observation = calls.observation(results, reused)
        if changes and observation.fault is not None and observation.fault.kind == "timeout":
            return (yield from self._left_behind(position, observation, observation.fault))
        return observation

    def _made(self, position: int, calls: StepCalls, number: int) -> Flow[tuple[CallResult, bool]]:
        """The result of a call, and whether it is that of an equal one before; made with all that may be made at once.

        Raises what ends the run there.
        """
        turn = (calls.step.id, number)
        if turn not in self.ahead:
            if not self.session.overlaps(calls.spec):
                prepared = self._prepared(calls, number)
                if isinstance(prepared, CallResult):
                    return prepared, True
                return (yield from self.session.call(*prepared)), False
            yield from self._go_ahead(position, calls, number)
        outcome = self.ahead.pop(turn)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _go_ahead(self, position: int, first: StepCalls, number: int) -> Flow[None]:
        """Make a call, and those after it that may be made at once with it; note what becomes of each."""
        turns: list[tuple[str, int]] = []
        made: list[tuple[ToolSpec, dict[str, Any]]] = []
        for calls, count in self._at_once(position, first, number):
            turn, spec, arguments = (calls.step.id, count), calls.spec, calls.arguments[count]
            if spec.pure and any(spec.name == other.name and arguments == same for other, same in made):
                break  # its result will be known by then
            try:
                prepared = self._prepared(calls, count)
            except Exception as error:  # it is raised in its turn, after what comes before
                self.ahead[turn] = error
                break
            if isinstance(prepared, CallResult):
                self.ahead[turn] = (prepared, True)
                continue
            turns.append(turn)
            made.append(prepared)
            if len(made) == AT_ONCE:
                break
        if len(made) == 1:
            self.ahead[turns[0]] = ((yield from self.session.call(*made[0])), False)
        elif made:
            results = yield from self.session.call_at_once(made)
            self.ahead.update(zip(turns, ((result, False) for result in results), strict=True))

    def _prepared(self, calls: StepCalls, number: int) -> tuple[ToolSpec, dict[str, Any]] | CallResult:
        """What a call is to be made with; the result of an equal one before, where that is as good.

        Raises what ends the run there.
        """
        spec, arguments = calls.spec, calls.arguments[number]
        result = self.session.recall(spec, arguments)
        seconds = self.permit(result is not None)
        if result is not None:
            return result
        self.supervisor.approve(calls.step.id, number, calls.written[number])
        return self._within(seconds, spec), self._with_key(calls.step, number, spec, arguments)

    def _at_once(self, position: int, first: StepCalls, number: int) -> Iterator[tuple[StepCalls, int]]:
        """A call, and those after it that may be made at once with it, in their order."""
        yield first, number
        if not self.session.overlaps(first.spec):
            return
        yield from ((first, later) for later in range(number + 1, len(first.written)))
        ahead = {first.step.id}
        for step in self.trajectory.steps[position + 1 :]:
            calls = self._foreseen(step, ahead)
            if calls is None:
                return
            ahead.add(step.id)
            yield from ((calls, count) for count in range(len(calls.written)))

    def _foreseen(self, step: Step, ahead: Collection[str]) -> StepCalls | None:
        """The calls of a step before the results of those `ahead` are known; None where it has to wait for its turn,
        whatever that then brings.
        """
        spec = self.session.toolbox.spec(step.tool)
        if spec is None or not self.session.overlaps(spec) or step.id in self.kept:
            return None
        known = {*self.observed, *ahead}
        needs = step.depends_on(known)
        try:
            self._refuse_malformed(step, spec, needs)
            if not set(needs).isdisjoint(ahead) or self._standing(needs) is not None:
                return None
            return bind(step, self.results, known).validated(spec)
        except (BindingError, ArgumentError, StepFailed):
            return None

    def _with_key(self, step: Step, number: int, spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the idempotency key of the call, where the tool takes one."""
        if spec.idempotency_key is None:
            return arguments
        return {**arguments, spec.idempotency_key: self.session.family.idempotency_key(step.id, number)}

    def _within(self, seconds: float | None, spec: ToolSpec) -> ToolSpec:
        """`spec` with a timeout of at most so many seconds."""
        own = self.session.family.timeout if spec.timeout is None else spec.timeout
        if seconds is None or (own is not None and own <= seconds):
            return spec
        return replace(spec, timeout=seconds)

    def _is_last(self, result: CallResult) -> bool:
        """Whether the rest of a repeated step is not run: after a call that hangs, and in the real world after the
        first one that fails.
        """
        return result.fault is not None and (self.session.committed or result.fault.kind == "timeout")

    def _copying(self, copy: Callable[[], Copy]) -> Flow[Copy]:
        """A copy of the environment, which may take no longer than a call."""
        return self.session.family.copying(type(self.session.environment).__name__, copy)

    def _left_behind(self, position: int, observation: Observation, fault: Fault) -> Flow[Observation]:
        """Go on from a copy that the call that hangs cannot reach, for it may still change this one."""
        if not self.copies:
            self.stopped = True
            return observation
        try:
            self.session = yield from self._copying(self.before[position].fork)
        except Exception as error:  # what only its own thread may touch went with the thread
            self.reach = position + 1
            why = f"the steps after it cannot run, since the environment cannot be copied any more: {error_text(error)}"
            fault = fault.model_copy(update={"message": f"{fault.message}; {why}"})
        return observation.model_copy(update={"fault": fault})
