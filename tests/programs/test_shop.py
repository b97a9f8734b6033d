"""The fifteen tools on a small store: their answers, refusals, and what forks must never share."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi  # type: ignore[import-untyped]

from programs.deepplanning import coupons, transport
from programs.deepplanning.loader import Case
from programs.deepplanning.shop import TOOLS, Shop
from programs.deepplanning.store import SEARCHED, Store

CROSS, VIP, BRAND = "Cross-store: ¥30 off every ¥300", "VIP: ¥200 off every ¥1,000", "Same-brand: ¥60 off every ¥400"
ROWS = [
    ("p0", "Winter Trail Cap", 149.9, "Salomon", "Black", "L", 5, "Men", [CROSS], "Guangdong", "SF Express"),
    ("p1", "Tech Fleece Top", 749.9, "Nike", "Brown", "L", 80, "Men", [CROSS, VIP], "Zhejiang", "YTO Express"),
    ("p2", "Fleece Cargo Bottoms", 349.5, "Nike", "Light Blue", "M", 1, "Women", None, "Beijing", "JD Logistics"),
    ("p3", "Élan Running Shoes", 1299.0, "adidas", "black", "42", 12, "Unisex", [], "Xinjiang", "China Post"),
    ("p4", "Trail Running Socks", 19.99, "Salomon", "Khaki", "42", 300, "Men", None, "Shanghai", "Pigeon"),
]


def product(row: tuple[Any, ...]) -> dict[str, Any]:
    product_id, name, price, brand, color, size, stock, target, applicable, origin, provider = row
    record = {
        "product_id": product_id, "name": name, "price": price, "brand": brand, "color": color, "size": size,
        "stock_quantity": stock, "thickness": "Thin", "elasticity": "Non-stretch", "version_type": "Slim Fit",
        "collar_type": "Hooded", "suitable_season": "Winter", "target_demographic": target,
        "sales_volume": {"monthly": stock, "total": stock * 10},
        "rating": {"average_score": 4.5, "total_reviews": 9, "distribution": {"5_star": 7, "1_star": 2}},
        "shipping_info": {"origin": origin, "provider": provider},
    }  # fmt: skip
    return record if applicable is None else {**record, "applicable_coupons": applicable}


CASE = Case(
    "L1-1", 1, 1, "a request", tuple(product(row) for row in ROWS),
    {"user_id": "u1", "is_vip": True, "coupons": {CROSS: 2, VIP: 1}, "shipping_addresses": {"province": "Hunan"}},
    {"user_id": "u1", "user_name": "U", "items": [], "used_coupons": [],
     "summary": {"total_items_count": 0, "total_price": 0.0}},
)  # fmt: skip
STORE = Store(CASE.products)
PRICES = {row[0]: row[2] for row in ROWS}
WORDS = [
    "winter", "trail", "nike", "fleece", "L", "42", "black", "men", "zzz", "running", "élan", "cargo", "socks", "blue",
]  # fmt: skip


def shop(**user: Any) -> Shop:
    fresh = Shop.of(CASE, STORE)
    return Shop(STORE, {**fresh.user, **user}, fresh.cart) if user else fresh  # type: ignore[typeddict-item]


def state(one: Shop) -> str:
    return json.dumps([one.cart, one.get_cart_info(), one.get_user_info(), one.get_product_details(list(PRICES))])


def paid(cart: Any) -> Any:
    return cart["summary"]["total_price"]


ids = st.sampled_from([*PRICES, "nope"])
names = st.sampled_from([*coupons.NAMES, "nope"])
numbers = st.integers(-1, 6)
writes = st.one_of(
    st.tuples(st.sampled_from(["add_product_to_cart", "delete_product_from_cart"]), ids, numbers),
    st.tuples(st.sampled_from(["add_coupon_to_cart", "delete_coupon_from_cart"]), names, st.integers(1, 2)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ids | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def scribble(value: Any) -> None:
    """Spoils whatever can be spoilt in a returned object."""
    if isinstance(value, dict):
        for item in list(value.values()):
            scribble(item)
        value["scribble"] = 1
    elif isinstance(value, list):
        for item in value:
            scribble(item)
        value.append("scribble")


@given(st.lists(writes, max_size=6), st.lists(writes, max_size=6))
def test_nothing_done_to_a_fork_reaches_its_origin(before: list[Any], after: list[Any]) -> None:
    origin = shop()
    for tool, name, number in before:
        getattr(origin, tool)(name, number)
    frozen = state(origin)
    for fork in (origin.fork(), copy.deepcopy(origin)):
        assert state(fork) == frozen and fork.store is origin.store
        for tool, name, number in after:
            scribble(getattr(fork, tool)(name, number))
        for value in (fork.cart, fork.get_cart_info(), fork.get_user_info(), fork.get_product_details(list(PRICES))):
            scribble(value)
        assert state(origin) == frozen
    spoilt = origin.fork()
    scribble(spoilt._cart)
    assert state(origin) == frozen


@given(st.lists(st.tuples(ids, st.integers(1, 3)), max_size=6), st.sampled_from(list(PRICES)), st.integers(1, 5))
def test_delete_undoes_add(before: list[tuple[str, int]], product_id: str, number: int) -> None:
    one = shop()
    for product_before, number_before in before:
        one.add_product_to_cart(product_before, number_before)
    cart = one.cart
    if "error" not in one.add_product_to_cart(product_id, number):
        one.delete_product_from_cart(product_id, number)
    assert one.cart == cart


@given(st.lists(writes, max_size=12))
def test_the_cart_adds_up(steps: list[Any]) -> None:
    one = shop(coupons=dict.fromkeys(coupons.NAMES, 3))
    for tool, name, number in steps:
        answer = getattr(one, tool)(name, number)
        cart = one.cart
        assert answer == cart or list(answer) == ["error"]
        plain = round(sum(item["price"] * item["quantity"] for item in cart["items"]), 2)
        used = [(coupon["coupon_name"], coupon["quantity"]) for coupon in cart["used_coupons"]]
        if answer == cart:
            off = coupons.discount(used) if "coupon" in tool else 0.0
            assert cart["summary"]["total_price"] == pytest.approx(max(0.0, plain - off))
            if tool == "add_coupon_to_cart":
                assert coupons.required_total(used) <= plain
        assert cart["summary"]["total_items_count"] == sum(item["quantity"] for item in cart["items"])
        for item in cart["items"]:
            stock = STORE.products[item["product_id"]]["stock_quantity"]
            assert item["price"] == PRICES[item["product_id"]] and 0 < item["quantity"] <= stock


@settings(max_examples=200)
@given(st.sampled_from([*TOOLS, "nope"]), st.data())
def test_answer_never_raises_and_is_always_json(tool: str, data: st.DataObject) -> None:
    parameters = list(inspect.signature(getattr(Shop, tool)).parameters)[1:] if tool in TOOLS else []
    arguments = data.draw(
        json_values | st.fixed_dictionaries({}, optional=dict.fromkeys([*parameters, "extra"], json_values))
    )
    text = data.draw(st.sampled_from([json.dumps(arguments), json.dumps(arguments)[:-1], ""]))
    assert isinstance(json.loads(shop().answer(tool, text)), dict)
    assert isinstance(json.loads(shop().answer(tool, arguments)), dict)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_search_ranks_as_rank_bm25_does(words: list[str]) -> None:
    texts = [" ".join(item[key] for key in SEARCHED).lower().split() for item in CASE.products]
    scores = BM25Okapi(texts).get_scores([word.lower() for word in words])
    best = sorted((place for place in range(len(ROWS)) if scores[place] > 2), key=lambda place: -scores[place])
    assert STORE.search(" ".join(words)) == [ROWS[place][0] for place in best]


@given(*[st.sampled_from(sorted(transport._REGION))] * 2, st.sampled_from(["SF Express", "china post", "any"]))
def test_days_are_symmetric_and_at_least_one(here: str, there: str, provider: str) -> None:
    days = transport.days(here, there, provider)
    assert days == transport.days(there, here, provider) >= 1


@pytest.mark.parametrize(
    ("address", "province"),
    [
        ("Guangdong", "guangdong"), ("guang dong Province", "guangdong"), ("GD", "guangdong"), ("shaanxi", "shaanxi"),
        ("北京市", "beijing"), ("Nanning, Guangxi", "guangxi"), ("Harbin, Helongjiang", "hebei"),
        ("neimenggu", "neimenggu"), ("Inner Mongolia", "hubei"),
        ("Hong Kong", "hongkong"), ("", None), (None, None), ("???", None),
    ],
)  # fmt: skip
def test_provinces_are_matched_as_the_benchmark_does(address: str | None, province: str | None) -> None:
    assert transport.province(address) == province


@pytest.mark.parametrize(
    ("product_id", "address", "days"),
    [("p0", "hunan", 1), ("p1", "hunan", 3), ("p2", "zhejiang", 1), ("p3", "xinjiang", 5), ("p4", "heilongjiang", 3)],
)
def test_transport_time(product_id: str, address: str, days: int) -> None:
    answer = shop().calculate_transport_time(product_id, address, provider="SF Express")
    assert answer == {
        "product_id": product_id,
        "origin": STORE.products[product_id]["shipping_info"]["origin"],
        "destination": address,
        "estimated_delivery_days": days,
    }


def test_filters_sorts_and_reads() -> None:
    one = shop()
    assert one.filter_by_brand(["NIKE", "Adidas"]) == {"filtered_products_ids": ["p1", "p2", "p3"]}
    assert one.filter_by_color(["black"], ["p3", "p0", "p1"]) == {"filtered_products_ids": ["p3", "p0"]}
    assert one.filter_by_size(["l"], []) == {"filtered_products_ids": ["p0", "p1"]}
    assert one.filter_by_size([]) == {"filtered_products_ids": []}
    assert one.filter_by_applicable_coupons([CROSS]) == {"filtered_products_ids": ["p0", "p1"]}
    assert one.filter_by_applicable_coupons([VIP, CROSS], ["p1", "p2"]) == {"filtered_products_ids": ["p1"]}
    assert one.filter_by_applicable_coupons([]) == {"filtered_products_ids": []}
    assert one.filter_by_range("price", "<=", 349.5) == {"filtered_products_ids": ["p0", "p2", "p4"]}
    assert one.filter_by_range("sales_volume.total", "==", 120, ["p3", "p4"]) == {"filtered_products_ids": ["p3"]}
    assert one.sort_products("price") == {"sorted_product_ids": ["p3", "p1", "p2", "p0", "p4"]}
    assert one.sort_products("name", "asc", ["p1", "p4", "gone"]) == {"sorted_product_ids": ["p1", "p4"]}
    assert one.search_products("Cargo socks  BOTTOMS") == {"product_ids": ["p2"]}
    assert one.search_products("cargo socks bottoms running shanghai", limit=1) == {"product_ids": ["p2"]}
    assert one.search_products("") == {"product_ids": []}
    assert one.get_product_details(["p1", "gone"]) == {"products": [CASE.products[1]]}
    assert one.get_user_info() == one.get_user_info("u1") == CASE.user
    assert one.get_user_info("u2") == {"error": "User with user_id 'u2' not found", "user": None}


def test_coupons_are_refused_in_order() -> None:
    def refusal(one: Shop, name: str, number: int = 1) -> Any:
        return one.add_coupon_to_cart(name, number).get("error")

    one = shop()
    assert refusal(one, "") == "coupon_name is required"
    assert refusal(one, "nope", 0) == "quantity must be a positive number"
    assert refusal(one, "nope").startswith("Coupon not found: 'nope'. Valid coupons are: Cross-store: ¥30")
    assert refusal(one, BRAND) == (
        f"Insufficient coupon quantity: User owns 0 of '{BRAND}', cart already uses 0, cannot add 1 more"
    )
    assert refusal(shop(is_vip=False), VIP) == f"VIP coupon '{VIP}' requires VIP status, but user is not a VIP"
    assert refusal(one, VIP) == (
        "Cart total 0.0 is insufficient for this combination of coupons (requires at least 1000.0)"
    )
    one.add_product_to_cart("p3")
    assert paid(one.add_coupon_to_cart(VIP)) == 1099.0
    assert refusal(one, CROSS) == (
        "Cart total 1299.0 is insufficient for this combination of coupons (requires at least 1300.0)"
    )
    assert paid(one.add_product_to_cart("p4")) == 1318.99
    assert paid(one.add_coupon_to_cart(CROSS)) == 1088.99
    assert one.delete_coupon_from_cart(CROSS, 2) == {
        "error": f"Insufficient coupon quantity in cart: Cart has 1 of '{CROSS}', cannot remove 2"
    }
    assert paid(one.delete_coupon_from_cart(VIP)) == 1288.99
    assert one.delete_coupon_from_cart(VIP) == {"error": f"Coupon not in cart: '{VIP}'"}


def test_products_are_refused_in_order() -> None:
    one = shop()
    assert one.add_product_to_cart("", 0) == {"error": "product_id is required"}
    assert one.add_product_to_cart("nope", 0) == {"error": "quantity must be a positive number"}
    assert one.add_product_to_cart("nope") == {"error": "Product not found: product_id 'nope'"}
    assert one.delete_product_from_cart("p0") == {"error": "Product not in cart: product_id 'p0'"}
    one.add_product_to_cart("p0", 3)
    assert one.add_product_to_cart("p0", 3) == {
        "error": "Insufficient stock: Product 'Winter Trail Cap' (ID: p0) has 5 in stock, "
        "cart already has 3, cannot add 3 more"
    }
    assert paid(one.delete_product_from_cart("p0", 99)) == 0 and one.cart["items"] == []


@pytest.mark.parametrize(
    ("tool", "arguments", "answer"),
    [
        ("nope", "{}", "{\"error\": \"tool 'nope' not found\"}"),
        ("add_product_to_cart", '{"product_ids": ["p0"]}', '{\n  "error": "Missing required argument: product_id"\n}'),
        ("filter_by_range", '{"operator": ">"}', '{\n  "error": "Missing required argument: condition_key"\n}'),
        ("filter_by_range", {"condition_key": "weight", "operator": ">", "value": 1},
         '{"error": "condition_key cannot be found in product data, please check again."}'),
        ("filter_by_range", {"condition_key": "price", "operator": "=>", "value": 1},
         '{\n  "filtered_products_ids": []\n}'),
        ("filter_by_brand", '{"brand_names": "Nike"}', '{\n  "filtered_products_ids": []\n}'),
        ("filter_by_brand", '{"brand_names": null}', '{"error": "\'NoneType\' object is not iterable"}'),
        ("filter_by_color", {"colors": ["Black"], "product_ids": "p0"},
         '{\n  "error": "Some product_ids not found in database: [\'p\', \'0\']"\n}'),
        ("filter_by_applicable_coupons", '{"coupon_names": ["¥"]}', None),
        ("search_products", {"query": "nike", "limit": "5"}, None),
        ("search_products", {"query": ["nike"]}, '{"error": "\'list\' object has no attribute \'lower\'"}'),
        ("sort_products", {"sort_by": "PRICE", "order": "up"},
         '{\n  "error": "Invalid value for \'order\': \'up\'. Must be \'asc\' or \'desc\'."\n}'),
        ("sort_products", {"sort_by": "colour"}, None),
        ("get_cart_info", "", json.dumps(CASE.cart, indent=2)),
        ("get_user_info", '{"extra": 1}', json.dumps(CASE.user, indent=2, ensure_ascii=False)),
        ("get_user_info", "", None),
        ("add_product_to_cart", {"product_id": "p0", "quantity": "2"},
         '{\n  "error": "quantity must be a positive number"\n}'),
    ],
)  # fmt: skip
def test_the_text_protocol(tool: str, arguments: Any, answer: str | None) -> None:
    given_text = shop().answer(tool, arguments)
    assert given_text == answer if answer else list(json.loads(given_text)) == ["error"]


def test_quantities_are_cut_to_whole_numbers() -> None:
    one = shop()
    assert json.loads(one.answer("add_product_to_cart", '{"product_id": "p1", "quantity": 2.9}'))["items"] == [
        {"product_id": "p1", "name": "Tech Fleece Top", "quantity": 2, "price": 749.9}
    ]


def test_a_fork_copies_nothing_but_the_cart() -> None:
    one = shop()
    for product_id in PRICES:
        one.add_product_to_cart(product_id)
    other = one.fork()
    assert other.store is one.store and other.user is one.user and other.cart == one.cart
