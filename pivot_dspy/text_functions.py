"""JMESPath's functions, and three more over text: `find_all`, `split` and `replace`.

Each takes a text or a list of texts; `find_all` and `split` give one flat list for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import regex
from jmespath.functions import Functions, signature

from pivot_dspy.written_numbers import to_number_of, written_number

LONGEST_READ = 100_000
"""Characters that a function reads, and that `replace` may give, in all."""
SECONDS = 1.0
"""How long `find_all` may look, in all: a pattern can take time that grows exponentially with the text."""

_ANY: Any = {"types": []}  # what does not fit is refused here, in words that name the remedy
_STRING: Any = {"types": ["string"]}


class TextFunctions(Functions):
    """The functions that a binding may call. What they raise is a `ValueError`, as jmespath's own errors are."""

    @signature(_ANY, _STRING)
    def _func_find_all(self, texts: Any, pattern: str) -> list[str]:
        """Every match of a regular expression; of one with a group, what its first group matched."""
        read = _texts("find_all", texts)
        try:
            compiled = regex.compile(pattern)
            found = [match[min(compiled.groups, 1)] for match in _matches(compiled, read)]
        except regex.error as error:
            raise ValueError(f"find_all: {pattern!r} is no regular expression: {error}") from error
        except (TimeoutError, RecursionError, MemoryError) as error:
            raise ValueError(f"find_all: {pattern!r} takes longer than {SECONDS:g} s; repeat less in it") from error
        return [part for part in found if part is not None]

    @signature(_ANY, _STRING)
    def _func_split(self, texts: Any, separator: str) -> list[str]:
        if not separator:
            raise ValueError("split: the separator is empty; find_all(text, '.') gives every character")
        return [part for text in _texts("split", texts) for part in text.split(separator)]

    @signature(_ANY, _STRING, _STRING)
    def _func_replace(self, texts: Any, old: str, new: str) -> str | list[str]:
        if not old:
            raise ValueError("replace: the text to be replaced is empty")
        read = _texts("replace", texts)
        if sum(text.count(old) for text in read) * len(new) > LONGEST_READ:
            raise ValueError(f"replace: it would give more than {LONGEST_READ:,} characters")
        replaced = [text.replace(old, new) for text in read]
        return replaced if isinstance(texts, list) else replaced[0]

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_min_by(self, array: Any, expref: Any) -> Any:
        _refuse_text_order("min_by", array, min, expref)
        return super()._func_min_by(array, expref)

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_max_by(self, array: Any, expref: Any) -> Any:
        _refuse_text_order("max_by", array, max, expref)
        return super()._func_max_by(array, expref)

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_sort_by(self, array: Any, expref: Any) -> Any:
        _refuse_text_order("sort_by", array, sorted, expref)
        return super()._func_sort_by(array, expref)

    @signature({"types": ["array-number", "array-string"]})
    def _func_min(self, array: Any) -> Any:
        _refuse_text_order("min", array, min)
        return super()._func_min(array)

    @signature({"types": ["array-number", "array-string"]})
    def _func_max(self, array: Any) -> Any:
        _refuse_text_order("max", array, max)
        return super()._func_max(array)

    @signature({"types": ["array-string", "array-number"]})
    def _func_sort(self, array: Any) -> Any:
        _refuse_text_order("sort", array, sorted)
        return super()._func_sort(array)


def text_order_error(what: str, path: str, sample: str) -> ValueError:
    """The error of an order that takes the numbers at `path` for text."""
    remedy = to_number_of(path, sample)
    return ValueError(f"text over {path} ({sample!r:.80}): {what} would put '100' before '99'; use {remedy}")


def field_path(node: Mapping[str, Any]) -> str:
    """The field that a parsed expression reads, as it is written; `x` where it is anything else."""
    if node["type"] == "field":
        return str(node["value"])
    if node["type"] == "subexpression":
        return ".".join(map(field_path, node["children"]))
    return "@" if node["type"] == "current" else "x"


def _refuse_text_order(name: str, array: list[Any], order: Callable[..., Any], expref: Any = None) -> None:
    """Raise a ValueError where what is ordered is numbers as text, and the numbers would come in another order."""

    def key(item: Any) -> Any:
        return item if expref is None else expref.visit(expref.expression, item)

    sample = key(array[0]) if array else None
    if not isinstance(sample, str) or written_number(sample) is None:  # most lists: their keys are not read twice
        return
    keys = [key(item) for item in array]
    numbers = [written_number(text) if isinstance(text, str) else None for text in keys]
    places = range(len(keys))
    if None in numbers or order(places, key=keys.__getitem__) == order(places, key=numbers.__getitem__):
        return
    if expref is None:
        remedy = f"{name}(map(&{to_number_of('@', sample)}, list))"
        raise ValueError(f"text over numbers ({sample!r:.80}): {name} would put '100' before '99'; use {remedy}")
    raise text_order_error(name, field_path(expref.expression), sample)


def _matches(compiled: Any, texts: list[str]) -> Iterator[Any]:
    deadline = time.monotonic() + SECONDS
    for text in texts:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        yield from compiled.finditer(text, timeout=left)


def _texts(name: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} takes a text or a list of texts, not {text!r:.80}; to_string(x) makes text of x")
    if sum(map(len, texts)) > LONGEST_READ:
        raise ValueError(f"{name} reads at most {LONGEST_READ:,} characters; select fewer texts first")
    return texts
