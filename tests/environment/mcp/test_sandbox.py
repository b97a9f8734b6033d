from __future__ import annotations

import asyncio
import gc
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dspy
import fastmcp
import mcp
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy import Budget, Pivot, from_mcp
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed
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
from tests.scripted import plan, rewrite, scripted, step, submit


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_plan_is_tried_and_mended_in_sandboxes_and_committed_to_the_real_server(library: str, tmp_path: Path) -> None:
    first = [step("a", "add", text="one"), step("b", "add", text=""), submit(answer="$b.number")]
    mended = [{"keep": ["a"]}, step("b", "add", text="two"), step("c", "notes"), submit(answer="$c.result[1]")]
    environment = made(desk(library, tmp_path), sandbox=lambda: inside(library), probe=PROBE)
    assert environment.live_because == ""
    with dspy.context(lm=scripted(plan=plan(first), evolve=rewrite(mended))):
        result = Pivot("question -> answer", environment)(question="Add one and two.", budget=Budget(lm_calls=6))
    assert (result.verified, result.answer, result.execution.tier) == (True, "two", "fork")
    assert not (tmp_path / "notes.json").exists()
    result.commit()
    assert json.loads((tmp_path / "notes.json").read_text()) == ["one", "two"]


def test_a_copy_of_a_trial_stands_where_the_trial_stood_and_goes_its_own_way() -> None:
    environment = made(inside(), sandbox=inside, probe=PROBE)
    opened = trial(environment)
    run(opened, ("add", {"text": "a"}), ("add", {"text": ""}), ("add", {"text": "b"}))
    copied = opened.fork()
    answer(opened, "add", text="c")
    answer(copied, "add", text="d")
    assert (notes(opened), notes(copied), notes(trial(environment))) == (["a", "b", "c"], ["a", "b", "d"], [])
    opened.family.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_ids_that_are_drawn_anew_in_a_copy_are_those_that_were_seen(library: str) -> None:
    opened = trial(made(inside(library), sandbox=lambda: inside(library), probe=PROBE))
    first, second = (answer(opened, "ticket") for _ in range(2))
    copied = opened.fork()
    assert answer(copied, "redeem", id=first["said"].split()[1]) == {"used": first["id"], "left": [second["id"]]}
    assert answer(copied.fork(), "redeem", id=second["id"]) == {"used": second["id"], "left": []}
    assert answer(opened, "redeem", id=second["id"]) == {"used": second["id"], "left": [first["id"]]}


def test_a_copy_that_goes_another_way_is_none() -> None:
    tried = itertools.count()

    def sandbox() -> Any:
        server = mcp.server.mcpserver.MCPServer("moody")
        number, kept = next(tried), list[str]()

        @server.tool()
        def add(text: str) -> int:
            if number == 3 and text == "b":
                raise RuntimeError("not today")
            kept.append(text)
            return len(kept)

        @server.tool()
        def notes() -> list[str]:
            return kept

        return mcp.Client(server, mode="legacy")

    opened = trial(made(inside(), sandbox=sandbox, probe=PROBE))
    assert values(run(opened, ("add", {"text": "a"}), ("add", {"text": "b"}))) == [{"result": 1}, {"result": 2}]
    with pytest.raises(EnvironmentFailed, match=r"cannot be brought to where a trial stood: add fails \("):
        answer(opened.fork(), "notes")


def test_an_open_session_is_real_and_what_is_tried_beside_it_is_not() -> None:
    async def main() -> None:
        async with inside(mode="legacy") as client:
            environment = await from_mcp(client, sandbox=inside, probe=PROBE)
            steps = [step("a", "add", text="x"), submit(answer="$a.number")]
            with dspy.context(lm=scripted(plan=plan(steps))):
                result = await Pivot("question -> answer", environment).acall(question="Add x.")
            assert result.verified
            before = await client.call_tool("notes", {})
            await result.acommit()
            after = await client.call_tool("notes", {})
            assert (before.structured_content, after.structured_content) == ({"result": []}, {"result": ["x"]})

    asyncio.run(main())


