"""Judges, criticises and reflects on a run, and composes its answer, from what the prompt shows of it."""

from __future__ import annotations

import itertools
import json
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.prompts import report
from pivot_dspy.simulator.evolve import NOTHING, cause
from pivot_dspy.simulator.prompt import (
    OF_THE_REFINER,
    Prompt,
    ShownStep,
    is_cut,
    json_in,
    results_in,
    same,
    says,
    shared,
    step_line,
    steps_in,
)  # fmt: skip
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import WrittenStep
from pivot_dspy.trajectory import SUBMIT

# ------------------------------------------------------------------------------------------------ verdict and answer

_REQUIREMENT = re.compile(r"^(\w+): (.*)$", re.MULTILINE)
_STATEMENT = re.compile(r"^(S\d+) (.*)$", re.MULTILINE)
_FIGURE = re.compile(r"\w*\d\w*")
_WORD = re.compile(r"\w+")
_PART = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")
_FIGURES_OF = re.compile(r"(?<![\w.\"])[\d,]*\d(?:\.\d+)?(?=[, ].*stands in no)")
MOST_TIMES = 7
"""How often one number is counted in a figure that is worked out."""


def judge(turn: Turn) -> dict[str, Any]:
    """A verdict on each question, with a quote; each turned round with `judge_error`."""
    required, said = dict(_REQUIREMENT.findall(turn.section("requirements"))), _statements(turn)
    unsupported = _unsupported(turn)
    verdicts: list[dict[str, Any]] = []
    for name, note in report.questions_in(turn.section("questions")):
        if note.startswith(report.UNNAMED):
            quote = _asking(turn, name) if turn.knows_task and _is_known(turn, name) else []
        elif name in said:
            figures = _FIGURE.findall(said[name])
            wrong = [figure for figure in figures if figure in unsupported]
            quote = [] if wrong else [_nearest(turn, said[name])]
        elif name in required:
            quote = _truths(turn, name, required[name])
        else:
            quote = [_nearest(turn, note)] if _is_known(turn, name) else []
        holds = bool(quote) != turn.dice.falls(turn.rates.judge_error, "verdict", name)
        shown = quote or [_nearest(turn, required.get(name, ""))]  # one that errs quotes what comes near
        verdicts.append({"about": name, "holds": holds, **({"quote": shown} if holds else {})})
        if holds and name in said and note:
            verdicts[-1]["calc"] = [_worked_out(turn, figure) for figure in _FIGURES_OF.findall(note)]
    return {"verdicts": _joined(verdicts)}


def _statements(turn: Turn) -> dict[str, str]:
    return dict(_STATEMENT.findall(turn.section("submitted")))


def _truths(turn: Turn, name: str, text: str) -> list[str]:
    """What shows that a requirement is met; empty where it does not stand there whole."""
    truths = turn.reference.truths
    truth = truths.get(name, truths.get(text, ()))
    signs = [truth] if isinstance(truth, str) else list(truth)
    answer = " ".join(_statements(turn).values())
    evidence = f"{turn.section('observations')}\n{turn.section('submitted')}\n{answer}"
    return signs if all(sign in evidence for sign in signs) else []


def _worked_out(turn: Turn, figure: str) -> str:
    """A calc that gives a figure: from what the reference says that it comes from, or of two numbers that are seen."""
    wanted = float(figure.replace(",", ""))
    sources = [float(value) for value in turn.reference.worked_out.get(figure, ())]
    for counts in itertools.product(range(MOST_TIMES + 1), repeat=len(sources)):
        if sources and sum(map(operator.mul, counts, sources)) == wanted:
            return " + ".join(f"{count} * {source:g}" for count, source in zip(counts, sources, strict=True) if count)
    seen = dict.fromkeys(map(float, _NUMBER.findall(turn.section("observations"))))
    pairs = ((one, wanted - one) for one in seen if wanted - one in seen)
    return next((f"{one:g} + {other:g}" for one, other in pairs), figure)


