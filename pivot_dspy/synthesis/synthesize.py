"""New training tasks for an environment: goals are proposed, solved by a refiner, and kept where they add something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import dspy

from pivot_dspy.budget import Budget, Ledger, LedgerReport, Usage
from pivot_dspy.dspy_internals import AdapterParseError, LMAuthError, LMConfigurationError, LMError
from pivot_dspy.episode.asking import sample_config
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import run_sync
from pivot_dspy.optimizer.parallel import run_all
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
    """Verified, which means nothing, as nothing was required."""
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
        num_threads: goals solved at a time; DSPy's setting, if None. `executor` may be any
            `concurrent.futures.Executor` instead.
        progress: whether to show a bar.
        propose: the phase that asks the model, if it was tuned; one with the refiner's model, if None.

    Raises:
        ConfigurationError: an argument cannot work, or the environment cannot be opened for the inputs in `shared`.
        LMAuthError, LMConfigurationError: the model cannot be reached.
    """
    return _Synthesizer(refiner, shared or {}, examples, budget or Budget(), propose).run(
        count, number, patience, max_errors=max_errors, num_threads=num_threads, executor=executor, progress=progress
    )


class _Synthesizer:
    def __init__(
        self,
        refiner: Refiner,
        shared: Mapping[str, Any],
        examples: Sequence[dspy.Example],
        budget: Budget,
        propose: Propose | None,
    ) -> None:
        if not isinstance(refiner, Refiner):
            raise ConfigurationError(f"synthesize takes a refiner such as Pivot(...), not {refiner!r:.80}")
        fields = refiner.signature.input_fields
        unknown = [name for name in shared if name not in fields]
        if unknown or not set(fields) - set(shared):
            raise ConfigurationError(
                f"shared= holds some inputs of the signature ({', '.join(fields)}), and leaves at least one to be "
                f"proposed; got {', '.join(shared)}"
            )
        self.refiner, self.shared, self.budget = refiner, dict(shared), budget
        self.known = [{name: example[name] for name in fields if name in example} for example in examples]
        self.ledger = Ledger()
        self.solving = Usage()
        if propose is None:
            propose = Propose(refiner.signature)
            propose.set_lm(refiner.plan.predict.lm)
        self.propose = propose
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.proposed: list[dict[str, Any]] = []
        self.made: list[dspy.Example] = []

    def run(self, count: int, number: int, patience: int, **running: Any) -> Synthesis:
        for name, value in (("count", count), ("number", number), ("patience", patience)):
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"{name} is a whole number of at least 1; got {value!r:.80}")
        self._explore()
        stopped, fruitless, rounds = self.spent(), 0, 0
        while not stopped:
            goals = self._proposals(number, rounds)
            rounds += 1
            before = len(self.made)
            stopped = self._solve(goals, count, **running)
            fruitless = 0 if len(self.made) > before else fruitless + 1
            if not stopped and fruitless >= patience:
                stopped = f"{patience} proposals in a row gave no new task"
        errors = tuple(f"{times} times: {error}" for error, times in self.errors.most_common())
        return Synthesis(
            self.made,
            SynthesisReport(
                **self.counts, kept=len(self.made), coverage=self.coverage, explored=self.explored,
                usage=self.ledger.usage + self.solving, stopped=stopped, errors=errors,
            ),
        )  # fmt: skip

    def _explore(self) -> None:
        task = dspy.Example(**self.shared).with_inputs(*self.shared)
        session = self.refiner.session_factory.open(task)
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
        self.explored, self.seen = len(sights), report(sights)

    def _permit(self, reused: bool) -> None:
        self.ledger.check(Budget(tool_calls=self.budget.tool_calls, seconds=self.budget.seconds))
        self.ledger.tool_call(reused)

    def spent(self) -> str:
        """Which limit of the budget is reached; empty if none is."""
        phases = {**self.ledger.by_phase, "solve": self.solving}
        reached = Ledger(LedgerReport(phases=phases, seconds=self.ledger.elapsed)).spent(self.budget)
        return f"budget spent: {reached}" if reached else ""

    def _proposals(self, number: int, rounds: int) -> list[dict[str, Any]]:
        """Goals that were not there before."""
        try:
            with self.ledger.phase("propose"):
                proposal = self.propose(
                    catalogue=self.catalogue,
                    seen=self.seen,
                    examples=self.known,
                    proposed=self.proposed,
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
        self.counts["unreadable"] += proposal.unreadable
        self.counts["proposed"] += proposal.unreadable + len(proposal.goals)
        known = {_key(inputs) for inputs in (*self.known, *self.proposed)}
        fresh: dict[str, dict[str, Any]] = {}
        for goal in proposal.goals:
            inputs = {**goal, **self.shared}
            if _key(inputs) not in known:
                fresh.setdefault(_key(inputs), inputs)
        self.counts["repeated"] += len(proposal.goals) - len(fresh)
        self.proposed += fresh.values()
        return list(fresh.values())

    def _solve(self, goals: list[dict[str, Any]], count: int, **running: Any) -> str:
        """Solves the goals and keeps what adds to the tasks, in the order in which they were proposed."""
        bar = f"{len(self.made)} of {count} tasks" if running.pop("progress") else ""
        ran = run_all(
            running.pop("executor"), goals, partial(_solve, self.refiner), on_done=self._book, stop=self.spent,
            progress=bar, **running,
        )  # fmt: skip
        for error in ran.errors.values():
            self.errors[_error_text(error)] += 1
            spent = getattr(error, "ledger", None)  # of a PlanningFailed
            if isinstance(spent, LedgerReport):
                self.solving += spent.usage
        self.counts["failed"] += len(ran.errors)
        for position, (goal, solved) in enumerate(zip(goals, ran.results, strict=True)):
            if position in ran.errors:
                continue
            if solved is None or len(self.made) >= count:
                self.counts["left"] += 1
            elif solved.fate:
                self.counts[solved.fate] += 1
            else:
                self._keep(goal, solved)
        return ran.stopped or (f"{count} tasks were made" if len(self.made) >= count else "")

    def _book(self, position: int, solved: Solved) -> Solved:
        self.solving += solved.usage
        return solved

    def _keep(self, goal: dict[str, Any], solved: Solved) -> None:
        wider = self.coverage.with_calls(solved.calls)
        if wider == self.coverage:
            self.counts["redundant"] += 1
            return
        self.coverage = wider
        self.made.append(dspy.Example(**goal, **solved.outputs).with_inputs(*goal))


def _solve(refiner: Refiner, goal: Mapping[str, Any]) -> Solved:
    """A run of the refiner, as little of it as is needed, for it may come from another process."""
    result: Refined = refiner(**goal)
    usage = result.ledger.usage
    if not result.verified:
        return Solved("unverified", usage)
    if not result.requirements.items:
        return Solved("unchecked", usage)
    ran = result.execution.by_step
    steps = [step for step in result.trajectory.steps if not step.is_submit]
    calls = tuple(step.tool for step in steps if ran[step.id].status in ("ok", "withheld"))
    outputs = {name: result[name] for name in refiner.signature.output_fields}
    return Solved("", usage, calls, outputs)


def _key(inputs: Mapping[str, Any]) -> str:
    """Inputs by which two tasks are the same, whatever their spacing and capitals."""
    return " ".join(str(sorted(plain(dict(inputs)).items())).lower().split())


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
