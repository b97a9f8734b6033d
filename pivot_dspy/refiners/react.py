"""ReAct: think, call a tool, read what it gave, until done: the plain loop, over `dspy.ReAct`."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy._drive import Effect, Steps
from pivot_dspy._json import plain
from pivot_dspy.bindings import literal
from pivot_dspy.environment.source import EnvironmentLike
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.phases.verify import Verdict
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.calls import Calls, Stopped, described
from pivot_dspy.refiners.episode import Candidate, Episode, ModelFailed
from pivot_dspy.requirements import BINDING_ORIGINS
from pivot_dspy.trajectory import SUBMIT, Step, Trajectory

_FINISH = "finish"
_TAKEN = ("max_iters", "next_thought", "next_tool_name", "next_tool_args", "signature", "reasoning")
_TOLD = {
    "policy": "what always holds here",
    "lessons": "from earlier tasks",
    "known": "already read; no need to call it again",
    "user_requirements": "what has to hold in the end",
}


class ReAct(Attempts):
    """Interleave thoughts, tool calls and observations; then extract the outputs. The floor: nothing is refined.

    Source: ReAct (arXiv 2210.03629) as `dspy.ReAct`, which runs the loop and writes its prompts; `dspy.ReActV2` needs
    native tool calls, which not every model has. The calls that succeeded, with literal arguments, and a submit of the
    extracted outputs become a trajectory that is measured, verified and committed like any other; a call that failed
    is told to the model and is no part of it. Where the environment forks, no call is made twice before verification.
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
        **shared: Any,
    ) -> None:
        if max_iters < 1:
            raise ConfigurationError(f"max_iters is at least 1; got {max_iters}")
        super().__init__(signature, environment, **shared)
        for name in _TAKEN:
            if name in self.signature.fields:
                raise ConfigurationError(f"the signature's field {name!r} has a name that dspy.ReAct uses; rename it")
        self.max_iters = max_iters
        # What optimizers see and files hold; the loop of a call is made anew, over what is known by then.
        agent = self._agent(self._source.toolbox or Toolbox(()), {})
        self.react = agent.react
        self.extract = agent.extract
        self._written = self.react.signature.instructions, self.extract.predict.signature.instructions

    def search(self, episode: Episode, given: Trajectory | None) -> Steps[tuple[Candidate, Verdict]]:
        best: Candidate | None = None
        if given is not None:
            first = yield from self.opening(episode, given)
            best = self.kept(episode, None, (yield from self.ran(episode, first)))
        elif not episode.told:
            try:
                yield from episode.settle()
            except ModelFailed as failure:
                raise PlanningFailed(f"no requirements: {failure}", episode.ledger.snapshot()) from failure.__cause__
        if best is None or not (best.loss.perfect or episode.spent()):
            try:
                found = yield from self._acted(episode)
            except ModelFailed as failure:
                if best is None:
                    raise PlanningFailed(f"no call: {failure}", episode.ledger.snapshot()) from failure.__cause__
            else:
                best = self.kept(episode, best, found)
        verdict = yield from episode.verify(best)
        return best, verdict

    def _acted(self, episode: Episode) -> Steps[Candidate]:
        """What the loop came to, run and measured.

        Raises:
            ModelFailed: the model gave nothing usable before anything was done.
        """
        calls = Calls(episode)
        required = [item.to_prompt() for item in episode.requirements.items if item.origin in BINDING_ORIGINS]
        told = {
            "policy": episode.catalogue.policy,
            "lessons": episode.remembering(episode.recalled.advice, episode.recalled.in_words),
            "known": episode.catalogue.known,
            "user_requirements": "\n".join(required),
        }
        told = {name: text for name, text in told.items() if text}
        agent = self._agent(episode.toolbox, told)
        agent.tools |= {spec.name: calls.tool(spec) for spec in episode.toolbox.tools.values()}
        agent.react = calls.asked("act", self.react, self._learned(agent.react.signature, 0))
        agent.extract = calls.asked("extract", self.extract, self._learned(agent.extract.predict.signature, 1))
        inputs = {**told, **episode.inputs}
        outputs: dict[str, Any] = {}
        submits: list[Step] = []
        try:
            said = yield Effect(lambda: agent(**inputs), lambda: calls.awaited(agent, inputs))
            outputs = {name: literal(plain(said[name])) for name in episode.outputs if said.get(name) is not None}
            submits = [Step(id=SUBMIT, tool=SUBMIT, args=outputs)]
        except Stopped:
            pass  # what was done until then counts
        except ModelFailed:
            if not calls.steps:
                raise
        if calls.error is not None:
            raise calls.error
        trajectory = Trajectory(steps=(*calls.steps, *submits), operator="react")
        return (yield from self.ran(episode, trajectory, calls.candidate()))

    def _agent(self, toolbox: Toolbox, told: dict[str, str]) -> dspy.ReAct:
        """The loop over `toolbox`, whose prompts begin with the inputs in `told`."""
        if _FINISH in toolbox.tools:
            raise ConfigurationError(f"a tool is called {_FINISH!r}, which ends dspy.ReAct's loop; rename the tool")
        signature = self.signature
        for place, name in enumerate(told):
            signature = signature.insert(place, name, dspy.InputField(desc=_TOLD[name]), str)
        return dspy.ReAct(signature, described(toolbox), max_iters=self.max_iters)

    def _learned(self, signature: Any, place: int) -> Any:
        """`signature` with the instructions that an optimizer wrote, if one did."""
        mine = (self.react, self.extract.predict)[place].signature.instructions
        if mine == self._written[place]:
            return signature
        if self._source.toolbox is None:
            raise ConfigurationError(
                "the instructions of this ReAct were rewritten before its tools were known; give its environment as a "
                "class, or annotate what the function that makes it returns, and compile again"
            )
        return signature.with_instructions(mine)
