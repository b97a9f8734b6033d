"""Criticises a trajectory, or reflects on a failed one, from what the prompt shows of its run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pivot_dspy import bindings, claims
from pivot_dspy.prompts import report
from pivot_dspy.simulator.evolve import cause
from pivot_dspy.simulator.prompt import Prompt, ShownStep, results_in, steps_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates
from pivot_dspy.trajectory import SUBMIT, Execution, Observation, Step, Trajectory

_REQUIREMENT = re.compile(r"^(\w+): (.*)$", re.MULTILINE)
_OWN = ("requirements", "observations", "submitted")


def judge(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A verdict on each requirement, and the claims that nothing supports; each turned round with `judge_error`."""
    truths = reference.truths if reference else {}
    observations = prompt.section("observations")
    verdicts = []
    for name, text in _REQUIREMENT.findall(prompt.section("requirements")):
        truth = truths.get(name, truths.get(text, ()))
        signs = [truth] if isinstance(truth, str) else truth
        shown = bool(signs) and all(sign in observations for sign in signs)
        holds = shown != dice.falls(rates.judge_error, "verdict", name)
        verdicts.append({"id": name, "evidence": "\n".join(signs) if shown else "", "holds": holds})
    unsupported = [
        said for said in _unsupported(prompt) if not dice.falls(rates.judge_error, "claim", said)
    ]
    return {"verdicts": verdicts, "unsupported": unsupported}


def compose(prompt: Prompt, reference: Reference | None) -> dict[str, Any]:
    """The reference's outputs; a binding among them reads what the prompt shows of the observations."""
    if reference is None:
        return {}
    results = results_in(prompt.section("observations"))
    found = {}
    for name, value in reference.outputs.items():
        try:
            found[name] = bindings.resolve(value, results, frozenset(results))
        except bindings.BindingError:
            continue  # it is not to be read from what is shown
    return found


def _unsupported(prompt: Prompt) -> list[str]:
    """What the package's own rule finds, applied to what the prompt shows."""
    try:
        submitted = json.loads(prompt.section("submitted") or "{}")
    except ValueError:
        return []
    if not isinstance(submitted, dict) or "… (+" in prompt.section("observations"):
        return []  # what was left out may well show it
    results = results_in(prompt.section("observations"))
    submit = Step(id=SUBMIT, tool=SUBMIT, args=dict.fromkeys(submitted))
    steps = [Step(id=name, tool="?") for name in results if name != SUBMIT]
    execution = Execution(
        trajectory=Trajectory(steps=(*steps, submit)),
        observations=tuple(Observation(step=step.id, value=results[step.id]) for step in steps),
        outputs=submitted,
    )
    # Arguments stand in the section beside the results; as text they are looked up like inputs.
    inputs = {name: text for name, text in prompt.sections.items() if name not in ("requirements", "submitted")}
    return [found.message for found in claims.check(execution, inputs).unsupported]


_NOT_TO_BLAME = "N/A"


def advise(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """What a reflection on the run would say, as advice to every module that is named."""
    found = reflect(prompt._replace(sections=_as_report(prompt)), reference, rates, dice)
    text = found["reflection"] if found["reflection"] != NOTHING else _NOT_TO_BLAME
    names = _json(prompt.section("module_names"))
    return {
        "discussion": "The plan is to blame." if text != _NOT_TO_BLAME else NOTHING,
        "advice": {str(name): text for name in names} if isinstance(names, list) else {},
    }


def task_in(prompt: Prompt) -> str:
    """The inputs of the program that an `OfferFeedback` prompt is about, as they were before they became JSON."""
    inputs = _json(prompt.section("program_inputs"))
    return "\n".join(map(str, inputs.values())) if isinstance(inputs, Mapping) else ""


def _as_report(prompt: Prompt) -> dict[str, str]:
    """The attempt in the sections that a reflection is shown: steps with what came of each, and the report."""
    outputs = _json(prompt.section("program_outputs"))
    outputs = outputs if isinstance(outputs, Mapping) else {}
    said: dict[str, str] = {}
    for line in _lines(outputs, "outcomes"):
        name, _, rest = line.partition(" ")
        said[name] = rest.partition(" -> ")[2]
    shown = [(json.dumps(step, ensure_ascii=False), said.get(str(step.get("id")), "")) for step in _steps(prompt)]
    lines = [f"{written} -> {outcome}" for written, outcome in shown]
    return {"open_steps": "\n".join(lines), "report": "\n".join(_lines(outputs, "report"))}


def _steps(prompt: Prompt) -> list[Mapping[str, Any]]:
    """The steps that the attempt planned, or was given."""
    calls = _json(prompt.section("program_trajectory"))
    last = calls[-1] if isinstance(calls, list) and calls else {"outputs": _json(prompt.section("program_outputs"))}
    outputs = last.get("outputs") if isinstance(last, Mapping) else None
    steps = outputs.get("steps") if isinstance(outputs, Mapping) else None
    return [step for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []


def _lines(outputs: Mapping[str, Any], name: str) -> list[str]:
    found = outputs.get(name)
    return [str(line) for line in found] if isinstance(found, list) else []


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


NOTHING = "Nothing stands out."


def critique(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """One entry for each fault that is seen; hints stay in the report, which the rewrite is shown as well."""
    return {"faults": [said.partition("\n")[0] for said in _faults(prompt, reference, rates, dice)]}


def reflect(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """The same faults, with the hints that the next trial will not be shown otherwise."""
    return {"reflection": "\n".join(_faults(prompt, reference, rates, dice)) or NOTHING}


def _faults(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> Iterator[str]:
    shown = steps_in(prompt.section("open_steps"))
    seen = list(_seen(prompt, shown))
    for label, text in seen:
        if dice.falls(rates.heed, "fault", label):
            yield text
    if seen and reference is not None and dice.falls(rates.heed, "cause"):
        wrong, wanting = cause(prompt, reference, shown)
        if wrong is not None:
            yield f"Step {wrong.id} does not do what is asked; write it again."
        elif wanting is not None:
            yield f"A step is missing: add step {wanting}."


def _seen(prompt: Prompt, shown: list[ShownStep]) -> Iterator[tuple[str, str]]:
    """What the prompt itself says is wrong, each with a label for the dice."""
    for step in shown:
        if report.status_of(step.outcome) == "error":
            yield f"step {step.id}", f"Step {step.id}: {step.outcome}"
    for unmet in report.unmet_in(prompt.section("report")):
        evidence = f"{report.NOT_MET}: {unmet.evidence}" if unmet.evidence else report.NOT_MET
        hint = f"\n  {unmet.hint}" if unmet.hint else ""
        yield f"requirement {unmet.id}", f"{unmet.id}: {evidence}{hint}"
    if not any(step.written["tool"] == SUBMIT for step in shown):
        yield SUBMIT, "Nothing is submitted; end with step submit."
