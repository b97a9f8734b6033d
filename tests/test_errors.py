"""The exceptions: their tree as it is drawn, and what a model reads of one."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import re
from typing import Any

import dspy
import pytest

import pivot_dspy
from pivot_dspy import PivotError, ToolError, errors, from_functions
from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.errors import MESSAGE_CAP, error_text
from tests.environment.running import run


def modules() -> list[Any]:
    walked = pkgutil.walk_packages(pivot_dspy.__path__, "pivot_dspy.")
    return [importlib.import_module(module.name) for module in walked]


def test_the_tree_is_the_hierarchy() -> None:
    _, *lines = re.findall(r"^    (\S.*)$", errors.__doc__ or "", re.MULTILINE)
    drawn = {}
    for line in lines:
        name, other, home = re.fullmatch(r"[├└]── (\w+)(?:, an? (\w+))?(?: {2,}(.*))?", line).groups()  # type: ignore[union-attr]
        module = home if home and home.startswith("pivot_dspy.") else "pivot_dspy.errors"
        drawn[name] = (other, module)
    real = {
        value.__name__: (next((base.__name__ for base in value.__bases__[1:]), None), value.__module__)
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, PivotError) and value is not PivotError
    }
    assert drawn == real
    assert all(getattr(pivot_dspy, name, None) in (None, getattr(errors, name, None)) or name == "BudgetExhausted"
               for name in real)  # fmt: skip
    assert all(value.__bases__[0] is PivotError for value in PivotError.__subclasses__())


def test_no_exception_outside_of_the_tree_is_documented_as_raised() -> None:
    """What a docstring says under `Raises:` is in the tree, of Python or of DSPy."""
    own = {cls.__name__ for cls in PivotError.__subclasses__()}
    strangers = set()
    for module in modules():
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            for raised in re.findall(r"^ +(\w+(?:Error|Failed|Exhausted)): ", value.__doc__ or "", re.MULTILINE):
                if raised not in own and not hasattr(builtins, raised) and raised not in vars(dspy):
                    strangers.add(raised)
    assert strangers <= {"ModelFailed", "StepFailed"}, strangers  # inside the package alone


def refusing(room: str) -> int:
    raise ToolError(f"no room is called {room}; the rooms are Blue and Green")


async def arefusing(room: str) -> int:
    raise ToolError(f"no room is called {room}; the rooms are Blue and Green")


class Hotel(Environment):
    @tool(effect="write")
    def book(self, room: str) -> int:
        return refusing(room)

    @tool(effect="read")
    async def price(self, room: str) -> int:
        return await arefusing(room)

    @tool(effect="read")
    def other(self, room: str) -> int:
        raise LookupError(room)

    @check
    def is_free(self, room: str) -> bool:
        return bool(refusing(room))


FUNCTIONS = from_functions([refusing, arefusing, dspy.Tool(refusing, name="wrapped")], effects="read")
TEXT = "no room is called Red; the rooms are Blue and Green"


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize(
    ("environment", "name"),
    [(Hotel, "book"), (Hotel, "price"), (FUNCTIONS, "refusing"), (FUNCTIONS, "arefusing"), (FUNCTIONS, "wrapped")],
)
def test_the_model_reads_what_a_tool_error_says_and_nothing_else(
    environment: Any, name: str, timeout: float | None, awaited: bool
) -> None:
    session = SessionFactory(environment, timeout=timeout).open(None)
    (discrepancy,) = run(session, (name, {"room": "Red"}), awaited=awaited).discrepancies
    assert (discrepancy.kind, discrepancy.message) == ("tool_error", TEXT)
    session.family.close()


def test_of_another_error_the_class_is_said_too() -> None:
    session = SessionFactory(Hotel).open(None)
    assert run(session, ("other", {"room": "Red"})).discrepancies[0].message == "LookupError: Red"
    evidence = session.check(session.toolbox.checks["is_free"], {"room": "Red"}).evidence
    assert evidence == f"cannot be checked: {TEXT}"
    session.family.close()


def test_an_error_is_put_into_words_whatever_it_is() -> None:
    class Full(ToolError):
        """A kind of its own."""

    class Unreadable(Exception):
        def __str__(self) -> str:
            raise KeyError("x")

    assert error_text(Full("the hotel is full")) == "the hotel is full"
    assert error_text(ToolError()) == "ToolError: no message"
    assert error_text(KeyError("x")) == "KeyError: 'x'"
    assert error_text(Unreadable()) == "Unreadable: its message cannot be read, KeyError"
    assert error_text(ToolError("x" * 5000)) == "x" * MESSAGE_CAP + "…"
