"""The fifteen tools of the DeepPlanning shopping domain, over one task's store, buyer and cart.

The behaviour, errors included, is that of the benchmark's own tools (QwenLM/Qwen-Agent, benchmark/deepplanning)."""

import inspect
import json
import operator as compare
from collections.abc import Callable
from typing import Any, Literal, cast

from programs.deepplanning import coupons, transport
from programs.deepplanning.loader import Case
from programs.deepplanning.store import (
    Cart,
    Details,
    Error,
    Filtered,
    Found,
    Sorted,
    Store,
    TransportTime,
    User,
    copied,
)

RangeKey = Literal[
    "price", "stock_quantity", "sales_volume.monthly", "sales_volume.total", "rating.average_score",
    "rating.total_reviews",
]  # fmt: skip
Operator = Literal[">", ">=", "<", "<=", "=="]
SortKey = Literal[
    "price", "sales_volume.monthly", "sales_volume.total", "rating.average_score", "stock_quantity", "name"
]  # fmt: skip
Order = Literal["asc", "desc"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": compare.gt, ">=": compare.ge, "<": compare.lt, "<=": compare.le, "==": compare.eq
}  # fmt: skip
_NO_SUCH_KEY = "condition_key cannot be found in product data, please check again."


class Shop:
    """One life of a shop: a shared store, the buyer's record and a cart of its own. Tools return fresh objects; what a
    tool refuses it answers with {"error": text}."""

    def __init__(self, store: Store, user: User, cart: Cart) -> None:
        self.store = store
        self.user = user
        self._cart: Cart = copied(cart)

    @classmethod
    def of(cls, case: Case, store: Store | None = None) -> "Shop":
        """A fresh shop for a case; pass the store of an earlier one for the same case to share its index."""
        return cls(Store(case.products) if store is None else store, cast(User, case.user), cast(Cart, case.cart))

    @property
    def cart(self) -> Cart:
        """A copy of the cart."""
        return cast(Cart, copied(self._cart))

    def fork(self) -> "Shop":
        """An independent shop with the same content: only the cart is copied."""
        return type(self)(self.store, self.user, self._cart)

    def search_products(self, query: str, limit: int = 20) -> Found:
        """BM25 word search over brand, color, size, season, demographic and name, best first."""
        return {"product_ids": self.store.search(query)[:limit] if query else []}

    def filter_by_brand(self, brand_names: list[str], product_ids: list[str] | None = None) -> Filtered | Error:
        """Products of any of the brands. Without product_ids, all filters and sorts take the whole store."""
        return self._filter_by_name("brand", brand_names, product_ids)

    def filter_by_color(self, colors: list[str], product_ids: list[str] | None = None) -> Filtered | Error:
        """Products in any of the colors."""
        return self._filter_by_name("color", colors, product_ids)

    def filter_by_size(self, sizes: list[str], product_ids: list[str] | None = None) -> Filtered | Error:
        """Products in any of the sizes ('M', '42')."""
        return self._filter_by_name("size", sizes, product_ids)

    def filter_by_applicable_coupons(
        self, coupon_names: list[str], product_ids: list[str] | None = None
    ) -> Filtered | Error:
        """Products whose applicable_coupons hold all the names."""
        if not all(name in coupons.NAMES for name in coupon_names):
            return {"error": f"Invalid coupon names: {coupon_names}. Valid coupons are: {list(coupons.NAMES)}"}
        if not coupon_names:
            return {"filtered_products_ids": []}
        if error := self._unknown(product_ids):
            return error
        ids, wanted = product_ids or self.store.products, set(coupon_names)
        return {"filtered_products_ids": [one for one in ids if wanted <= self.store.coupons[one]]}

    def filter_by_range(
        self, condition_key: RangeKey, operator: Operator, value: float, product_ids: list[str] | None = None
    ) -> Filtered | Error:
        """Products whose number at condition_key compares so with value."""
        if not all((condition_key, operator, value is not None)):
            return {"error": "Missing required parameters: condition_key, operator, or value."}
        if error := self._unknown(product_ids):
            return error
        # str: any JSON value may come by way of `answer`, and what is no text names no column and no comparison.
        column, holds = self.store.column(str(condition_key)), _COMPARE.get(str(operator))
        kept = []
        for product_id in product_ids or self.store.products:
            found = column.get(product_id)
            if found is None:
                return {"error": _NO_SUCH_KEY}
            try:
                left, right = float(found), float(value)
            except (ValueError, TypeError):
                continue  # the benchmark leaves out what is no number, be it the product's value or the caller's
            if holds and holds(left, right):
                kept.append(product_id)
        return {"filtered_products_ids": kept}

    def sort_products(
        self, sort_by: SortKey, order: Order = "desc", product_ids: list[str] | None = None
    ) -> Sorted | Error:
        """Products sorted by a field."""
        key, direction = sort_by.lower(), order.lower()
        if not key:
            return {"error": "Missing required parameter: sort_by."}
        if direction not in ("asc", "desc"):
            return {"error": f"Invalid value for 'order': '{order}'. Must be 'asc' or 'desc'."}
        ids = [one for one in product_ids or self.store.products if one in self.store.products]
        if not ids:
            return {"sorted_product_ids": []}
        column = self.store.column(key)
        if column[ids[0]] is None:
            return {"error": f"Sort key '{key}' cannot be found in product data or is null. Please check again."}
        last = float("-inf") if direction == "desc" else float("inf")

        def rank(product_id: str) -> Any:
            found = column[product_id]
            return found.lower() if isinstance(found, str) else found if isinstance(found, (int, float)) else last

        try:
            return {"sorted_product_ids": sorted(ids, key=rank, reverse=direction == "desc")}
        except TypeError as error:  # text and numbers under one key
            return {"error": f"An error occurred during sorting on key '{key}': {error}"}

    def get_product_details(self, product_ids: list[str]) -> Details:
        """The full records of the products; unknown ids are left out."""
        products = self.store.products
        return {"products": [copied(products[one]) for one in product_ids or () if one in products]}

    def calculate_transport_time(
        self, product_id: str, destination_address: str, provider: str | None = None
    ) -> TransportTime | Error:
        """Delivery days to a province in pinyin ('guangdong'); the product's own provider counts, not the argument."""
        product = self.store.products.get(product_id)
        if not product:
            return {"error": f"Product with ID '{product_id}' not found."}
        origin, carrier = product["shipping_info"]["origin"], product["shipping_info"]["provider"]
        start, end = transport.province(origin), transport.province(destination_address)
        if not start:
            return {"error": f"Could not determine a valid province from origin address: '{origin}'."}
        if not end:
            return {
                "error": f"Could not determine a valid province from destination address: '{destination_address}'. "
                "Please provide a valid Chinese province name."
            }
        return {
            "product_id": product_id,
            "origin": origin,
            "destination": destination_address,
            "estimated_delivery_days": transport.days(start, end, carrier),
        }

    def get_user_info(self, user_id: str | None = None) -> User | Error:
        """The record of the user."""
        if user_id and user_id not in {self.user.get("user_id")}:
            return cast(Error, {"error": f"User with user_id '{user_id}' not found", "user": None})
        return cast(User, copied(self.user))

    def add_product_to_cart(self, product_id: str, quantity: int = 1) -> Cart | Error:
        """Puts a product in the cart, within its stock. Returns the cart."""
        if error := _refused("product_id", product_id, quantity):
            return error
        number = int(quantity)
        if product_id not in self.store.products:
            return {"error": f"Product not found: product_id '{product_id}'"}
        product = self.store.products[product_id]
        item = next((item for item in self._cart["items"] if item["product_id"] == product_id), None)
        present, stock = item["quantity"] if item else 0, int(product["stock_quantity"])
        if present + number > stock:
            return {
                "error": f"Insufficient stock: Product '{product['name']}' (ID: {product_id}) has {stock} in stock, "
                f"cart already has {present}, cannot add {number} more"
            }
        price = float(product["price"])
        if item:
            item.update({"quantity": present + number, "price": price})
        else:
            name = product["name"]
            self._cart["items"].append({"product_id": product_id, "name": name, "quantity": number, "price": price})
        return self._summed(self._plain_total())

    def delete_product_from_cart(self, product_id: str, quantity: int = 1) -> Cart | Error:
        """Takes a product out of the cart, wholly if quantity is what it has or more. Returns the cart."""
        if error := _refused("product_id", product_id, quantity):
            return error
        number = int(quantity)
        if product_id not in self.store.products:
            return {"error": f"Product not found: product_id '{product_id}'"}
        item = next((item for item in self._cart["items"] if item["product_id"] == product_id), None)
        if item is None:
            return {"error": f"Product not in cart: product_id '{product_id}'"}
        item["quantity"] -= number
        self._cart["items"] = [item for item in self._cart["items"] if item["quantity"] > 0]
        return self._summed(self._plain_total())

    def get_cart_info(self) -> Cart:
        """The cart: its items, the coupons in use and the total price."""
        return self.cart

    def add_coupon_to_cart(self, coupon_name: str, quantity: int = 1) -> Cart | Error:
        """Uses a coupon that the user owns; the cart's plain total must reach the thresholds of all in use together."""
        if error := _refused("coupon_name", coupon_name, quantity):
            return error
        number, used = int(quantity), self._used()
        owned, is_vip = self.user.get("coupons", {}), self.user.get("is_vip", False)
        if refusal := coupons.refusal(coupon_name, number, used, owned, is_vip, float(self._plain_total())):
            return {"error": refusal}
        return self._use({**used, coupon_name: used.get(coupon_name, 0) + number})

    def delete_coupon_from_cart(self, coupon_name: str, quantity: int = 1) -> Cart | Error:
        """Stops using a coupon, or quantity of it. Returns the cart."""
        if error := _refused("coupon_name", coupon_name, quantity):
            return error
        if coupon_name not in coupons.NAMES:
            return {"error": f"Invalid coupon name: '{coupon_name}'. Valid coupons are: {', '.join(coupons.NAMES)}"}
        number, used = int(quantity), self._used()
        if coupon_name not in used:
            return {"error": f"Coupon not in cart: '{coupon_name}'"}
        if used[coupon_name] < number:
            return {
                "error": f"Insufficient coupon quantity in cart: Cart has {used[coupon_name]} of '{coupon_name}', "
                f"cannot remove {number}"
            }
        used[coupon_name] -= number
        return self._use({name: left for name, left in used.items() if left > 0})

    def answer(self, tool: str, arguments: str | dict[str, Any]) -> str:
        """The benchmark's own text protocol: a tool's name and its JSON arguments in, JSON text out; never raises.

        A refusal is {"error": text}. What the benchmark's tools would raise, its agent writes on one line, so does
        this."""
        if tool not in _PARAMETERS:
            return _one_line(f"tool '{tool}' not found")
        try:
            given = _parsed(_PARAMETERS[tool], arguments)
            result = given if "error" in given else getattr(self, tool)(**given)
        except Exception as error:  # the protocol: whatever a tool raises is its answer
            return _one_line(str(error))
        if result.get("error") == _NO_SUCH_KEY:
            return _one_line(_NO_SUCH_KEY)
        return json.dumps(result, ensure_ascii=False, indent=2)

    def _unknown(self, product_ids: list[str] | None) -> Error | None:
        unknown = [one for one in product_ids or () if one not in self.store.products]
        return {"error": f"Some product_ids not found in database: {unknown}"} if unknown else None

    def _filter_by_name(
        self, key: Literal["brand", "color", "size"], names: list[str], product_ids: list[str] | None
    ) -> Filtered | Error:
        if error := self._unknown(product_ids):
            return error
        wanted, lowered = {name.lower() for name in names}, self.store.lowered[key]
        return {"filtered_products_ids": [one for one in product_ids or self.store.products if lowered[one] in wanted]}

    def _used(self) -> dict[str, int]:
        return {coupon["coupon_name"]: coupon["quantity"] for coupon in self._cart["used_coupons"]}

    def _plain_total(self) -> float:
        return round(sum(item["price"] * item["quantity"] for item in self._cart["items"]), 2)

    def _use(self, used: dict[str, int]) -> Cart:
        self._cart["used_coupons"] = [{"coupon_name": name, "quantity": number} for name, number in used.items()]
        return self._summed(round(max(0.0, self._plain_total() - coupons.discount(used.items())), 2))

    def _summed(self, total_price: float) -> Cart:
        count = sum(item["quantity"] for item in self._cart["items"])
        self._cart["summary"].update({"total_items_count": count, "total_price": total_price})
        return self.cart


