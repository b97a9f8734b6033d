"""The probability that a result is right: how it is fitted, measured, saved and told with a result."""

from __future__ import annotations

import json
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pivot_dspy
from pivot_dspy import ConfidenceGate, MajorityOfN
from pivot_dspy.calibration.calibration import Calibration, CalibrationReport
from pivot_dspy.calibration.fitting import brier, read_sample, regression, reliability, shares, threshold
from pivot_dspy.episode.result import features
from pivot_dspy.errors import ConfigurationError
from tests.habits.tasks import examples, pivot, simulated
from tests.simulator.rooms import REQUEST, Book, Rooms

pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30)


def drawn(count: int, seed: int = 0) -> tuple[list[dict[str, float]], list[bool]]:
    """Features of results that are right with a probability that falls with the loss."""
    chance = random.Random(seed)
    rows = [{"loss": chance.random(), "steps": float(chance.randint(1, 9)), "amended": 0.0} for _ in range(count)]
    return rows, [chance.random() < _truth(row) for row in rows]


def _truth(row: dict[str, float]) -> float:
    return 1 / (1 + math.exp(6 * row["loss"] - 3))


@given(pairs=pairs, bins=st.integers(1, 12))
def test_a_reliability_table_holds_every_result_once(pairs: Any, bins: int) -> None:
    said, right = zip(*pairs, strict=True)
    rows = reliability(said, right, bins)
    assert sum(row.count for row in rows) == len(pairs)
    assert math.isclose(sum(row.observed * row.count for row in rows), sum(right), abs_tol=1e-6)
    assert math.isclose(sum(row.predicted * row.count for row in rows), sum(said), abs_tol=1e-6)
    assert all(row.low - 1e-9 <= row.predicted <= row.high + 1e-9 for row in rows)
    # Murphy's bound: bins only average, so that calibration error in them is part of the Brier score.
    gap = sum(row.count * (row.predicted - row.observed) ** 2 for row in rows) / len(pairs)
    assert gap <= brier(said, right) + 1e-9


@given(pairs=pairs, target=st.floats(0, 1))
def test_a_threshold_is_the_smallest_that_is_precise_enough(pairs: Any, target: float) -> None:
    values, right = zip(*pairs, strict=True)

    def precise(value: float) -> bool:
        taken = [one for said, one in pairs if said >= value]
        return sum(taken) >= target * len(taken)

    assert threshold(values, right, target) == min((value for value in values if precise(value)), default=None)


def test_a_threshold_of_nothing_is_none() -> None:
    assert threshold([], []) is None


@pytest.mark.filterwarnings("error::RuntimeWarning")
@given(st.floats(0.01, 1e6), st.integers(0, 99))
def test_a_feature_that_never_changes_says_nothing(constant: float, seed: int) -> None:
    """scikit-learn 1.9 takes the root of a variance that rounding has made negative, where rows have weights."""
    rows, right = drawn(30, seed)
    chance = random.Random(seed)
    rows, weights = [{**row, "amended": constant} for row in rows], [chance.random() + 0.1 for _ in rows]
    calibration = Calibration()
    calibration.fit(rows, right, weights=weights)
    assert abs(calibration.fitted.weights.get("amended", 0.0)) < 1e-9


@pytest.mark.parametrize("count", [300, 1200])
def test_it_predicts_what_scikit_learn_predicts(count: int) -> None:
    rows, right = drawn(count)
    fitted = regression(read_sample(rows, right))
    assert fitted.method == "logistic" and fitted.weights["amended"] == 0.0
    table = numpy.array([list(row.values()) for row in rows])
    expected = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, right).predict_proba(table)[:, 1]
    assert [fitted.probability(row) for row in rows] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [200, 1100])
