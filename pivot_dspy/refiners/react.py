"""ReAct: think, call a tool, read what it gave, until done: the plain loop, with the prompts of `dspy.ReAct`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from pydantic_core import to_jsonable_python
from typing_extensions import Unpack

from pivot_dspy.bindings import literal
from pivot_dspy.dspy_internals import AdapterParseError, ContextWindowExceededError, TextReAct, current_adapter
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.environment.session import Forkable, Session
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError, PlanningFailed, error_text
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Flow
from pivot_dspy.loss import Loss
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import RefinerOptions, Search
from pivot_dspy.refiners.state import check_range
from pivot_dspy.requirements import BINDING_ORIGINS
from pivot_dspy.trajectory import SUBMIT, Execution, Observation, Step, Trajectory

WITHHELD = "This waits for commit: it is on record, was not run yet, and has no result to go by."

UNREADABLE_RETRY = 1000
"""The rollout id of a prompt whose first answer could not be read."""


class RecordedAgent:
    """The calls that one agent's loop makes, as steps with literal arguments, each made once, in one session."""

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
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
            trajectory=Trajectory(steps=tuple(self.steps), operator="react"),
            observations=tuple(self._observations),
            tier=self._session.family.tier,
            missing_outputs=tuple(self.episode.context.outputs),
        )
        run = ExecutedRun(execution, self._session, self._before)
        return Candidate(run, Inspection(execution=execution, loss=Loss(total=1.0)))  # it is never compared

    def call(self, tool: str, args: Mapping[str, Any], why: str | None) -> Flow[Any]:
        """One call of a tool; gives what the model is told of it."""
        try:
            arguments = literal(plain(dict(args)))
        except ValueError as error:
            return f"Execution error in {tool}: the arguments have no JSON form: {error}"
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
            value = observation.value if observation.ok else WITHHELD
            return value if isinstance(value, str) else compact_json(value)
        if run.before and not self.over:
            self._go_back(run.before[0])
        if observation.fault is None:
            return f"{tool} was not run: the budget is spent."
        expected = f"; expected {observation.fault.expected}" if observation.fault.expected else ""
        return f"Execution error in {tool}: {observation.fault.message}{expected}"

    def _go_back(self, before: Forkable) -> None:
        """Go on from where the environment stood before a call that failed."""
        try:
            self._session = before.fork()
        except Exception as error:
            self.episode.record.warn(f"the loop ends, since the environment cannot be copied: {error_text(error)}")
            self._session, self.over = before if isinstance(before, Session) else self._session, True


def describe_tools(toolbox: Toolbox) -> list[dspy.Tool]:
    """The tools as `dspy.ReAct` lists them in its prompt; they are not to be called."""
    return [
        dspy.Tool(
            spec.invoke,
            name=spec.name,
            desc=spec.description,
            args={name: _schema(spec, name) for name in spec.parameters},
            arg_types={},
        )
        for spec in toolbox.tools.values()
    ]


def _schema(spec: ToolSpec, name: str) -> dict[str, Any]:
    """The JSON schema of a parameter, with its default: one without is required."""
    schema = {key: value for key, value in spec.parameters[name].items() if key != "title"}
    if name not in spec.required:
        schema.setdefault("default", to_jsonable_python(spec.defaults.get(name), fallback=repr, inf_nan_mode="null"))
    return schema


_FINISH = "finish"
_KEYS_OF_A_CALL = 4
"""In the loop's history: thought, name, arguments and observation."""
_TAKEN = {"max_iters", "next_thought", "next_tool_name", "next_tool_args", "signature", "reasoning"}
_CONTEXT_FIELDS = {
    "policy": "what always holds here",
    "lessons": "from earlier tasks",
    "known": "already read; no need to call it again",
    "user_requirements": "what has to hold in the end",
}