TOOLS = (
    "search_products", "filter_by_brand", "filter_by_color", "filter_by_size", "filter_by_applicable_coupons",
    "filter_by_range", "sort_products", "get_product_details", "calculate_transport_time", "get_user_info",
    "add_product_to_cart", "delete_product_from_cart", "get_cart_info", "add_coupon_to_cart", "delete_coupon_from_cart",
)  # fmt: skip
_REQUIRED = inspect.Parameter.empty
_PARAMETERS: dict[str, dict[str, Any]] = {
    tool: {
        name: parameter.default for name, parameter in inspect.signature(getattr(Shop, tool)).parameters.items()
        if name != "self"
    }
    for tool in TOOLS
}  # fmt: skip


def _refused(name: str, value: str, quantity: float) -> Error | None:
    if not value:
        return {"error": f"{name} is required"}
    if not isinstance(quantity, (int, float)) or quantity <= 0:
        return {"error": "quantity must be a positive number"}
    return None


def _parsed(parameters: dict[str, Any], arguments: Any) -> dict[str, Any]:
    """The arguments that a tool takes, defaults filled in and extras dropped, or an {"error": text}."""
    if not parameters and not arguments:
        return {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            return {"error": f"Parameters must be a valid JSON string! Error: {error}"}
    for name, default in parameters.items():
        if default is _REQUIRED and name not in arguments:
            return {"error": f"Missing required argument: {name}"}
    return {name: arguments.get(name, default) for name, default in parameters.items()}


def _one_line(error: str) -> str:
    return json.dumps({"error": error}, ensure_ascii=False)
