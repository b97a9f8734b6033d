"""Blame of logs, where no environment is there, and the command that prints it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from pivot_dspy.blame.__main__ import main
from pivot_dspy.recorded import judge, suspects, toolbox_of
from pivot_dspy.requirements import Requirement
from pivot_dspy.trajectory import Execution


def call(number: int, tool: str, **args: Any) -> list[dict[str, Any]]:
    result = args.pop("gives", '{"ok": true}')
    function = {"name": tool, "arguments": json.dumps(args)}
    made = {"id": f"k{number}", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": f"k{number}", "content": result},
    ]


ORDER = [
    {"role": "system", "content": "You order for a kitchen."},
    {"role": "user", "content": "Order 3 kg of flour, and tell Ann."},
    *call(1, "find_items", query="flour", gives='[{"id": "f7", "name": "flour"}]'),
    *call(2, "order", item="f7", kg=2, gives='{"order": "o1"}'),
    *call(3, "send_mail", to="ann", text="Flour is ordered."),
    {"role": "assistant", "content": "I have ordered 3 kg of flour."},
    {"role": "user", "content": "thanks!"},
]


def test_what_a_person_knows_to_be_wrong_points_to_its_step() -> None:
    execution = Execution.from_messages(ORDER)
    assert suspects(execution) == ()
    first = suspects(execution, wrong=['The order of flour is for 2 kg, not "3".'], reads=["find_*"])[0]
    assert (first.step, first.requirements) == ("c2", ("W1",))
    mail = suspects(execution, wrong=["The mail was sent to ann too early."], reads=["find_*"])[0]
    assert mail.step == "c3"


def test_a_call_that_failed_is_blamed_without_a_word() -> None:
    log = [*ORDER[:4], *call(2, "order", item="f9", kg=3, gives="Error: no item f9"), ORDER[-2]]
    first = suspects(Execution.from_messages(log), task="Order 3 kg of flour, and tell Ann.")[0]
    assert (first.step, first.kind) == ("c2", "tool_error") and "f9" in str(first.evidence)


def test_a_log_that_ends_with_a_tool_has_no_answer() -> None:
    assert "missing_submit" in [suspect.kind for suspect in suspects(Execution.from_messages(ORDER[:-2]))]


def test_requirements_in_words_are_judged_by_a_model_and_its_quotes_are_looked_up() -> None:
    requirements = [Requirement(id="R1", text="The order is for 3 kg."), Requirement(id="R2", text="Ann is told."),
                    Requirement(id="R3", text="Bob is told.")]  # fmt: skip
    verdicts = [
        {"about": "R1", "holds": False, "why": "it is for 2 kg"},
        {"about": "R2", "holds": True, "quote": "Flour is ordered."},
        {"about": "R3", "holds": True, "quote": "Bob has read it."},
    ]
    lm = DummyLM([{"verdicts": json.dumps(verdicts)}] * 2)
    execution = Execution.from_messages(ORDER)
    with dspy.context(lm=lm):
        statuses = [finding.status for finding in judge(execution, requirements)]
        assert statuses == ["violated", "holds", "unjudged"]
        ranked = suspects(execution, requirements, reads=["find_*"])
    assert ranked[0].step == "c2" and "R1" in ranked[0].requirements


def test_what_a_log_shows_of_tools_cannot_be_called() -> None:
    toolbox = toolbox_of(Execution.from_messages(ORDER), reads=["find_*"])
    assert {name: spec.effect for name, spec in toolbox.tools.items()} == {
        "find_items": "read", "order": "write", "send_mail": "write",
    }  # fmt: skip
    with pytest.raises(Exception, match="only known from a log"):
        toolbox.tools["order"].invoke(None)


def test_the_command_prints_suspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps({"messages": ORDER}))
    assert main([str(path), "--wrong", "The order is for 2 kg", "--reads", "find_*", "--top", "1"]) == 0
    printed = capsys.readouterr().out
    assert "1. c2: order" in printed and "\n2. " not in printed
    assert main([str(path), "--wrong", "The order is for 2 kg", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert read["steps"] == 4 and {"position", "step", "kind", "diagnosis", "call"} <= read["suspects"][0].keys()
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
