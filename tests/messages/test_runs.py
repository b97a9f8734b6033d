"""Files and lists that hold several runs: one is chosen, or all are refused; none is read into another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import messages
from pivot_dspy.blame.__main__ import main
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Trajectory
from tests.messages.test_agents import reacted
from tests.messages.writing import WRITERS, Made, Run, Turn

FLOUR = Run("How much flour?", (Turn("I look.", (Made("count", {"item": "flour"}, "3"),)),), "Three.")
EGGS = Run("How many eggs?", (Turn("I look.", (Made("count", {"item": "eggs"}, "9"),)),), "Nine.")
SYSTEM = {"role": "system", "content": "You count."}


@pytest.fixture(autouse=True)
def _messages_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")


def chosen(log: Any, run: int | str) -> list[Any]:
    read = messages.read(log, run=run)
    return [*(call.arguments["item"] for call in read.calls), read.answer]


@pytest.mark.parametrize("name", WRITERS)
def test_of_a_list_of_runs_one_is_chosen(name: str) -> None:
    if name.startswith(("opentelemetry", "otlp", "openinference")):
        pytest.skip("spans tell of their trace")
    both = [WRITERS[name](FLOUR), WRITERS[name](EGGS)]
    if isinstance(both[0], list):
        documents: list[Any] = [{"id": f"run-{number}", "messages": log} for number, log in enumerate(both)]
        assert chosen(documents, "run-1")[0] == "eggs"
        assert messages.read(documents[:1]).calls == messages.read(both[0]).calls
    else:
        documents = []
    for log in filter(None, (both, tuple(both), documents)):
        with pytest.raises(TrajectoryError, match=r"the log holds 2 runs: 0.*, 1.*; choose one with run="):
            messages.read(log)
        assert (chosen(log, 0)[0], chosen(log, "1")[0]) == ("flour", "eggs")
        with pytest.raises(TrajectoryError, match="no run is called 'third' in this log; there are 0"):
            messages.read(log, run="third")
    assert messages.read(both[:1]).calls == messages.read(both[0]).calls


def traced(run: Run, trace: str, *, about: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Spans that share a trace, as those around which a root was."""
    [batch] = WRITERS["otlp"](run)["resourceSpans"]
    spans: list[dict[str, Any]] = batch["scopeSpans"][0]["spans"]
    added = [{"key": key, "value": {"stringValue": value}} for key, value in (about or {}).items()]
    return [{**span, "traceId": trace, "attributes": [*span["attributes"], *added]} for span in spans]


def exported(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def test_spans_of_several_traces_are_several_runs() -> None:
    flour, eggs = traced(FLOUR, "t-flour"), traced(EGGS, "t-eggs")
    in_turn = [span for pair in zip(flour, eggs, strict=True) for span in pair]
    for log in (exported(*in_turn), [exported(span) for span in in_turn], in_turn):
        with pytest.raises(TrajectoryError, match=r"2 runs: 0 \(t-flour\), 1 \(t-eggs\); choose one with run="):
            messages.read(log)
        assert chosen(log, "t-eggs") == ["eggs", "Nine."] and chosen(log, 0) == ["flour", "Three."]
    # The lines of one export belong together.
    assert len(messages.read([exported(span) for span in flour]).calls) == 1


def test_the_turns_of_one_conversation_are_one_run() -> None:
    about = {"gen_ai.conversation.id": "c"}
    flour, eggs = traced(FLOUR, "a", about=about), traced(EGGS, "b", about=about)
    around = [{"traceId": trace, "spanId": trace, "attributes": []} for trace in ("a", "b")]  # which tell of none
    log = exported(*around, *flour, *eggs)
    assert [call.arguments["item"] for call in messages.read(log).calls] == ["flour", "eggs"]


@pytest.mark.parametrize("name", ["opentelemetry_json", "openinference"])
def test_spans_without_a_common_trace_are_one_run_unless_they_tell_of_several_tasks(name: str) -> None:
    flour, eggs = WRITERS[name](FLOUR), WRITERS[name](EGGS)
    assert len(messages.read(flour).calls) == 1
    with pytest.raises(TrajectoryError, match="which tell of 2 tasks; give the spans of one run"):
        messages.read([*flour, *eggs])


def test_instructions_that_stand_once_more_begin_another_run() -> None:
    log = [SYSTEM, *WRITERS["openai_chat"](FLOUR), SYSTEM, *WRITERS["openai_chat"](EGGS)]
    with pytest.raises(TrajectoryError, match="the log holds 2 runs"):
        Trajectory.from_messages(log)
    assert chosen(log, 1) == ["eggs", "Nine."]
    assert Execution.from_messages(log, run=0).outputs == {"answer": "Three."}
    reminded = [*log[:5], {"role": "system", "content": "Be brief."}, *log[6:]]
    assert len(messages.read(reminded).calls) == 2


def test_predictions_of_several_react_runs() -> None:
    both = [reacted(("search", {"query": query})) for query in ("x", "y")]
    with pytest.raises(TrajectoryError, match="the log holds 2 runs"):
        messages.read(both)
    log = messages.read(both, run=1)
    assert (log.calls[0].arguments, log.answer) == ({"query": "y"}, "one")


def test_what_a_model_answered_beside_its_messages_is_not_lost() -> None:
    record = {"messages": WRITERS["openai_chat"](FLOUR)[:1], "response": {"choices": [{"message": {}}]}}
    for log in (record, [record, record]):
        with pytest.raises(TrajectoryError, match="under 'response', what a model answered to them; append that"):
            messages.read(log)


def agents(kind: str, *names: str) -> list[dict[str, Any]]:
    """Spans of agents, each around its own tool, in one trace."""
    spans = [{"spanId": "root", "attributes": {}}]
    for number, name in enumerate(names):
        around = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool{number}",
                "gen_ai.tool.call.arguments": "{}", "gen_ai.tool.call.result": "ok"}  # fmt: skip
        if kind == "openinference":
            around = {"openinference.span.kind": "AGENT", "agent.name": name}
            tool = {"openinference.span.kind": "TOOL", "tool.name": f"tool{number}", "input.value": "{}",
                    "output.value": "ok"}  # fmt: skip
        step: dict[str, str] = {"openinference.span.kind": "CHAIN"} if kind == "openinference" else {}
        spans += [
            {"spanId": f"a{number}", "parentSpanId": "root", "attributes": around},
            {"spanId": f"s{number}", "parentSpanId": f"a{number}", "attributes": step},
            {"spanId": f"t{number}", "parentSpanId": f"s{number}", "startTimeUnixNano": number, "attributes": tool},
        ]
    return [{"traceId": "t", **span} for span in spans]


@pytest.mark.parametrize("kind", ["genai", "openinference"])
def test_a_span_is_of_the_agent_whose_span_is_around_it(kind: str) -> None:
    assert len(messages.read(agents(kind, "ann", "ann")).calls) == 2
    both = agents(kind, "ann", "bob")
    with pytest.raises(TrajectoryError, match=r"several agents call tools in this log: ann \(1 call\), bob"):
        messages.read(both)
    assert [call.tool for call in messages.read(both, agent="bob").calls] == ["tool1"]


def test_the_command_takes_one_run_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.jsonl"
    lines = [{"messages": json.loads(json.dumps(WRITERS["gemini_json"](run)))} for run in (FLOUR, EGGS)]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert main([str(path)]) == 2
    assert "choose one with run=" in capsys.readouterr().err
    assert main([str(path), "--run", "1", "--wrong", 'It counts "eggs".']) == 0
    assert "eggs" in capsys.readouterr().out
