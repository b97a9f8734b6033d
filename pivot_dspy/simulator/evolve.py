"""Rewrites a trajectory from what the feedback in the prompt names, and points at the step that is to blame."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pivot_dspy.simulator.plan import written
from pivot_dspy.simulator.prompt import Prompt, ShownStep, kept_in, names, open_in, same, shared, steps_in, unmet_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates, Surroundings, WrittenStep, spoil
from pivot_dspy.trajectory import SUBMIT

_HEADING = re.compile(r"^Trajectory \d+:$", re.MULTILINE)


def recombine(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A summary, and the steps that the shown ones are joined to, rewritten as one trajectory is."""
    shown = [steps_in(text) for text in _HEADING.split(prompt.section("trajectories"))[1:]]
    joined = _joined(shown, reference, rates, dice)
    sections = {name: text for name, text in prompt.sections.items() if name not in ("trajectories", "reports")}
    lines = [f"{json.dumps(one.written, ensure_ascii=False)} -> {one.outcome}" for one in joined]
    sections["open_steps"] = "\n".join(lines)
    sections["report"] = prompt.section("reports")
    said = rewrite(prompt._replace(sections=sections), reference, rates, dice)
    return {"summary": said["diagnosis"], "steps": said["steps"]}


def _joined(
    shown: list[list[ShownStep]], reference: Reference | None, rates: Rates, dice: Dice
) -> list[ShownStep]:
    """The first trajectory, with the right version of a step that another shows, each at the rate of heed."""
    joined = list(shown[0]) if shown else []
    if reference is None:
        return joined
    order = [step["id"] for step in reference.steps]
    every = [one for steps in shown for one in steps]
    for place, right in enumerate(reference.steps):
        found = next((one for one in every if one.id == right["id"] and same(one.written, right)), None)
        if found is None or found in joined or not dice.falls(rates.heed, "version", right["id"]):
            continue
        at = next((n for n, one in enumerate(joined) if one.id == right["id"]), None)
        if at is not None:
            joined[at] = found
        else:
            before = [n for n, one in enumerate(joined) if one.id in order[:place]]
            joined.insert(max(before, default=-1) + 1, found)
    return joined


_KEEP = re.compile(r"[\"'`]keep[\"'`]")
_NOT_FEEDBACK = frozenset({"tools", "checks", "policy", "known", "kept", "lessons", "user_requirements"})


