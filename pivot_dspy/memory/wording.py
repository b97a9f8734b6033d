"""What a model is shown of a memory: text for the `lessons` of a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pivot_dspy.memory.records import Demonstration, Lesson, ToolNote
from pivot_dspy.prompts.truncation import truncate

TASK_CAP = 600
"""Characters of an example's task."""
SAID_CAP = 400
"""Characters of each part of a lesson or note."""

REQUIRED = "Also required, though the request may not say it; write each among the requirements, under its id"
GAPS = '; in place of each "<...>" write what that JMESPath expression over the results already read gives'
LESSONS = "Learned from what went wrong before:"
FIXES = "Often done wrong:"
NOTES = "What errors of tools meant:"


class PromptSection(NamedTuple):
    """A text for a prompt, and the ids of the entries that it tells of."""

    text: str = ""
    ids: tuple[str, ...] = ()


class Retrieved(NamedTuple):
    """What a memory has to say on a task.

    Attributes:
        requirements: what was learned to be required; for phases that write requirements.
        advice: lessons, notes and examples; for phases that write steps.
        learned: id under which a requirement is told, and why: the id of the lesson and what it says.
        fixes: lessons that are applied to what a model writes, and so not told.
    """

    requirements: PromptSection = PromptSection()
    advice: PromptSection = PromptSection()
    learned: tuple[tuple[str, str], ...] = ()
    fixes: tuple[Lesson, ...] = ()

    @property
    def text(self) -> str:
        """All of it."""
        return "\n\n".join(part.text for part in (self.requirements, self.advice) if part.text)

    @property
    def ids(self) -> tuple[str, ...]:
        """The entries that it tells of."""
        return (*self.requirements.ids, *self.advice.ids)

    @property
    def in_words(self) -> PromptSection:
        """The fixes as advice, for what is not written as steps."""
        lines = [f"- {advice(lesson)}" for lesson in self.fixes]
        return PromptSection(_block(FIXES, lines), tuple(lesson.id for lesson in self.fixes))


class SelectedEntries(NamedTuple):
    """The entries that are shown, each kind in its order; an example as it is worded."""

    required: tuple[Lesson, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    notes: tuple[ToolNote, ...] = ()
    examples: tuple[tuple[Demonstration, str], ...] = ()


def retrieved(shown: SelectedEntries) -> Retrieved:
    """The text that tells of `shown`: what is the same for every task of an environment first."""
    named = [(f"L{number}", lesson) for number, lesson in enumerate(shown.required, start=1)]
    drafts = [_required(name, lesson) for name, lesson in named]
    gaps = GAPS if any("<" in _json(lesson.requirement) for lesson in shown.required) else ""
    required = _block(f"{REQUIRED}{gaps}:", drafts)
    blocks = [
        _block(LESSONS, [f"- {advice(lesson)}" for lesson in shown.lessons]),
        _block(NOTES, [_note(note) for note in shown.notes]),
        *(text for _, text in shown.examples),
    ]
    told = (*shown.lessons, *shown.notes, *(example for example, _ in shown.examples))
    return Retrieved(
        PromptSection(required, tuple(lesson.id for lesson in shown.required)),
        PromptSection("\n\n".join(block for block in blocks if block), tuple(entry.id for entry in told)),
        tuple((name, f"lesson {lesson.id}: {said(lesson)}") for name, lesson in named),
    )


def said(lesson: Lesson) -> str:
    """A lesson in one sentence."""
    trigger = _line(lesson.trigger)
    trigger = trigger[5:] if trigger.lower().startswith("when ") else trigger
    return f"When {trigger}: {_line(lesson.mistake)}; instead {_line(lesson.avoid)}."


def advice(lesson: Lesson) -> str:
    """A lesson as a planner is told it: what to do, with the rest where that alone does not say where it applies."""
    if any(tool in lesson.avoid for tool in lesson.tools):
        told = _line(lesson.avoid)
        return f"{told[:1].upper()}{told[1:]}."
    return said(lesson)


def wordings(example: Demonstration) -> Iterator[str]:
    """An example in full, then ever shorter: without its requirements, then with the last steps left out."""
    count = len(example.steps)
    if example.requirements:
        yield _example(example, count, requirements=True)
    for kept in range(count, max(1, count // 2) - 1, -1):
        yield _example(example, kept)


def _example(example: Demonstration, kept: int, *, requirements: bool = False) -> str:
    count = len(example.steps)
    lines = [_json(step) for step in example.steps[:kept]]
    slots = ' ("<...>" stands for a value of that task)' if any("<" in line for line in lines) else ""
    if kept < count:
        what = f"The first {kept} of {count} steps that carried it out"
    else:
        what = "A part of what carried it out" if example.partial else "These steps carried it out"
    drafts = [f"Requirements: {_json(list(example.requirements))}"] if requirements else []
    return "\n".join([f"Example: {_line(example.task, TASK_CAP)}", *drafts, f"{what}{slots}:", *lines])


def _required(name: str, lesson: Lesson) -> str:
    draft: dict[str, Any] = {"id": name, **{k: v for k, v in (lesson.requirement or {}).items() if k != "id"}}
    return f"{_json(draft)}  # {said(lesson)}"


def _note(note: ToolNote) -> str:
    return f'- {_line(note.tool)}: "{_line(note.error)}" meant {_line(note.meaning)}.'


def _block(header: str, lines: Sequence[str]) -> str:
    return "\n".join([header, *lines]) if lines else ""


def _line(text: str, cap: int = SAID_CAP) -> str:
    """`text` in one line, so that it cannot be taken for a part of the prompt, without its last full stop."""
    line = " ".join(text.split())
    return truncate(line[:-1] if line.endswith((".", ";", ":")) else line, cap)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
