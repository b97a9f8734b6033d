"""The solver behind the checks: which products to buy, and with which coupons, so that the least is paid."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from programs.deepplanning.conditions import Condition, Record, matching
from programs.deepplanning.coupons import COUPONS, discount, required_total

_NEVER = -(1 << 60)


@dataclass(frozen=True)
class Purchase:
    """One product for each item, the coupons to use (name to number), and the price in yuan after them."""

    products: tuple[Record, ...]
    coupons: dict[str, int]
    price: float


def assign(products: Sequence[Record], wheres: Sequence[Iterable[Condition]], user: Record) -> list[int | None]:
    """For each item's conditions the index of a product that meets them, no product twice, as many items as can be
    served together; None for an item left without. Raises ValueError for a malformed condition."""
    fits: list[list[int]] = []
    for where in wheres:
        fitting = {id(product) for product in matching(products, where, user)}
        fits.append([index for index, product in enumerate(products) if id(product) in fitting])
    holder: dict[int, int] = {}

    def place(item: int, tried: set[int]) -> bool:
        for index in fits[item]:
            if index not in tried:
                tried.add(index)
                if index not in holder or place(holder[index], tried):
                    holder[index] = item
                    return True
        return False

    for item in range(len(fits)):
        place(item, set())
    served = {item: index for index, item in holder.items()}
    return [served.get(item) for item in range(len(fits))]


def cheapest(candidates: Sequence[Sequence[Record]], low: float = 0.0, high: float = math.inf) -> list[Record] | None:
    """One distinct product for each item, in the items' order, with the least total price in [low, high] yuan; None
    where there is no such selection. Exact; among equals the first in the candidates' order of price is taken."""
    return _Search(candidates).run(low, high)


def best_coupons(
    products: Iterable[tuple[float, str]], owned: Mapping[str, int], is_vip: bool
) -> tuple[dict[str, int], float]:
    """The coupons (name to number) that take most off products given as (price, brand), and that discount, in yuan.

    Kinds stack freely, but the plain total must reach the sum of all thresholds (the shop's rule), and same-brand
    thresholds must in addition fit into the subtotals of single brands (the benchmark's instructions to its agents);
    VIP coupons need a VIP. Among equal discounts the one with the fewest coupons is taken."""
    prices = list(products)
    total = round(sum(price for price, _ in prices), 2)
    subtotals: dict[str, float] = {}
    for price, brand in prices:
        subtotals[brand] = round(subtotals.get(brand, 0.0) + price, 2)
    best: dict[str, int] = {}
    for used in _combinations(owned, is_vip, total):
        if _rank(used) > _rank(best) and _floors(_brand_thresholds(used), subtotals):
            best = used
    return best, discount(best.items())


def cheapest_with_coupons(
    candidates: Sequence[Sequence[Record]], owned: Mapping[str, int], is_vip: bool
) -> Purchase | None:
    """The selection with the least price after its best coupons (see `best_coupons`); None where no selection gives
    each item a product of its own. Exact: a dearer product is taken where it pays by reaching a coupon."""
    search = _Search(candidates)
    start = search.run(0.0, math.inf)
    if start is None:
        return None
    best = _purchase(start, owned, is_vip)
    for used in sorted(_combinations(owned, is_vip, search.most), key=_rank, reverse=True):
        saved, required = discount(used.items()), required_total(used.items())
        # What this combination could still improve on: a total below the best price so far plus its discount.
        dearest = round(best.price + saved - 0.01, 2)
        if max(required, search.least) > dearest + 0.001:  # beyond what sums of floats are off by
            continue
        for floors in _floors(_brand_thresholds(used), search.brand_most):
            found = search.run(required, dearest, floors)
            if found is not None:
                best = min(best, _purchase(found, owned, is_vip), key=lambda purchase: purchase.price)
    return best


def _purchase(products: Sequence[Record], owned: Mapping[str, int], is_vip: bool) -> Purchase:
    used, saved = best_coupons([(product["price"], product["brand"]) for product in products], owned, is_vip)
    return Purchase(tuple(products), used, round(sum(product["price"] for product in products) - saved, 2))


def _rank(used: Mapping[str, int]) -> tuple[float, int]:
    return discount(used.items()), -sum(used.values())


