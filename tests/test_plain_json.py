"""What tools return of every day, as JSON data."""

from __future__ import annotations

import itertools
import json
import sqlite3
import uuid
from collections import ChainMap, UserDict, deque
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any

import dspy
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from pivot_dspy.plain_json import plain

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
TABLE = pd.DataFrame({"sku": ["a", "b"], "price": [1.5, np.nan], "since": pd.to_datetime(["2026-01-02", None])})


class Size(Enum):
    S = "small"


class Address(BaseModel):
    zip_code: str = Field(alias="zipCode")
    photo: bytes = b""


class Anything(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    score: Any


@dataclass
class Parcel:
    to: Address
    weight: Any


class Sdk:
    def to_dict(self) -> dict[str, Any]:
        return {"id": ID}


def row() -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    fetched: sqlite3.Row = connection.execute("select 1 as id, 'x' as name").fetchone()
    return fetched


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dspy.Prediction(passages=["Paris"], score=np.float64(0.5)), {"passages": ["Paris"], "score": 0.5}),
        (dspy.Example(a=dspy.Prediction(b=1)).with_inputs("a"), {"a": {"b": 1}}),
        (Address(zipCode="12345"), {"zipCode": "12345", "photo": ""}),
        (Address(zipCode="\ud800", photo=b"\xff"), {"zipCode": "?", "photo": "/w=="}),
        (Parcel(Address(zipCode="1"), Decimal("1.10")), {"to": {"zipCode": "1", "photo": ""}, "weight": "1.10"}),
        (Parcel(Address(zipCode="1", photo=b"\xff"), np.int8(2)),
         {"to": {"zipCode": "1", "photo": "/w=="}, "weight": 2}),
        (Anything(score=np.float32(0.5)), {"score": 0.5}),
        ([Decimal("1.10"), ID, Path("/x"), PurePosixPath("y"), Size.S], ["1.10", str(ID), "/x", "y", "small"]),
        ([b"text", b"\xff\x00", bytearray(b"\xff"), memoryview(b"a")], ["text", "/wA=", "/w==", "a"]),
        ([{1}, frozenset([2]), deque([3]), range(2)], [[1], [2], [3], [0, 1]]),
        ([(i for i in "ab"), map(str, [1]), itertools.chain([1], [2])], [["a", "b"], ["1"], [1, 2]]),
        ([{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()], [["a"], [1], [["a", 1]]]),
        ([MappingProxyType({1: 2}), ChainMap({"a": 1}), UserDict(a=1)], [{"1": 2}, {"a": 1}, {"a": 1}]),
        (SimpleNamespace(a=np.int8(1)), {"a": 1}),
        ([row(), Sdk()], [{"id": 1, "name": "x"}, {"id": str(ID)}]),
        ({np.int64(1): 2, Size.S: 3, date(2026, 1, 2): 4}, {"1": 2, "small": 3, "2026-01-02": 4}),
    ],
)  # fmt: skip
def test_values_of_python_pydantic_and_dspy(value: Any, expected: Any) -> None:
    assert plain(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([np.float32(0.5), np.int64(3), np.bool_(True), np.str_("x"), np.float32("nan")], [0.5, 3, True, "x", None]),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array(1.5), 1.5),
        (np.array([{"a": np.int8(1)}], dtype=object), [{"a": 1}]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.array(["2026-01-02", "NaT"], dtype="datetime64[ns]"), ["2026-01-02T00:00:00", None]),
        (np.timedelta64(60, "s"), "PT1M"),
    ],
)
def test_values_of_numpy(value: Any, expected: Any) -> None:
    assert plain(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TABLE, [{"sku": "a", "price": 1.5, "since": "2026-01-02T00:00:00"},
                 {"sku": "b", "price": None, "since": None}]),
        (TABLE[["sku", "price"]].set_index("sku"), [{"sku": "a", "price": 1.5}, {"sku": "b", "price": None}]),
        (TABLE["sku"], ["a", "b"]),
        (TABLE["sku"][TABLE["price"].isna()], ["b"]),
        (TABLE.iloc[0], {"sku": "a", "price": 1.5, "since": "2026-01-02T00:00:00"}),
        (TABLE.groupby("sku")["price"].sum(), {"a": 1.5, "b": 0.0}),
        (pd.Series([1, 2], index=pd.Index(["a", "a"], name="sku"), name="n"),
         [{"sku": "a", "n": 1}, {"sku": "a", "n": 2}]),
        ([pd.NA, pd.NaT, pd.Timestamp("2026-01-02")], [None, None, "2026-01-02T00:00:00"]),
        (pd.Period("2026-01"), "2026-01"),
        ([pd.Categorical(["x"]), pd.Index([1])], [["x"], [1]]),
        (pd.DataFrame(), []),
    ],
)  # fmt: skip
def test_values_of_pandas(value: Any, expected: Any) -> None:
    assert plain({"value": value}) == {"value": expected}


def test_what_has_no_json_form_is_refused_and_nothing_is_lost_in_silence() -> None:
    itself: list[Any] = []
    itself.append(itself)
    once = {"a": (letter for letter in "ab"), "b": b"\xff"}
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for value, message in (
        (object(), "object has no JSON form; return a dict, a list or a dataclass"),
        (Sdk, "type has no JSON form"),
        (itself, "holds itself"),
        (once, "can be read only once; return a list"),
        (twice, "two columns of one name"),
    ):
        with pytest.raises(ValueError, match=message):
            plain(value)


DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(DATA)
def test_json_data_stays_what_it_is_however_it_is_held(data: Any) -> None:
    assert plain(data) == json.loads(json.dumps(data)) == plain(dspy.Prediction(data=data))["data"]
    assert plain(np.array([data, None], dtype=object)[:1]) == [data]


def test_rows_of_a_structured_array_keep_their_names() -> None:
    table = np.array([(1, "a"), (2, "b")], dtype=[("n", int), ("name", "U3")])
    assert plain(table) == [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}]
    assert plain(table[0]) == {"n": 1, "name": "a"}
