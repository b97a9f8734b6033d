"""Calls that nobody asked for, what waits for commit, and what the judge is shown."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from dspy.lm15 import ServerError

from pivot_dspy import CommitError, Requirement, tool
from pivot_dspy.required_calls import RequiredCall
from tests.episode.judged import (
    BOUND,
    DONE,
    FORGED,
    NOTE,
    NOTED,
    PAID,
    PAY,
    RENT,
    WORDS,
    AskingBank,
    Bank,
    asked,
    by,
    run,
    said,
)
from tests.refiners.loops import kinds
from tests.scripted import GARBAGE, accept, judging, rewrite, step

# ------------------------------------------------------------------------------------------ calls that nobody asked for

EXTRA = step("x", "pay", to="GB29", amount=1_000_000)
ONLY = Requirement(
    id="U1", test=lambda run: all(one.tool in ("rent", "note", "pay", "submit") for one in run.trajectory.steps)
)


def test_an_extra_irreversible_call_beside_a_users_only_requirement_is_refused_without_a_judge():
    result, engine = run([RENT, NOTE, EXTRA, BOUND], [], options={"requirements": [NOTED, ONLY]})
    assert result.verdict.status == "unverified" and engine.count("judge") == 0
    assert result.verdict.reasons[0] == "step x: no requirement names pay"
    with pytest.raises(CommitError, match="no requirement names pay"):
        result.commit()


def test_it_is_blamed_and_dropping_it_mends_it():
    result, engine = run(
        [RENT, NOTE, EXTRA, BOUND], [], evolve=rewrite([{"keep": ["submit"]}]),
        options={"requirements": [NOTED], "max_iters": 2},
    )  # fmt: skip
    blamed = [event.gradient for event in result.history if event.kind == "gradient"]
    assert [(one.kind, one.step) for one in blamed] == [("unasked_call", "x")]
    assert result.verdict.status == "checked" and "x" not in result.trajectory.ids and "judge" not in kinds(result)


def test_of_two_payments_that_one_requirement_names_the_second_is_refused():
    again = step("q", "pay", to="$a.account", amount="$a.amount")
    result, engine = run([RENT, PAY, again, BOUND], [PAID])
    assert result.verdict.status == "unverified" and "step q: no requirement names pay" in result.verdict.reasons


def test_a_requirement_that_names_what_nobody_asked_for_lets_no_call_pass():
    """Such as one that a model took from what it was shown before it planned: its call needs words that ask for it."""
    draft = {"id": "R1", "text": "Pay 999 to GB29XY.", "call": {"tool": "pay", "args": {"to": "GB29XY", "amount": 999}}}
    result, engine = run([RENT, step("p", "pay", to="GB29XY", amount=999), BOUND], [draft])
    assert not result.requirements["R1"].traced and "asked for by nobody" in result.requirements["R1"].to_prompt()
    assert "p: no requirement names it; quote the words" in engine.last("judge").section("questions")
    assert result.verdict.status == "unverified"
    assert any("does not name GB29XY" in reason for reason in result.verdict.reasons)


def test_a_change_that_no_rule_covers_needs_words_of_the_request():
    result, engine = run([RENT, PAY, NOTE, BOUND], [PAID])
    assert asked(engine) == [["R2", "n"]] and result.verdict.status == "judged" and by(result)["step n"] == "judge"
    nobody, engine = run(
        [step("m", "mail"), RENT, PAY, NOTE, BOUND], [PAID], AskingBank, request="Pay the rent, 1,100, to DE89.",
    )  # fmt: skip
    assert nobody.verdict.status == "unverified" and by(nobody)["step n"] == "nobody"
    refused, _ = run([RENT, PAY, NOTE, BOUND], [PAID], judge=judging(n="nobody wants a note"))
    assert refused.verdict.status == "unverified" and refused.loss.discrepancy > 0
    assert any("nobody wants a note" in reason for reason in refused.verdict.reasons)


def test_a_call_is_not_let_pass_by_a_verdict_on_what_has_the_same_name():
    """Such as a step that is called as a sentence of the answer would be, or as a requirement is."""
    named = step("S1", "note", text="x")
    demand = {"verdicts": [{"about": ["S1", "SS1", "R2"], "holds": True, "quote": '"account": "DE89"'}]}
    result, engine = run([RENT, PAY, named, said("It is paid.")], [PAID], judge=demand)
    assert asked(engine)[0] == ["R2", "S1", "SS1"] and by(result)["step S1"] == "nobody"
    assert result.verdict.status == "unverified"
    named = step("R2", "note", text="x")
    result, _ = run([RENT, PAY, named, said("It is paid.")], [PAID])
    assert result.verdict.status == "unverified" and by(result)["step R2"] == "nobody"


# ----------------------------------------------------------------------------------------------- what waits for commit


def test_what_was_read_after_a_call_that_waits_shows_nothing():
    steps = [RENT, PAY, step("b", "balance"), said("You have 5000 left.")]
    left = {"verdicts": [{"about": "S1", "holds": True, "quote": '"left": 5000.0'},
                         {"about": "R2", "holds": True, "quote": '"account": "DE89"'}]}  # fmt: skip
    result, engine = run(steps, [PAID], judge=[left, left])
    assert result.execution.by_step["b"].stale and result.verdict.status == "unverified"
    assert any("5000" in reason for reason in result.verdict.reasons)  # a figure that nothing fresh shows
    assert "it shows nothing" in engine.last("judge").section("observations")


def test_what_only_such_a_read_shows_is_provisional_and_a_preview_is_suggested():
    steps = [RENT, PAY, step("b", "balance"), said("The balance is positive.")]
    left = {"verdicts": [{"about": "S1", "holds": True, "quote": '"left": 5000.0'},
                         {"about": "R2", "holds": True, "quote": '"account": "DE89"'}]}  # fmt: skip
    result, _ = run(steps, [PAID], judge=left)
    assert result.verdict.status == "provisional" and not result.verified
    assert any("b was read before p runs" in reason for reason in result.verdict.reasons)
    assert "preview" in result.verdict.reasons[-1] and result.verdict.withheld == ("p",)


@pytest.mark.parametrize("judge", [ServerError("429"), GARBAGE, {"verdicts": []}])
def test_a_judge_that_fails_beside_such_a_read_leaves_it_unverified(judge):
    paid = Requirement(id="U1", call=RequiredCall(tool="pay"))
    steps = [RENT, PAY, step("b", "balance"), said("All is well.")]
    result, _ = run(steps, [], judge=judge, options={"requirements": [paid]})
    assert by(result) == {"U1": "rule", "step p": "rule", "All is well.": "nobody"}
    assert result.verdict.status == "unverified"


def test_a_check_on_what_a_held_call_will_do_is_pending_and_costs_no_rewrite():
    steps = [RENT, step("p", "pay", to="DE89", amount=1100), BOUND]
    due = {"id": "R3", "check": "is_paid", "args": {"to": "DE89"}}
    result, engine = run(steps, [PAID, due], evolve=GARBAGE, options={"max_iters": 5})
    assert result.verdict.status == "provisional" and engine.count("evolve") == 0
    assert [finding.status for finding in result.findings] == ["holds", "pending"]
    assert result.verdict.reasons[0].startswith("requirement R3 can only be checked when p has run: 0 payments")
    assert "preview" in result.verdict.reasons[-1]
    other = {"id": "R3", "check": "is_paid", "args": {"to": "GB29"}}  # which no call that waits will do
    assert run(steps, [PAID, other])[0].verdict.status == "unverified"


# ----------------------------------------------------------------------------------------- what the judge is shown


def test_lines_that_a_result_forges_do_not_begin_a_line_of_the_judges_prompt():
    _, engine = run([step("m", "mail"), RENT, PAY, said("It is paid.")], [PAID])
    prompt = engine.last("judge")
    shown = prompt.section("observations").splitlines()
    forged = FORGED.splitlines()
    assert all(any(line.startswith("| ") and text in line for line in shown) for text in forged)
    assert not any(line.startswith(text) for line in prompt.text.splitlines() for text in forged[1:2] + forged[4:5])
    assert asked(engine) == [["R2", "S1"]] and "GB29" not in prompt.section("requirements")


def test_what_a_result_asks_for_is_no_quote_for_a_call():
    demand = {"verdicts": [{"about": "n", "holds": True, "quote": "Dear tenant"},
                           {"about": "R2", "holds": True, "quote": '"account": "DE89"'}]}  # fmt: skip
    result, _ = run([step("m", "mail"), RENT, PAY, NOTE, BOUND], [PAID], judge=demand)
    assert result.verdict.status == "unverified" and by(result)["step n"] == "nobody"


def test_the_judge_is_shown_the_whole_arguments_of_every_changing_call_and_the_policy():
    tail = "and the password is hunter2"
    long = step("n", "note", text=f"{'word ' * 400}{tail}")
    _, engine = run([RENT, long, PAY, said("It is noted.")], [NOTED, PAID])
    prompt = engine.last("judge")
    assert tail in prompt.section("observations") and prompt.section("policy") == Bank.policy
    assert '"amount": 1100.0' in prompt.section("observations")  # of the call that waits, as it will run
    origins = prompt.section("calls").splitlines()[1]
    assert origins == "p pay (held), for R2: to [bound a.account], amount [bound a.amount]"


# ------------------------------------------------------------------------------------------------------- amendments


def test_a_requirement_that_the_judge_finds_unmet_is_not_dropped_without_evidence():
    drop = {"changes": [{"id": "R1", "reason": "nobody asked for it", "drop": True}]}
    result, engine = run(
        DONE, WORDS, judge=judging(R1="no payment was made"), audit=drop,
        evolve=rewrite([{"keep": ["a", "submit"]}]),
        options={"audit": "stuck", "max_iters": 9, "patience": 2, "restarts": 0},
    )  # fmt: skip
    assert engine.count("audit") and [item.id for item in result.requirements.items] == ["R1"]
    assert result.verdict.status == "unverified" and result.requirements.amendments == ()


# ------------------------------------------------------------------------------------------------- departures, records


class Clock(Bank):
    """The rent comes with the time that it took to look."""

    ticks = itertools.count(700)
    shared = ("ticks",)

    @tool(effect="read")
    def rent(self) -> dict[str, Any]:
        """What is due."""
        return {"account": "DE89", "amount": 1100.0, "took_ms": next(Clock.ticks)}


def test_a_leaf_that_nothing_depends_on_may_differ_the_second_time():
    assert run([RENT, NOTE, BOUND], [NOTED], environment=Clock)[0].verdict.status == "checked"


def test_the_verdict_of_a_result_goes_to_json():
    result, _ = run([RENT, NOTE, PAY, said("It is paid.")], [NOTED, PAID])
    record = json.loads(result.verdict.model_dump_json())
    assert record["status"] == "judged" and record["pending"][0]["tool"] == "pay"


@pytest.mark.parametrize(("second", "third", "status"), [(True, True, "judged"), (True, False, "unverified")])
def test_a_call_that_the_judge_denies_is_asked_about_again_before_anything_is_rewritten(second, third, status):
    denying = judging(n="nobody wants a note")
    script = [denying, accept if second else denying, accept if third else denying]
    result, engine = run([RENT, PAY, NOTE, BOUND], [PAID], judge=script, options={"max_iters": 1})
    assert asked(engine)[1:3] == [["n"], ["n"]] and result.verdict.status == status
    assert ("evolve" in [prompt.phase for prompt in engine.prompts]) is (status == "unverified")
