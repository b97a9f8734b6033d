"""What rules tell of the calls that change something: what asks for each, where its values come from, what is open."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pivot_dspy import bindings, claims
from pivot_dspy.bindings import BindingError
from pivot_dspy.blame import standing
from pivot_dspy.coverage import CoveredCall, leave_out, unasked_call
from pivot_dspy.environment.brevity import stems
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.grounds import RunGrounds
from pivot_dspy.phases.judge import Question
from pivot_dspy.plain_json import scalars
from pivot_dspy.prompts.report import UNNAMED
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.provenance import Origin, open_values, origins
from pivot_dspy.required_calls import MadeCall
from pivot_dspy.requirements import BINDING_ORIGINS, Finding, Requirement, Requirements
from pivot_dspy.told import figure_of, moment_of
from pivot_dspy.trajectory import Discrepancy, Execution
from pivot_dspy.verdict import Established

VALUE_CAP = 60
"""Characters of a value that a question names."""
LABELS_CAP = 6000
"""Characters of all that is said of where values come from."""
PROSE = 6
"""Words from which on a text that was read can ask for something."""
_STEP = re.compile(r"\w+")


@dataclass(frozen=True)
class CallReview:
    """What rules tell of a run's changing calls."""

    established: tuple[Established, ...]
    refused: tuple[Discrepancy, ...]
    """Calls that no judge may let pass."""
    questions: tuple[Question, ...]
    unnamed: Mapping[str, str]
    """By step, the tools of changes that can be undone and that no requirement names: they may be ways to read."""
    labels: str
    """For each call where its values come from, a line each."""


@dataclass
class _Steps:
    """What is said of each step so far; a step that makes several calls is one thing to ask about."""

    settled: dict[str, Established] = field(default_factory=dict)
    refused: dict[str, Discrepancy] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    unnamed: dict[str, str] = field(default_factory=dict)
    labels: dict[str, None] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)
    """By step whose result values of a named call come from, the requirement that names it."""


def review_calls(
    covered: Sequence[CoveredCall], execution: Execution, requirements: Requirements, toolbox: Toolbox,
    told: Mapping[str, str], read: Sequence[Any] = (), findings: Sequence[Finding] = (),
    oriented: Collection[str] = (), written: Collection[str] = (),
) -> CallReview:  # fmt: skip
    """What rules tell of the calls that were made.

    A call that cannot be undone is refused where no requirement named it before anything was read, unless a person asks
    in words alone. A change that can be undone is a way to read where values of a named call come from what it gave
    and stand in nothing else that was read; any other is put to a judge, who has to quote the words that ask for it.

    Args:
        told: trusted texts by name: the request, the policy, what a person required.
        findings: what checks have found; a value that they name is the one that was checked.
        oriented: values that orientation gave before anything was planned.
        written: ids of the steps that a person wrote, who so asked for them.
        read: what was read beside this run's results. Where prose that was read speaks of such a call, the call may
            come from there, and the words quoted for it have to speak of it and name its values as well.
    """
    prose = cache(lambda: [*_prose(execution, read)])  # results are long, and few calls depend on what they speak of
    steps, run = _Steps(), RunGrounds(execution, toolbox)
    served = {one.call.step for one in covered if one.serves is not None}
    unserved = {one.call.step for one in covered} - served
    others = leave_out(execution, unserved)
    beside_run = RunGrounds(others, toolbox)
    in_words = any(
        item.origin in BINDING_ORIGINS and not item.executable and item.call is None for item in requirements.items
    )
    for one in covered:
        call, spec = one.call, toolbox.tools[one.call.tool]
        if call.step in written:
            steps.settled[call.step] = Established(
                about=f"step {call.step}", kind="call", by="person", evidence="a person wrote it"
            )
            continue
        if spec.draft:
            only = "it only puts together what is submitted"
            steps.settled[call.step] = Established(about=f"step {call.step}", kind="call", by="rule", evidence=only)
            continue
        item = requirements[one.serves] if one.serves is not None else None
        fixed = None if item is None or not item.traced else item.open_call or item.call
        # What a model quotes of a result to fill a call in says where a value stands, not that it is the one meant.
        quotes = () if item is None else delegated([item], requirements, execution)
        found = origins(call, execution, toolbox, told=told, requirement=fixed, quotes=quotes, run=run)
        steps.labels[_label(one, found, held=call.waits)] = None
        unsettled = open_values(found)
        if item is not None and unserved:
            beside = origins(call, others, toolbox, told=told, requirement=fixed, quotes=quotes, run=beside_run)
            steps.read |= dict.fromkeys(_only_sources(found, beside), item.id)
        if item is not None and item.says_only_its_call:  # then nobody reads what it says
            unsettled = tuple(it for it in found if not it.settled)
        late = item is not None and requirements.was_named_late(item.id)
        if one.by == "check" and item is not None:
            unsettled = tuple(it for it in unsettled if str(it.value) not in oriented)
            unsettled = _beyond_evidence(unsettled, item, findings)
        doubtful = late or (item is not None and not item.traced)
        if item is not None and not doubtful and not unsettled:
            steps.settled[call.step] = _established(one)
        elif item is not None and not doubtful:
            _ask(steps, call, f"{_said(unsettled)}; quote what shows that this is meant")
        elif spec.effect == "irreversible" and not in_words and (item is None or (late and unsettled)):
            why = f"nothing tells {_said(unsettled)}" if item is not None else f"no requirement names {call.tool}"
            steps.refused.setdefault(call.step, unasked_call(call.step, why))
        else:
            about = stems([call.tool, spec.description, *call.args, *map(str, scalars(dict(call.args)))])
            early = item is not None and not late  # no result had been read that might have suggested it
            suggested = not (in_words or early) and any(about & words for step, words in prose() if step != call.step)
            invented = [it for it in unsettled if it.label == "unknown" and _names(it.value)] if early else []
            named = tuple(str(it.value) for it in (unsettled if suggested else invented))
            options = {"values": named, **({"bears": about} if suggested else {})}
            _ask(steps, call, UNNAMED, trusted=True, **options)
            if item is None and spec.effect == "write":
                steps.unnamed[call.step] = call.tool
    for step in [step for step in steps.unnamed if step in steps.read]:
        del steps.unnamed[step], steps.questions[step]
        evidence = f"what {steps.read[step]} asks for was read through it"
        steps.settled[step] = Established(about=f"step {step}", kind="call", by="rule", evidence=evidence)
    settled = [entry for step, entry in steps.settled.items() if step not in {*steps.refused, *steps.questions}]
    return CallReview(
        established=tuple(settled),
        refused=tuple(steps.refused.values()),
        questions=tuple(steps.questions.values()),
        unnamed=steps.unnamed,
        labels=truncate("\n".join(steps.labels), LABELS_CAP),
    )


