"""Whether a trajectory that is run again goes the way that it went before, in all that matters.

A clock, a duration or a fresh id makes no two results equal. Such a value may differ where nothing depends on it: no
text that was relied on (the answer, a step as it was written, the evidence for a verdict) holds it, and no binding
passed it on. What a call that changes something gave may be passed on all the same, as the handle of what it made. What
changes the shape of a result, a word without a digit in it, or the outcome of a step always matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.required_calls import made_calls
from pivot_dspy.trajectory import Execution, Observation

_WITH_DIGIT = re.compile(r"\w*\d\w*")
DIFFERENCE_CAP = 200
"""Characters of each of two values that differ."""


class Difference(NamedTuple):
    """Where two values differ, and how."""

    path: str
    """JMESPath to the place; empty for the whole."""
    was: Any
    now: Any

    @property
    def is_of_figures(self) -> bool:
        """Whether it is just another number, or another text in the words that have digits in them: a clock, an id."""
        if isinstance(self.was, str) and isinstance(self.now, str):
            return _WITH_DIGIT.sub("0", self.was) == _WITH_DIGIT.sub("0", self.now)
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (self.was, self.now))

    def __str__(self) -> str:
        was, now = (truncate(compact_json(value), DIFFERENCE_CAP) for value in (self.was, self.now))
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
        written = (compact_json(step.args) for step in steps)
        self._relied_on = "\n".join([*relied_on, *written, compact_json(execution.outputs)])
        self._handles: dict[str, Any] = {}
        """What stands for what a changing call gave in the run before, by its JSON."""
        tools = toolbox.tools
        self._reads = {step.id for step in steps if step.tool in tools and tools[step.tool].effect == "read"}
        self._calls: dict[str, list[Mapping[str, Any]]] = {}
        """The arguments of the changing calls that were made or foreseen, by step."""
        for call in made_calls(execution, toolbox):
            self._calls.setdefault(call.step, []).append(call.args)

    def departure(self, actual: Observation) -> str | None:
        """How the next observation departs from the one before, in words; None where it does not, in what matters."""
        expected = self.execution.by_step[actual.step]
        if expected.status != actual.status:
            return f"step {actual.step} was {expected.status} and is now {actual.status}"
        for name, was, now in (("args", expected.args, actual.args), ("value", expected.value, actual.value)):
            for difference in differences(was, now):
                if not (self._may_differ(actual.step, difference) if name == "value" else self._follows(difference)):
                    done = "gave" if name == "value" else "was called with"
                    return f"step {actual.step} {done} {difference}"
        return None

    def refusal(self, step: str, index: int, args: Mapping[str, Any]) -> str | None:
        """Why a call may not be made that changes something: its arguments are others than were verified."""
        if step in self._reads:
            return None
        calls = self._calls.get(step, [])
        if index >= len(calls):
            return f"step {step} would make more calls than were verified"
        was = {name: value for name, value in calls[index].items() if name in args}
        now = {name: args[name] for name in args if name in was or args[name] is not None}
        for difference in differences(was, now):
            if not self._follows(difference):
                return f"step {step} would be called with {difference}"
        return None

    def departs(self, step: str, index: int, result: Any) -> bool:
        """Whether one call of a repeated step gives something else than before, in what matters."""
        value = self.execution.by_step[step].value
        if not isinstance(value, list) or index >= len(value):
            return False
        return not all(self._may_differ(step, found) for found in differences(value[index]["result"], result))

    def _may_differ(self, step: str, difference: Difference) -> bool:
        """Whether nothing depends on a difference between two results of a step."""
        if self._follows(difference):
            return True
        if not difference.is_of_figures or _holds(self._relied_on, difference.was):
            return False
        if step not in self._reads:
            self._handles[compact_json(difference.was)] = difference.now
        self.tolerated.append(difference)
        return True

    def _follows(self, difference: Difference) -> bool:
        """Whether a difference is just that of handles, alone or inside of a text."""
        if not isinstance(difference.was, str):
            was = compact_json(difference.was)
            return was in self._handles and compact_json(self._handles[was]) == compact_json(difference.now)
        text = difference.was
        for was, now in self._handles.items():
            text = text.replace(was.strip('"'), str(now))
        return bool(text == difference.now)


def _holds(text: str, value: Any) -> bool:
    """Whether a text holds a value as a whole word."""
    written = str(value)
    return bool(written) and re.search(rf"(?<!\w){re.escape(written)}(?!\w)", text) is not None
