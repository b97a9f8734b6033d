"""The runs of one compilation: in parallel, within its budget, journalled, and never made twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import dspy

from pivot_dspy.errors import ConfigurationError, TooManyErrors
from pivot_dspy.journal import Journal
from pivot_dspy.optimizer import parallel, rollout
from pivot_dspy.optimizer.rollout import Job, RolloutResult, RolloutRunner
from pivot_dspy.optimizer.settings import Limits, Metric, task_key
from pivot_dspy.optimizer.targets import digest

logger = logging.getLogger(__name__)

FIRST = 8
"""Runs after which what a run costs is first looked at, where tokens are limited."""


class RunScheduler:
    """Makes runs, each once.

    Attributes:
        programs: the programs that jobs name.
        keys: of the tasks, alike for equal tasks.
        tokens, runs: what was spent, that of an earlier process included from which this one goes on.
        errors: of runs that left nothing.
    """

    def __init__(
        self,
        tasks: Sequence[dspy.Example],
        metric: Metric,
        arguments: int,
        *,
        limits: Limits,
        threshold: float,
        executor: Executor | None,
        num_threads: int | None,
        max_errors: int | None,
        journal: Journal | None,
        progress: bool,
    ) -> None:
        self.tasks = tasks
        self.metric = metric
        self.arguments = arguments
        self.limits = limits
        self.threshold = threshold
        self.executor = executor
        self.num_threads = num_threads
        self.max_errors = dspy.settings.max_errors if max_errors is None else max_errors
        self.journal = journal
        self.progress = progress
        self.programs: dict[str, dspy.Module] = {}
        self.tokens = 0
        self.runs = 0
        self.errors: list[tuple[str, Exception]] = []
        self._done: dict[Job, RolloutResult] = {}
        self.keys = [task_key(task) for task in tasks]

    def left(self) -> int | None:
        """How many runs the budget still pays for; None without a limit. By tokens, as many as the runs so far cost."""
        if self.limits.tasks is not None:
            return max(0, self.limits.tasks - self.runs)
        if self.limits.tokens is None:
            return None
        left = max(0, self.limits.tokens - self.tokens)
        return int(left * self.runs // self.tokens) if self.runs and self.tokens else FIRST

    def spend(self, tokens: int) -> None:
        """Books tokens that were spent otherwise than by a run."""
        self.tokens += tokens

    def run(self, jobs: Sequence[Job], title: str) -> list[RolloutResult | None]:
        """What came of each job; None for one that the budget did not pay for.

        Raises:
            ConfigurationError: something is wrong that would be in any run.
            TooManyErrors: `max_errors` runs failed.
        """
        waiting = [job for job in dict.fromkeys(jobs) if job not in self._done]
        while waiting:
            room = self.left()
            now = waiting if room is None else waiting[:room]
            if not now:
                break
            waiting = waiting[len(now) :]
            self._made(now, title)
        return [self._done.get(job) for job in jobs]

    def once(self, kind: str, key: str, made: Callable[[], tuple[Mapping[str, Any], bool]]) -> Mapping[str, Any]:
        """What `made` gives, or gave before this process took over. It tells too whether that is what there is to
        know; if not, it is not put on record, and the next process asks again."""
        known = self.journal.get(kind, key) if self.journal else None
        if known is not None:
            return known
        found, finished = made()
        if finished:
            self.note(kind, key, found)
        return found

    def note(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Puts something on record, where a journal is kept."""
        if self.journal is not None:
            self.journal.append(kind, key, data)

    def _made(self, jobs: Sequence[Job], title: str) -> None:
        found: dict[Job, RolloutResult] = {}
        missing = []
        for job in jobs:
            known = self.journal.get("run", self._key(job)) if self.journal else None
            if known is None:
                missing.append(job)
            else:
                found[job] = RolloutResult.model_validate(known)
        if missing:
            found |= self._ran(missing, title)
        for job in jobs:  # in the order of the jobs, so that what is spent adds up alike however they ran
            outcome = found[job]
            self._done[job] = outcome
            self.tokens += outcome.tokens + outcome.learning_tokens
            self.runs += 1

    def _ran(self, jobs: Sequence[Job], title: str) -> dict[Job, RolloutResult]:
        named = {job.program: self.programs[job.program] for job in jobs}
        seeds = rollout.seeds(named, jobs)
        runner = RolloutRunner(named, self.tasks, self.metric, self.arguments, self.threshold, seeds)

        def done(position: int, said: Mapping[str, Any]) -> RolloutResult:
            if "broken" in said:
                raise ConfigurationError(said["broken"])
            self.note("run", self._key(jobs[position]), said["outcome"])
            return RolloutResult.model_validate(said["outcome"])

        ran = parallel.run_all(
            self.executor, jobs, runner, on_done=done, max_errors=max(1, self.max_errors - len(self.errors)),
            num_threads=self.num_threads, progress=title if self.progress else "",
        )  # fmt: skip
        self.errors += [(f"{title}, task {jobs[place].task}", error) for place, error in ran.errors.items()]
        if ran.stopped:
            where = f"; what finished is saved in {self.journal.path}" if self.journal else ""
            raise TooManyErrors(
                f"stopped: {len(self.errors)} runs failed, and max_errors is {self.max_errors}{where}\n{ran.summary()}",
                tuple(self.errors),
            )
        found = {job: outcome for job, outcome in zip(jobs, ran.results, strict=True) if outcome is not None}
        for place, error in ran.errors.items():  # not journalled: the next process tries again
            found[jobs[place]] = RolloutResult(score=0.0, error=f"{type(error).__name__}: {error}")
        return found

    def _key(self, job: Job) -> str:
        return digest([job.program, self.keys[job.task], job.task, job.seed, job.learns, job.start])


def settled(journal: Journal, told: Mapping[str, Any]) -> None:
    """Puts the settings of a compilation on record, or finds that they are those of the record.

    Raises:
        ConfigurationError: the journal is that of a compilation with other settings.
    """
    known = journal.get("settings", "compile")
    told = {name: digest(value) if isinstance(value, (dict, list)) else value for name, value in told.items()}
    if known is None:
        journal.append("settings", "compile", told)
        return
    differ = [name for name in {**known, **told} if known.get(name) != told.get(name)]
    if differ:
        raise ConfigurationError(
            f"{journal.path} is the record of a compilation with other settings ({', '.join(differ)}); name another "
            "log_dir, delete this one, or set them as they were"
        )
