"""New training tasks for an environment: goals are proposed, solved by a refiner, and kept where they add something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import dspy

from pivot_dspy.budget import Budget, Ledger, LedgerReport, Usage
from pivot_dspy.dspy_internals import AdapterParseError, LMAuthError, LMConfigurationError, LMError
from pivot_dspy.episode.asking import sample_config
from pivot_dspy.episode.result import Refined, by_own_names
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.flow import run_sync
from pivot_dspy.parallel.running import Ran, run_all
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts import catalogue
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.synthesis.explore import explore, report
from pivot_dspy.synthesis.propose import Propose
from pivot_dspy.trajectory import Frozen


class Coverage(Frozen):
    """What the trajectories of some tasks make use of."""

    tools: tuple[str, ...] = ()
    """Those that ran, by name."""
    unused: tuple[str, ...] = ()
    """The others of the environment."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Tools that ran one right after the other."""
    lengths: tuple[int, ...] = ()
    """How many tool calls, a repeated step counted once, there are in a trajectory."""

    def with_calls(self, calls: Sequence[str]) -> Coverage:
        """With a trajectory that calls these tools, one after another; equal to this, if it adds nothing."""
        return Coverage(
            tools=tuple(sorted({*self.tools, *calls})),
            unused=tuple(name for name in self.unused if name not in calls),
            pairs=tuple(sorted({*self.pairs, *pairwise(calls)})),
            lengths=tuple(sorted({*self.lengths, len(calls)})),
        )

    def to_prompt(self) -> str:
        """What is covered, and what is not, in a few lines."""
        lines = [
            f"Not used yet: {', '.join(self.unused)}." if self.unused else "Every tool was used.",
            f"One tool after another: {', '.join(f'{a} > {b}' for a, b in self.pairs)}." if self.pairs else "",
            f"Calls in a task: {', '.join(map(str, self.lengths))}." if self.lengths else "",
        ]
        return "\n".join(line for line in lines if line)


class SynthesisReport(Frozen):
    """What became of the goals that were proposed."""

    proposed: int = 0
    """Goals in all; the next eight counts sum up to it."""
    kept: int = 0
    """Tasks that were made of them."""
    unreadable: int = 0
    """Of which the inputs were not all there."""
    repeated: int = 0
    """Known or proposed before."""
    failed: int = 0
    """That could not be run; `errors` says why."""
    unverified: int = 0
    unchecked: int = 0
    """Of which nothing was required, so that nothing could be verified."""
    redundant: int = 0
    """Which added no tool, pair or length."""
    left: int = 0
    """That were not tried, as enough were kept or the budget was spent."""
    coverage: Coverage = Coverage()
    """Of the tasks that were kept."""
    explored: int = 0
    """Tool calls of the exploration that gave something."""
    usage: Usage = Usage()
    """Of all LM calls and tool calls."""
    stopped: str = ""
    """Why it ended."""
    errors: tuple[str, ...] = ()
    """Kinds of errors, with how often each came."""


class Synthesis(NamedTuple):
    """New tasks, as `compile` takes them, and the account of how they were made."""

    examples: list[dspy.Example]
    report: SynthesisReport


class Solved(NamedTuple):
    """What is kept of a run on a goal; `fate` is empty where it was solved."""

    fate: str
    usage: Usage
    calls: tuple[str, ...] = ()
    outputs: dict[str, Any] = {}