def _is_known(turn: Turn, step: str) -> bool:
    """Whether the reference makes a call of the same tool as a step that the prompt shows."""
    _, tool = _call_of(turn, step)
    return any(other["tool"] == tool for other in turn.reference.steps)


def _call_of(turn: Turn, step: str) -> tuple[str, str]:
    """A step's call as the prompt shows it, and its tool; empty where it shows none."""
    observations = turn.section("observations")
    shown = re.search(rf"^{re.escape(step)} ((\w+) .*)$", observations, re.MULTILINE)
    if shown is not None:
        return shown[1], shown[2]
    written = next((one.written for one in steps_in(observations) if one.id == step), None)  # one made for each item
    return ("", "") if written is None else (json.dumps(written), written["tool"])


def _nearest(turn: Turn, text: str) -> str:
    """The line of what was seen or asked that has most words in common with a text."""
    lines = "\n".join([turn.section("observations"), turn.section("policy")]).splitlines()
    return _most_like(lines, text)


def _asking(turn: Turn, step: str) -> list[str]:
    """The lines of the request or the policy that name a step's tool, or else are most like its call, and most like
    what the reference does that for."""
    call, tool = _call_of(turn, step)
    same_tool = [other["id"] for other in turn.reference.steps if other["tool"] == tool]
    served = {name for other in same_tool for name in turn.reference.requirements_of(other)}
    if step in same_tool:
        served = set(turn.reference.requirements_of(step))
    texts = [str(item.get("text", "")) for item in turn.reference.requirements if item.get("id") in served]
    inputs = (text for name, text in turn.prompt.sections.items() if name not in OF_THE_REFINER)
    told = "\n".join([*inputs, turn.section("policy")]).splitlines()
    named = [text for text in told if tool in _WORD.findall(text)]
    return named[:1] or list(dict.fromkeys([_most_like(told, call), _most_like(told, " ".join(texts))]))


def _most_like(texts: Iterable[str], wanted: str) -> str:
    words = set(_PART.findall(wanted.lower()))
    return max(texts, key=lambda text: len(words.intersection(_PART.findall(text.lower()))))


