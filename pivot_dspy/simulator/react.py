"""Acts in the loop of `dspy.ReAct`: the next call of the plan in mind, as far as the thoughts in the prompt tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError

from pivot_dspy import bindings
from pivot_dspy.simulator.feedback import read_off
from pivot_dspy.simulator.plan import first_draft
from pivot_dspy.simulator.prompt import json_in, json_or_text, sections_in
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import Surroundings, WrittenStep, invented
from pivot_dspy.trajectory import SUBMIT

FINISH = "finish"

_PARTS = ("thought", "tool_name", "tool_args", "observation")
_NUMBER = re.compile(r"\b(?:thought|observation)_(\d+)\b")
_PURPOSE = re.compile(r"Step (\w+)(?: \((\d+) of \d+\))?(?: again)?: ")
_LEFT_OUT = re.compile(r"Without step (\w+)(?: \((\d+) of \d+\))?\. ")

# -------------------------------------------------------------------------------- which elements are still of interest

_CHOICE = re.compile(r"(min|max)_by\(\$(\w+)\[\?(.*)\], &(item\.[\w.]+)\)")
"""The best of the results of a step: those that meet the terms, by a field of the element that they are for."""


def still_open(texts: Sequence[str], name: str, items: Sequence[Any], done: Mapping[int, Any]) -> list[int]:
    """Positions of the elements to call for next: the results of `$name` so far, by position, are in `done`.

    Where what reads them chooses the best by a field of the element, it is looked for in that order, and not beyond the
    first that fits; else every element counts.
    """
    choices = [choice for text in texts if (choice := _CHOICE.match(text)) and choice[2] == name]
    if not choices:
        return [position for position in range(len(items)) if position not in done]
    positions = [_next_of(choice[1], choice[3].split(" && "), choice[4], items, done) for choice in choices]
    return [position for position in positions if position is not None]


def _next_of(
    end: str, terms: Sequence[str], key: str, items: Sequence[Any], done: Mapping[int, Any]
) -> int | None:
    """The best element that may still be chosen, if it was not called for yet; None where the choice is made."""
    of_item = " && ".join(term for term in terms if "result" not in term) or "item"
    pairs = [{"item": item, "position": position} for position, item in enumerate(items)]
    ordered = _search(f"[?{of_item}] | sort_by(@, &{key})[].position", pairs) or []
    for position in ordered if end == "min" else reversed(ordered):
        pair = {"item": items[position], "result": done.get(position)}
        if position not in done:
            return int(position)
        if _search(f"[?{' && '.join(terms)}]", [pair]):
            return None
    return None


def _search(expression: str, value: Any) -> Any:
    try:
        return jmespath.search(expression, value)
    except JMESPathError:
        return None


# ---------------------------------------------------------------------------------------------- what the prompt shows


class ReactCall(NamedTuple):
    """A call as the prompt shows it: what the thought says it is for, and what came of it."""

    step: str
    number: int
    """Which element of the step's list it is for, from 1 on."""
    tool: str
    args: Any
    observation: str

    @property
    def failed(self) -> bool:
        return self.observation.startswith("Execution error in ")

    @property
    def value(self) -> Any:
        return json_or_text(self.observation)


class _ReactView:
    """What the prompt shows of the loop, and the results of the plan's steps by it."""

    def __init__(self, turn: Turn) -> None:
        text = turn.section("trajectory")
        numbers = sorted({int(number) for number in _NUMBER.findall(text)})
        parts = sections_in(turn.prompt.adapter, text, [f"{part}_{number}" for number in numbers for part in _PARTS])
        rounds = [[parts.get(f"{part}_{number}", "") for part in _PARTS] for number in numbers]
        self.calls = [
            ReactCall(purpose[1], int(purpose[2] or 1), tool, json_in(args), observation)
            for thought, tool, args, observation in rounds
            if (purpose := _PURPOSE.search(thought))
        ]
        self.left_out = [(name, int(number or 0)) for name, number in _LEFT_OUT.findall(text)]
        self.results: dict[str, Any] = {}
        self.steps = [step for step in turn.reference.steps if step["tool"] != SUBMIT]
        for step in self.steps:
            latest = {call.number: call for call in self.calls if call.step == step["id"]}
            values = {number: call.value for number, call in latest.items() if not call.failed}
            if latest and "for_each" in step:
                items = dict(enumerate(self.items(step), start=1))
                pairs = [{"item": items[number], "result": values[number]} for number in sorted({*items} & {*values})]
                self.results[step["id"]] = pairs
            elif values:
                self.results[step["id"]] = values[1]

    def items(self, step: WrittenStep) -> list[Any]:
        """The elements that a step is repeated for; none where what is shown does not tell them."""
        if "for_each" not in step:
            return [None]
        try:
            items = bindings.resolve(step["for_each"], self.results, frozenset(self.results), allow_empty=False)
        except bindings.BindingError:
            return []
        return items if isinstance(items, list) else []


# ------------------------------------------------------------------------------------------------------------ acting


def act(turn: Turn) -> dict[str, Any]:
    """A thought and a call; of an unknown task, the end of the loop."""
    return _Acting(turn).answer()


