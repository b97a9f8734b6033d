"""ReAct: think, call a tool, read what it gave, until done: the plain loop, with the prompts of `dspy.ReAct`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from pydantic_core import to_jsonable_python
from typing_extensions import Unpack

from pivot_dspy.bindings import literal
from pivot_dspy.dspy_internals import TextReAct
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import Flow
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.refiners.acting import (
    CONTEXT_FIELDS,
    ActingLoop,
    CallFailed,
    RecordedAgent,
    ask_with_history,
    context_texts,
)
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import check_range
from pivot_dspy.trajectory import SUBMIT, Step


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


class ReAct(ActingLoop):
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

    operator = "react"

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

    def loop(self, episode: Episode, agent_run: RecordedAgent) -> Flow[Step | None]:
        prediction = yield from self._prediction(episode, agent_run)
        if prediction is None:
            return None
        written = {name: prediction.get(name) for name in episode.context.outputs}
        outputs = {name: literal(plain(value)) for name, value in written.items() if value is not None}
        return Step(id=SUBMIT, tool=SUBMIT, args=outputs)

    def _prediction(self, episode: Episode, agent_run: RecordedAgent) -> Flow[dspy.Prediction | None]:
        """The calls of the loop, then the outputs; None where it may ask no more before it has them."""
        context = episode.context
        context_fields = {name: text for name, text in context_texts(context).items() if text}
        agent = self._agent(context.toolbox, context_fields)
        inputs = {**context_fields, **context.inputs}
        history: dict[str, Any] = {}
        acting = self._with_learned(agent.react.signature, 0)
        extracting = self._with_learned(agent.extract.predict.signature, 1)
        for number in range(self.max_iters):
            prediction = yield from ask_with_history(
                episode, "act", self.react, history, _KEYS_OF_A_CALL, signature=acting, **inputs
            )
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
            history[f"observation_{number}"] = yield from _observed(agent_run, tool, prediction.next_tool_args, thought)
            if agent_run.over:
                return None
        return (
            yield from ask_with_history(
                episode, "extract", self.extract, history, _KEYS_OF_A_CALL, signature=extracting, **inputs
            )
        )

    def _agent(self, toolbox: Toolbox, context_fields: dict[str, str]) -> TextReAct:
        """What asks over `toolbox`, with prompts that begin with the inputs in `context_fields`."""
        if _FINISH in toolbox.tools:
            raise ConfigurationError(f"a tool is called {_FINISH!r}, which ends dspy.ReAct's loop; rename the tool")
        signature = self.signature
        for position, name in enumerate(context_fields):
            signature = signature.insert(position, name, dspy.InputField(desc=CONTEXT_FIELDS[name]), str)
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


def _observed(agent_run: RecordedAgent, tool: str, args: Mapping[str, Any], why: str | None) -> Flow[str]:
    """One call of a tool; gives what the model is told of it."""
    try:
        value = yield from agent_run.call(tool, args, why)
    except CallFailed as failure:
        return f"Execution error in {tool}: {failure}"
    return value if isinstance(value, str) else compact_json(value)
