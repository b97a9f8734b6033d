"""The adapter of the phases where the user has set none, and what keeps any adapter from reading half an answer."""

from __future__ import annotations

import copy
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dspy
from pydantic_core import to_jsonable_python

from pivot_dspy.dspy_internals import AdapterParseError, LMError, format_field_value, unannounced, with_fallback
from pivot_dspy.errors import error_text
from pivot_dspy.lm_errors import CUT_SHORT
from pivot_dspy.python_syntax import read_literal

MAX_DEPTH = 50
"""Lists and objects in each other that an answer may hold; what is nested deeper breaks those that walk it."""
CUT_OFF = f"it was {CUT_SHORT}; write it shorter"
TOO_DEEP = f"lists and objects in it are nested more than {MAX_DEPTH} deep"

_HEADER = re.compile(r"^[ \t]*\[\[ ## (\w+) ## \]\]", re.MULTILINE)
_COMPLETED = "[[ ## completed ## ]]"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{}]', re.DOTALL)
_FENCE = re.compile(r"^```\w*\n(.*)\n```$", re.DOTALL)


class BriefChatAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """`dspy.ChatAdapter` without the empty form of a prompt: each message shows the form anyhow, and ends with it."""

    def format_field_structure(self, signature: Any) -> str:
        return "All interactions will be fields under headers `[[ ## name ## ]]`."

    def format_task_description(self, signature: Any) -> str:
        return f"In them, your objective is:\n{textwrap.dedent(signature.instructions)}"

    def user_message_output_requirements(self, signature: Any) -> str:
        fields = ", ".join(
            f"`[[ ## {name} ## ]]`{'' if field.annotation is str else ' (JSON)'}"
            for name, field in signature.output_fields.items()
        )
        return f"Respond with the corresponding output fields: {fields}, `[[ ## completed ## ]]`."

    def format_user_message_content(
        self, signature: Any, inputs: dict[str, Any], prefix: str = "", suffix: str = "", main_request: bool = False
    ) -> str:
        fields = signature.input_fields.items()
        sections = [_section(name, field, inputs[name]) for name, field in fields if name in inputs]
        wanted = [self.user_message_output_requirements(signature)] if main_request else []
        return "\n\n".join([prefix, *sections, *wanted, suffix]).strip()

    def format_field_with_value(self, fields_with_values: dict[Any, Any]) -> str:
        sections = (_section(field.name, field.info, value) for field, value in fields_with_values.items())
        return "\n\n".join(sections).strip()


def _section(name: str, field: Any, value: Any) -> str:
    """A field of a message as `dspy.ChatAdapter` writes it, which makes a validator for every value."""
    if type(value) is str:
        text = value
    elif type(value) in (list, dict) and field.annotation is not str:
        text = json.dumps(to_jsonable_python(value, fallback=str), ensure_ascii=False)
    else:
        text = format_field_value(field, value)
    return f"[[ ## {name} ## ]]\n{text}"


class Heard:
    """What DSPy recorded of calls: as one of its `caller_modules`, it gets their history entries."""

    def __init__(self) -> None:
        self.history: list[Mapping[str, Any]] = []

    @property
    def cut_off(self) -> bool:
        """Whether the last answer ended because it was too long, as far as the language model tells."""
        response = self.history[-1].get("response") if self.history else None
        ends = [response, *(getattr(response, "choices", None) or ())]
        return any(getattr(end, "finish_reason", None) == "length" for end in ends)


def read_whole(adapter: Any, heard: Heard) -> Any:
    """A copy of `adapter` that reads no answer in part and raises nothing but AdapterParseError for one.

    DSPy's adapters mend JSON, and so would quietly drop what a cut-off answer lacks.
    """
    guarded = copy.copy(adapter)

    def parse(signature: Any, completion: str) -> dict[str, Any]:
        problem = _problem(adapter, signature, completion, heard.cut_off)
        cause: Exception | None = None
        if problem is None:
            try:
                fields: dict[str, Any] = unannounced(adapter.parse)(signature, completion)
            except (AdapterParseError, LMError):
                raise
            except Exception as error:
                problem, cause = error_text(error), error
            else:
                if not _too_deep(fields):
                    return fields
                problem = TOO_DEEP
        name = type(adapter).__name__
        raise AdapterParseError(name, signature, completion, message=f"Error message: {problem}") from cause

    guarded.parse = parse
    with_fallback(guarded, lambda fallback: read_whole(fallback, heard))
    return guarded


def _problem(adapter: Any, signature: Any, completion: str, cut_off: bool) -> str | None:
    """Why an answer is not to be read, as far as its text and the language model tell; None where nothing is."""
    if isinstance(adapter, dspy.XMLAdapter):
        return None  # it reads strictly: what is cut off lacks a closing tag
    texts = [completion]
    if isinstance(adapter, dspy.JSONAdapter):
        cut_off = cut_off and not _is_json(completion)
    elif isinstance(adapter, dspy.ChatAdapter):
        cut_off = cut_off and _COMPLETED not in completion
        texts = [*_structured(signature, completion)]
    else:
        texts = []
    for nesting in map(_nesting, texts):
        if nesting.deepest > MAX_DEPTH:
            return TOO_DEEP
        cut_off = cut_off or nesting.is_open
    return CUT_OFF if cut_off else None


def _structured(signature: Any, completion: str) -> Iterator[str]:
    """The sections of an answer that hold something else than text."""
    pieces = _HEADER.split(completion)
    sections = dict(zip(reversed(pieces[1::2]), reversed(pieces[2::2]), strict=True))  # of two, the first is read
    for name, field in signature.output_fields.items():
        if name in sections and field.annotation is not str:
            yield sections[name]


class _Nesting(NamedTuple):
    """How lists and objects stand in each other in a text."""

    deepest: int
    is_open: bool
    """Whether one is begun and not ended."""


def _nesting(text: str) -> _Nesting:
    depth, deepest, inside = 0, 0, False
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth = max(0, depth - 1)
        else:
            inside = not token[1]
    is_open = depth > 0 or (inside and deepest > 0)
    return _Nesting(deepest, is_open and deepest <= MAX_DEPTH and not _is_literal(text))


def _is_json(text: str) -> bool:
    try:
        json.loads(_unfenced(text))
    except (ValueError, RecursionError):
        return False
    return True


def _is_literal(text: str) -> bool:
    """Whether a text is a whole value after all: quotes of Python's may hold brackets."""
    try:
        read_literal(_unfenced(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _unfenced(text: str) -> str:
    fenced = _FENCE.match(text.strip())
    return (fenced[1] if fenced else text).strip()


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
