"""What a memory holds: immutable records, and the immutable collection of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.from_functions import FunctionEnvironment
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.plain_json import encodable, plain
from pivot_dspy.trajectory import SUBMIT, Frozen

NEAR = 0.9
"""Two entries that share this much of what they say are one."""

_WORD = re.compile(r"[^\W_]+")
# What stands in quotes, or looks like a name of code: lessons that differ in one of these are two.
_NAME = re.compile(r"`[^`]+`|'[^']+'|\"[^\"]+\"|\w*(?:_|\d)\w*")


def words(text: str) -> list[str]:
    """The words of a text in lower case; a name_in_code is several."""
    return _WORD.findall(text.lower())


def environment_name(environment: Environment) -> str:
    """A name that stays the same for every environment of a kind: that of its class, or, where it is made of
    functions, a digest of the tools' names."""
    if type(environment) is not FunctionEnvironment:
        return type(environment).__name__
    tools = "\n".join(sorted(environment.toolbox.tools))
    return f"tools-{hashlib.sha256(tools.encode()).hexdigest()[:8]}"


def task_text(inputs: Mapping[str, Any]) -> str:
    """The inputs of a task as one text, by which tasks are compared."""
    return "\n".join(value if isinstance(value, str) else str(value) for value in inputs.values() if value is not None)


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return encodable(text)


def _written_step(step: dict[str, Any]) -> Any:
    if not all(isinstance(step.get(name), str) and step[name] for name in ("id", "tool")):
        raise ValueError('a step needs "id" and "tool", both text')
    return plain(step)


def _draft(draft: dict[str, Any]) -> Any:
    if not any(isinstance(draft.get(name), str) and draft[name].strip() for name in ("check", "text")):
        raise ValueError('a requirement needs the name of a "check" with its "args", or a "text"')
    return plain(draft)


Text = Annotated[str, AfterValidator(_not_empty)]
WrittenStep = Annotated[dict[str, Any], AfterValidator(_written_step)]
Draft = Annotated[dict[str, Any], AfterValidator(_draft)]


class Entry(Frozen):
    """What all kinds of entries have."""

    id: Annotated[str, AfterValidator(encodable)] = ""
    """A digest of the content, made where none is given; of no meaning but to tell entries apart."""
    environment: Text
    """The `environment_name` of where it was learned."""
    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.id:
            text = json.dumps([type(self).__name__, self.content()], sort_keys=True)
            object.__setattr__(self, "id", hashlib.sha256(text.encode()).hexdigest()[:8])
        return self

    def content(self) -> dict[str, Any]:
        """All but the id."""
        return self.model_dump(mode="json", exclude={"id"})

    @property
    def named_tools(self) -> frozenset[str]:
        """The tools that it is about."""
        raise NotImplementedError

    @property
    def topic(self) -> str:
        """The text that a task is compared with."""
        raise NotImplementedError

    @cached_property
    def _shape(self) -> tuple[object, Counter[str]]:
        """What near-duplicates have in common to the letter, and the words of which they share most."""
        raise NotImplementedError

    def near(self, other: Entry) -> bool:
        """Whether both say the same, but for a few words."""
        (mine, bag), (theirs, others) = self._shape, other._shape
        if type(self) is not type(other) or self.environment != other.environment or mine != theirs:
            return False
        return sum((bag & others).values()) >= NEAR * sum((bag | others).values())


class Demonstration(Entry):
    """A trajectory that was accepted and verified, as it is shown for another task."""

    task: Text
    """The task that it carried out, in words."""
    steps: tuple[WrittenStep, ...] = Field(min_length=1)
    """As a model writes them; `<size>` stands for a value that the task or an observation gave."""
    requirements: tuple[Draft, ...] = ()
    """Drafts by which it was measured, as a model writes them."""
    partial: bool = False
    """Whether it is a part of a trajectory."""

    @property
    def named_tools(self) -> frozenset[str]:
        return frozenset(step["tool"] for step in self.steps) - {SUBMIT}

    @property
    def topic(self) -> str:
        return self.task

    @cached_property
    def _shape(self) -> tuple[object, Counter[str]]:
        return self.partial, Counter(words(json.dumps([self.steps, self.requirements], ensure_ascii=False)))


