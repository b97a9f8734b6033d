"""Reads a prompt as DSPy's adapters write it: the fields that it asks for and the sections that it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from dspy.lm15 import Request, TextPart, UnsupportedFeatureError

from pivot_dspy.prompts import report

_ARROW = " -> "
_KEPT = re.compile(r"^(\w+) \S+ -> ", re.MULTILINE)
_BRIEF = re.compile(r"^(\w+) (\S+) -> (.*)$")
_LISTED = re.compile(r"\bsteps? ((?:['\"`$]*\w+['\"`]*(?:, and |, | and )?)+)", re.IGNORECASE)
_POINTED = r"(?:\$|\b(?:step|called|result of|id|named|after|before|add) ['\"`$]*){name}\b"


class ShownStep(NamedTuple):
    """A step as a prompt shows it."""

    id: str
    written: dict[str, Any]
    outcome: str
    brief: bool = False  # without its arguments

    @property
    def failed(self) -> bool:
        """Whether its own line says that it failed or did not run."""
        return report.status_of(self.outcome) in ("error", "blocked")


def steps_in(text: str) -> list[ShownStep]:
    """The steps in `text`, one a line: the step as JSON, an arrow, and what came of it (more lines may follow)."""
    found: list[ShownStep] = []
    for line in text.splitlines():
        step, end = _json_at(line)
        if isinstance(step, dict) and isinstance(step.get("id"), str) and isinstance(step.get("tool"), str):
            found.append(ShownStep(step["id"], step, line[end:].removeprefix(_ARROW)))
        elif found:
            found[-1] = found[-1]._replace(outcome=f"{found[-1].outcome}\n{line}")
    return found


def open_in(text: str) -> list[ShownStep]:
    """As `steps_in`, with the steps that stand there without their arguments: `id tool -> ` and what came of it."""
    found = []
    for line in text.splitlines():
        brief = _BRIEF.match(line)
        found += [ShownStep(brief[1], {"id": brief[1], "tool": brief[2]}, brief[3], True)] if brief else steps_in(line)
    return found


def kept_in(text: str, ids: Iterable[str]) -> frozenset[str]:
    """Ids of the steps that `kept` shows, and where it leaves out the first ones, those of `ids` before."""
    shown = _KEPT.findall(text)
    order = list(ids)
    hidden = order[: order.index(shown[0])] if text.startswith("…") and shown and shown[0] in order else []
    return frozenset([*hidden, *shown])


def same(written: Mapping[str, Any], reference: Mapping[str, Any]) -> bool:
    """Whether two steps do the same."""
    return _content(written) == _content(reference)


def unmet_in(text: str) -> frozenset[str]:
    """Ids of the requirements that a report says are not met."""
    return frozenset(unmet.id.rstrip("_") or unmet.id for unmet in report.unmet_in(text))


def names(text: str, step_id: str, blame: str = "") -> bool:
    """Whether feedback names a step: as `$id`, "step id", "steps id and id", "called 'id'" and the like.

    In `blame` the bare id is enough, unless it could be a word of the language.
    """
    whole = f"{text}\n{blame}"
    if re.search(_POINTED.format(name=re.escape(step_id)), whole):
        return True
    if any(step_id in re.findall(r"\w+", listed) for listed in _LISTED.findall(whole)):
        return True
    word = step_id.isalpha() and (len(step_id) > 1 or step_id in "aAI")
    return not word and re.search(rf"(?<!\w){re.escape(step_id)}(?!\w)", blame) is not None


def results_in(text: str) -> dict[str, Any]:
    """Results by step id from lines `id tool {arguments} -> result`; those that were cut short are left out."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        match = re.match(r"(\w+) (\S+) ", line)
        if not match:
            continue
        rest = line[match.end() :]
        _, end = _json_at(rest)
        said = rest[end:].strip().removeprefix("->").strip()
        value, length = _json_at(said)
        if length == len(said) and said:
            found[match[1]] = value
        elif "… (+" not in said and said not in ("error", "blocked", "withheld"):
            found[match[1]] = said
    return found


def shared(sections: Mapping[str, str], without: Collection[str]) -> str:
    """All sections but those named, as one text."""
    return "\n".join(text for name, text in sections.items() if name not in without)


