"""Servers that ask in the midst of a call, and who answers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import Any

import dspy
import mcp
import pytest
from mcp.server.mcpserver import Context, MCPServer

from pivot_dspy import ConfigurationError, Pivot, from_mcp
from pivot_dspy.environment.mcp.elicitation import ServerQuestion
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
from tests.scripted import plan, scripted, step, submit


class Person:
    """Answers so, and keeps what it was asked."""

    def __init__(self, action: str = "accept") -> None:
        self.action, self.asked = action, list[ServerQuestion]()

    def __call__(self, question: ServerQuestion) -> dict[str, Any]:
        self.asked.append(question)
        (key,) = question.schema["properties"]
        return {"action": self.action, "content": {key: True} if self.action == "accept" else None}

    @property
    def real(self) -> list[bool]:
        return [question.real for question in self.asked]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("source", [inside, desk])
def test_a_question_goes_to_the_handler(source: Any, library: str) -> None:
    person = Person()
    with committed(made(source(library), elicitation=person)) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": "accept"}
        assert answer(session, "add_if_sure", text="x") == {"result": "accept"}
    assert person.real == [True, True] and person.asked[0].message == "sure?"  # what is real is asked each time


def test_a_question_over_http() -> None:
    person = Person("decline")
    with desk_over_http("mcp") as address, committed(made(address, elicitation=person)) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": "decline"}


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
def test_each_kind_of_answer(action: str) -> None:
    with committed(made(inside(), elicitation=Person(action))) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": action}


def test_a_trial_and_its_copies_ask_once_and_say_that_nothing_is_real() -> None:
    person = Person()
    environment = made(inside(), sandbox=inside, probe=PROBE, elicitation=person)
    opened = trial(environment)
    assert answer(opened, "add_if_sure", text="x") == {"result": "accept"}
    assert notes(opened.fork()) == ["x"] and person.real == [False]
    with committed(environment) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": "accept"}
    assert person.real == [False, True]


def test_a_commit_asks_a_person_and_no_model() -> None:
    person = Person()
    environment = made(inside(), sandbox=inside, probe=PROBE, elicitation=person)
    lm = scripted(plan=plan([step("a", "add_if_sure", text="x"), submit(answer="$a.result")]))
    with dspy.context(lm=lm):
        result = Pivot("question -> answer", environment)(question="Add x.")
    assert result.verified and person.real == [False]
    before = lm.engine.count()
    assert result.commit().outputs == {"answer": "accept"}
    assert person.real == [False, True] and lm.engine.count() == before


async def test_a_coroutine_answers_too() -> None:
    async def declines(question: ServerQuestion) -> None:
        await asyncio.sleep(0)

    environment = await asyncio.to_thread(made, inside(), elicitation=declines)
    with await asyncio.to_thread(lambda: committed(environment)) as session:
        assert await asyncio.to_thread(answer, session, "add_if_sure", text="x") == {"result": "decline"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"action": "accept", "content": {"sure": "maybe"}}, "does not fit the form"),
        ({"action": "accept"}, "does not fit the form: 'sure' is a required property"),
        ({"action": "yes"}, "Input should be 'accept', 'decline' or 'cancel'"),
        (7, "valid dictionary"),
        (ZeroDivisionError("a person"), "ZeroDivisionError: a person"),
    ],
)
def test_what_is_no_answer_cancels(given: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    def handler(question: ServerQuestion) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    with committed(made(inside(), elicitation=handler)) as session:
        assert answer(session, "add_if_sure", text="x") == {"result": "cancel"}
    assert "the question of the MCP server is cancelled, 'sure?'" in caplog.text and told in caplog.text


def test_an_address_is_not_opened(caplog: pytest.LogCaptureFixture) -> None:
    server, person = MCPServer("bank"), Person()

    @server.tool()
    async def log_in(ctx: Context) -> str:
        return (await ctx.elicit_url("Log in.", "https://example.org", "7")).action

    caplog.set_level(logging.WARNING)
    with committed(made(mcp.Client(server), elicitation=person)) as session:
        assert answer(session, "log_in") == {"result": "cancel"}
    assert person.asked == [] and "asks to open an address, which is cancelled: Log in." in caplog.text


async def test_a_session_that_is_open_keeps_its_own_callback() -> None:
    async with inside() as client:
        with pytest.raises(ConfigurationError, match="a session that is open answers by the elicitation_callback"):
            await from_mcp(client, elicitation=Person())

    @asynccontextmanager
    async def connecting() -> Any:
        async with inside() as client:
            yield client.session

    with pytest.raises(ConfigurationError, match="leave elicitation= out"):
        await from_mcp(connecting(), elicitation=Person())
