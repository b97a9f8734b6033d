"""The shopping environment: what its checks say, what their hints may name, and how its forks live."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Execution, Observation, Step, Trajectory
from programs.deepplanning.environment import Market, ShoppingEnvironment, final_cart
from programs.deepplanning.loader import Case, load_annotation, load_cases, load_gold
from programs.deepplanning.reference import reference
from programs.deepplanning.scoring import strict_pass
from programs.options import DataError
from tests.programs.shops import buying, fetching, generated, judged, opened, ran, settled, task

IDS = re.compile(r"\b[0-9a-f]{8}\b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory, seed=5, tasks=6)


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    return load_cases(folder)


def written(folder: Path, case: Case) -> list[dict[str, Any]]:
    return [dict(item) for item in reference(case, load_annotation(folder, case.id)).requirements]


# ------------------------------------------------------------------------------------------------------------- checks


def test_the_best_cart_holds_and_lesser_ones_fail_where_they_should(folder: Path, cases: list[Case]) -> None:
    for case in cases:
        gold = load_gold(folder, case.id)
        requirements = settled(opened(case), written(folder, case))
        run = ran(opened(case), buying(gold.product_ids, gold.coupons))
        assert strict_pass(final_cart(run.execution), gold)
        assert all(finding.holds for finding in judged(run, requirements).values())

        dropped = judged(ran(opened(case), buying(gold.product_ids[1:])), requirements)
        assert not dropped["R1"].holds and not dropped["M"].holds and dropped["E"].holds and dropped["O"].holds
        assert "R1" in dropped["M"].evidence

        other = next(p["product_id"] for p in case.products if p["product_id"] not in gold.product_ids)
        extra = judged(ran(opened(case), buying([*gold.product_ids, other])), requirements)["O"]
        assert not extra.holds and extra.about == (other,) and other in extra.evidence

        twice = [*gold.product_ids, gold.product_ids[0]]
        several = judged(ran(opened(case), buying(twice)), requirements)["O"]
        assert not several.holds and several.about == (gold.product_ids[0],)


def test_an_item_in_the_cart_that_almost_fits_is_named(folder: Path, cases: list[Case]) -> None:
    case = cases[0]
    gold = load_gold(folder, case.id).products[0]
    where = [["brand", "==", gold["brand"]], ["price", "<", 1.0]]
    run = ran(opened(case), [fetching([gold["product_id"]]), *buying([gold["product_id"]])])
    found = judged(run, settled(run.session, [{"id": "R1", "check": "item", "args": {"where": where}}]))["R1"]
    assert not found.holds and found.about == (gold["product_id"],)
    assert f"fails {[['price', '<', 1.0]]}".replace("'", '"') in found.evidence
    assert 'without [["price", "<", 1.0]]' in found.hint and gold["product_id"] in found.hint


def test_two_items_in_the_same_words_need_two_products(folder: Path, cases: list[Case]) -> None:
    case = cases[0]
    brand = case.products[0]["brand"]
    fitting = [product["product_id"] for product in case.products if product["brand"] == brand]
    wanted = [{"id": name, "check": "item", "args": {"where": [["brand", "==", brand]]}} for name in ("R1", "R2")]
    requirements = settled(opened(case), wanted)
    one = judged(ran(opened(case), buying(fitting[:1])), requirements)
    two = judged(ran(opened(case), buying(fitting[:2])), requirements)
    assert not all(finding.holds for finding in one.values()) and all(finding.holds for finding in two.values())


@pytest.mark.parametrize(
    ("check", "args", "told"),
    [
        ("item", {"where": [["flavour", "==", "mint"]]}, "flavour"),
        ("item", {"where": [["price", "~", 3]]}, "~"),
        ("every", {"where": [["price", "<"]]}, "price"),
    ],
)
def test_a_malformed_condition_is_evidence_and_no_crash(
    check: str, args: dict[str, Any], told: str, cases: list[Case]
) -> None:
    run = ran(opened(cases[0]), buying([cases[0].products[0]["product_id"]]))
    found = judged(run, settled(run.session, [{"id": "R1", "check": check, "args": args}]))["R1"]
    assert not found.holds and told in found.evidence


def test_coupons(folder: Path, cases: list[Case]) -> None:
    case = next(case for case in cases if case.level == 3)
    gold = load_gold(folder, case.id)
    wanted = settled(opened(case), [{"id": "C", "check": "coupons_optimal"}])
    with_them = judged(ran(opened(case), buying(gold.product_ids, gold.coupons)), wanted)["C"]
    without = judged(ran(opened(case), buying(gold.product_ids)), wanted)["C"]
    assert with_them.holds and not without.holds
    assert all(name in without.hint for name in gold.coupons)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_named_that_no_step_has_fetched(folder: Path, cases: list[Case], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases))
    ids = [product["product_id"] for product in case.products]
    fetched = data.draw(st.lists(st.sampled_from(ids), max_size=40, unique=True))
    bought = data.draw(st.lists(st.sampled_from(ids), max_size=5))
    steps = [fetching(fetched), *buying(bought)] if fetched else buying(bought)
    run = ran(opened(case), steps)
    findings = judged(run, settled(run.session, written(folder, case)))
    in_cart = {item["product_id"] for item in final_cart(run.execution)["items"]}
    for finding in findings.values():
        named = set(IDS.findall(f"{finding.evidence} {finding.hint}")) | {str(about) for about in finding.about}
        assert named & set(ids) <= {*fetched, *in_cart}
        assert {str(about) for about in finding.about} <= in_cart | set(case.user["coupons"])


def test_hints_name_a_selection_of_what_was_fetched(folder: Path, cases: list[Case]) -> None:
    for case in cases:
        gold = load_gold(folder, case.id)
        run = ran(opened(case), [fetching(p["product_id"] for p in case.products), *buying(gold.product_ids[:1])])
        findings = judged(run, settled(run.session, written(folder, case)))
        lacking = [finding for name, finding in findings.items() if name.startswith("R") and not finding.holds]
        assert len(lacking) == len(gold.products) - 1
        assert all(finding.hint.startswith("fetched products that meet it: ") for finding in lacking)
        if case.level == 2:
            assert all(name in findings["T"].hint for name in gold.product_ids)


# -------------------------------------------------------------------------------------------------- sessions and words


def test_forks_share_the_store_and_nothing_else(cases: list[Case]) -> None:
    case = cases[0]
    before = repr((case.products, case.user, case.cart))
    first, second = (product["product_id"] for product in case.products[:2])
    root = Market([case]).open(task(case))
    root.add_product_to_cart(first)
    fork = root.fork()
    assert isinstance(fork, ShoppingEnvironment) and fork.store is root.store
    fork.add_product_to_cart(second)
    fork.get_product_details([second])
    assert [item["product_id"] for item in root.get_cart_info()["items"]] == [first]
    assert [item["product_id"] for item in fork.get_cart_info()["items"]] == [first, second]
    root.delete_product_from_cart(first)
    assert len(fork.get_cart_info()["items"]) == 2
    again = Market([case]).open(task(case))
    assert again.get_cart_info()["items"] == [] and repr((case.products, case.user, case.cart)) == before


def test_what_a_caller_changes_in_an_answer_changes_no_shop(cases: list[Case]) -> None:
    shop = Market([cases[0]]).open(task(cases[0]))
    name = cases[0].products[0]["product_id"]
    shop.add_product_to_cart(name)["items"].clear()
    shop.get_product_details([name])["products"][0].clear()
    assert len(shop.get_cart_info()["items"]) == 1
    assert shop.get_product_details([name])["products"][0]["product_id"] == name


def test_the_tier_tools_and_effects(cases: list[Case]) -> None:
    session = opened(cases[0])
    assert session.family.tier == "fork"
    tools = session.toolbox.tools
    assert len(tools) == 15
    writes = {name for name, spec in tools.items() if spec.effect == "write"}
    assert writes == {f"{verb}_{what}_{way}_cart" for verb, way in (("add", "to"), ("delete", "from"))
                      for what in ("product", "coupon")}  # fmt: skip
    assert not [name for name, spec in tools.items() if spec.effect == "irreversible"]
    shown = session.toolbox.render_tools()
    assert "-> Cart" in shown and "Cart = {" in shown and "estimated_delivery_days" in shown


def test_an_error_that_is_answered_is_an_error(cases: list[Case]) -> None:
    run = ran(opened(cases[0]), [Step(id="a", tool="add_product_to_cart", args={"product_id": "nothing"})])
    [seen] = run.execution.observations
    assert seen.status == "error" and seen.fault is not None and "nothing" in seen.fault.message
    assert final_cart(run.execution) == {"items": [], "used_coupons": []}


def test_words_for_the_report(cases: list[Case]) -> None:
    case = cases[0]
    shop = Market([case]).open(task(case))
    assert shop.describe() == "Cart: empty. Coupons: none. Price 0.0."
    product = case.products[0]
    cart = shop.add_product_to_cart(product["product_id"])
    assert product["product_id"] in shop.describe() and product["name"] in shop.describe()
    assert shop.summarise("add_product_to_cart", cart) == f"1 items, total_price {product['price']}"
    told = shop.summarise("get_user_info", shop.get_user_info())
    assert told is not None and case.user["demographics"]["gender"] in told
    assert case.user["phone_number"] not in told and case.user["username"] not in told


def test_a_request_that_no_case_makes(cases: list[Case]) -> None:
    with pytest.raises(DataError, match="no case makes the request 'A kite'"):
        Market(cases).open(dspy.Example(request="A kite"))


def test_the_final_cart_of_a_repeated_step_is_that_of_its_last_call() -> None:
    carts = [{"items": [{"product_id": name}], "used_coupons": []} for name in ("p1", "p2")]
    step = Step(id="a", tool="add_product_to_cart", for_each="$s", args={"product_id": "$item"})
    value = [{"item": name, "result": cart} for name, cart in zip(("p1", "p2"), carts, strict=True)]
    execution = Execution(trajectory=Trajectory(steps=(step,)), observations=(Observation(step="a", value=value),))
    assert final_cart(execution) == carts[1]
