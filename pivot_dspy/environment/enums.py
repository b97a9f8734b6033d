"""Members of enumerations as models name them: by value, as the catalogue shows them, or by name."""

from __future__ import annotations

import enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pivot_dspy.environment.render import record_fields


def enum_values(value: Any, annotation: Any) -> Any:
    """A copy of JSON data in which members of enumerations, wherever `annotation` has them, stand by their values.

    A member may be given by its name, also after that of its class, or by the text of its value.

    >>> class Size(enum.Enum):
    ...     SMALL = 1
    ...     LARGE = 2
    >>> enum_values({"a": ["SMALL", "Size.LARGE", "2", 1, "tiny"]}, dict[str, list[Size]])
    {'a': [1, 2, 2, 1, 'tiny']}
    """
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _value_of(value, annotation)
    fields = record_fields(annotation, argument=True)
    if isinstance(value, dict) and fields is not None:
        types = {name.removesuffix("?"): kind for name, kind in fields.items()}
        return {key: enum_values(item, types.get(key, Any)) for key, item in value.items()}
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
        if (changed := enum_values(value, kind)) != value:
            return changed
    return value


def _value_of(value: Any, kind: type[enum.Enum]) -> Any:
    if not isinstance(value, str) or any(member.value == value for member in kind):
        return value
    name = value.removeprefix(f"{kind.__name__}.")
    if name in kind.__members__:
        return kind[name].value
    return next((member.value for member in kind if str(member.value) == value), value)
