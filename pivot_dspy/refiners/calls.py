"""What an agent's own loop asks and does: each call of the model booked, each call of a tool made in a safe session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError

from pivot_dspy import digest
from pivot_dspy._drive import Steps, adrive, drive
from pivot_dspy._json import plain
from pivot_dspy.bindings import literal
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.execution import Run, execute
from pivot_dspy.loss import Loss
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.refiners.episode import Candidate, Episode, ModelFailed, sampled
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

WITHHELD = "This waits for commit: it is on record, was not run yet, and has no result to go by."


class Stopped(Exception):
    """The loop may ask no more: the budget is spent, or the environment cannot go on."""


class Calls:
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
        self._awaiting = False
        self._thought = ""
        root = episode.root
        self._session = root.fork() if root.family.tier == "fork" else episode.source.reopen(root, episode.task)

    async def awaited(self, agent: dspy.Module, inputs: Mapping[str, Any]) -> Any:
        """The agent's answer; its tools are awaited too."""
        self._awaiting = True
        return await agent.acall(**inputs)

    def tool(self, spec: ToolSpec) -> Callable[..., Any]:
        """What stands for a tool in the loop."""
        return _Call(self, spec)

    def asked(self, phase: str, predict: dspy.Module, signature: Any) -> Callable[..., Any]:
        """What stands for a predictor in the loop: `predict`, asked with `signature`."""
        return _Asked(self, phase, predict, signature)

    def candidate(self) -> Candidate | None:
        """The calls as a run that one with more steps can start from; None where there are none."""
        if not self.steps:
            return None
        execution = Execution(
            trajectory=Trajectory(steps=tuple(self.steps), operator="react"),
            observations=tuple(self._observations),
            tier=self._session.family.tier,
            missing_outputs=tuple(self.episode.outputs),
        )
        run = Run(execution, self._session, self._before)
        return Candidate(run, Inspection(execution=execution, loss=Loss(total=1.0)))  # it is never compared

    def made(self, spec: ToolSpec, args: Mapping[str, Any]) -> Any:
        """What the model is told of a call, or in an event loop, what gives it when awaited."""
        steps = self._kept(self._make(spec, args))
        return adrive(steps) if self._awaiting else drive(steps)

    def ask(self, phase: str, predict: dspy.Module, inputs: Mapping[str, Any]) -> Steps[dspy.Prediction]:
        """One call of the model; a second one where the answer cannot be read.

        Raises:
            Stopped: it may not be made.
            ModelFailed: it gave nothing usable.
            ContextWindowExceededError: the prompt is too long, which the loop knows how to shorten.
        """
        for rollout in (0, 1000):
            if self.error is not None:
                raise self.error
            if self._over or self.episode.spent():
                raise Stopped
            config = {"config": sampled(rollout)} if rollout else {}
            try:
                said = yield from self.episode.ask(phase, _Question(predict, {**inputs, **config}))
            except ModelFailed as failure:
                if isinstance(failure.__cause__, ContextWindowExceededError):
                    raise failure.__cause__ from None
                if rollout or not isinstance(failure.__cause__, AdapterParseError):
                    raise
                continue
            self._thought = str(said.get("next_thought") or "")
            return said
        raise Stopped

    def _kept(self, steps: Steps[Any]) -> Steps[Any]:
        """`steps`, whose error is kept: the loop takes what a tool raises for an observation."""
        try:
            return (yield from steps)
        except Exception as error:
            self.error = error
            raise

    def _make(self, spec: ToolSpec, args: Mapping[str, Any]) -> Steps[Any]:
        position = len(self.steps)
        try:
            given = literal(plain(dict(args)))
        except ValueError as error:
            return f"Execution error in {spec.name}: the arguments have no JSON form: {error}"
        step = Step(id=f"c{position + 1}", tool=spec.name, args=given, why=self._thought or None)
        with self.episode.ledger.phase("act"):
            run = yield from execute(Trajectory(steps=(step,)), self._session, permit=self.episode.permit)
        seen = run.execution.observations[0]
        self._session = run.session
        self._over = run.reach is not None
        if seen.status in ("ok", "withheld"):
            self.steps.append(step)
            self._observations.append(seen)
            if run.before:
                self._before[position] = run.before[0]
            if not seen.ok:
                return WITHHELD
            return seen.value if isinstance(seen.value, str) else digest.compact(seen.value)
        if run.before and not self._over:
            self._session = run.before[0].fork()
        if seen.fault is None:
            return f"{spec.name} was not run: the budget is spent."
        expected = f"; expected {seen.fault.expected}" if seen.fault.expected else ""
        return f"Execution error in {spec.name}: {seen.fault.message}{expected}"


class _Call:
    def __init__(self, calls: Calls, spec: ToolSpec) -> None:
        self._calls, self._spec = calls, spec

    def __call__(self, /, **args: Any) -> Any:
        return self._calls.made(self._spec, args)

    async def acall(self, /, **args: Any) -> Any:
        return await self._calls.made(self._spec, args)


class _Asked:
    def __init__(self, calls: Calls, phase: str, predict: dspy.Module, signature: Any) -> None:
        self._calls, self._phase, self._predict, self._signature = calls, phase, predict, signature

    def __call__(self, /, **inputs: Any) -> Any:
        return drive(self._calls.ask(self._phase, self._predict, {**inputs, "signature": self._signature}))

    async def acall(self, /, **inputs: Any) -> Any:
        return await adrive(self._calls.ask(self._phase, self._predict, {**inputs, "signature": self._signature}))


class _Question:
    """A predictor with its inputs, whatever they are called."""

    def __init__(self, predict: dspy.Module, inputs: Mapping[str, Any]) -> None:
        self._predict, self._inputs = predict, inputs

    def __call__(self) -> Any:
        return self._predict(**self._inputs)

    async def acall(self) -> Any:
        return await self._predict.acall(**self._inputs)


def described(toolbox: Toolbox) -> list[dspy.Tool]:
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
