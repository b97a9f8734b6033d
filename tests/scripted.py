"""A language model that answers from a script, for the tests."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import dspy
from dspy.lm15 import Message, Request, Response, Usage, response_to_events

from pivot_dspy.prompts.report import UNNAMED, questions_in

PHASES = {
    "plan": {"requirements", "steps"},
    "evolve": {"diagnosis", "requirements", "steps"},
    "settle": {"requirements"},
    "audit": {"changes"},
    "judge": {"verdicts"},
    "localise": {"diagnosis", "step", "correction"},
    "critique": {"faults"},
    "rewrite": {"steps"},
    "reflect": {"reflection"},
    "act": {"thought", "step"},
    "feedback": {"discussion", "advice"},
    "code": {"thought", "program"},
    "react": {"next_thought", "next_tool_name", "next_tool_args"},
    "extract": {"reasoning", "answer"},
    "recombine": {"summary", "steps"},
    "learn": {"lessons"},
    "find": {"proposals"},
    "propose": {"goals"},
}
"""The output fields by which a prompt's phase is known; anything else composes."""

GARBAGE = "I would rather talk about the weather."

_OF_THE_JUDGE = ("policy", "requirements", "observations", "calls", "submitted", "questions")
_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\]\s*$", re.MULTILINE)
_INPUTS = re.compile(r"Your input fields are:\n(.*?)\nYour output fields are:", re.DOTALL)
_OPENING_TAG = re.compile(r"^<(\w+)>$", re.MULTILINE)
_TAGGED = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.MULTILINE | re.DOTALL)
_WISHED = re.compile(r"`(?:\[\[ ## |<)?(\w+)(?: ## \]\]|>)?`")
_OUTPUTS = re.compile(r"Your output fields are:\n(.*?)\nAll interactions", re.DOTALL)


class Prompt(NamedTuple):
    """What the model was asked: its phase, all of the text, and the sections of the last user message."""

    phase: str
    text: str
    sections: Mapping[str, str]
    as_json: bool
    temperature: float | None
    as_xml: bool = False

    def section(self, name: str) -> str:
        return self.sections.get(name, "")


Answer = Mapping[str, Any] | str | Exception
Script = Answer | Callable[[Prompt], Answer] | Sequence[Answer | Callable[[Prompt], Answer]]


def accept(prompt: Prompt) -> dict[str, Any]:
    """A judge that lets everything pass, with quotes that stand where they have to."""
    return judging()(prompt)


def judging(**refused: str) -> Callable[[Prompt], dict[str, Any]]:
    """A judge that lets everything pass but what is `refused`, by the id of the question, with the reason."""

    def judge(prompt: Prompt) -> dict[str, Any]:
        told = [text for name, text in prompt.sections.items() if name not in _OF_THE_JUDGE]
        lines = prompt.section("observations").splitlines()
        shown = [line for line in lines if line.startswith("| ")] or lines
        verdicts: list[dict[str, Any]] = []
        for name, note in questions_in(prompt.section("questions")):
            quote = told[0] if note.startswith(UNNAMED) else next(iter([*shown, *told]))
            holds = {"holds": False, "why": refused[name]} if name in refused else {"holds": True, "quote": quote}
            verdicts.append({"about": name, **holds})
        return {"verdicts": verdicts}

    return judge


class Scripted:
    """An engine whose answers to each phase are given: one for all calls, one for each, or a function of the prompt.
    Where none is given for the judge, it lets everything pass.

    A mapping is written in the form that the adapter reads; text is sent as it is; an exception is raised. After its
    last answer a sequence gives garbage, which no phase can read.
    """

    def __init__(self, **scripts: Script) -> None:
        self.scripts = scripts
        self.prompts: list[Prompt] = []
        self._lock = threading.Lock()
        self._given: dict[str, int] = {}

    def count(self, phase: str | None = None) -> int:
        """Calls so far, of one phase or of all."""
        return sum(1 for prompt in self.prompts if phase in (None, prompt.phase))

    def last(self, phase: str) -> Prompt:
        return [prompt for prompt in self.prompts if prompt.phase == phase][-1]

    def complete(self, request: Request) -> Response:
        prompt = _read(request)
        with self._lock:
            self.prompts.append(prompt)
            number = self._given.get(prompt.phase, 0)
            self._given[prompt.phase] = number + 1
        script = self.scripts.get(prompt.phase, accept if prompt.phase == "judge" else GARBAGE)
        if isinstance(script, Sequence) and not isinstance(script, str):
            script = script[number] if number < len(script) else GARBAGE
        answer = script(prompt) if callable(script) and not isinstance(script, Exception) else script
        if isinstance(answer, Exception):
            raise answer
        given = prompt.section("user_requirements")
        if given and isinstance(answer, Mapping) and answer.get("requirements") == [WHOLE]:
            answer = {**answer, "requirements": []}  # somebody has said what has to hold
        text = answer if isinstance(answer, str) else _written(answer, prompt)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=len(prompt.text) // 4, output_tokens=len(text) // 4),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing is held."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Scripted:
        return self

    def dump_state(self) -> dict[str, Any]:
        return {}


