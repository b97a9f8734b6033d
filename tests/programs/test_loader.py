"""Reading cases: what a solver sees, what it must not, and what broken data is told."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest

from programs.deepplanning import loader
from programs.deepplanning.loader import load_annotation, load_cases, load_gold
from programs.options import DataError

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"
needs_data = pytest.mark.skipif(not SHOPPING.is_dir(), reason="no recorded data; set PIVOT_DATA to its folder")

PRODUCT = {"product_id": "p1", "name": "Cap", "price": 10.0, "brand": "B", "color": "Red", "size": "M"}
USER = {
    "is_vip": False, "demographics": {"gender": "Male"}, "body_profile": {"standard_sizes": {"tops": "M"}},
    "coupons": {}, "shipping_addresses": {"province": "Beijing"},
}  # fmt: skip
SECRET = {"product_id": "s3cret", "name": "the gold"}


def write_case(root: Path, level: int, number: int, **files: str) -> Path:
    folder = root / f"database_level{level}" / f"case_{number}"
    folder.mkdir(parents=True)
    request = {
        "query": f"request {level}-{number}",
        "ground_truth_products": [SECRET],
        "ground_truth_coupons": {"VIP: ¥200 off every ¥1,000": 1},
        "meta_info": [{"sub_query": "the only cap", "features": [{"key": "s3cret", "value": "s3cret"}]}],
    }
    texts = {
        "products.jsonl": json.dumps(PRODUCT) + "\n",
        "user_info.json": json.dumps(USER),
        "cart.json": json.dumps({"items": [], "used_coupons": [], "summary": {}}),
        "validation_cases.json": json.dumps(request, ensure_ascii=False),
        **{name.replace("__", "."): text for name, text in files.items()},
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_cases_are_sorted_by_level_then_number(tmp_path: Path) -> None:
    for level, number in ((2, 1), (1, 10), (1, 9), (3, 2)):
        write_case(tmp_path, level, number)
    (tmp_path / "database_level1" / "._case_9").mkdir()
    cases = load_cases(tmp_path)
    assert [case.id for case in cases] == ["L1-9", "L1-10", "L2-1", "L3-2"]
    assert (cases[0].level, cases[0].number, cases[0].query) == (1, 9, "request 1-9")
    assert cases[0].products == (PRODUCT,)


def test_a_case_holds_no_gold_and_cannot_be_changed(tmp_path: Path) -> None:
    write_case(tmp_path, 1, 1)
    case = load_cases(tmp_path)[0]
    text = json.dumps(asdict(case))
    assert "s3cret" not in text and "ground_truth" not in text and "the only cap" not in text
    with pytest.raises(FrozenInstanceError):
        case.query = "another"  # type: ignore[misc]


def test_gold_and_annotation_come_apart(tmp_path: Path) -> None:
    write_case(tmp_path, 3, 4)
    gold = load_gold(tmp_path, "L3-4")
    assert gold.product_ids == ("s3cret",) and gold.coupons == {"VIP: ¥200 off every ¥1,000": 1}
    annotation = load_annotation(tmp_path, "L3-4")
    assert annotation.sub_queries == ("the only cap",) and "s3cret" not in repr(annotation)


def test_gold_without_coupons(tmp_path: Path) -> None:
    write_case(tmp_path, 1, 1, validation_cases__json='{"query": "q", "ground_truth_products": []}')
    assert load_gold(tmp_path, "L1-1").coupons == {}


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ({"products__jsonl": f'{json.dumps(PRODUCT)}\n\n{{"product_id": \n'}, ["products.jsonl, line 3", "JSON"]),
        ({"products__jsonl": f'{json.dumps(PRODUCT)}\n["a"]\n'}, ["products.jsonl, line 2", "product_id"]),
        ({"products__jsonl": "\n"}, ["products.jsonl", "no products"]),
        ({"user_info__json": '{\n "a": 1,\n oh\n}'}, ["user_info.json, line 3", "expected JSON"]),
        ({"products__jsonl": json.dumps({**PRODUCT, "price": "10"})}, ["products.jsonl, line 1", "'price'", "float"]),
        ({"user_info__json": "{}"}, ["user_info.json", "'is_vip'", "bool"]),
        ({"user_info__json": json.dumps({**USER, "demographics": 3})}, ["user_info.json", "'demographics.gender'"]),
        ({"user_info__json": "[]"}, ["user_info.json", "JSON object"]),
        ({"cart__json": "{}"}, ["cart.json", "'items' to be a list"]),
        ({"validation_cases__json": '{"query": 3}'}, ["validation_cases.json", "'query' to be a str"]),
    ],
)
def test_broken_data_is_named(tmp_path: Path, files: dict[str, str], parts: list[str]) -> None:
    write_case(tmp_path, 1, 1, **files)
    with pytest.raises(DataError) as raised:
        load_cases(tmp_path)
    assert isinstance(raised.value, ValueError) and all(part in str(raised.value) for part in parts)


@pytest.mark.parametrize("name", ["products.jsonl", "user_info.json", "cart.json", "validation_cases.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write_case(tmp_path, 2, 1) / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        load_cases(tmp_path)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_cases(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no cases found; expected database_level"):
        load_cases(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_gold(tmp_path, "L1-1")
    with pytest.raises(DataError, match="such as 'L1-10'"):
        load_gold(tmp_path, "1-1")


def test_the_archives_are_fetched_once_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real download manager of `datasets`, on archives that lie here instead of on the hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for level in (1, 2, 3):
        write_case(tmp_path / "made", level, 4)
        archive = tmp_path / loader.ARCHIVES[level - 1]
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tmp_path / "made" / f"database_level{level}", f"database_level{level}")
    folder = loader.hub_directory(source=str(tmp_path / "{name}"))
    assert [case.id for case in load_cases(folder)] == ["L1-4", "L2-4", "L3-4"]
    for name in loader.ARCHIVES:
        (tmp_path / name).unlink()
    assert loader.hub_directory(source=str(tmp_path / "{name}")) == folder
    with pytest.raises(DataError, match="check the network and the revision"):
        loader.hub_directory("main", source=str(tmp_path / "{name}"))


@needs_data
def test_the_real_cases() -> None:
    cases = load_cases(SHOPPING)
    assert len(cases) == 59 and len({case.id for case in cases}) == 59
    assert [(case.level, case.number) for case in cases] == sorted((case.level, case.number) for case in cases)
    for case in cases:
        gold, annotation = load_gold(SHOPPING, case.id), load_annotation(SHOPPING, case.id)
        assert gold.products and len(annotation.sub_queries) == len(gold.products)
        assert set(gold.product_ids) <= {product["product_id"] for product in case.products}
        assert set(asdict(case)) == {"id", "level", "number", "query", "products", "user", "cart"}
