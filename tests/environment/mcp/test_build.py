from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy.departures import Foreseen
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import FunctionEnvironment
from pivot_dspy.environment.mcp.build import from_mcp
from pivot_dspy.environment.toolbox import HELD
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory

mcp = pytest.importorskip("mcp")
SERVER = Path(__file__).with_name("rooms_server.py")


@asynccontextmanager
async def connected() -> AsyncIterator[Any]:
    """A session with a server in a process of its own, over stdio."""
    from mcp.client.stdio import stdio_client

    server = mcp.StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    with open(os.devnull, "w") as nowhere:
        async with stdio_client(server, errlog=nowhere) as (read, write), mcp.ClientSession(read, write) as session:
            await session.initialize()
            yield session


def served(body: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with connected() as session:
            await body(session)

    asyncio.run(main())


def plan(*calls: tuple[str, dict[str, Any]]) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(calls)))


def told(execution: Execution) -> list[Any]:
    return [o.value if o.ok else o.fault.kind if o.fault else o.status for o in execution.observations]


CALLS = (
    ("rooms", {"least": 5}),
    ("bookings", {}),
    ("greeting", {}),
    ("book", {"room": "$s0.result[0].name"}),
    ("burn", {}),
    ("rooms", {"least": "many"}),
    ("slow", {"seconds": 5}),
    ("slow", {"seconds": 0}),
)
ANSWERS = [
    {"result": [{"name": "Red", "seats": 9}]},
    {"booked": []},
    "Good day: {not JSON}",
    "withheld",
    "withheld",
    "bad_arguments",
    "timeout",
    {"result": 1},
]


def test_a_server_is_an_environment_in_which_reads_run_and_writes_wait() -> None:
    async def body(session: Any) -> None:
        environment = await from_mcp(session)
        assert environment.toolbox.render_tools().splitlines() == [
            HELD,
            "- rooms(least: int = 0) -> {result: [{name, seats: int}]}  # Rooms with at least so many seats.",
            "- bookings()  # What is booked, as JSON in text.",
            "- greeting()  # Plain text.",
            "- slow(seconds: float) -> {result: int}  # Answers late.",
            "- book(room) -> {name, seats: int}  [write]",
            "- burn() -> {result: bool}  [held]  # Burn it all down.",
            "- status()  # How it stands, and how often that was asked.",
            "- paint(room, colour?) -> {result}  [write]  # Says nothing of its effect.",
        ]
        source = SessionFactory(environment, timeout=1.5)
        opened = source.open(None)
        assert opened.family.tier == "live"
        assert told((await run_async(execute(plan(*CALLS), opened))).execution) == ANSWERS
        # From another thread, the calls go to the session's own loop.
        from_thread = await asyncio.to_thread(lambda: run_sync(execute(plan(*CALLS), opened)))
        assert told(from_thread.execution) == ANSWERS
        elsewhere = await asyncio.to_thread(lambda: asyncio.run(run_async(execute(plan(*CALLS), opened))))
        assert told(elsewhere.execution) == ANSWERS

    served(body)


def test_committed_writes_run_and_errors_of_the_server_are_faults() -> None:
    async def body(session: Any) -> None:
        environment = await from_mcp(session)
        real = SessionFactory(environment).open_real(None)
        trajectory = plan(
            ("book", {"room": "Blue"}), ("book", {"room": "Blue"}), ("paint", {"room": "Blue"}), ("bookings", {})
        )
        execution = (await run_async(execute(trajectory, real))).execution
        taken = {"name": "Blue", "seats": 4}
        assert told(execution) == [taken, "tool_error", {"result": "Blue is None"}, {"booked": ["Blue"]}]
        assert "Blue is taken" in execution.discrepancies[0].message

    served(body)


def test_a_sync_call_that_would_block_the_sessions_loop_says_what_to_do() -> None:
    async def body(session: Any) -> None:
        opened = SessionFactory(await from_mcp(session)).open(None)
        with pytest.raises(ConfigurationError, match=r"needs this event loop.*use `await \.\.\.\.acall"):
            run_sync(execute(plan(("bookings", {})), opened))

    served(body)


