"""Rewrites a trajectory from what the feedback in the prompt names, and points at the step that is to blame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from pivot_dspy.simulator import plan
from pivot_dspy.simulator.prompt import ShownStep, looks_at, same, says, shared, step_line, steps_in
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import Surroundings, WrittenStep, spoil
from pivot_dspy.trajectory import SUBMIT

NOTHING = "Nothing stands out."
AGAIN = "_again"
"""After the id of a step that is made once more beside the first time."""

_HEADING = re.compile(r"^Trajectory \d+:$", re.MULTILINE)
_KEEP = re.compile(r"[\"'`]keep[\"'`]")
_NOT_FEEDBACK = frozenset(
    ("tools", "checks", "policy", "known", "kept", "lessons", "user_requirements", "open_steps")
)

# ---------------------------------------------------------------------------------------------------------- blame


def localise(turn: Turn) -> dict[str, Any]:
    """The first suspect that is wrong, or that a step is missing, with probability `heed`; else a random suspect."""
    suspects = steps_in(turn.section("suspects"))
    wrong = turn.dice.pick(suspects, "suspect") if suspects else None
    missing = None
    if turn.knows_task and turn.heeds("locus"):
        cause_step, missing = cause(turn, suspects)
        wrong = cause_step or wrong
    if wrong is None or missing is not None:
        return {"diagnosis": "A step is missing.", "step": "end", "correction": f"Add {missing or 'what is missing'}."}
    diagnosis = f"Step {wrong.id} does not do what is asked."
    return {"diagnosis": diagnosis, "step": wrong.id, "correction": f"Write step {wrong.id} again."}


def cause(turn: Turn, shown: Sequence[ShownStep]) -> tuple[ShownStep | None, str | None]:
    """The first shown step that is not as it should be, or else the id of one that is wanting: one that those shown
    name, or that alone serves what is not met."""
    right = {step["id"]: step for step in turn.reference.revised(turn.prompt.sections)}
    wrong = next((step for step in shown if not same(step.written, right.get(step.id, {}))), None)
    if wrong is not None:
        return wrong, None
    faults = "\n".join(step.outcome for step in shown if step.failed)
    for step_id in [step_id for step_id in right if step_id not in {step.id for step in shown}]:
        if says(faults, right[step_id]["tool"]) or turn.blames(f"{turn.section('report')}\n{faults}", step_id):
            return None, step_id
    return None, None


# ------------------------------------------------------------------------------------------------ several into one


def recombine(turn: Turn) -> dict[str, Any]:
    """A summary, and the steps that the shown ones are joined to, rewritten as one trajectory is."""
    shown = [steps_in(text) for text in _HEADING.split(turn.section("trajectories"))[1:]]
    open_steps = "\n".join(step_line(step.written, step.outcome) for step in _joined(turn, shown))
    report = turn.section("reports")
    answer = rewrite(turn.showing(trajectories="", reports="", open_steps=open_steps, report=report))
    return {"summary": answer["diagnosis"], "steps": answer["steps"]}


def _joined(turn: Turn, trajectories: list[list[ShownStep]]) -> list[ShownStep]:
    """The first trajectory, with the right version of a step that another shows, each at the rate of heed."""
    joined = [*trajectories[0]] if trajectories else []
    order = [step["id"] for step in turn.reference.steps]
    versions = [step for steps in trajectories for step in steps]
    for right in turn.reference.steps:
        version = next((step for step in versions if step.id == right["id"] and same(step.written, right)), None)
        if version is None or version in joined or not turn.heeds("version", version.id):
            continue
        ids = [step.id for step in joined]
        position = ids.index(version.id) if version.id in ids else _position(version.id, ids, order)
        joined[position : position + (version.id in ids)] = [version]
    return joined


def _position(step_id: str, ids: Sequence[str], order: Sequence[str]) -> int:
    """Where a step belongs among `ids`: after the last of those that come before it in `order`."""
    before = order[: order.index(step_id.removesuffix(AGAIN))]
    return max((position + 1 for position, other in enumerate(ids) if other in before), default=0)


# -------------------------------------------------------------------------------------------------------- rewrites


def rewrite(turn: Turn) -> dict[str, Any]:
    """A diagnosis, and the open steps rewritten; of an unknown task, as they are."""
    open_steps = steps_in(turn.section("open_steps"))
    keeping = _KEEP.search(turn.prompt.instructions) is not None
    entries: list[WrittenStep] = [{"keep": step.id} for step in open_steps]
    if not turn.knows_task:
        return {"diagnosis": NOTHING, "requirements": [], "steps": _written_out(entries, open_steps, keeping)}
    rewriting = _Rewriting(turn, open_steps)
    entries = rewriting.entries()
    steps = _written_out(entries, open_steps, keeping)
    changed = ", ".join(rewriting.changed)
    return {
        "diagnosis": f"To be mended: {changed}." if changed else NOTHING,
        "requirements": [],
        "steps": steps if keeping else list(rewriting.relapsed(steps)),
    }


class _Rewriting:
    """One rewrite of the steps that a prompt shows as open."""

    def __init__(self, turn: Turn, open_steps: list[ShownStep]) -> None:
        self.turn = turn
        self.open = open_steps
        self.right = {step["id"]: step for step in turn.reference.revised(turn.prompt.sections)}
        before = {step["id"]: step for step in turn.reference.steps}
        self.revised = {name for name, step in self.right.items() if not same(step, before.get(name, {}))}
        lines = shared(turn.prompt.sections, _NOT_FEEDBACK).splitlines()
        words = "\n".join(line for line in lines if not steps_in(line))  # no earlier versions of steps
        self.feedback = "\n".join([words, *(step.outcome for step in open_steps)])
        self.changed: list[str] = []
        self.looks: list[str] = []
        self.made = [*steps_in(turn.section("kept")), *open_steps]
        self.present = {step.id for step in self.made}

    def entries(self) -> list[WrittenStep]:
        """The open steps as they are to be written, and those that are missing at their places."""
        entries = [entry for step in self.open if (entry := self._entry(step))]
        order = list(self.right)
        for step in [*self._missed(), *self._going_on()]:
            ids = [str(entry.get("keep", entry.get("id"))) for entry in entries]
            if step["id"] not in ids:
                entries.insert(_position(step["id"], ids, order), step)
                self.changed.append(step["id"])
        return [*entries, *({"look": look} for look in self.looks)]

    def _missed(self) -> list[WrittenStep]:
        """The steps that the feedback names as missing."""
        absent = [step for name, step in self.right.items() if name not in self.present and step["tool"] != SUBMIT]
        named = [step for step in absent if self._is_blamed(step["id"]) and not self.turn.unknown(step)]
        return [step for step in named if self.turn.heeds("insert", step["id"])]

    def _going_on(self) -> list[WrittenStep]:
        """Where nothing is submitted yet: the steps that could not be written before, as far as can be seen now, each
        for the first time. Where not one can be, the model looks at what was not shown whole, or reads again what it
        lacks, or makes something up."""
        turn, steps = self.turn, list(self.right.values())
        if any(step.written["tool"] == SUBMIT for step in self.made):
            return []
        before = plan.within_reach(steps, turn, shown=turn.shown_before) if turn.prompt.shown_before else []
        fresh = [step for step in steps if step["id"] not in self.present]
        fresh = [step for step in fresh if step not in before or step["tool"] == SUBMIT]
        reached = plan.within_reach(fresh, turn, self.present)
        if not reached and fresh:
            self.looks = self._unseen()
            reached = [] if self.looks else self._reads_again(fresh[0]) or [turn.guessed(step) for step in fresh]
        return plan.written(reached, turn)

    def _unseen(self) -> list[str]:
        """Expressions for what was not shown whole, and not asked for yet."""
        asked = self.turn.section("looks")
        return [look for step in self.made for look in looks_at(step) if f"look {look} ->" not in asked]

    def _reads_again(self, blocked: WrittenStep) -> list[WrittenStep]:
        """The steps before one that only read, where another was made in their place or none, each at the rate of
        heed; under a new id where the step itself is kept."""
        before = list(self.right)[: list(self.right).index(blocked["id"])]
        again = []
        for step in map(self.right.__getitem__, before):
            done = any(same(step, other.written) for other in self.made)
            if not done and self.turn.only_reads(step["tool"]) and self.turn.heeds("look", step["id"]):
                again.append({**step, "id": step["id"] + AGAIN} if step["id"] in self.present else step)
        return [step for step in again if step["id"] not in self.present]

    def _entry(self, step: ShownStep) -> WrittenStep | None:
        """An open step kept or mended; None where it goes, since the reference does not have it."""
        right = self.right.get(step.id)
        fine = right is not None and (same(step.written, right) or bool(self.turn.unknown(right)))
        if fine or not (step.failed or self._is_blamed(step.id)) or not self.turn.heeds("repair", step.id):
            return {"keep": step.id}
        self.changed.append(step.id)
        return right

    def _is_blamed(self, step_id: str) -> bool:
        """Whether the feedback is about the step, or the task's own reasoning over it concludes that it has to
        change."""
        return step_id in self.revised or self.turn.blames(self.feedback, step_id)

    def relapsed(self, steps: list[WrittenStep]) -> Iterator[WrittenStep]:
        """The steps, of which some that were right break as they are written again."""
        around = Surroundings(list(self.right.values()), self.turn.section("tools"), self.turn.shown.tells)
        again = {step.id for step in self.open if same(step.written, self.right.get(step.id, {}))}
        dice, relapse = self.turn.dice, self.turn.rates.relapse
        for step in steps:
            broken: WrittenStep | None = step
            if step.get("id") in again and step["tool"] != SUBMIT and dice.falls(relapse, "relapse", step["id"]):
                broken = spoil(step, around, dice, "relapse", step["id"])
            if broken is not None:
                yield broken


def _written_out(entries: list[WrittenStep], open_steps: list[ShownStep], keeping: bool) -> list[WrittenStep]:
    """The entries with neighbouring keeps joined, or where the prompt does not offer keeping, in full."""
    if not keeping:
        in_full = {step.id: {k: v for k, v in step.written.items() if k != "problem"} for step in open_steps}
        return [in_full.get(entry.get("keep", ""), entry) for entry in entries]
    joined: list[WrittenStep] = []
    for keeps, group in groupby(entries, key=lambda entry: "keep" in entry):
        run = list(group)
        joined += [{"keep": [entry["keep"] for entry in run]}] if keeps else run
    return joined
