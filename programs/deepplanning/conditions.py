"""Conditions on one product, `[field, operator, value]`: the small language in which requirements speak."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from programs.deepplanning import transport

Condition = Sequence[Any]  # [field, operator, value]
Record = Mapping[str, Any]  # a product or a user, as loaded from JSON

DELIVERY = "delivery_days"
NUMBERS: tuple[str, ...] = (
    "price", "stock_quantity", "sales_volume.monthly", "sales_volume.total", "rating.average_score",
    "rating.total_reviews", *(f"rating.distribution.{stars}_star" for stars in range(5, 0, -1)), DELIVERY,
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "product_id", "name", "brand", "color", "size", "suitable_season", "target_demographic", "thickness",
    "elasticity", "version_type", "collar_type", "details_craftsmanship", "washing_instructions",
    "shipping_info.origin", "shipping_info.provider",
)  # fmt: skip
LISTS: tuple[str, ...] = ("applicable_coupons", "review_summary")

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_OPERATORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(NUMBERS, (*_ORDER, "in")),
    **dict.fromkeys(TEXTS, ("==", "!=", "contains", "in")),
    **dict.fromkeys(LISTS, ("contains",)),
}
FORMS = (
    f"[number field, == != > >= < <=, number] or [number field, in, [numbers]] with number field one of "
    f"{', '.join(NUMBERS)}; [text field, == != contains, text] or [text field, in, [texts]] with text field one of "
    f"{', '.join(TEXTS)}; [{' or '.join(LISTS)}, contains, text]; a value may be '$user.' and a dotted path in the "
    "user's record, such as '$user.body_profile.standard_sizes.tops'"
)
_GENDERS = {"Male": "Men", "Female": "Women"}


def holds(product: Record, conditions: Iterable[Condition], user: Record) -> bool:
    """Whether a product meets every condition. Raises ValueError, naming the accepted forms, for a malformed one."""
    return all(test(product) for test in _tests(conditions, user))


def failing(product: Record, conditions: Iterable[Condition], user: Record) -> list[Condition]:
    """The conditions that a product does not meet, in order. Raises ValueError as `holds` does."""
    conditions = list(conditions)
    return [
        condition for condition, test in zip(conditions, _tests(conditions, user), strict=True) if not test(product)
    ]


def matching(products: Iterable[Record], conditions: Iterable[Condition], user: Record) -> list[Record]:
    """The products that meet every condition, in order. Raises ValueError as `holds` does."""
    tests = _tests(conditions, user)
    return [product for product in products if all(test(product) for test in tests)]


def demographic(gender: Any) -> Any:
    """The target demographic of a buyer's gender, "Men" for "Male"; any other value as it is."""
    return _GENDERS.get(gender, gender) if isinstance(gender, str) else gender


def profile_conditions(user: Record) -> list[Condition]:
    """What the buyer's record demands of every product: the buyer's own gender and one of the standard sizes."""
    gender = _at(user, "demographics.gender")
    if gender not in _GENDERS:
        raise ValueError(f"demographics.gender of the user is {gender!r}; expected one of {', '.join(_GENDERS)}")
    sizes = _resolve("$user.body_profile.standard_sizes", user)
    return [["target_demographic", "==", _GENDERS[gender]], ["size", "in", list(dict.fromkeys(sizes))]]


def delivery_days(product: Record, user: Record) -> int | None:
    """Days in which a product reaches the user's province; None where either address names no known province."""
    start = transport.province(_at(product, "shipping_info.origin"))
    end = transport.province(_at(user, "shipping_addresses.province"))
    if start is None or end is None:
        return None
    return transport.days(start, end, _at(product, "shipping_info.provider") or "")


def value_of(product: Record, field: str, user: Record) -> Any:
    """A product's value in a condition's field; None where it has none."""
    return delivery_days(product, user) if field == DELIVERY else _at(product, field)


def _tests(conditions: Iterable[Condition], user: Record) -> list[Callable[[Record], bool]]:
    return [_test(condition, user) for condition in conditions]


def _test(condition: Condition, user: Record) -> Callable[[Record], bool]:
    field, symbol, value = _checked(condition, user)

    def found(product: Record) -> Any:
        return value_of(product, field, user)

    if symbol == "in":
        return lambda product: found(product) in value
    if symbol == "contains":
        wanted = value.lower()
        if field in LISTS:
            return lambda product: any(wanted == text.lower() for text in found(product) or ())
        return lambda product: wanted in (found(product) or "").lower()
    compare = _ORDER[symbol]
    return lambda product: (actual := found(product)) is not None and compare(actual, value)


def _checked(condition: Condition, user: Record) -> tuple[str, str, Any]:
    if not isinstance(condition, (list, tuple)) or len(condition) != 3:
        raise ValueError(f"condition {condition!r} is not [field, operator, value]. Accepted forms: {FORMS}")
    field, symbol, raw = condition
    if not isinstance(field, str) or field not in _OPERATORS:
        raise ValueError(f"condition {condition!r}: no field {field!r}. Accepted forms: {FORMS}")
    if symbol not in _OPERATORS[field]:
        accepted = " ".join(_OPERATORS[field])
        raise ValueError(f"condition {condition!r}: {field} takes {accepted}, not {symbol!r}. Accepted forms: {FORMS}")
    if isinstance(raw, Mapping):
        raw = list(raw.values())
    value = [_resolve(item, user) for item in raw] if isinstance(raw, (list, tuple)) else _resolve(raw, user)
    if field == "target_demographic":  # the buyer's record has its own word for it
        value = [demographic(item) for item in value] if isinstance(value, list) else demographic(value)
    kind, expected = (_is_number, "a number") if field in NUMBERS else (_is_text, "a text")
    if symbol == "in":
        expected = f"a list, each {expected}"
        fits = isinstance(value, list) and all(kind(item) for item in value)
    else:
        fits = kind(value)
    if not fits:
        raise ValueError(f"condition {condition!r}: expected {expected}, found {value!r}. Accepted forms: {FORMS}")
    return field, symbol, value


def _resolve(value: Any, user: Record) -> Any:
    if not (isinstance(value, str) and value.startswith("$user.")):
        return value
    found = _at(user, value.removeprefix("$user."))
    if found is None:
        raise ValueError(f"{value!r} is not in the user's record. Accepted forms: {FORMS}")
    # A record counts as its values, so that `size in $user.body_profile.standard_sizes` says what it seems to.
    return list(found.values()) if isinstance(found, Mapping) else found


def _at(record: Any, path: str) -> Any:
    for part in path.split("."):
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
