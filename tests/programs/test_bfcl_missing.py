"""Without the package bfcl-eval the program says how to get it. These tests need no package: its import is blocked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from programs import bfcl
from programs.multi_turn import package
from programs.multi_turn.data import load_cases
from programs.multi_turn.tools import class_of

LINE = "pip install --no-deps bfcl-eval mpmath"


def block(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let no import of the module `name` succeed, nor of what has imported it in the package."""
    for known in list(sys.modules):
        if known.split(".")[0] in (name, "bfcl_eval"):
            monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("options", [(), ("--gold",), ("--lm", "openai/gpt-4.1-mini"), ("--set", "miss_func")])
def test_the_program_says_how_to_get_it(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block(monkeypatch, "bfcl_eval")
    assert bfcl.main(options) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and LINE in told.err and "Traceback" not in told.err
    assert "passed" not in told.out


def test_so_do_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    block(monkeypatch, "bfcl_eval")
    with pytest.raises(package.MissingPackage, match=LINE):
        load_cases("base")


def test_mpmath_is_needed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bfcl_eval", reason=LINE)
    block(monkeypatch, "mpmath")
    with pytest.raises(package.MissingPackage, match=f"mpmath.*{LINE}"):
        class_of("MathAPI")


def test_data_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Elsewhere:
        __file__ = str(tmp_path / "eval_checker" / "__init__.py")

    monkeypatch.setattr(package, "module", lambda name: Elsewhere)
    with pytest.raises(package.MissingPackage, match="no readable data/BFCL_v4_multi_turn_base.json"):
        load_cases("base")
