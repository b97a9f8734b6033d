"""Two small environments for the tests, and a trajectory run in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.factory import EnvironmentLike, SessionFactory
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.trajectory import Trajectory


def executed(
    steps: Sequence[Any], environment: EnvironmentLike = lambda: Store(), outputs: Mapping[str, Any] = {"answer": str}
) -> ExecutedRun:
    """A trajectory, written as a model writes it, run in a fresh session."""
    session = SessionFactory(environment, timeout=None).open(None)
    trajectory = Trajectory(steps=tuple(read_steps(list(steps))), operator="plan")
    return run_sync(execute(trajectory, session, outputs=outputs))


class Calls(list[str]):
    """The tool calls that were really made, in all forks together."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Calls:
        return self


@dataclass(frozen=True)
class Product:
    id: str
    name: str
    color: str
    size: str
    price: int


PRODUCTS = (
    Product("p1", "Trail Cap", "red", "M", 30),
    Product("p2", "Trail Cap", "red", "L", 40),
    Product("p3", "City Cap", "blue", "L", 25),
    Product("p4", "Rain Coat", "red", "L", 90),
)


class Store(Environment):
    """A shop: find products by color and size, put them in the cart."""

    policy = "Buy nothing that is not asked for."
    vocabulary = "Write what is asked for as it is written in the store."
    orientation = ("colors",)
    shared = ("calls",)

    def __init__(self, calls: Calls | None = None) -> None:
        self.calls = Calls() if calls is None else calls
        self.cart: list[str] = []
        self.checks: list[tuple[str, str, dict[str, Any]]] = []

    @tool(effect="read")
    def colors(self) -> list[str]:
        """All colors."""
        self.calls.append("colors")
        return sorted({product.color for product in PRODUCTS})

    @tool(effect="read")
    def find(self, color: str | None = None, size: str | None = None) -> dict[str, list[str]]:
        """Ids of the products that match."""
        self.calls.append("find")
        found = (p for p in PRODUCTS if color in (None, p.color) and size in (None, p.size))
        return {"ids": [product.id for product in found]}

    @tool(effect="read")
    def details(self, ids: list[str]) -> list[Product]:
        """The records of the products."""
        self.calls.append("details")
        return [product for product in PRODUCTS if product.id in ids]

    @tool(effect="write")
    def add(self, product_id: str) -> dict[str, Any]:
        """Put a product in the cart."""
        self.calls.append(f"add {product_id}")
        if product_id not in {product.id for product in PRODUCTS}:
            raise LookupError(f"no product is called {product_id!r}")
        self.cart.append(product_id)
        return {"items": list(self.cart), "price": self._price()}

    @tool(effect="irreversible")
    def order(self) -> str:
        """Order what is in the cart."""
        self.calls.append("order")
        return f"ordered {', '.join(self.cart)}"

    @check
    def item(self, color: str | None = None, size: str | None = None, name: str | None = None) -> CheckResult:
        """Some product in the cart has the color, size and name."""
        held = [product for product in PRODUCTS if product.id in self.cart]
        fitting = [
            p for p in PRODUCTS if color in (None, p.color) and size in (None, p.size) and name in (None, p.name)
        ]
        said = ", ".join(f"{p.id} is {p.color}, {p.size}, {p.name}" for p in held) or "the cart is empty"
        return CheckResult(
            any(p in fitting for p in held), said, f"it is met by {', '.join(p.id for p in fitting)}", tuple(self.cart)
        )

    @check
    def total(self, max: int) -> CheckResult:
        """The prices in the cart sum up to at most max."""
        return CheckResult(self._price() <= max, f"total {self._price()}")

    @check
    def only(self, count: int) -> tuple[bool, str]:
        """The cart holds so many products."""
        return len(self.cart) == count, f"{len(self.cart)} in the cart"

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        self.checks = list(checks)

    def describe(self) -> str:
        return f"Cart: {', '.join(self.cart) or 'empty'}"

    def _price(self) -> int:
        return sum(product.price for product in PRODUCTS if product.id in self.cart)


class Calendar(Environment):
    """Meetings; searching needs a permission that is not given from the start."""

    shared = ("calls",)

    def __init__(self, calls: Calls | None = None) -> None:
        self.calls = Calls() if calls is None else calls
        self.scopes: set[str] = set()
        self.meetings: list[str] = []

    @tool(effect="read")
    def search(self, day: str) -> list[str]:
        """Free hours of a day."""
        self.calls.append("search")
        if "calendar.read" not in self.scopes:
            raise PermissionError("403: this call needs the scope calendar.read")
        return [f"{day} 10:00", f"{day} 11:00"]

    @tool(effect="write")
    def grant(self, scope: str) -> str:
        """Ask for a scope."""
        self.calls.append("grant")
        self.scopes.add(scope)
        return f"{scope} granted"

    @tool(effect="write")
    def book(self, hour: str) -> str:
        """Book an hour."""
        self.calls.append("book")
        self.meetings.append(hour)
        return hour

    @check
    def booked(self, day: str) -> tuple[bool, str]:
        """There is one meeting, on that day."""
        return len(self.meetings) == 1 and self.meetings[0].startswith(day), f"meetings: {self.meetings}"
