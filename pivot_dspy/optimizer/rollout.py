"""One run of a program on one task, scored by the metric: a small record that goes to JSON and between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dspy
from pydantic import Field

from pivot_dspy.calibration.calibration import features
from pivot_dspy.crossover import Parent
from pivot_dspy.dspy_internals import AdapterParseError, ContextWindowExceededError, LMError
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.learning.demonstrations import demonstrate
from pivot_dspy.learning.lessons import lessons_of, tool_notes
from pivot_dspy.memory.records import Demonstration, Lesson, ToolNote, environment_name, task_text
from pivot_dspy.optimizer.metering import Meter, RefinerCall, metered
from pivot_dspy.optimizer.settings import Metric, read_score
from pivot_dspy.optimizer.single_flight import SingleFlight
from pivot_dspy.optimizer.targets import ROOT, refiners_of, sampled, seeded
from pivot_dspy.phases.inspect import Inspection, parent
from pivot_dspy.phases.learn import Learn
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.requirements import Requirements
from pivot_dspy.simulator.engine import one_run
from pivot_dspy.trajectory import Frozen, Trajectory


class TrainingSignal(Frozen):
    """What one call of a refiner in a training run teaches.

    Attributes:
        inputs: of the call, as far as they are plain data; empty where the refiner is the program.
        parent: the trajectory with what its run showed, for crossover.
    """

    inputs: dict[str, Any] = Field(default_factory=dict)
    demonstration: Demonstration | None = None
    lessons: tuple[Lesson, ...] = ()
    notes: tuple[ToolNote, ...] = ()
    parent: Parent
    requirements: Requirements = Requirements()


class CallRecord(Frozen):
    """What came of one call of a refiner: `refiner` is its path in the program, `first_loss` that of its first plan."""

    refiner: str
    verified: bool
    loss: float
    first_loss: float
    features: dict[str, float] = Field(default_factory=dict)
    retrieved: tuple[str, ...] = ()
    taught: TrainingSignal | None = None


class RolloutResult(Frozen):
    """What came of one run.

    Attributes:
        score, feedback: what the metric said.
        tokens: prompt and completion tokens, counted as if no call had come from DSPy's cache; `learning_tokens` those
            that were spent to learn from it.
        error: what ended the run, or the learning from it; the score of a run that left nothing is 0.
    """

    score: float
    feedback: str = ""
    tokens: int = 0
    lm_calls: int = 0
    learning_tokens: int = 0
    error: str = ""
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

    @property
    def retrieved(self) -> frozenset[str]:
        """Ids of all entries that were shown."""
        return frozenset(name for call in self.calls for name in call.retrieved)

    def better_than(self, other: RolloutResult) -> bool:
        """Whether it scored higher, or as high for fewer tokens."""
        return (self.score, -self.tokens) > (other.score, -other.tokens)


class Job(NamedTuple):
    """A run to be made.

    Attributes:
        program: name of the program; `task` the position of the task.
        seed: 0, or which sample of the program's answers.
        learns: whether it is a training run.
        start: the JSON of a trajectory to begin with, for a program that is a refiner.
    """

    program: str
    task: int
    seed: int = 0
    learns: bool = False
    start: str = ""


class RolloutRunner:
    """Runs jobs: everything that they need, sent to another process as a whole.

    A run gives `{"outcome": ...}`, the JSON form of an `Outcome`, or `{"broken": why}` for what is wrong in any run.
    """

    def __init__(
        self,
        programs: Mapping[str, dspy.Module],
        tasks: Sequence[dspy.Example],
        metric: Metric,
        arguments: int,
        threshold: float,
        seeds: Mapping[tuple[str, int], dspy.Module],
    ) -> None:
        self.programs = programs
        self.tasks = tasks
        self.metric = metric
        self.arguments = arguments
        self.threshold = threshold
        self.seeds = seeds
        self._turns = SingleFlight()

    def __call__(self, job: Job) -> dict[str, Any]:
        try:
            return {"outcome": self._outcome(job).model_dump(mode="json", exclude_defaults=True)}
        except ConfigurationError as error:
            return {"broken": str(error)}

    def _outcome(self, job: Job) -> RolloutResult:
        program, task = self.seeds.get((job.program, job.seed)) or self.programs[job.program], self.tasks[job.task]
        refiners = refiners_of(program)
        inputs = dict(task.inputs().items())
        if job.start:
            inputs["trajectory"] = Trajectory.from_json(job.start)
        lm = dspy.settings.lm
        listening = [*(dspy.settings.callbacks or ()), self._turns]
        with one_run(), dspy.context(lm=lm and sampled(lm, job.seed), callbacks=listening):
            with metered(refiners) as meter:
                try:
                    said = program(**inputs)
                except PlanningFailed as failure:
                    if not _unreadable(failure):
                        raise
                    return RolloutResult(score=0.0, error=str(failure), tokens=meter.tokens, lm_calls=meter.lm_calls)
            score, feedback = self._scored(task, said)
            calls, spent, error = self._calls(job, refiners, task, meter, score)
        return RolloutResult(
            score=score, feedback=feedback, tokens=meter.tokens, lm_calls=meter.lm_calls, learning_tokens=spent,
            error=error, calls=calls,
        )  # fmt: skip

    def _scored(self, task: dspy.Example, said: Any) -> tuple[float, str]:
        try:
            found = self.metric(task, said, *[None] * (self.arguments - 2))
        except ConfigurationError:
            raise
        except Exception as error:
            raise RuntimeError(f"the metric raised {type(error).__name__}: {error}") from error
        return read_score(found)

    def _calls(
        self, job: Job, refiners: Mapping[str, Refiner], task: dspy.Example, meter: Meter, score: float
    ) -> tuple[tuple[CallRecord, ...], int, str]:
        calls, spent, errors = [], 0, []
        for returned in meter.returned:
            taught = None
            if job.learns:
                refiner = refiners[returned.path]
                example = _task(task, returned, refiner)
                with metered({}) as learning:
                    try:
                        taught = _taught(refiner, example, returned, good=score >= self.threshold, asks=True)
                    except (LMError, AdapterParseError) as error:  # the run stands; what rules tell is still learned
                        errors.append(f"learning: {type(error).__name__}: {error}")
                        taught = _taught(refiner, example, returned, good=score >= self.threshold, asks=False)
                spent += learning.tokens
            calls.append(_call(returned, taught))
        return tuple(calls), spent, "; ".join(errors)


def _unreadable(failure: PlanningFailed) -> bool:
    """Whether the model answered, and what it said is no plan: that is an outcome, and no fault of the run."""
    cause = failure.__cause__
    return cause is None or isinstance(cause, (AdapterParseError, ContextWindowExceededError))


def _task(task: dspy.Example, returned: RefinerCall, refiner: Refiner) -> dspy.Example:
    """The task of a call, with the labels of the whole program's task, which must not be learned by heart."""
    inputs = {name: value for name, value in returned.inputs.items() if name in refiner.signature.input_fields}
    labels = {name: value for name, value in task.labels().items() if name not in inputs}
    return dspy.Example(**inputs, **labels).with_inputs(*inputs)


