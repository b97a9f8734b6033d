"""Clues from what went wrong: faults of steps, bindings that gave nothing, and what violated requirements are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.blame import mends
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.predicates import Predicate, meets, value_at
from pivot_dspy.gradient import MISREAD_REQUIREMENT
from pivot_dspy.plain_json import scalars
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import SUBMIT, Fault, Step

_STATIC = frozenset({"unknown_tool", "malformed_step", "timeout"})
_CORRECTIONS = {"bad_arguments": "call it as {}", "unknown_tool": "use one of {}"}
_EMPTY: tuple[Any, ...] = (None, [], {}, "")
_SHOWN_FIELDS = 12


def clues(context: BlameContext) -> Iterator[Clue]:
    """One clue or more for every fault, for steps that repeat one call, and where there is no submit."""
    missing: set[str] = set()
    starved: list[str] = []
    for step in context.steps:
        uses_item = any(bindings.ITEM in bindings.references(text) for text in bindings.strings(step.args))
        if step.for_each and not uses_item:
            text = f"it repeats over {step.for_each}, and every call is the same, since nothing in args is $item"
            yield context.clue(step.id, "wrong_value", Weight.CONTRADICTION, text, "use $item in args")
        fault = context.faults.get(step.id)
        if fault is None:
            continue
        source = fault.reference
        if fault.kind != "unresolved_binding":
            yield from _of_fault(context, step, fault)
        elif source is None or source in context.graph.reads[step.id]:
            starved.append(step.id)
        elif source in context.graph.position:
            yield context.clue(step.id, fault.kind, Weight.CERTAIN, fault.message, "refer to an earlier step")
        elif source not in missing:
            missing.add(source)
            text = f"${source} is read, and no step is called {source}"
            correction = f"add the step {source} before it, or refer to a step that exists"
            yield context.missing(context.graph.position[step.id], Weight.CERTAIN, text, correction)
    yield from _of_bindings(context, starved)
    for discrepancy in context.execution.discrepancies:
        if discrepancy.kind == "unmet_expectation" and discrepancy.step is not None:
            yield context.clue(discrepancy.step, discrepancy.kind, Weight.DEVIATION, discrepancy.message)
    if context.execution.trajectory.submit is None:
        text, correction = f"no step is a {SUBMIT}", f"end with a {SUBMIT} step"
        yield Clue(len(context.steps), None, "missing_submit", Weight.ABSENT, text, correction)


def _of_fault(context: BlameContext, step: Step, fault: Fault) -> Iterator[Clue]:
    weight = Weight.FAILURE if step.id in context.failed else Weight.DEVIATION
    if fault.kind in _STATIC or (fault.kind == "bad_arguments" and _is_bad_as_written(context, step)):
        weight = Weight.CERTAIN
    elif fault.kind == "bad_arguments":
        yield from _ill_fitting_results(context, step, fault)
    correction = _CORRECTIONS.get(fault.kind, "").format(fault.expected) if fault.expected else ""
    yield context.clue(step.id, fault.kind, weight, fault.message, correction, mended=_mended(context, step, fault))


def _mended(context: BlameContext, step: Step, fault: Fault) -> Step | None:
    if fault.kind == "unknown_tool":
        return mends.with_near_tool(step, context.toolbox)
    if fault.kind == "bad_arguments" and not _made_up(context, step):
        return mends.with_fitting_call(step, context.toolbox, context.graph.observed[step.id].args)
    return None


def _made_up(context: BlameContext, step: Step) -> bool:
    """Whether an argument is a text that stands nowhere before the step: then a call that fits would not help."""
    plain = [value for value in scalars(step.args) if isinstance(value, str) and "$" not in value]
    return context.has_task and not all(context.is_known(value, context.graph.position[step.id]) for value in plain)


def _is_bad_as_written(context: BlameContext, step: Step) -> bool:
    """Whether bad arguments are bad whatever the bindings give."""
    if not any("$" in text for text in bindings.strings(step.args)):
        return True
    if step.is_submit:
        fields = {*context.execution.outputs, *context.execution.missing_outputs}
        return bool(fields) and not fields.issuperset(step.args)
    spec = context.toolbox.spec(step.tool)
    return spec is None or bool(spec.misnamed(step.args))


def _ill_fitting_results(context: BlameContext, step: Step, fault: Fault) -> Iterator[Clue]:
    """An argument that is the whole result of a step, and does not fit: that step may have used the wrong tool."""
    position = context.graph.position
    for name, value in step.args.items():
        source = value[1:] if isinstance(value, str) and value.startswith("$") else ""
        if source not in position or f" {name}: " not in f"{fault.message} ":
            continue
        between = context.graph.ids[position[source] + 1 : position[step.id]]
        # Where nothing reads a result in between, the step should rather read that.
        if all(context.graph.changes(other) or context.graph.readers[other] for other in between):
            text = f"its whole result is the {name} of {step.id}, and does not fit: {fault.message}"
            yield context.clue(source, "wrong_tool", Weight.SHARED, text, "use another tool")


def _of_bindings(context: BlameContext, starved: list[str]) -> Iterator[Clue]:
    absent: dict[tuple[str, str], list[str]] = defaultdict(list)
    unserved: dict[str, list[str]] = defaultdict(list)
    for step_id in starved:
        broken = _malformed(context, step_id)
        if broken is not None:
            yield context.clue(step_id, "unresolved_binding", Weight.CERTAIN, broken)
            continue
        reads = _reads(context, step_id)
        first = {_state(context, read): read for read in reversed(reads)}
        if "absent" in first:
            source, field = first["absent"][:2]
            absent[source, field].append(step_id)
        elif "empty" in first:
            yield from _turned_empty(context, step_id, first["empty"][0])
        else:
            unserved[reads[0][0] if reads else ""].append(step_id)
    for (source, field), readers in absent.items():
        yield from _wrong_field(context, source, field, readers)
    for source, readers in unserved.items():
        yield from _nothing_selected(context, source, readers)


def _malformed(context: BlameContext, step_id: str) -> str | None:
    step = context.graph.step(step_id)
    earlier = context.graph.ids[: context.graph.position[step_id]]
    return bindings.malformed([step.for_each, *step.args.values()], {*earlier, bindings.ITEM})


def _reads(context: BlameContext, step_id: str) -> list[tuple[str, ...]]:
    reads = context.assignment.step_predicates[step_id].reads
    return [read for read in reads if read[0] in context.graph.position]


def _state(context: BlameContext, read: tuple[str, ...]) -> str:
    """Whether what a binding starts from is `absent`, `empty` or `present`."""
    value = context.graph.result(read[0])
    for part in read[1:]:
        if not isinstance(value, Mapping) or part not in value:
            return "empty" if value in _EMPTY else "absent"
        value = value[part]
    return "empty" if value in _EMPTY else "present"


def _turned_empty(context: BlameContext, step_id: str, source: str) -> Iterator[Clue]:
    """Step back from an empty result to the first that turned empty."""
    visited: set[str] = set()
    while source not in visited:
        visited.add(source)
        empty = (read[0] for read in _reads(context, source) if _state(context, read) == "empty")
        source = next(empty, source)
    if context.graph.step(source).tool in context.toolbox.lookups:
        for unread in _without_result(context, source):
            text = f"its result is empty, and {source}, which {step_id} needs, looks through what was read"
            yield context.clue(unread, "narrow_result", Weight.SHARED, text, "select by less, or look elsewhere")
        text = f"nothing fits {source}, and {step_id} needs it"
        correction = f"read the request again, and put {source} right in `requirements`"
        yield context.clue(source, MISREAD_REQUIREMENT, Weight.SHARED, text, correction, [source])
        return
    text = f"its result is empty, and {step_id} needs it"
    yield context.clue(source, "narrow_result", Weight.SHARED, text, "select by less, or look elsewhere")


def _without_result(context: BlameContext, source: str) -> Iterator[str]:
    """The first read before a look-up that gave nothing, where one did: what it looks through may lack just that."""
    earlier = context.graph.ids[: context.graph.position[source]]
    results = {step_id: context.graph.result(step_id) for step_id in earlier if not context.graph.changes(step_id)}
    empty = (step_id for step_id, value in results.items() if not any(scalars(value)))
    yield from islice(empty, 1)


def _wrong_field(context: BlameContext, source: str, field: str, readers: list[str]) -> Iterator[Clue]:
    text = f"the result of {source} has no field {field}"
    if _all_starve(context, source, readers):
        yield context.clue(source, "wrong_tool", Weight.SHARED, f"{text}, which {', '.join(readers)} reads")
    result = context.graph.result(source)
    fields = list(map(str, result)) if isinstance(result, Mapping) else []
    correction = f"read one of {', '.join(fields[:_SHOWN_FIELDS])}" if fields else "read another step's result"
    for reader in readers:
        mended = mends.with_field(context.graph.step(reader), source, field, fields)
        yield context.clue(reader, "unresolved_binding", Weight.FAILURE, text, correction, mended=mended)


def _all_starve(context: BlameContext, source: str, readers: list[str]) -> bool:
    """Whether there are several readers, and a step's result serves none of them."""
    return len(readers) > 1 and context.failed.issuperset({*context.graph.readers.get(source, ())}.difference(readers))


