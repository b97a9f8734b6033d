"""One run of a refiner on one task with one seed, and many of them at a time."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import dspy
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
)
from dspy.utils.usage_tracker import UsageTracker

from pivot_dspy import (
    Budget,
    ConfigurationError,
    Event,
    Execution,
    LedgerReport,
    PlanningFailed,
    Requirement,
    Usage,
)
from pivot_dspy.parallel.running import run_all
from pivot_dspy.trajectory import Frozen
from programs.comparison.benchmarks import Task

Model = Callable[[Task, int], dspy.LM]
"""The model that a run asks, for a task and a seed."""

Outcome = tuple[bool, bool]
"""Success by the official and by the strict rule."""

Worth = TypeVar("Worth")

_TRANSIENT = (LMRateLimitError, LMServerError, LMTimeoutError, LMTransportError)
_HOPELESS = (LMAuthError, LMBillingError, LMConfigurationError, LMInvalidRequestError)
_PATH = re.compile(r"(?<![\w:/.\\])(?:~|[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}")


@dataclass(frozen=True)
class Unit:
    """What one run is of."""

    refiner: str
    task: Task
    seed: int


class Record(Frozen):
    """What came of one run.

    Attributes:
        prompt_tokens: with `completion_tokens` all that was spent; `reasoning_tokens` is a share of the latter, as far
            as the model reports it.
        seconds: wall time of the refiner alone, without scoring.
        error: why the run ended without a result, which counts as not solved.
        transient: whether that was the provider's fault, so that the run is worth another try.
        exhausted: the budget's limit that ended the search.
        trace: what the run would have been worth if cut at a number of tokens: the tokens from which on, the official
            and the strict result; the last entry is the result itself.
        measures: the same for what the task measures beside success, by name; empty where it measures nothing.
    """

    refiner: str
    task: str
    seed: int
    verified: bool = False
    official: bool = False
    strict: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    lm_calls: int = 0
    tool_calls: int = 0
    tool_calls_reused: int = 0
    seconds: float = 0.0
    error: str | None = None
    transient: bool = False
    exhausted: str | None = None
    trace: tuple[tuple[int, bool, bool], ...] = ()
    measures: tuple[tuple[int, dict[str, float]], ...] = ()

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def cut(self, tokens: int) -> Outcome:
        """The official and the strict result, had the run been cut at `tokens`.

        >>> Record(refiner="r", task="t", seed=0, trace=((10, False, False), (20, True, False))).cut(19)
        (False, False)
        """
        reached = [(official, strict) for spent, official, strict in self.trace if spent <= tokens]
        return reached[-1] if reached else (False, False)

    def measured(self, name: str, tokens: float = math.inf) -> float:
        """A measure, had the run been cut at `tokens`; 0 where it had no result by then.

        >>> record = Record(refiner="r", task="t", seed=0, measures=((10, {"score": 0.5}), (20, {"score": 1.0})))
        >>> record.measured("score"), record.measured("score", 19), record.measured("score", 9)
        (1.0, 0.5, 0.0)
        """
        reached = [measures for spent, measures in self.measures if spent <= tokens]
        return reached[-1].get(name, 0.0) if reached else 0.0


class Hopeless(Exception):
    """No other run would fare better, as with a budget below one plan or a model that cannot be asked."""


class _Stopped(BaseException):
    """The comparison was interrupted. No `Exception`, since an agent's loop takes one for its tool's error."""


@dataclass(frozen=True)
class Runner:
    """Runs refiners on tasks.

    Args:
        refiners: by name, made as `refiners[name](signature, environment, budget=..., on_event=..., requirements=...)`.
        model: asked for a model of its own by every run, so that no run depends on what another asked before.
        requirements: what every refiner is given beside the request.
    """

    refiners: Mapping[str, Callable[..., dspy.Module]]
    signature: type[dspy.Signature]
    model: Model
    budget: Budget
    requirements: Sequence[Requirement] = ()

    def run(self, unit: Unit, stop: threading.Event) -> Record | None:
        """What comes of one run; None where `stop` was set before its end.

        Raises:
            Hopeless: the message says which run met what.
        """
        history: list[Event] = []

        def watch(event: Event) -> None:
            history.append(event)
            if stop.is_set():
                raise _Stopped

        if stop.is_set():
            return None
        told = Record(refiner=unit.refiner, task=unit.task.id, seed=unit.seed)
        lm = self.model(unit.task, unit.seed)
        tracker = UsageTracker()
        started = time.perf_counter()
        try:
            refiner = self.refiners[unit.refiner](
                self.signature, unit.task.environment, budget=self.budget, on_event=watch,
                requirements=self.requirements,
            )  # fmt: skip
            with dspy.context(lm=lm, disable_history=True, usage_tracker=tracker):
                result = refiner(**unit.task.inputs)
            seconds = time.perf_counter() - started
            verified, exhausted = result.verified, result.exhausted
            usage, last = result.ledger.usage, result.execution
        except _Stopped:
            return None
        except Exception as error:  # a rival that breaks down has not solved the task, whatever broke it
            seconds = time.perf_counter() - started
            cause = error.__cause__ if isinstance(error, PlanningFailed) and error.__cause__ else error
            if _hopeless(cause):
                raise Hopeless(f"{unit.refiner} on {unit.task.id}: {error}") from error
            verified, exhausted, last = False, None, None
            report = getattr(error, "ledger", None)
            usage = report.usage if isinstance(report, LedgerReport) else _reported(tracker)
            told = told.model_copy(update={"error": _said(error), "transient": isinstance(cause, _TRANSIENT)})
        trace = anytime(history, unit.task, last, usage.total_tokens)
        return told.model_copy(
            update={
                "verified": verified,
                "official": trace[-1][1],
                "strict": trace[-1][2],
                **usage.model_dump(include=_COUNTS),
                "seconds": round(seconds, 3),
                "exhausted": exhausted,
                "trace": trace,
                "measures": measures(history, unit.task, last, usage.total_tokens),
            }
        )

    def all(
        self,
        units: Sequence[Unit],
        threads: int,
        done: Callable[[Unit, Record], None],
        executor: Executor | None = None,
    ) -> Generator[Record, None, None]:
        """The records of all runs as they are finished; `done` is told of each, even where nobody takes the record any
        more. Left early, it stops those in flight at their next step.

        Args:
            threads: runs at a time, in each process of the executor.
            executor: in the place of threads of this process; the records then come when all are finished. A run that
                was lost with its process counts as a transient error.

        Raises:
            Hopeless: as `run` does; what was finished before has been told.
        """
        if executor is not None:
            yield from self._all_elsewhere(units, threads, done, executor)
            return
        stop = threading.Event()

        def one(unit: Unit) -> Record | None:
            record = self.run(unit, stop)
            if record is not None:
                done(unit, record)
            return record

        with ThreadPoolExecutor(threads) as pool:
            try:
                for future in as_completed([pool.submit(copy_context().run, one, unit) for unit in units]):
                    record = future.result()
                    if record is not None:
                        yield record
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _all_elsewhere(
        self, units: Sequence[Unit], threads: int, done: Callable[[Unit, Record], None], executor: Executor
    ) -> Iterator[Record]:
        def tell(position: int, record: Record) -> Record:
            done(units[position], record)
            return record

        # What the units share, a store say, travels once: the tasks of the executor are their numbers.
        ran = run_all(
            executor, range(len(units)), partial(_run_numbered, self, tuple(units)), on_done=tell, fatal=Hopeless,
            max_errors=len(units) + 1, num_threads=threads,
        )  # fmt: skip
        for position, unit in enumerate(units):
            record = ran.results[position]
            if record is None:
                error = _said(ran.errors[position])
                record = tell(position, Record(
                    refiner=unit.refiner, task=unit.task.id, seed=unit.seed, error=error, transient=True,
                    trace=((0, False, False),),
                ))  # fmt: skip
            yield record


def _run_numbered(runner: Runner, units: Sequence[Unit], number: int) -> Record | None:
    return runner.run(units[number], threading.Event())


def anytime(
    history: Iterable[Event], task: Task, last: Execution | None, tokens: int
) -> tuple[tuple[int, bool, bool], ...]:
    """The trace of a run: each `accept` and `elect` scored by the latest execution of its trajectory until then.

    Args:
        last: the execution that was returned after `tokens` tokens; None where nothing was.
    """

    def score(execution: Execution | None) -> Outcome:
        return (False, False) if execution is None else task.score(execution)

    return tuple((spent, *outcome) for spent, outcome in _worth(history, score, last, tokens))


def measures(
    history: Iterable[Event], task: Task, last: Execution | None, tokens: int
) -> tuple[tuple[int, dict[str, float]], ...]:
    """What the task measures beside success, along the same trace; empty where that is nothing."""
    if task.measure is None:
        return ()
    return tuple(_worth(history, task.measure, last, tokens))


def _worth(
    history: Iterable[Event], score: Callable[[Execution | None], Worth], last: Execution | None, tokens: int
) -> list[tuple[int, Worth]]:
    """What the results of a run are worth, each from so many tokens on."""
    inspected: dict[str, Execution] = {}
    scored: dict[int, Worth] = {}  # by identity: the same trajectory may run otherwise the next time
    trace: list[tuple[int, Worth]] = []

    def once(execution: Execution | None) -> Worth:
        if id(execution) not in scored:
            scored[id(execution)] = score(execution)
        return scored[id(execution)]

    events = list(history)
    for event in events:
        if event.kind == "inspect":
            inspected[event.trajectory.id] = event.execution
        elif event.kind in ("accept", "elect") and event.trajectory.id in inspected:
            trace.append((event.tokens, once(inspected[event.trajectory.id])))
    final = once(last)
    if not trace or trace[-1][1] != final:
        trace.append((tokens, final))
    return trace


_COUNTS = {"prompt_tokens", "completion_tokens", "reasoning_tokens", "lm_calls", "tool_calls", "tool_calls_reused"}


def _hopeless(cause: BaseException) -> bool:
    if isinstance(cause, ContextWindowExceededError):  # another refiner's prompts may be shorter
        return False
    return isinstance(cause, (ConfigurationError, *_HOPELESS))


def _reported(tracker: UsageTracker) -> Usage:
    """What the model reported of a run that broke down, and so left no ledger behind."""
    used = [
        Usage(
            lm_calls=1,
            prompt_tokens=entry.get("prompt_tokens") or 0,
            completion_tokens=entry.get("completion_tokens") or 0,
        )
        for entries in tracker.usage_data.values()
        for entry in entries
    ]
    return sum(used, Usage())


def _said(error: Exception) -> str:
    """An error in a line, without paths of this machine."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return _PATH.sub(lambda found: re.split(r"[/\\]", found[0])[-1], text)[:300]