def test_a_session_that_has_ended_is_a_fault_and_no_wait() -> None:
    kept: list[FunctionEnvironment] = []

    async def body(session: Any) -> None:
        kept.append(await from_mcp(session))

    served(body)
    execution = run_sync(execute(plan(("bookings", {})), SessionFactory(kept[0]).open(None))).execution
    assert "the event loop of the MCP session has ended" in execution.discrepancies[0].message


def test_effects_given_outweigh_hints() -> None:
    async def body(session: Any) -> None:
        environment = await from_mcp(session, effects={"rooms": "write", "burn": "read"})
        effects = {name: spec.effect for name, spec in environment.toolbox.tools.items()}
        assert (effects["rooms"], effects["burn"], effects["greeting"]) == ("write", "read", "read")
        reading = SessionFactory(await from_mcp(session, effects="read", orientation=["bookings"]))
        assert reading.open(None).family.tier == "fork"
        with pytest.raises(ConfigurationError, match="effects names romms, which is no tool"):
            await from_mcp(session, effects={"romms": "read"})
        with pytest.raises(ConfigurationError, match="orientation names 'book'"):
            await from_mcp(session, orientation=["book"])

    served(body)


def test_keys_undos_and_what_may_differ_are_declared_by_tool() -> None:
    async def body(session: Any) -> None:
        environment = await from_mcp(
            session,
            idempotency_key={"paint": "colour"},
            undo={"book": "paint"},
            volatile={"status": ["call"]},
        )
        tools = environment.toolbox.tools
        assert [*tools["paint"].parameters] == ["room"] and tools["book"].undo is not None
        source = SessionFactory(environment)
        real = source.open_real(None)
        painted = (await run_async(execute(plan(("paint", {"room": "Blue"})), real))).execution
        assert painted.by_step["s0"].value == {"result": f"Blue is {real.family.idempotency_key('s0', 0)}"}
        with pytest.raises(ConfigurationError, match="volatile names x, which is no tool"):
            await from_mcp(session, volatile={"x": ["call"]})

    served(body)


def test_a_running_number_of_calls_departs_only_where_it_is_used_and_not_declared() -> None:
    async def body(session: Any) -> None:
        for volatile, is_used in (({}, False), ({}, True), ({"status": ["call"]}, True)):
            source = SessionFactory(await from_mcp(session, volatile=volatile))
            runs = [(await run_async(execute(plan(("status", {})), source.open(None)))).execution for _ in range(2)]
            was, now = (run.by_step["s0"].value["call"] for run in runs)
            foreseen = Foreseen(runs[0], source.open(None).toolbox, [f"It is call {was}."] if is_used else [])
            found = foreseen.departure(runs[1].by_step["s0"])
            assert found == (f"step s0 gave call = {was} and now {now}" if is_used and not volatile else None)

    served(body)


class Paged:
    """A session whose server lists its tools over several pages, in the form of MCP 1 or 2."""

    def __init__(self, tools: list[Any], *, by_params: bool) -> None:
        self.tools = tools
        self.list_tools = self._by_params if by_params else self._by_cursor

    async def _by_params(self, *, params: Any = None) -> Any:
        return self._page(params.cursor if params else None)

    async def _by_cursor(self, cursor: str | None = None) -> Any:
        return self._page(cursor)

    def _page(self, cursor: str | None) -> Any:
        start = int(cursor or 0)
        # The last of several pages names itself, as a broken server may.
        following = str(start + 2) if start + 2 < len(self.tools) else cursor
        return mcp.types.ListToolsResult(tools=self.tools[start : start + 2], nextCursor=following)


def listed(*names: str, **more: Any) -> list[Any]:
    return [mcp.types.Tool(name=name, inputSchema={"type": "object", **more}) for name in names]


