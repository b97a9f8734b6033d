"""The exceptions of this package, and how an error is put into words.

    PivotError
    ├── ToolError                        what a user's tool raises to tell the model something
    ├── OutcomeUnknown, a RuntimeError   what it raises where nobody knows whether it did what it does
    ├── ConfigurationError, a ValueError
    ├── TrajectoryError, a ValueError
    ├── BindingError, a ValueError       pivot_dspy.bindings
    ├── ArgumentError, a ValueError      pivot_dspy.environment.toolbox
    ├── BudgetExhausted, a RuntimeError  pivot_dspy.budget
    ├── PlanningFailed, a RuntimeError
    ├── EnvironmentFailed, a RuntimeError
    ├── IsolationError, a RuntimeError
    ├── CommitError, a RuntimeError
    └── TooManyErrors, a RuntimeError

What a tool, a check or a hook of an environment raises never escapes, but for EnvironmentFailed: it becomes a fault, a
finding or a warning in the log. What DSPy raises for its language models passes as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pivot_dspy.departures import Difference
    from pivot_dspy.episode.commit import UndoCall
    from pivot_dspy.trajectory import Execution

MESSAGE_CAP = 1000
"""Characters of an error's message that are kept."""


class PivotError(Exception):
    """Base of every error raised on purpose by `pivot_dspy`."""


class ToolError(PivotError):
    """Raise it in a tool: the model reads this message as the reason why the call failed, and nothing else.

    Of any other exception it reads the class too, for a message like `'7'` explains nothing by itself.

    >>> from pivot_dspy import Step, ToolError, Trajectory, from_functions
    >>> from pivot_dspy.environment.factory import SessionFactory
    >>> from pivot_dspy.execution import execute
    >>> from pivot_dspy.flow import run_sync
    >>> def seats(room: str) -> int:
    ...     raise ToolError(f"no room is called {room}; the rooms are Blue and Green")
    >>> session = SessionFactory(from_functions([seats], effects="read")).open(None)
    >>> plan = Trajectory(steps=(Step(id="a", tool="seats", args={"room": "Red"}),))
    >>> run_sync(execute(plan, session)).execution.discrepancies[0].message
    'no room is called Red; the rooms are Blue and Green'
    """


class OutcomeUnknown(PivotError, RuntimeError):
    """Raise it in a tool that writes, or in the end of an `Environment.transaction`, where nobody knows whether it did
    what it does: a connection that broke, say.

    A commit stops there, and does not make the call again unless it is told so (`resume_commit(repeat=...)`), or the
    tool declares an `idempotency_key`.
    """


class ConfigurationError(PivotError, ValueError):
    """What was passed at construction cannot work; the message names the remedy."""


class TrajectoryError(PivotError, ValueError):
    """A trajectory, or text that should become one, is not well formed."""


class PlanningFailed(PivotError, RuntimeError):
    """No executable trajectory could be obtained from the language model."""

    ledger: object
    """The `LedgerReport` of what was spent before giving up."""

    def __init__(self, message: str, ledger: object = None) -> None:
        super().__init__(message)
        self.ledger = ledger


class EnvironmentFailed(PivotError, RuntimeError):
    """The environment cannot be opened again in mid-run; a refiner then gives back the best so far.

    The one error that passes through where a tool raises it.
    """


class IsolationError(PivotError, RuntimeError):
    """A run has changed what is real before anything was committed; the message names it, and the remedy."""

    paths: tuple[str, ...]
    """What has changed: `self.orders[2].paid` on the instance, `Shop.count` on a class, `shops.LOG` in a module."""

    def __init__(self, message: str, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class CommitError(PivotError, RuntimeError):
    """A trajectory may not be made real, or departed from what was verified while it was.

    Its `__cause__` is what the tool raised, if one did.
    """

    result: object
    """The refined prediction that was to be committed, so that nothing of it is lost."""
    execution: Execution | None
    """All that was observed in the real world until then; None where nothing was tried, or all was rolled back."""
    step: str | None
    """Id of the step that it happened at, if it was at one."""
    difference: Difference | None
    """Where what was verified and what was found differ, if that is what happened."""
    undo: tuple[UndoCall, ...]
    """The calls that would undo what was done, newest first, as far as tools declare how; none of them was made."""

    def __init__(
        self,
        message: str,
        result: object = None,
        *,
        execution: Execution | None = None,
        step: str | None = None,
        difference: Difference | None = None,
        undo: tuple[UndoCall, ...] = (),
    ) -> None:
        super().__init__(message)
        self.result = result
        self.execution, self.step, self.difference, self.undo = execution, step, difference, undo

    @property
    def cause(self) -> BaseException | None:
        """What the tool raised, if that is what happened."""
        return self.__cause__


class TooManyErrors(PivotError, RuntimeError):
    """`max_errors` runs of a program failed while it was compiled; the message sums up how."""

    errors: tuple[tuple[str, Exception], ...]
    """Each task that failed, by its description, with what it raised."""
    compiled: object
    """The program as far as it was compiled by then, None where nothing was accepted yet. With a `log_dir`, all that
    had finished is saved there, and the next `compile` goes on from it."""

    def __init__(self, message: str, errors: tuple[tuple[str, Exception], ...] = (), compiled: object = None) -> None:
        super().__init__(message)
        self.errors = errors
        self.compiled = compiled


def error_text(error: BaseException) -> str:
    """The kind of an error and what it says, capped; a `ToolError` says what it says."""
    try:
        text = str(error)
    except Exception as broken:  # an error of the user's may fail even at this
        text = f"its message cannot be read, {type(broken).__name__}"
    if isinstance(error, ToolError) and text:
        return cap_text(text)
    return f"{type(error).__name__}: {cap_text(text or 'no message')}"


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?` with the one of `names` that is nearest to a wrong one; empty where none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def cap_text(text: str) -> str:
    """`text`, cut off after `MESSAGE_CAP` characters."""
    return text if len(text) <= MESSAGE_CAP else f"{text[:MESSAGE_CAP]}…"
