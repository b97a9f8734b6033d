"""Paths to leaves: what stands there, what is left without it, and whether it could be there."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.leaf_paths import checked, leaves, occurs, without

RESULT = {
    "took_ms": 3,
    "items": [{"id": 1, "at": {"time": "10:02"}}, {"id": 2}],
    "a.b": [[1, 2], [3]],
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "found", "left"),
    [
        ("took_ms", [3], {key: RESULT[key] for key in ("items", "a.b", "empty")}),
        ("items[*].id", [1, 2], {**RESULT, "items": [{"at": {"time": "10:02"}}, {}]}),
        ("items[0].at.time", ["10:02"], {**RESULT, "items": [{"id": 1, "at": {}}, {"id": 2}]}),
        ("items[1]", [{"id": 2}], {**RESULT, "items": [RESULT["items"][0], None]}),  # type: ignore[index]
        ('"a.b"[*][0]', [1, 3], {**RESULT, "a.b": [[None, 2], [None]]}),
        ("items[*].gone", [], RESULT),
        ("took_ms.deeper", [], RESULT),
        ("items[7].id", [], RESULT),
    ],
)
def test_what_stands_at_a_path_and_what_is_left_without_it(path: str, found: list[Any], left: Any) -> None:
    before = repr(RESULT)
    assert checked([path]) == (path,) and list(leaves(RESULT, path)) == found and without(RESULT, path) == left
    assert repr(RESULT) == before and occurs(RESULT, path) == bool(found)


def test_what_is_empty_may_hold_anything() -> None:
    assert occurs(RESULT, "empty[*].id") and occurs([], "[*].x") and occurs({}, "*.x")
    assert not occurs(RESULT, "empty[0].id") and not occurs(RESULT, "gone[*].id")


KEYS = st.sampled_from(["a", "b", "c"])
DATA = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
PATHS = st.lists(KEYS | st.just("[*]") | st.just("[0]"), min_size=1, max_size=4).map(
    lambda parts: "".join(part if part.startswith("[") else f".{part}" for part in parts).removeprefix(".")
)


@given(DATA, PATHS)
def test_what_is_left_has_nothing_there(data: Any, path: str) -> None:
    left = without(data, path)
    assert all(value is None for value in leaves(left, path)) and without(left, path) == left
    if not list(leaves(data, path)):
        assert left == data


@given(DATA, PATHS.filter(lambda path: "*" not in path))
def test_a_path_names_what_it_names_in_jmespath(data: Any, path: str) -> None:
    found = jmespath.search(path, data)
    assert list(leaves(data, path)) == ([] if found is None else [found])