class AsyncScripted:
    def __init__(self, engine: Scripted) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        return self.engine.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        for event in self.engine.stream(request):
            yield event

    async def aclose(self) -> None:
        """Nothing is held."""

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncScripted:
        return self

    def dump_state(self) -> dict[str, Any]:
        return {}


def scripted(engine: Scripted | None = None, /, **scripts: Script) -> dspy.LM:
    """A `dspy.LM` that answers from a script; `lm.engine` is its `Scripted`. Neither cache nor retries."""
    engine = engine or Scripted(**scripts)
    return dspy.LM("scripted/model", engine=engine, async_engine=AsyncScripted(engine), cache=False, num_retries=0)


WHOLE = {"id": "R0", "text": "What the task asks for is done."}
"""A requirement in words, where a test is not about requirements and the caller gives none."""


def plan(steps: Sequence[Any], requirements: Sequence[Any] = (WHOLE,)) -> dict[str, Any]:
    """A plan as the model writes it."""
    return {"requirements": list(requirements), "steps": list(steps)}


def rewrite(
    steps: Sequence[Any], diagnosis: str = "It is mended.", requirements: Sequence[Any] = ()
) -> dict[str, Any]:
    """A suffix as the model writes it."""
    return {"diagnosis": diagnosis, "requirements": list(requirements), "steps": list(steps)}


def step(step_id: str, tool_name: str, /, for_each: str | None = None, **args: Any) -> dict[str, Any]:
    """A step as the model writes it."""
    written = {"id": step_id, "tool": tool_name, "args": args}
    return written if for_each is None else {**written, "for_each": for_each}


def submit(**args: Any) -> dict[str, Any]:
    return step("submit", "submit", **args)


def _read(request: Request) -> Prompt:
    system = request.system or ""
    system = system if isinstance(system, str) else "".join(part.text for part in system)
    turns = ["".join(getattr(part, "text", "") for part in message.parts) for message in request.messages]
    asked = next((turn for turn in reversed(turns) if "Respond with " in turn), turns[-1])  # it may be asked again
    question, _, wish = asked.rpartition("Respond with ")
    question = question or asked
    listed = _OUTPUTS.search(system) or _OUTPUTS.search(asked)
    outputs = set(_WISHED.findall(wish) or _field_names(listed)) - {"completed"}
    phase = next((name for name, fields in PHASES.items() if fields == outputs), "compose")
    as_json, as_xml = "a JSON object" in wish, "wrapped in XML tags" in wish
    if as_xml:
        later = any(message.role == "assistant" for message in request.messages)  # whose fields no system message lists
        listed_names = _OPENING_TAG.findall(question) if later else _field_names(_INPUTS.search(system))
        sections = _tagged(question, listed_names)
    else:
        pieces = _HEADER.split(question)
        sections = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    return Prompt(phase, "\n".join([system, *turns]), sections, as_json, request.config.temperature, as_xml)


def _field_names(listed: re.Match[str] | None) -> list[str]:
    return re.findall(r"^\d+\. `(\w+)`", listed[1], re.MULTILINE) if listed else []


def _tagged(question: str, names: Sequence[str]) -> dict[str, str]:
    """The sections that XMLAdapter writes: one in tags for each input, in the order of the signature.

    The loop of `dspy.ReAct` has such sections inside of one, as it has headers there with ChatAdapter.
    """
    sections: dict[str, str] = {}
    position = 0
    for name in names:
        section = re.compile(rf"^<{name}>\n(.*?)\n</{name}>$", re.MULTILINE | re.DOTALL).search(question, position)
        if section is not None:
            sections[name], position = section[1].strip(), section.end()
    inner = (match for text in [*sections.values()] for match in _TAGGED.finditer(text))
    return {**{match[1]: match[2].strip() for match in inner}, **sections}


def _written(answer: Mapping[str, Any], prompt: Prompt) -> str:
    if prompt.as_json:
        return json.dumps(answer, ensure_ascii=False)
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in answer.items()
    }
    if prompt.as_xml:
        return "\n\n".join(f"<{name}>\n{escape(text)}\n</{name}>" for name, text in texts.items())
    return "\n\n".join([*(f"[[ ## {name} ## ]]\n{text}" for name, text in texts.items()), "[[ ## completed ## ]]"])
