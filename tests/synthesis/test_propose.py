"""What the model is shown when it proposes goals, and how its answer is read."""

import dspy
import pytest
from pydantic import BaseModel

from pivot_dspy.synthesis.propose import Propose
from tests.phases.test_plan import catalogue
from tests.scripted import scripted

SEEN = 'find() -> {"ids": ["p1", "p2"]}'
GOALS = [{"request": "Buy something blue."}, {"request": "Buy a coat."}]


class Party(BaseModel):
    adults: int
    children: int = 0


class Booking(dspy.Signature):
    """Book a table."""

    wish: str = dspy.InputField(desc="in the words of a guest")
    party: Party = dspy.InputField()
    restaurant: str = dspy.InputField()
    note: str | None = dspy.InputField(default=None)
    table: str = dspy.OutputField()


def proposed(answer, signature="request -> answer", **shown):
    lm = scripted(propose={"goals": answer})
    with dspy.context(lm=lm):
        said = Propose(dspy.Signature(signature) if isinstance(signature, str) else signature)(
            **{"catalogue": catalogue(), "seen": SEEN, **shown}
        )
    return said, lm.engine


def test_the_prompt(snapshot):
    said, engine = proposed(
        GOALS, dspy.Signature("request -> answer", "Buy what is asked for."),
        examples=[{"request": "Buy a red cap.", "x": 1}], proposed=[{"request": "Buy “it”."}],
        covered="Not used yet: order.", number=2,
    )  # fmt: skip
    assert said.goals == GOALS and said.unreadable == 0
    snapshot("phases/propose.txt", engine.prompts[0].text)
    assert list(engine.prompts[0].sections) == [
        "tools", "checks", "policy", "about", "goal", "seen", "examples", "covered", "proposed", "number",
    ]  # fmt: skip
    assert '{"request": "Buy a red cap."}' in engine.prompts[0].section("examples")


def test_what_is_empty_is_left_out():
    _, engine = proposed(GOALS, catalogue=catalogue(known=""), seen="")
    assert not {"seen", "examples", "covered", "proposed"} & set(engine.prompts[0].sections)


@pytest.mark.parametrize(
    ("answer", "goals", "unreadable"),
    [
        (["Buy it."], [{"request": "Buy it."}], 0),
        ([{"request": "Buy it.", "tools": ["find"]}], [{"request": "Buy it."}], 0),
        ([{"wish": "Buy it."}, 5, None, "", {"request": 7}, [["x"]]], [], 6),
        ([], [], 0),
    ],
)
def test_only_goals_that_are_whole_count(answer, goals, unreadable):
    said, _ = proposed(answer)
    assert (said.goals, said.unreadable) == (goals, unreadable)


def test_inputs_of_other_types_and_those_that_are_given():
    said, engine = proposed(
        [
            {"wish": "By the window.", "party": {"adults": 2}},
            {"wish": "Outside.", "party": {"adults": "many"}},
            {"wish": "Late.", "party": {"adults": 1, "children": 1}, "note": "a dog", "restaurant": "another"},
        ],
        Booking,
        given=("restaurant",),
    )
    assert said.goals == [
        {"wish": "By the window.", "party": Party(adults=2)},
        {"wish": "Late.", "party": Party(adults=1, children=1), "note": "a dog"},
    ]
    assert said.unreadable == 1
    assert engine.prompts[0].section("goal").splitlines() == [
        "wish: str  # in the words of a guest",
        "party: Party",
        "note: str | null",
        "Party = {adults: int, children: int}",
    ]