def _call(returned: RefinerCall, taught: TrainingSignal | None) -> CallRecord:
    result = returned.result
    first = next((event.loss for event in result.history if event.kind == "inspect" and event.loss), result.loss)
    return CallRecord(
        refiner=returned.path,
        verified=result.verified,
        loss=result.loss.total,
        first_loss=first.total,
        features=features(result),
        retrieved=tuple(result.retrieved),
        taught=taught,
    )


def _taught(refiner: Refiner, task: dspy.Example, returned: RefinerCall, good: bool, asks: bool) -> TrainingSignal:
    """What a call teaches: an example where it verified with a good score, lessons and notes of what was repaired."""
    result = returned.result
    session = refiner._source.open(dspy.Example(base=dict(task.inputs().items())).with_inputs(*task.inputs().keys()))
    try:
        name = environment_name(session.environment)
        ancestor = _parent(result, session, task)
    finally:
        session.family.close()
    learn = Learn(refiner.signature) if asks else None
    if learn is not None:
        learn.set_lm(refiner.plan.predict.lm)
    return TrainingSignal(
        inputs={} if returned.path == ROOT else _plain(task),
        demonstration=demonstrate(result, task, name) if good and result.verified else None,
        lessons=lessons_of(result, task, name, learn),
        notes=tool_notes(result, name, task),
        parent=ancestor,
        requirements=Requirements(items=tuple(item for item in result.requirements.items if item.test is None)),
    )


def _parent(result: Refined, session: Session, task: dspy.Example) -> Parent:
    inspection = Inspection(execution=result.execution, findings=result.findings, loss=result.loss)
    return parent(
        inspection, result.requirements, session.toolbox, task=task_text(task.inputs()),
        known=session.environment.policy,
    )  # fmt: skip


def _plain(task: dspy.Example) -> dict[str, Any]:
    try:
        found: dict[str, Any] = plain(dict(task.inputs().items()))
    except ValueError:
        return {}
    return found


def seeds(programs: Mapping[str, dspy.Module], jobs: Sequence[Job]) -> dict[tuple[str, int], dspy.Module]:
    """The sampled copies of programs that jobs ask for."""
    wanted = {(job.program, job.seed) for job in jobs if job.seed}
    return {(name, seed): seeded(programs[name], seed) for name, seed in sorted(wanted)}
