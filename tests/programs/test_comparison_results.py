"""The file of finished runs: what is taken from it, and what happens to lines that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.comparison.benchmarks import Task
from programs.comparison.results import Results, code
from programs.comparison.runs import Unit
from programs.options import DataError
from tests.programs.comparing import record

SETTINGS = {"lm": "m", "budget_tokens": None}


def unit(refiner: str = "a", task: str = "t", seed: int = 0, data: str = "1") -> Unit:
    made = Task(id=task, inputs={}, environment=lambda: None, score=lambda _: (False, False), fingerprint=data)  # type: ignore[arg-type,return-value]
    return Unit(refiner, made, seed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With two finished runs."""
    results = Results(tmp_path / "runs.jsonl", SETTINGS)
    for name in "ab":
        results.add(unit(name), record(name, "t", error="é\nü" if name == "b" else None))
    return tmp_path / "runs.jsonl"


def test_what_was_finished_is_found_again(file: Path) -> None:
    found = Results(file, SETTINGS)
    assert found.get(unit("a")) == record("a", "t") and found.get(unit("b")) == record("b", "t", error="é\nü")
    assert found.unused([unit("a"), unit("b")]) == 0 and found.unused([unit("a")]) == 1


@pytest.mark.parametrize("other", [unit("c"), unit(task="u"), unit(seed=1), unit(data="2")])
def test_of_something_else_nothing_is_taken(file: Path, other: Unit) -> None:
    assert Results(file, SETTINGS).get(other) is None
    assert Results(file, SETTINGS | {"lm": "n"}).get(unit()) is None
    assert Results(file, SETTINGS | {"budget_tokens": 1}).unused([unit()]) == 2


def test_a_last_line_that_was_torn_off_is_removed_wherever_it_broke(file: Path) -> None:
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole), 7):
        file.write_bytes(whole[:cut])
        results = Results(file, SETTINGS)
        assert results.get(unit("a")) is not None and results.get(unit("b")) is None
        results.add(unit("b"), record("b", "t", error="é\nü"))
        assert file.read_bytes() == whole
    file.write_bytes(whole[: first - 5])
    assert Results(file, SETTINGS).get(unit("a")) is None and file.read_bytes() == b""


def test_a_run_worth_another_try_is_not_kept_on_disk(file: Path) -> None:
    results = Results(file, SETTINGS)
    failed = record("c", "t", error="LMRateLimitError: slow down", transient=True)
    results.add(unit("c"), failed)
    assert results.get(unit("c")) == failed and Results(file, SETTINGS).get(unit("c")) is None


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"key": 1}', '"text"', "", "\udcff"])
def test_a_broken_line_is_named(file: Path, line: str) -> None:
    content = file.read_bytes()
    file.write_bytes(line.encode("utf-8", "surrogateescape") + b"\n" + content)
    with pytest.raises(DataError, match=r"runs\.jsonl, line 1: not the record of a run .* remove the line"):
        Results(file, SETTINGS)
    assert file.read_bytes().endswith(content)


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b'{"my": "data"}\n{"without": "an end"}')
    with pytest.raises(DataError, match="line 1"):
        Results(file, SETTINGS)
    assert file.read_bytes() == b'{"my": "data"}\n{"without": "an end"}'


def test_a_record_of_another_form_is_named_when_it_is_used(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"strict": false', b'"strict": "perhaps"'))
    with pytest.raises(DataError, match="the run .*: not the record of a run"):
        Results(file, SETTINGS).get(unit("a"))


def test_without_a_file_results_are_kept_in_memory() -> None:
    results = Results(None, SETTINGS)
    results.add(unit(), record("a", "t"))
    assert results.get(unit()) == record("a", "t")


def test_the_code_has_a_fingerprint() -> None:
    assert code() == code() and len(code()) == 16
