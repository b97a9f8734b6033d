"""Writes a small synthetic data set in the benchmark's layout: our own brands, names and people, the real fields."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from programs.deepplanning.conditions import (
    DELIVERY,
    Condition,
    Record,
    delivery_days,
    matching,
    profile_conditions,
    value_of,
)
from programs.deepplanning.coupons import NAMES
from programs.deepplanning.selection import Purchase, best_coupons, cheapest, cheapest_with_coupons
from programs.deepplanning.vocabulary import COLORS, SEASONS

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
    "Zip Hoodie": "tops", "Crew Tee": "tops", "Down Jacket": "tops", "Polo Shirt": "tops",
    "Jogger Pants": "bottoms", "Chino Shorts": "bottoms", "Straight Trousers": "bottoms",
    "Trail Shoes": "shoes", "Canvas Sneakers": "shoes", "Winter Boots": "shoes",
}  # fmt: skip
LETTERS, SHOES = ("S", "M", "L", "XL"), ("37", "38", "41", "42", "43", "44")
NEAR = ("Guangdong", "Zhejiang", "Jiangsu", "Shanghai", "Fujian")  # with SF Express
FAR = (("Beijing", "YTO Express"), ("Guangdong", "Cainiao"))
HOMES = (("Guangdong", "Foshan"), ("Zhejiang", "Jinhua"), ("Fujian", "Quanzhou"), ("Hunan", "Yueyang"))
# What a buyer of level 3 owns, the plain total that the cheapest products just miss, and whether of one brand.
WALLETS: tuple[tuple[dict[str, int], float, bool], ...] = (
    ({NAMES[0]: 2, NAMES[2]: 1}, 900.0, False),
    ({NAMES[6]: 1, NAMES[7]: 1, NAMES[3]: 1}, 1400.0, True),
    ({NAMES[0]: 1, NAMES[1]: 1, NAMES[9]: 1}, 1300.0, False),
    ({NAMES[1]: 1, NAMES[3]: 1, NAMES[0]: 2}, 1200.0, False),
)
# How the sub-query and the request say a condition.
PHRASES = {
    "brand": ("the brand is {}", "from {}"),
    "name": ("the name contains '{}'", "with '{}' in its name"),
    "color": ("the color is {}", "in {}"),
    "size": ("the size is {}", "in size {}"),
    "suitable_season": ("the suitable season is {}", "suitable for {}"),
    "target_demographic": ("the target demographic is {}", "for {}"),
    "stock_quantity": ("the stock quantity is {}", "a stock quantity of {}"),
    "sales_volume.monthly": ("the monthly sales volume is {}", "a monthly sales volume of {}"),
    "sales_volume.total": ("the total sales volume is {}", "a total sales volume of {}"),
    "rating.total_reviews": ("the total number of reviews is {}", "{} total reviews"),
    "rating.distribution.5_star": ("the number of 5-star reviews is {}", "{} five-star reviews"),
    "rating.distribution.2_star": ("the number of 2-star reviews is {}", "{} two-star reviews"),
    "rating.distribution.1_star": ("the number of 1-star reviews is {}", "{} one-star reviews"),
    DELIVERY: ("the transport time is {}", "a transport time of {} days"),
}
OPENERS = ("First, I'm looking for", "Next, I need", "I also want", "Finally, I'm searching for")
BUDGETS = (
    "My budget is between {} and {}.",
    "Find me some products where the total price is no less than {} and no more than {}.",
    "Please help me find options that fall within a budget of {} to {}.",
)
_ATTEMPTS = 500


def generate(directory: str | Path, *, seed: int = 0, tasks: int = 6) -> None:
    """Writes `tasks` cases, the three levels in turn, under `directory` as database_level{1,2,3}/case_N; the same
    bytes for the same seed. Each has exactly one best cart; for odd N, only the buyer's profile leads to it.

    Raises ValueError for a negative number of tasks."""
    if tasks < 0:
        raise ValueError(f"tasks is {tasks}; expected 0 or more")
    for index in range(tasks):
        level, number = index % 3 + 1, index // 3 + 1
        folder = Path(directory) / f"database_level{level}" / f"case_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files(random.Random(f"{seed}/{level}/{number}"), level, number).items():
            (folder / name).write_bytes(text.encode())


def _files(rng: random.Random, level: int, number: int) -> dict[str, str]:
    for _ in range(_ATTEMPTS):
        if files := _Draft(rng, level, number).files():
            return files
    raise RuntimeError(f"no task with a single best cart in {_ATTEMPTS} attempts; try another seed")


class _Draft:
    """One attempt at a task: a buyer, the wanted items with their decoys, and a store around them."""

    def __init__(self, rng: random.Random, level: int, number: int) -> None:
        self.rng, self.level = rng, level
        self.misleading = number % 2 == 1
        self.wallet, target, one_brand = WALLETS[(number - 1) % len(WALLETS)]
        self.user = self._buyer()
        self.policy = profile_conditions(self.user)
        self.gender: str = self.policy[0][2]
        self.products: list[dict[str, Any]] = []
        self.items: list[list[Condition]] = []
        count = 3 if level == 3 else rng.randint(3, 4)
        prices = [rng.randint(120, 600) for _ in range(count)]
        brands = rng.sample(BRANDS, count)
        if level == 3:
            prices = [round((target - rng.randint(8, 25)) * price / sum(prices)) for price in prices]
            brands = brands[:1] * count if one_brand else brands
        for line, brand, price in zip(rng.sample(LINES, count), brands, prices, strict=True):
            self._item(line, brand, price)
        while len(self.products) < 60:
            self.products.append(self._product(rng.choice(LINES), rng.choice(BRANDS), rng.randint(90, 900)))
        rng.shuffle(self.products)

    def files(self) -> dict[str, str] | None:
        """The case's files by name; None where there is no single best cart, or not of the kind wanted."""
        budget = self._budget() if self.level == 2 else None
        best = self._solve(self.policy, budget)
        if best is None or (self.level == 2) != (budget is not None) or (self.level == 3) != bool(best.coupons):
            return None
        careless = self._solve([], budget)
        misled = careless is None or {id(p) for p in careless.products} != {id(p) for p in best.products}
        return self._written(best, budget) if misled == self.misleading and self._single(best, budget) else None

    def _solve(
        self, policy: Sequence[Condition], budget: tuple[int, int] | None, without: Record | None = None
    ) -> Purchase | None:
        products = [product for product in self.products if product is not without]
        candidates = [matching(products, [*item, *policy], self.user) for item in self.items]
        if self.level == 3:
            return cheapest_with_coupons(candidates, self.user["coupons"], self.user["is_vip"])
        found = cheapest(candidates, *(budget or (0.0, math.inf)))
        return Purchase(tuple(found), {}, sum(product["price"] for product in found)) if found else None

    def _single(self, best: Purchase, budget: tuple[int, int] | None) -> bool:
        """Whether any other cart is dearer. Any other lacks a product or a coupon of the best, so take each away."""
        others = (self._solve(self.policy, budget, without=product) for product in best.products)
        if any(other is not None and other.price <= best.price for other in others):
            return False
        priced = [(product["price"], product["brand"]) for product in best.products]
        owned, is_vip = self.user["coupons"], self.user["is_vip"]
        saved = best_coupons(priced, owned, is_vip)[1]
        return all(
            best_coupons(priced, {**owned, name: number - 1}, is_vip)[1] < saved
            for name, number in best.coupons.items()
        )

    def _budget(self) -> tuple[int, int] | None:
        """A range above the cheapest total, so that the cheapest product of each item is not the answer."""
        floor = 0
        for _ in range(self.rng.randint(1, 3)):
            found = self._solve(self.policy, (floor, 10**6))
            if found is None:
                return None
            floor = int(found.price) + 1
        return floor, floor + self.rng.randint(40, 300)

    def _item(self, line: str, brand: str, price: int) -> None:
        rng = self.rng
        wanted = self._product(line, brand, price, self.gender)
        sizes = self.user["body_profile"]["standard_sizes"]
        wanted["size"] = sizes[_kind(wanted)]
        stars = wanted["rating"]["distribution"]
        numeric: list[Condition] = [
            *(
                [field, ">", (value_of(wanted, field, self.user) - 1) // step * step]
                for field, step in (
                    ("stock_quantity", 10), ("sales_volume.monthly", 50), ("sales_volume.total", 500),
                    ("rating.total_reviews", 50), ("rating.distribution.5_star", 50),
                )
            ),
            ["rating.distribution.2_star", "<", stars["2_star"] // 5 * 5 + 5],
            ["rating.distribution.1_star", "<", stars["1_star"] // 5 * 5 + 5],
            [DELIVERY, "<", (delivery_days(wanted, self.user) or 0) + 1],
        ]  # fmt: skip
        text: list[Condition] = [[field, "==", wanted[field]] for field in ("color", "suitable_season")]
        if not self.misleading:
            text += [["size", "==", wanted["size"]], ["target_demographic", "==", self.gender]]
        identity = rng.choice([["brand", "==", brand], ["name", "contains", line]])
        item = [identity, *rng.sample(text, rng.randint(1, len(text))), *rng.sample(numeric, 2)]
        self.items.append(item)
        miss = self._variant(wanted, line, price - rng.randint(10, 40))
        self._violate(miss, item[-1])
        dearer = [self._variant(wanted, line, price + rng.randint(5, 90)) for _ in range(rng.randint(2, 3))]
        self.products += [wanted, miss, *dearer]
        if self.misleading:
            decoy = self._variant(wanted, line, price - rng.randint(10, 40))
            if rng.random() < 0.5:
                decoy["target_demographic"] = "Unisex"
            else:
                others = SHOES if _kind(wanted) == "shoes" else LETTERS
                decoy["size"] = rng.choice([size for size in others if size not in sizes.values()])
            self.products.append(decoy)

    def _variant(self, product: dict[str, Any], line: str, price: int) -> dict[str, Any]:
        """Another product that meets whatever the given one meets, at another price in yuan."""
        other = copy.deepcopy(product)
        other["product_id"] = f"{self.rng.getrandbits(32):08x}"
        other["name"] = other["name"].replace(line, f"{line} {self.rng.choice(VARIANTS)}")
        other["price"] = float(price)
        other["stock_quantity"] += self.rng.randint(0, 60)
        other["sales_volume"]["monthly"] += self.rng.randint(0, 50)
        other["sales_volume"]["total"] += self.rng.randint(100, 900)
        return other

    def _violate(self, product: dict[str, Any], condition: Condition) -> None:
        """Makes a product miss a numeric condition, and keeps its ratings consistent."""
        field, _, value = condition
        *path, last = field.split(".")
        if field == DELIVERY:
            product["shipping_info"] = dict(zip(("origin", "provider"), self.rng.choice(FAR), strict=True))
        elif field.startswith("rating"):
            stars = product["rating"]["distribution"]
            star = last if path[-1] == "distribution" else "5_star"
            stars[star] = value if condition[1] == "<" else max(0, stars[star] - 60)
            product["rating"] = _rating(stars)
        else:
            (product[path[0]] if path else product)[last] = value - self.rng.randint(0, 9)

    def _product(self, line: str, brand: str, price: int, demographic: str = "") -> dict[str, Any]:
        rng = self.rng
        garment = rng.choice(list(GARMENTS))
        group = demographic or rng.choice(("Men", "Women", "Men", "Women", "Unisex", "Youth", "Kids"))
        stars = {"5_star": (220, 900), "4_star": (40, 150), "3_star": (8, 40), "2_star": (1, 18), "1_star": (0, 12)}
        return {
            "product_id": f"{rng.getrandbits(32):08x}",
            "name": f"{group}'s {line} {garment}" if group in ("Men", "Women") else f"{line} {garment}",
            "price": float(price),
            "brand": brand,
            "color": rng.choice(COLORS),
            "size": rng.choice(SHOES if GARMENTS[garment] == "shoes" else LETTERS),
            "stock_quantity": rng.randint(60, 400),
            "material_composition": [{"material": rng.choice(("Cotton", "Polyester", "Nylon")), "percentage": 100}],
            "thickness": rng.choice(("Thin", "Regular", "Thick")),
            "elasticity": rng.choice(("Non-stretch", "Slightly-stretch", "Moderate-stretch")),
            "version_type": rng.choice(("Regular Fit", "Slim Fit")),
            "collar_type": rng.choice(("Crew Neck", "Hooded", "Stand Collar")),
            "suitable_season": rng.choice(SEASONS),
            "target_demographic": group,
            "details_craftsmanship": rng.choice(("Side Pockets, Printing", "Ribbed Cuffs, Embroidery")),
            "washing_instructions": "Machine wash cold. Do not bleach.",
            "sales_volume": {"monthly": rng.randint(120, 900), "total": rng.randint(1000, 9000)},
            "rating": _rating({star: rng.randint(*span) for star, span in stars.items()}),
            "review_summary": rng.sample(("True to size", "Great color", "Comfortable fabric", "Sturdy seams"), 2),
            "shipping_info": {"origin": rng.choice(NEAR), "provider": "SF Express"},
        }

    def _buyer(self) -> dict[str, Any]:
        rng = self.rng
        gender = rng.choice(("Male", "Female"))
        province, city = rng.choice(HOMES)
        letter, shoes = rng.choice(LETTERS), rng.choice(SHOES[2:] if gender == "Male" else SHOES[:2])
        year, phone = rng.randint(1980, 2004), f"1390000{rng.randint(0, 9999):04d}"
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
                "standard_sizes": {"tops": letter, "bottoms": letter, "shoes": shoes},
            },
            "coupons": dict(self.wallet) if self.level == 3 else {},
            "shipping_addresses": {
                "phone": phone, "province": province, "city": city, "detail_address": f"Elm Lane {rng.randint(1, 99)}",
            },
        }  # fmt: skip

    def _written(self, best: Purchase, budget: tuple[int, int] | None) -> dict[str, str]:
        query = ["I'm ordering a few things online."]
        for index, item in enumerate(self.items):
            opener = OPENERS[-1] if index == len(self.items) - 1 else OPENERS[index]
            traits = " ".join(_said(condition, 1) for condition in item[:-2])
            query.append(f"{opener} an item {traits}; it must have {' and '.join(_said(c, 1) for c in item[-2:])}.")
        if budget:
            query.append(self.rng.choice(BUDGETS).format(*budget))
        validation: dict[str, Any] = {"query": " ".join(query), "ground_truth_products": best.products}
        if self.level == 3:
            validation["ground_truth_coupons"] = best.coupons
        validation["meta_info"] = []
        for item, product in zip(self.items, best.products, strict=True):
            said = [_said(condition, 0) for condition in self.rng.sample(item, len(item))]
            names = {DELIVERY: "transport_time"}
            features = [{"field": names.get(c[0], c[0]), "value": value_of(product, c[0], self.user)} for c in item]
            sentence = f"Find products where {', '.join(said[:-1])}, and {said[-1]}."
            validation["meta_info"].append({"sub_query": sentence, "features": features})
        cart = {
            "user_id": self.user["user_id"],
            "user_name": self.user["username"],
            "items": [],
            "used_coupons": [],
            "summary": {"total_items_count": 0, "total_price": 0.0},
        }
        return {
            "products.jsonl": "".join(json.dumps(product, ensure_ascii=False) + "\n" for product in self.products),
            "user_info.json": json.dumps(self.user, ensure_ascii=False, indent=4),
            "cart.json": json.dumps(cart, ensure_ascii=False, indent=4),
            "validation_cases.json": json.dumps(validation, ensure_ascii=False, indent=2),
        }


def _said(condition: Condition, where: int) -> str:
    field, symbol, value = condition
    words = {">": "more than ", "<": "less than "}.get(symbol, "")
    return PHRASES[field][where].format(f"{words}{value}")


def _kind(product: Record) -> str:
    return next(kind for garment, kind in GARMENTS.items() if product["name"].endswith(garment))


def _rating(stars: dict[str, int]) -> dict[str, Any]:
    total = sum(stars.values())
    score = sum(int(star[0]) * number for star, number in stars.items()) / total if total else 0.0
    return {"average_score": round(score, 1), "total_reviews": total, "distribution": stars}
