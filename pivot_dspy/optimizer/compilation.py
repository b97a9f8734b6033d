"""One compilation: training runs, what they teach, proposals made of it, and the decisions on them."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import Any

import dspy

from pivot_dspy.calibration.calibration import Calibration, CalibrationReport
from pivot_dspy.dspy_internals import AdapterParseError, LMError, mark_compiled
from pivot_dspy.errors import ConfigurationError, TooManyErrors
from pivot_dspy.learning.requirement_mining import TrainingOutcome, missing_requirements, replay, rerun
from pivot_dspy.memory.records import Lesson
from pivot_dspy.optimizer.candidates import LearnedMaterial, ProgramCandidate, additions, changes
from pivot_dspy.optimizer.metering import metered
from pivot_dspy.optimizer.report import DetailedResults, fit_calibrations, measure
from pivot_dspy.optimizer.rollout import Job, RolloutResult, TrainingSignal, task_of_call
from pivot_dspy.optimizer.scheduler import RunScheduler
from pivot_dspy.optimizer.selection import ScoredCandidate, Selection
from pivot_dspy.optimizer.targets import gates_of, refiners_of
from pivot_dspy.phases.learn import Find
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.source_digest import digest

logger = logging.getLogger(__name__)

TEACHER = "teacher"
"""The name under which the teacher is run."""
RESERVE = 2
"""Whole validations that training leaves the budget for."""


class Compilation:
    """Compiles one student; `compiled` gives the copy, `results` what was done.

    Args:
        teacher: a program whose refiners stand at the paths that `teaches` maps to those of the student's.
        training, validation: positions of their tasks among those of `work`.
    """

    def __init__(
        self,
        work: RunScheduler,
        student: dspy.Module,
        teacher: dspy.Module | None,
        teaches: Mapping[str, str],
        training: Sequence[int],
        validation: Sequence[int],
        seed: int,
    ) -> None:
        self.work = work
        self.student = student
        self.teaches = teaches
        self.training = list(training)
        self.seed = seed
        self.effort = work.limits.effort
        self.before = ProgramCandidate.of(student)
        self.selection = Selection(
            work, student, validation, ScoredCandidate(self.before), finalists=self.effort.finalists, seed=seed
        )
        self.materials = {path: LearnedMaterial(path) for path in self.before.entries}
        self.best: dict[int, RolloutResult] = {}
        """The best one."""
        self.untaught: dict[int, list[RolloutResult]] = {}
        """All runs of the student as it was, seed 0 first."""
        self.taught_by: list[RolloutResult] = []
        """The teacher's runs."""
        work.programs[self.before.key] = self.before.program(student)
        if teacher is not None:
            work.programs[TEACHER] = teacher

    def compiled(self) -> dspy.Module:
        """The compiled copy.

        Raises:
            TooManyErrors: with the copy as far as it came.
        """
        try:
            self._run()
        except TooManyErrors as error:
            error.compiled = self._copy() if self.selection.incumbents else None
            raise
        return self._copy()

    def results(self) -> DetailedResults:
        """What was done, and what it brought."""
        threshold, after = self.work.threshold, self.selection.incumbent
        changed = {
            path: {name: value for name, value in values.items() if value != self.before.settings[path][name]}
            for path, values in after.proposal.settings.items()
        }
        kinds = ("demonstrations", "lessons", "notes")
        return DetailedResults(
            before=measure(self.selection.first.outcomes, threshold),
            after=measure(after.outcomes, threshold),
            training=measure([first for first, *_ in self.untaught.values()], threshold),
            teacher=measure(self.taught_by, threshold) if self.taught_by else None,
            proposals=tuple(self.selection.records),
            entries={
                path: {kind: len(getattr(entries, kind)) for kind in kinds}
                for path, entries in after.proposal.entries.items()
            },
            settings={path: values for path, values in changed.items() if values},
            calibration=self._calibrations(),
            runs=self.work.runs,
            tokens=self.work.tokens,
            stopped=self.work.stopped or ("budget" if self.work.left() == 0 else ""),
        )

    def _run(self) -> None:
        if self.work.left() is None:  # all at once: no thread waits for the last validation
            validation = [Job(self.before.key, position) for position in self.selection.positions]
            self.work.run([*validation, *self._jobs(self.training)], "running the student")
        if not self.selection.begin():
            logger.warning("the budget was spent before the student was validated: it is returned as it was")
            return
        for generation in range(self.effort.generations):
            trained = self._begin() if generation == 0 else self._continue(generation)
            if not trained:
                break
            self._require(generation)
            for _ in range(self.effort.rounds):
                if not self._propose():
                    break

    # -- training

    def _jobs(self, positions: Sequence[int], seed: int = 0) -> list[Job]:
        """Training runs of the present program."""
        key = self.selection.incumbent.proposal.key
        return [Job(key, position, seed, learns=True) for position in positions]

    def _begin(self) -> bool:
        """Runs the training tasks by the student as it was; False where nothing paid for it."""
        for seed in range(self.effort.seeds):
            for position, outcome in self._train(self._jobs(self.training, seed), f"training, sample {seed + 1}"):
                self.untaught.setdefault(position, []).append(outcome)
            if seed == 0:
                self._teach()
        return bool(self.best)

    def _continue(self, generation: int) -> bool:
        """Runs unsolved training tasks again; False where there are none, or nothing pays for them."""
        unsolved = [position for position, outcome in self.best.items() if not self._is_solved(outcome)]
        return bool(self._train(self._jobs(unsolved), f"training, generation {generation + 1}"))

    def _train(self, jobs: Sequence[Job], title: str) -> list[tuple[int, RolloutResult]]:
        """Makes training runs, as many as leave room for validation, and takes in what they teach."""
        room = self.work.left()
        if room is not None:
            reserve = RESERVE * len(self.selection.positions)
            jobs = jobs[: max(room - reserve, 0 if self.best else room // 2)]
        made = self._made(jobs, title)
        for position, outcome in made:
            if position not in self.best or outcome.better_than(self.best[position]):
                self.best[position] = outcome
            self._take(position, outcome)
        return made

    def _made(self, jobs: Sequence[Job], title: str) -> list[tuple[int, RolloutResult]]:
        """Position of the task and outcome of each job that the budget paid for."""
        outcomes = zip(jobs, self.work.run(jobs, title), strict=True)
        return [(job.task, outcome) for job, outcome in outcomes if outcome is not None]

    def _take(self, position: int, outcome: RolloutResult) -> None:
        for material in self.materials.values():
            material.take(position, outcome)

    def _teach(self) -> None:
        """Has the teacher run what the student did not do right at the first attempt."""
        if TEACHER not in self.work.programs:
            return
        hard = [
            position for position, outcome in self.best.items() if not self._is_solved(outcome) or outcome.first_loss
        ]
        jobs = [Job(TEACHER, position, learns=True) for position in hard]
        for position, outcome in self._made(jobs, "running the teacher"):
            calls = tuple(call.model_copy(update={"refiner": self.teaches[call.refiner]}) for call in outcome.calls)
            outcome = outcome.model_copy(update={"calls": calls})
            self.taught_by.append(outcome)
            self._take(position, outcome)

    def _is_solved(self, outcome: RolloutResult) -> bool:
        return outcome.verified and outcome.score >= self.work.threshold

    # -- requirements that nobody stated

    def _require(self, generation: int) -> None:
        """Has a model find requirements that verified, yet wrong, results lack; at least two have to."""
        for path, refiner in refiners_of(self.student).items():
            outcomes, good = self._signals(path), self.work.threshold
            if sum(outcome.verified and outcome.score < good for _, outcome, _ in outcomes) < 2:
                continue
            seen = [(signal.trajectory.id, outcome.score) for _, outcome, signal in outcomes]
            key = digest([generation, path, seen])
            mined = self.work.once("missing", key, partial(self._mine, refiner, outcomes))
            self.work.tokens += mined.get("tokens", 0)
            self.materials[path].require([Lesson.model_validate(lesson) for lesson in mined.get("lessons", ())])

    def _mine(
        self, refiner: Refiner, outcomes: Sequence[tuple[int, RolloutResult, TrainingSignal]]
    ) -> tuple[dict[str, Any], bool]:
        """Lessons and tokens, and whether the model answered: if not, whoever resumes asks it again."""
        find, answered = Find(), True
        find.set_lm(refiner.plan.predict.lm)
        replayed = [self._replayed(refiner, *outcome) for outcome in outcomes]
        with metered({}) as meter:
            try:
                mined = missing_requirements(replayed, refiner, find, good=self.work.threshold)
            except (LMError, AdapterParseError) as error:
                logger.warning("nothing was learned of missing requirements: %s: %s", type(error).__name__, error)
                mined, answered = (), False
        return {"lessons": [lesson.model_dump(mode="json") for lesson in mined], "tokens": meter.tokens}, answered

    def _signals(self, path: str) -> list[tuple[int, RolloutResult, TrainingSignal]]:
        """What the best run of each task taught the refiner at `path`, by its last call."""
        signals = []
        for position, outcome in sorted(self.best.items()):
            taught = [call.taught for call in outcome.calls if call.refiner == path and call.taught is not None]
            if taught:
                signals.append((position, outcome, taught[-1]))
        return signals

    def _replayed(
        self, refiner: Refiner, position: int, outcome: RolloutResult, signal: TrainingSignal
    ) -> TrainingOutcome:
        """A training run with its execution, which did not travel with it."""
        task = self.work.tasks[position]
        task = task_of_call(signal.inputs, task) if signal.inputs else task
        with replay(refiner, task) as context:
            execution = rerun(context, signal.trajectory).execution
        result: Any = SimpleNamespace(
            verified=outcome.verified, trajectory=signal.trajectory, requirements=signal.requirements,
            execution=execution,
        )  # fmt: skip
        return TrainingOutcome(task, result, outcome.score, outcome.feedback)

    # -- proposals

    def _propose(self) -> bool:
        """One round of proposals; False where none is left, or the budget is spent."""
        base = self.selection.incumbent.proposal
        every = chain(additions(base, self.materials), changes(base, self.student, self._thresholds()))
        proposals = self.selection.untried(every, self.effort.proposals)
        if not proposals or self.work.left() == 0:
            return False
        self.selection.round(proposals)
        return True

    # -- calibration

    def _calibrations(self) -> dict[str, CalibrationReport]:
        fresh = {path: Calibration() for path in self.materials}
        return fit_calibrations(fresh, self.selection, self.untaught, self.seed)

    def _thresholds(self) -> dict[str, float]:
        """What calibration suggests for each confidence gate."""
        gates = gates_of(self.student)
        reports = self._calibrations() if gates else {}
        suggested = {path: reports.get(f"{path}.refiner") for path in gates}
        return {
            path: report.confidence_threshold
            for path, report in suggested.items()
            if report is not None and report.confidence_threshold is not None
        }

    def _copy(self) -> dspy.Module:
        program = self.selection.incumbent.proposal.program(self.student)
        if importlib.util.find_spec("sklearn") is None:
            logger.warning("results carry no probability: calibration takes scikit-learn, pip install scikit-learn")
        calibrations = {path: refiner.calibration for path, refiner in refiners_of(program).items()}
        fit_calibrations(calibrations, self.selection, self.untaught, self.seed)
        mark_compiled(program)
        return program


def match_refiners(student: Mapping[str, Refiner], teacher: Mapping[str, Refiner]) -> dict[str, str]:
    """Which refiner of the student each of the teacher's teaches, by their paths.

    Raises:
        ConfigurationError: they do not go together.
    """
    if len(student) == len(teacher) == 1:
        pairs = dict(zip(teacher, student, strict=True))
    else:
        pairs = {path: path for path in teacher}
    theirs = {pairs[path]: _fields(refiner) for path, refiner in teacher.items()}
    own = {path: _fields(refiner) for path, refiner in student.items()}
    if theirs != own:
        raise ConfigurationError(
            f"the teacher's signature is not the student's, refiner by refiner: {theirs}, and {own}; pass a teacher "
            "with the same fields at the same paths"
        )
    return pairs


def _fields(refiner: Refiner) -> list[str]:
    return [*refiner.signature.input_fields, *refiner.signature.output_fields]
