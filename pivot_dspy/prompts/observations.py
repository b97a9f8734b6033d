"""What steps gave, as a model is shown it: the values themselves, each line of them fenced, within a budget.

Results are data that others wrote. A line of a prompt that begins with `FENCE` holds such data, and no other line does:
what a result says can neither begin a line of the prompt's own form nor another row, element or result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import PositiveInt

from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.media import detach
from pivot_dspy.prompts.report import (
    FAILED,
    NOT_RUN,
    RESULT_CAP,
    SUBMITTED,
    WAITS_FOR_COMMIT,
    environment_summary,
)
from pivot_dspy.prompts.shown import ShownResults
from pivot_dspy.prompts.truncation import (
    FENCE,
    escape_controls,
    fair_cap,
    truncate,
)
from pivot_dspy.prompts.written import CHARACTERS, ValueWriter, WrittenValue, counted, one_line
from pivot_dspy.trajectory import Fault, Frozen, Observation, Step

ASKED_CAP = 400
"""Characters of what a model asked to see, and of why it cannot."""

PICKED_SHARE = 8
"""By how much less is shown of a result that does not fit, where the model has asked for parts of it beside."""


class ObservationBudget(Frozen):
    """How much of what steps gave a prompt shows, in tokens of four characters."""

    result: PositiveInt = 2000
    """Of one result."""
    turn: PositiveInt = 6000
    """Of all results that are shown at once; fair shares of it."""

    def after(self, text: str) -> ObservationBudget:
        """What is left of a turn in which `text` is shown; a tenth at least."""
        left = max(self.turn // 10, self.turn - len(text) // CHARACTERS, 1)
        return ObservationBudget(result=self.result, turn=left)


class _Result(NamedTuple):
    """One step with what it gave."""

    step: Step
    observation: Observation
    summary: Callable[[int | None], str | None]
    """The environment's own account of the result, or of that of one call of a repeated step."""

    def is_picked(self, picked: Collection[str]) -> bool:
        """Whether it is the result of one of these steps."""
        return self.observation.ok and self.step.id in picked

    def header(self, written: str | None) -> str:
        """Names the step, as it is `written`, by default by its id and tool."""
        brief = f"{self.step.id} {truncate(self.step.tool, RESULT_CAP)}"
        return f"{escape_controls(written or brief)} ->"

    def write(self, shown: ShownResults, cap: int) -> tuple[str, WrittenValue]:
        """What stands behind the arrow, and the lines below it."""
        step, observation = self.step, self.observation
        writer = ValueWriter(FENCE, f"${step.id}", shown)
        if observation.status == "blocked":
            return f" {NOT_RUN}: it needs a step that failed", WrittenValue()
        if observation.status == "withheld":
            calls = f", {counted(observation.calls, 'call')}" if step.for_each and observation.calls else ""
            return f" {WAITS_FOR_COMMIT}{calls}", WrittenValue()
        if step.is_submit and observation.ok:
            return f" {SUBMITTED}", WrittenValue()
        fault = observation.fault
        if observation.status == "error":
            if fault is None:
                return f" {FAILED}", WrittenValue()
            return f" {FAILED} {fault.kind}", writer.text(_said(fault), cap)
        failed: list[str] = []
        if fault:  # of some calls of a repeated step
            inner = ValueWriter(FENCE + FENCE, writer.name, shown)
            failed = [f"{FENCE}{FAILED} {fault.kind}", *inner.text(_said(fault), cap // 4).lines]
        status, written = self._value(writer, cap - len(WrittenValue(failed)))
        return status, WrittenValue([*written.lines, *failed], written.whole)

    def _value(self, writer: ValueWriter, cap: int) -> tuple[str, WrittenValue]:
        value = self.observation.value
        if (place := writer.shown.place_of(value)) is not None:
            return " as shown before" if place == (self.step.id, "") else f" as shown of {place}", WrittenValue()
        if writer.shown.is_in_part(self.step.id, value):
            return " as shown before, in part", WrittenValue()
        shown, parts = detach(value)
        if shown is value:
            return self._written(writer, value, cap)
        status, written = self._written(writer, shown, cap)
        # What holds parts is whole with them, or else counts as not shown.
        whole = [("", value)] if written.is_whole else []
        lines = [f"{FENCE}<part {number}>: {part}" for number, part in enumerate(parts, 1)]
        return status, WrittenValue([*written.lines, *lines], whole)

    def _written(self, writer: ValueWriter, value: Any, cap: int) -> tuple[str, WrittenValue]:
        if _is_repeated(self.step, value):
            return "", writer.calls(value, self.summary, cap)
        if account := self.summary(None):
            if "\n" not in account.strip() and len(account) <= RESULT_CAP:
                return f" {one_line(account)}", WrittenValue()
            return "", writer.summary(account, cap)
        return "", writer.write(value, cap)


def _said(fault: Fault) -> str:
    """What a fault says, in the tool's own words."""
    return f"{fault.message}; expected {fault.expected}" if fault.expected else fault.message


def _is_repeated(step: Step, value: Any) -> bool:
    """Whether `value` lists the results of a repeated step."""
    if step.for_each is None or not isinstance(value, list) or not value:
        return False
    return all(isinstance(call, dict) and call.keys() == {"item", "result"} for call in value)


def _accounts(step: Step, observation: Observation, environment: Environment) -> Callable[[int | None], str | None]:
    """What the environment says of a result, asked once for each."""
    told: dict[int | None, str | None] = {}

    def summary(position: int | None) -> str | None:
        if position not in told:
            value = observation.value if position is None else observation.value[position]["result"]
            told[position] = environment_summary(step.tool, value, environment)
        return told[position]

    return summary


def render_results(
    steps_and_observations: Sequence[tuple[Step, Observation]], environment: Environment, budget: ObservationBudget, *,
    shown: ShownResults | None = None, headers: Mapping[str, str] | None = None, picked: Collection[str] = (),
) -> str:  # fmt: skip
    """What each step gave: a line that names it, then the value, each of its lines behind `FENCE`.

    A text is shown as its lines, a list of records as a row each, anything else as JSON.

    Args:
        budget: of the values; lines that name the steps, and their arguments, come on top.
        shown: what need not be shown again; what is now shown in full is added to it.
        headers: how steps are named, by id; by id and tool if not here.
        picked: ids of steps of which the prompt shows the parts that the model asked for: what is too long of their
            results is cut further.

    >>> ran = Observation(step="a", value=[{"day": "Monday", "room": "Blue"}, {"day": "Monday", "room": "Green"}])
    >>> print(render_results([(Step(id="a", tool="search"), ran)], Environment(), ObservationBudget()))
    a search ->
    | 2 records; in all {"day": "Monday"}
    | {"room": "Blue"}
    | {"room": "Green"}
    """
    results = [
        _Result(step, observation, _accounts(step, observation, environment))
        for step, observation in steps_and_observations
    ]
    known = ShownResults() if shown is None else shown
    for step, observation, _ in results:
        if observation.ok and known.place_of(observation.value) != (step.id, ""):
            known.forget(step.id)
    full, room = CHARACTERS * budget.result, CHARACTERS * budget.turn
    caps = [
        full // PICKED_SHARE if result.is_picked(picked) and not result.write(known, full)[1].is_whole else full
        for result in results
    ]
    lengths, first = [*caps], known.version
    drafts: list[tuple[str, WrittenValue]] = []
    if sum(lengths) > room:
        drafts = [result.write(known, cap) for result, cap in zip(results, caps, strict=True)]
        lengths = [len(written) for _, written in drafts]
    level = fair_cap(lengths, room)
    lines: list[str] = []
    for position, (result, length, cap) in enumerate(zip(results, lengths, caps, strict=True)):
        if drafts and length <= level and known.version == first:  # nothing was shown since that it could refer to
            status, written = drafts[position]
        else:
            status, written = result.write(known, cap if length <= level else min(cap, level))
        lines += [f"{result.header((headers or {}).get(result.step.id))}{status}", *written.lines]
        if shown is not None and result.observation.ok:
            for path, value in written.whole:
                shown.add(result.step.id, path, value)
            if written.lines and not written.is_whole:
                shown.add_in_part(result.step.id, result.observation.value, picked=cap < full)
    return "\n".join(lines)


def render_look(
    expression: str, value: Any | None, problem: str, budget: ObservationBudget, shown: ShownResults | None = None
) -> str:
    """What an expression that a model asked to see gives.

    Args:
        value: what it selects.
        problem: why it cannot be evaluated, if it cannot.
        shown: what need not be shown again.

    >>> print(render_look("$a[?stars > `3`].name", ["Ritz"], "", ObservationBudget()))
    look $a[?stars > `3`].name ->
    | ["Ritz"]
    >>> print(render_look("$a[?stars > `9`].name", [], "", ObservationBudget()))
    look $a[?stars > `9`].name -> FAILED: selects nothing
    """
    problem = problem or ("selects nothing" if value in (None, [], {}) else "")
    header = f"look {truncate(one_line(expression), ASKED_CAP)} ->"
    if problem:
        return f"{header} {FAILED}: {truncate(one_line(problem), ASKED_CAP)}"
    known = ShownResults() if shown is None else shown
    if (place := known.place_of(value)) is not None:
        return f"{header} as shown of {place}"
    writer = ValueWriter(FENCE, f"{expression} | ", known)
    return "\n".join([header, *writer.write(value, CHARACTERS * min(budget.result, budget.turn)).lines])
