"""CodeActing: the model writes programs over the tools, which run in a sandbox, until one of them submits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import dspy
from typing_extensions import Unpack

from pivot_dspy.dspy_internals import CHARACTERS_A_TOKEN
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.episode import Episode
from pivot_dspy.flow import Flow
from pivot_dspy.phases.program import WriteProgram
from pivot_dspy.prompts.stubs import render_stubs
from pivot_dspy.prompts.truncation import FENCE, truncate
from pivot_dspy.refiners.acting import (
    ActingLoop,
    CallFailed,
    RecordedAgent,
    ask_with_history,
    context_texts,
)
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import check_range
from pivot_dspy.sandbox import Output, Reply, Sandbox
from pivot_dspy.trajectory import SUBMIT, Step

_KEYS_OF_A_TURN = 3
"""In the loop's history: thought, program and output."""
_CODE_FENCE = re.compile(r"\A\s*```(?:python|py)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


class CodeActing(ActingLoop):
    """Write a program over the tools, read what it printed, until one submits: programmatic tool calling.

    Source: CodeAct (arXiv 2402.01030), and `dspy.CodeAct` after it. Ours departs from it in what it shares with the
    other refiners: requirements are settled first; every call that a program makes goes through the session, and
    becomes a step with literal arguments of a trajectory that is measured, verified and committed like any other. So a
    program can do nothing that a plan cannot: writes act in the fork, and what may only run at commit is noted and
    gives a text that says so. A call that fails raises RuntimeError in the program, and is no part of the trajectory.
    The last program submits by itself, so that no further call of the model extracts the outputs. Programs run in
    `pydantic-monty` (the extra `pivot_dspy[code]`), a sandbox without files and network, within the limits of
    `pivot_dspy.sandbox`; what one prints is cut to `observations.turn` tokens.

    Args:
        max_iters: programs at most; 20 as for `ReAct`.

    The remaining arguments are those of `Refiner`. A `trajectory` that is given is run first; the loop begins only if
    it falls short, from the start, and the better one is returned.

    Raises:
        ConfigurationError: an argument cannot work; at a call, the extra `code` is not installed.
        PlanningFailed: no requirements, or no program came from the model.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> CodeActing("question -> answer: int", tools=[double], effects="read").signature.output_fields.keys()
    dict_keys(['answer'])
    """

    operator = "code"

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
        self.max_iters = max_iters
        self.program = WriteProgram(self.signature)

    def loop(self, episode: Episode, agent_run: RecordedAgent) -> Flow[Step | None]:
        context = episode.context
        tools = render_stubs(context.toolbox, context.outputs)
        inputs = {"tools": tools, **context_texts(context), **context.inputs}
        history: dict[str, Any] = {}
        with Sandbox() as sandbox:
            for number in range(self.max_iters):
                answer = yield from ask_with_history(
                    episode, "act", self.program, history, _KEYS_OF_A_TURN, **inputs
                )
                if answer is None:
                    return None
                thought, program = str(answer.thought or "").strip(), _unfenced(str(answer.program or ""))
                calls = ProgramCalls(agent_run, context, thought or None)
                output = yield from sandbox.run(program, calls.answer)
                if agent_run.over or calls.submit is not None:
                    return calls.submit
                history[f"thought_{number}"] = thought
                history[f"program_{number}"] = program
                history[f"output_{number}"] = _shown(output, context.budget.turn * CHARACTERS_A_TOKEN)
        return None


class ProgramCalls:
    """The calls that one program makes.

    Args:
        why: what the program is for.
    """

    def __init__(self, agent_run: RecordedAgent, context: TaskContext, why: str | None) -> None:
        self.submit: Step | None = None
        """What it submitted, if it did."""
        self._agent_run = agent_run
        self._context = context
        self._why = why

    def answer(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Flow[Reply]:
        """What a call gives to the program."""
        try:
            arguments = self._by_name(name, args, kwargs)
            if name == SUBMIT:
                self.submit = yield from self._agent_run.submit_step(arguments)
                return Reply(ends=True)
            value = yield from self._agent_run.call(name, arguments, self._why)
        except CallFailed as failure:
            return Reply(error=f"{name}: {str(failure).removeprefix(f'{name}: ')}", ends=self._agent_run.over)
        return Reply(value)

    def _by_name(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, those that were given by position, too. Raises CallFailed where that cannot be."""
        if not args:
            return dict(kwargs)
        spec = self._context.toolbox.tools.get(name)
        names = [*self._context.outputs] if name == SUBMIT else [*spec.parameters] if spec else []
        taken = dict(zip(names, args, strict=False))
        if len(args) > len(names) or taken.keys() & kwargs.keys():
            raise CallFailed("give the arguments by name, each once")
        return {**taken, **kwargs}


def _unfenced(program: str) -> str:
    fenced = _CODE_FENCE.match(program)
    return fenced[1] if fenced else program


def _shown(output: Output, cap: int) -> str:
    """What the model is told of a program: what it printed, then what went wrong."""
    printed = truncate(output.printed.rstrip("\n"), cap)
    parts = [_fence(printed) if printed else "Nothing was printed."]
    if output.error:
        parts += ["It failed:", _fence(truncate(output.error, cap))]
    return "\n".join(parts)


def _fence(text: str) -> str:
    return "\n".join(f"{FENCE}{line}" for line in text.splitlines())
