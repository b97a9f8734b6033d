"""When a run may be called a success: what is established by rule, what by a judge, and what by nobody."""

from __future__ import annotations

import pytest
from dspy.lm15 import ServerError

from pivot_dspy import Budget, CommitError
from pivot_dspy.prompts.report import questions_in
from tests.episode.judged import (
    BOUND,
    DONE,
    NOTE,
    NOTED,
    PAID,
    PAY,
    RENT,
    WORDS,
    asked,
    by,
    run,
    said,
)
from tests.scripted import GARBAGE, accept, judging

# -------------------------------------------------------------------------------------------- what rules establish


def test_where_rules_leave_nothing_open_it_is_checked_and_no_judge_is_asked():
    result, engine = run([RENT, NOTE, BOUND], [NOTED])
    assert result.verdict.status == "checked" and engine.count("judge") == 0
    assert by(result) == {"R1": "check", "step n": "check"}


def test_each_requirement_call_and_claim_says_how_it_was_established():
    result, engine = run([RENT, NOTE, PAY, said("It is paid.", "The account is DE89.")], [NOTED, PAID])
    assert result.verdict.status == "judged" and asked(engine) == [["R2", "S1", "S2"]]
    assert by(result) == {
        "R1": "check", "step n": "check", "step p": "rule", "R2": "judge", "It is paid.": "judge",
        "The account is DE89.": "judge",
    }  # fmt: skip
    assert all(entry.evidence for entry in result.verdict.established)
    assert [(call.step, call.args) for call in result.verdict.pending] == [("p", {"to": "DE89", "amount": 1100.0})]


def test_where_nothing_is_required_nothing_is_verified():
    result, engine = run([RENT, BOUND], [])
    assert result.verdict.status == "unverified" and not result.verified and engine.count("judge") == 0
    assert result.verdict.reasons == ("no requirement says what has to hold: pass requirements=[...]",)
    with pytest.raises(CommitError, match="no requirement says what has to hold"):
        result.commit()


@pytest.mark.parametrize("judge", [ServerError("429"), GARBAGE, {"verdicts": "all well"}, {"verdicts": []}])
@pytest.mark.parametrize("drafts", [WORDS, [NOTED]])
def test_a_judge_that_fails_or_cannot_be_read_verifies_nothing(judge, drafts):
    steps = [RENT, NOTE, DONE[-1]] if drafts == [NOTED] else DONE
    result, _ = run(steps, drafts, judge=judge)
    assert result.verdict.status == "unverified" and not result.verified
    assert "the judge" in result.verdict.reasons[0]
    assert "nobody" in by(result).values()


@pytest.mark.parametrize("drafts", [WORDS, [NOTED]])
def test_a_judge_that_is_not_paid_for_verifies_nothing(drafts):
    steps = [RENT, NOTE, DONE[-1]] if drafts == [NOTED] else DONE
    result, engine = run(steps, drafts, budget=Budget(lm_calls=1))
    assert engine.count("judge") == 0 and result.verdict.status == "unverified"
    assert any("the budget ended before a judge was asked" in reason for reason in result.verdict.reasons)


def test_what_does_not_count_is_asked_about_once_more_and_no_more():
    contradictory = {
        "verdicts": [
            {"about": ["R1", "S1"], "holds": True, "quote": "DE89"},
            {"about": "R1", "holds": False, "why": "it is not"},
        ]
    }
    result, engine = run(DONE, WORDS, judge=[contradictory, contradictory])
    assert asked(engine) == [["R1", "S1"], ["R1"]]
    second = dict(questions_in(engine.last("judge").section("questions")))
    assert second["R1"] == "the judge said both that it holds and that it does not"
    assert result.verdict.status == "unverified" and by(result)["R1"] == "nobody"
    result, engine = run(DONE, WORDS, judge=[contradictory, accept])
    assert result.verdict.status == "judged" and len(asked(engine)) == 2


def test_a_quote_that_stands_nowhere_is_said_to_the_judge_and_then_counts_for_nothing():
    invented = {"verdicts": [{"about": ["R1", "S1"], "holds": True, "quote": "payment of 1,100 confirmed"}]}
    result, engine = run(DONE, WORDS, judge=[invented, invented])
    assert asked(engine) == [["R1", "S1"]] * 2
    assert "does not stand in what was seen" in engine.last("judge").section("questions")
    assert result.verdict.status == "unverified" and set(by(result).values()) == {"nobody"}


# ----------------------------------------------------------------------------------------------------------- claims


def test_what_an_answer_says_is_judged_beside_an_executable_requirement():
    lie = "I have also cancelled your subscription."
    steps = [RENT, NOTE, said("It is noted.", lie)]
    result, engine = run(steps, [NOTED], judge=judging(S2="no call cancels it"))
    assert asked(engine) == [["S1", "S2"]] and result.verdict.status == "unverified"
    assert any(lie in reason and "no call cancels it" in reason for reason in result.verdict.reasons)
    assert run(steps, [NOTED])[0].verdict.status == "judged"  # by a model's word, never checked


def test_a_figure_from_nowhere_is_not_cleared_by_the_judges_word_alone():
    steps = [RENT, NOTE, said("Altogether it costs 1,200.")]
    result, engine = run(steps, [NOTED])
    assert result.verdict.status == "unverified" and any("1,200" in reason for reason in result.verdict.reasons)
    assert "1,200 stands in no result" in engine.last("judge").section("questions")
    worked = {"verdicts": [{"about": "S1", "holds": True, "quote": '"amount": 1100.0', "calc": "1100.0 + 100.0"}]}
    assert run(steps, [NOTED], judge=worked)[0].verdict.status == "judged"
    wrong = {"verdicts": [{"about": "S1", "holds": True, "quote": '"amount": 1100.0', "calc": "1100.0 + 1.0"}]}
    assert run(steps, [NOTED], judge=wrong)[0].verdict.status == "unverified"
