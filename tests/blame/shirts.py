"""A store as a shopper plans in it: two right plans, what is asked, and whom blame finds."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pivot_dspy import CheckResult, Environment, Requirement, Requirements, Step, Suspect, Trajectory, check, tool
from pivot_dspy.blame.ranking import rank
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import Execution


class Ids(TypedDict):
    ids: list[str]


class Rows(TypedDict):
    rows: list[dict[str, Any]]


class Basket(TypedDict):
    items: list[str]
    total: float


ROWS: list[dict[str, Any]] = [
    {"id": f"{brand[0]}{color[0]}{size}{n}".lower(), "brand": brand, "color": color, "size": size, "price": price + n}
    for brand, price in (("Nike", 40.0), ("Puma", 30.0), ("Vans", 50.0))
    for color in ("Red", "Brown", "Khaki")
    for size in ("L", "M")
    for n in (1, 9)
]
BY_ID = {row["id"]: row for row in ROWS}


def met(row: dict[str, Any], where: list[list[Any]]) -> bool:
    compare = {"==": lambda a, b: a == b, "<": lambda a, b: a < b, "in": lambda a, b: a in b}
    return all(compare[op](row[field], value) for field, op, value in where)


class Shop(Environment):
    """Thirty-six shirts and a basket."""

    def __init__(self) -> None:
        self.basket: list[str] = []

    @tool(effect="read")
    def by_size(self, sizes: list[str]) -> Ids:
        return {"ids": [row["id"] for row in ROWS if row["size"] in sizes]}

    @tool(effect="read")
    def by_brand(self, brand_names: list[str], ids: list[str]) -> Ids:
        return {"ids": [one for one in ids if BY_ID[one]["brand"] in brand_names]}

    @tool(effect="read")
    def by_range(self, key: str, operator: str, value: float, ids: list[str]) -> Ids:
        return {"ids": [one for one in ids if met(BY_ID[one], [[key, operator, value]])]}

    @tool(effect="read")
    def details(self, ids: list[str]) -> Rows:
        return {"rows": [BY_ID[one] for one in ids]}

    @tool(effect="read")
    def prices(self, ids: list[str]) -> dict[str, float]:
        return {one: BY_ID[one]["price"] for one in ids}

    @tool(effect="write")
    def add(self, id: str) -> Basket:
        if id not in BY_ID:
            raise ValueError(f"no product {id}")
        self.basket.append(id)
        return self.look()

    @tool(effect="write")
    def pay(self, coupon: str) -> Basket:
        if self.look()["total"] < 100:
            raise ValueError("the basket is under 100")
        return self.look()

    @tool(effect="read")
    def look(self) -> Basket:
        return {"items": list(self.basket), "total": sum(BY_ID[one]["price"] for one in self.basket)}

    @check
    def item(self, where: list[list[Any]]) -> CheckResult:
        return CheckResult(any(met(BY_ID[one], where) for one in self.basket), "nothing in the basket meets it")

    @check
    def every(self, where: list[list[Any]]) -> CheckResult:
        wrong = tuple(one for one in self.basket if not met(BY_ID[one], where))
        return CheckResult(not wrong, f"not so: {wrong}", about=wrong)

    @check
    def only(self, number: int) -> CheckResult:
        return CheckResult(len(self.basket) <= number, f"{len(self.basket)} items", about=tuple(self.basket[number:]))

    @check
    def cheapest(self, ids: list[str]) -> CheckResult:
        wrong = tuple(one for one in self.basket if one not in ids)
        return CheckResult(not wrong, "it can be had for less", f"take {', '.join(ids)}", wrong)


def choose(terms: str, source: str = "$p.rows") -> dict[str, Any]:
    return {"id": f"min_by({source}[?{terms}], &price).id"}


PLAN = (
    Step(id="s", tool="by_size", args={"sizes": ["L", "M"]}),
    Step(id="p", tool="details", args={"ids": "$s.ids"}),
    Step(id="a", tool="add", args=choose("brand=='Nike' && color=='Red' && price < `60`")),
    Step(id="b", tool="add", args=choose("brand=='Nike' && color=='Brown' && price < `60`")),
    Step(id="c", tool="add", args=choose("brand=='Puma' && color=='Brown' && size=='M'")),
    Step(id="d", tool="add", args=choose("brand=='Vans' && color=='Khaki' && size=='L'")),
    Step(id="z", tool="look"),
    Step(id="submit", tool="submit", args={"total": "$z.total"}),
)
CHAINS = (
    Step(id="s", tool="by_size", args={"sizes": ["L", "M"]}),
    Step(id="a1", tool="by_brand", args={"brand_names": ["Nike"], "ids": "$s.ids"}),
    Step(id="a2", tool="by_range", args={"key": "price", "operator": "<", "value": 60, "ids": "$a1.ids"}),
    Step(id="ap", tool="details", args={"ids": "$a2.ids"}),
    Step(id="a", tool="add", args=choose("color=='Red'", "$ap.rows")),
    Step(id="c1", tool="by_brand", args={"brand_names": ["Vans"], "ids": "$s.ids"}),
    Step(id="cp", tool="details", args={"ids": "$c1.ids"}),
    Step(id="c", tool="add", args=choose("color=='Khaki' && size=='L'", "$cp.rows")),
    Step(id="z", tool="look"),
    Step(id="submit", tool="submit", args={"total": "$z.total"}),
)


def asked(*wheres: list[list[Any]], more: tuple[Requirement, ...] = ()) -> Requirements:
    items = [Requirement(id=f"R{n}", check="item", args={"where": where}) for n, where in enumerate(wheres, start=1)]
    every = Requirement(id="E", check="every", args={"where": [["size", "in", ["L", "M"]]]})
    only = Requirement(id="O", check="only", args={"number": len(wheres)})
    return Requirements(items=(*items, every, only, *more))


RED = [["brand", "==", "Nike"], ["color", "==", "Red"], ["price", "<", 60]]
NIKE = [["brand", "==", "Nike"], ["color", "==", "Brown"], ["price", "<", 60]]
PUMA = [["brand", "==", "Puma"], ["color", "==", "Brown"], ["size", "==", "M"]]
VANS = [["brand", "==", "Vans"], ["color", "==", "Khaki"], ["size", "==", "L"]]
ASKED = asked(RED, NIKE, PUMA, VANS)
TASK = "A red and a brown Nike under 60, a brown Puma in M, a khaki Vans in L."

Case = tuple[Execution, Requirements, tuple[Finding, ...], Toolbox]


def run(steps: tuple[Step, ...], requirements: Requirements = ASKED, environment: type[Environment] = Shop) -> Case:
    session = SessionFactory(environment, timeout=None).open(None)
    done = run_sync(execute(Trajectory(steps=steps), session.fork(), outputs={"total": float}))
    findings = evaluate(requirements, done.execution, done.session)
    session.close()
    return done.execution, requirements, findings, session.toolbox


def first(steps: tuple[Step, ...], requirements: Requirements = ASKED, **options: Any) -> Suspect:
    return rank(*run(steps, requirements, **options), task=TASK)[0]


def with_step(step_id: str, plan: tuple[Step, ...] = PLAN, **changes: Any) -> tuple[Step, ...]:
    return tuple(step.model_copy(update=changes) if step.id == step_id else step for step in plan)


def without(step_id: str, plan: tuple[Step, ...] = PLAN) -> tuple[Step, ...]:
    return tuple(step for step in plan if step.id != step_id)
