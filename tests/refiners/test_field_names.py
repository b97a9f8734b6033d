"""Signatures whose fields have the names of a phase's own fields, of options of the call, or of what a result has."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest

from pivot_dspy import Budget, Pivot, Requirement, SelfRefine, TreeSearch, trajectory_metric
from pivot_dspy.episode.result import RESERVED, by_own_names, features
from pivot_dspy.phases.evolve import RewriteSuffix
from pivot_dspy.phases.judge import JudgeAnswer
from pivot_dspy.phases.plan import PlanTrajectory
from pivot_dspy.refiners.arguments import CALL_OPTIONS
from tests.scripted import plan, rewrite, scripted, step, submit

ASKED = {*PlanTrajectory.fields, *RewriteSuffix.fields, *JudgeAnswer.fields}
NAMES = sorted({*ASKED, *RESERVED, *CALL_OPTIONS, "config", "demos", "lm", "considerations"})


DONE = Requirement(id="R", test=lambda execution: bool(execution.outputs))


def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


def lm_of(output: str) -> dspy.LM:
    good = [step("a", "double", number=1), submit(**{output: "$a"})]
    wrong = [step("a", "doubled", number=1), submit(**{output: "$a"})]
    return scripted(plan=plan(wrong), evolve=rewrite(good))


@pytest.mark.parametrize("name", NAMES)
def test_an_input_of_any_name_is_shown_and_repaired_on(name: str) -> None:
    lm = lm_of("answer")
    with dspy.context(lm=lm):
        result = Pivot(f"{name} -> answer: int", tools=[double], effects="read")(
            **{name: "a unique request"}, **({} if name == "requirements" else {"requirements": [DONE]})
        )
    assert result.verified and result.answer == 2
    assert all("a unique request" in prompt.text for prompt in lm.engine.prompts) and lm.engine.count("evolve") <= 1


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("config", "demos", "lm")])
def test_an_output_of_any_name_keeps_it_and_the_result_tells_the_same(name: str) -> None:
    with dspy.context(lm=lm_of(name)):
        result = Pivot(f"question -> {name}: int", tools=[double], effects="read")(question="?")
    assert result[name] == 2 and f"{name}=2" in repr(result)
    own = by_own_names(result)
    assert own.verified and own.loss.perfect and own.history and features(result) == features(own)
    assert trajectory_metric(None, result).score == 1.0
    assert json.loads(json.dumps(result.toDict()))[name] == 2
    if name in RESERVED and "commit" not in name:
        assert getattr(result, name) == 2 and f"pivot_{name}" in result
    if name != "committed" and "commit" in name:
        return
    execution = result.commit()
    assert by_own_names(result).committed is execution


def test_options_of_a_call_have_another_name_where_an_input_has_theirs() -> None:
    signature = "budget, requirements -> answer: int"
    with dspy.context(lm=lm_of("answer")):
        refiner = Pivot(signature, tools=[double], effects="read")
        result = refiner(
            budget="400 EUR", requirements="cheap", pivot_budget=Budget(lm_calls=1), pivot_requirements=["Be quick."]
        )
    assert result.exhausted and result.requirements.items[0].text == "Be quick."


def test_an_input_called_commit_commits_nothing() -> None:
    with dspy.context(lm=lm_of("answer")):
        result = Pivot("commit: bool -> answer: int", tools=[double], effects="read")(commit=True)
    assert result.verified and result.committed is None


@pytest.mark.parametrize("kind", [SelfRefine, TreeSearch])
def test_other_refiners_take_such_names_too(kind: Any) -> None:
    made = kind("report, steps, tools, known -> findings: int", tools=[double], effects="read")
    assert made.signature.output_fields.keys() == {"findings"}
