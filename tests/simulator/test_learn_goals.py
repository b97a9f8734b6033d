"""PROPOSE on the offline model: texts of references, those that the prompt asks for first."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.simulator import Reference, offline_lm
from pivot_dspy.synthesis.propose import Propose
from tests.simulator.asking import ADAPTERS, TOOLS, within
from tests.simulator.rooms import Book

TASKS = [f"Task “{n}” of many" for n in range(8)]
REFERENCES = [
    Reference(match=task, steps=[{"id": "a", "tool": "quote" if n == 5 else "book_room", "args": {}}])
    for n, task in enumerate(TASKS)
]


def proposed(seed: int = 0, adapter: Any = None, **shown: Any) -> list[str]:
    catalogue = Catalogue(tools=TOOLS, tools_brief="")
    with dspy.context(lm=offline_lm(REFERENCES, seed=seed, cache=False), adapter=adapter):
        said = Propose(Book)(**{"catalogue": catalogue, "seen": "", "number": 3, **shown})
    assert not said.unreadable
    return [goal["request"] for goal in said.goals]


def test_goals_are_what_it_knows_and_what_the_prompt_does_not_show() -> None:
    for adapter in (adapter() for adapter in ADAPTERS):
        first = proposed(adapter=adapter)
        assert len(first) == len(set(first)) == 3 and set(first) <= set(TASKS)
        shown = {"proposed": [{"request": task} for task in TASKS[:3]], "examples": [{"request": TASKS[3]}]}
        assert sorted(proposed(number=9, adapter=adapter, **shown)) == TASKS[4:]
        assert proposed(proposed=[{"request": task} for task in TASKS], adapter=adapter) == []


def test_what_was_not_used_yet_comes_first_at_the_rate_of_heed() -> None:
    firsts = [proposed(seed, covered="Not used yet: quote, list_rooms.")[0] for seed in range(80)]
    # Where it does not heed, one in eight comes first by chance.
    assert within(firsts.count(TASKS[5]), 80, 0.85 + 0.15 / 8)
    assert within([proposed(seed)[0] for seed in range(80)].count(TASKS[5]), 80, 1 / 8)
