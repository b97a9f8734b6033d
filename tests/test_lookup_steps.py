"""Steps that are bound to what fits a requirement: looked up, kept up to date, blamed, and asked about."""

from typing import Any

import dspy
import pytest
from typing_extensions import TypedDict

from pivot_dspy import CheckResult, ConfigurationError, Environment, Pivot, check, from_functions, tool
from pivot_dspy.environment.from_class import of_class
from pivot_dspy.lookup_steps import with_lookups
from pivot_dspy.requirements import Requirements, compile_drafts
from pivot_dspy.trajectory import Step, Trajectory
from tests.scripted import plan, rewrite, scripted, step, submit


class Hotel(TypedDict):
    id: str
    name: str
    brand: str
    price: int


HOTELS: list[Hotel] = [
    {"id": "H1", "name": "Palace", "brand": "Grand", "price": 90},
    {"id": "H2", "name": "Annex", "brand": "Grand", "price": 40},
    {"id": "H3", "name": "Inn", "brand": "Plain", "price": 40},
]


class Hotels(Environment):
    """Hotels to stay at."""

    def __init__(self, city: str = "Rome") -> None:
        self.stays: list[str] = []
        self.orientation = (("hotels", {"city": city}), "brands")

    @tool(effect="read")
    def hotels(self, city: str) -> list[str]:
        return [f"{city} {hotel['name']}" for hotel in HOTELS]

    @tool(effect="read")
    def brands(self) -> list[str]:
        return ["Grand", "Plain"]

    @tool(effect="write")
    def stay(self, hotel: str) -> str:
        """Stay at a hotel.

        Args:
            hotel: its id.
        """
        self.stays.append(hotel)
        return hotel

    @check(fits=Hotel)
    def hotel(self, brand: str | None = None, best: str | None = None) -> CheckResult:
        """The stay is at a hotel of the brand, the best by `best`."""
        fits = [hotel for hotel in HOTELS if brand in (None, hotel["brand"])]
        if best:
            fits.sort(key=lambda hotel: hotel[best])
        tied = sum(hotel.get(best) == fits[0].get(best) for hotel in fits) if best else len(fits)
        names = ", ".join(hotel["id"] for hotel in fits)
        return CheckResult(bool(fits) and self.stays == [fits[0]["id"]], names, fits=fits, tied=tied)


STAY = [step("s", "stay", hotel="$R1[0].id"), submit(answer="$s")]
REQUEST = "Stay at the cheapest hotel of the Grand brand."


def wish(**args: Any) -> dict[str, Any]:
    return {"id": "R1", "check": "hotel", "args": args}


def run(**answers: Any) -> tuple[Any, Any]:
    refiner = Pivot("request -> answer", Hotels)
    refiner.set_lm(lm := scripted(**answers))
    return refiner(request=REQUEST), lm.engine


def looked_up(trajectory: Trajectory, *drafts: dict[str, Any]) -> Trajectory:
    toolbox = of_class(Hotels)
    return with_lookups(trajectory, Requirements(items=compile_drafts(drafts, toolbox)), toolbox)


def test_a_step_that_is_bound_to_a_requirement_is_given_what_fits_it_best_first():
    result, engine = run(plan=plan(STAY, [wish(brand="Grand", best="price")]))
    assert result.verdict.status == "checked" and result.answer == "H2" and engine.count() == 1
    assert result.trajectory.ids == ("R1", "s", "submit")
    assert [hotel["id"] for hotel in result.history[1].execution.by_step["R1"].value] == ["H2", "H1"]


def test_the_prompt_says_what_can_be_bound_and_shows_reads_with_their_arguments():
    _, engine = run(plan=plan(STAY, [wish(brand="Grand", best="price")]))
    prompt = engine.prompts[0]
    assert "- hotel(brand?, best?) -> [Hotel]" in prompt.section("checks") and '"$R1[0].id"' in prompt.section("checks")
    assert prompt.section("known").splitlines()[0] == 'hotels(city="Rome") -> ["Rome Palace", "Rome Annex", "Rome Inn"]'
    assert "- hotel(" not in prompt.section("tools")


def test_where_nothing_fits_the_requirement_is_blamed_and_put_right_in_one_call():
    again = {**wish(brand="Grand", best="price"), "quote": "of the Grand brand"}
    mended = {"diagnosis": "No such brand.", "requirements": [again], "steps": [{"keep": ["s", "submit"]}]}
    result, engine = run(plan=plan(STAY, [wish(brand="Grnd", best="price")]), evolve=mended)
    assert result.verdict.status == "checked" and result.answer == "H2" and engine.count() == 2
    gradient = next(event.gradient for event in result.history if event.kind == "gradient")
    assert (gradient.kind, gradient.step) == ("misread_requirement", "R1")
    assert "nothing fits it" in engine.prompts[1].section("report")
    assert [change.evidence for change in result.requirements.amendments] == [
        "misread: nothing fits it: of the Grand brand"
    ]


