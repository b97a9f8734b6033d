"""Refines many tasks at once, on threads, processes or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dspy

from pivot_dspy.budget import LedgerReport, Usage
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import ConfigurationError, TooManyErrors
from pivot_dspy.parallel.running import run_all
from pivot_dspy.refiners.base import Refiner


@dataclass(frozen=True)
class FailedTask:
    """Stands in the place of the result of a task that has none."""

    error: Exception
    """What the refiner raised, or the executor, where the task's process was lost; `TooManyErrors` where the task was
    not begun."""
    ledger: LedgerReport = field(default_factory=LedgerReport)
    """What was spent before, as far as the error tells."""

    @classmethod
    def of(cls, error: Exception) -> FailedTask:
        """With what the error tells of what was spent."""
        ledger = getattr(error, "ledger", None)
        return cls(error, ledger if isinstance(ledger, LedgerReport) else LedgerReport())

    @property
    def verified(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True)
class RefinedMany:
    """What came of the tasks. Iterates over `results`."""

    results: tuple[Refined | FailedTask, ...]
    """One for each task, in the order of the tasks."""

    @property
    def errors(self) -> dict[int, Exception]:
        """Of the tasks that failed, by position."""
        return {at: result.error for at, result in enumerate(self.results) if isinstance(result, FailedTask)}

    @property
    def ledger(self) -> LedgerReport:
        """Of all tasks together, each counted once; its `seconds` are the sum of theirs."""
        phases: dict[str, Usage] = {}
        for result in self.results:
            for name, usage in result.ledger.phases.items():
                phases[name] = phases.get(name, Usage()) + usage
        return LedgerReport(phases=phases, seconds=sum(result.ledger.seconds for result in self.results))

    def __iter__(self) -> Iterator[Refined | FailedTask]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, position: int) -> Refined | FailedTask:
        return self.results[position]


def refine_many(
    refiner: Refiner,
    examples: Iterable[dspy.Example],
    *,
    executor: Executor | None = None,
    threads: int | None = None,
    max_errors: int | None = None,
    raise_errors: bool = False,
    on_done: Callable[[int, Refined], None] | None = None,
    progress: bool = False,
) -> RefinedMany:
    """Refines each example, many at a time. An error of one is its result, and does not end the run.

    On threads of this process the caller's `dspy.context` holds as it is. Other processes are given its settings
    (`lm`, `adapter`, ...), but no callbacks, which belong to this process; each loads the refiner and its environment
    once, and calls the refiner's `on_event` there. If a process dies, only what it had not finished runs again
    elsewhere; what the lost attempt spent is in no ledger. A result that came from another process is a record, which
    cannot be committed: `refiner(trajectory=result.trajectory, commit=True, ...)` runs it again here, and commits.

    Args:
        examples: with their inputs named by `with_inputs`. `commit` is no input here: look at the results first.
        executor: any `concurrent.futures.Executor`, Dask's `client.get_executor()`, or a Ray
            `ray.util.multiprocessing.Pool`, in the place of threads.
        threads: tasks at a time, in each process of the executor; DSPy's `num_threads`, if None.
        max_errors: when so many tasks have failed no other begins; DSPy's setting, if None.
        raise_errors: whether the first error ends the run and is raised.
        on_done: is given position and result of each task that did not fail, in this thread, as soon as it is there:
            to keep it on a disk, say.
        progress: whether to show a bar.

    Raises:
        ConfigurationError: an argument cannot work, or something cannot be sent to another process.
        Exception: with `raise_errors`, whatever the first task that failed raised.

    Here the plan is given, so that no model is asked:

    >>> from pivot_dspy import Environment, Pivot, Step, Trajectory, check, tool
    >>> class Counter(Environment):
    ...     def __init__(self):
    ...         self.sum = 0
    ...     @tool(effect="write")
    ...     def add(self, number: int) -> int:
    ...         self.sum += number
    ...         return self.sum
    ...     @check
    ...     def sum_is(self, number: int) -> bool:
    ...         return self.sum == number
    >>> add = Step(id="add", tool="add", args={"number": 4})
    >>> plan = Trajectory(steps=(add, Step(id="end", tool="submit", args={"sum": "$add"})))
    >>> task = dspy.Example(
    ...     request="Add 4.", trajectory=plan, requirements=[{"check": "sum_is", "args": {"number": 4}}]
    ... ).with_inputs("request", "trajectory", "requirements")
    >>> many = refine_many(Pivot("request -> sum: int", Counter), [task, task], threads=2)
    >>> [(result.sum, result.verified) for result in many], many.errors
    ([(4, True), (4, True)], {})
    """
    if not isinstance(refiner, Refiner):
        raise ConfigurationError(f"refine_many takes a refiner such as Pivot(...), not {refiner!r:.80}")
    if threads is not None and (type(threads) is not int or threads < 1):
        raise ConfigurationError(f"threads is a whole number of at least 1; got {threads!r:.80}")
    tasks = [_inputs(position, example) for position, example in enumerate(examples)]

    def keep(position: int, result: Refined) -> Refined:
        if on_done is not None:
            on_done(position, result)
        return result

    ran = run_all(
        executor, tasks, partial(_refine, refiner), on_done=keep, max_errors=max_errors,
        fatal=Exception if raise_errors else (), num_threads=threads, progress="Refining" if progress else "",
    )  # fmt: skip
    unbegun = TooManyErrors(f"not begun: {len(ran.errors)} tasks had failed; raise max_errors, or mend their errors")
    return RefinedMany(
        tuple(
            FailedTask.of(ran.errors.get(position, unbegun)) if result is None else result
            for position, result in enumerate(ran.results)
        )
    )


def _refine(refiner: Refiner, inputs: dict[str, Any]) -> Refined:
    result: Refined = refiner(**inputs)
    return result


def _inputs(position: int, example: Any) -> dict[str, Any]:
    if not isinstance(example, dspy.Example):
        raise ConfigurationError(f"examples[{position}] is a {type(example).__name__}; it must be a dspy.Example")
    try:
        inputs = dict(example.inputs().items())
    except ValueError as error:
        raise ConfigurationError(
            f"examples[{position}] does not say which of its fields are inputs; call .with_inputs(...) on it"
        ) from error
    if "commit" in inputs:
        raise ConfigurationError(
            f"examples[{position}] asks for commit, and refine_many makes nothing real; leave it out, and call "
            "result.commit() on the results that you have looked at"
        )
    return inputs
