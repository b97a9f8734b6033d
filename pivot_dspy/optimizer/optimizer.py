"""PivotOptimizer: compiles a refiner on training tasks. It evolves what is remembered of trajectories, not prompts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.journal import Journal
from pivot_dspy.metric import trajectory_metric
from pivot_dspy.optimizer import settings
from pivot_dspy.optimizer.compilation import Compilation, match_refiners
from pivot_dspy.optimizer.program_fingerprint import program_fingerprint
from pivot_dspy.optimizer.scheduler import CompileProgress, RunScheduler, Stop, check_settings
from pivot_dspy.optimizer.settings import Auto, Metric
from pivot_dspy.optimizer.targets import ROOT, refiners_of
from pivot_dspy.parallel.executors import check_executor
from pivot_dspy.source_digest import source_digest

_ACCESS = {"api_key", "api_base", "base_url", "headers", "extra_headers", "timeout"}
"""How a language model is reached, which decides nothing about its answers."""


class PivotOptimizer(Teleprompter):  # type: ignore[misc]
    """Compiles refiners: a `Pivot`, any other refiner, or all refiners inside a larger program.

    Training tasks are refined; verified trajectories become demonstrations, failures that were repaired become lessons,
    and what wrong but verified outcomes have in common, requirements. Selections of these, and a few settings, are
    proposed and scored on validation tasks, first on some, then on all. A proposal is accepted only if its mean score
    there is no lower, and at equal score only if it costs fewer tokens, or as many at a lower loss. The compiled copy
    remembers what was accepted, and tells how likely its results are right; `save` and `load` keep it all as JSON.

    No `reviewer` is asked in its runs, and no `journal` of a refiner is kept.

    Memory is flat but for DSPy's history of calls, which `dspy.configure(disable_history=True)` turns off.

    The order of runs, threads and the executor change nothing: the same seed gives the same result, where the language
    model gives the same answer to the same call (with DSPy's cache, that is all it has answered before).

    Args:
        metric: `metric(gold, pred, trace=None, pred_name=None, pred_trace=None)` gives `dspy.Prediction(score=,
            feedback=)` or a number, higher for better. Its feedback may tell of the gold: it is shown to a model only
            to find requirements that are missing, and values of single tasks are kept out of what is learned.
        auto: how much is tried: `light` (the default), `medium` or `heavy`.
        max_tokens: instead, prompt and completion tokens to spend in all, calls that the cache serves included. Checked
            between batches of runs, so that it may be passed by one run for each of a batch.
        max_tasks: instead, how many runs of the program on a task may be made in all.
        metric_threshold: the score from which on a result counts as right, for demonstrations and calibration.
        seed: of all choices.
        num_threads: runs at a time, in each process of the executor; DSPy's setting, if None.
        executor: any `concurrent.futures.Executor`, such as Dask's `client.get_executor()`, or a Ray
            `ray.util.multiprocessing.Pool`, in the place of threads.
        log_dir: a folder in which every finished run is kept, so that a compilation that was killed goes on where it
            was, with the same result.
        track_stats: whether the compiled program has `detailed_results`.
        max_errors: failed runs at which it stops; DSPy's setting, if None. A model's answer that is no plan is an
            outcome, and no failure.
        display_progress: whether bars show on the terminal how far it is.
        max_seconds: after so many, no further batch of runs is begun, and what was reached is returned.
        stop: likewise, where this function of a `CompileProgress` (runs, tokens, seconds, title) says so; it is asked
            between batches.
        on_progress: told of each run that is done, by a `CompileProgress`.

    Raises:
        ConfigurationError: an argument cannot work; the message names the remedy.

    >>> PivotOptimizer(auto="medium", seed=7).limits.effort.generations
    2
    """

    def __init__(
        self,
        metric: Metric = trajectory_metric,
        *,
        auto: Auto | None = None,
        max_tokens: int | None = None,
        max_tasks: int | None = None,
        metric_threshold: float = 1.0,
        seed: int = 0,
        num_threads: int | None = None,
        executor: Executor | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        track_stats: bool = False,
        max_errors: int | None = None,
        display_progress: bool = True,
        max_seconds: float | None = None,
        stop: Stop | None = None,
        on_progress: Callable[[CompileProgress], object] | None = None,
    ) -> None:
        super().__init__()
        settings.required_arguments(metric)
        self.limits = settings.limits(auto, max_tokens, max_tasks)
        settings.check_counts(num_threads=num_threads, max_errors=max_errors)
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.seed = seed
        self.num_threads = num_threads
        self.executor = check_executor(executor)
        self.log_dir = log_dir
        self.track_stats = track_stats
        self.max_errors = max_errors
        self.display_progress = display_progress
        if max_seconds is not None and not max_seconds > 0:
            raise ConfigurationError(f"max_seconds is above 0, or None for no limit; got {max_seconds!r}")
        for name, function in (("stop", stop), ("on_progress", on_progress)):
            if function is not None and not callable(function):
                raise ConfigurationError(f"{name} is a function of a CompileProgress; got {function!r:.80}")
        self.max_seconds = max_seconds
        self.stop = stop
        self.on_progress = on_progress

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
    ) -> dspy.Module:
        """A compiled copy of the student, which stays as it is.

        Args:
            trainset: tasks to learn from.
            valset: tasks to choose by, none of which is remembered; without it, two fifths of the trainset.
            teacher: a refiner on a stronger model (`teacher.set_lm(...)`), or a program of the student's shape, that
                shows how to do what the student did not do right at its first attempt.

        Raises:
            ConfigurationError: something of this cannot work, or `log_dir` holds a compilation with other settings.
            TooManyErrors: `max_errors` runs failed, or the model answered in none; what was reached is in the error,
                and saved in `log_dir`.
        """
        return self._compile(student, trainset, valset, teacher)

    def best_from(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
    ) -> dspy.Module:
        """The best program of the compilation in `log_dir`, however far it came; nothing is run for it.

        Takes what `compile` was given.

        Raises:
            ConfigurationError: there is no `log_dir`, or it is that of another compilation.
        """
        if self.log_dir is None or not Path(self.log_dir).is_dir():
            raise ConfigurationError(f"there is no compilation in log_dir={self.log_dir!r}")
        return self._compile(student, trainset, valset, teacher, recorded_only=True)

    def _ends(self) -> Stop | None:
        """Whether to end, by the clock and by the user's own function."""
        if self.max_seconds is None and self.stop is None:
            return None
        limit = math.inf if self.max_seconds is None else self.max_seconds
        return lambda progress: progress.seconds >= limit or (self.stop is not None and bool(self.stop(progress)))

    def _compile(
        self,
        student: dspy.Module,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None,
        teacher: dspy.Module | None,
        *,
        recorded_only: bool = False,
    ) -> dspy.Module:
        refiners = refiners_of(student)
        teaches = {} if teacher is None else match_refiners(refiners, refiners_of(teacher, "teacher"))
        training = settings.tasks("trainset", trainset, refiners.get(ROOT))
        validation = None if valset is None else settings.tasks("valset", valset, refiners.get(ROOT))
        training, validation = settings.split(training, validation, self.seed)
        least = 2 * len(validation) + 1
        if self.limits.tasks is not None and self.limits.tasks < least:
            raise ConfigurationError(
                f"max_tasks={self.limits.tasks} does not pay for one training task and for the {len(validation)} "
                f"validation tasks with and without what it teaches; raise it to {least} at least, or pass fewer "
                "validation tasks"
            )
        journal = self._journal(student, teacher, training, validation)
        with journal or nullcontext():
            work = RunScheduler(
                [*training, *validation],
                self.metric,
                limits=self.limits,
                threshold=self.metric_threshold,
                executor=self.executor,
                num_threads=self.num_threads,
                max_errors=dspy.settings.max_errors if self.max_errors is None else self.max_errors,
                journal=journal,
                display_progress=self.display_progress,
                stop=self._ends(),
                on_progress=self.on_progress,
                recorded_only=recorded_only,
            )
            positions = range(len(work.tasks))
            compilation = Compilation(
                work, student, teacher, teaches, positions[: len(training)], positions[len(training) :], self.seed
            )
            compiled = compilation.compiled()
            if self.track_stats:
                compiled.detailed_results = compilation.results()
        return compiled

    def _journal(
        self,
        student: dspy.Module,
        teacher: dspy.Module | None,
        training: Sequence[dspy.Example],
        validation: Sequence[dspy.Example],
    ) -> Journal | None:
        """The record in `log_dir`, if there is to be one; of this very compilation."""
        if self.log_dir is None:
            return None
        journal = Journal(self.log_dir)
        lm: Any = dspy.settings.lm
        options = {
            "student": program_fingerprint(student),
            "teacher": teacher and program_fingerprint(teacher),
            "lm": lm and {"model": lm.model, **{name: lm.kwargs[name] for name in lm.kwargs.keys() - _ACCESS}},
            "trainset": [settings.task_key(task) for task in training],
            "valset": [settings.task_key(task) for task in validation],
            "metric": source_digest(self.metric),
            "metric_threshold": self.metric_threshold,
            "limits": list(self.limits),
            "seed": self.seed,
        }
        check_settings(journal, options)
        return journal
