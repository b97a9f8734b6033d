"""Writes the next step of a trajectory that is made one step at a time: the first of the plan that is not yet done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pivot_dspy.simulator import plan
from pivot_dspy.simulator.evolve import NOTHING
from pivot_dspy.simulator.prompt import ShownStep, same, steps_in, unmet_in
from pivot_dspy.simulator.reference import Reference, Turn, empty_submit
from pivot_dspy.simulator.slips import WrittenStep
from pivot_dspy.trajectory import SUBMIT

_SECTION = "steps_so_far"
_READ = re.compile(r"\$(\w+)")


def act(turn: Turn) -> dict[str, Any]:
    """A thought and one step; of an unknown task, nothing but an empty submit."""
    if turn.reference is None:
        return {"thought": NOTHING, "step": empty_submit()}
    return _Stepping(turn, turn.reference).answer()


class _Stepping:
    """One step that is written after those that the prompt shows."""

    def __init__(self, turn: Turn, reference: Reference) -> None:
        self.turn = turn
        self.reference = reference
        self.shown = steps_in(turn.section(_SECTION))
        self.taken = {step.id for step in self.shown}
        self.own = {step["id"] for step in reference.steps}
        self.unmet = unmet_in(turn.section("report"))
        self.suspects = _upstream(self.shown)
        self.plan: list[WrittenStep] = list(reference.steps)
        self.concluded: set[str] = set()
        if self.shown:
            sections = {**turn.prompt.sections, "open_steps": turn.section(_SECTION)}
            self.plan, self.concluded = plan.concluded(turn, reference, sections)

    def answer(self) -> dict[str, Any]:
        in_mind: list[WrittenStep] = []
        current: dict[str, str] = {}
        for step in self.plan:
            right = _renamed(step, current)
            latest = next((shown for shown in reversed(self.shown) if _is_for(shown.id, step["id"])), None)
            if latest is None:
                in_mind.append(right)
            elif self._wrong(step, right, latest) and self.turn.heeds("mend", latest.id):
                return {"thought": f"Step {latest.id} went wrong.", "step": {**right, "id": self._unused(step["id"])}}
            else:
                current[step["id"]] = latest.id
                in_mind.append({**right, "id": latest.id})
        amending = self._amending([step["id"] for step in in_mind if step["id"] not in self.taken])
        if amending is not None:
            return {"thought": "Something is left to put right.", "step": amending}
        step = self._first_time(in_mind)
        return {"thought": f"Next comes {step['tool']}.", "step": step}

    def _wrong(self, step: WrittenStep, right: WrittenStep, latest: ShownStep) -> bool:
        """Whether a step is to be done again, since the prompt shows that it went wrong: by its own line, by one that
        reads it and failed, by a requirement that it serves, or by what it reads having been done again.
        """
        if same(latest.written, right):
            since = self.shown[self.shown.index(latest) + 1 :]
            return latest.failed and any(_base(other.id) not in self.own for other in since)
        signs = (
            latest.failed,
            latest.id in self.suspects,
            right != step,
            step["id"] in self.concluded,
            self.unmet.intersection(self.reference.requirements_of(step["id"])),
        )
        return any(signs)

    def _amending(self, open_ids: list[str]) -> WrittenStep | None:
        """What has to be put right in the end, where only steps are open that serve no requirement.

        `revise` is asked with the plan's own steps left out, as of a run by somebody else: there it cannot replace
        what has been done, only make up for it.
        """
        serving = [name for name in open_ids if self.reference.requirements_of(name) or name in self.concluded]
        if serving or not self.unmet or not self.shown:
            return None
        lines = self.turn.section(_SECTION).splitlines()
        foreign = [line for line in lines if not any(_base(step.id) in self.own for step in steps_in(line))]
        revised = self.reference.revised({**self.turn.prompt.sections, "open_steps": "\n".join(foreign)})
        new = [step for step in revised if step["id"] not in self.own | self.taken]
        return next((step for step in new if self.turn.heeds("amend", step["id"])), None)

    def _first_time(self, in_mind: list[WrittenStep]) -> WrittenStep:
        """The first step not yet taken, as PLAN would write it: with slips, of which lessons and siblings warn."""
        right = {step["id"]: step for step in in_mind}
        tried = [step.written for step in steps_in(self.turn.section("siblings"))]
        drafts = plan.plan(self.turn._replace(reference=self.reference.model_copy(update={"steps": in_mind})))["steps"]
        step = next((draft for draft in drafts if draft["id"] not in self.taken), None)
        if step is None:
            return {**empty_submit(), "id": self._unused(SUBMIT)}
        if any(same(step, other) for other in tried) and self.turn.heeds("sibling", step["id"]):
            step = right.get(step["id"], step)
        return dict(step)

    def _unused(self, step_id: str) -> str:
        number = 2
        while f"{step_id}_{number}" in self.taken:
            number += 1
        return f"{step_id}_{number}"


def _renamed(step: Mapping[str, Any], current: Mapping[str, str]) -> WrittenStep:
    """The step with its bindings turned to the steps that now stand for those that it reads."""
    bound = {key: step[key] for key in ("args", "for_each") if key in step}
    text = _READ.sub(lambda match: f"${current.get(match[1], match[1])}", json.dumps(bound))
    return {**step, **json.loads(text)}


def _is_for(shown_id: str, step_id: str) -> bool:
    """Whether a shown step was written for a step of the plan: under its id, or its id with a number."""
    return re.fullmatch(rf"{re.escape(step_id)}(_\d+)?", shown_id) is not None


def _base(step_id: str) -> str:
    """The id of the step in the plan that a step does again."""
    return re.sub(r"_\d+$", "", step_id)


def _upstream(shown: list[ShownStep]) -> set[str]:
    """Ids of the steps that those which failed read, directly or through others."""
    reads = {step.id: set(_READ.findall(json.dumps(step.written))) for step in shown}
    upstream: set[str] = set()
    pending = [step.id for step in shown if step.failed]
    while pending:
        new = reads.get(pending.pop(), set()) - upstream
        upstream |= new
        pending += new
    return upstream