def synthesize(
    refiner: Refiner,
    count: int,
    *,
    shared: Mapping[str, Any] | None = None,
    examples: Sequence[dspy.Example] = (),
    budget: Budget | None = None,
    number: int = 8,
    patience: int = 3,
    max_errors: int | None = None,
    num_threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    propose: Propose | None = None,
) -> Synthesis:
    """Makes new tasks for a refiner's environment.

    The environment is explored without a model: what only reads is called in a session that is then dropped. A model
    proposes goals, the refiner solves them, and a goal becomes a task if its result was verified against at least one
    requirement and its trajectory uses a tool, a pair of tools or a length that no task before it did. What is covered
    is told to the model when it proposes again. A task's outputs are those of its verified result.

    Args:
        refiner: solves the goals, and knows environment and signature; its own budget holds for each goal.
        count: how many tasks to make at most.
        shared: inputs that all new tasks have in common, such as the id of a store that the environment is opened for;
            the others are proposed.
        examples: known tasks: they show how goals are worded, and are not proposed again. Leave out tasks that are kept
            for testing, since the model is shown these.
        budget: limits of all this together, looked at before each goal and each proposal; what runs then is finished.
        number: of goals that one LM call proposes.
        patience: proposals in a row without a task to keep before giving up.
        max_errors: goals that could not be run before giving up; DSPy's setting, if None.
        num_threads: goals solved at a time, in each process of the executor; DSPy's setting, if None.
        executor: any `concurrent.futures.Executor`, or a Ray pool, in the place of threads.
        progress: whether to show a bar.
        propose: the phase that asks the model, if it was tuned; one with the refiner's model, if None.

    Raises:
        ConfigurationError: an argument cannot work, or the environment cannot be opened for the inputs in `shared`.
        LMAuthError, LMConfigurationError: the model cannot be reached.
    """
    if not isinstance(refiner, Refiner):
        raise ConfigurationError(f"synthesize takes a refiner such as Pivot(...), not {refiner!r:.80}")
    for name, value in (("count", count), ("number", number), ("patience", patience)):
        if type(value) is not int or value < 1:
            raise ConfigurationError(f"{name} is a whole number of at least 1; got {value!r:.80}")
    fields, shared = refiner.signature.input_fields, dict(shared or {})
    if not shared.keys() < fields.keys():
        raise ConfigurationError(
            f"shared= holds some inputs of the signature ({', '.join(fields)}), and leaves at least one to be "
            f"proposed; got {', '.join(shared)}"
        )
    if propose is None:
        propose = Propose(refiner.signature)
        propose.set_lm(refiner.plan.predict.lm)
    known = [{name: example[name] for name in fields if name in example} for example in examples]
    synthesizer = _Synthesizer(refiner, shared, known, budget or Budget(), propose)
    synthesizer.explore()
    stopped, rounds, fruitless = synthesizer.spent(), 0, 0
    while not stopped:
        made = len(synthesizer.made)
        ran = run_all(
            executor, synthesizer.propose_goals(number, rounds), partial(_solve, refiner), on_done=synthesizer.book,
            stop=synthesizer.spent, max_errors=max_errors, num_threads=num_threads,
            progress=f"{made} of {count} tasks" if progress else "",
        )  # fmt: skip
        synthesizer.take(ran, count)
        rounds += 1
        fruitless = 0 if len(synthesizer.made) > made else fruitless + 1
        if ran.stopped or len(synthesizer.made) >= count:
            stopped = ran.stopped or f"{count} tasks were made"
        elif fruitless >= patience:
            stopped = f"{patience} proposals in a row gave no new task"
    return Synthesis(synthesizer.made, synthesizer.report(stopped))


