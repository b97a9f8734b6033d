"""ReAct: think, call a tool, read what it gave, until done: the plain loop, over `dspy.ReAct`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dspy
from typing_extensions import Unpack

from pivot_dspy.bindings import literal
from pivot_dspy.dspy_internals import AdapterParseError, ContextWindowExceededError, TextReAct
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Await, Flow, run_async, run_sync
from pivot_dspy.loss import Loss
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.refiners.base import Attempts, RefinerOptions, Search
from pivot_dspy.refiners.state import check_range
from pivot_dspy.requirements import BINDING_ORIGINS
from pivot_dspy.trajectory import SUBMIT, Execution, Observation, Step, Trajectory

WITHHELD = "This waits for commit: it is on record, was not run yet, and has no result to go by."

UNREADABLE_RETRY = 1000
"""The rollout id of a prompt whose first answer could not be read."""


class Stopped(Exception):
    """The loop may ask no more: the budget is spent, or the environment cannot go on."""


class RecordedAgent:
    """The calls that one agent's loop makes, as steps with literal arguments, each made once, in one session.

    Attributes:
        steps: the calls that gave a result or wait for commit. What a failed one did is dropped where the environment
            forks, so that the steps alone lead to where the session stands.
        error: what no answer to the model can mend; the loop must not swallow it.
    """

    def __init__(self, episode: Episode) -> None:
        self.episode = episode
        self.steps: list[Step] = []
        self.error: Exception | None = None
        self._observations: list[Observation] = []
        self._before: dict[int, Session] = {}
        self._over = False
        self._thought = ""
        root = episode.context.root
        self._session = root.fork() if root.family.tier == "fork" else episode.context.reopen()

    def tool(self, spec: ToolSpec) -> Callable[..., Any]:
        """What stands for a tool in the loop; it gives what the model is told of the call."""
        return _FlowCall(lambda **args: self._keeping_error(self._call_tool(spec, args)))

    def predictor(self, phase: str, predict: dspy.Module, signature: Any) -> Callable[..., Any]:
        """What stands for a predictor in the loop: `predict`, asked with `signature`."""
        return _FlowCall(lambda **inputs: self._ask(phase, predict, {**inputs, "signature": signature}))

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

    def _ask(self, phase: str, predict: dspy.Module, inputs: Mapping[str, Any]) -> Flow[dspy.Prediction]:
        """One call of the model; a second one where the answer cannot be read.

        Raises:
            Stopped: it may not be made.
            ModelFailed: it gave nothing usable.
            ContextWindowExceededError: the prompt is too long, which the loop knows how to shorten.
        """
        for rollout in (0, UNREADABLE_RETRY):
            if self.error is not None:
                raise self.error
            if self._over or self.episode.spent():
                raise Stopped
            try:
                prediction = yield from self.episode.ask(phase, predict, **inputs, config=sample_config(rollout) or {})
            except ModelFailed as failure:
                if isinstance(failure.__cause__, ContextWindowExceededError):
                    raise failure.__cause__ from None
                if rollout or not isinstance(failure.__cause__, AdapterParseError):
                    raise
            else:
                self._thought = str(prediction.get("next_thought") or "")
                return prediction
        raise Stopped

    def _keeping_error(self, flow: Flow[Any]) -> Flow[Any]:
        """`flow`, whose error is kept: the loop takes what a tool raises for an observation."""
        try:
            return (yield from flow)
        except Exception as error:
            self.error = error
            raise

    def _call_tool(self, spec: ToolSpec, args: Mapping[str, Any]) -> Flow[Any]:
        try:
            arguments = literal(plain(dict(args)))
        except ValueError as error:
            return f"Execution error in {spec.name}: the arguments have no JSON form: {error}"
        step = Step(id=f"c{len(self.steps) + 1}", tool=spec.name, args=arguments, why=self._thought or None)
        with self.episode.record.ledger.phase("act"):
            run = yield from execute(Trajectory(steps=(step,)), self._session, permit=self.episode.record.permit)
        observation = run.execution.observations[0]
        self._session = run.session
        self._over = run.reach is not None
        if observation.status in ("ok", "withheld"):
            if run.before:
                self._before[len(self.steps)] = run.before[0]
            self.steps.append(step)
            self._observations.append(observation)
            if not observation.ok:
                return WITHHELD
            return observation.value if isinstance(observation.value, str) else compact_json(observation.value)
        if run.before and not self._over:
            self._session = run.before[0].fork()
        if observation.fault is None:
            return f"{spec.name} was not run: the budget is spent."
        expected = f"; expected {observation.fault.expected}" if observation.fault.expected else ""
        return f"Execution error in {spec.name}: {observation.fault.message}{expected}"


class _FlowCall:
    """What stands for a tool or a predictor in the loop, which calls or awaits it: a flow, made anew each time."""

    def __init__(self, flow: Callable[..., Flow[Any]]) -> None:
        self._flow = flow

    def __call__(self, /, **inputs: Any) -> Any:
        return run_sync(self._flow(**inputs))

    async def acall(self, /, **inputs: Any) -> Any:
        return await run_async(self._flow(**inputs))


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
    if name not in spec.required and "default" not in schema:
        try:
            schema["default"] = plain(spec.defaults.get(name))
        except ValueError:
            schema["default"] = repr(spec.defaults[name])
    return schema


_FINISH = "finish"
_TAKEN = {"max_iters", "next_thought", "next_tool_name", "next_tool_args", "signature", "reasoning"}
_CONTEXT_FIELDS = {
    "policy": "what always holds here",
    "lessons": "from earlier tasks",
    "known": "already read; no need to call it again",
    "user_requirements": "what has to hold in the end",
}


class ReAct(Attempts):
    """Interleave thoughts, tool calls and observations; then extract the outputs. The floor: nothing is refined.

    Source: ReAct (arXiv 2210.03629) as `dspy.ReAct` of DSPy 3.4, which runs the loop and writes its prompts;
    `dspy.ReActV2` needs native tool calls, which not every model has. The calls that succeeded, with literal arguments,
    and a submit of the extracted outputs become a trajectory that is measured, verified and committed like any other; a
    call that failed is told to the model and is no part of it. Where the environment forks, no call is made twice
    before verification.
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

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> ReAct("question -> answer: int", tools=[double], effects="read").max_iters
    20
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
        context, agent_run = episode.context, RecordedAgent(episode)
        required = [item.to_prompt() for item in context.requirements.items if item.origin in BINDING_ORIGINS]
        texts = {
            "policy": context.catalogue.policy,
            "lessons": context.tell(context.recalled.advice, context.recalled.in_words),
            "known": context.catalogue.known,
            "user_requirements": "\n".join(required),
        }
        context_fields = {name: text for name, text in texts.items() if text}
        agent = self._agent(context.toolbox, context_fields)
        agent.tools |= {spec.name: agent_run.tool(spec) for spec in context.toolbox.tools.values()}
        agent.react = agent_run.predictor("act", self.react, self._with_learned(agent.react.signature, 0))
        extracting = self._with_learned(agent.extract.predict.signature, 1)
        agent.extract = agent_run.predictor("extract", self.extract, extracting)
        inputs = {**context_fields, **context.inputs}
        submits: list[Step] = []
        try:
            prediction = yield Await(lambda: agent(**inputs), lambda: agent.acall(**inputs))
            written = {name: prediction.get(name) for name in context.outputs}
            outputs = {name: literal(plain(value)) for name, value in written.items() if value is not None}
            submits = [Step(id=SUBMIT, tool=SUBMIT, args=outputs)]
        except Stopped:
            pass  # what was done until then counts
        except ModelFailed:
            if not agent_run.steps:
                raise
        if agent_run.error is not None:
            raise agent_run.error
        trajectory = Trajectory(steps=(*agent_run.steps, *submits), operator="react")
        return (yield from self.run(episode, trajectory, agent_run.candidate()))

    def _agent(self, toolbox: Toolbox, context_fields: dict[str, str]) -> TextReAct:
        """The loop over `toolbox`, whose prompts begin with the inputs in `context_fields`."""
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
