"""Acts in the loop of `dspy.ReAct`: the next call of the plan in mind, as far as the thoughts in the prompt tell it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from pivot_dspy import bindings
from pivot_dspy.simulator import learn
from pivot_dspy.simulator.prompt import Prompt, sections_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates, Surroundings, WrittenStep, habit, situations, spoil
from pivot_dspy.trajectory import SUBMIT

Node = Any
"""A node of the tree that jmespath parses an expression into."""

Pair = dict[str, Any]


class Choice(NamedTuple):
    """`min_by($name[?terms], &item.key)`: the terms, and how the elements are ordered, the best first."""

    terms: tuple[Node, ...]
    key: Node
    largest: bool

    def candidates(self, items: Sequence[Any]) -> list[int]:
        """Positions of the elements that may be chosen, as far as they tell by themselves; the best first."""
        known = [term for term in self.terms if not _reads(term, "result")]
        pairs = {place: {"item": item} for place, item in enumerate(items)}
        fitting = [place for place, pair in pairs.items() if all(_holds(term, pair) for term in known)]
        keys = {place: _value(self.key, pairs[place]) for place in fitting}
        comparable = [place for place in fitting if isinstance(keys[place], (int, float))]
        return sorted(comparable, key=lambda place: keys[place], reverse=self.largest)

    def takes(self, pair: Pair) -> bool:
        """Whether an element with its result may be chosen."""
        return all(_holds(term, pair) for term in self.terms)


def still_open(texts: Sequence[str], name: str, items: Sequence[Any], done: Mapping[int, Any]) -> Iterator[int]:
    """Positions of the elements to call for next: the results of `$name` so far, by position, are in `done`.

    Where all that reads them chooses the best by a field of the element, it is looked for in that order, and not
    beyond the first that fits; else every element counts.
    """
    readers = [text for text in texts if name in bindings.references(text)]
    choices = [choice for text in readers for choice in [_choice(text, name)] if choice is not None]
    if not readers or len(choices) < len(readers):
        yield from (place for place in range(len(items)) if place not in done)
        return
    for choice in choices:
        for place in choice.candidates(items):
            if place not in done:
                yield place
                break
            if choice.takes({"item": items[place], "result": done[place]}):
                break


def _choice(text: str, name: str) -> Choice | None:
    """The choice that the expression makes among the results of `$name`, if it is of that form."""
    quoted = re.sub(r"\$(\w+)", lambda match: f'"{match[1]}"', text)
    try:
        node = jmespath.compile(quoted).parsed
    except JMESPathError:
        return None
    while node["type"] == "subexpression":
        node = node["children"][0]
    if node["type"] != "function_expression" or node["value"] not in ("min_by", "max_by"):
        return None
    source, key = node["children"]
    if source["type"] != "filter_projection" or source["children"][0].get("value") != name:
        return None
    if key["type"] != "expref" or _reads(key, "result"):
        return None
    return Choice(tuple(_terms(source["children"][2])), key["children"][0], node["value"] == "max_by")


def _terms(node: Node) -> Iterator[Node]:
    if node["type"] == "and_expression":
        for child in node["children"]:
            yield from _terms(child)
    else:
        yield node


def _reads(node: Node, name: str) -> bool:
    if node["type"] == "field" and node.get("value") == name:
        return True
    return any(_reads(child, name) for child in node["children"])


def _holds(node: Node, pair: Pair) -> bool:
    return bool(_value(node, pair))


def _value(node: Node, pair: Pair) -> Any:
    try:
        return TreeInterpreter().visit(node, pair)
    except JMESPathError:
        return None


FINISH = "finish"

_PARTS = ("thought", "tool_name", "tool_args", "observation")
_NUMBER = re.compile(r"\b(?:thought|observation)_(\d+)\b")
_OPTIONS = re.compile(r"one of: (.*)$", re.DOTALL)
_PURPOSE = re.compile(r"Step (\w+)(?: \((\d+) of \d+\))?(?: again)?: ")
_LEFT_OUT = re.compile(r"Without step (\w+)(?: \((\d+) of \d+\))?\. ")


class ReactCall(NamedTuple):
    """A call as the prompt shows it: what the thought says it is for, and what came of it."""

    step: str
    number: int
    tool: str
    args: Any
    observation: str

    @property
    def failed(self) -> bool:
        return self.observation.startswith("Execution error in ")

    @property
    def value(self) -> Any:
        try:
            return json.loads(self.observation)
        except ValueError:
            return self.observation


def act(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A thought and a call; of an unknown task, the end of the loop."""
    if reference is None:
        return _ended("Nothing stands out.")
    return _Acting(prompt, reference, rates, dice).answer()