@pytest.mark.parametrize("by_params", [False, True])
async def test_all_pages_are_followed(by_params: bool) -> None:
    session = Paged(listed("a", "b", "c", "d", "e"), by_params=by_params)
    environment = await from_mcp(session)
    assert list(environment.toolbox.tools) == ["a", "b", "c", "d", "e"]


NODE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}


async def test_a_tool_that_cannot_be_offered_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    fine = listed("fine", properties={"root": {"$ref": "#/$defs/Node"}}, **{"$defs": {"Node": NODE}})
    twins = [*listed("twin"), *listed("twin", properties={"x": {}}), *listed("same"), *listed("same")]
    mcp_2 = hasattr(mcp, "Client")
    promised = {"output_schema" if mcp_2 else "outputSchema": {"$ref": "#/gone"}}
    gives_what = [listed("gives")[0].model_copy(update=promised)]
    lost = listed("lost", properties={"x": {"$ref": "#/$defs/gone"}})
    wrong = listed("wrong", properties={"x": {"type": "strin"}})
    tools = [*listed("submit"), *wrong, *lost, *twins, *gives_what, *fine]
    environment = await from_mcp(Paged(tools, by_params=True))
    assert list(environment.toolbox.tools) == ["same", "fine"]
    for name, why in {
        "submit": "it is called like what ends a trajectory",
        "wrong": "it is no valid JSON schema: 'strin'",
        "lost": "it refers to '#/$defs/gone', and nothing stands there",
        "twin": "the server lists two tools of this name",
        "gives": "it refers to '#/gone'",
    }.items():
        assert re.search(f"the MCP tool '{name}' is left out: .*{re.escape(why)}", caplog.text)
    for option in ({"effects": {"lost": "read"}}, {"orientation": ["lost"]}, {"undo": {"fine": "lost"}}):
        with pytest.raises(ConfigurationError, match="names the tool 'lost', which is left out: its schema cannot be"):
            await from_mcp(Paged(tools, by_params=True), **option)


async def test_where_nobody_tells_effects_all_tools_write_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    environment = await from_mcp(Paged(listed("a", "b"), by_params=True))
    assert {spec.effect for spec in environment.toolbox.tools.values()} == {"write"}
    assert "nobody tells what a, b of the MCP server do, so they count as writes" in caplog.text
    caplog.clear()
    await from_mcp(Paged(listed("a", "b"), by_params=True), effects={"a": "read"})
    assert "count as writes" not in caplog.text


async def test_volatile_may_be_said_of_all_tools_or_of_one() -> None:
    for volatile, told in ((["at"], [("at",)] * 2), ("at", [("at",)] * 2), ({"b": ["at"]}, [(), ("at",)])):
        environment = await from_mcp(Paged(listed("a", "b"), by_params=True), volatile=volatile)
        assert [spec.volatile for spec in environment.toolbox.tools.values()] == told


async def test_pages_without_end_are_refused() -> None:
    class Endless(Paged):
        def _page(self, cursor: str | None) -> Any:
            return mcp.types.ListToolsResult(tools=[], nextCursor=str(int(cursor or 0) + 1))

    with pytest.raises(ConfigurationError, match="lists its tools on more than 1000 pages"):
        await from_mcp(Endless([], by_params=False))


def test_mcp_is_imported_only_when_it_is_used() -> None:
    code = "import sys, pivot_dspy.environment.mcp.build; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


def test_reads_may_be_declared_parallel_or_pure_and_nothing_else_may() -> None:
    async def body(session: Any) -> None:
        effects = {"rooms": "read", "bookings": "read"}
        environment = await from_mcp(session, effects=effects, parallel=["rooms"], pure=["rooms"])
        tools = environment.toolbox.tools
        assert (tools["rooms"].parallel, tools["rooms"].pure, tools["bookings"].parallel) == (True, True, False)
        with pytest.raises(ConfigurationError, match="pure"):
            await from_mcp(session, effects={"rooms": "read"}, pure=["book"])

    served(body)
