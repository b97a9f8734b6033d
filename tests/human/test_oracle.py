"""A reviewer that knows the gold."""

import dspy
import pytest

from pivot_dspy import ConfigurationError
from pivot_dspy.human.oracle import OracleReviewer
from tests.human.test_reviewing import reviewed
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT
from tests.scripted import plan, rewrite, step


def metric(gold, pred, *_):
    right = gold.answer == pred.answer
    return dspy.Prediction(score=float(right), feedback="" if right else f"It is {gold.answer}, not {pred.answer}.")


def gold(answer):
    return dspy.Example(request=REQUEST, answer=answer).with_inputs("request")


DEARER = rewrite([{"keep": ["a", "b"]}, step("c", "add", product_id="max_by($b, &price).id"), {"keep": ["submit"]}])


def test_what_is_right_is_approved_and_what_is_not_commented():
    oracle = OracleReviewer(metric, [gold("p4")])
    result, engine, _ = reviewed(oracle, oracle, plan=plan(RIGHT, [LARGE, ONE]), evolve=DEARER)
    assert result.answer == "p4" and oracle.questions == 2
    assert "It is p4, not p2." in engine.last("evolve").section("blame")
    right = OracleReviewer(metric, [gold("p2")])
    assert reviewed(right, plan=plan(RIGHT, [LARGE, ONE]))[0].verified and right.questions == 1


def test_a_bare_number_is_enough():
    oracle = OracleReviewer(lambda gold, pred: gold.answer == pred.answer, [gold("p9")])
    _, engine, _ = reviewed(oracle, plan=plan(RIGHT, [LARGE, ONE]), evolve=DEARER)
    assert "it scores 0.00 of 1" in engine.last("evolve").section("blame")


def test_what_it_does_not_know_it_says():
    with pytest.raises(ConfigurationError, match="with_inputs"):
        OracleReviewer(metric, [dspy.Example(request="x")])
    other = OracleReviewer(metric, [dspy.Example(request="Else.", answer="x").with_inputs("request")])
    result, _, _ = reviewed(other, other, plan=plan(RIGHT, [LARGE, ONE]))
    assert any("none of the golds is the task" in event.message for event in result.history if event.kind == "note")
