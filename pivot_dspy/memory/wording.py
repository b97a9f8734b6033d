"""What a model is shown of a memory: text for the `lessons` of a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pivot_dspy.memory.records import Demonstration, Entry, Lesson, ToolNote
from pivot_dspy.prompts.truncation import truncate

TASK_CAP = 600
"""Characters of an example's task."""
PART_CAP = 400
"""Characters of each part of a lesson or note."""

REQUIRED = "Also required, though the request may not say it; write each among the requirements, under its id"
SLOTS = '; in place of each "<...>" write what that JMESPath expression over the results already read gives'
LESSONS = "Learned from what went wrong before:"
FIXES = "Often done wrong:"
NOTES = "What errors of tools meant:"


class PromptSection(NamedTuple):
    """A text for a prompt, and the ids of the entries that it tells of."""

    text: str = ""
    ids: tuple[str, ...] = ()


class Retrieved(NamedTuple):
    """What a memory has to say on a task."""

    requirements: PromptSection = PromptSection()
    """What was learned to be required; for phases that write requirements."""
    advice: PromptSection = PromptSection()
    """Lessons, notes and examples; for phases that write steps."""
    learned: tuple[tuple[str, str], ...] = ()
    """The id under which each requirement is told, and why: the id of the lesson and what it says."""
    fixes: tuple[Lesson, ...] = ()
    """Lessons that are applied to what a model writes, and so not told."""

    @property
    def text(self) -> str:
        """All that is told."""
        return "\n\n".join(part.text for part in (self.requirements, self.advice) if part.text)

    @property
    def ids(self) -> tuple[str, ...]:
        """The entries that are told of."""
        return (*self.requirements.ids, *self.advice.ids)

    @property
    def in_words(self) -> PromptSection:
        """The fixes as advice, for what is not written as steps."""
        lines = [f"- {advice(lesson)}" for lesson in self.fixes]
        return PromptSection(_block(FIXES, lines), tuple(lesson.id for lesson in self.fixes))


def render_entries(selected: Sequence[tuple[Entry, str]]) -> Retrieved:
    """What tells of entries, each with one of its `wordings`: first the requirements, which come first in `selected`,
    since they are the same for every task of an environment."""
    required = [entry for entry, _ in selected if isinstance(entry, Lesson) and entry.requirement is not None]
    named = [(f"L{number}", lesson) for number, lesson in enumerate(required, start=1)]
    slots = SLOTS if any("<" in _json(lesson.requirement) for lesson in required) else ""
    others = selected[len(required) :]
    lessons, notes, examples = (
        [wording for entry, wording in others if isinstance(entry, kind)] for kind in (Lesson, ToolNote, Demonstration)
    )
    blocks = [_block(LESSONS, lessons), _block(NOTES, notes), *examples]
    return Retrieved(
        PromptSection(
            _block(f"{REQUIRED}{slots}:", [_requirement(name, lesson) for name, lesson in named]),
            tuple(lesson.id for lesson in required),
        ),
        PromptSection("\n\n".join(filter(None, blocks)), tuple(entry.id for entry, _ in others)),
        tuple((name, f"lesson {lesson.id}: {sentence(lesson)}") for name, lesson in named),
    )


def sentence(lesson: Lesson) -> str:
    """A lesson in one sentence."""
    trigger = _one_line(lesson.trigger)
    trigger = trigger[5:] if trigger.lower().startswith("when ") else trigger
    return f"When {trigger}: {_one_line(lesson.mistake)}; instead {_one_line(lesson.avoid)}."


def advice(lesson: Lesson) -> str:
    """A lesson as a planner is told it: what to do, with the rest where that alone does not say where it applies."""
    if any(tool in lesson.avoid for tool in lesson.tools):
        avoid = _one_line(lesson.avoid)
        return f"{avoid[:1].upper()}{avoid[1:]}."
    return sentence(lesson)


def wordings(entry: Entry) -> Iterator[str]:
    """The texts that tell of an entry, the fullest first: an example may go without its requirements, and without its
    last steps."""
    if isinstance(entry, Demonstration):
        count = len(entry.steps)
        if entry.requirements:
            yield _example(entry, count, requirements=True)
        for kept in range(count, max(1, count // 2) - 1, -1):
            yield _example(entry, kept)
    elif isinstance(entry, Lesson):
        yield f"- {advice(entry)}"
    elif isinstance(entry, ToolNote):
        yield f'- {_one_line(entry.tool)}: "{_one_line(entry.error)}" meant {_one_line(entry.meaning)}.'


def _example(example: Demonstration, kept: int, *, requirements: bool = False) -> str:
    count = len(example.steps)
    steps = [_json(step) for step in example.steps[:kept]]
    if kept < count:
        header = f"The first {kept} of {count} steps that carried it out"
    else:
        header = "A part of what carried it out" if example.partial else "These steps carried it out"
    if any("<" in step for step in steps):
        header += ' ("<...>" stands for a value of that task)'
    drafts = [f"Requirements: {_json(list(example.requirements))}"] if requirements else []
    return "\n".join([f"Example: {_one_line(example.task, TASK_CAP)}", *drafts, f"{header}:", *steps])


def _requirement(name: str, lesson: Lesson) -> str:
    draft = {"id": name, **(lesson.requirement or {})} | {"id": name}
    return f"{_json(draft)}  # {sentence(lesson)}"


def _block(header: str, lines: Sequence[str]) -> str:
    return "\n".join([header, *lines]) if lines else ""


def _one_line(text: str, cap: int = PART_CAP) -> str:
    """`text` in one line, so that it cannot be taken for a part of the prompt, without its last full stop."""
    line = " ".join(text.split())
    return truncate(line[:-1] if line.endswith((".", ";", ":")) else line, cap)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
