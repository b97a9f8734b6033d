"""Clues from what went wrong while running: faults of steps, and bindings that gave nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from pivot_dspy import bindings
from pivot_dspy.blame.assignment import compare
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.extraction import is_expression
from pivot_dspy.blame.predicates import Predicate, Relation, relation
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.trajectory import SUBMIT, Fault, Step

_STATIC = frozenset({"unknown_tool", "malformed_step", "timeout"})


def clues(inquiry: BlameContext) -> Iterator[Clue]:
    """One clue or more for every fault, for steps that repeat one call, and where there is no submit."""
    named: set[str] = set()
    empty_handed: list[str] = []
    for step in inquiry.steps:
        fault = inquiry.faulty.get(step.id)
        if step.for_each and not _uses_item(step):
            text = f"it repeats over {step.for_each}, and every call is the same, since nothing in args is $item"
            yield inquiry.clue(step.id, "wrong_value", Weight.CONTRADICTION, text, "use $item in args")
        if fault is None:
            continue
        if fault.kind == "unresolved_binding":
            if fault.reference is not None and fault.reference not in inquiry.graph.position:
                if fault.reference not in named:
                    named.add(fault.reference)
                    yield _missing_source(inquiry, step, fault.reference)
            elif fault.reference is not None and fault.reference not in inquiry.graph.reads[step.id]:
                yield inquiry.clue(step.id, fault.kind, Weight.CERTAIN, fault.message, "refer to an earlier step")
            else:
                empty_handed.append(step.id)
        else:
            yield from _own(inquiry, step, fault)
    yield from _of_bindings(inquiry, empty_handed)
    for discrepancy in inquiry.execution.discrepancies:
        if discrepancy.kind == "unmet_expectation" and discrepancy.step is not None:
            yield inquiry.clue(discrepancy.step, discrepancy.kind, Weight.DEVIATION, discrepancy.message)
    if inquiry.execution.trajectory.submit is None:
        end = len(inquiry.steps)
        yield Clue(end, None, "missing_submit", Weight.ABSENT, f"no step is a {SUBMIT}", f"end with a {SUBMIT} step")


def _uses_item(step: Step) -> bool:
    return any(bindings.ITEM in bindings.references(text) for text in bindings.strings(step.args))


def _missing_source(inquiry: BlameContext, step: Step, name: str) -> Clue:
    position = inquiry.graph.position[step.id]
    return Clue(
        position, step.id, "missing_step", Weight.CERTAIN, f"${name} is read, and no step is called {name}",
        f"add the step {name} before it, or refer to a step that exists",
    )  # fmt: skip


def _own(inquiry: BlameContext, step: Step, fault: Fault) -> Iterator[Clue]:
    certain = fault.kind in _STATIC or (fault.kind == "bad_arguments" and _as_written(inquiry, step))
    failed = step.id in inquiry.failed
    weight = Weight.CERTAIN if certain else Weight.FAILURE if failed else Weight.DEVIATION
    correction = f"call it as {fault.expected}" if fault.kind == "bad_arguments" and fault.expected else ""
    if fault.kind == "bad_arguments" and not certain:
        yield from _ill_fitting(inquiry, step, fault)
    if fault.kind == "unknown_tool":
        correction = f"use one of {fault.expected}"
    yield inquiry.clue(step.id, fault.kind, weight, fault.message, correction)


def _ill_fitting(inquiry: BlameContext, step: Step, fault: Fault) -> Iterator[Clue]:
    """An argument that is the whole result of a step, and does not fit: that step may have used the wrong tool."""
    position = inquiry.graph.position
    for name, text in step.args.items():
        source = text[1:] if isinstance(text, str) and text.startswith("$") else ""
        if source not in position or f" {name}: " not in f"{fault.message} ":
            continue
        idle = [
            one.id for one in inquiry.steps
            if position[source] < position[one.id] < position[step.id]
            and not inquiry.graph.readers[one.id] and one.id not in inquiry.graph.writes
        ]  # fmt: skip
        if not idle:  # else the step should rather read what nothing reads
            text = f"its whole result is the {name} of {step.id}, and does not fit: {fault.message}"
            yield inquiry.clue(source, "wrong_tool", Weight.SHARED, text, "use another tool")


def _as_written(inquiry: BlameContext, step: Step) -> bool:
    """Whether bad arguments are bad whatever the bindings give."""
    if not any("$" in text for text in bindings.strings(step.args)):
        return True
    if step.is_submit:
        fields = {*inquiry.execution.outputs, *inquiry.execution.missing_outputs}
        return bool(fields) and not fields.issuperset(step.args)
    spec = inquiry.toolbox.tools.get(step.tool)
    return (
        spec is None or any(name not in step.args for name in spec.required)
        or (not spec.open_ended and any(name not in spec.parameters for name in step.args))
    )  # fmt: skip


def _of_bindings(inquiry: BlameContext, failing: list[str]) -> Iterator[Clue]:
    starved: dict[str, list[str]] = defaultdict(list)
    absent: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step_id in failing:
        broken = [text for text in _bindings(inquiry, step_id) if not is_expression(text)]
        if broken:
            yield inquiry.clue(step_id, "unresolved_binding", Weight.CERTAIN, f"{broken[0]} is not valid JMESPath")
            continue
        reads = (read for read in inquiry.matching.said[step_id].reads if read[0] in inquiry.graph.position)
        states = [(read, *_state(inquiry, read)) for read in reads]
        lost = next((read for read, state, _ in states if state == "absent"), None)
        thin = next((read for read, state, _ in states if state == "empty"), None)
        if lost is not None:
            absent[lost[0], lost[1]].append(step_id)
        elif thin is not None:
            yield from _turned_empty(inquiry, step_id, thin[0])
        else:
            source = states[0][0][0] if states else ""
            starved[source].append(step_id)
    for (source, field), readers in absent.items():
        yield from _wrong_field(inquiry, source, field, readers)
    for source, readers in starved.items():
        yield from _nothing_selected(inquiry, source, readers)


def _bindings(inquiry: BlameContext, step_id: str) -> list[str]:
    step = inquiry.step(step_id)
    return [text for text in bindings.strings([step.for_each, step.args]) if bindings.references(text)]


def _state(inquiry: BlameContext, read: tuple[str, ...]) -> tuple[str, Any]:
    """Whether what a binding starts from is `absent`, `empty` or `present`."""
    observation = inquiry.graph.observed.get(read[0])
    value: Any = None if observation is None else observation.value
    for part in read[1:]:
        if not isinstance(value, Mapping) or part not in value:
            return ("absent", None) if value not in (None, [], {}) else ("empty", None)
        value = value[part]
    return ("empty" if value in (None, [], {}, "") else "present"), value


def _turned_empty(inquiry: BlameContext, step_id: str, source: str) -> Iterator[Clue]:
    """Step back from an empty result to the first that turned empty."""
    seen = {source}
    while True:
        before = next(
            (
                read[0]
                for read in inquiry.matching.said[source].reads
                if read[0] in inquiry.graph.position and read[0] not in seen and _state(inquiry, read)[0] == "empty"
            ),
            None,
        )
        if before is None:
            break
        seen.add(before)
        source = before
    weight = Weight.STARVED if selects_as_asked(inquiry, source) else Weight.SHARED
    text = f"its result is empty, and {step_id} needs it"
    yield inquiry.clue(source, "narrow_result", weight, text, "select by less, or look elsewhere")


def _wrong_field(inquiry: BlameContext, source: str, field: str, readers: list[str]) -> Iterator[Clue]:
    producer = inquiry.step(source)
    others = [
        spec.name
        for spec in inquiry.toolbox.tools.values()
        if spec.name != producer.tool and field in _fields(spec.returns) and _fits(producer, spec)
    ]
    succeed = [name for name in inquiry.graph.readers[source] if name not in inquiry.failed and name not in readers]
    text = f"the result of {source} has no field {field}"
    if others or (len(readers) > 1 and not succeed):
        correction = f"use {others[0]}, whose result has it" if others else ""
        yield inquiry.clue(source, "wrong_tool", Weight.SHARED, f"{text}, which {', '.join(readers)} reads", correction)
    observation = inquiry.graph.observed[source]
    there = list(observation.value) if isinstance(observation.value, Mapping) else []
    correction = f"read one of {', '.join(map(str, there[:12]))}" if there else "read another step's result"
    for reader in readers:
        yield inquiry.clue(reader, "unresolved_binding", Weight.FAILURE, text, correction)


def _nothing_selected(inquiry: BlameContext, source: str, readers: list[str]) -> Iterator[Clue]:
    thriving = [
        name for name in inquiry.graph.readers.get(source, ()) if name not in inquiry.failed and name not in readers
    ]
    if len(readers) > 1 and not thriving:
        text = f"nothing in its result serves {', '.join(readers)}"
        yield inquiry.clue(source, "narrow_result", Weight.SHARED, text, "widen it, or look elsewhere")
    for reader in readers:
        fault = inquiry.faulty[reader]
        at_odds = unmatched(inquiry, reader)
        also = f"; no element has {' or '.join(map(str, at_odds))}" if at_odds else ""
        weight = Weight.STARVED if _only_starved(inquiry, reader) else Weight.FAILURE
        yield inquiry.clue(reader, "unresolved_binding", weight, f"{fault.message}{also}")


def _only_starved(inquiry: BlameContext, step_id: str) -> bool:
    """Whether the step selects from a list just what is asked, so that the list may be what is wrong."""
    said = inquiry.matching.said[step_id]
    if "gives nothing" not in inquiry.faulty[step_id].message and not inquiry.step(step_id).for_each:
        return False
    elements = _state(inquiry, said.reads[0])[1] if said.reads else None
    if not isinstance(elements, list) or not all(has(elements[0], path) for path in (*said.picks, *said.fields)):
        return False
    return selects_as_asked(inquiry, step_id)


def selects_as_asked(inquiry: BlameContext, step_id: str) -> bool:
    """Whether a step selects by something, and all of it is asked."""
    facts = inquiry.matching.said[step_id].facts
    asked = [wanted.fact for wanted in inquiry.matching.asked_of(step_id)]
    return bool(facts) and all(any(compare(fact, wanted) is Relation.SAME for wanted in asked) for fact in facts)


def has(record: Any, path: tuple[str, ...]) -> bool:
    """Whether a record has the field at `path`."""
    for part in path:
        if not isinstance(record, Mapping) or part not in record:
            return False
        record = record[part]
    return True


def unmatched(inquiry: BlameContext, step_id: str) -> list[Predicate]:
    """The facts of a step that no element of what it reads satisfies by itself."""
    said = inquiry.matching.said[step_id]
    found = []
    for read in said.reads[:1]:
        elements = _state(inquiry, read)[1]
        if isinstance(elements, list):
            asked = [fact for fact in said.facts if fact not in said.given]
            found = [fact for fact in asked if not any(_satisfies(item, fact) for item in elements)]
    return found


def _satisfies(element: Any, fact: Predicate) -> bool:
    value = element
    for part in fact.path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return any(item == fact.written for item in value)
    if value is None or isinstance(value, (bool, Mapping)):
        return False
    if fact.op == "contains" and isinstance(value, str):
        return str(fact.written) in value
    if isinstance(value, str) and fact.op == "==":
        return bool(value == fact.written)
    number = float(value) if isinstance(value, (int, float)) else value
    return relation(Predicate(fact.path, "==", number, value), fact) in (Relation.SAME, Relation.TIGHTER)


def _fits(step: Step, spec: ToolSpec) -> bool:
    return all(name in spec.parameters for name in step.args) and all(name in step.args for name in spec.required)


def _fields(annotation: Any) -> frozenset[str]:
    """Names of the fields of a result type; those of every member of a union."""
    if get_origin(annotation) is not None:
        members = [item for item in get_args(annotation) if isinstance(item, type)]
        return frozenset().union(*(_fields(item) for item in members)) if members else frozenset()
    if isinstance(annotation, type) and not annotation.__module__.startswith("builtins"):
        try:
            return frozenset(get_type_hints(annotation))
        except (NameError, TypeError):
            return frozenset()
    return frozenset()