def rewrite(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A diagnosis, and the steps from the first one shown as open."""
    place, open_steps = _open(prompt)
    if reference is None:
        open_steps = _best(open_steps, {})
        entries: list[WrittenStep] = [{"keep": step.id} for step in open_steps]
        known = [step.written["tool"] for step in open_steps]
        submit = [] if SUBMIT in known else [{"id": SUBMIT, "tool": SUBMIT, "args": {}}]
        return {"diagnosis": "Nothing stands out.", "steps": _written_out([*entries, *submit], prompt, open_steps)}
    return _Rewriting(prompt, reference, rates, dice, place, open_steps).answer()


def localise(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """The first suspect that is wrong, or a step that is wanting, with probability `heed`; else a random suspect."""
    suspects = steps_in(prompt.section("suspects"))
    found = dice.pick(suspects, "suspect") if suspects else None
    if reference is not None and dice.falls(rates.heed, "locus"):
        wrong, wanting = cause(prompt, reference, suspects)
        if wrong:
            found = wrong
        elif wanting:
            order = [step["id"] for step in reference.steps]
            later = order[order.index(wanting) + 1 :] if wanting in order else []
            before = next((step.id for step in suspects if step.id in later), "end")
            return {"diagnosis": "A step is missing.", "step": before, "correction": f"Add step {wanting}."}
    if found is None:
        return {"diagnosis": "A step is missing.", "step": "end", "correction": "Add what is missing."}
    return {
        "diagnosis": f"Step {found.id} does not do what is asked.",
        "step": found.id,
        "correction": f"Write step {found.id} again.",
    }


def cause(
    prompt: Prompt, reference: Reference, shown: list[ShownStep]
) -> tuple[ShownStep | None, str | None]:
    """The first shown step that is not as it should be, or else the id of one that is wanting."""
    steps = {step["id"]: step for step in reference.revised(prompt.sections)}
    for step in shown:
        if step.id not in steps or not same(step.written, steps[step.id]):
            return step, None
    return None, _wanting(prompt, reference, [*steps], shown)


def _wanting(prompt: Prompt, reference: Reference, ids: list[str], suspects: list[ShownStep]) -> str | None:
    """A step of the reference that the suspects lack: one that they name, or that alone serves what is not met."""
    present = {step.id for step in suspects}
    unmet = unmet_in(prompt.section("report"))
    told = "\n".join(step.outcome for step in suspects if step.failed)
    for step_id in ids:
        if step_id in present:
            continue
        wanted = names(told, step_id) or re.search(rf"\b{re.escape(reference.tool_of(step_id))}\b", told)
        if wanted or unmet.intersection(reference.requirements_of(step_id)):
            return step_id
    return None


class _Rewriting:
    """One rewrite of the steps that a prompt shows as open."""

    def __init__(
        self, prompt: Prompt, reference: Reference, rates: Rates, dice: Dice, place: str, open_steps: list[ShownStep]
    ) -> None:
        self.prompt = prompt
        self.reference = reference
        self.rates = rates
        self.dice = dice
        self.right = {step["id"]: step for step in reference.revised(prompt.sections)}
        self.open = _best(open_steps, self.right)
        self.revised = {
            step_id
            for step_id, step in self.right.items()
            if not any(same(step, original) for original in reference.steps if original["id"] == step_id)
        }
        self.kept = kept_in(prompt.section("kept"), self.right)
        self.keeping = _KEEP.search(prompt.instructions) is not None
        task = [name for name, text in prompt.sections.items() if reference.match in text and name != "blame"]
        told = shared(prompt.sections, {*_NOT_FEEDBACK, place, "blame", *task})
        self.feedback = "\n".join(line for line in told.splitlines() if not steps_in(line))  # no versions, only words
        self.outcomes = "\n".join(step.outcome for step in open_steps)
        self.blame = prompt.section("blame")
        self.unmet = unmet_in(self.feedback)
        self.changed: list[str] = []

    def answer(self) -> dict[str, Any]:
        entries = [entry for step in self.open if (entry := self._of_open(step)) is not None]
        self._insert_missing(entries)
        said = f"To be mended: {', '.join(self.changed)}." if self.changed else "Nothing stands out."
        return {"diagnosis": said, "steps": self._finished(entries)}

    def _of_open(self, step: ShownStep) -> WrittenStep | None:
        """The step as it is to be written; None where it is left out."""
        right = self.right.get(step.id)
        if right is not None and (step.brief and not self._pointed_at(step.id) or same(step.written, right)):
            return {"keep": step.id}
        if self._named(step.id, step) and self._heeds("repair", step.id):
            self.changed.append(step.id)
            return right
        return {"keep": step.id}

    def _insert_missing(self, entries: list[WrittenStep]) -> None:
        order = list(self.right)
        last = max((order.index(step_id) for step_id in self.kept if step_id in order), default=-1)
        first_time = {step["id"]: step for step in written(self.right.values(), self.prompt, self.rates, self.dice)}
        for place, (step_id, step) in enumerate(self.right.items()):
            if step_id in self.kept or any(shown.id == step_id for shown in self.open):
                continue
            new: WrittenStep | None = None
            if step["tool"] == SUBMIT:
                new = step
            elif not self.open and place > last:
                new = first_time.get(step_id)  # the plan had stopped short: it is gone on with
            elif self._named(step_id) and self._heeds("insert", step_id):
                new = step
            if new is not None:
                before = [n for n, entry in enumerate(entries) if entry.get("keep", entry.get("id")) in order[:place]]
                entries.insert(max(before, default=-1) + 1, new)
                self.changed.append(step_id)

    def _named(self, step_id: str, step: ShownStep | None = None) -> bool:
        """Whether the feedback names the step, its own line says that it failed, or what it serves is not met."""
        if step is not None and step.failed:
            return True
        return self._pointed_at(step_id) or bool(self.unmet.intersection(self.reference.requirements_of(step_id)))

    def _pointed_at(self, step_id: str) -> bool:
        """Whether the feedback names the step, or the task's own reasoning over it concludes that it has to change."""
        return step_id in self.revised or names(f"{self.feedback}\n{self.outcomes}", step_id, self.blame)

    def _heeds(self, *labels: str) -> bool:
        return self.dice.falls(self.rates.heed, *labels)

    def _finished(self, entries: list[WrittenStep]) -> list[WrittenStep]:
        if self.keeping:
            return _written_out(entries, self.prompt, self.open)
        around = Surroundings(list(self.right.values()), self.prompt.section("tools"))
        again = {step.id for step in self.open if step.id in self.right and same(step.written, self.right[step.id])}
        steps = []
        for step in _written_out(entries, self.prompt, self.open):
            step_id = step["id"]
            written_again = step_id in again and step["tool"] != SUBMIT
            if written_again and self.dice.falls(self.rates.relapse, "relapse", step_id):
                spoilt = spoil(step, around, self.dice, "relapse", step_id)
                steps += [spoilt] if spoilt is not None else []
            else:
                steps.append(step)
        return steps


def _open(prompt: Prompt) -> tuple[str, list[ShownStep]]:
    """The section that shows the steps to rewrite, and those steps."""
    for name in sorted(prompt.sections, key=lambda name: name != "open_steps"):
        shown = [] if name in _NOT_FEEDBACK else open_in(prompt.sections[name])
        if shown:
            return name, shown
    return "open_steps", []


def _best(shown: list[ShownStep], right: Mapping[str, WrittenStep]) -> list[ShownStep]:
    """Each id once; where a prompt shows several trajectories, the version of a step that is right, if one is."""
    chosen: dict[str, ShownStep] = {}
    for step in shown:
        better = step.id in right and same(step.written, right[step.id])
        if step.id not in chosen or (better and not same(chosen[step.id].written, right[step.id])):
            chosen[step.id] = step
    return list(chosen.values())


def _written_out(entries: list[WrittenStep], prompt: Prompt, open_steps: list[ShownStep]) -> list[WrittenStep]:
    """The entries with neighbouring keeps joined, or where the prompt does not offer keeping, in full."""
    if not _KEEP.search(prompt.instructions):
        in_full = {step.id: {k: v for k, v in step.written.items() if k != "problem"} for step in open_steps}
        return [in_full.get(entry["keep"], entry) if "keep" in entry else entry for entry in entries]
    joined: list[WrittenStep] = []
    for entry in entries:
        if "keep" in entry and joined and "keep" in joined[-1]:
            joined[-1]["keep"].append(entry["keep"])
        else:
            joined.append({"keep": [entry["keep"]]} if "keep" in entry else entry)
    return joined
