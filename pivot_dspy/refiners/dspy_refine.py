"""DspyRefine: `dspy.Refine` itself, around a planner whose plan is run and measured."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dspy

from pivot_dspy.dspy_internals import (
    AdapterParseError,
    BaseCallback,
    LMError,
    OfferFeedback,
    Refine,
    current_adapter,
)
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.flow import Await, Flow, run_async, run_sync
from pivot_dspy.phases.base import empty, without
from pivot_dspy.phases.plan import Plan
from pivot_dspy.prompts.report import render_report
from pivot_dspy.prompts.steps import render_steps
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.best_of_n import BestOfN
from pivot_dspy.trajectory import Trajectory


class PlanAndRun(dspy.Module):  # type: ignore[misc]
    """Plans all tool calls of a task at once, then runs them and tells what came of each, and what is not met."""

    def __init__(self, plan: dspy.Module, run: Callable[[dspy.Module], dspy.Prediction]) -> None:
        super().__init__()
        self.plan = plan
        self.run = run

    def forward(self, **inputs: Any) -> dspy.Prediction:
        # The requirements are those that the first plan wrote; `loss` is 0 where every step ran and all are met.
        return self.run(self.plan)


def reward(inputs: Mapping[str, Any], prediction: dspy.Prediction) -> float:
    return 1.0 - float(prediction.loss)


_REFINE = Refine(PlanAndRun(dspy.Module(), lambda plan: dspy.Prediction()), 1, reward, 1.0)
"""Copied for each call: to make one reads its program's source, which not every Python can in two threads at once."""


class RolloutEnded(BaseException):
    """The attempts are over: for the budget, or an `error`. No `Exception`: `dspy.Refine` prints those and goes on."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(error)
        self.error = error


class Rollouts:
    """The attempts of one call: each plans with the module that `dspy.Refine` made for it, and runs the plan.

    `dspy.Refine` copies its module, which holds this: a copy is the same object.
    """

    def __init__(self, refiner: Any, episode: Episode, given: Trajectory | None) -> None:
        self.refiner = refiner
        self.episode = episode
        self.given = given
        self.best: Candidate | None = None
        self.failures: list[PlanningFailed] = []
        self.cancelled = False
        self.advice = _AdviceListener()
        plan: Plan = refiner.plan.deepcopy()
        self._full_signature = plan.predict.signature
        self.program = PlanAndRun(plan, self)
        self._leave_out_empty_fields()
        self._wait: Callable[[Flow[dspy.Prediction]], dspy.Prediction] = run_sync
        # What an attempt asks beside its plan is not hinted or traced, and has the caller's model: dspy.Refine knows
        # only its own predictors.
        self._outside = {name: getattr(dspy.settings, name) for name in ("adapter", "trace", "lm")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Rollouts:
        return self

    def __call__(self, plan: dspy.Module) -> dspy.Prediction:
        return self._wait(self._attempt(plan))

    def drive(self) -> None:
        """Let `dspy.Refine` make the attempts, in this thread. Raises the error that ended them, if one did."""
        refine = copy.copy(_REFINE)
        refine.module, refine.N, refine.threshold = self.program, self.refiner.N, self.refiner.threshold
        refine.fail_count = 2 * refine.N  # it never raises: failures are counted here
        lm = self.program.plan.predict.lm or dspy.settings.lm  # OfferFeedback asks the LM of the settings
        callbacks = [*(dspy.settings.callbacks or ()), self.advice]
        trace = [] if dspy.settings.trace is None else dspy.settings.trace
        # dspy.Refine hands numbers and lists over as text, and would be warned of it each time.
        changed = dspy.context(lm=lm, callbacks=callbacks, trace=trace, warn_on_type_mismatch=False)
        with changed, self.episode.record.ledger.phase("feedback"):
            try:
                refine(**self.episode.context.inputs)
            except RolloutEnded as end:
                if end.error is not None:
                    raise end.error from end.error.__cause__

    async def adrive(self) -> None:
        """As `drive`, for an event loop: `dspy.Refine` has no async form, so it works in a thread of its own.

        Only it and its calls of the model do: attempts are run in the loop, where async tools belong.
        """
        loop = asyncio.get_running_loop()
        waiting: list[Future[dspy.Prediction]] = []

        def wait(steps: Flow[dspy.Prediction]) -> dspy.Prediction:
            if self.cancelled:
                raise RolloutEnded()
            waiting[:] = [asyncio.run_coroutine_threadsafe(run_async(steps), loop)]
            return waiting[0].result()

        self._wait = wait
        executor = ThreadPoolExecutor(1, thread_name_prefix="dspy-refine")
        try:
            await asyncio.wrap_future(executor.submit(contextvars.copy_context().run, self.drive))
        except asyncio.CancelledError:
            self.cancelled = True
            for future in waiting:
                future.cancel()
            raise
        finally:
            executor.shutdown(wait=False)

    def _attempt(self, plan: dspy.Module) -> Flow[dspy.Prediction]:
        try:
            return (yield from self._plan_and_run(plan))
        except PlanningFailed as failure:
            self.failures.append(failure)
            if len(self.failures) > self.refiner.fail_count or self.episode.spent():
                raise RolloutEnded() from None
            raise  # dspy.Refine goes on to the next attempt
        except Exception as error:
            raise RolloutEnded(error) from None

    def _plan_and_run(self, plan: dspy.Module) -> Flow[dspy.Prediction]:
        episode = self.episode
        self._record_advice()
        if self.best is not None and episode.spent():
            raise RolloutEnded()
        given, self.given = self.given, None
        trajectory = given
        if trajectory is None:
            plan.acall = dspy.asyncify(plan)  # dspy.Refine hands its hint over in sync calls only
            episode.phases.plan = plan
            trajectory = yield from episode.plan(plan.predict.lm.kwargs["rollout_id"])
        with dspy.context(**self._outside):
            candidate = yield from self.refiner.run(episode, trajectory)
        self.best = episode.decide(self.best, candidate)
        if episode.spent():
            raise RolloutEnded()
        self._leave_out_empty_fields()
        return _attempt_report(episode, candidate, given)

    def _record_advice(self) -> None:
        """Put on record what `OfferFeedback` gave since the last time; raises its error if nothing would mend that."""
        while self.advice.answers:
            answer = self.advice.answers.pop(0)
            if not isinstance(answer, Exception):
                advice = "\n".join(str(text) for text in answer.advice.values())
                self.episode.emit(events.ReflectEvent(diagnosis=f"{answer.discussion}\n{advice}"))
            elif isinstance(answer, (LMError, AdapterParseError)):
                self.episode.caller.record_failure("feedback", answer)
            else:
                raise answer

    def _leave_out_empty_fields(self) -> None:
        """Give the next copy's PLAN the signature that it will ask with: `dspy.Refine` knows whom it advises by it."""
        planning = self.episode.context.planning_input(self.episode.context.recalled.text)
        fields = {"tools": planning.catalogue.tools, **planning.fields()}
        self.program.plan.predict.signature = without(self._full_signature, empty(fields))


