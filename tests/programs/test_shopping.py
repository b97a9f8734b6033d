"""The shopping program: its record, its options, what it says of bad input, and that no gold is ever shown."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy.simulator import OfflineEngine, Rates
from programs import shopping
from programs.deepplanning.environment import Market
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_annotation, load_cases
from programs.deepplanning.reference import reference
from tests.openai_server import OpenAIServer
from tests.programs.shops import UNREADABLE, make_unreadable

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"
IDS = ["L1-1", "L1-2", "L2-1", "L2-2", "L3-1", "L3-2"]
PROMISED: dict[str, Any] = {
    "id": str, "verified": bool, "official_score": float, "official_pass": bool, "strict_pass": bool, "losses": list,
    "lm_calls": int, "prompt_tokens": int, "completion_tokens": int, "tool_calls": int, "tool_calls_reused": int,
    "seconds": float, "first_suspect_right": (bool, type(None)),
}  # fmt: skip
"""The fields of a task's row and their types."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, seed=3, tasks=3)
    return folder


def run(tmp_path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    file = tmp_path / "record.json"
    assert shopping.main([*options, "--json", str(file)]) == code
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks without what differs from run to run."""
    return [{name: value for name, value in task.items() if name != "seconds"} for task in record["tasks"]]


def test_the_record_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path)
    assert list(record) == ["program", "lm", "refiner", "settings", "tasks", "summary", "unread"]
    assert record["program"] == "shopping" and record["refiner"] == "pivot"
    assert record["lm"]["name"].startswith("offline/slip=0.2,") and record["lm"]["simulated"] is True
    assert record["settings"] == {
        "tasks": None, "lm": None, "refiner": "pivot", "seed": 0, "threads": 2, "budget_tokens": None,
        "no_policy": False, "slip": 0.2, "heed": 0.85, "relapse": 0.05, "data": "generated",
    }  # fmt: skip
    assert [task["id"] for task in record["tasks"]] == IDS
    for task in record["tasks"]:
        assert PROMISED.keys() <= task.keys()
        for name, kind in PROMISED.items():
            assert isinstance(task[name], kind)
        assert task["losses"] == sorted(task["losses"], reverse=True)
        assert task["verified"] is (task["losses"][-1] == 0.0) is not bool(task["reasons"])
        assert task["lm_calls"] == sum(spent["lm_calls"] for spent in task["phases"].values())
    totals = record["summary"]
    assert totals["tasks"] == 6 and totals["unread"] == 0 and record["unread"] == {}
    assert totals["verified_rate"] == sum(task["verified"] for task in record["tasks"]) / 6
    assert totals["lm_calls_per_task"] == sum(task["lm_calls"] for task in record["tasks"]) / 6
    shown = capsys.readouterr().out
    assert all(name in shown for name in IDS) and "SIMULATED" in shown and record["lm"]["name"] in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_the_same_seed_gives_the_same_whatever_the_threads(tmp_path: Path) -> None:
    one, same = (run(tmp_path, "--tasks", "3", "--seed", "7", "--threads", threads) for threads in ("1", "3"))
    assert rows(one) == rows(same) and one["lm"] == same["lm"]
    other = run(tmp_path, "--tasks", "3", "--seed", "8")
    assert rows(one) != rows(other) and one["lm"] != other["lm"]


@pytest.mark.parametrize("seed", [1, 2])
def test_accepted_losses_never_rise(tmp_path: Path, seed: int) -> None:
    record = run(tmp_path, "--seed", str(seed), "--slip", "0.5", "--heed", "0.7", "--relapse", "0.2")
    for task in record["tasks"]:
        assert task["losses"] == sorted(task["losses"], reverse=True)
    assert any(len(task["losses"]) > 1 for task in record["tasks"])


def test_tasks_by_count_and_by_id(tmp_path: Path, data: Path) -> None:
    given = ("--data", str(data))
    assert [task["id"] for task in run(tmp_path, *given, "--tasks", "2")["tasks"]] == ["L1-1", "L2-1"]
    assert [task["id"] for task in run(tmp_path, *given, "--tasks", "L3-1,L1-1")["tasks"]] == ["L3-1", "L1-1"]
    assert [task["id"] for task in run(tmp_path, *given, "--tasks", "L1-1, L1-1")["tasks"]] == ["L1-1"]


def test_a_budget_ends_a_run_and_says_so(tmp_path: Path) -> None:
    options = ("--tasks", "L1-1", "--slip", "0.9")
    spent = run(tmp_path, *options, "--refiner", "plan-execute")["tasks"][0]["phases"]["plan"]  # one plan, and no more
    tokens = spent["prompt_tokens"] + spent["completion_tokens"]
    [task] = run(tmp_path, *options, "--budget-tokens", str(tokens))["tasks"]
    assert task["exhausted"] == f"tokens: {tokens} of {tokens}"
    assert task["lm_calls"] == 1 and not task["verified"] and task["tool_calls"] > 0


def test_without_the_policy_the_profile_is_not_known(tmp_path: Path, data: Path) -> None:
    witness = Witness()
    options = ("--data", str(data), "--slip", "0")
    told = run(tmp_path, *options)
    with dspy.context(callbacks=[witness]):
        untold = run(tmp_path, *options, "--no-policy")
    assert untold["settings"]["no_policy"] is True and told["lm"] != untold["lm"]
    assert not any("profile binds" in prompt for prompt in witness.prompts)
    assert all("costs least in all" in prompt for prompt in witness.prompts if "user_requirements" in prompt)
    # Each first case of a level is misleading to whoever does not know the profile; the checks see nothing of it.
    assert told["summary"]["strict_pass_rate"] == 1.0 > untold["summary"]["strict_pass_rate"]
    assert untold["summary"]["verified_rate"] == 1.0


def test_as_a_command(tmp_path: Path) -> None:
    root = Path(shopping.__file__).parents[1]
    file = tmp_path / "record.json"
    command = [sys.executable, "-m", "programs.shopping", "--tasks", "L1-1", "--json", str(file)]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "SIMULATED" in ran.stdout and not ran.stderr
    assert [task["id"] for task in json.loads(file.read_text(encoding="utf-8"))["tasks"]] == ["L1-1"]


def test_data_from_the_hub_is_used_where_it_was_unpacked(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shopping, "hub_directory", lambda: data)
    assert len(run(tmp_path, "--data", "hub")["tasks"]) == 3


def test_another_model(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = load_cases(data)[0]
    known = reference(case, load_annotation(data, case.id))
    with OpenAIServer(OfflineEngine([known], Rates(slip=0.0))) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        record = run(tmp_path, "--data", str(data), "--tasks", "L1-1", "--lm", "openai/loopback")
        assert len(server.requests) == record["tasks"][0]["lm_calls"]
    assert record["lm"] == {"name": "openai/loopback", "simulated": False}
    assert record["tasks"][0]["verified"]
    assert "SIMULATED" not in capsys.readouterr().out


def test_a_task_that_the_offline_model_cannot_read_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, seed=3, tasks=3)
    make_unreadable(tmp_path, "L2-1")
    record = run(tmp_path, "--data", str(tmp_path))
    assert [task["id"] for task in record["tasks"]] == ["L1-1", "L3-1"]
    assert record["summary"]["unread"] == 1 and UNREADABLE in record["unread"]["L2-1"]
    said = capsys.readouterr()
    assert "task L2-1 is left out" in said.err and UNREADABLE in said.err
    assert "Left out: 1 task that the offline model's rules cannot read: L2-1." in said.out


def test_another_model_is_given_what_the_offline_model_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, seed=3, tasks=1)
    (case,) = load_cases(tmp_path)
    known = reference(case, load_annotation(tmp_path, case.id))
    make_unreadable(tmp_path, "L1-1")
    with OpenAIServer(OfflineEngine([known], Rates(slip=0.0))) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        record = run(tmp_path, "--data", str(tmp_path), "--lm", "openai/loopback")
    assert record["tasks"][0]["verified"] and record["unread"] == {} and record["summary"]["unread"] == 0
    assert not capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------- bad input


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What the program says before it gives up."""
    try:
        code = shopping.main(options)
    except SystemExit as error:  # argparse
        code = int(str(error.code))
    assert code == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.err and "verified" not in told.out
    return told.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tasks", "L9-9"), "no task is called L9-9; tasks: L1-1, L1-2,"),
        (("--tasks", "L1-1,,"), "no task is called"),
        (("--tasks", "0"), "at least 1"),
        (("--refiner", "magic"), "invalid choice: 'magic' (choose from"),
        (("--data", "nowhere"), "nowhere: no such folder; expected database_level"),
        (("--slip", "1.5"), "slip=1.5"),
        (("--threads", "0"), "--threads: 0 is no whole number above 0"),
        (("--budget-tokens", "-1"), "--budget-tokens: -1 is no whole number above 0"),
        (("--json", "nowhere/record.json"), "--json: nowhere/record.json is no file in an existing folder"),
    ],
)
def test_bad_options(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(capsys, *options)


def test_a_budget_that_pays_for_no_plan_ends_it_before_any_call(capsys: pytest.CaptureFixture[str]) -> None:
    witness = Witness()
    with dspy.context(callbacks=[witness]):
        assert "does not pay for one plan" in refused(capsys, "--budget-tokens", "50")
    assert not witness.prompts


def test_a_model_without_a_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY" in refused(capsys, "--tasks", "2", "--lm", "openai/gpt-4.1-mini")


def test_an_empty_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert f"{tmp_path}: no cases found; expected database_level" in refused(capsys, "--data", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("products.jsonl", '"}\n', '"\n', "products.jsonl, line "),
        ("cart.json", '"items"', '"things"', "cart.json: expected 'items' to be a list"),
        ("user_info.json", "{", "[{", "user_info.json, line "),
        ("validation_cases.json", '"ground_truth_products"', '"gone"', "expected 'ground_truth_products' to be a list"),
        ("validation_cases.json", '"sub_query": "', '"sub_query": "A shiny one! ', "none of the tasks; of L1-1"),
    ],
)
def test_a_broken_file_is_named(
    name: str, old: str, new: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, tasks=1)
    file = tmp_path / "database_level1" / "case_1" / name
    text = file.read_text(encoding="utf-8")
    if name == "products.jsonl":
        lines = text.splitlines()
        lines[4] = lines[4][:-5]
        changed, told = "\n".join(lines), f"{told}5"
    else:
        changed = text.replace(old, new, 1)
    assert changed != text
    file.write_text(changed, encoding="utf-8")
    said = refused(capsys, "--data", str(tmp_path))
    assert told in said and (name in said or "of L1-1" in said)


