"""Judges requirements by what observations show, and words answers from them."""

from __future__ import annotations

import json
import re
from typing import Any

from pivot_dspy import bindings, claims
from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference
from pivot_dspy.offline.shown import results_in
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