def _combinations(owned: Mapping[str, int], is_vip: bool, total: float) -> Iterator[dict[str, int]]:
    """Every combination whose thresholds add up to at most the total; coupons that the shop does not know, or that
    only VIPs may use, are as good as not owned."""
    usable = [name for name in COUPONS if owned.get(name, 0) > 0 and (is_vip or COUPONS[name].kind != "VIP")]

    def extend(position: int, used: dict[str, int], left: float) -> Iterator[dict[str, int]]:
        if position == len(usable):
            yield used
            return
        name = usable[position]
        for number in range(min(owned[name], int(left // COUPONS[name].threshold)) + 1):
            more = {**used, name: number} if number else used
            yield from extend(position + 1, more, left - number * COUPONS[name].threshold)

    return extend(0, {}, total)


def _brand_thresholds(used: Mapping[str, int]) -> list[float]:
    same_brand = ((COUPONS[name].threshold, number) for name, number in used.items() if name.startswith("Same-brand"))
    return sorted((threshold for threshold, number in same_brand for _ in range(number)), reverse=True)


def _floors(thresholds: Sequence[float], capacity: Mapping[str, float]) -> list[dict[str, float]]:
    """Every way to share thresholds out among brands within their capacity (yuan by brand), as the subtotal that each
    brand must then reach."""
    ways: list[dict[str, float]] = [{}]
    for threshold in thresholds:
        grown = [{**way, brand: way.get(brand, 0.0) + threshold} for way in ways for brand in capacity]
        fitting = [way for way in grown if all(floor <= capacity[brand] for brand, floor in way.items())]
        ways = list({tuple(sorted(way.items())): way for way in fitting}.values())
    return ways


def _spread(item: Sequence[Record]) -> float:
    prices = [product["price"] for product in item]
    return float(max(prices) - min(prices)) if prices else 0.0


class _Search:
    """Branch and bound over one candidate for each item. Prices are counted in the largest unit that divides them all,
    above the item's cheapest. The bound is exact but for distinctness: a big integer for each suffix of the items has
    bit n set where these items can together cost n units above their cheapest."""

    def __init__(self, candidates: Sequence[Sequence[Record]]) -> None:
        appearances = Counter(key for item in candidates for key in {product["product_id"] for product in item})
        self._contested = frozenset(key for key, times in appearances.items() if times > 1)
        self._unit = math.gcd(*(round(product["price"] * 100) for item in candidates for product in item)) or 1
        # Items that compete for products come first: a clash shows before the rest has been gone through. Then the
        # widest prices, which makes for the shortest integers.
        self._order = sorted(
            range(len(candidates)),
            key=lambda index: (
                not any(product["product_id"] in self._contested for product in candidates[index]),
                -_spread(candidates[index]),
            ),
        )
        self._items = [self._options(candidates[index]) for index in self._order]
        self._least = [0]
        self._most = 0
        for options in reversed(self._items):
            self._least.insert(0, self._least[0] + (options[0][0] if options else 0))
            self._most += options[-1][0] if options else 0
        self._cap = -1
        self._reach: list[int] = []
        self._brand_sums: dict[str, list[Any]] = {}
        self.least, self.most = (units * self._unit / 100 for units in (self._least[0], self._most))
        self.brand_most: dict[str, float] = {}
        for item in candidates:
            dearest: dict[str, float] = {}
            for product in item:
                dearest[product["brand"]] = max(product["price"], dearest.get(product["brand"], 0.0))
            for brand, price in dearest.items():
                self.brand_most[brand] = round(self.brand_most.get(brand, 0.0) + price, 2)

    def run(self, low: float, high: float, floors: Mapping[str, float] | None = None) -> list[Record] | None:
        """The least total in [low, high] yuan that also reaches each brand's floor in yuan, as one product for each
        item; None where there is none."""
        bottom = self._ceil(low)
        best = 1 + min(self._most, math.floor(round(high * 100, 6) / self._unit) if high < math.inf else self._most)
        if not all(self._items) or bottom >= best or self._least[0] >= best:
            return None
        items = self._items
        if bottom > self._least[0] or floors:
            self._prepare(best - self._least[0], floors or {})
        else:
            # With no floor under the total, an item never needs more than its n cheapest of n items' candidates: one
            # of them the other items have left.
            items = [options[: len(items)] for options in items]
        needs = {brand: self._ceil(floor) for brand, floor in (floors or {}).items()}
        chosen: list[Record] = []
        answer: list[Record] | None = None
        seen: set[tuple[Any, ...]] = set()

        def descend(bound: float, paid: int, lacking: dict[str, int], used: frozenset[str]) -> None:
            """Goes through all that can follow the products chosen, which costs at least `bound` in all."""
            nonlocal best, answer
            depth = len(chosen)
            if depth == len(items):
                best, answer = paid, list(chosen)
                return
            state = (depth, paid, used, tuple(lacking.items()))
            if state in seen:
                return
            seen.add(state)
            later: list[tuple[float, int, dict[str, int], Record]] = []
            for price, product in items[depth]:
                if paid + price + self._least[depth + 1] >= best or bound >= best:
                    break
                if product["product_id"] not in used:
                    brand = product["brand"]
                    left = {**lacking, brand: max(0, lacking[brand] - price)} if brand in lacking else lacking
                    below = self._bound(depth + 1, paid + price, bottom, left)
                    if below == bound:  # nothing can be better: see to it before the others
                        take(below, paid + price, left, used, product)
                    elif below < best:
                        later.append((below, paid + price, left, product))
            for below, total, left, product in sorted(later, key=lambda branch: branch[:2]):
                if below < best:
                    take(below, total, left, used, product)

        def take(bound: float, paid: int, lacking: dict[str, int], used: frozenset[str], product: Record) -> None:
            chosen.append(product)
            descend(bound, paid, lacking, used | ({product["product_id"]} & self._contested))
            chosen.pop()

        descend(self._least[0], 0, needs, frozenset())
        return None if answer is None else [answer[self._order.index(index)] for index in range(len(answer))]

    def _options(self, item: Sequence[Record]) -> list[tuple[int, Record]]:
        """An item's candidates by price in units; of those that nothing tells apart, the first."""
        options: dict[tuple[Any, ...], tuple[int, Record]] = {}
        for product in item:
            price = round(product["price"] * 100) // self._unit
            contested = product["product_id"] if product["product_id"] in self._contested else None
            options.setdefault((price, product["brand"], contested), (price, product))
        return sorted(options.values(), key=lambda option: option[0])

    def _ceil(self, yuan: float) -> int:
        return math.ceil(round(yuan * 100, 6) / self._unit)

    def _prepare(self, cap: int, floors: Mapping[str, float]) -> None:
        """Makes the tables of what each suffix of the items can cost above its cheapest, below `cap` units."""
        if cap > self._cap:
            self._cap, self._reach, self._brand_sums = cap, [1], {}
            mask = (1 << cap) - 1
            for options in reversed(self._items[1:]):
                rises = {price - options[0][0] for price, _ in options}
                self._reach.insert(0, reduce(operator.or_, (self._reach[0] << rise & mask for rise in rises)))
            self._reach.insert(0, 0)  # never asked for
        for brand in floors.keys() - self._brand_sums.keys():
            self._brand_sums[brand] = self._most_of(brand)

    def _most_of(self, brand: str) -> list[Any]:
        """For each suffix of the items an array: at each cost above the cheapest the most units that can be spent on
        one brand, hugely negative where that cost cannot be met."""
        tables = [np.full(self._cap, _NEVER, dtype=np.int64)]
        tables[0][0] = 0
        for options in reversed(self._items):
            table = np.full(self._cap, _NEVER, dtype=np.int64)
            for price, product in options:
                rise = price - options[0][0]
                if rise < self._cap:
                    gained = tables[0][: self._cap - rise] + (price if product["brand"] == brand else 0)
                    np.maximum(table[rise:], gained, out=table[rise:])
            tables.insert(0, table)
        return tables

    def _bound(self, depth: int, paid: int, bottom: int, lacking: Mapping[str, int]) -> float:
        """The least total, distinctness apart, from `paid` units and the items still open; infinite where none."""
        base = paid + self._least[depth]
        rise = max(0, bottom - base)
        if not rise and not lacking:
            return base
        open_costs = self._reach[depth] >> rise
        if not open_costs:
            return math.inf
        rise += (open_costs & -open_costs).bit_length() - 1
        for brand, lack in lacking.items():
            enough = self._brand_sums[brand][depth][rise:] >= lack
            first = int(enough.argmax()) if enough.size else 0
            if not enough.size or not enough[first]:
                return math.inf
            rise += first
        return base + rise
