"""A read that is declared pure is made once in a task, whoever asks for it again, and counts as reused from then on."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import pytest
from pydantic import SecretStr

from pivot_dspy import Environment, Pivot, from_functions, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Step, Trajectory
from tests.scripted import plan, scripted, step, submit

CALLS: list[Any] = []
"""The arguments of every call of a tool of this module."""


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


class Atlas(Environment):
    shared = ("CALLS",)

    @tool(effect="read", pure=True)
    def distance(self, start: str, end: Any = "") -> list[Any]:
        CALLS.append((start, end))
        if start == "nowhere":
            raise ValueError("no such place")
        return [start, end]

    @tool(effect="read", pure=True, parallel=True)
    async def height(self, place: int) -> int:
        CALLS.append(place)
        return place

    @tool(effect="read", pure=True)
    def open_door(self, word: SecretStr) -> str:
        CALLS.append(word)
        return word.get_secret_value()[:1]

    @tool(effect="read")
    def weather(self, place: str = "") -> str:
        CALLS.append(place)
        return "rain"

    @tool(effect="write")
    def note(self, text: str) -> str:
        return text


def calls(*made: tuple[str, dict[str, Any]]) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(made)))


def run(plan: Trajectory, session: Session, awaited: bool = False) -> tuple[ExecutedRun, list[bool]]:
    permits: list[bool] = []
    body = execute(plan, session, permit=permits.append)
    return (asyncio.run(run_async(body)) if awaited else run_sync(body)), permits


BERN = ("distance", {"start": "Bern"})


@pytest.mark.parametrize("awaited", [False, True])
def test_an_equal_call_is_made_once_in_all_sessions_of_a_task(awaited: bool) -> None:
    source = SessionFactory(Atlas)
    session = source.open(None)
    first, permits = run(calls(BERN, ("weather", {}), BERN), session, awaited)
    assert (CALLS, permits) == ([("Bern", ""), ""], [False, False, True])
    assert [(o.value, o.calls, o.reused) for o in first.execution.observations[::2]] == [
        (["Bern", ""], 1, False),
        (["Bern", ""], 1, True),
    ]
    assert first.execution.tool_calls == 2
    for again in (session.fork(), source.reopen(session, None)):
        later, permits = run(calls(BERN), again, awaited)
        assert (later.execution.observations[0].value, permits, len(CALLS)) == (["Bern", ""], [True], 2)
    run(calls(BERN), source.open(None), awaited)
    assert len(CALLS) == 3  # another task


@pytest.mark.parametrize("awaited", [False, True])
def test_the_calls_of_a_repeated_step_are_told_apart_and_never_made_twice_at_once(awaited: bool) -> None:
    environment = from_functions([places, height_of], effects="read", parallel=True, pure=["height_of"])
    steps = (Step(id="p", tool="places"), Step(id="h", tool="height_of", args={"place": "$item"}, for_each="$p"))
    done, permits = run(Trajectory(steps=steps), SessionFactory(environment).open(None), awaited)
    seen = done.execution.observations[1]
    assert [pair["result"] for pair in seen.value] == [1, 2, 1, 3, 2]
    assert (CALLS, seen.calls, seen.reused) == ([1, 2, 3], 3, False)
    assert permits == [False, False, False, True, False, True]


def places() -> list[int]:
    return [1, 2, 1, 3, 2]


def height_of(place: int) -> int:
    CALLS.append(place)
    return place


def test_arguments_are_compared_as_the_tool_takes_them() -> None:
    session = SessionFactory(Atlas).open(None)
    run(calls(("height", {"place": "7"}), ("height", {"place": 7})), session)
    assert CALLS == [7]
    ends = [1, True, 1.0, "1", None, [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}]
    run(calls(*(("distance", {"start": "Bern", "end": end}) for end in ends)), session)
    assert [end for _, end in CALLS[1:]] == ends[:-1]


def test_what_json_hides_is_told_apart() -> None:
    words = [("open_door", {"word": word}) for word in ("apple", "banana", "apple")]
    done, permits = run(calls(*words), SessionFactory(Atlas).open(None))
    assert [o.value for o in done.execution.observations] == ["a", "b", "a"]
    assert permits == [False, False, True]


def test_errors_are_not_kept() -> None:
    lost = ("distance", {"start": "nowhere"})
    done, permits = run(calls(lost, lost), SessionFactory(Atlas).open(None))
    assert [o.status for o in done.execution.observations] == ["error", "error"]
    assert (len(CALLS), permits) == (2, [False, False])


def test_nobody_can_alter_what_is_kept() -> None:
    session = SessionFactory(Atlas).open(None)
    for _ in range(3):
        done, _ = run(calls(BERN), session)
        value = done.execution.observations[0].value
        assert value == ["Bern", ""]
        value.append("altered")
    assert len(CALLS) == 1


def test_what_waits_for_commit_makes_no_pure_read_stale() -> None:
    effects = {"height_of": "read", "places": "read"}
    environment = from_functions([height_of, places, put], effects=effects, pure=["height_of"])
    done, _ = run(
        calls(("put", {}), ("height_of", {"place": 1}), ("places", {})), SessionFactory(environment).open(None)
    )
    assert [(o.status, o.stale) for o in done.execution.observations] == [
        ("withheld", False),
        ("ok", False),
        ("ok", True),
    ]


def put() -> None:
    "Write."


def test_a_commit_makes_its_own_calls() -> None:
    source = SessionFactory(Atlas)
    real = source.open_real(None)
    run(calls(BERN, BERN), real)
    assert len(CALLS) == 2


def test_verification_shares_what_the_search_has_read() -> None:
    steps = [step("a", "distance", start="Bern"), step("w", "weather"), submit(answer="$w")]
    with dspy.context(lm=scripted(plan=plan(steps, []))):
        result = Pivot("question -> answer", Atlas)(question="How is the weather on the way from Bern?")
    assert [call for call in CALLS if call == ("Bern", "")] == [("Bern", "")]
    assert CALLS.count("") == 2  # what is not pure is read again
    usage = result.ledger.usage
    assert (usage.tool_calls, usage.tool_calls_reused) == (3, 1)