def test_probabilities_are_near_the_truth_and_figures_are_not_of_the_sample(count: int) -> None:
    rows, right = drawn(count)
    calibration = Calibration()
    report = calibration.fit(rows, right)
    fresh, outcomes = drawn(4000, seed=1)
    said = [calibration.probability(row) for row in fresh]
    assert all(one is not None for one in said)
    off = sum(abs(one - _truth(row)) for one, row in zip(said, fresh, strict=True)) / len(fresh)
    assert off < 0.06 and report.brier is not None and report.base is not None and not report.note
    assert report.brier == pytest.approx(brier(said, outcomes), abs=0.05) and report.brier < 0.8 * report.base
    assert report.base == pytest.approx(0.25, abs=0.01)
    assert all(abs(row.predicted - row.observed) < 0.25 for row in report.table if row.count > 20)
    assert report.threshold is not None
    taken = [one for value, one in zip(said, outcomes, strict=True) if value >= report.threshold]
    assert sum(taken) / len(taken) == pytest.approx(report.target, abs=0.06)


def test_it_is_not_fooled_by_chance() -> None:
    """With features that say nothing, the figures say so; and runs of one task are never on both sides of a fold."""
    chance = random.Random(0)
    tasks = [(chance.random(), chance.random() < 0.5) for _ in range(40)]
    rows = [{"noise": value, **{f"is{n}": float(n == place) for n in range(40)}} for place, (value, _) in
            enumerate(tasks) for _ in range(3)]  # fmt: skip
    right = [outcome for _, outcome in tasks for _ in range(3)]
    report = Calibration().fit(rows, right, groups=[place for place in range(40) for _ in range(3)])
    leaking = Calibration().fit(rows, right)
    assert report.brier is not None and report.base is not None and leaking.brier is not None
    assert report.brier == report.base and report.note.startswith("the features tell no more than the share")
    assert leaking.brier < 0.5 * report.brier


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 3)), min_size=1, max_size=20))
def test_a_share_is_that_of_results_that_verified_and_of_others(results: list[tuple[bool, bool, int]]) -> None:
    verified, right, weights = zip(*results, strict=True)
    fitted = shares(read_sample([{"verified": float(one)} for one in verified], right, None, weights))
    counts = {kind: sum(weight for one, _, weight in results if one is kind) for kind in (True, False)}
    rights = {kind: sum(weight for one, good, weight in results if one is kind and good) for kind in (True, False)}
    expected = {kind: (rights[kind] + 1) / (counts[kind] + 2) for kind in (True, False)}
    if expected[True] <= expected[False]:  # one that failed its checks is never likelier to be right
        expected = dict.fromkeys(expected, (sum(right[n] * weights[n] for n in range(len(right))) + 1)
                                 / (sum(weights) + 2))  # fmt: skip
    said = {kind: fitted.probability({"verified": float(kind)}) for kind in (True, False)}
    assert said == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_features_that_tell_nothing_more_leave_the_share_of_verified_and_of_other_results(seed: int) -> None:
    chance = random.Random(seed)
    rows = [{"verified": float(place % 4 > 0), "noise": chance.random(), "x": chance.random()} for place in range(40)]
    right = [place % 4 > 0 and place % 12 != 1 for place in range(40)]
    calibration = Calibration()
    report = calibration.fit(rows, right)
    assert calibration.fitted is not None and calibration.fitted.method == "verified"
    assert report.note == "the features tell no more than whether a result was verified"
    assert report.brier is not None and report.base is not None and report.certain == pytest.approx(4 / 40)
    assert report.brier <= report.certain and report.brier < report.base
    said = [calibration.probability({"verified": float(kind)}) for kind in (0, 1)]
    assert said == pytest.approx([1 / 12, 27 / 32]) and report.threshold is None
    assert 0.8 < Calibration(target=0.8).fit(rows, right).threshold < 0.9  # type: ignore[operator]


