"""What the refiners share that let the model act, and look at what each of its acts gave before the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.bindings import literal
from pivot_dspy.dspy_internals import AdapterParseError, ContextWindowExceededError, current_adapter
from pivot_dspy.environment.session import Forkable, Session
from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed, error_text
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Flow
from pivot_dspy.loss import Loss
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.requirements import BINDING_ORIGINS
from pivot_dspy.trajectory import SUBMIT, Execution, Observation, Step, Trajectory

WITHHELD = "This waits for commit: it is on record, was not run yet, and has no result to go by."

UNREADABLE_RETRY = 1000
"""The rollout id of a prompt whose first answer could not be read."""


CONTEXT_FIELDS = {
    "policy": "what always holds here",
    "lessons": "from earlier tasks",
    "known": "already read; no need to call it again",
    "user_requirements": "what has to hold in the end",
}
"""Input fields of a loop's prompts beside the task's own, each with what the prompt says of it."""


class CallFailed(Exception):
    """A call gave no result, and is no part of what was done."""


class RecordedAgent:
    """The calls that one agent's loop makes, as steps with literal arguments, each made once, in one session.

    Args:
        operator: what the trajectories are made by.
    """

    def __init__(self, episode: Episode, operator: str) -> None:
        self.episode = episode
        self.operator = operator
        self.steps: list[Step] = []
        """The calls that gave a result or wait for commit. What a failed one did is dropped where the environment
        forks, so that the steps alone lead to where the session stands."""
        self.over = False
        """Whether the environment cannot go on, or the budget pays for no call."""
        self._observations: list[Observation] = []
        self._before: dict[int, Forkable] = {}
        self._session, _ = episode.session_for(Trajectory(), None)

    def candidate(self) -> Candidate | None:
        """The calls as a run that one with more steps can start from; None where there are none."""
        if not self.steps:
            return None
        execution = Execution(
            trajectory=Trajectory(steps=tuple(self.steps), operator=self.operator),
            observations=tuple(self._observations),
            tier=self._session.family.tier,
            missing_outputs=tuple(self.episode.context.outputs),
        )
        run = ExecutedRun(execution, self._session, self._before)
        return Candidate(run, Inspection(execution=execution, loss=Loss(total=1.0)))  # it is never compared

    def call(self, tool: str, args: Mapping[str, Any], why: str | None) -> Flow[Any]:
        """One call of a tool; its result, or `WITHHELD`.

        Raises:
            CallFailed: it gave none; the message says why.
        """
        try:
            arguments = literal(plain(dict(args)))
        except ValueError as error:
            raise CallFailed(f"the arguments have no JSON form: {error}") from error
        step = Step(id=f"c{len(self.steps) + 1}", tool=tool, args=arguments, why=why)
        with self.episode.record.ledger.phase("act"):
            run = yield from execute(Trajectory(steps=(step,)), self._session, permit=self.episode.record.permit)
        observation = run.execution.observations[0]
        self._session, self.over = run.session, run.reach is not None
        if observation.status in ("ok", "withheld"):
            if run.before:
                self._before[len(self.steps)] = run.before[0]
            self.steps.append(step)
            self._observations.append(observation)
            return observation.value if observation.ok else WITHHELD
        if run.before and not self.over:
            self._go_back(run.before[0])
        raise CallFailed(_failure(observation))

    def submit_step(self, outputs: Mapping[str, Any]) -> Flow[Step]:
        """The step that submits `outputs`; those that are left out are composed in the end.

        Raises:
            CallFailed: they are not of the types that the signature asks for; the message says which.
        """
        try:
            step = Step(id=SUBMIT, tool=SUBMIT, args=literal(plain(dict(outputs))))
        except ValueError as error:
            raise CallFailed(f"the arguments have no JSON form: {error}") from error
        run = yield from execute(Trajectory(steps=(step,)), self._session, outputs=self.episode.context.outputs)
        observation = run.execution.observations[0]
        if not observation.ok:
            raise CallFailed(_failure(observation))
        return step

    def _go_back(self, before: Forkable) -> None:
        """Go on from where the environment stood before a call that failed."""
        try:
            self._session = before.fork()
        except Exception as error:
            self.episode.record.warn(f"the loop ends, since the environment cannot be copied: {error_text(error)}")
            self._session, self.over = before if isinstance(before, Session) else self._session, True


def _failure(observation: Observation) -> str:
    """Why a call gave no result."""
    if observation.fault is None:
        return "the budget is spent"
    expected = f"; expected {observation.fault.expected}" if observation.fault.expected else ""
    return f"{observation.fault.message}{expected}"


class ActingLoop(Attempts):
    """A refiner whose model acts in a session, turn by turn. Subclasses implement `loop`."""

    operator: str
    """What its trajectories are made by."""

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        best: Candidate | None = None
        if start is not None:
            first = yield from self.opening(episode, start)
            best = episode.decide(None, (yield from self.run(episode, first)))
        elif not episode.context.has_task_requirements:
            yield from episode.settle()
        if best is None or not self.is_over(episode, best):
            try:
                candidate = yield from self._act(episode)
            except ModelFailed as failure:
                if best is None:
                    raise PlanningFailed(f"no call: {failure}", episode.record.ledger.snapshot()) from failure.__cause__
            else:
                best = episode.decide(best, candidate)
        return best, (yield from episode.verify(best))

    def _act(self, episode: Episode) -> Flow[Candidate]:
        """What the loop came to, run and measured.

        Raises:
            ModelFailed: the model gave nothing usable before anything was done.
        """
        agent_run = RecordedAgent(episode, self.operator)
        submits: tuple[Step, ...] = ()
        try:
            submit = yield from self.loop(episode, agent_run)
            submits = () if submit is None else (submit,)
        except ModelFailed:
            if not agent_run.steps:
                raise
        trajectory = Trajectory(steps=(*agent_run.steps, *submits), operator=self.operator)
        return (yield from self.run(episode, trajectory, agent_run.candidate()))

    def loop(self, episode: Episode, agent_run: RecordedAgent) -> Flow[Step | None]:
        """The acts, all by `agent_run`, then the step that submits; None where it ends before.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        yield from ()
        raise NotImplementedError(f"{type(self).__name__} has no loop")


