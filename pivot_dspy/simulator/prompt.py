"""Reads a prompt as DSPy's adapters write it: the fields that it asks for, the sections that it shows, and the steps,
results and unmet requirements in those."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

from dspy.lm15 import Request, TextPart, UnsupportedFeatureError

from pivot_dspy.prompts import report

# ---------------------------------------------------------------------------------------------- fields and sections

Adapter = Literal["chat", "json", "xml", "plain"]

_FIELDS = re.compile(
    r"Your input fields are:\n(.*?)\nYour output fields are:\n(.*?)\nAll interactions will be", re.DOTALL
)
_FIELD = re.compile(r"^\d+\. `(\w+)` \((.+?)\):(?=\s|$)", re.MULTILINE)
_OBJECTIVE = "your objective is:"
_REMINDER = "Respond with "
_REMINDERS: Mapping[str, Adapter] = {
    "a JSON object": "json",
    "the corresponding output fields wrapped in XML tags": "xml",
    "the corresponding output fields": "chat",
}
_OPENINGS = {"xml": r"^<NAME>$\n?", "chat": r"^\[\[ ## NAME ## \]\]$\n?", "json": r"^\[\[ ## NAME ## \]\]$\n?"}
_JSON_FORM = "Outputs will be a JSON object with the following fields.\n\n"
_PLACEHOLDER = re.compile(r"^\{(\w+)\}( .*)$", re.MULTILINE)
_TAGS = re.compile(r"^<(\w+)>.+</\1>$", re.MULTILINE)
_NOTE = "# note: the value you produce "
_CHOICES = re.compile(r"one of: (.*)$", re.DOTALL)
_OUTPUT = re.compile(r"`(?:\[\[ ## |<)?(\w+)(?: ## \]\]|>)?`")
_CHAT_NAME = re.compile(r"^\[\[ ## (\w+) ## \]\]$", re.MULTILINE)
_NAME = {"chat": _CHAT_NAME, "json": _CHAT_NAME, "xml": re.compile(r"^<(\w+)>$", re.MULTILINE)}
_OBJECT = re.compile(r"\{(?=\s*\"id\")")
_XML_STEPS = re.compile(r"<steps>.*?</steps>", re.DOTALL)
_HEAD = re.compile(r"^(\w+) (\S+) ->", re.MULTILINE)
_TASK = "The task: "

OF_ONE_RUN = frozenset(
    ("kept", "open_steps", "also_read", "looks", "report", "blame", "tried", "suspects", "observations", "submitted",
     "earlier_versions", "critique", "trajectories", "reports", "steps_so_far", "holding", "siblings", "requirements",
     "repairs", "cases", "hint_", "calls", "questions", "program_trajectory", "program_outputs", "trajectory")
)  # fmt: skip
"""Sections that tell how a run went."""
OF_THE_REFINER = OF_ONE_RUN | {"tools", "checks", "policy", "lessons", "known", "user_requirements"}
"""Sections that are not the task's own inputs."""


class Field(NamedTuple):
    """An output field that a prompt asks for."""

    name: str
    kind: str
    """The type as Python text."""
    note: str = ""
    """What the value must be, where the prompt says so."""

    @property
    def choices(self) -> list[str]:
        """The values that it may have, where the prompt lists them."""
        listed = _CHOICES.search(self.note)
        return listed[1].split("; ") if listed else []


class Prompt(NamedTuple):
    """What a prompt asks and shows."""

    adapter: Adapter
    """The format in which the answer is expected; `plain` where no DSPy adapter wrote it."""
    text: str
    """Everything that was received."""
    question: str
    """The last message that asks for something; demonstrations and corrections do not count."""
    instructions: str
    outputs: tuple[Field, ...]
    sections: Mapping[str, str]
    """The input fields that are shown, by name: those of the last message, and what the first one of the conversation
    says for good. In `kept` and `open_steps`, what this model wrote itself stands as it wrote it."""
    shown: str = ""
    """All that the conversation has shown, without instructions and answers."""
    shown_before: str = ""
    """What it had shown by the call before; empty in a prompt that stands alone."""

    def section(self, name: str) -> str:
        return self.sections.get(name, "")

    @property
    def asks(self) -> frozenset[str]:
        """Names of the output fields."""
        return frozenset(field.name for field in self.outputs)


