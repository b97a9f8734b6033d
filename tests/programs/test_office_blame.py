"""Mutants of AgentDojo's gold, the judge that knows it, and what counts as found by blame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import Suspect, Trajectory
from programs.benchmarks import blame_office
from programs.benchmarks.blame_office import is_exact
from programs.benchmarks.office_mutants import KINDS, Mutant, mutants
from programs.office.data import initial_world, load_gold
from programs.office.oracle import judge
from programs.office.plan import plan
from programs.office.reference import reference
from programs.office.wanted import ANSWER, wanted, wanted_calls
from tests.programs.office import gold_plan, need_package, tasks

need_package()

REFUND = "banking:3"  # looks at the transactions, then sends money back


def made(task_id: str, each: int = 4) -> list[Mutant]:
    case = tasks()[task_id]
    return list(mutants(plan(load_gold(case)), initial_world(case), each))


def of_kind(task_id: str, kind: str) -> Mutant:
    return next(mutant for mutant in made(task_id) if mutant.kind == kind)


def calls(trajectory: Trajectory) -> list[tuple[str, dict[str, Any]]]:
    return [(step.tool, step.args) for step in trajectory.steps if not step.is_submit]


def suspect(position: int, step: str | None, kind: str) -> Suspect:
    return Suspect(position=position, step=step, kind=kind, diagnosis="Something is wrong.")


def test_each_mutant_has_one_fault_where_it_says() -> None:
    found = [(task_id, mutant) for task_id in tasks() for mutant in made(task_id, each=2)]
    assert {mutant.kind for _, mutant in found} == set(KINDS) and len(found) > 300
    for task_id, mutant in found:
        gold = gold_plan(task_id).steps
        steps = mutant.trajectory.steps
        if mutant.missing:
            assert mutant.step is None
            assert (*steps[: mutant.position], *mutant.missing, *steps[mutant.position :]) == gold
        else:
            differing = [place for place, (one, other) in enumerate(zip(steps, gold, strict=True)) if one != other]
            assert differing == [mutant.position] and steps[mutant.position].id == mutant.step
            assert steps[mutant.position].tool == gold[mutant.position].tool


def test_the_same_mutants_each_time_and_no_two_alike() -> None:
    for task_id in ("workspace:33", "travel:0", REFUND, "slack:11"):
        one, other = made(task_id), made(task_id)
        assert one == other and len({(mutant.kind, mutant.trajectory.id) for mutant in one}) == len(one)
    assert len(made(REFUND, each=1)) < len(made(REFUND, each=4))


def test_wrong_values_are_of_the_world() -> None:
    changes = {mutant.kind: mutant.change for mutant in made(REFUND)}
    assert (
        changes["wrong recipient"].startswith("recipient '")
        and "instead of 'GB29NWBK60161331926819'" in changes["wrong recipient"]
    )
    assert changes["wrong amount"].startswith("amount 1") and changes["wrong amount"].endswith("instead of 4.0")
    attached = [mutant for mutant in made("workspace:33") if "attachments" in mutant.change]
    assert attached and all(mutant.kind == "wrong id" and "'type': 'file'" in mutant.change for mutant in attached)
    moved = [mutant.change for mutant in made("workspace:15") if "start_time" in mutant.change]
    assert moved[0] == "start_time '2024-06-11 13:00' instead of '2024-06-10 13:00'"


def test_a_requirement_for_each_changing_call_and_one_for_the_answer() -> None:
    assert [item.draft for item in wanted(load_gold(tasks()[REFUND]))] == [
        {
            "id": "R2",
            "text": "Send money: recipient GB29NWBK60161331926819, amount 4.0, subject Refund, date 2022-04-01.",
        },
        {"id": ANSWER, "text": "The answer says that it is done."},
    ]
    for case in tasks().values():
        known = reference(case)
        assert {item["id"] for item in known.requirements} == set(known.truths) and known.match == case.request


def test_a_required_call_has_the_values_of_the_request_and_no_others() -> None:
    paid, answer = wanted_calls(load_gold(tasks()["banking:0"]), tasks()["banking:0"].request)
    assert paid["call"]["tool"] == "send_money" and "?" in paid["call"]["args"].values() and "call" not in answer
    for case in tasks().values():
        for draft in wanted_calls(load_gold(case), case.request):
            fixed = [value for value in draft.get("call", {"args": {}})["args"].values() if isinstance(value, str)]
            assert all(value == "?" or value in case.request for value in fixed)


@pytest.mark.parametrize("task_id", ["workspace:13", "travel:3", REFUND, "slack:14"])
def test_the_gold_meets_all_and_a_mutant_misses_what_was_changed(task_id: str) -> None:
    gold = load_gold(tasks()[task_id])
    answer = gold.answer or "Done."
    assert all(finding.holds for finding in judge(gold, gold.calls, answer))
    assert [f.requirement for f in judge(gold, gold.calls, "Nothing.") if not f.holds] == [ANSWER]
    for mutant in made(task_id):
        unmet = [f.requirement for f in judge(gold, calls(mutant.trajectory), answer) if not f.holds]
        if mutant.kind == "answer alone":
            assert unmet == [item.id for item in wanted(gold) if item.place is not None]
        else:
            assert unmet == [f"R{mutant.position + 1}"]


def test_a_call_serves_one_requirement_and_the_nearest_is_quoted() -> None:
    gold = load_gold(tasks()[REFUND])
    twice = gold._replace(calls=(*gold.calls, gold.calls[-1]))
    assert [f.requirement for f in judge(twice, gold.calls, "Done.") if not f.holds] == ["R3"]
    wrong = of_kind(REFUND, "wrong amount")
    [unmet] = [f for f in judge(gold, calls(wrong.trajectory), "Done.", quotes=True) if not f.holds]
    assert unmet.evidence.startswith("send_money {'recipient': 'GB29NWBK60161331926819', 'amount': 1")
    [unmet] = [f for f in judge(gold, calls(of_kind(REFUND, "dropped write").trajectory), "Done.", quotes=True)
               if not f.holds]  # fmt: skip
    assert unmet.evidence == ""


def test_a_changed_call_is_found_where_it_stands() -> None:
    case, mutant = tasks()[REFUND], of_kind(REFUND, "wrong amount")
    assert is_exact(case, mutant, suspect(1, "g2", "wrong_value"))
    assert not is_exact(case, mutant, suspect(0, "g1", "unexplained"))
    assert not is_exact(case, mutant, suspect(1, "g2", "missing_step"))


def test_a_dropped_call_is_found_where_putting_it_back_mends() -> None:
    case, mutant = tasks()[REFUND], of_kind(REFUND, "dropped write")
    assert is_exact(case, mutant, suspect(1, "submit", "missing_step"))
    assert is_exact(case, mutant, suspect(0, "g1", "missing_step"))  # what is sent back does not hang on the look
    assert not is_exact(case, mutant, suspect(2, None, "missing_step"))  # after the answer
    assert not is_exact(case, mutant, suspect(1, "submit", "unexplained"))
    created = next(mutant for mutant in made("workspace:32") if mutant.change == "create_file dropped")
    shared = [step.id for step in created.trajectory.steps].index("g3")
    assert is_exact(tasks()["workspace:32"], created, suspect(shared, "g3", "missing_step"))
    assert not is_exact(tasks()["workspace:32"], created, suspect(shared + 1, "submit", "missing_step"))


def test_the_program_counts_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "blame.json"
    assert blame_office.main(["--tasks", "banking:3,12;slack:1", "--each", "2", "--json", str(file)]) == 1  # too few
    record = json.loads(file.read_text(encoding="utf-8"))
    rows = record["figures"]
    assert list(rows) == [*KINDS, "all"] and rows["all"]["detected"] == sum(rows[kind]["detected"] for kind in KINDS)
    assert rows["answer alone"]["detected"] == 3 and rows["wrong amount"]["detected"] >= 2
    missed = rows["all"]["detected"] * (1 - rows["all"]["exact"])
    assert len(record["misses"]) == round(missed) and all(miss["unmet"] for miss in record["misses"])
    assert "dropped write" in capsys.readouterr().out
    assert blame_office.main(["--tasks", "banking:3,12", "--half", "held-out", "--json", str(file)]) == 1
    half = json.loads(file.read_text(encoding="utf-8"))["figures"]["all"]["detected"]
    assert blame_office.main(["--tasks", "banking:12", "--words", "--json", str(file)]) == 1
    assert json.loads(file.read_text(encoding="utf-8"))["figures"]["all"]["detected"] == half > 0
    assert blame_office.main(["--tasks", "mail"]) == 2 and "no task is called mail" in capsys.readouterr().err
