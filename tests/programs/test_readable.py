"""Which cases the offline model has references of, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_cases
from programs.deepplanning.readable import Readable, readable, remark, warn
from programs.options import DataError
from tests.programs.shops import UNREADABLE, make_unreadable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generate(tmp_path, tasks=3)
    make_unreadable(tmp_path, "L2-1")
    return tmp_path


def test_what_cannot_be_read_is_left_out_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = load_cases(folder)
    known = readable(folder, cases)
    assert [case.id for case in known.cases] == [*known.references] == ["L1-1", "L3-1"]
    assert all(known.references[case.id].match == case.query for case in known.cases)
    assert list(known.unread) == ["L2-1"] and UNREADABLE in known.unread["L2-1"]
    warn(known.unread)
    said = capsys.readouterr()
    assert not said.out and len(said.err.splitlines()) == 1
    assert "warning: task L2-1 is left out" in said.err and "lining quilted" in said.err and UNREADABLE in said.err
    assert remark(known.unread) == "Left out: 1 task that the offline model's rules cannot read: L2-1."
    assert "2 tasks" in remark({"a": "", "b": ""})


def test_a_buyer_that_no_rule_reads_is_left_out_too(folder: Path) -> None:
    cases = load_cases(folder)
    cases[0].user["demographics"]["gender"] = "Other"
    assert list(readable(folder, cases).unread) == ["L1-1", "L2-1"]
    assert list(readable(folder, cases, policy=False).unread) == ["L2-1"]  # the profile is not thought of


def test_the_policy_is_as_of_the_reference(folder: Path) -> None:
    cases = load_cases(folder)
    told, untold = (readable(folder, cases, policy=policy).references["L1-1"] for policy in (True, False))
    assert told.fingerprint != untold.fingerprint


def test_where_nothing_is_read_it_says_so(folder: Path) -> None:
    cases = [case for case in load_cases(folder) if case.id == "L2-1"]
    with pytest.raises(DataError, match="none of the tasks; of L2-1: no rule reads 'lining quilted'"):
        readable(folder, cases)


def test_broken_data_is_no_matter_of_reading(folder: Path) -> None:
    cases = load_cases(folder)
    (folder / "database_level3" / "case_1" / "validation_cases.json").unlink()
    with pytest.raises(DataError, match="no such file"):
        readable(folder, cases)


def test_a_real_model_needs_nothing_read(folder: Path) -> None:
    cases = tuple(load_cases(folder))
    assert Readable(cases).cases == cases and not Readable(cases).references and not Readable(cases).unread
