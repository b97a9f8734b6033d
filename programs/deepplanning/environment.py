"""The DeepPlanning shopping domain as a `pivot_dspy.Environment`: the fifteen tools, and checks for what is asked."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import dspy

from pivot_dspy import CheckResult, Environment, Execution, check, tool
from programs.deepplanning import conditions, selection
from programs.deepplanning.conditions import Condition, Record
from programs.deepplanning.loader import Case
from programs.deepplanning.shape import shape
from programs.deepplanning.shop import Shop
from programs.deepplanning.store import Cart, Details, Filtered, Found, Sorted, Store, TransportTime, User
from programs.options import DataError

PROFILE = """\
The buyer's profile binds, also where the request does not say so: every product has the buyer's own gender as its \
target_demographic (Men or Women; never Unisex) and one of the buyer's standard sizes as its size."""

PURCHASE = """\
Put one product in the cart for each thing asked for, quantity 1, and nothing else; where several fit, the choice that \
costs least in all, within the budget where one is given. Where the buyer owns coupons, use them so that least is paid.
Same-day delivery means at most 1 day."""

POLICY = f"{PROFILE}\n{PURCHASE}"

VOCABULARY = """\
where: a list of [field, op, value], all of which one product meets. field: a field of Product by its path, such as \
"rating.distribution.4_star", or "delivery_days" (to the buyer's province); op: == != > >= < <= contains in. \
Example: {"check": "item", "args": {"where": [["brand", "==", "Nike"], ["name", "contains", "Cap"], ["price", "<", \
300], ["delivery_days", "<=", 2]]}}"""

NAMED = 8
"""Candidates that a hint names for each item, cheapest first."""


class Shopping(dspy.Signature):  # type: ignore[misc]
    """Fill the shopping cart as the request asks."""

    request: str = dspy.InputField()
    cart: Cart = dspy.OutputField(desc="the final cart, bound to a step that returns it")


