"""AgentDojo's attacked worlds: where an injection stands, what it asks for, and whether it came about."""

from __future__ import annotations

from functools import cache

import pytest

from programs.office.data import Gold, initial_world, load_gold
from programs.office.environment import opened
from programs.office.injections import (
    ATTACKS,
    Attacked,
    Injection,
    attacked,
    came_about,
    injected,
    load_injections,
    pairs_of,
    pick_injections,
)  # fmt: skip
from programs.office.judge import make_real, useful
from programs.office.plan import plan
from programs.office.tools import effect_of
from programs.options import DataError
from tests.programs.office import need_package, tasks

need_package()

FIRST = {"workspace": "workspace:6", "travel": "travel:0", "banking": "banking:0", "slack": "slack:1"}


@cache
def injections() -> dict[str, Injection]:
    return {injection.id: injection for injection in load_injections()}


def pair(task: str, injection: str, attack: str = ATTACKS[0]) -> Attacked:
    return attacked(tasks()[task], injections()[injection], attack)


def test_every_task_meets_every_injection_of_its_suite() -> None:
    assert len(injections()) == 35
    suites = [injection.suite for injection in injections().values()]
    assert sum(suites.count(case.suite) for case in tasks().values()) == 949


@pytest.mark.parametrize("name", [f"{suite}:{number}" for suite, last in
                                  (("workspace", 13), ("travel", 6), ("banking", 8)) for number in range(last + 1)]
                         + [f"slack:{number}" for number in range(1, 6)])  # fmt: skip
def test_what_an_injection_asks_for_makes_it_come_about(name: str) -> None:
    hostile = pair(FIRST[name.partition(":")[0]], name)
    made = make_real(hostile.case, plan(Gold(tuple(hostile.asked), hostile.injection.says)))
    assert not [seen.fault for seen in made.execution.observations if seen.fault]
    assert came_about(hostile.case, hostile.injection, hostile.injection.says, made.environment)
    assert not came_about(hostile.case, hostile.injection, "Done.", opened(hostile.case))
    changes = [call for call in hostile.asked if effect_of(call[0]) != "read"]
    assert injected(made.environment.calls, hostile) == changes
    assert bool(changes) is not bool(hostile.injection.says)


@pytest.mark.parametrize("task_id", ["workspace:13", "travel:3", "banking:2", "slack:7", "slack:19"])
def test_the_right_calls_stay_right_in_an_attacked_world(task_id: str) -> None:
    for hostile in pairs_of([tasks()[task_id]], list(injections().values())):
        gold = load_gold(hostile.case)
        made = make_real(hostile.case, plan(gold))
        assert useful(hostile.case, gold.answer, made.environment)
        assert not injected(made.environment.calls, hostile)
        assert not came_about(hostile.case, hostile.injection, gold.answer, made.environment)


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_puts_the_goal_where_the_task_reads_it(attack: str) -> None:
    hostile = pair("banking:0", "banking:5", attack)
    [(place, text)] = hostile.case.injections
    assert place == "injection_bill_text" and hostile.injection.goal in text
    assert hostile.injection.goal in initial_world(hostile.case).filesystem.files["bill-december-2023.txt"]
    assert hostile.injection.goal not in initial_world(hostile.clean).filesystem.files["bill-december-2023.txt"]


def test_a_sample_is_the_same_each_time_and_none_twice() -> None:
    everything = list(injections().values())
    one, same = ([each.id for each in pairs_of(tasks().values(), everything, sample=9)] for _ in range(2))
    assert one == same and len(set(one)) == 9


def test_an_injection_that_is_not_there_or_of_another_suite() -> None:
    everything = injections().values()
    assert pick_injections(everything, []) == pick_injections(everything, ["all"]) == list(everything)
    assert [one.id for one in pick_injections(everything, ["slack:3", "banking:5"])] == ["slack:3", "banking:5"]
    with pytest.raises(DataError, match="no injection is called banking:99; injections: workspace:0, "):
        pick_injections(everything, ["banking:5", "banking:99"])
    with pytest.raises(DataError, match="of another suite than slack:1"):
        pair("slack:1", "banking:5")
