"""One compilation: training runs, what they teach, proposals made of it, and the decisions on them."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any

import dspy

from pivot_dspy.calibration.calibration import Calibration, CalibrationReport
from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.errors import ConfigurationError, TooManyErrors
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.learning import requirement_mining
from pivot_dspy.memory.records import Entries, Lesson, task_text
from pivot_dspy.optimizer.candidates import ProgramCandidate, changes, contents
from pivot_dspy.optimizer.material import LearnedMaterial, TrainingRun, crossed, recounted
from pivot_dspy.optimizer.metering import metered
from pivot_dspy.optimizer.report import DetailedResults, calibrated, held, measured, tried
from pivot_dspy.optimizer.rollout import Job, RolloutResult, TrainingSignal
from pivot_dspy.optimizer.scheduler import RunScheduler
from pivot_dspy.optimizer.selection import Selection
from pivot_dspy.optimizer.targets import ROOT, digest, gates_of, refiners_of
from pivot_dspy.phases.learn import Find
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.trajectory import Execution, Trajectory

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
        first = ProgramCandidate.of(student)
        self.selection = Selection(
            work, student, validation, finalists=self.effort.finalists, seed=seed, first=first
        )
        self.pools = {path: LearnedMaterial() for path in first.entries}
        self.latest: dict[int, RolloutResult] = {}
        self.first: dict[int, RolloutResult] = {}
        self.taught_by: list[RolloutResult] = []
        self.untaught: dict[int, list[RolloutResult]] = {}
        work.programs[first.key] = first.program(student)
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
            error.compiled = self._copy() if self.selection.incumbent.outcomes else None
            raise
        return self._copy()

    def results(self) -> DetailedResults:
        """What was done, and what it brought."""
        after, before = self.selection.incumbent, self.selection.first
        was = ProgramCandidate.of(self.student).settings
        return DetailedResults(
            before=measured(before.outcomes, self.work.threshold),
            after=measured(after.outcomes, self.work.threshold),
            training=measured(list(self.first.values()), self.work.threshold),
            teacher=measured(self.taught_by, self.work.threshold) if self.taught_by else None,
            proposals=tried(self.selection.decisions),
            entries=held(after),
            settings={
                path: changed
                for path, told in after.proposal.settings.items()
                if (changed := {name: value for name, value in told.items() if value != was[path][name]})
            },
            calibration=self._calibrations(),
            runs=self.work.runs,
            tokens=self.work.tokens,
            stopped="budget" if self.work.left() == 0 else "",
        )

    def _run(self) -> None:
        base = self.selection.incumbent.proposal.key
        if self.work.left() is None:  # all at once: no thread waits for the last validation
            every = [*(Job(base, place) for place in self.selection.places), *self._jobs(base, self.training)]
            self.work.run(every, "running the student")
        if not self.selection.begin():
            logger.warning("the budget was spent before the student was validated: it is returned as it was")
            return
        for generation in range(self.effort.generations):
            if not self._train(generation):
                break
            self._cross()
            self._require(generation)
            for _ in range(self.effort.rounds):
                if not self._round():
                    break
        entries = self._counted()
        if entries != self.selection.incumbent.proposal.entries:
            self.selection.round([self.selection.incumbent.proposal.remembering("counts", entries)], ties=True)

    # -- training

    def _train(self, generation: int) -> bool:
        """Runs the tasks that are still to be learned from; False where there are none, or nothing pays for them."""
        base = self.selection.incumbent.proposal.key
        if generation == 0:
            self._begin(self._jobs(base, self.training), "training")
            self._teach()
            for seed in range(1, self.effort.seeds):
                self._begin(self._jobs(base, self.training, seed), f"training, sample {seed}")
            return bool(self.latest)
        places = [place for place, outcome in self.latest.items() if not self._solved(outcome)]
        return bool(self._learn(self._jobs(base, places), f"training, generation {generation + 1}"))

    def _jobs(self, program: str, places: Sequence[int], seed: int = 0) -> list[Job]:
        return [Job(program, place, seed, learns=True) for place in places]

    def _begin(self, jobs: Sequence[Job], title: str) -> None:
        """Makes training runs of the student as it was, which calibration may go by."""
        for place, outcome in self._learn(jobs, title):
            self.untaught.setdefault(place, []).append(outcome)

    def _learn(self, jobs: Sequence[Job], title: str) -> list[tuple[int, RolloutResult]]:
        """Makes training runs, as many as leave room for validation, and takes in what they teach."""
        room = self.work.left()
        if room is not None:
            reserve = RESERVE * len(self.selection.places)
            jobs = jobs[: max(room - reserve, min(len(jobs), room // 2) if not self.latest else 0)]
        found = []
        for job, outcome in zip(jobs, self.work.run(jobs, title), strict=True):
            if outcome is None:
                continue
            found.append((job.task, outcome))
            if job.task in self.first and not job.seed and not job.start:
                self.selection.count(job.program, job.task, outcome, self.first[job.task])
            self._take(job.task, outcome)
        return found

    def _take(self, place: int, outcome: RolloutResult) -> None:
        self.first.setdefault(place, outcome)
        known = self.latest.get(place)
        if known is None or outcome.better_than(known):
            self.latest[place] = outcome
        for path, pool in self.pools.items():
            pool.take(place, outcome, (path,))

    def _teach(self) -> None:
        """Has the teacher run what the student did not do right at the first attempt."""
        if TEACHER not in self.work.programs:
            return
        hard = [place for place, one in self.latest.items() if not self._solved(one) or one.first_loss]
        jobs = self._jobs(TEACHER, hard)
        for job, outcome in zip(jobs, self.work.run(jobs, "running the teacher"), strict=True):
            if outcome is None:
                continue
            calls = tuple(call.model_copy(update={"refiner": self.teaches[call.refiner]}) for call in outcome.calls)
            outcome = outcome.model_copy(update={"calls": calls})
            self.taught_by.append(outcome)
            for path, pool in self.pools.items():
                pool.take(job.task, outcome, (path,))

    def _solved(self, outcome: RolloutResult) -> bool:
        return outcome.verified and outcome.score >= self.work.threshold

    def _cross(self) -> None:
        """Begins unsolved tasks anew, each with a trajectory joined with that of a task that was solved."""
        if not isinstance(self.student, Refiner):
            return  # the refiners inside a program cannot be told where to begin
        known = {place: self._tried(place, taught) for place, taught in self._taught(ROOT).items()}
        donors = {place: one for place, one in known.items() if self._solved(self.latest[place])}
        base = self.selection.incumbent.proposal.key
        jobs = [
            Job(base, place, learns=True, start=child.to_json())
            for place, one in known.items()
            if place not in donors
            for child in crossed(one, list(donors.values()))
        ]
        self._learn(jobs, "recombining")

    def _taught(self, path: str) -> dict[int, TrainingSignal]:
        """What the best run of each task taught of the refiner at `path`, of its last call."""
        found = {}
        for place, outcome in sorted(self.latest.items()):
            for call in outcome.calls:
                if call.refiner == path and call.taught is not None:
                    found[place] = call.taught
        return found

    def _tried(self, place: int, taught: TrainingSignal) -> TrainingRun:
        return TrainingRun(task_text(taught.inputs or self.work.tasks[place].inputs()), taught)

    # -- requirements that nobody stated

    def _require(self, generation: int) -> None:
        for path, refiner in refiners_of(self.student).items():
            cases = self._cases(path, refiner)
            if sum(case.result.verified and case.score < self.work.threshold for case in cases) < 2:
                continue

            def found(
                refiner: Refiner = refiner, cases: list[requirement_mining.TrainingOutcome] = cases
            ) -> tuple[dict[str, Any], bool]:
                return self._found(refiner, cases)

            shown = [(case.result.trajectory.id, case.score) for case in cases]
            said = self.work.once("missing", digest([generation, path, shown]), found)
            self.work.spend(said["tokens"])
            self.pools[path].require([Lesson.model_validate(one) for one in said["lessons"]])

    def _found(self, refiner: Refiner, cases: list[requirement_mining.TrainingOutcome]) -> tuple[dict[str, Any], bool]:
        """Lessons and tokens, and whether the model answered: if not, whoever resumes asks it again."""
        find, answered = Find(), True
        find.set_lm(refiner.plan.predict.lm)
        with metered({}) as meter:
            try:
                said = requirement_mining.missing_requirements(cases, refiner, find, good=self.work.threshold)
            except (LMError, AdapterParseError) as error:
                logger.warning("nothing was learned of missing requirements: %s: %s", type(error).__name__, error)
                said, answered = (), False
        kept = [one.lesson.model_dump(mode="json") for one in said if one.kept]
        return {"lessons": kept, "tokens": meter.tokens}, answered

    def _cases(self, path: str, refiner: Refiner) -> list[requirement_mining.TrainingOutcome]:
        cases = []
        for place, taught in self._taught(path).items():
            outcome, example = self.latest[place], self.work.tasks[place]
            if taught.inputs:
                labels = {name: value for name, value in example.labels().items() if name not in taught.inputs}
                example = dspy.Example(**taught.inputs, **labels).with_inputs(*taught.inputs)
            trajectory = taught.parent.trajectory
            result: Any = SimpleNamespace(
                verified=outcome.verified,
                trajectory=trajectory,
                requirements=taught.requirements,
                execution=_again(refiner, example, trajectory),
            )
            cases.append(requirement_mining.TrainingOutcome(example, result, outcome.score, outcome.feedback))
        return cases

    # -- proposals

    def _round(self) -> bool:
        """One round of proposals; False where none is left, or the budget is spent."""
        base = self.selection.incumbent.proposal
        base = base.remembering(base.name, self._counted())
        every = chain(contents(base, self.pools), changes(base, self.student, self._thresholds()))
        proposals = self.selection.untried(every, self.effort.proposals)
        if not proposals or self.work.left() == 0:
            return False
        self.selection.round(proposals)
        return True

    def _counted(self) -> dict[str, Entries]:
        """The incumbent's entries with all runs counted that showed them."""
        before = ProgramCandidate.of(self.student).entries
        entries = self.selection.incumbent.proposal.entries
        return {path: recounted(one, before[path], self.selection.shown) for path, one in entries.items()}

    # -- calibration

    def _calibrations(self) -> dict[str, CalibrationReport]:
        return calibrated({path: Calibration() for path in self.pools}, self.selection, self.untaught, self.seed)

    def _thresholds(self) -> dict[str, float]:
        """What calibration suggests for each confidence gate."""
        reports, found = self._calibrations() if gates_of(self.student) else {}, {}
        for path in gates_of(self.student):
            report = reports.get(f"{path}.refiner")
            if report is not None and report.confidence_threshold is not None:
                found[path] = report.confidence_threshold
        return found

    def _copy(self) -> dspy.Module:
        program = self.selection.incumbent.proposal.program(self.student)
        if importlib.util.find_spec("sklearn") is None:
            logger.warning("results carry no probability: calibration takes scikit-learn, pip install scikit-learn")
        fitted = {path: refiner.calibration for path, refiner in refiners_of(program).items()}
        calibrated(fitted, self.selection, self.untaught, self.seed)
        program._compiled = True
        return program


