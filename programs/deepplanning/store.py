"""The domain's records, what its tools return, and the products of one task, indexed once and shared by all forks."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from rank_bm25 import BM25Okapi  # type: ignore[import-untyped]
from typing_extensions import NotRequired, TypedDict


class Material(TypedDict):
    material: str
    percentage: int


class SalesVolume(TypedDict):
    monthly: int
    total: int


Distribution = TypedDict(
    "Distribution", {"5_star": int, "4_star": int, "3_star": int, "2_star": int, "1_star": int}
)  # fmt: skip


class Rating(TypedDict):
    average_score: float
    total_reviews: int
    distribution: Distribution


class ShippingInfo(TypedDict):
    origin: str
    provider: str


class Product(TypedDict):
    product_id: str
    name: str
    price: float
    brand: str
    color: str
    size: str
    stock_quantity: int
    suitable_season: Literal["Spring/Autumn", "Summer", "Winter", "All Seasons"]
    target_demographic: Literal["Men", "Women", "Unisex", "Youth", "Kids"]
    material_composition: list[Material]
    thickness: str
    elasticity: str
    version_type: str
    collar_type: str
    details_craftsmanship: str
    washing_instructions: str
    review_summary: list[str]
    applicable_coupons: NotRequired[list[str]]
    sales_volume: SalesVolume
    rating: Rating
    shipping_info: ShippingInfo


class Demographics(TypedDict):
    gender: Literal["Male", "Female"]
    age: int
    birthday: str


class StandardSizes(TypedDict):
    tops: str
    bottoms: str
    shoes: str


class BodyProfile(TypedDict):
    height_cm: float
    weight_kg: float
    preference_fit: str
    standard_sizes: StandardSizes


class ShippingAddresses(TypedDict):
    phone: str
    province: str
    city: str
    detail_address: str


class User(TypedDict):
    user_id: str
    username: str
    phone_number: str
    is_vip: bool
    demographics: Demographics
    body_profile: BodyProfile
    coupons: dict[str, int]
    shipping_addresses: ShippingAddresses


class Item(TypedDict):
    product_id: str
    name: str
    quantity: int
    price: float


class UsedCoupon(TypedDict):
    coupon_name: str
    quantity: int


class Summary(TypedDict):
    total_items_count: int
    total_price: float


class Cart(TypedDict):
    user_id: str
    user_name: str
    items: list[Item]
    used_coupons: list[UsedCoupon]
    summary: Summary


class Error(TypedDict):
    error: str


class Found(TypedDict):
    product_ids: list[str]


class Filtered(TypedDict):
    filtered_products_ids: list[str]


class Sorted(TypedDict):
    sorted_product_ids: list[str]


class Details(TypedDict):
    products: list[Product]


class TransportTime(TypedDict):
    product_id: str
    origin: str
    destination: str
    estimated_delivery_days: int


SEARCHED = (
    "brand", "color", "size", "thickness", "elasticity", "version_type", "collar_type", "suitable_season",
    "target_demographic", "name",
)  # fmt: skip
SCORE_FLOOR = 2  # a product must score above it to be found at all
_ATOMS = (str, int, float, bool, type(None))


def copied(value: Any) -> Any:
    """A deep copy of a JSON value, several times as fast as copy.deepcopy."""
    if type(value) is dict:
        return {key: item if type(item) in _ATOMS else copied(item) for key, item in value.items()}
    if type(value) is list:
        return [item if type(item) in _ATOMS else copied(item) for item in value]
    return value


class Store:
    """The products of one task, by id and in file order; of a repeated id the last counts. Nothing here changes:
    columns, index and word scores are made when first asked for and kept, so one store serves any number of shops."""

    def __init__(self, products: Iterable[Mapping[str, Any]]) -> None:
        self.products: dict[str, Product] = {product["product_id"]: cast(Product, product) for product in products}
        self._columns: dict[str, dict[str, Any]] = {}
        self._scores: dict[str, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Store":
        return self

    def __len__(self) -> int:
        return len(self.products)

    def column(self, key: str) -> dict[str, Any]:
        """Each product's value at a dotted key, None where it has none."""
        if key not in self._columns:
            self._columns[key] = {product_id: _at(item, key) for product_id, item in self.products.items()}
        return self._columns[key]

    @cached_property
    def lowered(self) -> dict[str, dict[str, str]]:
        """The lower-cased brand, color and size of each product."""
        return {
            key: {product_id: (value or "").lower() for product_id, value in self.column(key).items()}
            for key in ("brand", "color", "size")
        }

    @cached_property
    def coupons(self) -> dict[str, frozenset[str]]:
        """Each product's applicable coupons."""
        column = self.column("applicable_coupons")
        return {product_id: frozenset(names or ()) for product_id, names in column.items()}

    @cached_property
    def _index(self) -> Any:
        texts = (" ".join(item.get(key) or "" for key in SEARCHED) for item in cast(Any, self.products.values()))
        return BM25Okapi([text.lower().split() for text in texts])

    def search(self, query: str) -> list[str]:
        """Ids of the products whose BM25 score for the query's words is above the floor, best first."""
        if not self.products:
            return []
        scores = np.zeros(len(self.products))
        for word in query.lower().split():
            if word in self._index.idf:
                if word not in self._scores:
                    self._scores[word] = self._index.get_scores([word])
                # One word after the other, as BM25Okapi adds them, so that the sums are equal to the last bit.
                scores += self._scores[word]
        ids = list(self.products)
        found = np.flatnonzero(scores > SCORE_FLOOR)
        return [ids[place] for place in found[np.argsort(-scores[found], kind="stable")]]


def _at(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
