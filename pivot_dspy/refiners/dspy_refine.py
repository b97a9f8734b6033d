"""DspyRefine: the loop and the feedback of `dspy.Refine`, around a planner whose plan is run and measured."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import dspy
from pydantic_core import to_json

from pivot_dspy.dspy_internals import OfferFeedback, inspect_modules
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import ModelFailed
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.flow import Flow
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


_CODE = {"program_code": inspect.getsource(PlanAndRun), "reward_code": inspect.getsource(reward)}
"""What `OfferFeedback` is shown of the program; this module's loop does what the code says."""
_PLAN = "plan.predict"
_HINT, _HINT_DESC = "hint_", "A hint to the module from an earlier run"


class DspyRefine(BestOfN):
    """Up to `N` whole plans, each sampled anew and run, with advice from the last run in the prompt of the next plan.

    Source: `dspy.Refine`, with its prompts: each attempt is sampled at temperature 1 under a rollout id of its own; the
    first reward that reaches the threshold ends it; and between attempts its `OfferFeedback` is asked for advice, which
    replaces the advice before and stands in the plan's prompt as `hint_`. The reward is 1 - loss. Ours departs from it
    in that the loop is our own, which books its calls, can be awaited and stops at the budget; that the first plan's
    requirements measure all of them; that the best attempt is the refiner's acceptance's, which only decides ties
    otherwise; that a plan that cannot be read is asked for once more before it counts as failed; and that the search
    ends with the best attempt once `fail_count` is passed, which `dspy.Refine` lowers meanwhile and then raises, or
    once no further attempt would mend an error. Only PLAN is advised: wording of outputs that a plan left open, and
    judging, are the same for every refiner.

    Args:
        N: attempts at most. `dspy.Refine` has no default; 3 is what its example takes.
        threshold: the reward, from 0 to 1, at which no further attempt is made.
        fail_count: how many plans may fail before no more are asked for; `N` by default.

    The remaining arguments are those of `Refiner`. A `trajectory` that is given is run as the first attempt, so that
    advice on it is asked for before a plan is paid for; that advice has only its run to go by, for nothing was asked.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: no plan was usable.
    """

    def __init__(
        self, signature: str | type[dspy.Signature], environment: EnvironmentLike | None = None, **options: Any
    ) -> None:
        super().__init__(signature, environment, **options)
        if _HINT in self.signature.input_fields:
            raise ConfigurationError(f"the signature's field {_HINT!r} has the name of dspy.Refine's hint; rename it")

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        lm = self.plan.predict.lm or dspy.settings.lm
        if not isinstance(lm, dspy.BaseLM):
            raise ConfigurationError(f"DspyRefine needs a dspy.LM, not {lm!r:.80}: dspy.configure(lm=dspy.LM(NAME))")
        given = None if start is None else (yield from self.opening(episode, start))
        best: Candidate | None = None
        best_trace: list[Any] = []
        failures: list[PlanningFailed] = []
        advice: Mapping[str, str] = {}
        for number in range(self.N):
            plan = self._planner(episode, lm.copy(rollout_id=number, temperature=1.0))
            modules = _describe_modules(plan)
            if advice:
                hint = dspy.InputField(desc=_HINT_DESC, default=advice.get(_PLAN, "N/A"))
                plan.predict.signature = plan.predict.signature.append(_HINT, hint)
            trace: list[Any] = []
            try:
                trajectory = given or (yield from self._sample(episode, plan, number, trace))
            except PlanningFailed as failure:
                failures.append(failure)
                if len(failures) > self.fail_count or episode.spent():
                    break
                continue
            candidate = yield from self.run(episode, trajectory)
            outputs, given = _attempt_report(episode, candidate, given), None
            best_trace = trace if best is None or candidate.loss.better_than(best.loss) else best_trace
            best = episode.decide(best, candidate)
            if reward({}, outputs) >= self.threshold or number == self.N - 1 or episode.spent():
                break
            advice = (yield from self._advise(episode, lm, modules, trace, outputs)) or advice
            if episode.spent():
                break
        if best is None:
            raise failures[-1]
        if dspy.settings.trace is not None:
            dspy.settings.trace.extend(best_trace)
        return best, (yield from episode.verify(best))

    def _planner(self, episode: Episode, lm: dspy.BaseLM) -> Plan:
        """A copy of PLAN that asks `lm`, with the signature that it will ask with: advice is on what was shown."""
        plan: Plan = self.plan.deepcopy()
        plan.set_lm(lm)
        planning = episode.context.planning_input(episode.context.recalled.text)
        own = {"tools": planning.catalogue.tools, **planning.fields()} | dict.fromkeys(("also_read", "tried"), "")
        fields = plan.prompt(planning.inputs, **own)
        plan.predict.signature = without(plan.predict.signature, empty(fields))
        return plan

    def _sample(self, episode: Episode, plan: Plan, rollout: int, trace: list[Any]) -> Flow[Trajectory]:
        """A trajectory by `plan` in the place of the refiner's own PLAN."""
        episode.phases = copy.copy(self)
        episode.phases.plan = plan
        try:
            with dspy.context(trace=trace):
                return (yield from episode.plan(rollout))
        finally:
            episode.phases = self

    def _advise(
        self, episode: Episode, lm: dspy.BaseLM, modules: str, trace: list[Any], outputs: dspy.Prediction
    ) -> Flow[Mapping[str, str]]:
        """What `OfferFeedback` advises each module to do; nothing where the model gave nothing usable."""
        calls = [{"module_name": _PLAN, "inputs": inputs, "outputs": dict(written)} for _, inputs, written in trace]
        shown = {
            "program_inputs": episode.context.inputs,
            "program_trajectory": calls,
            "program_outputs": dict(outputs),
            "target_threshold": self.threshold,
            "reward_value": reward({}, outputs),
            "module_names": [_PLAN],
        }
        texts = {name: to_json(value, indent=2, serialize_unknown=True).decode() for name, value in shown.items()}
        feedback = dspy.Predict(OfferFeedback)
        feedback.set_lm(lm)
        try:
            with dspy.context(warn_on_type_mismatch=False):  # numbers and lists are handed over as text
                answer = yield from episode.ask("feedback", feedback, **_CODE, modules_defn=modules, **texts)
        except ModelFailed:
            return {}  # it is on record
        advice: Mapping[str, str] = answer.advice
        diagnosis = "\n".join([answer.discussion, *map(str, advice.values())])
        episode.emit(events.ReflectEvent(diagnosis=diagnosis))
        return advice


def _describe_modules(plan: Plan) -> str:
    program = dspy.Module()
    program.plan = plan
    return str(inspect_modules(program))


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
