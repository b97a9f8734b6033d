"""What one run of a refiner spends, within which limits, and the record of what happened."""

from __future__ import annotations

from collections.abc import Callable

from pivot_dspy.budget import Budget, Ledger
from pivot_dspy.episode.events import Event
from pivot_dspy.trajectory import Trajectory

Gate = Callable[[Trajectory, Callable[[Event], None]], Trajectory]
"""Looks at what a model proposes before it is run, and gives it back with what may not run marked; may tell events."""


class RunRecord:
    """The ledger and the history of one call of a refiner.

    Args:
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
        self._on_event = on_event

    def emit(self, event: Event) -> None:
        """Put an event on record, with the tokens that are spent by now."""
        event = event.model_copy(update={"tokens": self.ledger.usage.total_tokens})
        self.history.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def spent(self) -> bool:
        """Whether the budget is used up; remembers which limit was reached."""
        if self.exhausted is None and (reached := self.ledger.spent(self.budget)):
            self.stop(reached)
        return self.exhausted is not None

    def stop(self, limit: str) -> None:
        """The budget counts as used up from here on; `limit` says why, with its numbers."""
        self.exhausted = limit
        self.emit(Event(kind="stop", message=f"budget spent: {limit}"))

    def permit(self, reused: bool) -> None:
        """Books a tool call; refuses one over the budget."""
        if not reused and self._tool_budget is not None:
            self.ledger.check(self._tool_budget)
        self.ledger.tool_call(reused)
