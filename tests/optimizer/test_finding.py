"""A model that cannot be asked what was missing is asked again by whoever resumes, and what was finished is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMTransportError

from pivot_dspy import Pivot, PivotOptimizer
from pivot_dspy.journal import Journal
from tests.refiners.loops import REQUEST, RIGHT
from tests.scripted import GARBAGE, plan, scripted
from tests.stores import Store

TASKS = [dspy.Example(request=f"{REQUEST} ({n})").with_inputs("request") for n in range(4)]
TOLD = {"proposals": [{"text": "Nothing but caps is bought.", "reason": "a cap was expected each time"}]}


def unmet(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    return dspy.Prediction(score=0.0, feedback="Not what was expected.")


def compile_in(folder: Path, find: Any) -> tuple[Any, Any]:
    lm = scripted(plan=plan(RIGHT), audit={"changes": []}, find=find)
    optimizer = PivotOptimizer(
        unmet, log_dir=folder, track_stats=True, num_threads=1, display_progress=False, max_tasks=12
    )
    with dspy.context(lm=lm):
        return optimizer.compile(Pivot("request -> answer", Store), trainset=TASKS[:2], valset=TASKS[2:]), lm.engine


@pytest.mark.parametrize("failing", [LMTransportError("the line is down"), GARBAGE])
def test_a_failed_ask_is_no_answer(failing: Any, tmp_path: Path) -> None:
    first, engine = compile_in(tmp_path, failing)
    assert engine.count("find") >= 1 and not dict(Journal(tmp_path).items("missing"))
    spent = first.detailed_results.tokens - sum(run["tokens"] for _, run in Journal(tmp_path).items("run"))
    asked = [prompt for prompt in engine.prompts if prompt.phase == "find"]
    said = sum(len(one.text) // 4 + len(GARBAGE) // 4 for one in asked)
    assert spent == (said if failing == GARBAGE else 0)  # a call without an answer has no tokens

    again, engine = compile_in(tmp_path, TOLD)
    assert engine.count("find") == 1 and len(dict(Journal(tmp_path).items("missing"))) == 1
    assert any(one.proposal == "missing requirements" for one in again.detailed_results.proposals)
    assert not any(one.proposal == "missing requirements" for one in first.detailed_results.proposals)

    _, engine = compile_in(tmp_path, TOLD)
    assert engine.count() == 0
