"""What steps gave, as a model is shown it: the values themselves, each line of them fenced, within a budget.

Results are data that others wrote. A line of a prompt that begins with `FENCE` holds such data, and no other line does:
what a result says can neither begin a line of the prompt's own form nor another row, element or result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import PositiveInt

from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.report import (
    FAILED,
    NOT_RUN,
    RESULT_CAP,
    SUBMITTED,
    WAITS_FOR_COMMIT,
    environment_summary,
)
from pivot_dspy.prompts.shown import COMPARED, ShownResults, joined
from pivot_dspy.prompts.truncation import (
    FENCE,
    compact_json,
    escape_controls,
    fair_cap,
    fit,
    json_length,
    json_line,
    json_within,
    longest_start,
    truncate,
)
from pivot_dspy.trajectory import Fault, Frozen, Observation, Step

CHARACTERS = 4
"""In a token, about."""
SUMMARY_CAP = 200 * CHARACTERS
ITEM_CAP = 80
"""Characters of the element, or the result, of one call whose like the environment tells in its own words."""
ONE_LINE = 120
"""Characters up to which a list of plain values stands in one line."""
ASKED_CAP = 400
"""Characters of what a model asked to see, and of why it cannot."""

PICKED_SHARE = 8
"""By how much less is shown of a result that does not fit, where the model has asked for parts of it beside."""

_NOTICE_ROOM = 80


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


@dataclass(frozen=True)
class _Written:
    """Lines of a prompt, without line ends."""

    lines: Sequence[str] = ()
    whole: Sequence[tuple[str, Any]] = ()
    """What of the value they show in full, each with its path: the value itself, or some of its parts."""

    def __len__(self) -> int:
        """Characters, with line ends."""
        return sum(map(len, self.lines)) + len(self.lines)

    @property
    def is_whole(self) -> bool:
        return any(path == "" for path, _ in self.whole)


@dataclass(frozen=True)
class _Writer:
    """How one value is written: behind which fence, how it is called, and what was shown before."""

    fence: str
    name: str
    """A JMESPath expression for the value, such as `$a`, to which `[60:]` can be added."""
    shown: ShownResults

    def write(self, value: Any, cap: int) -> _Written:
        """`value` in about `cap` characters at most, with what is left out."""
        if isinstance(value, str):
            return self.text(value, cap)
        if isinstance(value, list) and value:
            if all(isinstance(item, dict) for item in value):
                return self._records(value, cap)
            if json_length(value, ONE_LINE) > ONE_LINE:
                return self._rows(value, lambda position, room: self._line(value[position], room), "elements", cap)
        return self._line(value, cap)

    def text(self, value: str, cap: int) -> _Written:
        """`value` as its lines."""
        told = self.shown.without(value)
        if not told:
            return self._line(told, cap)
        lines, count = self._start(told, cap)
        if count == len(told):
            return _Written(lines, [("", value)])
        lines, count = self._start(told, cap - _NOTICE_ROOM)
        return _Written([*lines, self._notice(len(told) - count, len(value), "characters")])

    def _start(self, text: str, room: int) -> tuple[list[str], int]:
        """The first lines of `text`, the last one cut, and how many of its characters they hold."""
        lines, count = [], 0
        for line in text[: max(0, room)].splitlines(keepends=True):
            room -= len(self.fence) + 1
            content = line.splitlines()[0]
            written = escape_controls(content)
            if len(written) > room:
                kept = longest_start(content, room, escape_controls)
                lines += [f"{self.fence}{escape_controls(content[:kept])}"] if kept else []
                return lines, count + kept
            lines.append(f"{self.fence}{written}")
            room -= len(written)
            count += len(line)
        return lines, count

    def _line(self, value: Any, cap: int, before: str = "", after: str = "") -> _Written:
        """`value` as JSON in one line, its long leaves cut."""
        told, room = self.shown.without(value), cap - len(self.fence) - len(before) - len(after) - 1
        is_whole = json_length(told, room) <= room
        written = json_line(told) if is_whole else json_within(told, room)
        return _Written([f"{self.fence}{before}{written}{after}"], [("", value)] if is_whole else [])

    def _records(self, values: list[dict[str, Any]], cap: int) -> _Written:
        """How many there are and what is the same in all of them, then a row for each with the rest."""
        count = _counted(len(values), "record")
        same = _shared(values, cap)

        def head(room: int) -> _Written:
            return self._line(same, room, f"{count}; in all ") if same else _Written([self.fence + count], [("", {})])

        def row(position: int, room: int) -> _Written:
            value = values[position]
            written = self._line({key: item for key, item in value.items() if key not in same}, room)
            return _Written(written.lines, [("", value)] if written.is_whole else [])

        return self._rows(values, row, "records", cap, head)

    def calls(self, values: list[dict[str, Any]], summary: Callable[[int], str | None], cap: int) -> _Written:
        """The results of a repeated step, each behind a fence of its own below the element that it is of."""

        def brief(position: int, room: int) -> _Written:
            item = json_within(self.shown.without(values[position]["item"]), ITEM_CAP)
            account = summary(position) or json_within(values[position]["result"], ITEM_CAP)
            return _Written([f"{self.fence}item {item} -> {truncate(_one_line(account), RESULT_CAP)}"])

        def call(position: int, room: int) -> _Written:
            value = values[position]
            inner = _Writer(self.fence + FENCE, f"{self.name}[{position}].result", self.shown)
            body = inner.write(value["result"], room)
            head = self._line(value["item"], max(room // 2, room - len(body)), "item ", " ->")
            if len(head) + len(body) > room:
                body = inner.write(value["result"], room - len(head))
            whole = [("", value)] if head.is_whole and body.is_whole else _within(".result", body.whole)
            return _Written([*head.lines, *body.lines], whole)

        if summary(0):
            return self._rows(values, brief, "calls", min(cap, SUMMARY_CAP))
        return self._rows(values, call, "calls", cap)

    def summary(self, account: str, cap: int) -> _Written:
        """What the environment says of the value, instead of it."""
        return _Written(self.text(account, min(cap, SUMMARY_CAP)).lines)

    def _rows(
        self, values: list[Any], write: Callable[[int, int], _Written], noun: str, cap: int,
        *heads: Callable[[int], _Written],
    ) -> _Written:  # fmt: skip
        """As many of `values` as there is room for below the `heads`, each as `write` writes the one at a position."""
        count = len(heads) + len(values)

        def part(position: int, room: int) -> _Written:
            return heads[position](room) if position < len(heads) else write(position - len(heads), room)

        lengths = (len(part(position, cap)) for position in range(count))
        parts = fit(count, lengths, part, cap, 2 * _NOTICE_ROOM)
        lines = [line for written in parts for line in written.lines]
        shown = parts[len(heads) :]
        headed = all(written.is_whole for written in parts[: len(heads)])
        if len(parts) < count:
            rest = json_line({"look": f"{self.name}[{len(shown)}:]"})
            lines.append(self._notice(len(values) - len(shown), len(values), noun, f": {rest}"))
        elif all(written.is_whole for written in parts):
            return _Written(lines, [("", values)])
        whole = [item for index, row in enumerate(shown) for item in _within(f"[{index}]", row.whole)]
        return _Written(lines, whole if headed else [])

    def _notice(self, missing: int, total: int, noun: str, where: str = "") -> str:
        return f"{self.fence}… {missing:,} of {total:,} {noun} are not shown{where}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _within(path: str, whole: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(joined(path, inner), value) for inner, value in whole]


def _shared(records: list[dict[str, Any]], cap: int) -> dict[str, Any]:
    """The fields that are the same in all `records`, if there are several; none that is longer than `cap`.

    Where there are many records, long lists and records in them are not compared: it would take too long.
    """
    if len(records) < 2:
        return {}
    limit = min(cap, COMPARED // len(records))
    same = {
        key: value
        for key, value in records[0].items()
        if json_length(value, most := limit if isinstance(value, (dict, list)) else cap) <= most
    }
    texts = {key: compact_json(value) for key, value in same.items()}
    for record in records[1:]:
        same = {
            key: value
            for key, value in same.items()
            if key in record and _is_same(value, record[key], texts[key])
        }
        if not same:
            break
    return same


def _is_same(value: Any, other: Any, text: str) -> bool:
    """Whether `other` is the same JSON as `value`, whose JSON is `text`: 1 is neither true nor 1.0."""
    if type(value) is not type(other) or value != other:
        return False
    return not isinstance(value, (dict, list)) or text == compact_json(other)


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

    def write(self, shown: ShownResults, cap: int) -> tuple[str, _Written]:
        """What stands behind the arrow, and the lines below it."""
        step, observation = self.step, self.observation
        writer = _Writer(FENCE, f"${step.id}", shown)
        if observation.status == "blocked":
            return f" {NOT_RUN}: it needs a step that failed", _Written()
        if observation.status == "withheld":
            calls = f", {_counted(observation.calls, 'call')}" if step.for_each and observation.calls else ""
            return f" {WAITS_FOR_COMMIT}{calls}", _Written()
        if step.is_submit and observation.ok:
            return f" {SUBMITTED}", _Written()
        fault = observation.fault
        if observation.status == "error":
            return (f" {FAILED} {fault.kind}", writer.text(_said(fault), cap)) if fault else (f" {FAILED}", _Written())
        failed: list[str] = []
        if fault:  # of some calls of a repeated step
            inner = _Writer(FENCE + FENCE, writer.name, shown)
            failed = [f"{FENCE}{FAILED} {fault.kind}", *inner.text(_said(fault), cap // 4).lines]
        status, written = self._value(writer, cap - len(_Written(failed)))
        return status, _Written([*written.lines, *failed], written.whole)

    def _value(self, writer: _Writer, cap: int) -> tuple[str, _Written]:
        value = self.observation.value
        if (place := writer.shown.place_of(value)) is not None:
            return " as shown before" if place == (self.step.id, "") else f" as shown of {place}", _Written()
        if writer.shown.is_in_part(self.step.id, value):
            return " as shown before, in part", _Written()
        if _is_repeated(self.step, value):
            return "", writer.calls(value, self.summary, cap)
        if account := self.summary(None):
            if "\n" not in account.strip() and len(account) <= RESULT_CAP:
                return f" {_one_line(account)}", _Written()
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

    @cache
    def summary(position: int | None) -> str | None:
        value = observation.value if position is None else observation.value[position]["result"]
        return environment_summary(step.tool, value, environment)

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
    lengths = [*caps]
    if sum(lengths) > room:
        lengths = [len(result.write(known, cap)[1]) for result, cap in zip(results, caps, strict=True)]
    level = fair_cap(lengths, room)
    lines: list[str] = []
    for result, length, cap in zip(results, lengths, caps, strict=True):
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
    header = f"look {truncate(_one_line(expression), ASKED_CAP)} ->"
    if problem:
        return f"{header} {FAILED}: {truncate(_one_line(problem), ASKED_CAP)}"
    known = ShownResults() if shown is None else shown
    if (place := known.place_of(value)) is not None:
        return f"{header} as shown of {place}"
    writer = _Writer(FENCE, f"{expression} | ", known)
    return "\n".join([header, *writer.write(value, CHARACTERS * min(budget.result, budget.turn)).lines])


def _one_line(text: str) -> str:
    return escape_controls(" ".join(text.split()))