def read(request: Request) -> Prompt:
    """The prompt in `request`.

    Raises:
        dspy.lm15.UnsupportedFeatureError: it holds something other than text, or native tools.
    """
    if request.tools:
        raise UnsupportedFeatureError("the offline model calls no native tools; use an adapter without them")
    turns = [(message.role, _text(message.parts)) for message in request.messages]
    apart = [text for role, text in turns if role not in ("user", "assistant", "tool")]
    system = "\n".join([_text(request.system or ""), *apart]).strip()
    everything = "\n".join([system, *(text for _, text in turns)])
    asking = [place for place, (role, text) in enumerate(turns) if role == "user" and _adapter(text) != "plain"]
    question = turns[asking[-1]][1] if asking else turns[-1][1]
    adapter = _adapter(question)
    fields = _FIELDS.search(system) or _FIELDS.search(question)
    if adapter == "plain" or fields is None:
        return Prompt("plain", everything, question, system, (), {})
    notes, kinds = _notes(system, adapter), dict(_FIELD.findall(fields[2]))
    first, *later = [turns[place][1].rpartition(f"\n\n{_REMINDER}")[0] for place in asking]
    inputs = [name for name, _ in _FIELD.findall(fields[1])]
    told = [sections_in(adapter, first, inputs), *(_sections_of_turn(adapter, text) for text in later)]
    sections, asked = told[0], [*kinds]
    if later:
        asked = [name for name in _OUTPUT.findall(question.rpartition(_REMINDER)[2]) if name != "completed"]
        sections = {name: text for name, text in told[0].items() if name not in OF_ONE_RUN} | told[-1]
        answers = [text for role, text in turns[asking[0] :] if role == "assistant"]
        written = {step["id"]: step for text in answers for step in _steps_written(adapter, text)}
        sections |= {name: _in_full(sections.get(name, ""), written) for name in ("kept", "open_steps")}
    objective = system.partition(_OBJECTIVE)[2] or system
    texts = ["\n".join(turn.values()) for turn in told]
    return Prompt(
        adapter=adapter,
        text=everything,
        question=question,
        instructions="\n".join([objective, *(_NAME[adapter].split(text)[0] for text in later)]),
        outputs=tuple(Field(name, kinds.get(name, "str"), notes.get(name, "")) for name in asked),
        sections=sections,
        shown="\n".join([objective.rpartition(_TASK)[2], *texts]),
        shown_before="\n".join(texts[:-1]),
    )


def _sections_of_turn(adapter: Adapter, text: str) -> dict[str, str]:
    """The sections of a later message, in whatever order they stand."""
    return sections_in(adapter, text, [name for name in _NAME[adapter].findall(text) if name in OF_ONE_RUN])


def _steps_written(adapter: Adapter, answer: str) -> Iterator[dict[str, Any]]:
    """The steps in an answer of this model's own."""
    if adapter == "xml":
        found = _XML_STEPS.search(answer)
        yield from filter(is_step, _value_of(ElementTree.fromstring(found[0])) if found else ())
    else:
        yield from filter(is_step, (json_at(answer[match.start() :])[0] for match in _OBJECT.finditer(answer)))


def _value_of(element: ElementTree.Element) -> Any:
    """What nested tags say; numbers stay text."""
    parts = [(child.tag, _value_of(child)) for child in element]
    if {tag for tag, _ in parts} == {"item"}:
        return [value for _, value in parts]
    return dict(parts) or element.text or ""


def _in_full(text: str, written: Mapping[str, Mapping[str, Any]]) -> str:
    """Lines `ID TOOL ->` with the steps as they were written; a line of which nothing is known stays."""

    def full(line: re.Match[str]) -> str:
        step = written.get(line[1], {})
        return step_line(step) if step.get("tool") == line[2] else line[0]

    return _HEAD.sub(full, text)


