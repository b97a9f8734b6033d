"""Writes a small synthetic data set in the benchmark's layout: our own brands, names and people, the real fields."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from programs.deepplanning.conditions import (
    DELIVERY,
    Condition,
    Record,
    delivery_days,
    failing,
    matching,
    profile_conditions,
)
from programs.deepplanning.coupons import NAMES
from programs.deepplanning.phrasing import budget_sentence, request, sub_query
from programs.deepplanning.reading import COLORS, SEASONS
from programs.deepplanning.selection import Purchase, best_coupons, cheapest, cheapest_with_coupons

BRANDS = (
    "Northvale", "Tidewell", "Harlow Finch", "Quillmark", "Pine Harbor", "Saltbrook", "Oriel", "Kestrel Row",
    "Bramblegate", "Lumen Field",
)  # fmt: skip
LINES = (
    "Ember Ridge", "Cloud Meadow", "Stone Harbor", "Silver Fern", "Wild Current", "Quiet Orbit", "Maple Drift",
    "Iron Lark", "Velvet Dune", "Polar Thread", "Copper Tide", "Lantern Way",
)  # fmt: skip
VARIANTS = ("Classic", "Lite", "Everyday", "Studio", "Heritage", "Motion", "Weekend", "Signature", "Core", "Prime")
GARMENTS = {
    "tops": ("Zip Hoodie", "Crew Tee", "Down Jacket", "Knit Sweater", "Windbreaker", "Polo Shirt"),
    "bottoms": ("Jogger Pants", "Chino Shorts", "Straight Trousers", "Trail Tights"),
    "shoes": ("Trail Shoes", "Canvas Sneakers", "Running Shoes", "Winter Boots"),
}
SIZES = {"tops": ("S", "M", "L", "XL"), "bottoms": ("S", "M", "L", "XL"), "shoes": ("37", "38", "41", "42", "43", "44")}
NEAR = (("Guangdong", "SF Express"), ("Zhejiang", "SF Express"), ("Jiangsu", "SF Express"), ("Shanghai", "SF Express"))
FAR = (("Beijing", "YTO Express"), ("Liaoning", "ZTO Express"), ("Beijing", "Cainiao"), ("Heilongjiang", "STO Express"))
HOMES = (("Guangdong", "Foshan"), ("Zhejiang", "Jinhua"), ("Fujian", "Quanzhou"), ("Hunan", "Yueyang"))
# What a buyer of level 3 owns, and a plain total that the cheapest products fall just short of.
WALLETS: tuple[tuple[dict[str, int], float, bool], ...] = (
    ({NAMES[0]: 2, NAMES[2]: 1}, 900.0, False),
    ({NAMES[6]: 1, NAMES[7]: 1, NAMES[3]: 1}, 1400.0, True),
    ({NAMES[0]: 1, NAMES[1]: 1, NAMES[9]: 1}, 1300.0, False),
    ({NAMES[1]: 1, NAMES[3]: 1, NAMES[0]: 2}, 1200.0, False),
)
_ATTEMPTS = 500


def generate(directory: str | Path, *, seed: int = 0, tasks: int = 6) -> None:
    """Writes `tasks` cases, the three levels in turn, under `directory` as database_level{1,2,3}/case_N; the same
    bytes for the same seed. Each has exactly one best cart; in every other round of three, finding it needs the
    buyer's profile. Raises ValueError for a negative number of tasks."""
    if tasks < 0:
        raise ValueError(f"tasks is {tasks}; expected 0 or more")
    for index in range(tasks):
        level, number = index % 3 + 1, index // 3 + 1
        folder = Path(directory) / f"database_level{level}" / f"case_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files(random.Random(f"{seed}/{level}/{number}"), level, number).items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _files(rng: random.Random, level: int, number: int) -> dict[str, str]:
    for _ in range(_ATTEMPTS):
        if case := _Draft(rng, level, number).case():
            return case
    raise RuntimeError(f"no task with a single best cart in {_ATTEMPTS} attempts; try another seed")


