"""The command that scores the judged plans again, on made data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from programs.deepplanning.travel.judged import differences, judge, judge_texts, main
from programs.deepplanning.travel.scoring.official import official_score
from programs.options import DataError
from tests.programs.travel.cities import META, city, write_tasks

PLAN = {"daily_plans": [{"current_city": "Bton", "activities": []}]}
TEXT = "Day 1:\nCurrent City: Bton\n"


def record(**changes: Any) -> dict[str, Any]:
    """A judged plan with the scores that it has."""
    score = official_score(PLAN, META, city())
    return {
        "language": "en", "id": 4, "source": "made", "plan": PLAN, "plan_text": TEXT, "checks": score.checks,
        "dimensions": score.dimensions, "hard_constraints": score.hard_constraints, "commonsense": score.commonsense,
        "personalized": score.personalized, "composite": score.composite, "case_acc": score.case_accuracy, **changes,
    }  # fmt: skip


def write(root: Path, *records: dict[str, Any]) -> Path:
    write_tasks(root, 4)
    for name in ("judged_plans", "recorded_runs"):
        with gzip.open(root / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return root


def test_equal_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write(tmp_path, record(), record(source="other"))
    agreement, texts = judge(root), judge_texts(root)
    assert agreement.plans == agreement.equal == {"made": 1, "other": 1} and not agreement.differences
    assert agreement.checks == agreement.checks_equal == 42 and texts.checks_equal == 42
    assert main(["--data", str(root)]) == 0
    assert "42 of 42 checks equal" in " ".join(capsys.readouterr().out.split())


def test_a_difference_is_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = record()
    wrong["checks"] = {**wrong["checks"], "diverse_meal_options": False}
    agreement = judge(write(tmp_path, wrong))
    assert agreement.differences == ["en-4 (made): diverse_meal_options"]
    assert agreement.checks - agreement.checks_equal == 1
    assert main(["--data", str(tmp_path)]) == 1
    assert "diverse_meal_options" in capsys.readouterr().out


def test_what_differs_is_named() -> None:
    score = official_score(PLAN, META, city())
    recorded = record(case_acc=1.0, commonsense=0.0, hard_constraints={"x": True})
    assert differences(score, recorded) == ["x", "commonsense", "case_acc"]


def test_missing_data_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "judged_plans.jsonl.gz" in capsys.readouterr().err.replace("\n", "")
    with pytest.raises(DataError, match="no task en-5"):
        judge(write(tmp_path, record(id=5)))