def _names(value: Any) -> bool:
    """Whether a value names somebody or something; an amount or a date may have been worked out."""
    return figure_of(value) is None and moment_of(value) is None


def _beyond_evidence(values: Sequence[Origin], item: Requirement, findings: Sequence[Finding]) -> tuple[Origin, ...]:
    """The amounts, dates, ids and addresses that neither what a requirement checks names nor, but for amounts, what its
    check found; the requirement does not hold without the call, so that other words of it are the ones meant.
    """
    asked = standing.tokens(item.args)
    found = standing.tokens([finding.evidence for finding in findings if finding.requirement == item.id])

    def is_named(value: Any) -> bool:
        return standing.tokens(str(value)) <= (asked if figure_of(value) is not None else asked | found)

    exact = (origin for origin in values if claims.figures_beyond(str(origin.value), ()))
    return tuple(origin for origin in exact if not is_named(origin.value))


def _prose(execution: Execution, read: Sequence[Any]) -> Iterator[tuple[str, frozenset[str]]]:
    """How the words begin of each text that was read and is long enough to ask for something, with the step it is from;
    what a step gives back of itself is no reason for it."""
    seen = [(one.step, one.value if one.fault is None else one.fault.message) for one in execution.observations]
    for step, value in (*(("", each) for each in read), *seen):
        for text in scalars([value]):
            if isinstance(text, str) and len(text.split()) >= PROSE:
                yield step, stems([text])


def delegated(items: Sequence[Requirement], requirements: Requirements, execution: Execution) -> tuple[str, ...]:
    """The words of results whose instructions count, by these requirements or the ones that they are under."""
    results = {name: seen.value for name, seen in execution.by_step.items() if seen.ok and not seen.stale}
    above = {item.under for item in items}
    texts = []
    for each in requirements.items:
        if each.delegates is not None and (each in items or each.id in above):
            try:
                texts.append(str(bindings.evaluate(each.delegates, results)))
            except BindingError:
                continue  # what it delegates to was not read
    return tuple(texts)


def _ask(steps: _Steps, call: MadeCall, note: str, **options: Any) -> None:
    before = steps.questions.get(call.step)
    if before is None or before.note == note:
        steps.questions[call.step] = Question(call.step, "call", call.tool, note=note, **options)
    else:
        values = (*before.values, *options.pop("values", ()))
        options = {"trusted": before.trusted, "bears": before.bears, "values": values, **options}
        steps.questions[call.step] = before._replace(note=f"{before.note} {note}", **options)


def _established(one: CoveredCall) -> Established:
    evidence = f"{one.serves} names it" if one.by == "call" else f"{one.serves} does not hold without it"
    return Established(
        about=f"step {one.call.step}", kind="call", by="rule" if one.by == "call" else "check", evidence=evidence
    )


def source_of(origin: Origin) -> str:
    """Id of the step whose result a value comes from; empty where it comes from none."""
    if origin.label not in ("read", "bound"):
        return ""
    start = _STEP.match(origin.source)
    return start[0] if start is not None else ""


def _only_sources(found: Sequence[Origin], beside: Sequence[Origin]) -> Iterator[str]:
    """Ids of the steps that values are bound to, or were read from where `beside` them nothing shows the value."""
    shown = {origin.path for origin in beside if source_of(origin) and not origin.stale}
    return (source_of(it) for it in found if source_of(it) and (it.label == "bound" or it.path not in shown))


def _said(values: Sequence[Origin]) -> str:
    return ", ".join(f"{it.path} {truncate(compact_json(it.value), VALUE_CAP)} {it.to_prompt()}" for it in values)


def _label(one: CoveredCall, found: Sequence[Origin], *, held: bool) -> str:
    """One line: the step, what it serves, and where each of its values comes from."""
    serves = f", for {one.serves}" if one.serves is not None else ""
    values = ", ".join(f"{it.path} {it.to_prompt()}" for it in found)
    line = f"{one.call.step} {one.call.tool}{' (held)' if held else ''}{serves}: {values or 'no arguments'}"
    return " ".join(line.split())