def extract(prompt: Prompt, reference: Reference | None) -> dict[str, Any]:
    """The outputs that the plan submits, as far as the observations tell them."""
    if reference is None:
        return {}
    shown = _ReactView(prompt, reference)
    submit = next((step for step in reference.steps if step["tool"] == SUBMIT), {})
    found = {}
    for name, value in {**(submit.get("args") or {}), **reference.outputs}.items():
        try:
            found[name] = bindings.resolve(value, shown.results, frozenset(shown.results))
        except bindings.BindingError:
            continue  # it is not to be read from what is shown
    return {"reasoning": "The observations say it.", **found}


class _ReactView:
    """What the prompt shows of the loop, and the results of the plan's steps by it."""

    def __init__(self, prompt: Prompt, reference: Reference) -> None:
        text = prompt.section("trajectory")
        numbers = sorted({int(number) for number in _NUMBER.findall(text)})
        names = [f"{part}_{number}" for number in numbers for part in _PARTS]
        parts = sections_in(prompt.adapter, text, names)
        thoughts = [parts.get(f"thought_{number}", "") for number in numbers]
        self.left_out = {(name, int(n or 0)) for thought in thoughts for name, n in _LEFT_OUT.findall(thought)}
        self.calls = [call for number in numbers if (call := _call(parts, number)) is not None]
        self.results: dict[str, Any] = {}
        self.steps = [step for step in reference.steps if step["tool"] != SUBMIT]
        for step in self.steps:
            made = self.of(step["id"])
            if "for_each" not in step:
                if made and not made[-1].failed:
                    self.results[step["id"]] = made[-1].value
            elif made:
                latest = {call.number: call for call in made}
                self.results[step["id"]] = [
                    {"item": item, "result": latest[number].value}
                    for number, item in enumerate(self.items(step), start=1)
                    if number in latest and not latest[number].failed
                ]

    def of(self, step_id: str, number: int | None = None) -> list[ReactCall]:
        """The calls that were made for a step, or for one element of it."""
        return [call for call in self.calls if call.step == step_id and number in (None, call.number)]

    def items(self, step: WrittenStep) -> list[Any]:
        """The elements that a step is repeated for; none where what is shown does not tell them."""
        if "for_each" not in step:
            return [None]
        try:
            found = bindings.resolve(step["for_each"], self.results, frozenset(self.results), allow_empty=False)
        except bindings.BindingError:
            return []
        return found if isinstance(found, list) else []