def _joined(verdicts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Verdicts that say the same of several questions as one of all of them."""
    by_rest: dict[str, dict[str, Any]] = {}
    for verdict in verdicts:
        rest = json.dumps({name: value for name, value in verdict.items() if name != "about"})
        about = by_rest.setdefault(rest, {**verdict, "about": []})["about"]
        about.append(verdict["about"])
    return [
        {**verdict, "about": verdict["about"][0] if len(verdict["about"]) == 1 else verdict["about"]}
        for verdict in by_rest.values()
    ]


def _unsupported(turn: Turn) -> list[str]:
    """The figures of what is submitted that nothing else in the prompt tells."""
    if is_cut(turn.section("observations")):
        return []  # what was left out may well show it
    evidence = shared(turn.prompt.sections, ("requirements", "submitted"))
    submitted, told = " ".join(_statements(turn).values()), turn.told_by(evidence)
    if told.tells(submitted, answer=True):
        return []
    return [figure for figure in dict.fromkeys(_FIGURE.findall(submitted)) if not says(evidence, figure)]


def compose(turn: Turn) -> dict[str, Any]:
    """The reference's outputs; a binding among them reads what the prompt shows of the observations."""
    return read_off(turn, results_in(turn.section("observations")))


def read_off(turn: Turn, results: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the reference, or else what it submits, with their bindings resolved over `results`; what is not
    to be read from these is left out, and what the prompt does not tell is made up."""
    submit: WrittenStep = next((step for step in turn.reference.steps if step["tool"] == SUBMIT), {"id": SUBMIT})
    written = turn.guessed({**submit, "tool": SUBMIT, "args": {**(submit.get("args") or {}), **turn.reference.outputs}})
    outputs = {}
    for name, value in written["args"].items():
        try:
            outputs[name] = bindings.resolve(value, results, frozenset(results))
        except bindings.BindingError:
            continue
    return outputs


# -------------------------------------------------------------------------------------------------------- criticism


def critique(turn: Turn) -> dict[str, Any]:
    """One entry for each fault that is seen; hints stay in the report, which the rewrite is shown as well."""
    return {"faults": [fault.partition("\n")[0] for fault in _faults(turn)]}


def reflect(turn: Turn) -> dict[str, Any]:
    """The same faults, with the hints that the next trial will not be shown otherwise."""
    return {"reflection": "\n".join([*_faults(turn), *_found(turn)]) or NOTHING}


def _found(turn: Turn) -> Iterator[str]:
    """What the results tell that the request does not, for steps that are not there yet as they should be."""
    shown, lines = steps_in(turn.section("open_steps")), turn.section("open_steps").splitlines()
    results = turn.told_by("\n".join(line for line in lines if line.startswith(report.FENCE)))
    asked = turn.told_by("\n".join(text for name, text in turn.prompt.sections.items() if name not in OF_THE_REFINER))
    for step in turn.reference.steps:
        values = [it.value for it in turn.unknown(step, asked) if it not in turn.unknown(step, results)]
        if values and not any(same(step, other.written) for other in shown) and turn.heeds("found", step["id"]):
            yield f"Step {step['id']} takes {', '.join(map(str, values))}."


def _faults(turn: Turn) -> Iterator[str]:
    shown = steps_in(turn.section("open_steps"))
    seen = list(_seen(turn, shown))
    yield from (text for label, text in seen if turn.heeds("fault", label))
    if seen and turn.knows_task and turn.heeds("cause"):
        wrong, wanting = cause(turn, shown)
        if wrong is not None:
            yield f"Step {wrong.id} does not do what is asked; write it again."
        elif wanting is not None:
            yield f"A step is missing: add step {wanting}."


def _seen(turn: Turn, shown: list[ShownStep]) -> Iterator[tuple[str, str]]:
    """What the prompt itself says is wrong, each with a label for the dice."""
    for step in shown:
        if report.status_of(step.outcome) == "error":
            yield f"step {step.id}", f"Step {step.id}: {step.outcome}"
    for unmet in report.unmet_in(turn.section("report")):
        yield f"requirement {unmet.id}", f"{unmet.id}: {unmet.to_text()}"
    if all(step.written["tool"] != SUBMIT for step in shown):
        yield SUBMIT, "Nothing is submitted; end with step submit."


# ---------------------------------------------------------------------------------------------- advice in dspy.Refine

_NOT_TO_BLAME = "N/A"


def advise(turn: Turn) -> dict[str, Any]:
    """What a reflection on the run would say, as advice to every module that is named."""
    reflection = reflect(turn._replace(prompt=turn.prompt._replace(sections=_as_report(turn))))["reflection"]
    blamed = reflection != NOTHING
    names = json_in(turn.section("module_names")) or []
    return {
        "discussion": "The plan is to blame." if blamed else NOTHING,
        "advice": {str(name): reflection if blamed else _NOT_TO_BLAME for name in names},
    }


def task_in(prompt: Prompt) -> str:
    """The inputs of the program that an `OfferFeedback` prompt is about, as they were before they became JSON."""
    inputs = json_in(prompt.section("program_inputs"))
    return "\n".join(map(str, inputs.values())) if isinstance(inputs, Mapping) else ""


def _as_report(turn: Turn) -> dict[str, str]:
    """The attempt in the sections that a reflection is shown: steps with what came of each, and the report."""
    outputs = json_in(turn.section("program_outputs")) or {}
    calls = json_in(turn.section("program_trajectory")) or [{"outputs": outputs}]
    ran = steps_in("\n".join(outputs.get("outcomes") or ()))
    outcomes = {step.id: step.outcome for step in ran}
    lines = [step_line(step, outcomes.get(step["id"], "")) for step in calls[-1]["outputs"].get("steps") or ()]
    return {"open_steps": "\n".join(lines), "report": "\n".join(outputs.get("report") or ())}