@asynccontextmanager
async def by_hand() -> AsyncIterator[Any]:
    from mcp.client.stdio import stdio_client

    async with stdio_client(desk()) as streams, mcp.ClientSession(*streams) as session:
        await session.initialize()
        yield session


@pytest.mark.parametrize(
    "make",
    [
        lambda: mcp.Client(desk()),
        lambda: mcp.Client(desk(), mode="2026-07-28"),
        lambda: fastmcp.Client(fastmcp.client.StdioTransport(desk().command, desk().args, keep_alive=False)),
        by_hand,
        inside,
    ],
)
def test_a_sandbox_is_a_client_or_whatever_gives_a_session(make: Callable[[], Any]) -> None:
    opened = trial(made(inside(), sandbox=make, probe=PROBE))
    assert answer(opened, "add", text="x") == {"number": 1} and notes(opened) == ["x"]
    opened.family.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_server_over_http_is_real_as_well(library: str, tmp_path: Path) -> None:
    with desk_over_http(library, folder=tmp_path) as address:
        environment = made(address, sandbox=lambda: inside(library), probe=PROBE)
        assert answer(trial(environment), "add", text="tried") == {"number": 1}
        with committed(environment) as session:
            assert answer(session, "add", text="done") == {"number": 1}
            assert answer(session, "slow", seconds=0.1) == {"result": "late"}
    assert json.loads((tmp_path / "notes.json").read_text()) == ["done"]


def test_all_sandboxes_are_left_and_the_real_server_with_the_environment() -> None:
    open_now: set[str] = set()
    numbers = itertools.count()

    @asynccontextmanager
    async def counted(name: str = "") -> AsyncIterator[Any]:
        name = name or f"sandbox {next(numbers)}"
        async with inside(mode="legacy") as client:
            open_now.add(name)
            try:
                yield client
            finally:
                open_now.remove(name)

    def remain(left: set[str]) -> bool:
        for _ in range(200):
            if open_now == left:
                return True
            time.sleep(0.02)
        return False

    environment = made(counted("real"), sandbox=counted, probe=PROBE)
    with dspy.context(lm=scripted(plan=plan([step("a", "add", text="x"), submit(answer="$a.number")]))):
        result = Pivot("question -> answer", environment)(question="Add x.")
    assert result.verified and next(numbers) == 4  # two to probe, one to try it and one to verify
    del result  # which shows the world as its trial left it
    gc.collect()
    assert remain({"real"})
    del environment
    gc.collect()
    assert remain(set())


def test_a_closed_environment_says_so() -> None:
    environment = made(inside(), sandbox=inside, probe=PROBE)
    opened = trial(environment)
    environment.server.sandboxes.thread.stop()
    with pytest.raises(EnvironmentFailed, match="the environment of the server is closed"):
        run(opened, ("notes", {}))
    with committed(environment) as session:
        assert "the event loop of the MCP session has ended" in answer(session, "notes").message


