"""The figures of a comparison, computed by hand."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.comparison.statistics import POINTS, figures, finished_pairs, grid
from tests.programs.comparing import record


def test_rates_means_and_tokens_by_hand() -> None:
    runs = [
        record("a", "t1", 0, strict=True, tokens=100, lm_calls=1, tool_calls=4, seconds=0.5),
        record("a", "t1", 1, strict=True, tokens=200, lm_calls=3, tool_calls=6, seconds=1.5),
        record("a", "t2", 0, official=True, tokens=300, lm_calls=2, tool_calls_reused=8),
        record("a", "t2", 1, tokens=400, lm_calls=2, error="RuntimeError: gone", reasoning_tokens=40),
    ]
    found = figures(runs, ["a"])["a"]
    assert found["runs"] == 4
    assert (found["official_pass_rate"], found["strict_pass_rate"]) == (0.75, 0.5)
    assert (found["tokens_per_task"], found["tokens_per_solved"]) == (250, 500)
    assert (found["lm_calls"], found["tool_calls"], found["tool_calls_reused"], found["seconds"]) == (2, 2.5, 2, 0.5)
    assert found["reasoning_tokens"] == 10
    assert found["errors"] == [{"task": "t2", "seed": 1, "error": "RuntimeError: gone", "transient": False}]
    assert found["paired"] == {}


def test_intervals_draw_tasks_with_all_their_seeds() -> None:
    """Of two tasks, one always solved and one never, a draw solves 0, half or all of the runs: a quarter, a half and a
    quarter of the draws. So no number of seeds makes the interval any narrower."""
    runs = [record("a", task, seed, strict=task == "t1", tokens=100) for task in ("t1", "t2") for seed in range(50)]
    ci = figures(runs, ["a"])["a"]["ci"]
    assert ci["strict_pass_rate"] == [0, 1]
    assert ci["tokens_per_task"] == [100, 100]
    assert ci["tokens_per_solved"] == [100, None]  # in a quarter of the draws nothing is solved


def test_an_interval_of_many_tasks_is_that_of_the_binomial() -> None:
    runs = [record("a", f"t{number}", strict=number % 2 == 0) for number in range(100)]
    low, high = figures(runs, ["a"])["a"]["ci"]["strict_pass_rate"]
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015) and high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_pairs_by_hand() -> None:
    """b costs twice as much on each task and solves one of four that a does not, and none of the two that a does."""
    runs = []
    for number in range(4):
        runs.append(record("a", f"t{number}", strict=number < 2, tokens=100 * (number + 1)))
        runs.append(record("b", f"t{number}", strict=number == 2, tokens=200 * (number + 1)))
    paired = figures(runs, ["a", "b"])["b"]["paired"]
    assert paired["strict_pass_rate"]["difference"] == -0.25
    assert paired["tokens_per_task"]["difference"] == 250
    assert paired["tokens_per_solved"]["ratio"] == (2000 / 1) / (1000 / 2)
    low, high = paired["tokens_per_task"]["ci"]
    assert 100 <= low < 250 < high <= 400  # the means of four draws from 100, 200, 300 and 400
    assert paired["strict_pass_rate"]["ci"][0] < 0 < paired["strict_pass_rate"]["ci"][1]


def test_what_is_the_same_has_no_difference_however_much_tasks_differ() -> None:
    runs = [record(name, f"t{number}", strict=number > 1, tokens=10**number) for name in "ab" for number in range(1, 6)]
    paired = figures(runs, ["a", "b"])["b"]["paired"]
    assert paired["strict_pass_rate"] == {"difference": 0, "ci": [0, 0]}
    assert paired["tokens_per_task"] == {"difference": 0, "ci": [0, 0]}
    assert paired["tokens_per_solved"] == {"ratio": 1, "ci": [1, 1]}


def test_the_curve_cuts_every_run_at_the_same_count() -> None:
    early = ((100, False, False), (200, True, True))
    late = ((100, False, False), (400, True, True), (800, True, False))
    runs = [
        record("a", "t1", strict=True, tokens=200, trace=early),
        record("a", "t2", strict=False, tokens=800, trace=late),
        record("b", "t1", tokens=1000),
        record("b", "t2", tokens=1000),
    ]
    found = figures(runs, ["a", "b"])
    points = [point for point, _ in found["a"]["curve"]]
    assert points == [point for point, _ in found["b"]["curve"]]
    assert points[0] == 100 and points[-1] == 1000 and len(points) == POINTS
    for point, rate in found["a"]["curve"]:
        assert rate == ((point >= 200) + (400 <= point < 800)) / 2
    for point, rate in found["a"]["official_curve"]:
        assert rate == ((point >= 200) + (point >= 400)) / 2
    assert {rate for _, rate in found["b"]["curve"]} == {0}


def test_only_pairs_that_all_have_finished_are_compared() -> None:
    runs = [record("a", "t1", 0), record("b", "t1", 0), record("a", "t1", 1), record("b", "t2", 0)]
    assert finished_pairs(runs, ["a", "b"]) == runs[:2]
    assert finished_pairs(runs, ["a"]) == runs[:3]


@pytest.mark.parametrize("runs", [[], [record("a", "t1"), record("b", "t1", tokens=0, error="PlanningFailed: no")]])
def test_nothing_one_task_and_nothing_solved(runs: list[Any]) -> None:
    found = figures(runs, ["a", "b"])
    for one in found.values():
        assert one["tokens_per_solved"] is None and set(one["ci"].values()) == {None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_figures_are_numbers_whatever_happened(data: st.DataObject) -> None:
    tasks = [f"t{number}" for number in range(data.draw(st.integers(1, 4)))]
    runs = [
        record(name, task, seed, strict=data.draw(st.booleans()), tokens=data.draw(st.integers(0, 10**6)))
        for name in "ab" for task in tasks for seed in range(data.draw(st.integers(1, 2)))
    ]  # fmt: skip
    runs = finished_pairs(runs, ["a", "b"])
    found = figures(runs, ["a", "b"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert figures(runs, ["a", "b"]) == found  # the draws are the same every time
    for one in found.values():
        low, high = one["ci"]["strict_pass_rate"] or (0, 1)
        assert low <= one["strict_pass_rate"] <= high
        rates = [rate for _, rate in one["curve"]]
        assert rates == sorted(rates)  # each of these runs has one result, at its end


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=8), st.lists(st.integers(1, 10**7), min_size=1, max_size=8))
def test_the_grid_goes_from_the_first_result_to_the_largest_median(some: list[int], others: list[int]) -> None:
    by_name = {
        name: [record(name, f"t{number}", tokens=tokens) for number, tokens in enumerate(spent)]
        for name, spent in (("a", some), ("b", others))
    }
    points = grid(by_name)
    first = min(tokens for tokens in [*some, *others] if tokens)
    assert points == sorted(set(points)) and 1 <= len(points) <= POINTS
    assert points[0] >= first and points[-1] >= max(median(some), median(others))
    assert all(point == int(f"{point:.1e}".split("e")[0].replace(".", "")) * 10 ** (len(str(point)) - 2)
               for point in points if point >= 10)  # fmt: skip