class _AdviceListener(BaseCallback):  # type: ignore[misc]
    """What `OfferFeedback` gave, or how it failed: `dspy.Refine` keeps the advice only, and prints the failure."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self._calls: set[str] = set()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if getattr(instance, "signature", None) is OfferFeedback:
            self._calls.add(call_id)

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        if call_id in self._calls:
            self.answers.append(outputs if exception is None else exception)


def _attempt_report(episode: Episode, candidate: Candidate, given: Trajectory | None) -> dspy.Prediction:
    """What `OfferFeedback` is shown of an attempt, beside the plan as the model wrote it: lists, one line an entry."""
    execution = candidate.inspection.execution
    outcomes = render_steps(
        execution, execution.trajectory.ids, episode.context.root.environment, episode.context.budget, in_full=()
    )
    report = render_report(execution, episode.context.requirements, candidate.inspection.findings)
    written = {} if given is None else {"steps": [step.content() for step in given.steps]}
    return dspy.Prediction(
        **written,
        outcomes=outcomes.splitlines(),
        report=report.splitlines(),
        loss=round(candidate.loss.total, 6),
    )


_HINT = "hint_"


class DspyRefine(BestOfN):
    """Up to `N` whole plans, each sampled anew and run, with advice from the last run in the prompt of the next plan.

    Source: `dspy.Refine`, which does the work: it copies the planner for each attempt, samples it at temperature 1
    under a rollout id of its own, stops at the first reward that reaches the threshold, and asks its `OfferFeedback`
    between attempts for advice, which replaces the advice before and stands in the plan's prompt as `hint_`. The reward
    is 1 - loss. Ours departs from it in that the first plan's requirements measure all of them; that the best attempt
    is the refiner's acceptance's, which only decides ties otherwise; that a plan that cannot be read is asked for once
    more before it counts as failed, and an attempt fails for good once `fail_count` is passed, where `dspy.Refine`
    lowers its count meanwhile; that errors which no further attempt would mend end the call; and that the budget does.
    Only PLAN is advised: wording of outputs that a plan left open, and judging, are the same for every refiner.

    Args:
        N: attempts at most. `dspy.Refine` has no default; 3 is what its example takes.
        threshold: the reward, from 0 to 1, at which no further attempt is made.
        fail_count: how many plans may fail before the call raises; `N` by default.

    The remaining arguments are those of `Refiner`. A `trajectory` that is given is run as the first attempt, so that
    advice on it is asked for before a plan is paid for; that advice has only its run to go by, for nothing was asked.

    Raises:
        ConfigurationError: an argument cannot work, or DSPy's adapter cannot be made without arguments, as
            `dspy.Refine` makes the one that hands the hint over.
        PlanningFailed: more plans than `fail_count`, or all of them, were unusable.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> DspyRefine("question -> answer: int", tools=[double], effects="read", N=5).N
    5
    """

    def __init__(
        self, signature: str | type[dspy.Signature], environment: EnvironmentLike | None = None, **options: Any
    ) -> None:
        super().__init__(signature, environment, **options)
        if _HINT in self.signature.input_fields:
            raise ConfigurationError(f"the signature's field {_HINT!r} has the name of dspy.Refine's hint; rename it")

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        _refuse_settings(self.plan.predict.lm or dspy.settings.lm, current_adapter())
        first = None if start is None else (yield from self.opening(episode, start))
        # A copy, whose PLAN is exchanged for the one that dspy.Refine copies for an attempt.
        episode.phases = copy.copy(self)
        rollouts = Rollouts(self, episode, first)
        try:
            yield Await(rollouts.drive, rollouts.adrive)
        finally:
            episode.phases = self
        if rollouts.best is None or len(rollouts.failures) > self.fail_count:
            raise rollouts.failures[-1]
        return rollouts.best, (yield from episode.verify(rollouts.best))


def _refuse_settings(lm: Any, adapter: Any) -> None:
    if not isinstance(lm, dspy.BaseLM):
        raise ConfigurationError(f"dspy.Refine needs a dspy.LM, not {lm!r:.80}; say dspy.configure(lm=dspy.LM(NAME))")
    try:
        type(adapter)()
    except TypeError as error:
        raise ConfigurationError(
            f"dspy.Refine makes the adapter that hands its hint over without arguments, and {type(adapter).__name__} "
            "takes some; use dspy.ChatAdapter, dspy.JSONAdapter or dspy.XMLAdapter"
        ) from error
