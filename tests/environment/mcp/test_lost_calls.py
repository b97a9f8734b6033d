"""Calls that end by something else than their tool: servers that ask, die, are restarted, are late or change."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import fastmcp
import mcp
import pytest

from pivot_dspy import Pivot
from pivot_dspy.errors import CommitError
from pivot_dspy.trajectory import Fault
from tests.environment.mcp import desk_server
from tests.environment.mcp.desks import (
    LIBRARIES,
    PROBE,
    answer,
    committed,
    desk,
    desk_over_http,
    inside,
    made,
    notes,
    trial,
)
from tests.environment.running import run, values
from tests.scripted import plan, scripted, step, submit

UNKNOWN = "unknown whether the call did what it does"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_tool_that_acts_and_then_asks_leaves_open_what_it_did(library: str) -> None:
    environment = made(inside(library), sandbox=lambda: inside(library), probe=PROBE)
    opened = trial(environment)
    fault = answer(opened, "add_if_sure", text="x")
    assert UNKNOWN in fault.message and "mode='legacy' and an elicitation_callback" in fault.message
    assert notes(opened) == ["x"]  # it did


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_question_is_answered_by_the_clients_callback(library: str) -> None:
    async def agree(context: Any, params: Any) -> Any:
        key = next(iter(params.requested_schema["properties"]))
        return mcp.types.ElicitResult(action="accept", content={key: True})

    real = mcp.Client(desk(library), elicitation_callback=agree)  # in legacy mode, or it could not be asked
    with committed(made(real)) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": "accept"}


def test_a_trial_whose_server_dies_is_void_from_there_on() -> None:
    environment = made(desk(), sandbox=desk, probe=PROBE)
    opened = trial(environment)
    first = values(run(opened, ("add", {"text": "a"}), ("die", {}), ("notes", {}), ("add", {"text": "b"})))
    assert first[0] == {"number": 1} and "Connection closed" in first[1].message
    assert all("this trial is void: its server was lost in the call of die" in fault.message for fault in first[2:])
    assert notes(opened.fork()) == ["a"]  # what a call that only reads has done is nothing
    written = trial(environment)
    died = values(run(written, ("add_and_die", {"text": "x"}), ("notes", {})))
    assert UNKNOWN in died[0].message and "void" in died[1].message
    assert "void" in answer(written.fork(), "notes").message  # nobody knows how a copy of it would stand


def test_a_commit_does_not_repeat_what_may_have_happened(tmp_path: Path) -> None:
    environment = made(desk(folder=tmp_path), sandbox=inside, probe=PROBE)
    steps = [step("a", "add", text="x"), submit(answer="$a.number")]
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot("question -> answer", environment)(question="Add x.")
    assert result.verified

    async def dies(tool: Any, arguments: dict[str, Any]) -> Any:
        """The real server ends in the midst of the call."""
        real, environment.server = environment.server, connected
        dying = type(tool)("add_and_die", writes=True)
        return await real.call(dying, arguments)

    connected = environment.server
    environment.server = type("Dying", (), {"call": staticmethod(dies)})()
    with pytest.raises(CommitError, match=UNKNOWN):
        result.commit()
    with pytest.raises(CommitError, match=r"nobody knows whether the last call of step a did what it does"):
        result.resume_commit()
    assert json.loads((tmp_path / "notes.json").read_text()) == ["x"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_restart_of_an_http_server_does_not_go_unnoticed(library: str) -> None:
    with desk_over_http(library) as address:
        environment = made(desk(library), sandbox=lambda: address)  # which is not probed, and shared
        environment.connect(environment.server, "")
        port = int(address.rsplit(":", 1)[1].split("/")[0])
        opened = trial(environment)
        assert answer(opened, "add", text="x") == {"number": 1}
    with desk_over_http(library, port):
        seen = values(run(opened, ("notes", {}), ("notes", {})))
        assert isinstance(seen[0], Fault) and "void" in seen[1].message


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_call_that_takes_too_long_is_cancelled_in_the_server_too(library: str) -> None:
    environment = made(inside(library), sandbox=lambda: inside(library), probe=PROBE)
    with committed(environment, timeout=0.5) as session:
        assert answer(session, "slow_add", text="x", seconds=1).kind == "timeout"
        assert [answer(session, "slow", seconds=0.3) for _ in range(3)] == [{"result": "late"}] * 3
        assert notes(session) == []
    opened = trial(environment, timeout=2)  # in which its sandbox is opened as well
    late = values(run(opened, ("slow_add", {"text": "x", "seconds": 4}), ("notes", {}), ("add", {"text": "y"})))
    assert late[0].kind == "timeout" and late[1:] == [{"result": []}, {"number": 1}]  # on, from a copy


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_tool_that_the_server_takes_away_is_a_fault(library: str) -> None:
    with committed(made(inside(library))) as session:
        assert answer(session, "rebuild") == {"result": "rebuilt"}
        gone = answer(session, "notes")
        assert gone.kind == "tool_error" and "Unknown tool" in gone.message


def changing(library: str) -> tuple[Any, Callable[[], None]]:
    """A client, not connected yet, and what changes the tool `add` of its server."""
    server = desk_server.made(library)

    def add(text: str, forever: bool = True) -> str:
        raise AssertionError("called")

    def change() -> None:
        if library == "fastmcp":
            server.local_provider.remove_tool("add")
            server.tool(add)
        else:
            server.remove_tool("add")
            server.add_tool(add)

    return (fastmcp.Client if library == "fastmcp" else mcp.Client)(server), change


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_real_is_done_by_a_tool_that_has_changed_meanwhile(library: str) -> None:
    real, change = changing(library)
    environment = made(real, sandbox=lambda: inside(library), probe=PROBE)
    with committed(environment) as session:
        assert answer(session, "add", text="x") == {"number": 1}
        change()
        fault = answer(session, "add", text="y")
        assert "not called, for add has changed since the server's tools were listed; make the" in fault.message
        assert answer(session, "ticket")["id"]  # another tool is as it was


def test_a_real_write_is_not_made_where_the_server_is_gone_before() -> None:
    with desk_over_http("mcp") as address:
        environment = made(address, sandbox=inside, probe=PROBE)
    with committed(environment) as session:
        fault = answer(session, "add", text="x")
        assert "not called, for the server does not list its tools" in fault.message and UNKNOWN not in fault.message


def test_a_sandbox_that_lists_other_tools_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    def other() -> Any:
        client, change = changing("mcp")
        change()
        return client

    environment = made(inside(), sandbox=inside, probe=PROBE)
    assert "lists other tools" not in caplog.text
    environment.server.sandboxes._make = other  # type: ignore[attr-defined]
    assert [notes(trial(environment)) for _ in range(2)] == [[], []]
    assert caplog.text.count("a sandbox lists other tools than the real MCP server did") == 1
    assert ": add has changed; what is planned goes by the real ones" in caplog.text


@pytest.mark.parametrize("make", [inside, desk])
def test_a_server_that_says_that_its_tools_have_changed_is_warned_of(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with committed(made(make())) as session:
        assert answer(session, "rebuild") == {"result": "rebuilt"}
        assert answer(session, "add", text="x") == {"number": 1}
    assert "the MCP server says that it has changed its tools" in caplog.text


def test_a_protocol_without_sessions_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    made(inside(mode="2026-07-28"))
    assert "without sessions and without questions" in caplog.text
    caplog.clear()
    caplog.set_level(logging.WARNING)
    made(inside())
    assert "used with mode='legacy'" in caplog.text and "without questions from the server: what" not in caplog.text