class _Draft:
    """One attempt at a task: a buyer, the wanted items with their decoys, and a store around them."""

    def __init__(self, rng: random.Random, level: int, number: int) -> None:
        self.rng, self.level = rng, level
        self.misleading = number % 2 == 1  # cheaper products that only the buyer's profile rules out
        self.wallet, self.target, self.one_brand = WALLETS[(number - 1) % len(WALLETS)]
        self.user = self._buyer()
        self.policy = profile_conditions(self.user)
        self.gender = self.policy[0][2]
        self.sizes = self.user["body_profile"]["standard_sizes"]
        self.products: list[dict[str, Any]] = []
        self.items: list[list[Condition]] = []
        count = rng.randint(3, 4) if level < 3 else 3
        lines = rng.sample(LINES, count)
        brands = rng.sample(BRANDS, count) if not (level == 3 and self.one_brand) else [rng.choice(BRANDS)] * count
        prices = [float(rng.randint(120, 600)) for _ in range(count)]
        if level == 3:
            short = self.target - rng.randint(8, 25)
            prices = [float(round(short * price / sum(prices))) for price in prices]
        for line, brand, price in zip(lines, brands, prices, strict=True):
            self._item(line, brand, price)
        while len(self.products) < 60:
            self.products.append(self._product(rng.choice(LINES), rng.choice(BRANDS), float(rng.randint(90, 900))))
        rng.shuffle(self.products)

    def case(self) -> dict[str, str] | None:
        """The task's files by name; None where it has no single best cart, or is not the kind of task wanted."""
        budget = self._budget() if self.level == 2 else None
        if self.level == 2 and budget is None:
            return None
        best = self._solve(self.policy, budget)
        if best is None or not self._single(best, budget):
            return None
        plain = self._solve([], budget)
        if (plain is not None and _ids(plain) == _ids(best)) == self.misleading:
            return None
        if self.level == 3 and not best.coupons:
            return None
        return self._written(best, budget)

    def _candidates(self, policy: Sequence[Condition], without: Record | None = None) -> list[list[Record]]:
        products = [product for product in self.products if product is not without]
        return [matching(products, [*item, *policy], self.user) for item in self.items]

    def _solve(
        self, policy: Sequence[Condition], budget: tuple[float, float] | None, without: Record | None = None
    ) -> Purchase | None:
        candidates = self._candidates(policy, without)
        if self.level == 3:
            return cheapest_with_coupons(candidates, self.user["coupons"], self.user["is_vip"])
        found = cheapest(candidates, *(budget or (0.0, math.inf)))
        return found and Purchase(tuple(found), {}, round(sum(product["price"] for product in found), 2))

    def _single(self, best: Purchase, budget: tuple[float, float] | None) -> bool:
        """Whether every other cart is dearer: without any one product, or any one coupon, of the best."""
        for product in best.products:
            other = self._solve(self.policy, budget, without=product)
            if other is not None and other.price <= best.price:
                return False
        priced = [(product["price"], product["brand"]) for product in best.products]
        saved = best_coupons(priced, self.user["coupons"], self.user["is_vip"])[1]
        fewer = ({**self.user["coupons"], name: number - 1} for name, number in best.coupons.items())
        return all(best_coupons(priced, owned, self.user["is_vip"])[1] < saved for owned in fewer)

    def _budget(self) -> tuple[float, float] | None:
        """A range above the cheapest total, so that the cheapest product of each item is not the answer."""
        candidates = self._candidates(self.policy)
        floor = 0.0
        for _ in range(self.rng.randint(2, 4)):
            found = cheapest(candidates, floor)
            if found is None:
                return None
            floor = round(sum(product["price"] for product in found) + 0.01, 2)
        low = math.ceil(floor)
        return float(low), float(low + self.rng.randint(15, 300))

    def _item(self, line: str, brand: str, price: float) -> None:
        rng = self.rng
        wanted = self._product(line, brand, price)
        wanted["target_demographic"] = self.gender
        wanted["size"] = self.sizes[_kind(wanted)]
        wanted["name"] = _named(wanted, line, rng.choice(VARIANTS))
        days = delivery_days(wanted, self.user) or 1
        stars = wanted["rating"]["distribution"]
        numeric: list[Condition] = [
            ["stock_quantity", ">", wanted["stock_quantity"] // 10 * 10 - 10],
            ["sales_volume.monthly", ">", wanted["sales_volume"]["monthly"] // 50 * 50 - 50],
            ["sales_volume.total", ">", wanted["sales_volume"]["total"] // 100 * 100 - 100],
            ["rating.total_reviews", ">", wanted["rating"]["total_reviews"] // 50 * 50 - 50],
            ["rating.distribution.5_star", ">", stars["5_star"] // 50 * 50 - 50],
            ["rating.distribution.1_star", "<", stars["1_star"] // 5 * 5 + 5],
            ["rating.distribution.2_star", "<", stars["2_star"] // 5 * 5 + 5],
            [DELIVERY, "<", days + 1],
        ]
        text: list[Condition] = [
            ["color", "==", wanted["color"]],
            ["suitable_season", "==", wanted["suitable_season"]],
        ]
        if not self.misleading:
            text += [["size", "==", wanted["size"]], ["target_demographic", "==", self.gender]]
        item = [
            rng.choice([["brand", "==", brand], ["name", "contains", line]]),
            *rng.sample(text, rng.randint(1, len(text))),
            *rng.sample(numeric, 2),
        ]
        self.items.append(item)
        self.products.append(wanted)
        for _ in range(rng.randint(2, 3)):
            self.products.append(self._variant(wanted, line, price + rng.randint(5, 90)))
        miss = self._variant(wanted, line, price - rng.randint(10, 40))
        self._violate(miss, item[-1])
        self.products.append(miss)
        if self.misleading:
            decoy = self._variant(wanted, line, price - rng.randint(10, 40))
            if rng.random() < 0.5:
                decoy["target_demographic"] = "Unisex"
                decoy["name"] = decoy["name"].replace(f"{self.gender}'s", "Unisex")
            else:
                decoy["size"] = rng.choice([size for size in SIZES[_kind(wanted)] if size not in self.sizes.values()])
            self.products.append(decoy)

    def _variant(self, product: dict[str, Any], line: str, price: float) -> dict[str, Any]:
        """Another product that meets whatever the given one meets, at another price in yuan."""
        other = copy.deepcopy(product)
        other["product_id"] = f"{self.rng.getrandbits(32):08x}"
        other["name"] = _named(other, line, self.rng.choice(VARIANTS))
        other["price"] = float(price)
        other["stock_quantity"] += self.rng.randint(0, 60)
        other["sales_volume"]["monthly"] += self.rng.randint(0, 50)
        other["sales_volume"]["total"] += self.rng.randint(100, 900)
        return other

    def _violate(self, product: dict[str, Any], condition: Condition) -> None:
        field, _, value = condition
        if field == DELIVERY:
            origin, provider = max(FAR, key=lambda way: _days(product, way, self.user))
            product["shipping_info"] = {"origin": origin, "provider": provider}
        elif field.startswith("rating."):
            stars = product["rating"]["distribution"]
            if field.endswith(("1_star", "2_star")):
                stars[field.rsplit(".", 1)[1]] = value + self.rng.randint(0, 9)
            else:
                stars["5_star"] = max(0, stars["5_star"] - self.rng.randint(120, 160))
            product["rating"] = _rating(stars)
        else:
            *path, last = field.split(".")
            (product[path[0]] if path else product)[last] = value - self.rng.randint(0, 9)

    def _product(self, line: str, brand: str, price: float) -> dict[str, Any]:
        rng = self.rng
        kind = rng.choice(list(GARMENTS))
        garment = rng.choice(GARMENTS[kind])
        origin, provider = rng.choice(NEAR)
        product: dict[str, Any] = {
            "product_id": f"{rng.getrandbits(32):08x}",
            "name": garment,
            "price": price,
            "brand": brand,
            "color": rng.choice(COLORS),
            "size": rng.choice(SIZES[kind]),
            "stock_quantity": rng.randint(60, 400),
            "material_composition": [{"material": rng.choice(("Cotton", "Polyester", "Nylon")), "percentage": 100}],
            "thickness": rng.choice(("Thin", "Regular", "Thick")),
            "elasticity": rng.choice(("Non-stretch", "Slightly-stretch", "Moderate-stretch")),
            "version_type": rng.choice(("Regular Fit", "Slim Fit")),
            "collar_type": rng.choice(("Crew Neck", "Hooded", "Stand Collar")),
            "suitable_season": rng.choice(SEASONS),
            "target_demographic": rng.choice(("Men", "Women", "Men", "Women", "Unisex", "Youth", "Kids")),
            "details_craftsmanship": rng.choice(("Side Pockets, Printing", "Ribbed Cuffs, Embroidery")),
            "washing_instructions": "Machine wash cold. Do not bleach.",
            "sales_volume": {"monthly": rng.randint(120, 900), "total": rng.randint(1000, 9000)},
            "rating": _rating(
                {
                    "5_star": rng.randint(220, 900), "4_star": rng.randint(40, 150), "3_star": rng.randint(8, 40),
                    "2_star": rng.randint(1, 18), "1_star": rng.randint(0, 12),
                }
            ),
            "review_summary": rng.sample(("True to size", "Great color", "Comfortable fabric", "Sturdy seams"), 2),
            "shipping_info": {"origin": origin, "provider": provider},
        }  # fmt: skip
        product["name"] = _named(product, line, rng.choice(VARIANTS))
        return product

    def _buyer(self) -> dict[str, Any]:
        rng = self.rng
        gender = rng.choice(("Male", "Female"))
        province, city = rng.choice(HOMES)
        phone = f"1390000{rng.randint(0, 9999):04d}"
        tops = rng.choice(SIZES["tops"])
        shoes = rng.choice(("41", "42", "43", "44") if gender == "Male" else ("37", "38"))
        year = rng.randint(1980, 2004)
        return {
            "user_id": f"{rng.getrandbits(32):08x}",
            "username": f"{rng.choice(('Willow', 'Juniper', 'Sorrel', 'Rowan', 'Hazel'))}{rng.randint(10, 99)}",
            "phone_number": phone,
            "is_vip": self.level == 3 or rng.random() < 0.5,
            "demographics": {"gender": gender, "age": 2025 - year, "birthday": f"{year}-03-{rng.randint(1, 28):02d}"},
            "body_profile": {
                "height_cm": rng.randint(158, 188),
                "weight_kg": float(rng.randint(50, 88)),
                "preference_fit": "Regular Fit",
                "standard_sizes": {"tops": tops, "bottoms": tops, "shoes": shoes},
            },
            "coupons": dict(self.wallet) if self.level == 3 else {},
            "shipping_addresses": {
                "phone": phone, "province": province, "city": city, "detail_address": f"Elm Lane {rng.randint(1, 99)}",
            },
        }  # fmt: skip
