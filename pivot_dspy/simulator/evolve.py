"""Rewrites a trajectory from what the feedback in the prompt names, and points at the step that is to blame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pivot_dspy.simulator.plan import written
from pivot_dspy.simulator.prompt import (
    Prompt,
    ShownStep,
    kept_in,
    names,
    same,
    says,
    shared,
    step_line,
    steps_in,
    unmet_in,
)
from pivot_dspy.simulator.reference import Reference, Turn, empty_submit
from pivot_dspy.simulator.slips import Surroundings, WrittenStep, spoil
from pivot_dspy.trajectory import SUBMIT

NOTHING = "Nothing stands out."
MISSING = "A step is missing."

_HEADING = re.compile(r"^Trajectory \d+:$", re.MULTILINE)
_KEEP = re.compile(r"[\"'`]keep[\"'`]")
_NOT_FEEDBACK = frozenset({"tools", "checks", "policy", "known", "kept", "lessons", "user_requirements"})

# ---------------------------------------------------------------------------------------------------------- blame


def localise(turn: Turn) -> dict[str, Any]:
    """The first suspect that is wrong, or a step that is wanting, with probability `heed`; else a random suspect."""
    suspects = steps_in(turn.section("suspects"))
    wrong = turn.dice.pick(suspects, "suspect") if suspects else None
    wanting = None
    if turn.reference is not None and turn.heeds("locus"):
        cause_step, wanting = cause(turn, turn.reference, suspects)
        wrong = cause_step or wrong
    if wanting is not None and turn.reference is not None:
        order = [step["id"] for step in turn.reference.steps]
        later = order[order.index(wanting) + 1 :] if wanting in order else []
        before = next((step.id for step in suspects if step.id in later), "end")
        return {"diagnosis": MISSING, "step": before, "correction": f"Add step {wanting}."}
    if wrong is None:
        return {"diagnosis": MISSING, "step": "end", "correction": "Add what is missing."}
    diagnosis = f"Step {wrong.id} does not do what is asked."
    return {"diagnosis": diagnosis, "step": wrong.id, "correction": f"Write step {wrong.id} again."}


def cause(turn: Turn, reference: Reference, shown: Sequence[ShownStep]) -> tuple[ShownStep | None, str | None]:
    """The first shown step that is not as it should be, or else the id of one that is wanting: one that those shown
    name, or that alone serves what is not met."""
    right = {step["id"]: step for step in reference.revised(turn.prompt.sections)}
    for step in shown:
        if step.id not in right or not same(step.written, right[step.id]):
            return step, None
    unmet = unmet_in(turn.section("report"))
    faults = "\n".join(step.outcome for step in shown if step.failed)
    for step_id in [step_id for step_id in right if step_id not in {step.id for step in shown}]:
        named = names(faults, step_id) or says(faults, right[step_id]["tool"])
        if named or unmet.intersection(reference.requirements_of(step_id)):
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
    joined = trajectories[0] if trajectories else []
    reference_steps = turn.reference.steps if turn.reference else ()
    order = [step["id"] for step in reference_steps]
    versions = [step for steps in trajectories for step in steps]
    for right in reference_steps:
        version = next((step for step in versions if step.id == right["id"] and same(step.written, right)), None)
        if version is None or version in joined or not turn.heeds("version", version.id):
            continue
        ids = [step.id for step in joined]
        if version.id in ids:
            joined = [version if step.id == version.id else step for step in joined]
        else:
            position = _position(version.id, ids, order)
            joined = [*joined[:position], version, *joined[position:]]
    return joined


def _position(step_id: str, ids: Sequence[str], order: Sequence[str]) -> int:
    """Where a step belongs among `ids`: after the last of those that come before it in `order`."""
    before = order[: order.index(step_id)]
    return max((position + 1 for position, other in enumerate(ids) if other in before), default=0)


# -------------------------------------------------------------------------------------------------------- rewrites


def rewrite(turn: Turn) -> dict[str, Any]:
    """A diagnosis, and the steps from the first one shown as open."""
    section, open_steps = _open(turn.prompt)
    if turn.reference is not None:
        return _Rewriting(turn, turn.reference, section, open_steps).answer()
    entries: list[WrittenStep] = [{"keep": step_id} for step_id in dict.fromkeys(step.id for step in open_steps)]
    if all(step.written["tool"] != SUBMIT for step in open_steps):
        entries.append(empty_submit())
    return {"diagnosis": NOTHING, "steps": _written_out(entries, turn.prompt, open_steps)}


class _Rewriting:
    """One rewrite of the steps that a prompt shows as open."""

    def __init__(self, turn: Turn, reference: Reference, section: str, open_steps: list[ShownStep]) -> None:
        sections = turn.prompt.sections
        self.turn = turn
        self.reference = reference
        self.right = {step["id"]: step for step in reference.revised(sections)}
        self.open = _best(open_steps, self.right)
        before = {step["id"]: step for step in reference.steps}
        self.revised = {name for name, step in self.right.items() if not same(step, before.get(name, {}))}
        self.kept = kept_in(turn.section("kept"), self.right)
        task = [name for name, text in sections.items() if reference.match in text and name != "blame"]
        feedback = shared(sections, {*_NOT_FEEDBACK, section, "blame", *task}).splitlines()
        words = [line for line in feedback if not steps_in(line)]  # no versions of steps
        self.unmet = unmet_in("\n".join(words))
        self.feedback = "\n".join([*words, *(step.outcome for step in open_steps)])
        self.changed: list[str] = []

    def answer(self) -> dict[str, Any]:
        entries = list(self._of_open())
        self._insert_missing(entries)
        diagnosis = f"To be mended: {', '.join(self.changed)}." if self.changed else NOTHING
        steps = _written_out(entries, self.turn.prompt, self.open)
        return {"diagnosis": diagnosis, "steps": steps if _keeping(self.turn.prompt) else list(self._relapsed(steps))}

    def _of_open(self) -> Iterator[WrittenStep]:
        """The open steps as they are to be written."""
        for step in self.open:
            right = self.right.get(step.id)
            fine = right is not None and (same(step.written, right) or step.brief and not self._pointed_at(step.id))
            if fine or not (step.failed or self._named(step.id)) or not self.turn.heeds("repair", step.id):
                yield {"keep": step.id}
                continue
            self.changed.append(step.id)
            if right is not None:
                yield right

    def _insert_missing(self, entries: list[WrittenStep]) -> None:
        order = list(self.right)
        last = max((position for position, step_id in enumerate(order) if step_id in self.kept), default=-1)
        first_time = {step["id"]: step for step in written(self.right.values(), self.turn)}
        present = {*self.kept, *(step.id for step in self.open)}
        for position, step_id in enumerate(order):
            stopped_short = not self.open and position > last  # then the plan is gone on with
            step = first_time.get(step_id) if stopped_short else self.right[step_id]
            if step is None or step_id in present or not (stopped_short or self._missed(step_id)):
                continue
            ids = [str(entry.get("keep", entry.get("id"))) for entry in entries]
            entries.insert(_position(step_id, ids, order), step)
            self.changed.append(step_id)

    def _missed(self, step_id: str) -> bool:
        """Whether the model sees that a step is wanting: a submit always, another where the feedback names it."""
        return self.right[step_id]["tool"] == SUBMIT or self._named(step_id) and self.turn.heeds("insert", step_id)

    def _named(self, step_id: str) -> bool:
        """Whether the feedback names the step, or what it serves is not met."""
        return self._pointed_at(step_id) or bool(self.unmet.intersection(self.reference.requirements_of(step_id)))

    def _pointed_at(self, step_id: str) -> bool:
        """Whether the feedback names the step, or the task's own reasoning over it concludes that it has to change."""
        return step_id in self.revised or names(self.feedback, step_id, self.turn.section("blame"))

    def _relapsed(self, steps: list[WrittenStep]) -> Iterator[WrittenStep]:
        """The steps, of which some that were right break as they are written again."""
        around = Surroundings(list(self.right.values()), self.turn.section("tools"))
        again = {step.id for step in self.open if same(step.written, self.right.get(step.id, {}))}
        dice, relapse = self.turn.dice, self.turn.rates.relapse
        for step in steps:
            broken: WrittenStep | None = step
            if step["id"] in again and step["tool"] != SUBMIT and dice.falls(relapse, "relapse", step["id"]):
                broken = spoil(step, around, dice, "relapse", step["id"])
            if broken is not None:
                yield broken


