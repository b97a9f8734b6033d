import functools
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal

import dspy
import pytest
from pydantic import BaseModel

from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Observation, Step, Trajectory


class Guest(BaseModel):
    name: str
    age: int = 0


def greet(guest: Guest, day: date, tone: Literal["warm", "cold"] = "warm") -> dict[str, Any]:
    """Greet a guest."""
    return {"name": guest.name, "year": day.year, "tone": tone}


async def count(of: str) -> int:
    return len(of)


def loose(x, y=2, **rest):  # type: ignore[no-untyped-def]
    return [x, y, rest]


class Store:
    def __init__(self) -> None:
        self.kept: list[str] = []

    def keep(self, name: str) -> list[str]:
        """Keep a name."""
        self.kept.append(name)
        return self.kept

    def __call__(self, name: str) -> list[str]:
        return self.keep(name)


def call(tools: list[Any], name: str, /, **args: Any) -> Observation:
    session = SessionFactory(from_functions(tools, effects="read")).open(None)
    plan = Trajectory(steps=(Step(id="a", tool=name, args=args),))
    return run_sync(execute(plan, session)).execution.observations[0]


TOOL = dspy.Tool(greet, name="hello", desc="Say hello.", arg_desc={"day": "of arrival"})


def test_functions_and_dspy_tools_are_shown_alike() -> None:
    shown = from_functions([greet, TOOL, count, loose, Store().keep], effects={"count": "read"}).toolbox.render_tools()
    assert shown == "\n".join(
        [
            "- greet(guest: Guest, day: date, tone: 'warm' | 'cold' = \"warm\") -> {str: any}  [write]",
            "- hello(guest: Guest, day: date, tone: 'warm' | 'cold' = \"warm\") -> {str: any}  [write]  "
            "# Say hello.; day: of arrival",
            "- count(of) -> int",
            "- loose(x: any, y: any = 2, **rest)  [write]",
            "- keep(name) -> [str]  [write]",
            "Types:",
            "Guest = {name, age: int}",
        ]
    )


@pytest.mark.parametrize("name", ["greet", "hello"])
def test_functions_and_dspy_tools_get_the_same_typed_arguments(name: str) -> None:
    args: dict[str, Any] = {"guest": {"name": "Ann"}, "day": "2026-01-02"}
    assert call([greet, TOOL], name, **args).value == {"name": "Ann", "year": 2026, "tone": "warm"}
    for wrong in ({"day": "soon"}, {"tone": "loud"}, {"guest": {}}, {"guest": "Ann"}, {"who": 1}):
        fault = call([greet, TOOL], name, **{**args, **wrong}).fault
        assert fault and fault.kind == "bad_arguments", wrong
        assert fault.expected and fault.expected.startswith(f"{name}(guest: Guest")


def test_callables_of_every_kind_are_tools() -> None:
    store = Store()
    assert call([count], "count", of="four").value == 4
    assert call([dspy.Tool(count)], "count", of="four").value == 4
    assert call([loose], "loose", x=1, z=3).value == [1, 2, {"z": 3}]
    assert call([dspy.Tool(loose)], "loose", x=1, z=3).value == [1, 2, {"z": 3}]
    assert call([store.keep], "keep", name="a").value == ["a"]
    assert call([store], "Store", name="b").value == ["a", "b"]
    assert call([functools.partial(loose, y=5)], "loose", x=1).value == [1, 5, {}]
    assert call([dspy.Tool(lambda x: x, name="same")], "same", x=[1]).value == [1]
    assert call([dspy.Tool(lambda x: count(x), name="hidden")], "hidden", x="four").value == 4


def test_what_a_generator_raises_is_the_tools_own_error() -> None:
    def pages(n: int) -> Iterator[int]:
        yield 1
        yield 1 // n

    assert call([pages], "pages", n=1).value == [1, 1]
    fault = call([pages], "pages", n=0).fault
    assert fault and fault.kind == "tool_error" and "ZeroDivisionError" in fault.message


def test_a_schema_given_to_dspy_tool_is_checked_too() -> None:
    limited = dspy.Tool(count, args={"of": {"type": "string", "maxLength": 3}})
    fault = call([limited], "count", of="four").fault
    assert fault and fault.message == "count: of: 'four' is too long"


def test_reading_functions_fork_and_writing_ones_wait() -> None:
    assert SessionFactory(from_functions([count], effects="read")).open(None).family.tier == "fork"
    assert SessionFactory(from_functions([count])).open(None).family.tier == "live"
    assert SessionFactory(from_functions([count, greet], effects={"count": "read"})).open(None).family.tier == "live"
    with pytest.raises(ConfigurationError, match="write an Environment class whose state can be copied"):
        from_functions([count]).fork()


def test_checks_orientation_and_policy_are_kept() -> None:
    def today() -> date:
        return date(2026, 1, 2)

    environment = from_functions(
        [today], effects="read", checks=[count_is], orientation=["today"], policy="Be kind.", vocabulary="words"
    )
    assert environment.orientation == ("today",) and environment.policy == "Be kind."
    session = SessionFactory(environment).open(None)
    assert session.check(session.toolbox.checks["count_is"], {"n": 1}).holds


def count_is(n: int) -> bool:
    return n == 1


@pytest.mark.parametrize(
    ("tools", "options", "message"),
    [
        ([count, dspy.Tool(count)], {}, "two tools are called 'count'"),
        ([dspy.Tool(count, name="submit")], {}, "ends a trajectory; rename the tool"),
        ([count], {"effects": "reads"}, "effect must be one of read, write, irreversible; got 'reads'"),
        ([count], {"effects": {"cuont": "read"}}, "effects names cuont, which is no tool; tools: count"),
        ([count], {"effects": {"count": None}}, "effect must be one of"),
        ([7], {}, "a tool must be callable or a dspy.Tool, not int"),
        ([lambda x: x], {}, "a tool is called '<lambda>'; give it a name: dspy.Tool"),
        ([count], {"checks": [count]}, "the check 'count' is async"),
        ([count], {"orientation": ["count"]}, "orientation names 'count'"),
        ([count], {"orientation": "count"}, "orientation is a tuple of tool names"),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(tools: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        from_functions(tools, **options)
