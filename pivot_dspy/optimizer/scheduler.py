"""The runs of one compilation: in parallel, within its budget, journalled, and never made twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import dspy

from pivot_dspy.errors import ConfigurationError, PlanningFailed, TooManyErrors
from pivot_dspy.journal import Journal
from pivot_dspy.optimizer.rollout import Job, RolloutResult, RolloutRunner, is_refusal
from pivot_dspy.optimizer.settings import Limits, Metric, required_arguments, task_key
from pivot_dspy.parallel.running import run_all
from pivot_dspy.source_digest import digest

FIRST = 8
"""Runs after which what a run costs is first looked at, where tokens are limited; and whether to stop, where that may
be."""


class CompileProgress(NamedTuple):
    """How far a compilation is."""

    runs: int
    """Of the program on a task."""
    tokens: int
    seconds: float
    """Since this process began or went on with it."""
    title: str
    """What is being done."""


Stop = Callable[[CompileProgress], bool]


@dataclass
class RunScheduler:
    """Makes runs, each once."""

    tasks: Sequence[dspy.Example]
    metric: Metric
    limits: Limits
    threshold: float
    executor: Executor | None
    num_threads: int | None
    max_errors: int
    journal: Journal | None
    display_progress: bool
    stop: Stop | None = None
    """Whether to end with what was reached, asked between batches of runs."""
    on_progress: Callable[[CompileProgress], object] | None = None
    """Told after each run."""
    recorded_only: bool = False
    """Whether nothing is run that the journal does not have."""
    programs: dict[str, dspy.Module] = field(default_factory=dict)
    """The programs that jobs name."""
    tokens: int = 0
    """What was spent, that of an earlier process included from which this one goes on."""
    runs: int = 0
    """Likewise."""
    errors: list[tuple[str, Exception]] = field(default_factory=list)
    """Of runs that left nothing."""

    def __post_init__(self) -> None:
        self.arguments = required_arguments(self.metric)
        self.keys = [task_key(task) for task in self.tasks]
        """Of the tasks, alike for equal tasks."""
        self._results: dict[Job, RolloutResult] = {}
        self._began = time.monotonic()
        self.stopped: Literal["", "stopped", "not run further"] = ""
        """Why it ended before its budget was spent."""

    def left(self) -> int | None:
        """How many runs the budget still pays for; None without a limit. By tokens, as many as the runs so far cost."""
        if self.stopped:
            return 0
        if self.limits.tasks is not None:
            return max(0, self.limits.tasks - self.runs)
        if self.limits.tokens is None:
            return None
        if not self.tokens:
            return FIRST
        return max(0, self.limits.tokens - self.tokens) * self.runs // self.tokens

    def run(self, jobs: Sequence[Job], title: str) -> list[RolloutResult | None]:
        """What came of each job; None for one that the budget did not pay for.

        Raises:
            ConfigurationError: something is wrong that would be in any run.
            TooManyErrors: `max_errors` runs failed, or all that were made.
        """
        waiting = [job for job in dict.fromkeys(jobs) if job not in self._results]
        while waiting and self.left() != 0:
            batch = waiting[: self.left()]
            if self.stop is not None:
                batch = batch[: max(FIRST, 2 * (self.num_threads or 0))]
            recorded = {job: self.journal.get("run", self._key(job)) for job in batch} if self.journal else {}
            results = {job: RolloutResult.model_validate(data) for job, data in recorded.items() if data is not None}
            if self.recorded_only and len(results) < len(batch):
                batch = [job for job in batch if job in results]
                self.stopped = "not run further"
            waiting = waiting[len(batch) :]
            results |= self._make([job for job in batch if job not in results], title)
            for job in batch:  # in the order of the jobs, so that what is spent adds up alike however they ran
                self._results[job] = results[job]
                self.tokens += results[job].tokens + results[job].learning_tokens
                self.runs += 1
            if self.stop is not None and not self.stopped and self.stop(self._progress(title)):
                self.stopped = "stopped"
        self._refuse_if_nothing_was_answered()
        return [self._results.get(job) for job in jobs]

    def _refuse_if_nothing_was_answered(self) -> None:
        refused = {job: result.error for job, result in self._results.items() if result.refused}
        if refused and len(refused) == len(self._results):
            reasons = "\n".join(f"{count}x {error}" for error, count in Counter(refused.values()).most_common())
            errors = self.errors or [(f"task {job.task}", PlanningFailed(error)) for job, error in refused.items()]
            raise TooManyErrors(
                f"no run of the program got an answer, so there is nothing to learn from; mend this first:\n{reasons}",
                tuple(errors),
            )

    def once(self, kind: str, key: str, make: Callable[[], tuple[Mapping[str, Any], bool]]) -> Mapping[str, Any]:
        """What `make` gives, or gave before this process took over. It tells too whether that is what there is to
        know; if not, it is not put on record, and the next process asks again."""
        recorded = self.journal.get(kind, key) if self.journal else None
        if recorded is None and self.recorded_only:
            return {}
        data, is_final = (recorded, False) if recorded is not None else make()
        if is_final:
            self.record(kind, key, data)
        return data

    def record(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Puts something on record, where a journal is kept."""
        if self.journal is not None:
            self.journal.append(kind, key, data)

    def _make(self, jobs: Sequence[Job], title: str) -> dict[Job, RolloutResult]:
        if not jobs:
            return {}
        programs = {job.program: self.programs[job.program] for job in jobs}
        made = [0]

        def keep(position: int, result: RolloutResult) -> RolloutResult:
            if self.on_progress is not None:
                made[0] += 1
                self.on_progress(self._progress(title)._replace(runs=self.runs + made[0]))
            if not result.refused:  # the next process tries again
                self.record("run", self._key(jobs[position]), result.model_dump(mode="json", exclude_defaults=True))
            return result

        ran = run_all(
            self.executor, jobs, RolloutRunner(programs, self.tasks, self.metric, self.arguments, self.threshold),
            on_done=keep, max_errors=max(1, self.max_errors - len(self.errors)), fatal=ConfigurationError,
            num_threads=self.num_threads, progress=title if self.display_progress else "",
        )  # fmt: skip
        self.errors += [(f"{title}, task {jobs[position].task}", error) for position, error in ran.errors.items()]
        if ran.stopped:
            where = f"; what finished is saved in {self.journal.path}" if self.journal else ""
            raise TooManyErrors(
                f"stopped: {len(self.errors)} runs failed, and max_errors is {self.max_errors}{where}\n{ran.summary()}",
                tuple(self.errors),
            )
        results = {job: result for job, result in zip(jobs, ran.results, strict=True) if result is not None}
        for position, error in ran.errors.items():  # not journalled: the next process tries again
            told = f"{type(error).__name__}: {error}"
            results[jobs[position]] = RolloutResult(score=0.0, error=told, refused=is_refusal(error))
        return results

    def _progress(self, title: str) -> CompileProgress:
        return CompileProgress(self.runs, self.tokens, time.monotonic() - self._began, title)

    def _key(self, job: Job) -> str:
        return digest([job.program, self.keys[job.task], job.task, job.seed, job.learns])


def check_settings(journal: Journal, settings: Mapping[str, Any]) -> None:
    """Puts the settings of a compilation on record, or finds that they are those of the record.

    Raises:
        ConfigurationError: the journal is that of a compilation with other settings.
    """
    short = {name: digest(value) if isinstance(value, (dict, list)) else value for name, value in settings.items()}
    recorded = journal.get("settings", "compile")
    if recorded is None:
        recorded = short
        journal.append("settings", "compile", short)
    differ = [name for name in {**recorded, **short} if recorded.get(name) != short.get(name)]
    if differ:
        raise ConfigurationError(
            f"{journal.path} is the record of a compilation with other settings ({', '.join(differ)}); name another "
            "log_dir, delete this one, or set them as they were"
        )
