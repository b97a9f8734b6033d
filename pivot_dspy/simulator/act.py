"""Writes the next step of a trajectory that is made one step at a time: the first of the plan that is not yet done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pivot_dspy.simulator import plan as planning
from pivot_dspy.simulator.prompt import Prompt, ShownStep, same, steps_in, unmet_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates, WrittenStep
from pivot_dspy.trajectory import SUBMIT

_SHOWN = "steps_so_far"


def act(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A thought and one step; of an unknown task, nothing but an empty submit."""
    if reference is None:
        return {"thought": "Nothing stands out.", "step": {"id": SUBMIT, "tool": SUBMIT, "args": {}}}
    return _Stepping(prompt, reference, rates, dice).answer()


class _Stepping:
    """One step that is written after those that the prompt shows."""

    def __init__(self, prompt: Prompt, reference: Reference, rates: Rates, dice: Dice) -> None:
        self.prompt = prompt
        self.reference = reference
        self.rates = rates
        self.dice = dice
        self.shown = steps_in(prompt.section(_SHOWN))
        self.taken = {step.id for step in self.shown}
        self.own = {step["id"] for step in reference.steps}
        self.unmet = unmet_in(prompt.section("report"))
        self.suspects = _upstream(self.shown)
        self.concluded: set[str] = set()

    def answer(self) -> dict[str, Any]:
        in_mind: list[WrittenStep] = []
        stands: dict[str, str] = {}
        for step in self._plan():
            right = _renamed(step, stands)
            latest = self._latest(step["id"])
            if latest is None:
                in_mind.append(right)
            elif self._wrong(step, right, latest) and self._heeds("mend", latest.id):
                mended = {**right, "id": self._unused(step["id"])}
                return {"thought": f"Step {latest.id} went wrong.", "step": mended}
            else:
                stands[step["id"]] = latest.id
                in_mind.append({**right, "id": latest.id})
        amending = self._amending([step for step in in_mind if step["id"] not in self.taken])
        if amending is not None:
            return {"thought": "Something is left to put right.", "step": amending}
        step = self._first_time(in_mind)
        return {"thought": f"Next comes {step['tool']}.", "step": step}

    def _plan(self) -> list[WrittenStep]:
        """The reference's steps, with what its `revise` concludes from the report, each conclusion at rate `heed`."""
        if not self.shown:
            return list(self.reference.steps)
        known = {step["id"]: step for step in self.reference.steps}
        steps = []
        for step in self.reference.revised({**self.prompt.sections, "open_steps": self.prompt.section(_SHOWN)}):
            before = known.get(step["id"])
            if before != step and self._heeds("conclude", step["id"]):
                self.concluded.add(step["id"])
                steps.append(step)
            elif before is not None:
                steps.append(before)
        return steps

    def _latest(self, step_id: str) -> ShownStep | None:
        """The last shown step that was written for a step of the plan: under its id, or its id with a number."""
        found = [step for step in self.shown if re.fullmatch(rf"{re.escape(step_id)}(_\d+)?", step.id)]
        return found[-1] if found else None

    def _wrong(self, step: WrittenStep, right: WrittenStep, latest: ShownStep) -> bool:
        """Whether a step is to be done again, since the prompt shows that it went wrong: by its own line, by one that
        reads it and failed, by a requirement that it serves, or by what it reads having been done again.
        """
        if same(latest.written, right):
            since = self.shown[self.shown.index(latest) + 1 :]
            return latest.failed and any(_base(other.id) not in self.own for other in since)
        named = latest.failed or latest.id in self.suspects or right != step or step["id"] in self.concluded
        return named or bool(self.unmet.intersection(self.reference.requirements_of(step["id"])))

    def _amending(self, open_steps: list[WrittenStep]) -> WrittenStep | None:
        """What has to be put right in the end, where only steps are open that serve no requirement.

        `revise` is asked with the plan's own steps left out, as of a run by somebody else: there it cannot replace
        what has been done, only make up for it.
        """
        if not self.unmet or self.reference.revise is None or not self.shown:
            return None
        if any(self.reference.requirements_of(step["id"]) or step["id"] in self.concluded for step in open_steps):
            return None
        lines = self.prompt.section(_SHOWN).splitlines()
        foreign = [line for line in lines if not any(_base(step.id) in self.own for step in steps_in(line))]
        for step in self.reference.revised({**self.prompt.sections, "open_steps": "\n".join(foreign)}):
            if step["id"] not in self.own | self.taken and self._heeds("amend", step["id"]):
                return step
        return None

    def _first_time(self, in_mind: list[WrittenStep]) -> WrittenStep:
        """The first step not yet taken, as PLAN would write it: with slips, of which lessons and siblings warn."""
        plan = self.reference.model_copy(update={"steps": in_mind})
        right = {step["id"]: step for step in in_mind}
        tried = [step.written for step in steps_in(self.prompt.section("siblings"))]
        for step in planning.plan(self.prompt, plan, self.rates, self.dice)["steps"]:
            if step["id"] in self.taken:
                continue
            meant = right.get(step["id"], step)
            if any(same(step, other) for other in tried) and self._heeds("sibling", step["id"]):
                step = meant
            return dict(step)
        return {"id": self._unused(SUBMIT), "tool": SUBMIT, "args": {}}

    def _unused(self, step_id: str) -> str:
        number = 2
        while f"{step_id}_{number}" in self.taken:
            number += 1
        return f"{step_id}_{number}"

    def _heeds(self, *labels: str) -> bool:
        return self.dice.falls(self.rates.heed, *labels)


def _renamed(step: Mapping[str, Any], stands: Mapping[str, str]) -> WrittenStep:
    """The step with its bindings turned to the steps that now stand for those that it reads."""
    changed = dict(step)
    for key in ("args", "for_each"):
        if key in changed:
            changed[key] = _bound(changed[key], stands)
    return changed


def _bound(value: Any, stands: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\$(\w+)", lambda match: f"${stands.get(match[1], match[1])}", value)
    if isinstance(value, Mapping):
        return {key: _bound(item, stands) for key, item in value.items()}
    return [_bound(item, stands) for item in value] if isinstance(value, list) else value


def _base(step_id: str) -> str:
    """The id of the step in the plan that a step does again."""
    return re.sub(r"_\d+$", "", step_id)


def _upstream(shown: list[ShownStep]) -> set[str]:
    """Ids of the steps that those which failed read, directly or through others."""
    reads = {step.id: set(re.findall(r"\$(\w+)", json.dumps(step.written))) for step in shown}
    found: set[str] = set()
    left = [step.id for step in shown if step.failed]
    while left:
        new = reads.get(left.pop(), set()) - found
        found |= new
        left += new
    return found
