"""Short runs of every refiner with faults at random at every seam: what escapes, what is lost, what is overdue.

`python -m programs.trust.faults [--runs 2000] [--seed 0]`. The model is the offline one, made to fail. Seams: the model
(every error of DSPy's, answers that are empty, cut off, nested deep or wrong, hanging, a long `Retry-After`), the
adapter, tools, checks, fork, close and the other hooks of an environment, the acceptance, a requirement of the user's
and whoever listens.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import dspy
from rich.console import Console
from rich.table import Table

from pivot_dspy import Budget, Environment, PivotError, Refined, Requirement
from pivot_dspy.dspy_internals import LMAuthError, LMConfigurationError
from pivot_dspy.environment.calls import GRACE
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.loss import EPSILON
from pivot_dspy.simulator import Reference
from pivot_dspy.simulator.engine import OfflineEngine
from pivot_dspy.simulator.slips import Rates
from programs import meeting_room
from programs.benchmarks import overhead
from programs.options import positive
from programs.refiners import REFINERS
from programs.trust.faulty import (
    AsyncFaultyEngine,
    Faults,
    FaultyAcceptance,
    FaultyAdapter,
    FaultyEngine,
    FaultyListener,
    FaultySum,
    FaultyWorkspace,
    Heartbeat,
)  # fmt: skip

TIMEOUT = 0.1
"""Seconds that one tool call may take."""
SLACK = 0.5
"""Seconds that a run's own work may take after its deadline."""
SEAMS = (
    "adapter writes", "adapter reads", "tool raises", "tool hangs", "tool returns what cannot be shown",
    "check raises", "check hangs", "open", "fork", "close", "describe", "summarise", "begin_checks", "acceptance",
    "on_event", "requirement",
)  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "tree-search": {"iterations": 3, "n_generate_sample": 2, "max_depth": 8},
    "tree-search-1": {"iterations": 3, "max_depth": 8},
    "reward-rising": {"max_samples": 2, "max_steps": 8},
    "react": {"max_iters": 8},
    "reflexion": {"max_trials": 4},
}
"""Settings that make a run short."""


class Task(NamedTuple):
    """What is run: a signature, an environment, a request and what the model knows of it."""

    signature: Any
    environment: Callable[[Faults], Environment]
    request: str
    reference: Reference


TASKS = (
    Task(meeting_room.BookMeeting, FaultyWorkspace, meeting_room.REQUEST, meeting_room.reference()),
    Task("request -> sum: int", FaultySum, f"Add up {overhead.WANTED}.", overhead.reference("Add up")),
)


class Outcome(NamedTuple):
    """What came of one run.

    Attributes:
        struck: the faults that occurred, by seam.
        error: the type of what escaped; empty where a result came back.
        documented: whether it is of a type that the refiner says it raises.
        lost: whether something had been accepted, and did not come back.
        rose: whether an accepted loss rose, or the result's is above the last one.
        overdue: seconds by which it passed its budget, less what one tool call may take and those in which the machine
            let it not run; 0 without a budget.
        trace: of what escaped and is not documented.
    """

    number: int
    refiner: str
    struck: Counter[str]
    error: str
    documented: bool
    lost: bool
    rose: bool
    overdue: float
    trace: str = ""

    @property
    def is_right(self) -> bool:
        """Whether it kept every promise."""
        return self.documented and not self.lost and not self.rose and self.overdue <= SLACK


def run(number: int, seed: int = 0) -> Outcome:
    """Run `number` of the series that `seed` begins: the same numbers draw the same faults."""
    draw = random.Random(f"{seed}/{number}")
    name, task = draw.choice([*REFINERS]), draw.choice(TASKS)
    seconds = draw.choice([None, None, None, 0.15, 0.3])
    rates = {seam: draw.choice([0.05, 0.3, 1.0]) for seam in draw.sample(SEAMS, draw.randrange(4))}
    rates["model"] = draw.choice([0.0, 0.1, 0.3, 0.7])
    lasting = draw.choice([None, None, draw.randrange(1, 8)])
    faults = Faults(draw.randrange(2**32), rates, lasting, can_hang=seconds is not None)
    listener = FaultyListener(faults)
    options = dict(SMALL.get(name, {}))
    if "requirement" in rates:
        options["requirements"] = [Requirement(id="own", test=partial(_own_requirement, faults))]
    refiner = REFINERS[name](
        task.signature, partial(_opened, task, faults), timeout=TIMEOUT, on_event=listener,
        acceptance=FaultyAcceptance(faults), budget=Budget(seconds=seconds), **options,
    )  # fmt: skip
    engine = FaultyEngine(OfflineEngine([task.reference], Rates(slip=0.3, seed=draw.randrange(1000))), faults)
    lm = dspy.LM(
        engine.engine.name, engine=engine, async_engine=AsyncFaultyEngine(engine), cache=False,
        num_retries=1 if seconds is not None else 0,
    )  # fmt: skip
    adapters = [None, dspy.JSONAdapter(), dspy.XMLAdapter()]
    adapter = FaultyAdapter(faults) if rates.keys() & {"adapter writes", "adapter reads"} else draw.choice(adapters)
    awaited = draw.random() < 0.3
    result, error = None, None
    began = time.monotonic()
    with Heartbeat() as heartbeat:
        try:
            with dspy.context(lm=lm, adapter=adapter):
                called = partial(refiner.acall if awaited else refiner, request=task.request)
                result = asyncio.run(called()) if awaited else called()
        except Exception as raised:
            error = raised
    elapsed = time.monotonic() - began - heartbeat.stalled
    allowed = TIMEOUT + (GRACE if awaited else 0.0)
    overdue = 0.0 if seconds is None else max(0.0, elapsed - seconds - allowed)
    return _judged(Outcome(number, name, faults.struck, "", True, False, False, overdue), listener, result, error)


