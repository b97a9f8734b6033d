"""The replay: every call of the real data, and what the command says of small ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from programs.deepplanning.travel.replay import main, replay
from programs.deepplanning.travel.tools import call
from programs.options import DataError
from tests.programs.travel.cities import NO_DATA, TRAVEL, city, write_tasks

ASKED = ("search_location", '{"place_name": "Museum"}')


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_every_call_is_answered_to_the_letter() -> None:
    report = replay(TRAVEL)
    assert report.mismatches == []
    assert report.calls.total() == report.equal.total() == 7534 and report.tasks == 92
    assert report.ms_per_call < 1  # measured: below 0.1
    assert report.megabytes < 30


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tasks(tmp_path, 5)


def line(observation: str, number: int = 5) -> str:
    tool, arguments = ASKED
    record = {"language": "en", "id": number, "tool": tool, "arguments": arguments, "observation": observation}
    return json.dumps(record) + "\n"


def test_the_command_counts_shows_mismatches_and_writes_json(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "calls.jsonl").write_text(line(call(city(), *ASKED)), encoding="utf-8")
    assert main(["--data", str(data), "--calls", str(data / "calls.jsonl")]) == 0
    assert "search_location" in capsys.readouterr().out
    with (data / "calls.jsonl").open("a", encoding="utf-8") as file:
        file.write(line("[red]other"))
    options = ["--data", str(data), "--calls", str(data / "calls.jsonl"), "--json", str(data / "report.json")]
    assert main(options) == 1
    assert "[red]other" in capsys.readouterr().out
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    assert report["calls"] == {"search_location": 2} and report["equal"] == {"search_location": 1}
    assert report["mismatches"][0]["recorded"] == "[red]other" and report["tasks"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line("x", number=6), r"calls.jsonl, line 1: no task en-6"),
        ('{"language": "en", "id": 5}', r"line 1: no tool, arguments, observation"),
        (line("x") + "{oh", r"calls.jsonl, line 2: expected JSON"),
    ],
)
def test_broken_calls_are_named(data: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "calls.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        replay(data, data / "calls.jsonl")
    assert main(["--data", str(data)]) == 2
    assert "tool_calls.jsonl.gz" in capsys.readouterr().err.replace("\n", "")
