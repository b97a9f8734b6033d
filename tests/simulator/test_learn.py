"""The simulated model's answers to LEARN and FIND: by rule from the prompt, at the rate `heed`."""

import json

import dspy
import pytest

from pivot_dspy.phases.learn import Find, Learn
from pivot_dspy.prompts.report import FAILED
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import ADAPTERS, within
from tests.simulator.rooms import STEPS, Book

CHECKS = "- every(where: [[any]])  # All meet `where`.\n- only()  # Nothing else."
SIZE, TEAM = '["size", "in", "$user.sizes"]', '["team", "==", "$user.team"]'


def repair(wrong, right):
    shown = [json.dumps({**STEPS[0], "args": {"day": day}}) for day in (wrong, right)]
    return f"Blame: step a.\nBefore:\n{shown[0]} -> {FAILED}\nAfter:\n{shown[1]} -> 4 rooms"


def learn(repairs, **rates):
    with dspy.context(lm=offline_lm([], cache=False, **rates)):
        return Learn(Book)(inputs={"request": "x"}, repairs=repairs).lessons


def find(outcomes, checks=CHECKS, **rates):
    cases = [f"Request: x\nRequirements, all met:\nR1: only {{}}\nOutcome: {text}" for text in outcomes]
    with dspy.context(lm=offline_lm([], cache=False, **rates)):
        return Find()(checks=checks, policy="", cases=cases).proposals


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_lessons_name_tool_and_argument(adapter):
    with dspy.context(adapter=adapter()):
        (lesson,) = learn([repair("Monday", "monday"), repair("Friday", "friday")], heed=1.0)
    assert lesson["tools"] == ["list_rooms"] and "day of list_rooms" in lesson["avoid"]
    fields = [{**STEPS[1], "for_each": f"$a[?{field} >= `8`]"} for field in ("seat", "seats")]
    (lesson,) = learn(["Before:\n{}\nAfter:\n{}".format(*map(json.dumps, fields))], heed=1.0)
    assert lesson["tools"] == ["quote"] and "seats of quote" in lesson["avoid"]


def test_each_repair_is_put_into_words_at_the_rate_heed():
    told = sum(bool(learn([repair(f"Mon{n}", f"mon{n}")], heed=0.6)) for n in range(60))
    assert within(told, 60, 0.6)
    assert learn([repair("Monday", "monday")], heed=0.0) == [] == learn(["Nothing to see."], heed=1.0)


def test_facts_of_half_the_outcomes_become_requirements():
    size, team = f"- size fits: {SIZE}", f"- team is the own: {TEAM}"
    proposals = find([size, f"{size}\n{team}", "Missing: one of which size fits.", size], heed=1.0)
    assert proposals == [{"check": "every", "args": {"where": [json.loads(SIZE)]}, "reason": "size fits"}]
    assert [one["reason"] for one in find([f"{size}\n{team}"] * 2, heed=1.0)] == ["size fits", "team is the own"]
    assert find([size, team], heed=1.0) == [] == find([size, size], heed=0.0)
    assert find([size, size], checks="- only()", heed=1.0) == [{"text": "size fits", "reason": "size fits"}]
