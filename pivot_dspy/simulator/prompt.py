"""Reads a prompt as DSPy's adapters write it: the fields that it asks for, the sections that it shows, and the steps,
results and unmet requirements in those."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

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
    """The last user message; turns before it are demonstrations and do not count."""
    instructions: str
    outputs: tuple[Field, ...]
    sections: Mapping[str, str]
    """The input fields that are shown, by name."""

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
    question = next((text for role, text in reversed(turns) if role == "user"), turns[-1][1])
    everything = "\n".join([system, *(text for _, text in turns)])
    body = question.rpartition(f"\n\n{_REMINDER}")[0]
    adapter = _adapter(question)
    fields = _FIELDS.search(system) or _FIELDS.search(question)
    if adapter == "plain" or fields is None:
        return Prompt("plain", everything, question, system, (), {})
    notes = _notes(system, adapter)
    outputs = tuple(Field(name, kind, notes.get(name, "")) for name, kind in _FIELD.findall(fields[2]))
    sections = sections_in(adapter, body, [name for name, _ in _FIELD.findall(fields[1])])
    instructions = system.partition(_OBJECTIVE)[2] or system
    return Prompt(adapter, everything, question, instructions, outputs, sections)


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

_ARROW = " -> "
_BRIEF = re.compile(r"^(\w+) (\S+) -> (.*)$", re.MULTILINE)
_RESULT = re.compile(r"^(\w+) \S+ (.*)$", re.MULTILINE)
_NO_RESULT = frozenset(("", "error", "blocked", "withheld"))


class ShownStep(NamedTuple):
    """A step as a prompt shows it."""

    id: str
    written: dict[str, Any]
    outcome: str
    brief: bool = False
    """Shown without its arguments."""

    @property
    def failed(self) -> bool:
        """Whether its own line says that it failed or did not run."""
        return report.status_of(self.outcome) in ("error", "blocked")


def steps_in(text: str, *, brief: bool = False) -> list[ShownStep]:
    """The steps in `text`, one a line: the step as JSON, an arrow, and what came of it (more lines may follow).

    Args:
        brief: whether lines `id tool -> outcome` count as well.
    """
    steps: list[ShownStep] = []
    for line in text.splitlines():
        written, end = json_at(line)
        outline = _BRIEF.match(line) if brief else None
        if is_step(written):
            steps.append(ShownStep(written["id"], written, line[end:].removeprefix(_ARROW)))
        elif outline:
            steps.append(ShownStep(outline[1], {"id": outline[1], "tool": outline[2]}, outline[3], brief=True))
        elif steps and not brief:
            steps[-1] = steps[-1]._replace(outcome=f"{steps[-1].outcome}\n{line}")
    return steps


def is_step(value: Any) -> bool:
    """Whether a value has what every step has: an id and a tool, both text."""
    return isinstance(value, dict) and isinstance(value.get("id"), str) and isinstance(value.get("tool"), str)


def step_line(step: Mapping[str, Any], outcome: str = "") -> str:
    """A step as `steps_in` reads it."""
    return f"{json.dumps(step, ensure_ascii=False)}{_ARROW}{outcome}"


def kept_in(text: str) -> frozenset[str]:
    """Ids of the steps that `kept` shows."""
    return frozenset(step_id for step_id, _, _ in _BRIEF.findall(text))


def same(written: Mapping[str, Any], reference: Mapping[str, Any]) -> bool:
    """Whether two steps do the same."""
    return _content(written) == _content(reference)


def _content(step: Mapping[str, Any]) -> list[Any]:
    return [*(step.get(key) or None for key in ("tool", "for_each", "expects", "problem")), step.get("args") or {}]


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
    """Results by step id from lines `id tool {arguments} -> result`; those that were cut short are left out."""
    results: dict[str, Any] = {}
    for step_id, rest in _RESULT.findall(text):
        _, end = json_at(rest)
        written = rest[end:].strip().removeprefix("->").strip()
        if written not in _NO_RESULT and CUT not in written:
            results[step_id] = json_or_text(written)
    return results


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
