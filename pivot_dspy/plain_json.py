"""Plain JSON data: what trajectories and observations are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import from_json, to_json


def plain(value: Any, fallback: Callable[[Any], Any] | None = None) -> Any:
    """A copy of `value` as plain JSON data, in which NaN and infinities are null and unpaired surrogates `?`.

    Args:
        fallback: gives what stands for something that has no JSON form.

    Raises:
        ValueError: something in it has no JSON form, and there is no fallback.
    """
    try:
        return from_json(to_json(value, inf_nan_mode="null", fallback=fallback))
    except ValueError as error:
        if "surrogates not allowed" not in str(error):
            raise
        return from_json(to_json(_encodable(value), inf_nan_mode="null", fallback=fallback))


def scalars(data: Any) -> Iterator[Any]:
    """The scalars inside plain JSON data."""
    items = data.values() if isinstance(data, dict) else data
    if isinstance(data, (dict, list)):
        for item in items:
            yield from scalars(item)
    else:
        yield data


def encodable(text: str) -> str:
    """`text` without unpaired surrogates, which a model's cut-off escapes leave and UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_encodable(item) for item in value]
    return value


Text = Annotated[str, AfterValidator(encodable)]
"""A text field that UTF-8 can hold."""
JsonObject = Annotated[dict[str, Any], AfterValidator(plain)]
"""A field that is a plain copy of what it is given."""