def _nothing_selected(context: BlameContext, source: str, readers: list[str]) -> Iterator[Clue]:
    if _all_starve(context, source, readers):
        text = f"nothing in its result serves {', '.join(readers)}"
        yield context.clue(source, "narrow_result", Weight.SHARED, text, "widen it, or look elsewhere")
    for reader in readers:
        unmet = " or ".join(map(str, _unmet_by_all(context, reader)))
        text = context.faults[reader].message + (f"; no element has {unmet}" if unmet else "")
        yield context.clue(reader, "unresolved_binding", Weight.FAILURE, text)


def _unmet_by_all(context: BlameContext, step_id: str) -> list[Predicate]:
    """The predicates of a step that no element of what it reads meets by itself."""
    selection = context.assignment.step_predicates[step_id]
    source, *path = selection.reads[0] if selection.reads else ("",)
    elements = value_at(context.graph.result(source), tuple(path))
    if not elements or not isinstance(elements, list):
        return []
    selecting = [predicate for predicate in selection.predicates if predicate not in selection.arguments]
    return [predicate for predicate in selecting if not any(meets(element, predicate) for element in elements)]


def origins(context: BlameContext) -> Iterator[Clue]:
    """Steps that brought in what a violated requirement is about, or mean to serve it."""
    for name, finding in context.violated.items():
        yield from _brought_in(context, name, finding)
        server = context.assignment.step_for.get(name)
        if server is not None:
            text = f"it serves {name}: {finding.evidence}"
            yield context.clue(server, "wrong_selection", Weight.SERVES, text, finding.hint, [name])


