"""The contract of an environment: typed tools with declared effects, and read-only checks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast

from pivot_dspy.environment.permission import enforced
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import plain

Effect = Literal["read", "write", "irreversible"]
"""What a tool does: `read` nothing changes, `write` undone by dropping the fork, `irreversible` never undone."""

EFFECTS: tuple[str, ...] = ("read", "write", "irreversible")
Function = TypeVar("Function", bound=Callable[..., Any])

TOOL_MARK = "__pivot_tool__"
CHECK_MARK = "__pivot_check__"


class ToolMark(NamedTuple):
    """What `@tool` leaves on a method."""

    effect: Effect
    preview: str | None
    timeout: float | None
    returns: Any = None


UNCHECKABLE = "cannot be checked: "
"""How the evidence of a check begins that raised instead of answering."""


class CheckResult(NamedTuple):
    """What a check found. A check may return one, a plain bool, or a pair of bool and evidence.

    Attributes:
        holds: whether the requirement is met.
        evidence: what was found, in a few words.
        hint: what would meet it: the candidates that the steps have seen, the condition that fails.
        about: values that the evidence is about (ids of the offending or missing things), so that the steps that
            brought them in can be found.
    """

    holds: bool
    evidence: str = ""
    hint: str = ""
    about: tuple[Any, ...] = ()

    @classmethod
    def of(cls, found: Any) -> CheckResult:
        """What a check returned, as a `CheckResult` of plain values.

        Raises:
            TypeError: it is neither a `CheckResult`, a bool nor a pair of bool and evidence.
        """
        result = cls(*found) if isinstance(found, tuple) and 1 <= len(found) <= 4 else cls(found)
        holds: Any = result.holds
        if holds is None or isinstance(holds, (str, bytes, tuple, list, dict)):
            raise TypeError(f"a check returns a bool, (bool, evidence) or a CheckResult, not {type(found).__name__}")
        about = result.about if isinstance(result.about, (list, tuple, set, frozenset)) else (result.about,)
        return cls(bool(holds), str(result.evidence), str(result.hint), tuple(plain(list(about))))


def tool(
    *, effect: Effect = "write", preview: str | None = None, timeout: float | None = None, returns: Any = None
) -> Callable[[Function], Function]:
    """Mark a method of an `Environment` as a tool.

    Args:
        effect: `read`, `write` (the default) or `irreversible`.
        preview: name of a method with the same parameters that stands in for an irreversible tool until commit: it
            must change nothing outside the session, and returns what the tool is expected to return.
        timeout: seconds that one call may take, instead of the session's default.
        returns: the type of a result that is no error, where the annotation also names errors: planners see this one.

    >>> class Counter(Environment):
    ...     @tool(effect="read")
    ...     def count(self) -> int:
    ...         return 1
    """
    if effect not in EFFECTS:
        raise ConfigurationError(f"effect must be one of {', '.join(EFFECTS)}; got {effect!r}")
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"timeout is in seconds and above 0; got {timeout!r}")

    def mark(function: Function) -> Function:
        changes = effect != "read" and inspect.isfunction(function)
        kept = cast(Function, enforced(function, effect)) if changes else function
        setattr(kept, TOOL_MARK, ToolMark(effect, preview, timeout, returns))
        return kept

    return mark


def check(function: Function) -> Function:
    """Mark a read-only method of an `Environment` as a check that requirements may use.

    It returns a bool, `(bool, evidence)` or a `CheckResult`.
    """
    setattr(function, CHECK_MARK, True)
    return function


class Environment:
    """What tools act on. One instance is one life of it: subclass it, mark tools and checks, keep state on `self`.

    Attributes:
        policy: standing instructions of the environment's operator, compiled into requirements like the task's own.
        vocabulary: what a planner needs to know to write the arguments of checks, beyond their types.
        orientation: names of read tools without required arguments whose results the planner sees before planning.
        forkable: False where a copy is impossible; then the environment is opened again instead, or stays read-only.
        reopenable: False where a new instance acts on the same outside world as the last, so that what one does is
            not undone by dropping it; without a copy either, nothing is then written before commit.

    >>> class Calendar(Environment):
    ...     def __init__(self) -> None:
    ...         self.bookings: list[str] = []
    ...     @tool(effect="write")
    ...     def book(self, room: str) -> int:
    ...         self.bookings.append(room)
    ...         return len(self.bookings)
    ...     @check
    ...     def booked(self, room: str) -> bool:
    ...         return room in self.bookings
    >>> original = Calendar()
    >>> original.fork().book("Blue"), original.bookings
    (1, [])
    """

    policy: str = ""
    vocabulary: str = ""
    orientation: tuple[str, ...] = ()
    forkable: bool = True
    reopenable: bool = True

    def fork(self) -> Environment:
        """An independent copy: nothing done to one is seen by the other. The default is `copy.deepcopy`."""
        return copy.deepcopy(self)

    def close(self) -> None:
        """Release what this instance holds. Called once for each opened or forked instance."""
        return

    def error_of(self, tool: str, value: Any) -> str | None:
        """The message, where the value that `tool` returned says that the call failed."""
        return None

    def describe(self) -> str:
        """Where the environment now stands, in one line for the model's report; empty where there is nothing to say."""
        return ""

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Told all executable requirements, as (id, check, args), before they are evaluated: for checks that look at
        the requirements as a whole, such as "nothing but what was asked for".
        """
        return

    def summarise(self, tool: str, value: Any) -> str | None:
        """A short account of a result for the report, or None for the generic one."""
        return None
