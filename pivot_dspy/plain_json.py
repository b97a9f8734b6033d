"""Plain JSON data: what trajectories and observations are made of."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, timedelta
from pathlib import PurePath
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel
from pydantic_core import from_json, to_json

_TOO_FINE = ("[ns]", "[ps]", "[fs]", "[as]")
"""Units of numpy's times that Python's have not, so that numpy gives them as bare integers."""


def plain(value: Any, fallback: Callable[[Any], Any] | None = None) -> Any:
    """A copy of `value` as plain JSON data, in which NaN and infinities are null and unpaired surrogates `?`.

    Beside what pydantic knows (models by their aliases, dataclasses, decimals, UUIDs, paths, sets, generators) it takes
    what a `dict` can be made of (a `dspy.Prediction`, a row of a database), values of numpy and pandas, and objects
    with a `to_dict`. Decimals are text, since a float would change them. Bytes are text where they are UTF-8, else
    base64. A data frame is a list of records; a series is a list, or an object where its index names the values.

    Args:
        fallback: gives what stands for something that has no JSON form.

    Raises:
        ValueError: something in it has no JSON form, and there is no fallback.

    >>> import numpy as np
    >>> plain({"score": np.float32(0.5), "shape": np.array([[1, 2]]), "raw": b"\\xff"})
    {'score': 0.5, 'shape': [[1, 2]], 'raw': '/w=='}
    """
    try:
        return _copied(value, fallback)
    except ValueError:
        # What pydantic asks nobody about: surrogates, bytes that are no UTF-8, keys of other types.
        return _copied(_repaired(value), fallback)


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


def _copied(value: Any, fallback: Callable[[Any], Any] | None) -> Any:
    def in_known_types(item: Any) -> Any:
        try:
            return _in_known_types(item)
        except ValueError:
            if fallback is None:
                raise
            return fallback(item)

    return from_json(to_json(value, inf_nan_mode="null", fallback=in_known_types))


def _repaired(value: Any) -> Any:
    """A copy of all that holds other values, in which texts, bytes and keys can be written.

    Raises:
        ValueError: it holds an iterator, which the first attempt has used up, or itself.
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _text_of(bytes(value))
    if isinstance(value, Iterator):
        raise ValueError(f"a {type(value).__name__} can be read only once; return a list")
    try:
        if isinstance(value, Mapping):
            return {_repaired(key): _repaired(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_repaired(item) for item in value]
        if isinstance(value, BaseModel):
            return _repaired(value.model_dump(by_alias=True))
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _repaired(getattr(value, field.name)) for field in fields(value)}
        known = _in_known_types(value, default=value)
        return value if known is value else _repaired(known)
    except RecursionError as error:
        raise ValueError(f"a {type(value).__name__} holds itself") from error


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return b64encode(data).decode()


_REFUSE: Any = object()


def _in_known_types(value: Any, default: Any = _REFUSE) -> Any:
    """A value that pydantic does not know, in types that it does; libraries are known by their names, not imported.

    Raises:
        ValueError: nothing is known of it, and there is no `default`.
    """
    if not isinstance(value, type):
        libraries = {base.__module__.partition(".")[0] for base in type(value).__mro__}
        if "pandas" in libraries:
            return _from_pandas(value)
        if "numpy" in libraries:
            return _from_numpy(value)
        if isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "__getitem__")):
            return dict(value)
        if isinstance(value, SimpleNamespace):
            return vars(value)
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, memoryview):
            return bytes(value)
        if callable(getattr(value, "to_dict", None)):
            return value.to_dict()
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes, bytearray)):
            return list(value)
    if default is _REFUSE:
        raise ValueError(f"{type(value).__name__} has no JSON form; return a dict, a list or a dataclass")
    return default


def _from_numpy(value: Any) -> Any:
    if value.dtype.name.endswith(_TOO_FINE):
        value = value.astype(f"{value.dtype.kind}8[us]")
    if names := value.dtype.names:  # rows of a structured array, which `tolist` takes their names
        rows = value.reshape(-1).tolist()
        named = [dict(zip(names, row, strict=True)) for row in rows]
        return named if value.ndim else named[0]
    return value.tolist()


def _from_pandas(value: Any) -> Any:
    """Records, a list or an object; an index is kept where it says more than the position of a row."""
    if not hasattr(value, "index") or not hasattr(value, "to_dict"):
        if type(value).__name__ in ("NAType", "NaTType"):
            return None
        if isinstance(value, (date, timedelta)):
            return value
        return value.tolist() if hasattr(value, "tolist") else str(value)
    labelled = any(name is not None for name in value.index.names) or value.index.dtype.kind not in "iu"
    if not hasattr(value, "columns"):
        if not labelled:
            return value.tolist()
        if value.index.is_unique:
            return value.to_dict()
    table = value.reset_index() if labelled else value
    if not table.columns.is_unique:
        raise ValueError("a data frame has two columns of one name; rename one")
    return table.to_dict(orient="records")


Text = Annotated[str, AfterValidator(encodable)]
"""A text field that UTF-8 can hold."""
JsonObject = Annotated[dict[str, Any], AfterValidator(plain)]
"""A field that is a plain copy of what it is given."""