class ReAct(Attempts):
    """Interleave thoughts, tool calls and observations; then extract the outputs. The floor: nothing is refined.

    Source: ReAct (arXiv 2210.03629) as `dspy.ReAct` of DSPy 3.4, with its prompts; `dspy.ReActV2` needs native tool
    calls, which not every model has. The calls that succeeded, with literal arguments, and a submit of the extracted
    outputs become a trajectory that is measured, verified and committed like any other; a call that failed is told to
    the model and is no part of it. Where the environment forks, no call is made twice before verification.
    Ours departs from the source in that requirements are settled first, by one call of the model that the loop does
    not see (charged as `plan`), since without them nothing can be measured; that the prompt tells the policy, lessons
    of earlier tasks, the orientation and the user's requirements, as PLAN's does; that a tool that may not run before
    commit answers so; that an answer that cannot be read is asked for once more; and that the budget ends the loop.

    Args:
        max_iters: calls of tools at most; 20 as in `dspy.ReAct`.

    The remaining arguments are those of `Refiner`. A `trajectory` that is given is run first; the loop begins only if
    it falls short, from the start, and the better one is returned.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: no requirements, or neither a call nor an answer came from the model.
    """

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        max_iters: int = 20,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, max_iters=max_iters)
        super().__init__(signature, environment, **options)
        for name in self.signature.fields.keys() & _TAKEN:
            raise ConfigurationError(f"the signature's field {name!r} has a name that dspy.ReAct uses; rename it")
        self.max_iters = max_iters
        # What optimizers see and files hold; the loop of a call is made anew, over what is known by then.
        agent = self._agent(self.session_factory.toolbox or Toolbox(()), {})
        self.react = agent.react
        self.extract = agent.extract
        self._written = self.react.signature.instructions, self.extract.predict.signature.instructions

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
        agent_run = RecordedAgent(episode)
        submits: tuple[Step, ...] = ()
        try:
            prediction = yield from self._loop(episode, agent_run)
            if prediction is not None:
                written = {name: prediction.get(name) for name in episode.context.outputs}
                outputs = {name: literal(plain(value)) for name, value in written.items() if value is not None}
                submits = (Step(id=SUBMIT, tool=SUBMIT, args=outputs),)
        except ModelFailed:
            if not agent_run.steps:
                raise
        trajectory = Trajectory(steps=(*agent_run.steps, *submits), operator="react")
        return (yield from self.run(episode, trajectory, agent_run.candidate()))

    def _loop(self, episode: Episode, agent_run: RecordedAgent) -> Flow[dspy.Prediction | None]:
        """The calls of the loop, then the outputs; None where it may ask no more before it has them."""
        context = episode.context
        required = [item.to_prompt() for item in context.requirements.items if item.origin in BINDING_ORIGINS]
        texts = {
            "policy": context.catalogue.policy,
            "lessons": context.tell(context.recalled.advice, context.recalled.in_words),
            "known": context.catalogue.known,
            "user_requirements": "\n".join(required),
        }
        context_fields = {name: text for name, text in texts.items() if text}
        agent = self._agent(context.toolbox, context_fields)
        inputs = {**context_fields, **context.inputs}
        history: dict[str, Any] = {}
        acting = self._with_learned(agent.react.signature, 0)
        extracting = self._with_learned(agent.extract.predict.signature, 1)
        for number in range(self.max_iters):
            prediction = yield from _ask(episode, "act", self.react, history, signature=acting, **inputs)
            if prediction is None:
                return None
            tool = prediction.next_tool_name
            history[f"thought_{number}"] = prediction.next_thought
            history[f"tool_name_{number}"] = tool
            history[f"tool_args_{number}"] = prediction.next_tool_args
            if tool == _FINISH:
                history[f"observation_{number}"] = "Completed."
                break
            thought = str(prediction.next_thought or "") or None
            history[f"observation_{number}"] = yield from agent_run.call(tool, prediction.next_tool_args, thought)
            if agent_run.over:
                return None
        return (yield from _ask(episode, "extract", self.extract, history, signature=extracting, **inputs))

    def _agent(self, toolbox: Toolbox, context_fields: dict[str, str]) -> TextReAct:
        """What asks over `toolbox`, with prompts that begin with the inputs in `context_fields`."""
        if _FINISH in toolbox.tools:
            raise ConfigurationError(f"a tool is called {_FINISH!r}, which ends dspy.ReAct's loop; rename the tool")
        signature = self.signature
        for position, name in enumerate(context_fields):
            signature = signature.insert(position, name, dspy.InputField(desc=_CONTEXT_FIELDS[name]), str)
        return TextReAct(signature, describe_tools(toolbox), max_iters=self.max_iters)

    def _with_learned(self, signature: Any, index: int) -> Any:
        """`signature` with the instructions that an optimizer wrote, if one did."""
        mine = (self.react, self.extract.predict)[index].signature.instructions
        if mine == self._written[index]:
            return signature
        if self.session_factory.toolbox is None:
            raise ConfigurationError(
                "the instructions of this ReAct were rewritten before its tools were known; give its environment as a "
                "class, or annotate what the function that makes it returns, and compile again"
            )
        return signature.with_instructions(mine)


def _ask(
    episode: Episode, phase: str, predict: dspy.Module, history: dict[str, Any], /, **inputs: Any
) -> Flow[dspy.Prediction | None]:
    """One call of the model, made again where its answer cannot be read, or without the oldest calls where the prompt
    is too long; None where the budget is spent. Raises ModelFailed where it gave nothing usable."""
    rollout = 0
    while not episode.spent():
        form = dspy.Signature(f"{', '.join(history)} -> x")
        inputs |= {"trajectory": current_adapter().format_user_message_content(form, history)}
        try:
            return (yield from episode.ask(phase, predict, **inputs, config=sample_config(rollout) or {}))
        except ModelFailed as failure:
            if isinstance(failure.__cause__, ContextWindowExceededError) and len(history) > _KEYS_OF_A_CALL:
                for key in [*history][:_KEYS_OF_A_CALL]:
                    del history[key]
                episode.record.failures_in_a_row = 0  # what is asked next is another, shorter question
            elif isinstance(failure.__cause__, AdapterParseError) and not rollout:
                rollout = UNREADABLE_RETRY
            else:
                raise
    return None