class ShoppingEnvironment(Shop, Environment):
    """One life of the shop of one task. Forks share the store and copy the cart."""

    vocabulary = VOCABULARY
    orientation = ("get_user_info",)
    shared = ("store", "_shops")

    search_products = tool(effect="read", returns=Found)(Shop.search_products)
    filter_by_brand = tool(effect="read", returns=Filtered)(Shop.filter_by_brand)
    filter_by_color = tool(effect="read", returns=Filtered)(Shop.filter_by_color)
    filter_by_size = tool(effect="read", returns=Filtered)(Shop.filter_by_size)
    filter_by_applicable_coupons = tool(effect="read", returns=Filtered)(Shop.filter_by_applicable_coupons)
    filter_by_range = tool(effect="read", returns=Filtered)(Shop.filter_by_range)
    sort_products = tool(effect="read", returns=Sorted)(Shop.sort_products)
    calculate_transport_time = tool(effect="read", returns=TransportTime)(Shop.calculate_transport_time)
    get_user_info = tool(effect="read", returns=User)(Shop.get_user_info)
    add_product_to_cart = tool(effect="write", returns=Cart)(Shop.add_product_to_cart)
    delete_product_from_cart = tool(effect="write", returns=Cart)(Shop.delete_product_from_cart)
    get_cart_info = tool(effect="read", returns=Cart)(Shop.get_cart_info)
    add_coupon_to_cart = tool(effect="write", returns=Cart)(Shop.add_coupon_to_cart)
    delete_coupon_from_cart = tool(effect="write", returns=Cart)(Shop.delete_coupon_from_cart)

    def __init__(
        self, store: Store, user: User, cart: Cart, *, policy: str = POLICY, seen: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(store, user, cart)
        self.policy = policy
        self._seen = seen
        self._items: list[tuple[str, list[Condition]]] = []
        self._every: list[Condition] = []
        self._serving: dict[str, Record] = {}

    @tool(effect="read", returns=Details)
    def get_product_details(self, product_ids: list[str]) -> Details:
        """The full records of the products; unknown ids are left out."""
        found = super().get_product_details(product_ids)
        self._seen = self._seen.union(product["product_id"] for product in found["products"])
        return found

    def fork(self) -> "ShoppingEnvironment":
        return ShoppingEnvironment(self.store, self.user, self._cart, policy=self.policy, seen=self._seen)

    # -- checks

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        self._items = [(name, args["where"]) for name, kind, args in checks if kind == "item"]
        self._every = [condition for _, kind, args in checks if kind == "every" for condition in args["where"]]
        places = selection.assign(self._bought(), [where for _, where in self._items], self.user)
        bought = self._bought()
        self._serving = {
            name: bought[place] for (name, _), place in zip(self._items, places, strict=True) if place is not None
        }

    @check
    def item(self, where: list[list[Any]]) -> CheckResult:
        """One product in the cart meets all of `where`; different items need different products."""
        names = [name for name, wanted in self._items if wanted == where]  # two may be asked for in the same words
        if names and all(name in self._serving for name in names):
            return CheckResult(True, "; ".join(_short(self._serving[name]) for name in names))
        conditions.failing({}, where, self.user)  # a malformed condition is said before anything else
        fitting = self._fetched(where)
        rest = [product for product in self._bought() if product not in self._serving.values()]
        near = min(rest, key=lambda product: len(conditions.failing(product, where, self.user)), default=None)
        evidence, wrong = "no product in the cart meets it", []
        if near is not None:
            wrong = conditions.failing(near, where, self.user)
            evidence += f"; {_short(near)} " + (f"fails {_said(wrong)}" if wrong else "serves another item")
        about = (near["product_id"],) if near else ()
        free = [product for product in fitting if product not in self._bought()]
        instead = ((near["product_id"], free[0]["product_id"]),) if near and wrong and free else ()
        return CheckResult(False, evidence, self._candidates(where, fitting), about, instead=instead)

    @check
    def every(self, where: list[list[Any]]) -> CheckResult:
        """All products in the cart meet `where`."""
        wrong = [p for p in self._bought() if not conditions.holds(p, where, self.user)]
        said = "; ".join(f"{_short(p)} fails {_said(conditions.failing(p, where, self.user))}" for p in wrong)
        return CheckResult(not wrong, said or "all do", about=tuple(p["product_id"] for p in wrong))

    @check
    def total(self, min: float, max: float) -> CheckResult:
        """The sum of the prices before coupons lies between min and max."""
        paid = self._plain_total()
        if min <= paid <= max:
            return CheckResult(True, f"{paid}")
        way = f"{round(min - paid, 2)} too little" if paid < min else f"{round(paid - max, 2)} too much"
        best = self._cheapest(self._fetched([]), min, max, coupons=False)
        chosen = {product["product_id"] for product in best.products} if best else set()
        about = tuple(p["product_id"] for p in self._bought() if p["product_id"] not in chosen) if best else ()
        return CheckResult(
            False, f"total {paid}, {way}", self._proposal(best, True), about, instead=self._instead(best)
        )

    @check
    def only(self) -> CheckResult:
        """Nothing is in the cart but one product for each item, quantity 1."""
        serving = [product["product_id"] for product in self._serving.values()]
        extra = [p for p in self._bought() if p["product_id"] not in serving]
        several = [item for item in self._cart["items"] if item["quantity"] != 1]
        said = [f"{_short(product)} serves no item" for product in extra]
        said += [f"{item['product_id']} has quantity {item['quantity']}" for item in several]
        about = tuple(p["product_id"] for p in extra) + tuple(item["product_id"] for item in several)
        return CheckResult(not said, "; ".join(said) or "nothing else", about=about)

    @check
    def optimal(self, total_between: list[float] | None = None, coupons: bool = False) -> CheckResult:
        """The cart meets all items at the least cost possible (with its total in the range; after the best coupons)."""
        low, high = total_between or (0.0, math.inf)
        lacking = [name for name, _ in self._items if name not in self._serving]
        if lacking:  # a cart that lacks something is cheap, but not the cheapest that meets all
            return CheckResult(False, f"not while {', '.join(lacking)} is unmet")
        best = self._cheapest(list(self.store.products.values()), low, high, coupons)
        paid = self._cart["summary"]["total_price"] if coupons else self._plain_total()
        if best is None:
            return CheckResult(False, f"the cart costs {paid}; no selection from the store meets all items")
        if best.price - 0.005 <= paid <= best.price + 0.005:
            return CheckResult(True, f"the cart costs {paid}, the least possible")
        chosen = {product["product_id"] for product in best.products}
        about = tuple(p["product_id"] for p in self._bought() if p["product_id"] not in chosen)
        evidence = f"the cart costs {paid}, the least possible is {best.price}"
        fetched = self._cheapest(self._fetched([]), low, high, coupons)
        if fetched is not None:
            about += self._coupons_at_odds(fetched.coupons)
        hint = self._proposal(fetched, high < math.inf)
        return CheckResult(False, evidence, hint, about, instead=self._instead(fetched))

    @check
    def coupons_optimal(self) -> CheckResult:
        """No allowed combination of the buyer's coupons takes more off this cart."""
        used = {coupon["coupon_name"]: coupon["quantity"] for coupon in self._cart["used_coupons"]}
        saved = round(self._plain_total() - self._cart["summary"]["total_price"], 2) if used else 0.0
        prices = [(p["price"], p["brand"]) for p in self._bought()]
        best, most = selection.best_coupons(prices, self.user["coupons"], self.user["is_vip"])
        if saved >= most - 0.005:
            return CheckResult(True, f"coupons take {saved} off, the most possible")
        about = self._coupons_at_odds(best)
        hint = f"coupons: {json.dumps(best, ensure_ascii=False)}"
        return CheckResult(False, f"coupons take {saved} off, {most} is possible", hint, about)

    # -- words for reports

    def error_of(self, tool: str, value: Any) -> str | None:
        error = value.get("error") if isinstance(value, dict) else None
        return str(error) if error is not None else None

    def describe(self) -> str:
        lines = [_short(product) for product in self._bought()]
        used = ", ".join(f"{c['coupon_name']} ×{c['quantity']}" for c in self._cart["used_coupons"])
        price = self._cart["summary"]["total_price"]
        return f"Cart: {'; '.join(lines) or 'empty'}. Coupons: {used or 'none'}. Price {price}."

    def summarise(self, tool: str, value: Any) -> str | None:
        if tool == "get_user_info":
            address, body = value["shipping_addresses"], value["body_profile"]
            told = {
                "is_vip": value["is_vip"],
                "demographics": {"gender": value["demographics"]["gender"]},
                "body_profile": {"standard_sizes": body["standard_sizes"]},
                "coupons": value["coupons"],
                "shipping_addresses": {"province": address["province"]},
            }
            return json.dumps(told, ensure_ascii=False)
        if isinstance(value, dict) and "summary" in value:
            return f"{len(value['items'])} items, total_price {value['summary']['total_price']}"
        return shape(value)

    # -- what the checks look up

    def _bought(self) -> list[Record]:
        return [self.store.products[item["product_id"]] for item in self._cart["items"]]

    def _fetched(self, where: Sequence[Condition]) -> list[Record]:
        """Fetched products that meet `where` and what holds for every product, cheapest first."""
        seen = [product for product in self.store.products.values() if product["product_id"] in self._seen]
        return sorted(
            conditions.matching(cast(list[Record], seen), [*where, *self._every], self.user),
            key=lambda product: product["price"],
        )

    def _candidates(self, where: list[list[Any]], fitting: list[Record]) -> str:
        if fitting:
            named = ", ".join(_short(product) for product in fitting[:NAMED])
            more = f" … {len(fitting)} in all" if len(fitting) > NAMED else ""
            return f"fetched products that meet it: {named}{more}"
        if not self._seen:
            return "no product was fetched"
        for left_out in where:  # which condition, when dropped, would have matched
            others = [condition for condition in where if condition != left_out]
            if others and (near := self._fetched(others)):
                named = ", ".join(_short(product) for product in near[:3])
                return f"no fetched product meets it; without {_said([left_out])}: {named}"
        return f"none of the {len(self._seen)} fetched products meets it"

    def _cheapest(self, products: list[Any], low: float, high: float, coupons: bool) -> selection.Purchase | None:
        fitting = [conditions.matching(products, [*where, *self._every], self.user) for _, where in self._items]
        if coupons:
            return selection.cheapest_with_coupons(fitting, self.user["coupons"], self.user["is_vip"])
        chosen = selection.cheapest(fitting, low, high)
        if chosen is None:
            return None
        return selection.Purchase(tuple(chosen), {}, round(sum(product["price"] for product in chosen), 2))

    def _coupons_at_odds(self, coupons: Mapping[str, int]) -> tuple[str, ...]:
        """Coupons in the cart that are not to be used, and those that are, from the first on that is not in it."""
        used = [coupon["coupon_name"] for coupon in self._cart["used_coupons"]]
        return (*(name for name in used if name not in coupons), *itertools.dropwhile(used.__contains__, coupons))

    def _instead(self, best: selection.Purchase | None) -> tuple[tuple[str, str], ...]:
        """What each step that bought for an item should rather have bought, where all items are served."""
        if best is None or len(self._serving) < len(self._items):
            return ()
        pairs = zip(self._items, best.products, strict=True)
        changes = ((self._serving[name]["product_id"], product["product_id"]) for (name, _), product in pairs)
        return tuple((before, after) for before, after in changes if before != after)

    def _proposal(self, best: selection.Purchase | None, ranged: bool) -> str:
        """A selection among what the steps have fetched, in words: nothing that no step has seen is named."""
        if best is None:
            return "no selection of the fetched products meets all items" + (" in the range" if ranged else "")
        named = ", ".join(
            f"{name} {product['product_id']} {product['price']}"
            for (name, _), product in zip(self._items, best.products, strict=True)
        )
        used = f"; coupons: {json.dumps(best.coupons, ensure_ascii=False)}" if best.coupons else ""
        return f"the cheapest selection of the fetched products: {named}{used}; price {best.price}"


def final_cart(execution: Execution) -> dict[str, Any]:
    """The cart as the last step that answered with one left it; an empty one where none did."""
    for step, seen in zip(reversed(execution.trajectory.steps), reversed(execution.observations), strict=True):
        value = seen.value
        if step.for_each and isinstance(value, list) and value:  # a repeated step: what its last call returned
            value = value[-1]["result"]
        if seen.ok and isinstance(value, dict) and "used_coupons" in value:
            return value
    return {"items": [], "used_coupons": []}


class Market:
    """The shops of many cases, opened by the request that a task makes; each store is indexed once.

    Args:
        policy: what the shops say of any cart; `PURCHASE` leaves the buyer's profile unsaid.
    """

    def __init__(self, cases: Iterable[Case], *, policy: str = POLICY) -> None:
        self._policy = policy
        self._shops = {case.query: (Store(case.products), case) for case in cases}

    def open(self, task: dspy.Example) -> ShoppingEnvironment:
        """A fresh shop for `task.request`. Raises DataError where no case makes this request."""
        try:
            store, case = self._shops[task.request]
        except KeyError:
            raise DataError(f"no case makes the request {task.request[:80]!r}; load its data first") from None
        return ShoppingEnvironment(store, cast(User, case.user), cast(Cart, case.cart), policy=self._policy)


def _short(product: Record) -> str:
    kind = ", ".join(str(product[key]) for key in ("brand", "color", "size"))
    return f"{product['product_id']} {product['name']} [{kind}] {product['price']}"


def _said(wheres: Sequence[Condition]) -> str:
    return json.dumps([list(condition) for condition in wheres], ensure_ascii=False)