def extract(turn: Turn) -> dict[str, Any]:
    """The outputs that the plan submits, as far as the observations tell them."""
    return {"reasoning": "The observations say it.", **read_off(turn, _ReactView(turn).results)}


class _Acting:
    """One turn of the loop."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.shown = _ReactView(turn)
        self.shown.steps = [turn.guessed(step) for step in self.shown.steps]
        tools = "\n".join(f"- {name}(" for name in _tools(turn))
        self.around = Surroundings(turn.reference.steps, tools, turn.shown.tells)
        self.by_id = {str(step["id"]): step for step in self.shown.steps}
        self.skipped: list[str] = []
        """What is left out is not told of as a step of its own: the thought of the next call says so."""

    def answer(self) -> dict[str, Any]:
        last = self.shown.calls[-1] if self.shown.calls else None
        again = self._again(last) if last is not None and last.failed else None
        return again or next(self._next(), None) or _ended(f"{self._without()}All is done.")

    def _again(self, last: ReactCall) -> dict[str, Any] | None:
        """The call that has just failed, as it should have been; None where that is not seen, or was no other."""
        step = self.by_id.get(last.step)
        items = self.shown.items(step) if step else []
        if step is None or last.number > len(items) or not self.turn.heeds("again", last.step):
            return None
        right = self._resolved(step, items[last.number - 1])
        if right is None or (last.tool, last.args) == (step["tool"], right):
            return None
        return self._call(step, right, last.number, len(items), " again")

    def _next(self) -> Iterator[dict[str, Any]]:
        """The first call of the plan that no thought says was made, with slips."""
        for step in self.shown.steps:
            items = self.shown.items(step)
            for number in self._open(step, items):
                item = items[number - 1]
                if self._resolved(step, item) is None:
                    items = []
                    break
                single = {key: value for key, value in step.items() if key != "for_each"}
                draft = first_draft(single, self.turn, self.around, step["id"], number)
                if draft is not None:
                    yield self._call(draft, self._resolved(draft, item, made_up=True), number, len(items))
                else:
                    self.skipped.append(f"{step['id']}{_place(number, len(items))}")
            if not items:
                yield from self._looking_again(step)
                self.skipped.append(step["id"])

    def _open(self, step: WrittenStep, items: list[Any]) -> list[int]:
        """Numbers of the calls that are still to be made for a step, from 1 on."""
        calls = [call for call in self.shown.calls if call.step == step["id"]]
        done = {call.number - 1: None if call.failed else call.value for call in calls}
        done.update({number - 1: None for name, number in self.shown.left_out if name == step["id"]})
        if "for_each" not in step:
            return [] if done else [1] * len(items)
        later = self.shown.steps[self.shown.steps.index(step) + 1 :]
        texts = [text for other in later for text in bindings.strings([other.get("args"), other.get("for_each")])]
        return [position + 1 for position in still_open(texts, step["id"], items, done)]

    def _looking_again(self, step: WrittenStep) -> Iterator[dict[str, Any]]:
        """For a step that lacks a result: the call that should have given it, if another was made."""
        for name in bindings.dependencies([step.get("for_each"), step.get("args")], frozenset(self.around.ids)):
            source = self.by_id.get(name)
            right = self._resolved(source, None) if source else None
            made = [(call.tool, call.args) for call in self.shown.calls]
            if source and right and (source["tool"], right) not in made and self.turn.heeds("look", step["id"], name):
                yield self._call(source, right, 1, 1, " again")

    def _resolved(self, step: WrittenStep, item: Any, *, made_up: bool = False) -> dict[str, Any] | None:
        """The step's arguments over the results; None where they do not give them, unless a value is made up then."""
        results = self.shown.results if item is None else {**self.shown.results, bindings.ITEM: item}
        known = {*self.around.ids, bindings.ITEM}
        args: dict[str, Any] = {}
        for name, value in (step.get("args") or {}).items():
            try:
                args[name] = bindings.resolve(value, results, known, allow_empty=False)
            except bindings.BindingError:
                if not made_up:
                    return None
                args[name] = invented(name, self.turn.dice, "made up", step["id"], name)
        return args

    def _call(self, step: WrittenStep, args: Any, number: int, count: int, again: str = "") -> dict[str, Any]:
        thought = f"{self._without()}Step {step['id']}{_place(number, count)}{again}: {step['tool']}."
        return {"next_thought": thought, "next_tool_name": step["tool"], "next_tool_args": args}

    def _without(self) -> str:
        return "".join(f"Without step {name}. " for name in dict.fromkeys(self.skipped))


def _place(number: int, count: int) -> str:
    return f" ({number} of {count})" if count > 1 else ""


def _ended(thought: str) -> dict[str, Any]:
    return {"next_thought": thought, "next_tool_name": FINISH, "next_tool_args": {}}


def _tools(turn: Turn) -> list[str]:
    """The tools that the prompt lets the loop choose from."""
    choices = next(field.choices for field in turn.prompt.outputs if field.name == "next_tool_name")
    return [name for name in choices if name != FINISH]