@pytest.mark.parametrize("count", [60, 400])
def test_a_weight_of_two_is_a_result_that_came_twice(count: int) -> None:
    rows, right = drawn(count)
    rows = [{**row, "stated": 1.0, "confidence": 1 - row["loss"]} for row in rows]
    tasks = list(range(count))
    once, twice = Calibration(), Calibration()
    weighted = once.fit(rows, right, groups=tasks, weights=[1 + place % 2 for place in tasks])
    copies = [place for place in tasks for _ in range(1 + place % 2)]
    copied = twice.fit([rows[n] for n in copies], [right[n] for n in copies], groups=copies)
    assert once.fitted is not None and twice.fitted is not None and once.fitted.method == twice.fitted.method
    fresh, _ = drawn(50, seed=1)
    for row in fresh:
        known = {**row, "stated": 1.0, "confidence": 1 - row["loss"]}
        assert once.probability(known) == pytest.approx(twice.probability(known), abs=1e-3)
    assert weighted.brier == pytest.approx(copied.brier, abs=1e-3) and weighted.tasks == copied.tasks == count
    assert weighted.confidence_threshold == copied.confidence_threshold is not None
    assert [row.observed for row in weighted.table] == pytest.approx([row.observed for row in copied.table], abs=0.05)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), count=st.integers(0, 12))
def test_small_samples_never_crash(data: st.DataObject, count: int) -> None:
    names = data.draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True))
    row = st.fixed_dictionaries(dict.fromkeys(names, st.floats(-1e3, 1e3)))
    rows = data.draw(st.lists(row, min_size=count, max_size=count))
    right = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    groups = data.draw(st.none() | st.lists(st.integers(0, 3), min_size=count, max_size=count))
    calibration = Calibration()
    report = calibration.fit(rows, right, groups=groups, seed=data.draw(st.integers(0, 3)))
    assert report.count == count and report.right == sum(right) and report.note
    if not count:
        assert calibration.probability({}) is None
        return
    said = calibration.probability(data.draw(row))
    assert said is not None and 1 / (count + 2) <= said <= 1 - 1 / (count + 2) + 1e-12
    if len(set(right)) == 1:
        assert said == pytest.approx((sum(right) + 1) / (count + 2)) and "constant" in report.note
    twin = Calibration()
    twin.load_state(json.loads(json.dumps(calibration.dump_state())))
    assert (twin.fitted, twin.report) == (calibration.fitted, calibration.report)


def test_the_same_seed_gives_the_same_and_a_new_fit_replaces_the_old() -> None:
    rows, right = drawn(60)
    one, two = Calibration(), Calibration()
    assert one.fit(rows, right, seed=3) == two.fit(rows, right, seed=3) and one.fitted == two.fitted
    one.fit([{}], [True])
    assert one.fitted is not None and one.fitted.method == "constant"


@pytest.mark.parametrize(
    ("rows", "right", "groups", "said"),
    [
        ([{"a": 1.0}], [True, False], None, "one outcome, one group and one weight for each result"),
        ([{"a": 1.0}], [True], [], "one outcome, one group and one weight for each result"),
        ([{"a": 1.0}, {"b": 1.0}], [True, False], None, "the same features"),
        ([{"a": math.nan}], [True], None, "all finite"),
        ([{"a": 1.0}], [0.7], None, "true or false, and not 0.7; say from which score"),
        ([{"a": 1.0}], [None], None, "true or false"),
    ],
)
def test_bad_input(rows: Any, right: Any, groups: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Calibration().fit(rows, right, groups=groups)


@pytest.mark.parametrize("weights", [[0.0, 1.0], [-1.0, 1.0], [math.inf, 1.0], [math.nan, 1.0]])
def test_a_weight_that_is_none(weights: list[float]) -> None:
    with pytest.raises(ConfigurationError, match="a weight is a number above 0"):
        Calibration().fit([{"a": 1.0}] * 2, [True, False], weights=weights)


def test_a_result_without_a_fitted_feature_is_refused() -> None:
    calibration = Calibration()
    calibration.fit(*drawn(20))
    with pytest.raises(ConfigurationError, match="fitted on loss, steps, amended too"):
        calibration.probability({})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "is of format 2, and this version of pivot_dspy reads 1"),
        ({"format": None}, "is of format None"),
        ({"fitted": {"method": "magic"}}, "damaged: .*method"),
        ({"report": 3}, "damaged: .*CalibrationReport"),
        ({"target": "x"}, "damaged: .*target"),
    ],
)
def test_a_state_that_cannot_be_read_is_refused(change: Any, said: str) -> None:
    calibration = Calibration()
    calibration.fit(*drawn(20))
    before = calibration.fitted
    with pytest.raises(ConfigurationError, match=said):
        calibration.load_state({**Calibration().dump_state(), **change})
    assert calibration.fitted == before


