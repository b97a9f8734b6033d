"""Blame by rule, on two small environments: a store as a shopper plans in it, and a calendar with permissions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict

from pivot_dspy import CheckResult, Environment, Requirement, Requirements, Step, Suspect, Trajectory, check, tool
from pivot_dspy._drive import drive
from pivot_dspy.blame import gradient, rank, slice_of
from pivot_dspy.blame.facts import Fact, Relation, of_requirement, relation
from pivot_dspy.environment.source import Source
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.execution import execute
from pivot_dspy.requirements import Finding, evaluate
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


def run(
    steps: tuple[Step, ...], requirements: Requirements = ASKED, environment: type[Environment] = Shop
) -> Case:
    session = Source(environment, timeout=None).open(None)
    done = drive(execute(Trajectory(steps=steps), session.fork(), outputs={"total": float}))
    findings = evaluate(requirements, done.execution, done.session)
    session.close()
    return done.execution, requirements, findings, session.toolbox


def first(steps: tuple[Step, ...], requirements: Requirements = ASKED, **options: Any) -> Suspect:
    return rank(*run(steps, requirements, **options), task=TASK)[0]


def with_step(step_id: str, plan: tuple[Step, ...] = PLAN, **changes: Any) -> tuple[Step, ...]:
    return tuple(step.model_copy(update=changes) if step.id == step_id else step for step in plan)


def without(step_id: str, plan: tuple[Step, ...] = PLAN) -> tuple[Step, ...]:
    return tuple(step for step in plan if step.id != step_id)


# -- nothing is wrong


@pytest.mark.parametrize(("plan", "requirements"), [(PLAN, ASKED), (CHAINS, asked(RED, VANS))])
def test_a_correct_plan_has_no_suspects(plan: tuple[Step, ...], requirements: Requirements) -> None:
    case = run(plan, requirements)
    assert all(finding.holds for finding in case[2])
    assert rank(*case, task=TASK) == ()
    assert gradient(*case, task=TASK) is None


# -- faults of steps as written


@pytest.mark.parametrize(
    ("steps", "place", "kind"),
    [
        (with_step("p", tool="detail"), 1, "unknown_tool"),
        (with_step("p", args={"idz": "$s.ids"}), 1, "bad_arguments"),
        (with_step("b", problem="not JSON"), 3, "malformed_step"),
        (with_step("p", args={"ids": "$d.ids"}), 1, "unresolved_binding"),
        (with_step("b", args={"id": "$p.rows[?"}), 3, "unresolved_binding"),
        (without("submit"), 7, "missing_submit"),
    ],
)
def test_faults_that_leave_no_doubt(steps: tuple[Step, ...], place: int, kind: str) -> None:
    found = first(steps)
    assert (found.position, found.kind, found.certain) == (place, kind, True)


def test_nothing_planned_and_nothing_asked() -> None:
    found = first((), Requirements())
    assert (found.position, found.step, found.kind) == (0, None, "missing_submit")


def test_the_earliest_certain_fault_comes_first() -> None:
    assert first(with_step("p", with_step("a", tool="ad"), tool="detail")).step == "p"


@pytest.mark.parametrize("dropped", ["s", "p", "z"])
def test_a_missing_step_that_is_read_is_named(dropped: str) -> None:
    found = first(without(dropped))
    assert found.kind == "missing_step" and found.certain
    assert f"${dropped} " in found.diagnosis
    assert dropped in next(step for step in PLAN if step.id == found.step).depends_on(frozenset({"s", "p", "z"}))


def test_a_missing_submit_comes_after_what_is_wrong_with_the_rest() -> None:
    suspects = rank(*run(without("submit", with_step("c", args=choose("brand=='Puma' && color=='Red' && size=='M'")))))
    assert [suspect.kind for suspect in suspects][:2] == ["wrong_value", "missing_submit"]


# -- steps against requirements


@pytest.mark.parametrize(
    ("step_id", "terms", "words"),
    [
        ("b", "brand=='Nike' && color=='Khaki' && price < `60`", '"Brown" instead of "Khaki" for color (R2)'),
        ("b", "brand=='Nike' && color=='Blue' && price < `60`", '"Brown" instead of "Blue" for color (R2)'),
        ("c", "brand=='Puma' && brand=='Brown' && size=='M'", 'color, not brand, with "Brown" (R3)'),
        ("c", "brand=='Puma' && finish=='Brown' && size=='M'", 'color, not finish, with "Brown"'),
        ("c", "brand=='Puma' && size=='M'", 'color == "Brown"'),
        ("a", "brand=='Nike' && color=='red' && price < `60`", '"Red" instead of "red"'),
        ("a", "brand=='Nike' && color=='Red' && price > `60`", "price < 60"),
    ],
)
def test_a_step_that_selects_by_something_else(step_id: str, terms: str, words: str) -> None:
    found = first(with_step(step_id, args=choose(terms)))
    assert found.step == step_id
    assert words in " ".join([found.correction, *found.evidence, found.diagnosis])


@pytest.mark.parametrize(("step_id", "args"), [("s", {"sizes": ["XL", "M"]}), ("s", {"sizes": ["XS"]})])
def test_a_wrong_value_shows_steps_later(step_id: str, args: dict[str, Any]) -> None:
    found = first(with_step(step_id, args=args))
    assert found.step == step_id and found.kind == "wrong_value"


def test_a_dropped_choice_is_missed_where_it_stood() -> None:
    for position, (dropped, name) in enumerate([("a", "R1"), ("b", "R2"), ("c", "R3"), ("d", "R4")], start=2):
        found = first(without(dropped))
        assert (found.kind, found.position, found.requirements[0]) == ("missing_step", position, name)


def test_an_invented_thing_is_laid_to_the_step_that_names_it() -> None:
    assert first(with_step("c", args={"id": "vrl2"})).step == "c"
    assert first(with_step("c", args={"id": "no such"})).step == "c"


def test_a_thing_named_outright_is_no_fault_where_it_serves() -> None:
    plan = with_step("c", args={"id": "pbm1"})
    plan = with_step("d", plan, args=choose("brand=='Vans' && color=='Red' && size=='L'"))
    assert run(plan)[2][2].holds
    assert [suspect.step for suspect in rank(*run(plan), task=TASK)][:1] == ["d"]


def test_the_odd_one_among_like_steps_is_suspected() -> None:
    cheapest = Requirement(id="M", check="cheapest", args={"ids": ["nrl1", "nbl1", "pbm1", "vkl1"]})
    plan = with_step("d", args={"id": "max_by($p.rows[?brand=='Vans' && color=='Khaki' && size=='L'], &price).id"})
    found = first(plan, asked(RED, NIKE, PUMA, VANS, more=(cheapest,)))
    assert found.step == "d" and "max price" in found.diagnosis


def test_a_lack_explains_the_step_that_fails_for_want_of_it() -> None:
    plan = (*PLAN[:-2], Step(id="k", tool="pay", args={"coupon": "x"}), *PLAN[-2:])
    found = first(without("d", without("c", plan)))
    assert found.kind == "missing_step" and found.position == 4


# -- bindings and chains


def test_a_field_that_is_not_there_is_laid_to_the_lone_reader() -> None:
    found = first(with_step("submit", args={"total": "$z.sum"}))
    assert found.step == "submit" and "items, total" in found.correction


def test_a_field_that_another_tool_would_give_is_laid_to_the_tool() -> None:
    found = first(with_step("p", tool="prices"))
    assert found.step == "p" and found.kind == "wrong_tool" and "use details" in found.correction.lower()


def test_step_back_to_the_first_result_that_turned_empty() -> None:
    plan = (
        Step(id="s", tool="by_size", args={"sizes": ["S"]}),
        Step(id="p", tool="details", args={"ids": "$s.ids"}),
        Step(id="submit", tool="submit", args={"total": "$p.rows[0].price"}),
    )
    found = first(plan, Requirements())
    assert (found.step, found.kind) == ("s", "narrow_result")


def test_a_lone_reader_of_a_good_list_is_itself_to_blame() -> None:
    plan = with_step("b", args=choose("brand=='Nike' && color=='Blue'"))
    assert first(plan, Requirements()).step == "b"


@pytest.mark.parametrize(
    ("step_id", "args"),
    [
        ("a1", {"brand_names": ["Vans"], "ids": "$s.ids"}),
        ("a2", {"key": "price", "operator": ">", "value": 60, "ids": "$a1.ids"}),
        ("a2", {"key": "price", "operator": "<", "value": 38, "ids": "$a1.ids"}),
        ("cp", {"ids": "$s.ids"}),
        ("cp", {"ids": "$a1.ids"}),
        ("c1", {"brand_names": ["Vans"], "ids": "$a1.ids"}),
        ("c", {"id": "min_by($ap.rows[?color=='Khaki' && size=='L'], &price).id"}),
        ("c", {"id": "vrl1"}),
    ],
)
def test_plans_that_select_in_chains(step_id: str, args: dict[str, Any]) -> None:
    case = run(with_step(step_id, CHAINS, args=args), asked(RED, VANS))
    assert rank(*case, task=TASK)[0].step == step_id


def test_the_end_of_a_chain_that_nothing_uses() -> None:
    found = first(without("a", CHAINS), asked(RED, VANS))
    assert (found.kind, found.position) == ("missing_step", 4)


def test_a_loop_that_repeats_one_call() -> None:
    plan = with_step("a", args={"id": "nrl1"}, for_each="$s.ids")
    found = first(plan)
    assert found.step == "a" and "$item" in found.correction


# -- calendar


class Calendar(Environment):
    """Rooms that can be booked once access has been granted."""

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.booked: list[tuple[str, str, int]] = []

    @tool(effect="write")
    def grant(self, scope: str) -> str:
        self.scopes.append(scope)
        return scope

    @tool(effect="read")
    def rooms(self, day: str) -> list[dict[str, Any]]:
        if "calendar" not in self.scopes:
            raise PermissionError("insufficient scope: calendar")
        return [{"name": "Blue", "seats": 4}, {"name": "Red", "seats": 9}]

    @tool(effect="write")
    def book(self, room: str, day: str, people: int) -> dict[str, str]:
        self.booked.append((room, day, people))
        return {"confirmation": f"{room}-{day}"}

    @check
    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes

    @check
    def room_is_booked(self, day: str, people: int) -> CheckResult:
        kept = any(booking[1:] == (day, people) for booking in self.booked)
        return CheckResult(kept, f"booked: {self.booked}")


MEETING = (
    Step(id="g", tool="grant", args={"scope": "calendar"}),
    Step(id="r", tool="rooms", args={"day": "friday"}),
    Step(id="b", tool="book", args={"room": "$r[?seats >= `6`] | [0].name", "day": "friday", "people": 6}),
    Step(id="submit", tool="submit", args={"total": 1.0}),
)
MEETS = Requirements(items=(
    Requirement(id="S", check="has_scope", args={"scope": "calendar"}),
    Requirement(id="B", check="room_is_booked", args={"day": "friday", "people": 6}),
))  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "place", "kind"),
    [
        (with_step("b", MEETING, args={**MEETING[2].args, "day": "monday"}), 2, "wrong_value"),
        (with_step("b", MEETING, args={**MEETING[2].args, "people": 5}), 2, "wrong_value"),
        (without("b", MEETING), 2, "missing_step"),
        (with_step("g", MEETING, args={"scope": "mail"}), 0, "wrong_value"),
        (without("g", MEETING), 0, "tool_error"),  # what is absent comes before the step that wants it
    ],
)
def test_a_calendar(steps: tuple[Step, ...], place: int, kind: str) -> None:
    found = first(steps, MEETS, environment=Calendar)
    assert (found.kind, found.position) == (kind, place)


# -- slices, gradients


def test_slices() -> None:
    execution, *_ = run(with_step("c", args={"id": "pbm1"}))
    assert slice_of(execution, ["b"]) == ("s", "p", "b")
    assert slice_of(execution, ["c"]) == ("s", "p", "b", "c") or "p" in slice_of(execution, ["c"])
    box = Source(Shop).toolbox
    assert slice_of(execution, ["submit"], box) == ("s", "p", "a", "b", "c", "d", "z", "submit")
    assert slice_of(execution, ["nothing"]) == ()


def test_refuted_suspects_are_not_blamed_again() -> None:
    case = run(with_step("b", with_step("s", args={"sizes": ["XL", "M"]}), args=choose("color=='Blue'")))
    refuted: set[tuple[str | None, str]] = set()
    loci = []
    while (found := gradient(*case, task=TASK, refuted=refuted)) is not None:
        assert (found.step, found.kind) not in refuted
        refuted.add((found.step, found.kind))
        loci.append(found.step)
    assert loci[:2] == ["s", "b"]
    assert len(loci) == len(rank(*case, task=TASK))


def test_a_gradient_carries_the_slice_of_its_step() -> None:
    found = gradient(*run(with_step("b", args=choose("color=='Blue'"))), task=TASK)
    assert found is not None and found.by == "rule"
    assert (found.locus, found.slice) == (3, ("s", "p", "b"))
    assert "Change: " in found.to_text() and "Evidence: " in found.to_text()


TOOLS = st.sampled_from(["by_size", "by_brand", "details", "prices", "add", "pay", "look", "submit", "nothing"])
TEXTS = st.sampled_from([
    "$s.ids", "$p.rows", "$p.rows[?color=='Red'].id", "$p.rows[0].id", "min_by($p.rows, &price).id", "nrl1", "$z.total",
    "$item", "$item.id", "$gone.x", "pays $5", "$p.rows[?", "$submit", "$s.ids[?x]", "max_by($s.ids, &x)",
])  # fmt: skip
ARGS = st.dictionaries(
    st.sampled_from(["ids", "id", "sizes", "brand_names", "total", "coupon"]),
    st.one_of(TEXTS, st.lists(TEXTS, max_size=2), st.integers(0, 3)), max_size=2,
)  # fmt: skip


@st.composite
def plans(draw: st.DrawFn) -> tuple[Step, ...]:
    ids = draw(st.permutations(["s", "p", "a", "b", "z", "submit"]))[: draw(st.integers(0, 6))]
    return tuple(
        Step(
            id=one, tool="submit" if one == "submit" else draw(TOOLS), args=draw(ARGS),
            for_each=draw(st.one_of(st.none(), TEXTS)), expects=draw(st.sampled_from([None, "ids", "x >"])),
        )
        for one in ids
    )  # fmt: skip


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(plans(), st.permutations(PLAN).map(tuple)))
def test_any_plan_is_blamed_in_good_order(steps: tuple[Step, ...]) -> None:
    case = run(steps)
    suspects = rank(*case, task=TASK)
    wrong = bool(case[0].discrepancies) or not all(f.holds for f in case[2]) or case[0].trajectory.submit is None
    assert bool(suspects) == wrong
    assert suspects == rank(*case, task=TASK)
    for suspect in suspects:
        assert 0 <= suspect.position <= len(steps)
        assert suspect.step == (steps[suspect.position].id if suspect.position < len(steps) else None)
        assert suspect.diagnosis
    assert len({(suspect.position, suspect.kind == "missing_step") for suspect in suspects}) == len(suspects)
    for step in steps:
        found = slice_of(case[0], [step.id], case[3])
        assert step.id in found and list(found) == sorted(found, key=[one.id for one in steps].index)


def test_a_rewrite_begins_no_later_than_the_first_step_that_failed() -> None:
    """What stands after a failed step could not run: a fault there is told along, and mended in the same rewrite."""
    steps = with_step("z", with_step("s", args={"sizes": "$nothing.here"}), tool="no_such_tool")
    found = gradient(*run(steps), task=TASK)
    assert found is not None and found.step == "s"
    assert any(item.startswith("z: ") and "no_such_tool" in item for item in found.evidence)


def test_a_named_number_does_not_say_how_it_is_compared() -> None:
    """`people: 6` may ask for exactly, at least or at most six; a filter on `people` is no contradiction to it."""
    asks = {"people": 6, "tags": ["tv", "whiteboard"]}
    shown = of_requirement(Requirement(id="B", check="room_is_booked", args=asks))
    people, tags = shown
    assert relation(Fact(("people",), ">=", 6.0), people) is Relation.SAME
    assert relation(Fact(("people",), ">=", 4.0), people) is Relation.DIFFERS
    assert relation(Fact(("tags",), "contains", "tv"), tags) is Relation.LOOSER
    assert str(people) == "people: 6"
