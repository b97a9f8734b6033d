"""The recipe as the README gives it, and what holds for any value that is sent."""

from __future__ import annotations

import os
import sys
import types
from urllib.parse import parse_qsl, unquote

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environments.http.styles import path_of, query_of
from tests.environments.orders_app import made_app
from tests.environments.shops import opened_shop
from tests.scripted import plan, scripted, step, submit

RECIPE = """\
import os, httpx2, pivot_dspy
from shop import make_app  # the server's own application; any other test server's address will do as well

def sandbox():  # a server with a state of its own for each trial
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(make_app()), base_url="http://sandbox")

shop = pivot_dspy.from_openapi(
    "http://127.0.0.1:8000/openapi.json",           # or a file, or a dictionary; OpenAPI 3.0 or 3.1, JSON or YAML
    headers={"X-Api-Key": os.environ["SHOP_KEY"]},  # stands in no prompt, value or message, and goes to no sandbox
    include=["orders"], exclude=["PUT *"],          # by tag, name, id, path or pattern
    sandbox=sandbox, probe=(("create_order", {"item": "x"}), ("list_orders", {})),  # sandboxes are tested
)
clerk = pivot_dspy.Pivot("request -> answer", shop)
"""


def test_the_recipe_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("shop")
    module.__dict__["make_app"] = made_app
    monkeypatch.setitem(sys.modules, "shop", module)
    monkeypatch.setitem(os.environ, "SHOP_KEY", "key-4711-x")
    assert len(RECIPE.splitlines()) < 15
    space: dict[str, dspy.Module] = {}
    with opened_shop() as real:
        exec(RECIPE.replace("http://127.0.0.1:8000", real.url), space)
        steps = [step("a", "create_order", item="tea"), submit(answer="$a.item")]
        with dspy.context(lm=scripted(plan=plan(steps))):
            result = space["clerk"](request="Order tea.")
        assert (result.verified, result.answer, real.orders) == (True, "tea", [])
        result.commit()
        assert real.orders == ["tea"]


@given(st.text(), st.text(min_size=1))
def test_a_text_arrives_as_it_was_given(value: str, name: str) -> None:
    assert parse_qsl(query_of(name, value, "form", True), keep_blank_values=True) == [(name, value)]
    if value not in ("", ".", ".."):
        written = path_of(name, value, "simple", False)
        assert "/" not in written and "?" not in written and unquote(written) == value


@given(st.lists(st.text(), min_size=1), st.dictionaries(st.text(min_size=1), st.text(), min_size=1))
def test_lists_and_records_arrive_item_by_item(items: list[str], record: dict[str, str]) -> None:
    assert parse_qsl(query_of("q", items, "form", True), keep_blank_values=True) == [("q", item) for item in items]
    assert dict(parse_qsl(query_of("q", record, "form", True), keep_blank_values=True)) == record
    deep = parse_qsl(query_of("q", record, "deepObject", True), keep_blank_values=True)
    assert dict(deep) == {f"q[{key}]": value for key, value in record.items()}