class _Acting:
    """One turn of the loop."""

    def __init__(self, prompt: Prompt, reference: Reference, rates: Rates, dice: Dice) -> None:
        self.rates, self.dice = rates, dice
        self.lessons = prompt.section("lessons")
        self.shown = _ReactView(prompt, reference)
        self.ids = [str(step["id"]) for step in reference.steps]
        self.tools = list(_tools(prompt))
        self.around = Surroundings(reference.steps, "\n".join(f"- {name}(" for name in self.tools))
        self.skipped: list[str] = []
        # What is left out is not told of as a step of its own: the thought of the next call says so.

    def answer(self) -> dict[str, Any]:
        last = self.shown.calls[-1] if self.shown.calls else None
        again = self._again(last) if last is not None and last.failed else None
        return again or next(self._next(), None) or _ended(f"{self._without()}All is done.")

    def _again(self, last: ReactCall) -> dict[str, Any] | None:
        """The call that has just failed, as it should have been; None where that is not seen, or was no other."""
        step = next((step for step in self.shown.steps if step["id"] == last.step), None)
        items = self.shown.items(step) if step else []
        if step is None or not 1 <= last.number <= len(items) or not self._heeds("again", last.step):
            return None
        right = self._resolved(step, items[last.number - 1])
        if right is None or (last.tool, last.args) == (step["tool"], right):
            return None
        return self._said(step, right, last.number, len(items), " again")

    def _next(self) -> Iterator[dict[str, Any]]:
        """The first call of the plan that no thought says was made, with slips."""
        for step in self.shown.steps:
            if (step["id"], 0) in self.shown.left_out:
                continue
            items = self.shown.items(step)
            for number in self._open(step, items):
                item = items[number - 1]
                if self._resolved(step, item) is None:
                    items = []
                    break
                slipped = self._slipped(step, number)
                if slipped is not None:
                    yield self._said(slipped, self._resolved(slipped, item, made_up=True), number, len(items))
                else:
                    self.skipped.append(f"{step['id']}{_place(number, len(items))}")
            if not items:
                yield from self._looking_again(step)
                self.skipped.append(step["id"])

    def _open(self, step: WrittenStep, items: list[Any]) -> list[int]:
        """Numbers of the calls that are still to be made for a step, from 1 on."""
        done = {call.number - 1: None if call.failed else call.value for call in self.shown.of(step["id"])}
        done.update({number - 1: None for name, number in self.shown.left_out if name == step["id"]})
        if "for_each" not in step:
            return [] if done else [1] * len(items)
        later = self.shown.steps[self.shown.steps.index(step) + 1 :]
        texts = [text for other in later for text in bindings.strings([other.get("args"), other.get("for_each")])]
        return [place + 1 for place in still_open(texts, step["id"], items, done)]

    def _looking_again(self, step: WrittenStep) -> Iterator[dict[str, Any]]:
        """For a step that lacks a result: the call that should have given it, if another was made."""
        for name in bindings.dependencies([step.get("for_each"), step.get("args")], frozenset(self.ids)):
            source = next((one for one in self.shown.steps if one["id"] == name and "for_each" not in one), None)
            right = self._resolved(source, None) if source is not None else None
            if source is None or right is None:
                continue
            made = [(call.tool, call.args) for call in self.shown.of(name)]
            if made[-1:] != [(source["tool"], right)] and self._heeds("look", step["id"], name):
                yield self._said(source, right, 1, 1, " again")

    def _slipped(self, step: WrittenStep, number: int) -> WrittenStep | None:
        """The step as this model does it for the first time; None where it leaves it out."""
        single: WrittenStep = {key: value for key, value in step.items() if key != "for_each"}
        if self.dice.falls(self.rates.slip, "slip", step["id"], number):
            spoilt = spoil(single, self.around, self.dice, "slip", step["id"], number)
            if spoilt is None:
                return None
            single = spoilt
        habits = self.rates.habits()
        for name in situations(single, self.ids):
            if not habits.falls(self.rates.systematic, single["tool"], name):
                continue
            if not (learn.warns(self.lessons, single["tool"], name) and self._heeds("lesson", step["id"], name)):
                single = habit(single, name, self.around, habits)
        return single

    def _resolved(self, step: WrittenStep, item: Any, *, made_up: bool = False) -> dict[str, Any] | None:
        """The step's arguments over the results; None where they do not give them, unless a value is made up then."""
        results = {**self.shown.results, **({} if item is None else {bindings.ITEM: item})}
        found: dict[str, Any] = {}
        for name, value in (step.get("args") or {}).items():
            try:
                found[name] = bindings.resolve(value, results, {*self.ids, bindings.ITEM}, allow_empty=False)
            except bindings.BindingError:
                if not made_up:
                    return None
                found[name] = f"{name}-{1000 + self.dice.number(9000, 'made up', step['id'], name)}"
        return found

    def _said(self, step: WrittenStep, args: Any, number: int, count: int, again: str = "") -> dict[str, Any]:
        thought = f"{self._without()}Step {step['id']}{_place(number, count)}{again}: {step['tool']}."
        return {"next_thought": thought, "next_tool_name": step["tool"], "next_tool_args": args}

    def _without(self) -> str:
        return "".join(f"Without step {name}. " for name in dict.fromkeys(self.skipped))

    def _heeds(self, *labels: str) -> bool:
        return self.dice.falls(self.rates.heed, *labels)


def _place(number: int, count: int) -> str:
    return f" ({number} of {count})" if count > 1 else ""


def _ended(thought: str) -> dict[str, Any]:
    return {"next_thought": thought, "next_tool_name": FINISH, "next_tool_args": {}}


def _call(parts: Mapping[str, str], number: int) -> ReactCall | None:
    """The call of one turn; None where its thought names no step."""
    purpose = _PURPOSE.search(parts.get(f"thought_{number}", ""))
    if purpose is None:
        return None
    try:
        args = json.loads(parts.get(f"tool_args_{number}", ""))
    except ValueError:
        args = None
    tool, observation = (parts.get(f"{part}_{number}", "") for part in ("tool_name", "observation"))
    return ReactCall(purpose[1], int(purpose[2] or 1), tool, args, observation)


def _tools(prompt: Prompt) -> Iterator[str]:
    """The tools that the prompt lets the loop choose from."""
    field = next((field for field in prompt.outputs if field.name == "next_tool_name"), None)
    options = _OPTIONS.search(field.note) if field is not None else None
    yield from (name for name in (options[1].split("; ") if options else ()) if name != FINISH)
