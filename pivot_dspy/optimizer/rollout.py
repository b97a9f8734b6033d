"""One run of a program on one task, scored by the metric: a small record that goes to JSON and between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import dspy
from pydantic import Field

from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.environment.factory import task_of
from pivot_dspy.episode.result import features
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.human.review import UNATTENDED
from pivot_dspy.learning.demonstrations import demonstrate
from pivot_dspy.learning.lessons import lessons_of
from pivot_dspy.lm_errors import is_too_long
from pivot_dspy.memory.records import Demonstration, Lesson, environment_name
from pivot_dspy.optimizer.metering import RefinerCall, SingleFlight, metered
from pivot_dspy.optimizer.settings import Metric, read_score
from pivot_dspy.optimizer.targets import ROOT, lm_with_seed, refiners_of, with_seed
from pivot_dspy.phases.learn import Learn
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Frozen, Trajectory


class TrainingSignal(Frozen):
    """What one call of a refiner in a training run teaches."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    """Of the call, as far as they are plain data; empty where the refiner is the program."""
    trajectory: Trajectory
    demonstration: Demonstration | None = None
    lessons: tuple[Lesson, ...] = ()
    requirements: Requirements = Requirements()


class CallRecord(Frozen):
    """What came of one call of a refiner."""

    refiner: str
    """Its path in the program."""
    verified: bool
    loss: float
    first_loss: float
    """Of its first plan."""
    features: dict[str, float] = Field(default_factory=dict)
    taught: TrainingSignal | None = None


class RolloutResult(Frozen):
    """What came of one run."""

    score: float
    feedback: str = ""
    tokens: int = 0
    """Prompt and completion tokens, counted as if no call had come from DSPy's cache."""
    learning_tokens: int = 0
    """Those that were spent to learn from the run."""
    error: str = ""
    """What ended the run, or the learning from it; the score of a run that left nothing is 0."""
    refused: bool = False
    """Whether nothing was tried, since the model gave no answer at all."""
    calls: tuple[CallRecord, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether every refiner verified what it returned."""
        return bool(self.calls) and all(call.verified for call in self.calls)

    @property
    def first_loss(self) -> float | None:
        """The mean loss of the first plans; None where there was no plan."""
        return sum(call.first_loss for call in self.calls) / len(self.calls) if self.calls else None

    @property
    def loss(self) -> float:
        """The mean loss of what the refiners returned; 1 where there was no plan."""
        return sum(call.loss for call in self.calls) / len(self.calls) if self.calls else 1.0

    def better_than(self, other: RolloutResult) -> bool:
        """Whether it scored higher, or as high for fewer tokens."""
        return (self.score, -self.tokens) > (other.score, -other.tokens)


def mean(outcomes: Sequence[RolloutResult], name: str) -> float:
    """The mean of a field or property of outcomes; 0 without any."""
    return float(sum(getattr(outcome, name) for outcome in outcomes) / max(1, len(outcomes)))


class Job(NamedTuple):
    """A run to be made."""

    program: str
    """Name of the program."""
    task: int
    """Position of the task."""
    seed: int = 0
    """0, or which sample of the program's answers."""
    learns: bool = False
    """Whether it is a training run."""


@dataclass
class RolloutRunner:
    """Runs jobs: everything that they need, sent to another process as a whole."""

    programs: Mapping[str, dspy.Module]
    tasks: Sequence[dspy.Example]
    metric: Metric
    arguments: int
    """How many the metric has to be given."""
    threshold: float
    """The score from which on a result counts as right."""
    single_flight: SingleFlight = field(default_factory=SingleFlight)
    _refiners: dict[str, dict[str, Refiner]] = field(default_factory=dict, init=False, repr=False)
    """Those of each program, by its name: to look for them takes a tenth of a short run."""

    def __call__(self, job: Job) -> RolloutResult:
        program, task = with_seed(self.programs[job.program], job.seed), self.tasks[job.task]
        if job.program not in self._refiners:
            self._refiners[job.program] = refiners_of(self.programs[job.program])
        refiners = refiners_of(program) if job.seed else self._refiners[job.program]
        lm = dspy.settings.lm and lm_with_seed(dspy.settings.lm, job.seed)
        callbacks = [*(dspy.settings.callbacks or ()), self.single_flight]
        with dspy.context(lm=lm, callbacks=callbacks, **{UNATTENDED: True}):
            with metered(refiners) as meter:
                try:
                    prediction = program(**task.inputs())
                except PlanningFailed as failure:
                    if not _is_outcome(failure):
                        raise
                    refused = is_too_long(failure.__cause__)
                    return RolloutResult(score=0.0, error=str(failure), refused=refused, tokens=meter.tokens)
            score, feedback = self._score(task, prediction)
            with metered({}) as learning:
                calls, errors = [], []
                for call in meter.returned:
                    signal, error = None, ""
                    if job.learns:
                        signal, error = _learn(refiners[call.path], task, call, good=score >= self.threshold)
                    calls.append(_record_of(call, signal))
                    errors.append(error)
        return RolloutResult(
            score=score, feedback=feedback, tokens=meter.tokens, learning_tokens=learning.tokens,
            error="; ".join(filter(None, errors)), calls=tuple(calls),
        )  # fmt: skip

    def _score(self, task: dspy.Example, prediction: Any) -> tuple[float, str]:
        try:
            returned = self.metric(task, prediction, *[None] * (self.arguments - 2))
        except ConfigurationError:
            raise
        except Exception as error:
            raise RuntimeError(f"the metric raised {type(error).__name__}: {error}") from error
        return read_score(returned)


def _is_outcome(failure: PlanningFailed) -> bool:
    """Whether the model answered, and what it said is no plan: that is an outcome, and no fault of the run."""
    cause = failure.__cause__
    return cause is None or isinstance(cause, AdapterParseError) or is_too_long(cause)


def is_refusal(error: BaseException) -> bool:
    """Whether a run was ended by a model that gave no answer."""
    return isinstance(error, LMError) or (isinstance(error, PlanningFailed) and isinstance(error.__cause__, LMError))


def _record_of(call: RefinerCall, signal: TrainingSignal | None) -> CallRecord:
    result = call.result
    losses = (event.loss for event in result.history if event.kind == "inspect" and event.loss)
    return CallRecord(
        refiner=call.path,
        verified=result.verified,
        loss=result.loss.total,
        first_loss=next(losses, result.loss).total,
        features=features(result),
        taught=signal,
    )


def _learn(refiner: Refiner, task: dspy.Example, call: RefinerCall, good: bool) -> tuple[TrainingSignal, str]:
    """What a call teaches: an example where it verified with a good score, lessons of what was repaired.

    The text is the error of a model that could not be asked: the run stands, and what rules tell is still learned.
    """
    result, error_text = call.result, ""
    inputs = {name: value for name, value in call.inputs.items() if name in refiner.signature.input_fields}
    example = task_of_call(inputs, task)
    session = refiner.session_factory.open(task_of(inputs))
    with closing(session.family):
        environment = environment_name(session.environment)
    learn = Learn(refiner.signature)
    learn.set_lm(refiner.plan.predict.lm)
    try:
        lessons = lessons_of(result, example, environment, learn)
    except (LMError, AdapterParseError) as error:
        error_text = f"learning: {type(error).__name__}: {error}"
        lessons = lessons_of(result, example, environment)
    signal = TrainingSignal(
        inputs={} if call.path == ROOT else _plain(inputs),
        trajectory=result.trajectory,
        demonstration=demonstrate(result, example, environment) if good and result.verified else None,
        lessons=lessons,
        requirements=Requirements(items=tuple(item for item in result.requirements.items if item.has_json_form)),
    )
    return signal, error_text


def task_of_call(inputs: Mapping[str, Any], task: dspy.Example) -> dspy.Example:
    """The task of a refiner's call: that of the whole program, whose labels must not be learned by heart, with the
    call's own inputs."""
    labels = {name: value for name, value in task.labels().items() if name not in inputs}
    return dspy.Example(base={**inputs, **labels}).with_inputs(*inputs)


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(plain(inputs))
    except ValueError:
        return {}