@dataclass
class _Synthesizer:
    """What one call of `synthesize` has proposed, spent and made by now."""

    refiner: Refiner
    shared: dict[str, Any]
    known: list[dict[str, Any]]
    budget: Budget
    ask: Propose
    ledger: Ledger = field(default_factory=Ledger)
    solving: Usage = Usage()
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    goals: list[dict[str, Any]] = field(default_factory=list)
    """All that were proposed; the latest stand last."""
    made: list[dspy.Example] = field(default_factory=list)

    def report(self, stopped: str) -> SynthesisReport:
        errors = tuple(f"{times} times: {error}" for error, times in self.errors.most_common())
        usage = self.ledger.usage + self.solving
        return SynthesisReport(**self.counts, coverage=self.coverage, usage=usage, stopped=stopped, errors=errors)

    def explore(self) -> None:
        session = self.refiner.session_factory.open(dspy.Example(**self.shared).with_inputs(*self.shared))
        try:
            with self.ledger.phase("explore"):
                sights = run_sync(explore(session, plain(self.shared), permit=self._permit))
            environment = session.environment
            self.catalogue = catalogue.render(
                session.toolbox, self.refiner.signature, policy=environment.policy, vocabulary=environment.vocabulary,
                known="",
            )  # fmt: skip
            self.coverage = Coverage(unused=tuple(session.toolbox.tools))
        finally:
            session.family.close()
        self.counts["explored"], self.seen = len(sights), report(sights)

    def _permit(self, reused: bool) -> None:
        self.ledger.check(Budget(tool_calls=self.budget.tool_calls, seconds=self.budget.seconds))
        self.ledger.tool_call(reused)

    def spent(self) -> str:
        """Which limit of the budget is reached; empty if none is."""
        phases = {**self.ledger.by_phase, "solve": self.solving}
        reached = Ledger(LedgerReport(phases=phases, seconds=self.ledger.elapsed)).spent(self.budget)
        return f"budget spent: {reached}" if reached else ""

    def propose_goals(self, number: int, rounds: int) -> list[dict[str, Any]]:
        """Goals that were not there before."""
        try:
            with self.ledger.phase("propose"):
                proposal = self.ask(
                    catalogue=self.catalogue,
                    seen=self.seen,
                    examples=self.known,
                    proposed=self.goals,
                    covered=self.coverage.to_prompt(),
                    number=number,
                    given=tuple(self.shared),
                    config=sample_config(rounds),
                )
        except (LMConfigurationError, LMAuthError):
            raise  # no later call would fare better
        except (LMError, AdapterParseError) as error:
            self.errors[f"propose: {_error_text(error)}"] += 1
            return []
        known = {_key(inputs) for inputs in (*self.known, *self.goals)}
        fresh: dict[str, dict[str, Any]] = {}
        for goal in ({**goal, **self.shared} for goal in proposal.goals):
            if _key(goal) not in known:
                fresh.setdefault(_key(goal), goal)
        self.counts["unreadable"] += proposal.unreadable
        self.counts["proposed"] += proposal.unreadable + len(proposal.goals)
        self.counts["repeated"] += len(proposal.goals) - len(fresh)
        self.goals += fresh.values()
        return [*fresh.values()]

    def book(self, position: int, solved: Solved) -> Solved:
        self.solving += solved.usage
        return solved

    def take(self, ran: Ran[Solved], count: int) -> None:
        """Keeps of the latest goals what adds to the tasks, in the order in which they were proposed."""
        for error in ran.errors.values():
            self.errors[_error_text(error)] += 1
            if isinstance(error, PlanningFailed) and isinstance(error.ledger, LedgerReport):
                self.solving += error.ledger.usage
        for position, solved in enumerate(ran.results):
            goal = self.goals[position - len(ran.results)]
            fate = "failed" if position in ran.errors else self._fate(solved, count)
            self.counts[fate] += 1
            if solved is not None and fate == "kept":
                self.coverage = self.coverage.with_calls(solved.calls)
                self.made.append(dspy.Example(**goal, **solved.outputs).with_inputs(*goal))

    def _fate(self, solved: Solved | None, count: int) -> str:
        if solved is None or len(self.made) >= count:
            return "left"
        redundant = self.coverage.with_calls(solved.calls) == self.coverage
        return solved.fate or ("redundant" if redundant else "kept")


def _solve(refiner: Refiner, goal: Mapping[str, Any]) -> Solved:
    """A run of the refiner, as little of it as is needed, for it may come from another process."""
    returned: Refined = refiner(**goal)
    result: Refined = by_own_names(returned)
    usage = result.ledger.usage
    if not result.requirements.items:
        return Solved("unchecked", usage)
    if not result.verified:
        return Solved("unverified", usage)
    ran = result.execution.by_step
    steps = [step for step in result.trajectory.steps if not step.is_submit]
    calls = tuple(step.tool for step in steps if ran[step.id].status in ("ok", "withheld"))
    outputs = {name: returned[name] for name in refiner.signature.output_fields}
    return Solved("", usage, calls, outputs)


def _key(inputs: Mapping[str, Any]) -> str:
    """Inputs by which two tasks are the same, whatever their spacing and capitals."""
    return " ".join(str(sorted(plain(dict(inputs)).items())).lower().split())


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
