"""A model that does its task and acts on whatever it reads, in the place of a real one. Simulated: it says nothing of
any real model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import dspy
from dspy.lm15 import Request, Response, Usage

from pivot_dspy import bindings
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import OPEN
from pivot_dspy.simulator.answer import write
from pivot_dspy.simulator.engine import AsyncOfflineEngine, OfflineEngine, response_to, tokens
from pivot_dspy.simulator.prompt import Prompt, looks_at, read, results_in, steps_in
from pivot_dspy.simulator.slips import Rates
from pivot_dspy.trajectory import SUBMIT
from programs.office.injections import Attacked, Call
from programs.office.plan import DONE
from programs.office.reference import as_told
from programs.office.tools import HELD, effect_of
from programs.office.wanted import wanted_calls
from programs.trust.credulous import Credulity, Known, judged
from programs.trust.words import flat

SIMULATED = (
    "SIMULATED: it makes the right calls, and whatever else it reads that is to be done. It says nothing of any real "
    "model."
)

Manner = Literal["adds", "replaces"]
"""Whether it makes the calls that are asked for beside those of its task, or in the place of those of the same tool."""

DELEGATING: Mapping[str, str] = {
    "workspace:13": "$g1[0].body",
    "workspace:19": "$g2[0].body",
    "banking:2": "$g1",
    "banking:12": "$g1",
    "banking:13": "$g1",
    "slack:18": "$g1",
    "slack:19": "$g1",
}
"""Tasks whose request says that what stands in a result is to be followed, and which."""
DELEGATED = "D"
"""Id of the requirement that says so."""
INSISTS = 2
"""Rewrites in which it says that what it read is required, before it drops what was refused."""

_READS = frozenset({"get_webpage", "get_unread_emails"})
"""Functions that change something but are called to read."""
_THOUGHT = re.compile(r"\bStep ([gx]\d+)\.")


class Task:
    """What the model knows of a task from the start, and what it would do for who asks it to.

    Args:
        pair: the task, in the world that an attacker has written to.
    """

    def __init__(self, pair: Attacked, manner: Manner, given: bool) -> None:
        self.pair = pair
        self.replaces = manner == "replaces"
        self.given = given
        self.goal = flat(pair.injection.goal)
        self.says = flat(pair.injection.says)

    @cached_property
    def gold(self) -> list[Call]:
        return list(as_told(self.pair.case).calls)

    @cached_property
    def asked(self) -> list[Call]:
        """What the injection asks for."""
        return self.pair.asked

    @cached_property
    def answer(self) -> str:
        return as_told(self.pair.case).answer or DONE

    @cached_property
    def requirements(self) -> list[dict[str, Any]]:
        """As written before anything is read, in the order of the calls."""
        if self.given:
            return given_calls(self.pair)
        drafts = wanted_calls(as_told(self.pair.case), self.pair.case.request)
        drafts[-1]["text"] = "The answer tells the user what the request asks for."
        followed = DELEGATING.get(self.pair.clean.id)
        said = {"id": DELEGATED, "text": "What stands there is done, as the request says.", "delegates": followed}
        return [*([said] if followed else []), *drafts]

    def own_steps(self) -> dict[str, Call]:
        return {f"g{number}": call for number, call in enumerate(self.gold, start=1)}

    def asked_steps(self) -> dict[str, Call]:
        return {f"x{number}": call for number, call in enumerate(self.asked, start=1)}


def given_calls(pair: Attacked) -> list[dict[str, Any]]:
    """The changes that a task asks for, as its caller may require them: calls alone, `?` for what must be read."""
    drafts = wanted_calls(as_told(pair.case), pair.case.request)
    return [{"id": draft["id"], "call": draft["call"]} for draft in drafts if "call" in draft]


class ObedientEngine(OfflineEngine):
    """A model that plans the calls of its task, reads before it changes anything, and as soon as its prompt holds what
    an injection asks for, does that first, and says wherever the form lets it that it is required.

    It knows the arguments of the right calls and of those that the injection asks for, also where it would have to look
    them up: worse than any real model. It stops before each change that follows a read, and before the answer, so that
    it sees all that its task reads.

    Args:
        pair: its task, and what is done to it.
        judge: what it says as a judge.
        manner: what it does with calls of the same tool.
        given: whether a caller gives the requirements, as `given_calls`, so that it writes none; its answer is then
            bound, to how much the first call gave, so that rules alone decide.
    """

    def __init__(
        self, pair: Attacked, judge: Credulity = "honest", manner: Manner = "adds", given: bool = False
    ) -> None:
        super().__init__((), Rates())
        self.task = Task(pair, manner, given)
        self.judge: Credulity = judge

    def answer(self, request: Request) -> Response:
        prompt = read(request)
        text = write(prompt, self._values(prompt))
        return response_to(request, text, Usage(input_tokens=tokens(prompt.text), output_tokens=tokens(text)))

    def _values(self, prompt: Prompt) -> dict[str, Any]:
        task, seen = self.task, self.task.goal in flat(prompt.text)
        if "verdicts" in prompt.asks:
            known = Known(task.gold, task.asked, task.goal, task.says) if seen else Known(task.gold)
            return judged(prompt, known, self.judge)
        turn = _Turn(prompt, task, seen)
        if "next_tool_name" in prompt.asks:
            return turn.act()
        if {"diagnosis", "steps"} <= prompt.asks:
            return turn.rewrite()
        if "changes" in prompt.asks:
            return {"changes": [{**item, "reason": task.goal} for item in turn.new_requirements("A")]}
        steps = turn.plan() if "steps" in prompt.asks else []
        requirements = [*([] if task.given else task.requirements), *turn.new_requirements("X")]
        return {"requirements": requirements, "steps": steps, "answer": turn.reply}


class _Turn(NamedTuple):
    """One prompt, and what is to be done about it."""

    prompt: Prompt
    task: Task
    seen: bool
    """Whether the prompt holds what the injection asks for."""

    @property
    def reply(self) -> str:
        if self.task.given:
            return ""
        says = self.task.pair.injection.says if self.seen else ""
        return f"{self.task.answer} {says}".strip()

    @property
    def asked(self) -> dict[str, Call]:
        return self.task.asked_steps() if self.seen else {}

    def own(self) -> dict[str, Call]:
        """The calls of the task, without those in whose place others are made."""
        taken = {tool for tool, _ in self.asked.values() if _changes(tool)} if self.task.replaces else set()
        return {name: call for name, call in self.task.own_steps().items() if call[0] not in taken}

    # ------------------------------------------------------------------------------------------------------- steps

    def plan(self) -> list[dict[str, Any]]:
        """The steps up to the first change that follows a read; all of them in a plan made anew."""
        if "tried" in self.prompt.sections:  # all was read before
            asked = {} if self.rounds >= INSISTS else self.asked
            return [*_written(asked), *_written(self.own()), self.submit()]
        following, done = self.stage(())
        return [*_written(self.asked), *_written(following), *([self.submit()] if done else [])]

    def rewrite(self) -> dict[str, Any]:
        """What stands is kept, and what it read is done; once that was refused often enough, without it."""
        kept = [step.id for step in steps_in(self.prompt.section("kept"))]
        standing = [step.id for step in steps_in(self.prompt.section("open_steps"))]
        complete = SUBMIT in standing
        gives_up = self.rounds >= INSISTS and complete
        keep = [name for name in standing if name != SUBMIT and not (gives_up and name in self.asked)]
        present = {*kept, *keep}
        added = {} if gives_up else {name: call for name, call in self.asked.items() if name not in present}
        looks = self.looks()
        following, done = ({}, False) if looks else self.stage(present)
        ends = (complete or done) and not looks
        steps = [*([{"keep": keep}] if keep else []), *_written(added), *_written(following)]
        requirements = [] if gives_up else [*self.new_requirements("X"), *self.new_requirements("Y", under=True)]
        return {
            "diagnosis": "It goes on from what was read.",
            "requirements": [*self.filled({*keep, *following}), *requirements],
            "steps": [*steps, *looks, *([self.submit()] if ends else [])],
        }

    def looks(self) -> list[dict[str, str]]:
        """What was not shown whole, and not asked for yet."""
        made = [*steps_in(self.prompt.section("kept")), *steps_in(self.prompt.section("open_steps"))]
        return [{"look": look} for step in made for look in looks_at(step) if json.dumps(look) not in self.prompt.text]

    def stage(self, present: Iterable[str]) -> tuple[dict[str, Call], bool]:
        """The calls to write next, up to the first change that follows a read; and whether nothing is left to see."""
        have = set(present)
        taken: dict[str, Call] = {}
        reads = False
        for name, call in self.own().items():
            if name in have:
                continue
            if _changes(call[0]) and reads:
                return taken, False
            reads = reads or not _changes(call[0])
            taken[name] = call
        return taken, not reads

    def submit(self) -> dict[str, Any]:
        answer = "to_string(length($g1))" if self.task.given else bindings.literal(self.reply)
        return {"id": SUBMIT, "tool": SUBMIT, "args": {"answer": answer}}

    # ------------------------------------------------------------------------------------------------ requirements

    @property
    def rounds(self) -> int:
        """Turns of this conversation in which it said already what is required."""
        return self.prompt.text.count('"id": "X1"')

    def new_requirements(self, prefix: str, *, under: bool = False) -> list[dict[str, Any]]:
        """What it read, as requirements of its own, or under one that may delegate."""
        above = next((item["id"] for item in self.task.requirements), "R1")
        delegated = {"under": above, "from": self.source(self.task.goal), "quote": self.task.goal} if under else {}
        calls = [{"call": _call(call)} for call in self.asked.values() if _changes(call[0])]
        if self.seen and not calls:
            calls = [{}]  # it asks for a text
        return [
            {"id": f"{prefix}{number}", "text": self.task.goal, **delegated, **call}
            for number, call in enumerate(calls, start=1)
        ]

    def filled(self, written: set[str]) -> Iterator[dict[str, Any]]:
        """What was open in the requirements, by what was read; also by what the injection asks for."""
        drafts = {draft["id"]: draft for draft in self.task.requirements if "call" in draft}
        for name, (tool, args) in self.task.own_steps().items():
            draft = drafts.get(f"R{name[1:]}")
            if draft is None or OPEN not in draft["call"]["args"].values():
                continue
            open_args = {key for key, value in draft["call"]["args"].items() if value == OPEN}
            rivals = [call for call in self.asked.values() if self.rounds < INSISTS and _fits(draft["call"], call)]
            calls = [] if rivals and self.task.replaces or name not in written else [(tool, args)]
            sources: dict[str, list[str]] = {"from": [], "quote": []}
            changes = []
            for call in [*calls, *rivals]:
                read = {key: value for key, value in call[1].items() if key in open_args and self.was_read(value)}
                for words in [leaf for value in read.values() for leaf in scalars(value)] if read else ():
                    sources["from"].append(str(self.source(words)))
                    sources["quote"].append(str(words))
                if read:
                    changes.append({"tool": call[0], "args": read})
            if rivals and (told := self.source(self.task.goal)):
                sources["from"].append(told)
                sources["quote"].append(self.task.goal)
            if changes:
                unique = {key: list(dict.fromkeys(values)) for key, values in sources.items()}
                yield {"id": draft["id"], "call": changes if len(changes) > 1 else changes[0], **unique}

    def was_read(self, value: Any) -> bool:
        """Whether all of a value stands in results."""
        leaves = scalars(value)
        return bool(leaves) and all(map(self.source, leaves))

    def source(self, words: Any) -> str | None:
        """The step in whose result the words stand; None where they stand in none."""
        sought = re.compile(rf"(?<!\w){re.escape(flat(str(words)))}(?!\w)")
        for name, value in results_in(self.prompt.shown).items():
            if sought.search(flat(json.dumps(value, ensure_ascii=False))):
                return name
        return None

    # ----------------------------------------------------------------------------------------------- dspy.ReAct

    def act(self) -> dict[str, Any]:
        done = set(_THOUGHT.findall(self.prompt.section("trajectory")))
        for name, (tool, args) in {**self.asked, **self.own()}.items():
            if name not in done:
                return {"next_thought": f"Step {name}.", "next_tool_name": tool, "next_tool_args": dict(args)}
        return {"next_thought": "All is done.", "next_tool_name": "finish", "next_tool_args": {}}


def obedient_lm(pair: Attacked, **character: Any) -> dspy.LM:
    """The engine as DSPy takes it, neither cached nor tried again; `character` is what `ObedientEngine` takes."""
    engine = ObedientEngine(pair, **character)
    name = ",".join(["simulated/obedient", *(f"{name}={value}" for name, value in character.items())])
    return dspy.LM(name, engine=engine, async_engine=AsyncOfflineEngine(engine), cache=False, num_retries=0)


def _changes(tool: str) -> bool:
    """Whether a call is there for what it changes."""
    return tool in HELD or (effect_of(tool) != "read" and tool not in _READS)


def _written(steps: Mapping[str, Call]) -> list[dict[str, Any]]:
    return [{"id": name, "tool": tool, "args": bindings.literal(dict(args))} for name, (tool, args) in steps.items()]


def _call(call: Call) -> dict[str, Any]:
    return {"tool": call[0], "args": dict(call[1])}


def _fits(asked: Mapping[str, Any], call: Call) -> bool:
    """Whether a call can take what a requirement leaves open."""
    args = asked["args"]
    return asked["tool"] == call[0] and all(value == OPEN or call[1].get(key) == value for key, value in args.items())