def _brought_in(context: BlameContext, name: str, finding: Finding) -> Iterator[Clue]:
    """The steps that brought in the values that a finding is about. Where none brought one in, such a step is missing:
    before the one for the next value, else after all that act."""
    following, drafts = context.end_of_acts, _drafts(context)
    for value in reversed(finding.about):
        step_id = context.bringer(value) if isinstance(value, (str, int, float)) else None
        if step_id is not None:
            following = context.graph.position[step_id]
            text = f"it brought in {value}, which {name} is about: {finding.evidence}"
            if step_id in drafts:  # the report says what is wrong with what it put together
                text = f"{name} is not met by what it puts together ({value})"
            yield context.clue(step_id, "wrong_selection", Weight.ORIGIN, text, finding.hint, [name])
        elif len(drafts) == 1:
            text = f"{name} is not met by what it puts together"
            yield context.clue(drafts[0], "wrong_selection", Weight.ORIGIN, text, finding.hint, [name])
        elif isinstance(value, str):
            text = f"no step brings in {value}, which {name} wants: {finding.evidence}"
            yield context.missing(following, Weight.ORIGIN, text, finding.hint, [name])


def _drafts(context: BlameContext) -> list[str]:
    """The steps that put together what is submitted."""
    specs = {step.id: context.toolbox.spec(step.tool) for step in context.steps}
    return [step_id for step_id, spec in specs.items() if spec is not None and spec.draft]


def unexplained(context: BlameContext) -> Iterator[Clue]:
    """The earliest step that any symptom depends on, and the others after it.

    What a judge found unmet in words may show in any result.
    """
    symptoms = {found.step for found in context.execution.discrepancies if found.step is not None}
    if any(item.id in context.violated for item in context.requirements.textual):
        symptoms.update(context.graph.ids)
    elif context.violated:
        symptoms.update(context.graph.writes, context.graph.ids[-1:])
    names = list(context.violated)
    for step_id in context.graph.slice(symptoms):
        if not context.graph.step(step_id).is_submit:
            text = "it may be the cause: what went wrong depends on it"
            yield context.clue(step_id, "unexplained", Weight.UNEXPLAINED, text, "", names)