def _again(refiner: Refiner, task: dspy.Example, trajectory: Trajectory) -> Execution:
    """The trajectory run once more in a fresh session, for what its steps gave."""
    session = refiner._source.open(dspy.Example(base=dict(task.inputs().items())).with_inputs(*task.inputs().keys()))
    outputs = {name: field.annotation for name, field in refiner.signature.output_fields.items()}
    try:
        return run_sync(execute(trajectory, session, outputs=outputs)).execution
    finally:
        session.family.close()


def teaching(student: Mapping[str, Refiner], teacher: Mapping[str, Refiner]) -> dict[str, str]:
    """Which refiner of the student each of the teacher's teaches, by their paths.

    Raises:
        ConfigurationError: they do not go together.
    """
    if len(student) == len(teacher) == 1:
        pairs = dict(zip(teacher, student, strict=True))
    elif student.keys() == teacher.keys():
        pairs = {path: path for path in teacher}
    else:
        raise ConfigurationError(
            f"the teacher has refiners at {', '.join(teacher)}, and the student at {', '.join(student)}; pass a "
            "teacher of the same shape"
        )
    for theirs, own in pairs.items():
        fields = [list(one.signature.input_fields) + list(one.signature.output_fields)
                  for one in (teacher[theirs], student[own])]  # fmt: skip
        if fields[0] != fields[1]:
            raise ConfigurationError(
                f"the teacher's signature has the fields {', '.join(fields[0])}, and the student's "
                f"{', '.join(fields[1])}; they must be the same"
            )
    return pairs
