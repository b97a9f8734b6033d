"""`python -m programs.compile_shopping` on a generated store: before and after, saved, loaded afresh; no gold leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from rich.console import Console

from pivot_dspy.simulator import offline_lm
from programs import compile_shopping
from programs.compilation.split import split
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_annotation, load_cases
from programs.deepplanning.reference import reference
from tests.caching import own_cache
from tests.openai_server import OpenAIServer
from tests.programs.shops import UNREADABLE, make_unreadable

SMALL = ("--train", "3", "--val", "2", "--test", "2", "--slip", "0.1")


def run(tmp_path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    file = tmp_path / "record.json"
    assert compile_shopping.main([*SMALL, *options, "--json", str(file)]) == code
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


class Prompts(BaseCallback):  # type: ignore[misc]
    """Every prompt, as text."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append(json.dumps([inputs.get("messages"), inputs.get("prompt")], default=str, ensure_ascii=False))


def test_before_and_after_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "refiner.json"
    record = run(tmp_path, "--save", str(saved))
    ids = record["split"]
    assert [len(ids[name]) for name in ("train", "val", "test")] == [3, 2, 2]
    assert not {*ids["train"], *ids["val"]} & {*ids["test"]}
    for name in ("before", "after", "random", "random_borne_out"):
        assert [row["id"] for row in record[name]["tasks"]] == ids["test"]
        assert record[name]["summary"]["tasks"] == 2
    assert all(row["retrieved"] == 0 and row["probability"] is None for row in record["before"]["tasks"])
    assert all(0 <= row["probability"] <= 1 for row in record["after"]["tasks"])
    assert record["reloaded"]["same"] is True and record["lm"]["simulated"] is True
    assert "memory" in json.loads(saved.read_text(encoding="utf-8"))
    shown = capsys.readouterr().out
    assert "SIMULATED LEARNER" in shown and "never trained on" in shown and "the same results" in shown
    again = run(tmp_path, "--load", str(saved))
    assert [row["tokens"] for row in again["loaded"]["tasks"]] == [row["tokens"] for row in record["after"]["tasks"]]
    assert str(tmp_path) not in json.dumps([record, again])


def test_a_teacher_shows_what_the_refiner_cannot_find_out_by_itself(tmp_path: Path) -> None:
    """A refiner of one plan repairs nothing, and so learns nothing of its own runs."""
    alone = run(tmp_path, "--refiner", "plan-execute", "--slip", "0")
    taught = run(tmp_path, "--refiner", "plan-execute", "--slip", "0", "--teacher", "pivot")
    assert not alone["memory"]["lessons"] and taught["memory"]["lessons"] and taught["reloaded"]["same"]
    before, after = (taught[name]["summary"] for name in ("before", "after"))
    assert after["first_plan_loss"] < before["first_plan_loss"] == alone["after"]["summary"]["first_plan_loss"]


def test_on_a_model_behind_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--lm` goes through DSPy's own client: here to a server on the loopback, with the offline model behind it."""
    folder = tmp_path / "store"
    generate(folder, seed=0, tasks=7)
    known = [reference(case, load_annotation(folder, case.id)) for case in load_cases(folder)]
    engine = offline_lm(known, slip=0.0, systematic=0.3, cache=False).engine
    with OpenAIServer(engine) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "cache"))  # where the fresh process looks
        with own_cache(tmp_path / "cache"):
            record = run(tmp_path, "--data", str(folder), "--lm", "openai/loopback")
        asked = [body for body in server.requests if body.get("temperature") != 1.0]  # no other samples of a prompt
    prompts = [json.dumps(body["messages"]) for body in asked]
    assert record["reloaded"]["same"] is True and record["lm"] == {"name": "openai/loopback", "simulated": False}
    assert prompts and len(prompts) == len(set(prompts))  # DSPy's cache has them, for the fresh process too
    assert "systematic" not in record["settings"] and "SIMULATED" not in capsys.readouterr().out


def test_a_task_that_the_offline_model_cannot_read_is_in_no_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "store"
    generate(folder, seed=0, tasks=8)
    make_unreadable(folder, "L1-2")
    record = run(tmp_path, "--data", str(folder))
    used = {name for part in record["split"].values() for name in part}
    assert len(used) == 7 and "L1-2" not in used and UNREADABLE in record["unread"]["L1-2"]
    assert record["reloaded"]["same"] is True
    said = capsys.readouterr()
    assert "task L1-2 is left out" in said.err and "Left out: 1 task" in said.out
    options = [*SMALL, "--test", "3", "--data", str(folder), "--lm", "openai/none"]
    real = compile_shopping.Compilation(compile_shopping._parser().parse_args(options), tmp_path, Console())
    assert sum(map(len, real.split)) == 8 and not real.unread and not capsys.readouterr().err


def test_no_gold_and_no_test_task_is_learned(tmp_path: Path) -> None:
    """Marks in the golds of training tasks and in the stores of test tasks are looked for everywhere."""
    folder = tmp_path / "store"
    generate(folder, seed=0, tasks=7)
    parts = split(load_cases(folder), 3, 2, 2, 0)
    tested = {case.id for case in parts.test}
    for case in load_cases(folder):
        place = folder / f"database_level{case.level}" / f"case_{case.number}"
        file = place / "validation_cases.json"
        found = json.loads(file.read_text(encoding="utf-8"))
        if case.id not in tested:  # their golds are not in the store: no run can come upon the marks
            for number, product in enumerate(found["ground_truth_products"]):
                product |= {"product_id": f"zzgold{number}", "name": "zzgold thing", "brand": "zzgold"}
            found["ground_truth_coupons"] = {"zzgold coupon": 1}
            file.write_text(json.dumps(found), encoding="utf-8")
        else:
            store = place / "products.jsonl"
            products = [json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]
            for product in products:
                product["review_summary"] = ["zztest review"]
                product["brand"] = "zztest brand"
            store.write_text("\n".join(map(json.dumps, products)), encoding="utf-8")
    saved, prompts = tmp_path / "refiner.json", Prompts()
    with dspy.context(callbacks=[prompts]):
        run(tmp_path, "--data", str(folder), "--no-policy", "--save", str(saved), "--log-dir", str(tmp_path / "log"))
    queries = [case.query for case in parts.test]
    everything = saved.read_text(encoding="utf-8")
    assert prompts.seen and not any("zzgold" in text for text in [everything, *prompts.seen])
    assert "zztest" not in everything and not any(query[:60] in everything for query in queries)
    logged = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "log").rglob("*") if file.is_file())
    assert logged and "zztest" not in logged and not any(query[:60] in logged for query in queries)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--test", "0"), "0 is no whole number above 0"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--systematic", "2"), "systematic=2.0"),
        (("--load", "nowhere.json"), "--load nowhere.json"),
        (("--refiner", "confidence-gate"), "--refiner confidence-gate has no memory to compile"),
        (("--teacher", "confidence-gate"), "--teacher confidence-gate has no memory to compile"),
    ],
)
def test_bad_options(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = compile_shopping.main([*SMALL, *options])
    except SystemExit as error:  # argparse
        code = int(str(error.code))
    said = capsys.readouterr()
    assert code == 2 and told in said.err and "Traceback" not in said.err


def test_more_tasks_than_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path, tasks=6)
    assert compile_shopping.main([*SMALL, "--data", str(tmp_path)]) == 2
    assert "need 7 tasks, and there are 6" in capsys.readouterr().err