def test_a_task_that_breaks_down_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = shopping.final_cart
    carts = iter([RuntimeError("out of carts")])

    def broken(execution: Any) -> Any:
        for error in carts:
            raise error
        return whole(execution)

    monkeypatch.setattr(shopping, "final_cart", broken)
    record = run(tmp_path, "--tasks", "3", "--threads", "1", code=1)
    assert [task["id"] for task in record["tasks"]] == IDS[1:3]
    assert "No result, for a reason that is logged above: L1-1" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------------- gold and reality


class Witness(BaseCallback):
    """Everything that passes to and from models, tools and modules, as text."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.results: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.prompts.append(repr(inputs))

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.results.append(repr(outputs.toDict() if isinstance(outputs, dspy.Prediction) else outputs))

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.results.append(repr(outputs))


def test_no_gold_is_reachable(tmp_path: Path) -> None:
    generate(tmp_path, tasks=3)
    for file in tmp_path.glob("*/*/validation_cases.json"):
        found = json.loads(file.read_text(encoding="utf-8"))
        for number, product in enumerate(found["ground_truth_products"]):
            product |= {"product_id": f"zzgold{number}", "name": "zzgold thing", "brand": "zzgold"}
        found["ground_truth_coupons"] = {"zzgold coupon": 1}
        for entry in found["meta_info"]:
            entry["features"] = [{"field": "zzgold.field", "value": "zzgold value"}]
        file.write_text(json.dumps(found), encoding="utf-8")
    witness = Witness()
    with dspy.context(callbacks=[witness]):
        record = run(tmp_path, "--data", str(tmp_path), "--slip", "0.5")
    assert len(witness.prompts) == sum(task["lm_calls"] for task in record["tasks"]) > 3
    assert all(task["official_score"] == 0.0 for task in record["tasks"])  # it was planted where the scores look
    cases = load_cases(tmp_path)
    everything = [*witness.prompts, *witness.results, repr(cases), repr([vars(case) for case in cases])]
    market = Market(cases)
    everything += [repr(vars(vars(market.open(dspy.Example(request=case.query)))["store"])) for case in cases]
    assert all(case.products[0]["name"] in "".join(everything) for case in cases)  # the stores themselves are in it
    assert not any("zzgold" in text.lower() for text in everything)


@pytest.mark.skipif(not SHOPPING.is_dir(), reason="no real tasks; set PIVOT_DATA to their folder")
def test_real_tasks(tmp_path: Path) -> None:
    record = run(tmp_path, "--data", str(SHOPPING), "--tasks", "L1-2,L1-16,L2-2,L2-16,L3-2,L3-16")
    for task in record["tasks"]:
        assert task["losses"] == sorted(task["losses"], reverse=True)
        assert task["verified"] is (task["losses"][-1] == 0.0)
    totals = record["summary"]
    assert totals["verified_rate"] >= 0.5 and totals["verified_rate"] > totals["first_strict_pass_rate"]
    assert totals["official_pass_rate"] >= totals["first_official_pass_rate"]
    assert totals["tool_calls_reused_per_task"] > 0


def test_where_nothing_was_planned_the_whole_reason_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        assert shopping.main(["--tasks", "2", "--lm", "openai/x", "--api-base", url]) == 1
    told = capsys.readouterr().out
    assert "Nothing was planned: no plan: plan: LMTransportError" in told and "mostly ends in /v1" in told
