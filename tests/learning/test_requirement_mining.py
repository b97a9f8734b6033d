"""Requirements that nobody stated: proposed from the feedback, tested on runs, and nothing of the gold in them."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Pivot
from pivot_dspy.learning.requirement_mining import (
    TrainingOutcome,
    fill,
    missing_requirements,
    orientation_results,
    replay,
)
from pivot_dspy.phases.learn import Find
from pivot_dspy.simulator import Reference, offline_lm
from tests.learning.depot import SIGNATURE, Depot, asked, bound, part, said, task
from tests.scripted import scripted

TEAMS = ("north", "south")
FACT = '- team is the team of the owner: ["team", "==", "$owner.team"]'


def world(number):
    """A depot in which the cheapest part is of the owner's team or, for even numbers, of the other one."""
    own, other = (TEAMS[number % 4 // 2], TEAMS[1 - number % 4 // 2])
    teams = (other, own) if number % 2 == 0 else (own, other)
    parts = [part(f"MK-{number}0{n}", f"Bolt{number}", team=team, price=float(n + 1)) for n, team in enumerate(teams)]
    right = next(one for one in parts if one["team"] == own)
    return parts, {"team": own}, right


def opened(one):
    number = int(one.request.rsplit("Bolt", 1)[1].rstrip("."))
    parts, owner, _ = world(number)
    return Depot(parts, owner)


def outcomes(numbers):
    """Runs of plans that take the cheapest part, with the feedback of a metric that expects one of the own team."""
    pivot = Pivot(SIGNATURE, opened)
    requests = {number: f"Reserve the cheapest Bolt{number}." for number in numbers}
    pivot.set_lm(
        offline_lm(
            [
                Reference(match=text, requirements=asked(f"Bolt{number}"), steps=bound(f"Bolt{number}"))
                for number, text in requests.items()
            ],
            slip=0.0,
            heed=1.0,
            cache=False,
        )
    )
    found = []
    for number, text in requests.items():
        result = pivot(request=text)
        right = world(number)[2]
        good = result.part == right["id"]
        feedback = "As expected." if good else f"Not the expected part {right['id']}.\n{FACT}"
        found.append(TrainingOutcome(task(text, gold=right, mark="GOLD MARK 17"), result, float(good), feedback))
    return pivot, found


@pytest.fixture(scope="module")
def ran():
    return outcomes(range(1, 9))


def asking(found, pivot, answer, **options):
    lm = scripted(find={"proposals": answer})
    with dspy.context(lm=lm):
        return missing_requirements(found, pivot, **options), lm.engine


def test_the_offline_model_finds_what_went_unsaid(ran):
    pivot, found = ran
    assert [one.score for one in found] == [1.0, 0.0] * 4 and all(one.result.verified for one in found)
    with dspy.context(lm=offline_lm([], heed=1.0, cache=False)):
        (lesson,) = missing_requirements(found, pivot)
    assert lesson.requirement == {"check": "every", "args": {"where": [["team", "==", "$owner.team"]]}}
    assert lesson.environment == "Depot" and "team is the team of the owner" in lesson.avoid


def test_with_the_lesson_the_next_plans_are_measured_by_it(ran):
    pivot, found = ran
    with dspy.context(lm=offline_lm([], heed=1.0, cache=False)):
        (lesson,) = missing_requirements(found, pivot)
    taught = pivot.deepcopy()
    taught.memory.entries = taught.memory.entries.add(lesson)
    result = taught(request=found[1].task.request)
    assert "every" in [item.check for item in result.requirements.items if "$owner.team" in str(item.args)]


@pytest.mark.parametrize(
    ("draft", "kept"),
    [
        ({"check": "every", "args": {"where": [["team", "==", "<team>"]]}}, True),
        ({"check": "every", "args": {"where": [["team", "==", "<owner.team>"]]}}, True),
        ({"check": "every", "args": {"where": [["team", "==", "north"]]}}, False),  # fails where it was good
        ({"check": "every", "args": {"where": [["site", "==", "yard"]]}}, False),  # explains nothing
        ({"check": "every", "args": {"where": [["team", "~", "$owner.team"]]}}, False),  # cannot be checked
        ({"check": "every", "args": {"where": [["team", "==", "<nothing.there>"]]}}, False),
        ({"check": "none_such", "args": {}}, False),
        ({"text": "The part is of the owner's own team."}, True),
    ],
)
def test_a_proposal_is_kept_if_it_fits_what_succeeded_and_explains_what_failed(ran, draft, kept):
    pivot, found = ran
    lessons, engine = asking(found, pivot, [{**draft, "reason": "Owners keep to their team."}])
    assert bool(lessons) == kept and engine.count("find") == 1


@pytest.mark.parametrize("value", ["MK-201", "GOLD MARK 17", "Bolt2"])
def test_values_of_one_task_never_get_into_a_requirement(ran, value):
    pivot, found = ran
    draft = {"check": "every", "args": {"where": [["id", "==", value]]}, "reason": f"It is {value}."}
    assert asking(found, pivot, [draft, 7, {"args": {}}])[0] == ()
    (lesson,), _ = asking(found, pivot, [{"text": f"Like {value}.", "reason": f"Of MK-200 and {value}."}])
    assert value not in said(lesson) and "MK-200" not in said(lesson)


def test_the_prompt_holds_no_gold_and_no_more_than_its_cap(ran):
    pivot, found = ran
    _, engine = asking(found, pivot, [], max_tokens=1000)
    cases = engine.prompts[0].section("cases")
    assert len(cases) < 4400 and cases.count("Outcome: ") == 4 and cases.count(FACT) == 4
    assert "GOLD" not in engine.prompts[0].text and "MK-" not in cases
    _, engine = asking(found, pivot, [], cases=2)
    assert engine.prompts[0].section("cases").count("Outcome: ") == 2


def test_too_few_failures_ask_nobody(ran):
    pivot, found = ran
    for few in ([], found[:1], [found[1]] * 3, [one._replace(feedback=" ") for one in found]):
        proposals, engine = asking(few, pivot, [{"text": "x"}])
        assert proposals == () and engine.count() == 0


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text("xyz", min_size=1, max_size=3), min_size=1))
def test_slots_are_filled_from_what_is_known(known):
    for name, value in known.items():
        assert fill({"all": [f"<{name}>", f"is <{name}>", 3]}, known) == {"all": [value, f"is {value}", 3]}
    with pytest.raises(LookupError):
        fill(["<c.d>"], known)
    with pytest.raises(LookupError):
        fill("<[>", known)


def test_a_replay_leaves_nothing_open(ran):
    pivot, found = ran
    with replay(pivot, found[0].task) as context:
        assert context.catalogue.known == 'owner() -> {"team": "north"}' and "every(" in context.catalogue.checks
        assert orientation_results(context) == {"owner": {"team": "north"}}


def test_the_prompt_of_find(snapshot, ran):
    pivot, found = ran
    _, engine = asking(found, pivot, [])
    snapshot("phases/find.txt", engine.prompts[0].text)
    assert engine.prompts[0].phase == "find" and isinstance(Find().predict, dspy.Predict)
