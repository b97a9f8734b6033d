"""Whether a trajectory that is run again goes the way that it went before, in all that matters.

A clock, a duration or a fresh id makes no two results equal. Such a value may differ where nothing depends on it: no
text that was relied on (the answer, a step as it was written, the evidence for a verdict) holds it, and no binding
passed it on to what changes something. What a call that changes something gave may be passed on all the same, as the
handle of what it made, unless it may be an amount; so may what a read gave to another read: what came of it is
compared. What a tool declares `volatile` may be anything. What changes the shape of a result, a word that is no figure,
day or month, or the outcome of a step always matters.

The id of what a changing call made may stand in the answer too, and in evidence, where the plan binds it and nobody
wrote it out: it is right in each run, and after commit the answer has that of the real one. An id is what is called so
(`id`, `booking_id`, `ref`, `token`, ...), or is a UUID or hexadecimal. One that is called otherwise, as a confirmation
code may be, cannot be told from a seat or a price: let the answer have the id, or a literal.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from os.path import commonprefix
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.leaf_paths import leaves, occurs, without
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.required_calls import made_calls
from pivot_dspy.sharing import is_same
from pivot_dspy.trajectory import Execution, Observation

logger = logging.getLogger(__name__)

_DAYS = "Mon(?:day)?|Tue(?:s(?:day)?)?|Wed(?:nesday)?|Thu(?:rs(?:day)?)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"
_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    "|Nov(?:ember)?|Dec(?:ember)?"
)
_FIGURE = re.compile(
    rf"\b[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}}\b|\w*\d\w*|\b(?:{_DAYS}|{_MONTHS}|[AP]M|[ap]m)\b"
)
"""A UUID, a word with a digit in it, or one that a clock says."""
_DECIMAL = re.compile(r"\d[.,]\d")
_OF_A_HANDLE = re.compile(
    r"^(?:\[[*\d]+\]\.result)?$"  # the whole of what a call gave
    r"|(?:(?:^|[\W_])(?i:id|no|nr|num|number|ref|reference|code|key|token|handle|u?uid|guid)|[a-z]I[dD])s?_?\W*(?:\[[*\d]+\])*$"
)
"""Where a number is a name and not an amount."""
_OF_AN_ID = re.compile(
    r"(?:(?:^|[\W_])(?i:id|ref|reference|token|handle|u?uid|guid)|[a-z]I[dD])s?_?\W*(?:\[[*\d]+\])*$"
)
"""Where a value names what was made, and says nothing else of it."""
_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}|(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{8,64}")
"""What can be nothing but an id: a UUID, or hexadecimal digits with a letter and a figure among them."""
DIFFERENCE_CAP = 200
"""Characters of each of two values that differ."""
_BEFORE = DIFFERENCE_CAP // 4
"""Characters of them before the first that differs, where they are cut."""


class Difference(NamedTuple):
    """Where two values differ, and how."""

    path: str
    """JMESPath to the place; empty for the whole."""
    was: Any
    now: Any

    @property
    def is_of_figures(self) -> bool:
        """Whether it is just another number, or another text in the words that have digits in them, or name a day or
        month: a clock, an id.
        """
        if isinstance(self.was, str) and isinstance(self.now, str):
            return _FIGURE.sub("0", self.was) == _FIGURE.sub("0", self.now)
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (self.was, self.now))

    def __str__(self) -> str:
        was, now = compact_json(self.was), compact_json(self.now)
        # Two long texts that begin and end alike must show where they differ.
        start = max(0, len(commonprefix((was, now))) - _BEFORE) if max(len(was), len(now)) > DIFFERENCE_CAP else 0
        was, now = (f"{'…' if start else ''}{truncate(text[start:], DIFFERENCE_CAP)}" for text in (was, now))
        return f"{f'{self.path} = ' if self.path else ''}{was} and now {now}"


def differences(was: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """The leaves in which two values differ; a part of another shape as a whole.

    >>> [str(found) for found in differences({"a": [1, 2], "b": 3}, {"a": [1, 5], "b": 3})]
    ['a[1] = 2 and now 5']
    """
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        for key in was:
            yield from differences(was[key], now[key], f"{path}.{key}" if path else key)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, pair in enumerate(zip(was, now, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif was != now or isinstance(was, bool) != isinstance(now, bool):
        yield Difference(path, was, now)


class Departure(str):
    """What a run gives otherwise than was foreseen, in words."""

    difference: Difference | None
    """Where, if it is in a value."""

    def __new__(cls, text: str, difference: Difference | None = None) -> Departure:
        made = super().__new__(cls, text)
        made.difference = difference
        return made


class Foreseen:
    """What a run is expected to give, told step by step what it gives.

    Args:
        execution: the run before.
        toolbox: tells which of the tools only read.
        relied_on: texts that hold what was relied on, beside the answer and the steps as they were written.
    """

    def __init__(self, execution: Execution, toolbox: Toolbox, relied_on: Iterable[str] = ()) -> None:
        self.execution = execution
        self.tolerated: list[Difference] = []
        """The differences so far that do not matter."""
        steps = execution.trajectory.steps
        submit, ids = execution.trajectory.submit, {step.id for step in steps}
        bound = {name for name, value in (submit.args if submit else {}).items() if bindings.dependencies(value, ids)}
        said = {name: value for name, value in execution.outputs.items() if name not in bound}
        self._written = "\n".join([*(compact_json(step.args) for step in steps), compact_json(said)])
        self._relied_on = "\n".join([*relied_on, self._written, compact_json(execution.outputs)])
        self._handles: dict[str, Any] = {}
        """What stands for what a changing call gave in the run before, by its JSON."""
        self._passed: dict[str, Any] = {}
        """The same of what a read gave, which only another read may take: its result is compared."""
        self._steps = {step.id: step for step in steps}
        self._specs = {step.id: spec for step in steps if (spec := toolbox.spec(step.tool)) is not None}
        self._reads = {name for name, spec in self._specs.items() if spec.effect == "read"}
        self._calls: dict[str, list[Mapping[str, Any]]] = {}
        """The arguments of the changing calls that were made or foreseen, by step."""
        for call in made_calls(execution, toolbox):
            self._calls.setdefault(call.step, []).append(call.args)
        self._withheld = frozenset(execution.withheld)
        self._volatile = {
            step: [path if self._steps[step].for_each is None else _in_each(path) for path in spec.volatile]
            for step, spec in self._specs.items()
        }
        self._warn_of_paths(toolbox)

    def departure(self, actual: Observation) -> Departure | None:
        """How the next observation departs from the one before; None where it does not, in what matters.

        A read that came after a step that was withheld established nothing, and one that was withheld is not known:
        they may give anything.
        """
        expected, step = self.execution.by_step[actual.step], actual.step
        if expected.stale:
            return None
        if expected.status != actual.status:
            why = f": {actual.fault.message}" if actual.fault is not None else ""
            return Departure(f"step {step} was {expected.status} and is now {actual.status}{why}")
        for difference in differences(expected.args, actual.args):
            if not self._follows(step, difference):
                return Departure(f"step {step} was called with {difference}", difference)
        found = self._first_that_matters(step, expected.value, actual.value)
        return None if found is None else Departure(f"step {step} gave {found}", found)

    def refusal(self, step: str, index: int, args: Mapping[str, Any]) -> Departure | None:
        """Why a call may not be made that changes something: its arguments are others than were verified."""
        if step in self._reads:
            return None
        calls = self._calls.get(step, [])
        if calls and self._is_open(step, self._steps[step].for_each):
            index = 0  # how many there would be was not known
        if index >= len(calls):
            return Departure(f"step {step} would make more calls than were verified")
        was = {name: value for name, value in calls[index].items() if name in args}
        now = {name: args[name] for name in args if name in was or args[name] is not None}
        for difference in differences(was, now):
            if not (self._follows(step, difference) or self._is_open(step, difference.was)):
                return Departure(f"step {step} would be called with {difference}", difference)
        return None

    def departs(self, step: str, index: int, result: Any) -> bool:
        """Whether one call of a repeated step gives something else than before, in what matters."""
        expected = self.execution.by_step[step]
        repeats = self._steps[step].for_each is not None and isinstance(expected.value, list)
        if expected.stale or not repeats or index >= len(expected.value):
            return False
        was = expected.value[index]["result"]
        return self._first_that_matters(step, [{"result": was}], [{"result": result}]) is not None

    def _first_that_matters(self, step: str, was: Any, now: Any) -> Difference | None:
        """The first difference between two results of a step that something depends on."""
        for path in self._volatile.get(step, ()):
            if step not in self._reads:
                for before, after in zip(leaves(was, path), leaves(now, path), strict=False):
                    self._take_handle(Difference(path, before, after))
            was, now = without(was, path), without(now, path)
        if is_same(was, now):  # most results are long, and the same again
            return None
        return next((found for found in differences(was, now) if not self._may_differ(step, found)), None)

    def _may_differ(self, step: str, difference: Difference) -> bool:
        """Whether nothing depends on a difference between two results of a step."""
        if self._follows(step, difference):
            return True
        if self._is_fresh_id(step, difference):
            if _holds(self._written, difference.was):
                return False
        elif not difference.is_of_figures or _holds(self._relied_on, difference.was):
            return False
        if step in self._reads:
            self._passed[compact_json(difference.was)] = difference.now
        else:
            self._take_handle(difference)
        self.tolerated.append(difference)
        return True

    def _is_fresh_id(self, step: str, difference: Difference) -> bool:
        """Whether two results of a changing call name what it made otherwise."""
        values = difference.was, difference.now
        if step not in self._specs or step in self._reads or not all(isinstance(value, (str, int)) for value in values):
            return False
        if _OF_AN_ID.search(difference.path):
            return all(" " not in str(value) and not _DECIMAL.search(str(value)) for value in values)
        return all(_ID.fullmatch(str(value)) for value in values)

    def _take_handle(self, difference: Difference) -> None:
        """Take what a changing call gave as the handle of what it made, unless it may be an amount."""
        is_number = isinstance(difference.was, (int, float)) or _DECIMAL.search(str(difference.was))
        if not is_number or _OF_A_HANDLE.search(difference.path):
            self._handles[compact_json(difference.was)] = difference.now

    def _follows(self, step: str, difference: Difference) -> bool:
        """Whether a difference in what a step takes or gives is just that of handles, alone or inside of a text."""
        handles = {**self._passed, **self._handles} if step in self._reads else self._handles
        if not isinstance(difference.was, str):
            was = compact_json(difference.was)
            return was in handles and compact_json(handles[was]) == compact_json(difference.now)
        text = difference.was
        for was, now in handles.items():
            text = text.replace(was.strip('"'), str(now))
        return bool(text == difference.now)

    def _is_open(self, step: str, value: Any) -> bool:
        """Whether a value of a step, as it was written, could not be known before commit."""
        planned = self._steps[step]
        if value is None or self.execution.by_step[step].args is not None:
            return False
        texts = bindings.strings(value)
        if not {*texts} <= {*planned.dollar_texts}:
            return False
        repeats_openly = value != planned.for_each and self._is_open(step, planned.for_each)
        return not self._withheld.isdisjoint(bindings.dependencies(value, self._steps)) or (
            repeats_openly and any(bindings.ITEM in bindings.references(text) for text in texts)
        )

    def _warn_of_paths(self, toolbox: Toolbox) -> None:
        """Say once of a path to what may differ that nothing stands there in any result of its tool."""
        seen = [(step, self.execution.by_step.get(step.id)) for step in self._steps.values()]
        for spec in {spec.name: spec for spec in self._specs.values() if spec.volatile}.values():
            results = [(step.id, shown.value) for step, shown in seen if step.tool == spec.name and shown and shown.ok]
            for number, path in enumerate(spec.volatile if results else ()):
                warning = f"volatile of {spec.name} names {path}, and no result of it has anything there"
                if warning not in toolbox.warned and not any(
                    occurs(value, self._volatile[step][number]) for step, value in results
                ):
                    toolbox.warned.add(warning)
                    logger.warning("%s; correct the path, or leave it out", warning)


def _in_each(path: str) -> str:
    """A path in a result as one in what a repeated step gives."""
    return f"[*].result{'' if path.startswith('[') else '.'}{path}"


def _holds(text: str, value: Any) -> bool:
    """Whether a text holds a value as a whole word."""
    written = str(value)
    return bool(written) and re.search(rf"(?<!\w){re.escape(written)}(?!\w)", text) is not None