def test_a_tie_is_asked_about_once_before_anything_is_verified():
    tied = plan(STAY, [wish(best="price")])
    again = {**wish(brand="Grand", best="price"), "quote": "of the Grand brand"}
    kept = {"diagnosis": "Misread.", "requirements": [again], "steps": [{"keep": ["R1", "s", "submit"]}]}
    result, engine = run(plan=tied, evolve=kept)
    report = engine.prompts[1].section("report")
    assert 'R1: hotel {"best": "price"} - holds, but 2 fit it equally well: H2, H3' in report
    assert result.verdict.status == "checked" and engine.count() == 2

    stands = {"diagnosis": "It says no more.", "requirements": [], "steps": [{"keep": ["s", "submit"]}]}
    result, engine = run(plan=tied, evolve=stands)
    assert result.verdict.status == "checked" and result.answer == "H2" and engine.count() == 2


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({**wish(brand="Plain"), "quote": "at the plain one"}, "does not stand there"),
        (wish(brand="Plain"), 'it needs "quote", words of the request'),
        ({**wish(colour="red"), "quote": REQUEST}, "colour: not a parameter"),
        ({"id": "R9", "check": "hotel", "args": {}, "quote": REQUEST}, "only a requirement of your own"),
    ],
)
def test_a_requirement_is_read_again_only_by_words_of_the_request(change, refused):
    wrong = {"diagnosis": "Misread.", "requirements": [change], "steps": [{"keep": ["s", "submit"]}]}
    result, engine = run(plan=plan(STAY, [wish(brand="Grnd")]), evolve=[wrong, rewrite(STAY)])
    assert not result.verified and not result.requirements.amendments
    assert refused in engine.prompts[2].section("tried")


def test_what_the_users_themselves_require_is_not_read_again():
    change = {**wish(brand="Grand", best="price"), "quote": REQUEST}
    kept = {"diagnosis": "Misread.", "requirements": [change], "steps": [{"keep": ["s", "submit"]}]}
    refiner = Pivot("request -> answer", Hotels, requirements=[wish(brand="Grnd")], max_iters=2)
    refiner.set_lm(scripted(plan=plan(STAY, []), evolve=kept, audit={"changes": []}))
    result = refiner(request=REQUEST)
    assert not result.requirements.amendments and not result.verified


def test_look_ups_follow_the_requirements():
    given = Trajectory(steps=(Step(id="s", tool="stay", args={"hotel": "$R1[0].id"}), Step(id="b", tool="brands")))
    once = looked_up(given, wish(best="price"))
    assert once.ids == ("R1", "s", "b") and once.steps[0].args == {"best": "price"}
    assert looked_up(once, wish(best="price")) is once
    changed = looked_up(once, wish(brand="Plain"))
    assert changed.ids == once.ids and changed.steps[0].args == {"brand": "Plain"}
    assert looked_up(given, {"id": "R2", "check": "hotel", "args": {}}) is given  # nothing is bound to it
    assert looked_up(given, {"id": "R1", "text": "It is nice."}) is given  # nothing can be looked up
    dollars = looked_up(given, wish(brand="$R1 and $x"))
    assert dollars.steps[0].args == {"brand": "$$R1 and $$x"}


def test_a_step_of_the_name_of_a_requirement_is_what_is_meant():
    own = Trajectory(steps=(Step(id="R1", tool="brands"), Step(id="s", tool="stay", args={"hotel": "$R1[0]"})))
    assert looked_up(own, wish()) is own


def test_functions_can_tell_what_fits_too():
    @check(fits=int)
    def small(most: int) -> CheckResult:
        return CheckResult(True, fits=[number for number in (1, 2, 3) if number <= most])

    def double(number: int) -> int:
        return 2 * number

    environment = from_functions([double], effects="read", checks=[small], orientation=[("double", {"number": 2})])
    assert environment.toolbox.render_checks().startswith("- small(most: int) -> [int]")
    spec = environment.toolbox.spec("small")
    assert spec is not None and spec.invoke(environment, most=2) == [1, 2]


def test_bad_declarations_are_refused():
    @check(fits=int)
    def number() -> CheckResult:
        return CheckResult(True)

    with pytest.raises(ConfigurationError, match="whose results are bound are both 'number'; rename one"):
        from_functions([dspy.Tool(double, name="number")], effects="read", checks=[number])
    with pytest.raises(ConfigurationError, match=r'orientation: double: number: .*write \("double", \{...\}\)'):
        from_functions([double], effects="read", orientation=[("double", {"number": "x"})])


def double(number: int) -> int:
    return 2 * number


def test_a_check_that_does_not_tell_what_fits_fails_the_step_and_says_so():
    class Silent(Hotels):
        @check(fits=str)
        def hotel(self) -> CheckResult:  # type: ignore[override]
            """It tells nothing."""
            return CheckResult(True)

    refiner = Pivot("request -> answer", Silent, max_iters=1)
    refiner.set_lm(scripted(plan=plan(STAY, [wish()]), evolve=rewrite([]), audit={"changes": []}))
    result = refiner(request=REQUEST)
    assert "has not told what fits" in result.history[1].execution.by_step["R1"].fault.message


def test_a_draft_is_asked_for_by_nobody_and_judged_by_what_comes_of_it():
    class Drafting(Hotels):
        @tool(effect="write", draft=True)
        def note(self, text: str) -> str:
            """Write a line."""
            return text

    noted = [step("n", "note", text="a fine view 123"), *STAY]
    refiner = Pivot("request -> answer", Drafting)
    refiner.set_lm(lm := scripted(plan=plan(noted, [wish(brand="Grand", best="price")])))
    result = refiner(request=REQUEST)
    assert result.verdict.status == "checked" and lm.engine.count() == 1
    entry = next(entry for entry in result.verdict.established if entry.about == "step n")
    assert (entry.by, entry.evidence) == ("rule", "it only puts together what is submitted")
    with pytest.raises(ConfigurationError, match="a draft is a tool that writes, and can be undone; this one is irrev"):
        tool(effect="irreversible", draft=True)
