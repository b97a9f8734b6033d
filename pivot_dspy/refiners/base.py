"""What every refiner shares: the phases, how it is called, and how its result is put together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from os import PathLike
from typing import Any, get_args

import dspy

from pivot_dspy.acceptance import Acceptance, validate_acceptance
from pivot_dspy.budget import Budget
from pivot_dspy.calibration.calibration import Calibration
from pivot_dspy.dspy_internals import AdapterParseError, LMAuthError, LMConfigurationError, LMError
from pivot_dspy.environment.factory import DEFAULT_TIMEOUT, EnvironmentLike, SessionFactory
from pivot_dspy.environment.from_functions import Effects
from pivot_dspy.environment.kept_reads import KeptReads
from pivot_dspy.episode.affordable import require_room_for_a_plan
from pivot_dspy.episode.asking import Gate, ModelFailed
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.commit_record import CommitRecord
from pivot_dspy.episode.context import TaskContext, orient, recall
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.events import Event, NoteEvent, UnclearEvent
from pivot_dspy.episode.final_state import EnvironmentView
from pivot_dspy.episode.outcome import result_of
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.episode.result import Refined
from pivot_dspy.episode.reviewing import Reviewing
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, PlanningFailed, ReviewAwaited
from pivot_dspy.flow import Flow, run_async, run_sync
from pivot_dspy.human.review import Reviewer, When, validate_reviewer
from pivot_dspy.loss import Weights
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.phases.compose import Compose
from pivot_dspy.phases.evolve import CACHED_PRICE, Evolve
from pivot_dspy.phases.inspect import Inspect
from pivot_dspy.phases.plan import Plan
from pivot_dspy.phases.settle import Audit, Settle
from pivot_dspy.phases.verify import Verify
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.refiners.arguments import (
    environment_of,
    list_requirements,
    read_budget,
    read_observation_budget,
    split_call,
    usable_signature,
)
from pivot_dspy.refiners.journalling import interrupted, journalled_call
from pivot_dspy.refiners.options import ConstructorSignature, unknown_parameter
from pivot_dspy.refiners.restarts import arun_once, run_once
from pivot_dspy.refiners.state import Tuned, check_real, check_state
from pivot_dspy.requirements import Requirement, normalize_requirements
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.trajectory import Trajectory
from pivot_dspy.verdict import Verdict

Search = Flow[tuple[Candidate, Verdict]]
"""A search on its way to the best candidate that was accepted, and the verdict on it."""


class Refiner(dspy.Module):  # type: ignore[misc]
    """A module that searches for a good trajectory for a task. Subclasses implement `search`.

    Args:
        signature: the task's inputs and outputs, as for `dspy.ReAct`.
        environment: an `Environment` class, a function that returns an instance (given the task, if it takes an
            argument), or an instance, which is then the real thing that commit acts on.
        tools: instead of an environment, what `dspy.ReAct(signature, tools)` takes.
        effects: of `tools`: one of `read`, `write`, `irreversible` for all, or a mapping by tool name; a tool whose
            effect is not declared writes.
        requirements: texts, records or `Requirement`s that every task must meet; the model never alters them.
        budget: the limits of one call of this module.
        acceptance: when a candidate replaces the incumbent; non-decreasing by default.
        weights: of the parts of the loss.
        observations: how many tokens of what was read a prompt shows, a result and a turn.
        cached_price: what a token costs that the provider serves from its cache of prompts, as a share of another
            (from 0 to 1): a rewrite goes on after the prompts before it, which then are cached, or stands alone,
            whichever costs less.
        constrained: whether every answer is asked for as JSON of a schema that is made from the tools, whatever adapter
            is set: for models too small to write plans in a form that is only told, behind a server that keeps to a
            schema (llama.cpp, vLLM, Ollama) or a service that does (OpenAI, Anthropic, Gemini).
        timeout: seconds that one tool call may take, None for no limit.
        on_event: called with each `Event` as it happens, in the thread of the call.
        reviewer: a person who is asked on the way: a callable or coroutine function from a `Review` to what to do (see
            `pivot_dspy.human`). What it pins, writes and requires is altered by no model.
        review: when it is asked: `never`; `plateau`, where nothing is left to try; `before_commit` (the default), there
            and where something could be made real; `each_round`, before each rewrite of `Pivot` too; or a function of
            the `Review`.
        review_timeout: seconds that an answer may take, after which the run goes on without one; None for no limit. No
            budget is spent meanwhile.
        journal: a folder where each call writes down, as JSON lines, what is finished: answers of models and people,
            and calls of a commit. The same call again, in another process too, or `resume()`, goes on from there: no
            model is asked what it has answered, and nothing that was made real is made again. A journal belongs to
            one refiner, as it is set up.

    Its `memory` is a `TrajectoryMemory`, empty until something was learned, of which the prompts that plan tell.

    Raises:
        ConfigurationError: something of this cannot work; the message names the remedy.

    A strategy of one's own is one generator, `search`, over the moves of an `Episode`:

    >>> class TwoPlans(Refiner):
    ...     def search(self, episode, start):
    ...         best = yield from episode.inspect((yield from self.opening(episode, start)))
    ...         if not best.loss.perfect:
    ...             best = episode.decide(best, (yield from episode.inspect((yield from episode.plan(rollout=1)))))
    ...         return best, (yield from episode.verify(best))
    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> TwoPlans("question -> answer: int", tools=[double], effects="read").signature.output_fields.keys()
    dict_keys(['answer'])
    """

    __signature__ = ConstructorSignature()

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        tools: Iterable[Callable[..., Any] | dspy.Tool] | None = None,
        effects: Effects = None,
        requirements: Iterable[Requirement | str | Mapping[str, Any]] = (),
        budget: Budget | None = None,
        acceptance: Acceptance | None = None,
        weights: Weights | None = None,
        observations: ObservationBudget | None = None,
        cached_price: float = CACHED_PRICE,
        constrained: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        on_event: Callable[[Event], None] | None = None,
        reviewer: Reviewer | None = None,
        review: When = "before_commit",
        review_timeout: float | None = None,
        journal: str | PathLike[str] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        if unknown:
            raise ConfigurationError(unknown_parameter(type(self), next(iter(unknown))))
        self.tuned = Tuned()
        self.signature = usable_signature(signature)
        self.session_factory = SessionFactory(environment_of(environment, tools, effects), timeout=timeout)
        self.session_factory.announce()
        self._required = list_requirements(requirements)
        if self.session_factory.toolbox is not None:
            normalize_requirements(self._required, self.session_factory.toolbox)
        self._budget = read_budget(budget) or Budget()
        self._acceptance = validate_acceptance(acceptance)
        self._weights = weights or Weights()
        self._observations = read_observation_budget(observations)
        check_real(0, 1, cached_price=cached_price)
        self._cached_price = cached_price
        self.constrained = constrained
        self._on_event = on_event
        validate_reviewer(reviewer, review, review_timeout)
        self.journal = journal
        self._reviewing = Reviewing(reviewer, review, review_timeout)
        self.calibration = Calibration()
        self.plan = Plan(self.signature)
        self.settle = Settle(self.signature)
        self.audit = Audit(self.signature)
        self.inspect = Inspect(self.signature)
        self.evolve = Evolve(self.signature)
        self.verify = Verify(self.signature)
        self.compose = Compose(self.signature)
        self.memory = TrajectoryMemory()

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        """The strategy: the best candidate that was accepted, and the verdict on it.

        Args:
            start: the trajectory that the caller gave to begin with, if one was.
        """
        yield from ()
        raise NotImplementedError(f"{type(self).__name__} has no search")

    def is_over(self, episode: Episode, best: Candidate | None) -> bool:
        """Whether nothing is left to gain, or the budget is spent."""
        return (best is not None and best.loss.perfect) or episode.spent()

    def opening(self, episode: Episode, start: Trajectory | None) -> Flow[Trajectory]:
        """The trajectory to begin with, its requirements settled: the given one, or a plan.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        if start is None:
            return (yield from episode.plan())
        if not episode.context.has_task_requirements:
            yield from episode.settle()
        return start

    def forward(self, **inputs: Any) -> Refined:
        """Refines one task: the signature's inputs, and by keyword `trajectory`, `requirements`, `commit`, `budget`.

        Where DSPy begins a slow task again beside the first attempt, as `dspy.Evaluate` does after two minutes, it gets
        the first one's result. Where an input field has the name of one of these, the option is called `pivot_NAME`.

        With `commit=True` a verified result is committed; a `provisional` one is not, for it needs `allow`.

        Raises:
            ConfigurationError: an input is missing or of the wrong kind, or the budget pays for no plan.
            PlanningFailed: the model gave no plan at all; what fails after the first plan stands in `failures`.
            EnvironmentFailed: no plan could be run, for the environment could not be opened again.
            LMAuthError, LMConfigurationError: neither did it, since it cannot be asked as it is set up.
            IsolationError: the run has changed what is real before anything was committed.
            CommitError: `commit=True`, and what was verified could not be made real.
            KeyboardInterrupt: before anything was run; later, Ctrl-C gives the best so far, unverified, and a second
                one comes through.
        """
        return run_once(self, inputs, lambda: run_sync(self._refine(inputs)))  # type: ignore[no-any-return]

    async def aforward(self, **inputs: Any) -> Refined:
        """As `forward`, awaited."""
        return await arun_once(self, inputs, lambda: run_async(self._refine(inputs)))  # type: ignore[no-any-return]

    def resume(self, run: str | None = None, **options: Any) -> Refined:
        """Go on with a run of the journal that was killed, or that waits for an answer.

        Args:
            run: name of its folder in the journal; not needed where only one is left.
            options: `commit` and `budget`, as of a call.

        Raises:
            ConfigurationError: the refiner has no journal, nothing or more than one is left, or what decides how the
                run goes is set up otherwise than it was; and what a call raises.
        """
        return self(**interrupted(self, run), **options)  # type: ignore[no-any-return]

    async def aresume(self, run: str | None = None, **options: Any) -> Refined:
        """`resume`, awaited."""
        return await self.acall(**interrupted(self, run), **options)  # type: ignore[no-any-return]

    def _refine(self, given: Mapping[str, Any]) -> Flow[Refined]:
        options, inputs = split_call(self.signature, given)
        return self._refine_task(inputs, **options)

    def _refine_task(
        self,
        inputs: dict[str, Any],
        *,
        trajectory: Trajectory | None = None,
        requirements: Iterable[Requirement | str | Mapping[str, Any]] = (),
        commit: bool = False,
        budget: Budget | None = None,
        _gate: Gate | None = None,
    ) -> Flow[Refined]:
        if trajectory is not None and not isinstance(trajectory, Trajectory):
            raise ConfigurationError(
                f"trajectory= takes a Trajectory, not {type(trajectory).__name__}; a chat log is read by "
                "Trajectory.from_messages(log)"
            )
        task_requirements = list_requirements(requirements)
        complete = self._complete_inputs(inputs)
        with journalled_call(self, complete, trajectory, task_requirements) as journal:
            record = RunRecord(read_budget(budget) or self._budget, self._on_event)
            context = TaskContext.open(
                self.session_factory,
                self.signature,
                complete,
                required=(*self._required, *task_requirements),
                has_task_requirements=bool(task_requirements),
                weights=self._weights,
                budget=self._observations,
                cached_price=self._cached_price,
                seconds=record.budget.seconds,
                run_id=None if journal is None else journal.run_id,
            )
            context.root.family.kept_reads = None if journal is None else KeptReads(journal)
            result, verdict = yield from self._refined(context, record, trajectory, journal, _gate)
        if commit and verdict.may_be_committed:
            yield from result._commit_once()
        return result

    def _refined(
        self,
        context: TaskContext,
        record: RunRecord,
        trajectory: Trajectory | None,
        journal: RunJournal | None,
        gate: Gate | None,
    ) -> Flow[tuple[Refined, Verdict]]:
        """The search in an open context, which is closed after it."""
        with context.root.family.watched():
            yield from orient(context, record)
            yield from recall(context, self.memory)
            episode = Episode(context, record, self, self._acceptance, gate, self._reviewing, journal)
            if context.root.family.tier != "fork" and self.session_factory.unsafe:
                episode.emit(NoteEvent(message=self.session_factory.unsafe))
            if trajectory is None:
                require_room_for_a_plan(episode.context, episode.record, episode.phases.plan)
            best, verdict = yield from self._run_search(episode, trajectory)
            final_state = EnvironmentView(best.run.session)
        for message in context.root.family.unclear:
            episode.emit(UnclearEvent(message=message))
        if journal is not None:
            journal.end(verdict.status, waiting=bool(episode.awaiting))
        kept = None if journal is None else CommitRecord(journal)
        return result_of(episode, best, verdict, self.session_factory, self.calibration, final_state, kept), verdict

    def _run_search(self, episode: Episode, start: Trajectory | None) -> Search:
        """`search`; the best so far where the model or the environment fails and the search does not go on without it.

        Raises:
            PlanningFailed, EnvironmentFailed: there is nothing yet that could be given back.
            LMAuthError, LMConfigurationError: neither is there, since the model cannot be asked as it is set up.
        """
        record = episode.record
        try:
            best, verdict = yield from self._search(episode, start)
            best, verdict = yield from episode.desk.conclude(best, verdict)
        except ReviewAwaited as waiting:
            if episode.best is None:  # a search of the user's own, which decides nothing
                raise
            best, verdict = episode.best, Verdict(status="unverified", reasons=(str(waiting),))
            episode.awaiting = (waiting.review,)
        except (ModelFailed, PlanningFailed, EnvironmentFailed, LMError, AdapterParseError) as error:
            if isinstance(error, EnvironmentFailed):
                record.end(str(error), error)
            if episode.best is None:
                if isinstance(record.cause, (LMAuthError, LMConfigurationError)):
                    raise record.cause from None
                if isinstance(error, ModelFailed):
                    raise PlanningFailed(str(error), record.ledger.snapshot()) from error.__cause__
                raise
            best = episode.best
            verdict = yield from episode.verify(best)
        except KeyboardInterrupt as error:
            # In a thread of its own it is no one's Ctrl-C, but ends the program that the thread works for.
            if episode.best is None or threading.current_thread() is not threading.main_thread():
                raise
            record.end("interrupted", error)
            best = episode.best
            verdict = yield from episode.verify(best)
        if record.ended is not None and not verdict.verified:
            verdict = verdict.model_copy(update={"reasons": (*verdict.reasons, record.ended)})
        return best, verdict

    def _search(self, episode: Episode, start: Trajectory | None) -> Search:
        """`search`, with a message for who writes one and forgets that moves are generators."""
        cause: AttributeError | None = None
        try:
            flow: Any = self.search(episode, start)
            if isinstance(flow, Generator):
                best, verdict = yield from flow
                return best, verdict
        except AttributeError as error:
            if "'generator' object" not in str(error):
                raise
            cause = error
        raise ConfigurationError(
            f"{type(self).__name__}.search is a generator, with `yield from` before each move of the episode but "
            "decide, as in `candidate = yield from episode.inspect(trajectory)`; here an ordinary function stands, or "
            "a move without it"
        ) from cause

    def _complete_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The task's inputs, with defaults for those that may be left out.

        Raises:
            ConfigurationError: one is missing, or unknown.
        """
        fields = self.signature.input_fields
        for name, field in fields.items():
            if not field.is_required():
                inputs.setdefault(name, field.get_default(call_default_factory=True))
            elif type(None) in get_args(field.annotation):
                inputs.setdefault(name, None)
        if inputs.keys() != fields.keys():
            differing = {"missing": [*fields.keys() - inputs.keys()], "unknown": [*inputs.keys() - fields.keys()]}
            problems = (f"{problem}: {', '.join(sorted(names))}" for problem, names in differing.items() if names)
            raise ConfigurationError(f"{type(self).__name__} takes {', '.join(fields)}; {'; '.join(problems)}")
        return inputs

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """As of any module.

        Raises:
            ConfigurationError: the state is that of another program, or damaged.
        """
        check_state(self, state)
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)
