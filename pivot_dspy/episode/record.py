"""What one run of a refiner spends, within which limits, and the record of what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pivot_dspy.budget import Budget, Ledger
from pivot_dspy.episode.events import Event, StopEvent


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
        self.ledger = Ledger()
        self.history: list[Event] = []
        self.exhausted: str | None = None
        self.moves: list[str] = []
        self._on_event = on_event

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
        event = event.model_copy(update={"tokens": self.ledger.usage.total_tokens})
        self.history.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def spent(self) -> bool:
        """Whether the budget is used up; remembers which limit was reached."""
        if self.exhausted is None and (limit := self.ledger.spent(self.budget)):
            self.exhaust(limit)
        return self.exhausted is not None

    def exhaust(self, limit: str) -> None:
        """The budget counts as used up from here on; `limit` says why, with its numbers."""
        self.exhausted = limit
        self.emit(StopEvent(message=f"budget spent: {limit}"))

    def permit(self, reused: bool) -> None:
        """Books a tool call; refuses one over the budget."""
        if not reused and self._tool_budget is not None:
            self.ledger.check(self._tool_budget)
        self.ledger.tool_call(reused)