def test_features_tell_what_happened() -> None:
    with dspy.context(lm=simulated()):
        result = pivot()(request=REQUEST)
    known = features(result)
    assert known == {
        "verified": 1.0, "loss": 0.0, "rewrites": 1.0, "amended": 0.0, "calls": math.log(5), "steps": 4.0,
        "judged": 0.0, "stated": 0.0, "confidence": 0.0,
    }  # fmt: skip
    assert pickle.loads(pickle.dumps(known)) == known and result.probability is None


def test_features_do_not_depend_on_the_cache() -> None:
    lm = simulated(cache=True)
    with dspy.context(lm=lm):
        first, again = (pivot()(request=REQUEST) for _ in range(2))
    assert again.ledger.usage.lm_calls == 0 and features(first) == features(again)


def test_stated_confidence_counts_and_gives_a_threshold_for_the_gate() -> None:
    gate = ConfidenceGate(MajorityOfN(Book, Rooms, N=1), 0.0)
    with dspy.context(lm=simulated(slip=0.3, systematic=0.0)):
        known = [features(gate(**example.inputs())) for example in examples()]
    assert all(one["stated"] and 0.3 <= one["confidence"] <= 1 for one in known)
    report = Calibration(target=0.5).fit(known, [bool(one["verified"]) for one in known])
    assert report.confidence_threshold in {one["confidence"] for one in known}


def test_every_result_of_a_refiner_carries_its_probability_and_it_is_saved_with_it(tmp_path: Path) -> None:
    program = pivot()
    with dspy.context(lm=simulated()):
        known = features(program(request=REQUEST))
        program.calibration.fit([known, {**known, "verified": 0.0, "loss": 0.6}] * 8, [True, False] * 8)
        said = program(request=REQUEST).probability
        assert 0.8 < said < 1
        program.save(tmp_path / "state.json")
        fresh = pivot()
        fresh.load(tmp_path / "state.json")
        assert fresh(request=REQUEST).probability == said
        twin = program.deepcopy()
        twin.calibration.clear()
        assert program(request=REQUEST).probability == said and twin(request=REQUEST).probability is None
        assert program.reset_copy()(request=REQUEST).probability == said  # no other optimizer tunes it
    written = json.loads((tmp_path / "state.json").read_text(encoding="utf-8"))["calibration"]
    assert written["format"] == 1 and written["fitted"]["weights"]["loss"] < 0 and written["report"]["count"] == 16


def test_telling_a_probability_needs_no_scikit_learn() -> None:
    calibration = Calibration()
    rows, right = drawn(80)
    calibration.fit(rows, right)
    code = f"""
import json, sys
from pivot_dspy.calibration.calibration import Calibration
sys.modules["sklearn"] = None
calibration = Calibration()
calibration.load_state(json.loads({json.dumps(json.dumps(calibration.dump_state()))}))
print(repr(calibration.probability({rows[0]})))
try:
    calibration.fit({rows[:9]}, {right[:9]})
except ValueError as error:
    print(error)
"""
    root = Path(pivot_dspy.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    number, said = ran.stdout.splitlines()
    assert float(number) == calibration.probability(rows[0])
    assert said == "fitting a calibration needs scikit-learn: pip install 'pivot-dspy[calibration]'"


def test_the_report_goes_to_json_and_back() -> None:
    report = Calibration().fit(*drawn(50))
    assert CalibrationReport.model_validate_json(report.model_dump_json()) == report