def _json_at(text: str) -> tuple[Any, int]:
    """The JSON value at the start of `text` and where it ends; (None, 0) where there is none."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None, 0
    return value, end


def _content(step: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: step[key] for key in ("tool", "for_each", "expects", "problem") if step.get(key)}
    return {**named, "args": step.get("args") or {}}


Adapter = Literal["chat", "json", "xml", "plain"]

_FIELDS = re.compile(
    r"Your input fields are:\n(.*?)\nYour output fields are:\n(.*?)\nAll interactions will be", re.DOTALL
)
_FIELD = re.compile(r"^\d+\. `(\w+)` \((.+?)\):(?=\s|$)", re.MULTILINE)
_OBJECTIVE = "your objective is:"
_REMINDER = "\n\nRespond with "
_REMINDERS: tuple[tuple[str, Adapter], ...] = (
    ("a JSON object", "json"),
    ("the corresponding output fields wrapped in XML tags", "xml"),
    ("the corresponding output fields", "chat"),
)
_JSON_FORM = "Outputs will be a JSON object with the following fields.\n\n"
_NOTE = "# note: the value you produce "


class Field(NamedTuple):
    """An output field that a prompt asks for: its name, its type as Python text, and the note on what it must be."""

    name: str
    kind: str
    note: str = ""


class Prompt(NamedTuple):
    """What a prompt asks and shows.

    Attributes:
        adapter: the format in which the answer is expected; `plain` where no DSPy adapter wrote it.
        text: everything that was received.
        question: the last user message; turns before it are demonstrations and do not count.
        instructions: the signature's instructions.
        outputs: the fields asked for.
        sections: the input fields that are shown, by name.
    """

    adapter: Adapter
    text: str
    question: str
    instructions: str
    outputs: tuple[Field, ...]
    sections: Mapping[str, str]

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
    system = "" if request.system is None else _text(request.system)
    turns = [(message.role, _text(message.parts)) for message in request.messages]
    system = "\n".join([system, *(text for role, text in turns if role not in ("user", "assistant", "tool"))]).strip()
    question = next((text for role, text in reversed(turns) if role == "user"), turns[-1][1])
    everything = "\n".join([system, *(text for _, text in turns)])
    adapter = _adapter(question)
    listed = _FIELDS.search(system) or _FIELDS.search(question)
    if adapter == "plain" or listed is None:
        return Prompt("plain", everything, question, system, (), {})
    notes = dict(_notes(system, adapter))
    outputs = tuple(Field(name, kind, notes.get(name, "")) for name, kind in _FIELD.findall(listed[2]))
    names = [name for name, _ in _FIELD.findall(listed[1])]
    body = question[: question.rfind(_REMINDER)] if _REMINDER in question else ""
    sections = sections_in(adapter, body, names)
    instructions = system.partition(_OBJECTIVE)[2] or system
    return Prompt(adapter, everything, question, instructions, outputs, sections)


def sections_in(adapter: Adapter, text: str, names: list[str]) -> dict[str, str]:
    """The sections of a text that an adapter wrote, by name, in the order of `names`."""
    return dict(_tagged(text, names) if adapter == "xml" else _headed(text, names))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if not isinstance(part, TextPart):
            raise UnsupportedFeatureError(f"the offline model reads text only, not {type(part).__name__}")
    return "\n".join(part.text for part in content)


def _adapter(question: str) -> Adapter:
    reminder = question[question.rfind("Respond with ") :] if "Respond with " in question else ""
    return next((name for start, name in _REMINDERS if reminder.startswith(f"Respond with {start}")), "plain")


def _headed(text: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Sections under `[[ ## name ## ]]`; only headers in the order of the fields count, others are text."""
    found: list[tuple[str, int, int]] = []
    position = 0
    for name in names:
        header = re.compile(rf"^\[\[ ## {name} ## \]\]$\n?", re.MULTILINE)
        match = header.search(text, position)
        if match:
            found.append((name, match.start(), match.end()))
            position = match.end()
    for (name, _, start), following in zip(found, [*found[1:], None], strict=False):
        yield name, text[start : following[1] if following else len(text)].strip()


def _tagged(text: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Sections in `<name>`; a section ends at its last closing tag before the next field opens."""
    opened: list[tuple[str, int, int]] = []
    position = 0
    for name in names:
        match = re.compile(rf"^<{name}>$\n?", re.MULTILINE).search(text, position)
        if match:
            opened.append((name, match.start(), match.end()))
            position = match.end()
    for (name, _, start), following in zip(opened, [*opened[1:], None], strict=False):
        inside = text[start : following[1] if following else len(text)]
        end = inside.rfind(f"</{name}>")
        yield name, inside[: end if end >= 0 else len(inside)].strip()


def _notes(system: str, adapter: Adapter) -> Iterator[tuple[str, str]]:
    """What each output field must be, as far as the prompt says so."""
    if adapter == "json":
        _, found, rest = system.partition(_JSON_FORM)
        form = json.JSONDecoder().raw_decode(rest)[0] if found and rest.startswith("{") else {}
        lines = [(name, str(said)) for name, said in form.items()]
    else:
        lines = re.findall(r"^\{(\w+)\}( .*)$", system, re.MULTILINE)
        if adapter == "xml":
            yield from ((match[1], match[0]) for match in re.finditer(r"^<(\w+)>.+</\1>$", system, re.MULTILINE))
    for name, said in lines:
        yield name, said.partition(_NOTE)[2]