def context_texts(context: TaskContext) -> dict[str, str]:
    """What there is to say in the `CONTEXT_FIELDS`; empty where there is nothing."""
    required = [item.to_prompt() for item in context.requirements.items if item.origin in BINDING_ORIGINS]
    return {
        "policy": context.catalogue.policy,
        "lessons": context.tell(context.recalled.advice, context.recalled.in_words),
        "known": context.catalogue.known,
        "user_requirements": "\n".join(required),
    }


def ask_with_history(
    episode: Episode, phase: str, predict: dspy.Module, history: dict[str, Any], keys: int, /, **inputs: Any
) -> Flow[dspy.Prediction | None]:
    """One call of the model, made again where its answer cannot be read, or without the oldest turns where the prompt
    is too long; None where the budget is spent.

    Args:
        history: the turns so far, by field; those that were too much are taken out of it.
        keys: how many fields a turn has.

    Raises:
        ModelFailed: it gave nothing usable.
    """
    rollout = 0
    while not episode.spent():
        form = dspy.Signature(f"{', '.join(history)} -> x")
        inputs |= {"trajectory": current_adapter().format_user_message_content(form, history)}
        try:
            return (yield from episode.ask(phase, predict, **inputs, config=sample_config(rollout) or {}))
        except ModelFailed as failure:
            if isinstance(failure.__cause__, ContextWindowExceededError) and len(history) > keys:
                for key in [*history][:keys]:
                    del history[key]
                episode.record.failures_in_a_row = 0  # what is asked next is another, shorter question
            elif isinstance(failure.__cause__, AdapterParseError) and not rollout:
                rollout = UNREADABLE_RETRY
            else:
                raise
    return None
