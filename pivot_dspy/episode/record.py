"""What one run of a refiner spends, within which limits, and the record of what happened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pivot_dspy.budget import Budget, Ledger
from pivot_dspy.episode.events import Event, FailureEvent, StopEvent
from pivot_dspy.errors import error_text

logger = logging.getLogger(__name__)

FUTILE = 3
"""Questions in a row without an answer that could be used, after which the model is asked no more."""


class RunRecord:
    """The ledger, the history and the moves of one call of a refiner.

    Args:
        budget: the limits of the call.
        on_event: called with each event as it happens.
    """

    def __init__(self, budget: Budget, on_event: Callable[[Event], None] | None = None) -> None:
        self.budget = budget
        # What a plan cost must not keep it from being run: tool calls answer to these limits only.
        tool_budget = Budget(tool_calls=budget.tool_calls, seconds=budget.seconds)
        self._tool_budget = None if tool_budget == Budget() else tool_budget
        self.ledger = Ledger(seconds=budget.seconds)
        self.history: list[Event] = []
        self.exhausted: str | None = None
        self.ended: str | None = None
        """Why the search may not go on, where it is not for the budget: the model fails, or the environment does."""
        self.cause: BaseException | None = None
        """The error that ended it."""
        self.failures_in_a_row = 0
        self.moves: list[str] = []
        self._on_event = on_event
        self._warned: set[str] = set()

    @contextmanager
    def making(self, move: str) -> Iterator[None]:
        """Names the move that is made inside the `with` block; an error that leaves it carries a note of it."""
        self.moves.append(move)
        try:
            yield
        except Exception as error:
            if hasattr(error, "add_note"):  # since Python 3.11
                error.add_note(f"pivot_dspy: in move {len(self.moves)} of the search, {move}")
            raise

    def emit(self, event: Event) -> None:
        """Put an event on record, with the tokens that are spent by now."""
        event = event.model_copy(update={"tokens": self.ledger.tokens})
        self.history.append(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception as error:  # whoever only listens must not lose the run
                self.warn(f"on_event failed: {error_text(error)}")

    def warn(self, message: str) -> None:
        """Log a warning, once for all that say the same in this run."""
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)

    def fail(self, message: str, error: Exception, *, lasting: bool) -> None:
        """Put on record what the model's side did wrong.

        Args:
            lasting: whether nothing that is asked later can be answered either. `FUTILE` failures in a row count so.
        """
        self.warn(message)
        self.emit(FailureEvent(message=message))
        self.failures_in_a_row += 1
        if self.ended is None and not self.spent() and (lasting or self.failures_in_a_row >= FUTILE):
            times = "" if lasting else f" ({self.failures_in_a_row} failures in a row)"
            self.end(f"the model failed at {message}{times}", error)

    def end(self, reason: str, cause: BaseException) -> None:
        """The search may not go on, for a reason that is not the budget's."""
        self.ended, self.cause = reason, cause
        self.emit(StopEvent(message=reason))

    def spent(self) -> bool:
        """Whether the search may go on no longer: the budget is used up, or the model answers no more.

        Remembers which limit was reached.
        """
        if self.exhausted is None and self.ended is None and (limit := self.ledger.spent(self.budget)):
            self.exhaust(limit)
        return self.exhausted is not None or self.ended is not None

    def exhaust(self, limit: str) -> None:
        """The budget counts as used up from here on; `limit` says why, with its numbers."""
        self.exhausted = limit
        self.emit(StopEvent(message=f"budget spent: {limit}"))

    def permit(self, reused: bool) -> float | None:
        """Books a tool call, and gives the seconds that are left for it; refuses one over the budget."""
        if not reused and self._tool_budget is not None:
            self.ledger.check(self._tool_budget)
        self.ledger.tool_call(reused)
        seconds = self.budget.seconds
        return None if seconds is None else max(0.001, seconds - self.ledger.elapsed)
