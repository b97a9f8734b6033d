"""The benchmark's ten coupons: what they take off, what total they need, and when one may join a cart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Coupon:
    """One coupon: `discount` yuan off a cart whose plain total reaches `threshold` yuan; VIP ones need a VIP."""

    kind: str
    discount: float
    threshold: float

    @property
    def name(self) -> str:
        """The name in carts and tool calls, such as `Cross-store: ¥200 off every ¥1,200`."""
        return f"{self.kind}: ¥{self.discount:,.0f} off every ¥{self.threshold:,.0f}"


COUPONS: dict[str, Coupon] = {
    coupon.name: coupon
    for coupon in (
        Coupon("Cross-store", 30.0, 300.0),
        Coupon("Cross-store", 60.0, 500.0),
        Coupon("Cross-store", 120.0, 900.0),
        Coupon("Cross-store", 200.0, 1200.0),
        Coupon("Cross-store", 300.0, 1500.0),
        Coupon("Same-brand", 25.0, 200.0),
        Coupon("Same-brand", 60.0, 400.0),
        Coupon("Same-brand", 180.0, 1000.0),
        Coupon("Same-brand", 300.0, 1200.0),
        Coupon("VIP", 200.0, 1000.0),
    )
}
NAMES: tuple[str, ...] = tuple(COUPONS)


def discount(used: Iterable[tuple[str, int]]) -> float:
    """Yuan taken off by the (name, number) pairs in use."""
    return round(sum(COUPONS[name].discount * number for name, number in used), 2)


def required_total(used: Iterable[tuple[str, int]]) -> float:
    """The plain total in yuan that a cart must reach for all the (name, number) pairs together."""
    return sum((COUPONS[name].threshold * number for name, number in used), 0.0)


def refusal(
    name: str, number: int, used: Mapping[str, int], owned: Mapping[str, int], is_vip: bool, total: float
) -> str | None:
    """Why `number` more of a coupon may not join a cart of plain `total` with coupons `used`, in the benchmark's words
    and order of checks; None where it may."""
    if name not in NAMES:
        return f"Coupon not found: '{name}'. Valid coupons are: {', '.join(NAMES)}"
    in_cart, in_hand = used.get(name, 0), owned.get(name, 0)
    if in_cart + number > in_hand:
        return (
            f"Insufficient coupon quantity: User owns {in_hand} of '{name}', "
            f"cart already uses {in_cart}, cannot add {number} more"
        )
    if COUPONS[name].kind == "VIP" and not is_vip:
        return f"VIP coupon '{name}' requires VIP status, but user is not a VIP"
    needed = required_total({**used, name: in_cart + number}.items())
    if total < needed:
        return f"Cart total {total} is insufficient for this combination of coupons (requires at least {needed})"
    return None
