"""Reads DeepPlanning shopping cases from disk, with the gold kept apart from what a solver may see."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from programs.deepplanning.hub import PINNED, REPOSITORY, fetched
from programs.options import DataError

ARCHIVES = tuple(f"database_level{level}.tar.gz" for level in (1, 2, 3))
_LAYOUT = "database_level{1,2,3}/case_N/ with products.jsonl, user_info.json, cart.json and validation_cases.json"

_USER: dict[str, type | tuple[type, ...]] = {
    "is_vip": bool, "demographics.gender": str, "body_profile.standard_sizes": dict, "coupons": dict,
    "shipping_addresses.province": str,
}  # fmt: skip
_PRODUCT: dict[str, type | tuple[type, ...]] = {
    "product_id": str, "name": str, "price": (int, float), "brand": str, "color": str, "size": str,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One task as a solver may see it: the request, the store's products, the buyer's record and the empty cart."""

    id: str
    level: int
    number: int
    query: str
    products: tuple[dict[str, Any], ...] = field(repr=False)
    user: dict[str, Any] = field(repr=False)
    cart: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Gold:
    """What the benchmark expects in the cart: the products' records and how many of each coupon."""

    products: tuple[dict[str, Any], ...]
    coupons: dict[str, int]

    @property
    def product_ids(self) -> tuple[str, ...]:
        """The ids of the expected products."""
        return tuple(product["product_id"] for product in self.products)


@dataclass(frozen=True)
class Annotation:
    """The benchmark's own reading of a request: one sentence for each product wanted."""

    sub_queries: tuple[str, ...]


def load_cases(directory: str | Path) -> list[Case]:
    """All cases under a folder that holds database_level{1,2,3}/case_N, by level, then number; none holds any gold.

    Raises DataError where the folder, a file or a line is missing or broken."""
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected {_LAYOUT} (hub_directory() downloads it)")
    found = sorted(
        (int(level[1]), int(number[1]), folder)
        for folder in root.glob("database_level*/case_*")
        if (level := re.fullmatch(r"database_level(\d+)", folder.parent.name))
        and (number := re.fullmatch(r"case_(\d+)", folder.name))
    )
    if not found:
        raise DataError(f"{root}: no cases found; expected {_LAYOUT}")
    return [_load_case(level, number, folder) for level, number, folder in found]


def load_gold(directory: str | Path, case_id: str) -> Gold:
    """The expected cart of a case such as "L1-10". For scoring only. Raises DataError."""
    file = _case_folder(directory, case_id) / "validation_cases.json"
    record = _read_object(file)
    products = _expect(file, record, "ground_truth_products", list)
    coupons = _expect(file, record, "ground_truth_coupons", dict) if "ground_truth_coupons" in record else {}
    if not all(isinstance(product, dict) and isinstance(product.get("product_id"), str) for product in products):
        raise DataError(f"{file}: expected objects with a text 'product_id' in 'ground_truth_products'")
    return Gold(tuple(products), coupons)


def load_annotation(directory: str | Path, case_id: str) -> Annotation:
    """The sub-queries of a case such as "L1-10", which the offline model's references are made from; neither the gold
    nor the features beside them. Raises DataError."""
    file = _case_folder(directory, case_id) / "validation_cases.json"
    entries = _expect(file, _read_object(file), "meta_info", list)
    if not all(isinstance(entry, dict) and isinstance(entry.get("sub_query"), str) for entry in entries):
        raise DataError(f"{file}: expected objects with a text 'sub_query' in 'meta_info'")
    return Annotation(tuple(entry["sub_query"] for entry in entries))


def hub_directory(revision: str = PINNED, source: str = "hf://datasets/{repository}@{revision}/{name}") -> Path:
    """Downloads the shopping archives of the data set Qwen/DeepPlanning once and returns the folder to load from.

    Args:
        revision: a commit or a tag of the data set; a commit is kept, and not asked for again.
        source: where the archives lie; the library `datasets` fetches and unpacks them.

    Raises DataError where they cannot be fetched or unpacked."""
    urls = [source.format(repository=REPOSITORY, revision=revision, name=name) for name in ARCHIVES]
    return fetched("shopping", revision, urls, _LAYOUT)


def _load_case(level: int, number: int, folder: Path) -> Case:
    request = folder / "validation_cases.json"
    cart_file = folder / "cart.json"
    cart = _read_object(cart_file)
    for key, kind in (("items", list), ("used_coupons", list), ("summary", dict)):
        _expect(cart_file, cart, key, kind)
    user_file = folder / "user_info.json"
    user = _read_object(user_file)
    _complete(str(user_file), user, _USER)
    return Case(
        id=f"L{level}-{number}",
        level=level,
        number=number,
        query=_expect(request, _read_object(request), "query", str),
        products=_read_products(folder / "products.jsonl"),
        user=user,
        cart=cart,
    )


def _read_products(file: Path) -> tuple[dict[str, Any], ...]:
    products: list[dict[str, Any]] = []
    for number, line in enumerate(_read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        product = _parse(file, line, first_line=number)
        if not (isinstance(product, dict) and isinstance(product.get("product_id"), str)):
            raise DataError(f"{file}, line {number}: expected an object with a text 'product_id'")
        _complete(f"{file}, line {number}", product, _PRODUCT)
        products.append(product)
    if not products:
        raise DataError(f"{file}: no products; expected one JSON object on each line")
    return tuple(products)


def _case_folder(directory: str | Path, case_id: str) -> Path:
    parts = re.fullmatch(r"L(\d+)-(\d+)", case_id)
    if not parts:
        raise DataError(f"case id {case_id!r}: expected L followed by level, a dash and the number, such as 'L1-10'")
    return Path(directory) / f"database_level{parts[1]}" / f"case_{parts[2]}"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file; expected {_LAYOUT}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error})") from error


def _parse(file: Path, text: str, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DataError(f"{file}, line {line}: expected JSON, but {error.msg} at column {error.colno}") from error


def _read_object(file: Path) -> dict[str, Any]:
    record = _parse(file, _read_text(file))
    if not isinstance(record, dict):
        raise DataError(f"{file}, line 1: expected a JSON object, found {type(record).__name__}")
    return record


def _complete(place: str, record: dict[str, Any], fields: dict[str, type | tuple[type, ...]]) -> None:
    """Raises DataError where a field that the tools or the checks rely on is absent or of another type."""
    for path, kind in fields.items():
        value: Any = record
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise DataError(f"{place}: expected {path!r} to be of type {names}")


def _expect(file: Path, record: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(record.get(key), kind):
        raise DataError(f"{file}: expected {key!r} to be a {kind.__name__}")
    return record[key]