def _opened(task: Task, faults: Faults) -> Environment:
    faults.raise_at("open")
    return task.environment(faults)


def _own_requirement(faults: Faults, run: Any) -> bool:
    faults.raise_at("requirement")
    return True


def _judged(outcome: Outcome, listener: FaultyListener, result: Refined | None, error: Exception | None) -> Outcome:
    events = tuple(listener.events)
    losses = accepted_losses(events)
    if result is not None:
        rose = any(later > earlier + EPSILON for earlier, later in itertools.pairwise(losses))
        return outcome._replace(rose=rose, lost=bool(losses) and result.loss.total > losses[-1] + EPSILON)
    documented = isinstance(error, (PivotError, LMAuthError, LMConfigurationError))
    lost = any(event.kind == "accept" for event in events)
    trace = "" if documented and not lost else "".join(traceback.format_exception(error))
    return outcome._replace(error=type(error).__name__, documented=documented, lost=lost, trace=trace)


class Report(NamedTuple):
    """The outcomes of a series, counted."""

    outcomes: tuple[Outcome, ...]

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the whole; after the first three and before the last, all are to be 0."""
        outcomes = self.outcomes
        return {
            "runs": len(outcomes),
            "runs with a fault": sum(1 for outcome in outcomes if outcome.struck.total()),
            "documented errors": sum(1 for outcome in outcomes if outcome.error and outcome.documented),
            "undocumented exceptions": sum(1 for outcome in outcomes if not outcome.documented),
            "best so far lost": sum(outcome.lost for outcome in outcomes),
            "accepted loss rose": sum(outcome.rose for outcome in outcomes),
            "seconds passed by more than a call's timeout": sum(outcome.overdue > SLACK for outcome in outcomes),
            "most seconds beyond budget and timeout": round(max(outcome.overdue for outcome in outcomes), 2),
        }

    @property
    def rows(self) -> list[dict[str, Any]]:
        """By seam: runs in which it failed, what they raised, and how many broke a promise."""
        seams = sorted({seam for outcome in self.outcomes for seam in outcome.struck if outcome.struck[seam]})
        rows = []
        for seam in seams:
            struck = [outcome for outcome in self.outcomes if outcome.struck[seam]]
            errors = Counter(outcome.error for outcome in struck if outcome.error)
            told = ", ".join(f"{name} {count}" for name, count in errors.most_common())
            wrong = sum(not outcome.is_right for outcome in struck)
            rows.append({"seam": seam, "runs": len(struck), "raised": told, "wrong": wrong})
        return rows

    def table(self) -> Table:
        """The rows, for a terminal."""
        table = Table(title="Faults by seam", title_justify="left")
        for name in ("seam", "runs", "raised", "wrong"):
            table.add_column(name)
        for row in self.rows:
            table.add_row(*(str(row[name]) for name in row))
        return table


def measure(runs: int = 2000, seed: int = 0, *, told: Callable[[Outcome], None] = lambda outcome: None) -> Report:
    """A series of runs. One that was overdue is made once more, and counts as overdue if it is again: what hangs does
    so each time, a busy machine does not.

    Args:
        told: called with each outcome.
    """
    outcomes = []
    for number in range(runs):
        outcome = run(number, seed)
        if outcome.overdue > SLACK:
            outcome = outcome._replace(overdue=min(outcome.overdue, run(number, seed).overdue))
        outcomes.append(outcome)
        told(outcome)
    return Report(tuple(outcomes))


def quietly(loggers: Iterable[str] = ("pivot_dspy", "dspy")) -> None:
    """Keep warnings of faults that were asked for off the terminal."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.trust.faults", description=__doc__)
    parser.add_argument("--runs", type=positive, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    quietly()

    def tell(outcome: Outcome) -> None:
        if not outcome.is_right:
            logging.getLogger(__name__).error("%s\n%s", outcome._replace(trace=""), outcome.trace)

    report = measure(options.runs, options.seed, told=tell)
    console = Console()
    console.print(report.table())
    console.print(report.figures)
    return 0 if all(outcome.is_right for outcome in report.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