def sections_in(adapter: Adapter, text: str, names: Iterable[str]) -> dict[str, str]:
    """The sections of a text that an adapter wrote; only openings in the order of `names` count, others are text."""
    openings: list[tuple[str, int, int]] = []
    position = 0
    for name in names:
        opening = re.compile(_OPENINGS[adapter].replace("NAME", name), re.MULTILINE).search(text, position)
        if opening:
            position = opening.end()
            openings.append((name, opening.start(), position))
    ends = [start for _, start, _ in openings[1:]]
    sections = {name: text[start:end] for (name, _, start), end in zip(openings, [*ends, len(text)], strict=False)}
    if adapter == "xml":
        sections = {name: content.rpartition(f"</{name}>")[0] for name, content in sections.items()}
    return {name: content.strip() for name, content in sections.items()}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if not isinstance(part, TextPart):
            raise UnsupportedFeatureError(f"the offline model reads text only, not {type(part).__name__}")
    return "\n".join(part.text for part in content)


def _adapter(question: str) -> Adapter:
    _, found, reminder = question.rpartition(_REMINDER)
    return next((name for start, name in _REMINDERS.items() if found and reminder.startswith(start)), "plain")


def _notes(system: str, adapter: Adapter) -> dict[str, str]:
    """What each output field must be, as far as the prompt says so."""
    if adapter == "json":
        form, _ = json_at(system.partition(_JSON_FORM)[2])
        lines = {name: str(line) for name, line in (form or {}).items()}
    else:
        lines = dict(_PLACEHOLDER.findall(system))
    notes = {name: line.partition(_NOTE)[2] for name, line in lines.items()}
    nested = {match[1]: match[0] for match in _TAGS.finditer(system)} if adapter == "xml" else {}
    return {**nested, **notes}


# ----------------------------------------------------------------------------------------------- words of the report

_NAMES = {getattr(report, name): name.replace("_", " ") for name in ("FAILED", "NOT_MET")} | {
    getattr(report, name): name.replace("_", " ").lower()
    for name in ("NOT_RUN", "WAITS_FOR_COMMIT", "SUBMITTED", "NOT_JUDGED_YET")
}
"""The words that the report declares, each with the name of its constant as words; alarms are in capitals."""
_DECLARED = re.compile(rf"(?<=[>:-] )(?:{'|'.join(map(re.escape, _NAMES))})\b")


def normal_form(text: str) -> str:
    """`text` with each declared word, after an arrow, a colon or a dash, by its name: what the dice and the count of
    tokens go by, so that another word in a report changes no figure."""
    return _DECLARED.sub(lambda match: _NAMES[match[0]], text)


# ------------------------------------------------------------------------------------------- what the sections hold

CUT = "… (+"
"""Stands where a text was cut short."""
_LOOK = re.compile(r"are not shown: (\{.*\})$", re.MULTILINE)
_MISSING = re.compile(r'^(?:\| )+… [\d,]+ of [\d,]+ \w+ are not shown|"…": "\+[\d,]+ more"', re.MULTILINE)

_ARROW = " ->"
_BRIEF = re.compile(r"^(\w+) (\S+) ->(.*)$")
_RESULT = re.compile(r"^(\w+) \S+ (?:\{.*\} )?->((?:\n\| .*)*)$", re.MULTILINE)
_COUNT = re.compile(r"^[\d,]+ records?(?:; in all (\{.*\}))?$")


class ShownStep(NamedTuple):
    """A step as a prompt shows it."""

    id: str
    written: dict[str, Any]
    outcome: str
    """What stands after the arrow, and the fenced lines below."""
    brief: bool = False
    """Shown without its arguments."""

    @property
    def failed(self) -> bool:
        """Whether its own line says that it failed or did not run."""
        return report.status_of(self.outcome) in ("error", "blocked")


def steps_in(text: str) -> list[ShownStep]:
    """The steps in `text`: each a line with the step as JSON, or `ID TOOL`, an arrow and what came of it, which may go
    on below on fenced lines."""
    steps: list[ShownStep] = []
    for line in text.splitlines():
        written, end = json_at(line)
        brief = _BRIEF.match(line)
        if is_step(written):
            steps.append(ShownStep(written["id"], written, line[end:].removeprefix(_ARROW).strip()))
        elif brief:
            step = {"id": brief[1], "tool": brief[2]}
            steps.append(ShownStep(brief[1], step, brief[3].strip(), brief=True))
        elif steps and line.startswith(report.FENCE):
            steps[-1] = steps[-1]._replace(outcome=f"{steps[-1].outcome}\n{line}")
    return steps