class Lesson(Entry):
    """What a failure that was later repaired teaches."""

    trigger: Text
    """When it applies."""
    mistake: Text
    avoid: Text
    """What to do instead of the mistake."""
    requirement: Draft | None = None
    """`{"check", "args"}` or `{"text"}`, which a planner is told to write among the requirements. In it,
    `"<demographics.gender>"` is a JMESPath expression over what is known before planning."""
    tools: tuple[Text, ...] = ()
    """The tools that it is about; with one that an environment lacks, it is not shown there."""
    fix: Fix | None = None
    """What it tells, in a form that is applied to the steps that a model writes: then the model is not told."""
    by: Literal["rule", "model", "person"] = "rule"
    """What found it."""

    @property
    def named_tools(self) -> frozenset[str]:
        return frozenset(self.tools)

    @property
    def topic(self) -> str:
        return " ".join((self.trigger, self.mistake, self.avoid, *self.tools))

    @cached_property
    def _shape(self) -> tuple[object, Counter[str]]:
        text = " ".join((self.trigger, self.mistake, self.avoid))
        draft = {key: value for key, value in (self.requirement or {}).items() if key != "id"}
        names = frozenset(_NAME.findall(text.lower()))
        return (frozenset(self.tools), json.dumps(draft, sort_keys=True), names), Counter(words(text))


class ToolNote(Entry):
    """What an error of a tool turned out to mean."""

    tool: Text
    error: Text
    meaning: Text

    @property
    def named_tools(self) -> frozenset[str]:
        return frozenset({self.tool})

    @property
    def topic(self) -> str:
        return " ".join((self.tool, self.error, self.meaning))

    @cached_property
    def _shape(self) -> tuple[object, Counter[str]]:
        text = f"{self.error} {self.meaning}"
        return (self.tool, frozenset(_NAME.findall(text.lower()))), Counter(words(text))


class Entries(Frozen):
    """What a memory holds, as one immutable value.

    >>> note = ToolNote(environment="Shop", tool="find", error="no such size", meaning="sizes are capital letters")
    >>> entries = Entries().add(note, note)
    >>> len(entries), len(entries.without([note.id]))
    (1, 0)
    """

    demonstrations: tuple[Demonstration, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    notes: tuple[ToolNote, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Self:
        counts = Counter(entry.id for entry in self)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"two entries have the id {twice[0]!r}; give each an id of its own, or leave the id empty")
        return self

    def __iter__(self) -> Iterator[Entry]:  # type: ignore[override]
        """Every entry: lessons, notes, demonstrations."""
        yield from (*self.lessons, *self.notes, *self.demonstrations)

    def __len__(self) -> int:
        return len(self.demonstrations) + len(self.lessons) + len(self.notes)

    def add(self, *entries: Entry) -> Entries:
        """With these after the others; one that is near to what is there already is left out."""
        kept = list(self)
        for entry in entries:
            if not any(entry.id == other.id or entry.near(other) for other in kept):
                kept.append(entry)
        return Entries(
            demonstrations=tuple(entry for entry in kept if isinstance(entry, Demonstration)),
            lessons=tuple(entry for entry in kept if isinstance(entry, Lesson)),
            notes=tuple(entry for entry in kept if isinstance(entry, ToolNote)),
        )

    def without(self, ids: Iterable[str]) -> Entries:
        """All but those of these ids."""
        dropped = frozenset(ids)
        return self.model_copy(
            update={
                kind: tuple(entry for entry in getattr(self, kind) if entry.id not in dropped)
                for kind in type(self).model_fields
            }
        )
