"""JSON data as a type takes it, where models and results write it otherwise: members of enumerations, and media."""

from __future__ import annotations

import enum
import json
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import dspy
from pydantic import BaseModel

from pivot_dspy.dspy_internals import CUSTOM_TYPE_END_IDENTIFIER as END
from pivot_dspy.dspy_internals import CUSTOM_TYPE_START_IDENTIFIER as START
from pivot_dspy.environment.render import record_fields


def as_taken(value: Any, annotation: Any) -> Any:
    """A copy of JSON data in which, wherever `annotation` has them, members of enumerations stand by their values, and
    a `dspy.Image` and its like, which results hold as the text that DSPy writes of them, by their fields.

    A member may be given by its name, also after that of its class, or by the text of its value.

    >>> class Size(enum.Enum):
    ...     SMALL = 1
    ...     LARGE = 2
    >>> as_taken({"a": ["SMALL", "Size.LARGE", "2", 1, "tiny"]}, dict[str, list[Size]])
    {'a': [1, 2, 2, 1, 'tiny']}
    >>> as_taken([dspy.Image("https://example.org/a.png").model_dump()], list[dspy.Image])
    [{'url': 'https://example.org/a.png'}]
    """
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _value_of(value, annotation)
    if isinstance(value, str) and annotation is dspy.Image and value.startswith(("https:", "http:", "data:")):
        return {"url": value}
    if isinstance(value, str) and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _media_fields(value)
    if isinstance(value, dict) and annotation is dspy.Image and value.keys() >= {"data", "mimeType"}:  # of MCP
        return {"url": f"data:{value['mimeType']};base64,{value['data']}"}
    fields = record_fields(annotation, argument=True)
    if isinstance(value, dict) and fields is not None:
        types = {name.removesuffix("?"): kind for name, kind in fields.items()}
        return {key: as_taken(item, types.get(key, Any)) for key, item in value.items()}
    kinds = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return _changed(value, kinds)
    if kinds and isinstance(value, list):
        return [_changed(item, kinds) for item in value]
    if kinds and isinstance(value, dict):
        return {key: _changed(item, kinds) for key, item in value.items()}
    return value


def _changed(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The value as the first of several types changes it."""
    for kind in kinds:
        if (changed := as_taken(value, kind)) != value:
            return changed
    return value


def _value_of(value: Any, kind: type[enum.Enum]) -> Any:
    if not isinstance(value, str) or any(member.value == value for member in kind):
        return value
    name = value.removeprefix(f"{kind.__name__}.")
    if name in kind.__members__:
        return kind[name].value
    return next((member.value for member in kind if str(member.value) == value), value)


def _media_fields(text: str) -> Any:
    """The fields of an image, of audio or of a file from the text that stands for it; any other text as it is."""
    inner = text.removeprefix(START).removesuffix(END)
    if f"{START}{inner}{END}" != text:
        return text
    try:
        [part] = json.loads(inner)
        held = part[part["type"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return {_FIELDS.get(name, name): field for name, field in held.items()} if isinstance(held, dict) else text


_FIELDS = {"format": "audio_format"}
"""Fields that DSPy's types call otherwise than the parts of a message."""