def test_callbacks_are_told_of_calls(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    class Listening(BaseCallback):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            told.append(f"{instance.name} {inputs}")

    environment = made(inside(), sandbox=inside, probe=PROBE)
    with dspy.context(callbacks=[Listening()]):
        answer(trial(environment), "add", text="x")
    assert len(told) == 1 and told[0].startswith("add {") and "'text': 'x'" in told[0]


# ------------------------------------------------------------------------------------------------------ the probe


def test_sandboxes_that_share_their_state_are_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = made(inside(), sandbox=lambda: desk(folder=tmp_path), probe=PROBE)
    why = r"what add changes in one sandbox shows in another \(result\[0\] of notes\), so they share their state"
    assert "the tier is live" in caplog.text
    assert re.match(why, environment.live_because)
    opened = SessionFactory(environment).open(None)
    assert opened.family.tier == "live"
    assert run(opened, ("add", {"text": "x"})).observations[0].status == "withheld"


def test_a_sandbox_that_is_not_probed_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    environment = made(inside(), sandbox=inside)
    assert SessionFactory(environment).open(None).family.tier == "live"
    assert "give a probe" in caplog.text


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ((("add", {"text": ""}), ("notes", {})), "the probe failed in a sandbox: add"),
        ((("add", {"text": "x"}), ("texts", {"which": "x"})), "the probe shows nothing: texts gives the same"),
        ((("ad", {"text": "x"}), ("notes", {})), "probe names 'ad', which is no tool; did you mean 'add'"),
        ((("add", {}), ("notes", {})), r"probe: add: text: missing; it takes add\(text"),
        ((("die", {}), ("notes", {})), "probe names the tool 'die', which is left out: exclude names it"),
    ],
)
def test_a_probe_that_shows_nothing_is_refused(probe: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        made(inside(), sandbox=inside, probe=probe, exclude=["die"])


def test_a_sandbox_that_is_open_already_or_cannot_be_opened_is_refused() -> None:
    async def main() -> None:
        async with mcp.Client(desk(), mode="legacy") as client:
            with pytest.raises(ConfigurationError, match="open already, which all trials would share"):
                await from_mcp(client, sandbox=lambda: client, probe=PROBE)
        gone = mcp.StdioServerParameters(command="/nowhere/server", args=[])
        with pytest.raises(ConfigurationError, match="no MCP server can be reached by"):
            await from_mcp(gone)
        with pytest.raises(EnvironmentFailed, match="a sandbox of the server cannot be opened"):
            await from_mcp(desk(), sandbox=lambda: gone, probe=PROBE)
        with pytest.raises(ConfigurationError, match="no MCP server can be reached by int"):
            await from_mcp(7)

    asyncio.run(main())


def test_a_run_whose_sandboxes_cannot_be_opened_any_more_says_so() -> None:
    made_of = iter([inside, inside])

    def sandbox() -> Any:
        return next(made_of)()

    environment = made(inside(), sandbox=sandbox, probe=PROBE)
    lm = scripted(plan=plan([step("a", "add", text="x"), submit(answer="$a.number")]))
    failing = pytest.raises(EnvironmentFailed, match="a sandbox of the server cannot be opened")
    with dspy.context(lm=lm), failing:
        Pivot("question -> answer", environment)(question="Add x.")


# ------------------------------------------------------------------------------------------------ hidden arguments


def test_hidden_arguments_are_given_to_each_call_and_shown_to_no_model() -> None:
    numbers = itertools.count()
    environment = made(
        inside(), sandbox=lambda: (inside(), {"desk": f"try{next(numbers)}"}), probe=PROBE, hidden={"desk": "real"}
    )
    shown = environment.toolbox.render_tools()
    assert "- add(text) -> object  [write]  # Add a note." in shown and "desk" not in shown
    assert run(trial(environment), ("add", {"text": "x", "desk": "mine"})).observations[0].status == "error"
    opened = trial(environment)
    answer(opened, "add", text="x")
    with committed(environment) as session:
        answer(session, "add", text="x")
        assert notes(session) == ["real: x"] and notes(opened)[0].startswith("try")


def test_what_hidden_and_exclude_name_must_be_there() -> None:
    with pytest.raises(ConfigurationError, match="no tool takes 'dsk', which hidden names; did you mean 'desk'"):
        made(inside(), hidden={"dsk": "x"})
    with pytest.raises(ConfigurationError, match="exclude names 'note', which is no tool; did you mean 'notes'"):
        made(inside(), exclude=["note"])
    with pytest.raises(ConfigurationError, match="effects names the tool 'die', which is left out"):
        made(inside(), exclude=["die"], effects={"die": "read"})
