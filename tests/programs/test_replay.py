"""The replay: every recorded call and cart of the real runs, and what the command says of small ones."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from programs.benchmarks.replay import main, read_runs, replay
from programs.options import DataError

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"

CART = {"items": [], "used_coupons": [], "summary": {"total_items_count": 0, "total_price": 0.0}}
FULL = {
    "items": [{"product_id": "p1", "name": "Cap", "quantity": 1, "price": 10.0}],
    "used_coupons": [],
    "summary": {"total_items_count": 1, "total_price": 10.0},
}


@pytest.mark.skipif(not SHOPPING.is_dir(), reason="no recorded data; set PIVOT_DATA to its folder")
def test_every_recorded_call_and_cart_is_reproduced() -> None:
    report = replay(SHOPPING)
    assert report.mismatches == [] and report.passed
    assert report.calls.total() == report.equal.total() == report.identical.total() == 6969
    assert report.equal_carts == report.runs == 236
    assert report.ms_per_call < 2.5  # the benchmark's own


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "database_level1" / "case_1"
    folder.mkdir(parents=True)
    product = {
        "product_id": "p1", "name": "Cap", "price": 10.0, "brand": "B", "color": "Red", "size": "M",
        "stock_quantity": 3,
    }  # fmt: skip
    user = {
        "is_vip": False, "demographics": {"gender": "Male"}, "body_profile": {"standard_sizes": {"tops": "M"}},
        "coupons": {}, "shipping_addresses": {"province": "Beijing"},
    }  # fmt: skip
    (folder / "products.jsonl").write_text(json.dumps(product), encoding="utf-8")
    (folder / "user_info.json").write_text(json.dumps(user), encoding="utf-8")
    (folder / "cart.json").write_text(json.dumps(CART), encoding="utf-8")
    (folder / "validation_cases.json").write_text('{"query": "a cap"}', encoding="utf-8")
    return tmp_path


def run(observation: str, final_cart: Any = FULL, case: int = 1) -> str:
    call = {"tool": "add_product_to_cart", "arguments": '{"product_id": "p1"}', "observation": observation}
    return json.dumps({"level": 1, "case": case, "model": "m", "calls": [call], "final_cart": final_cart}) + "\n"


def test_equality_is_of_json_and_the_letter_is_counted_apart(data: Path) -> None:
    (data / "runs.jsonl").write_text(run(json.dumps(FULL)) + "\n" + run(json.dumps(FULL, indent=2)), encoding="utf-8")
    report = replay(data, data / "runs.jsonl")
    assert (report.runs, report.equal_carts, report.equal.total(), report.identical.total()) == (2, 2, 2, 1)
    assert report.passed


def test_the_command_shows_mismatches_and_writes_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gzip.open(data / "recorded_runs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(run("[red]no JSON", final_cart=CART))
    assert main(["--data", str(data), "--json", str(data / "report.json")]) == 1
    shown = capsys.readouterr().out
    assert "0.000% equal" in shown and "[red]no JSON" in shown and "L1-1 m call 0" in shown
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    assert report["passed"] is False and report["calls"] == {"add_product_to_cart": 1}
    assert [mismatch["tool"] for mismatch in report["mismatches"]] == ["add_product_to_cart", "final cart"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (run("{}") + "{oh\n", "runs.jsonl, line 2"),
        (run("{}", case=7), r"runs.jsonl, line 1: no \(1, 7\)"),
        ('{"level": 1, "case": 1}\n', "runs.jsonl, line 1: no 'calls'"),
        ("[]\n", "runs.jsonl, line 1: .*expected a JSON object"),
    ],
)
def test_broken_runs_are_named(data: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "runs.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        replay(data, data / "runs.jsonl")
    assert main(["--data", str(data), "--runs", str(data / "runs.jsonl")]) == 2
    assert "runs.jsonl" in capsys.readouterr().err.replace("\n", "")


def test_an_unreadable_file_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl"):
        list(read_runs(data / "nowhere.jsonl"))
    (data / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 99)[:-9])
    with pytest.raises(DataError, match="cut.jsonl.gz"):
        list(read_runs(data / "cut.jsonl.gz"))
