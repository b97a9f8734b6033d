"""When a new trajectory replaces the old one."""

from __future__ import annotations

from typing import Protocol

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.loss import EPSILON, Loss


class Acceptance(Protocol):
    """Decides whether a candidate replaces the incumbent. No implementation may accept a larger loss."""

    repeats: int
    """How many executions of a candidate the decision looks at; its loss is then the largest of them."""

    def accepts(self, candidate: Loss, incumbent: Loss, *, candidate_steps: int, incumbent_steps: int) -> bool:
        """Whether the candidate replaces the incumbent; `candidate_steps` and `incumbent_steps` are their lengths."""
        ...


class StrictImprovement:
    """Accepts only a smaller loss.

    >>> StrictImprovement().accepts(Loss(total=0.2), Loss(total=0.2), candidate_steps=1, incumbent_steps=2)
    False
    """

    repeats = 1

    def accepts(self, candidate: Loss, incumbent: Loss, *, candidate_steps: int, incumbent_steps: int) -> bool:
        return candidate.better_than(incumbent)


class NonDecreasing:
    """Accepts a loss that is no larger; a tie goes to the trajectory with no more steps. The default.

    >>> NonDecreasing().accepts(Loss(total=0.2), Loss(total=0.2), candidate_steps=3, incumbent_steps=2)
    False
    """

    repeats = 1

    def accepts(self, candidate: Loss, incumbent: Loss, *, candidate_steps: int, incumbent_steps: int) -> bool:
        if candidate.better_than(incumbent):
            return True
        return candidate.no_worse_than(incumbent) and candidate_steps <= incumbent_steps


class WithMargin:
    """For noisy environments: each candidate is executed `repeats` times, and its worst loss must win by `margin`.

    Args:
        margin: in units of the total loss, from 0 to 1.
        repeats: executions of each candidate, at least 1.

    >>> WithMargin(margin=0.1, repeats=2).accepts(Loss(total=0.15), Loss(total=0.2), candidate_steps=1,
    ...                                           incumbent_steps=1)
    False
    """

    def __init__(self, margin: float = 0.01, repeats: int = 3) -> None:
        if not 0 <= margin <= 1 or repeats < 1:
            raise ConfigurationError(f"margin lies in [0, 1] and repeats is at least 1; got {margin} and {repeats}")
        self.margin = margin
        self.repeats = repeats

    def accepts(self, candidate: Loss, incumbent: Loss, *, candidate_steps: int, incumbent_steps: int) -> bool:
        # Near 0 there is no room for the margin: what is perfect then need only be no worse.
        bound = max(0.0, incumbent.total - self.margin)
        return candidate.total <= bound + EPSILON and candidate.no_worse_than(incumbent)
