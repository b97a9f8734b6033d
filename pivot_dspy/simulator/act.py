"""Writes the next step of a trajectory that is made one step at a time: the first of the plan that is not yet done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import count
from typing import Any

from pivot_dspy.simulator import plan
from pivot_dspy.simulator.prompt import ShownStep, same, step_line, steps_in, unmet_in
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import WrittenStep
from pivot_dspy.trajectory import SUBMIT

_SECTION = "steps_so_far"
_READ = re.compile(r"\$(\w+)")
_AGAIN = re.compile(r"_\d+$")


def act(turn: Turn) -> dict[str, Any]:
    """A thought and one step."""
    return _Stepping(turn).answer()


class _Stepping:
    """One step that is written after those that the prompt shows."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.reference = reference = turn.reference
        self.shown = steps_in(turn.section(_SECTION))
        self.taken = {step.id for step in self.shown}
        self.own = {step["id"] for step in reference.steps}
        self.unmet = unmet_in(turn.section("report"))
        self.plan: list[WrittenStep] = list(reference.steps)
        self.concluded: set[str] = set()
        if self.shown:
            sections = {**turn.prompt.sections, "open_steps": turn.section(_SECTION)}
            self.plan, self.concluded = plan.concluded(turn, sections)
        self.planned = {step["id"] for step in self.plan} | self.own
        self.latest = {self._base(step.id): step for step in self.shown}
        """By the id of the step in the plan that they were written for."""

    def answer(self) -> dict[str, Any]:
        in_mind: list[WrittenStep] = []
        current: dict[str, str] = {}
        for step in self.plan:
            right = _renamed(step, current)
            latest = self.latest.get(step["id"])
            if latest is None:
                in_mind.append(right)
            elif self._is_wrong(right, latest) and self.turn.heeds("mend", latest.id):
                return {"thought": f"Step {latest.id} went wrong.", "step": {**right, "id": self._unused(step["id"])}}
            else:
                current[step["id"]] = latest.id
                in_mind.append({**right, "id": latest.id})
        amending = self._amending(in_mind)
        if amending is not None:
            return {"thought": "Something is left to put right.", "step": amending}
        step = self._first_time(in_mind)
        return {"thought": f"Next comes {step['tool']}.", "step": step}

    def _is_wrong(self, right: WrittenStep, latest: ShownStep) -> bool:
        """Whether a step is to be done again, since the prompt shows that it went wrong: by its own line, by a
        requirement that it serves, or by what is concluded; a right one, if it failed before an amending step came."""
        if same(latest.written, right):
            since = self.shown[self.shown.index(latest) + 1 :]
            return latest.failed and any(self._base(other.id) not in self.own for other in since)
        step_id = self._base(latest.id)
        blamed = self.turn.blames(self.turn.section("report"), step_id)
        return latest.failed or step_id in self.concluded or blamed

    def _amending(self, in_mind: list[WrittenStep]) -> WrittenStep | None:
        """What has to be put right in the end, where only steps are open that serve no requirement.

        `revise` is asked with the plan's own steps left out, as of a run by somebody else: there it cannot replace
        what has been done, only make up for it.
        """
        serving = {*self.concluded, *(name for name in self.own if self.reference.requirements_of(name))}
        if not self.unmet or serving.intersection(step["id"] for step in in_mind) - self.taken:
            return None
        foreign = [step for step in self.shown if self._base(step.id) not in self.own]
        lines = "\n".join(step_line(step.written, step.outcome) for step in foreign)
        revised = self.reference.revised({**self.turn.prompt.sections, "open_steps": lines})
        new = [step for step in revised if step["id"] not in self.own | self.taken]
        return next((step for step in new if self.turn.heeds("amend", step["id"])), None)

    def _first_time(self, in_mind: list[WrittenStep]) -> WrittenStep:
        """The first step not yet taken, as PLAN would write it: with slips, of which lessons warn."""
        turn = self.turn._replace(reference=self.reference.model_copy(update={"steps": in_mind}))
        steps, warned = plan.reconsidered(turn)
        open_steps = [step if step["id"] in self.taken else turn.guessed(step) for step in steps]
        drafts = plan.written(open_steps, turn, warned)
        step = next((draft for draft in drafts if draft["id"] not in self.taken), None)
        return step or {"id": self._unused(SUBMIT), "tool": SUBMIT, "args": {}}

    def _base(self, step_id: str) -> str:
        """The id of the step in the plan that a step does, maybe again."""
        return step_id if step_id in self.planned else _AGAIN.sub("", step_id)

    def _unused(self, step_id: str) -> str:
        return next(name for number in count(2) if (name := f"{step_id}_{number}") not in self.taken)


def _renamed(step: Mapping[str, Any], current: Mapping[str, str]) -> WrittenStep:
    """The step with its bindings turned to the steps that now stand for those that it reads."""
    text = _READ.sub(lambda match: f"${current.get(match[1], match[1])}", json.dumps(step))
    return dict(json.loads(text))