def _open(prompt: Prompt) -> tuple[str, list[ShownStep]]:
    """The section that shows the steps to rewrite, and those steps."""
    for name in sorted(prompt.sections, key=lambda name: name != "open_steps"):
        shown = [] if name in _NOT_FEEDBACK else steps_in(prompt.sections[name], brief=True)
        if shown:
            return name, shown
    return "open_steps", []


def _best(shown: Iterable[ShownStep], right: Mapping[str, WrittenStep]) -> list[ShownStep]:
    """Each id once; where a prompt shows several trajectories, the version of a step that is right, if one is."""
    chosen: dict[str, ShownStep] = {}
    for step in shown:
        first = chosen.setdefault(step.id, step)
        wanted = right.get(step.id, {})
        if same(step.written, wanted) and not same(first.written, wanted):
            chosen[step.id] = step
    return list(chosen.values())


def _keeping(prompt: Prompt) -> bool:
    """Whether the prompt offers to keep steps without writing them again."""
    return _KEEP.search(prompt.instructions) is not None


def _written_out(entries: list[WrittenStep], prompt: Prompt, open_steps: list[ShownStep]) -> list[WrittenStep]:
    """The entries with neighbouring keeps joined, or where the prompt does not offer keeping, in full."""
    if not _keeping(prompt):
        in_full = {step.id: {k: v for k, v in step.written.items() if k != "problem"} for step in open_steps}
        return [in_full.get(entry.get("keep", ""), entry) for entry in entries]
    joined: list[WrittenStep] = []
    for keeps, group in groupby(entries, key=lambda entry: "keep" in entry):
        run = list(group)
        joined += [{"keep": [entry["keep"] for entry in run]}] if keeps else run
    return joined