def is_step(value: Any) -> bool:
    """Whether a value has what every step has: an id and a tool, both text."""
    return isinstance(value, dict) and isinstance(value.get("id"), str) and isinstance(value.get("tool"), str)


def looks_at(step: ShownStep) -> list[str]:
    """Expressions for what is not shown of a step's result: as the prompt words them, the rows that are cut in halves,
    or the result as a whole."""
    words, *fenced = step.outcome.splitlines() or [""]
    asked = [json_in(look)["look"] for look in _LOOK.findall(step.outcome)]
    if asked or report.status_of(step.outcome) != "ok":
        return asked
    if is_cut(step.outcome) and len(fenced) > 2:
        return [f"${step.id}[:{len(fenced) // 2}]", f"${step.id}[{len(fenced) // 2}:]"]
    accounted = words and not words.startswith((report.SUBMITTED, "as shown"))
    return [f"${step.id}"] if accounted or is_cut(step.outcome) else []


def step_line(step: Mapping[str, Any], outcome: str = "") -> str:
    """A step as `steps_in` reads it."""
    return f"{json.dumps(step, ensure_ascii=False)}{_ARROW} {outcome}".rstrip(" ")


def same(written: Mapping[str, Any], reference: Mapping[str, Any]) -> bool:
    """Whether two steps do the same."""
    return _content(written) == _content(reference)


def _content(step: Mapping[str, Any]) -> list[Any]:
    return [_as_text(step.get(key)) for key in ("tool", "for_each", "expects", "problem", "args")]


def _as_text(value: Any) -> Any:
    """`value` with its leaves as text, which is all that tags can tell apart."""
    if isinstance(value, Mapping):
        return {name: _as_text(item) for name, item in value.items()} or ""
    if isinstance(value, list):
        return [_as_text(item) for item in value] or ""
    return "" if value is None else str(value)


def unmet_in(text: str) -> frozenset[str]:
    """Ids of the requirements that a report says are not met."""
    return frozenset(unmet.id.rstrip("_") or unmet.id for unmet in report.unmet_in(text))


def names(text: str, step_id: str) -> bool:
    """Whether feedback names a step, as `$id` or "step id"."""
    return re.search(rf"(?:\$|\bstep ){re.escape(step_id)}\b", text, re.IGNORECASE) is not None


def says(text: str, word: str) -> bool:
    """Whether a text holds a word as a whole."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def results_in(text: str) -> dict[str, Any]:
    """Results by step id from steps with their results fenced below; those that were cut short are left out."""
    results: dict[str, Any] = {}
    for step_id, fenced in _RESULT.findall(text):
        lines = [line.removeprefix(report.FENCE) for line in fenced.splitlines()[1:]]
        if lines and not is_cut(fenced):
            results[step_id] = _result(lines)
    return results


def _result(lines: Sequence[str]) -> Any:
    """The value that fenced lines show: rows of records, rows of JSON, or a text."""
    counted = _COUNT.match(lines[0])
    values = [json_in(line) for line in (lines[1:] if counted else lines)]
    if counted:
        same = json_in(counted[1]) if counted[1] else {}
        return [{**same, **value} for value in values]
    if len(lines) == 1:
        return json_or_text(lines[0])
    return "\n".join(lines) if None in values else values


def is_cut(result: str) -> bool:
    """Whether a result, as it is shown, says that not all of it is."""
    return CUT in result or _MISSING.search(result) is not None


def shared(sections: Mapping[str, str], without: Collection[str]) -> str:
    """All sections but those named, as one text."""
    return "\n".join(text for name, text in sections.items() if name not in without)


def json_at(text: str) -> tuple[Any, int]:
    """The JSON value at the start of `text` and where it ends; (None, 0) where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None, 0


def json_or_text(text: str) -> Any:
    """The JSON value that `text` is as a whole, or the text itself."""
    value, end = json_at(text)
    return value if end and end == len(text) else text


def json_in(text: str) -> Any:
    """The JSON value that `text` is as a whole; None where it is none."""
    value, end = json_at(text.strip())
    return value if end == len(text.strip()) else None
