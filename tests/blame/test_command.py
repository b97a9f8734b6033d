"""The command that prints the suspects of a log."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pivot_dspy.blame.__main__ import main
from tests.ordering import ORDER


def test_the_command_prints_suspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"messages": ORDER}))
    assert main([str(path), "--wrong", "The order is for 2 kg", "--reads", "find_*", "--top", "1"]) == 0
    printed = capsys.readouterr().out
    assert "1. c2: order" in printed and "\n2. " not in printed
    assert main([str(path), "--wrong", "The order is for 2 kg", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["steps"] == 4 and {"position", "step", "kind", "diagnosis", "call"} <= read["suspects"][0].keys()
    assert main([str(path), "--wrong", "Bob was not told.", "--top", "9"]) == 0
    assert "before submit" in capsys.readouterr().out
    assert main([str(path)]) == 0
    assert "Say what is wrong with it: --wrong TEXT" in capsys.readouterr().out


def test_the_command_reads_json_lines_and_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, ORDER)))
    assert main([str(path)]) == 0
    with path.open() as lines:
        monkeypatch.setattr("sys.stdin", lines)
        assert main(["-"]) == 0
    first, second = capsys.readouterr().out.split("Nothing failed")[:2]
    assert "4 steps" in first and "4 steps" in second


@pytest.mark.parametrize(
    ("text", "options", "error"),
    [
        ("{", [], "TrajectoryError: .* is neither JSON nor JSON Lines"),
        ("{}\n{", [], "is neither JSON nor JSON Lines"),
        ("\xff", [], "TrajectoryError: .* is no text in UTF-8"),
        ('{"a": 1}', [], "TrajectoryError: this dict is not a log"),
        ("[]", ["--format", "xml"], "TrajectoryError: no format is called 'xml'"),
        ('[{"role": "tool", "content": "3"}]', [], "TrajectoryError: the log holds a result of 'a tool'"),
        (None, [], "FileNotFoundError"),
    ],
)
def test_the_command_says_why_it_cannot_read_a_log(
    text: str | None, options: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert main([str(path), *options]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert re.search(error, printed.err)


def test_requirements_need_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["log.json", "--require", "Ann is told."])
    assert ended.value.code == 2 and "--require needs --lm" in capsys.readouterr().err
