"""When a new trajectory replaces the old one."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.loss import EPSILON


class Acceptance(Protocol):
    """Decides whether a candidate replaces the incumbent. It can only refuse: a larger loss is never accepted.

    One of your own is a class with `accepts`:

    >>> from pivot_dspy import Pivot
    >>> class Halving(Acceptance):
    ...     def accepts(self, candidate, incumbent):
    ...         return candidate.loss.total <= incumbent.loss.total / 2
    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> pivot = Pivot("question -> answer: int", tools=[double], effects="read", acceptance=Halving())
    """

    repeats: int = 1
    """How many executions of a candidate the decision looks at; its loss is then the largest of them."""

    def accepts(self, candidate: Candidate, incumbent: Candidate) -> bool:
        """Whether the candidate replaces the incumbent; both have a `trajectory`, a `loss` and an `inspection`."""
        ...


class StrictImprovement(Acceptance):
    """Accepts only a smaller loss."""

    def accepts(self, candidate: Candidate, incumbent: Candidate) -> bool:
        return candidate.loss.better_than(incumbent.loss)


class NonDecreasing(Acceptance):
    """Accepts a loss that is no larger; a tie goes to the trajectory with no more steps. The default."""

    def accepts(self, candidate: Candidate, incumbent: Candidate) -> bool:
        if len(candidate.trajectory) <= len(incumbent.trajectory):
            return candidate.loss.no_worse_than(incumbent.loss)
        return candidate.loss.better_than(incumbent.loss)


class WithMargin(Acceptance):
    """For noisy environments: each candidate is executed `repeats` times, and its worst loss must win by `margin`.

    Args:
        margin: in units of the total loss, from 0 to 1.
        repeats: executions of each candidate, at least 1.

    Raises:
        ConfigurationError: one of them lies outside of these limits.

    >>> WithMargin(margin=0.1, repeats=2).repeats
    2
    """

    def __init__(self, margin: float = 0.01, repeats: int = 3) -> None:
        if not 0 <= margin <= 1 or repeats < 1:
            raise ConfigurationError(f"margin lies in [0, 1] and repeats is at least 1; got {margin} and {repeats}")
        self.margin = margin
        self.repeats = repeats

    def accepts(self, candidate: Candidate, incumbent: Candidate) -> bool:
        # Near 0 there is no room for the margin: what is perfect then need only be no worse.
        bound = max(0.0, incumbent.loss.total - self.margin)
        return candidate.loss.total <= bound + EPSILON and candidate.loss.no_worse_than(incumbent.loss)


def validate_acceptance(acceptance: Any) -> Acceptance:
    """`acceptance`, or the default for None.

    Raises:
        ConfigurationError: it is none, or cannot be called as one; the message says what it takes.
    """
    if acceptance is None:
        return NonDecreasing()
    if isinstance(acceptance, type):
        name = acceptance.__name__
        raise ConfigurationError(f"acceptance= takes an object, not the class {name}; write {name}()")
    name = type(acceptance).__name__
    accepts, repeats = getattr(acceptance, "accepts", None), getattr(acceptance, "repeats", None)
    if not callable(accepts):
        raise ConfigurationError(
            "acceptance= takes an object with a method accepts(candidate, incumbent) -> bool, such as "
            f"StrictImprovement(), not {acceptance!r:.80}"
        )
    try:
        inspect.signature(accepts).bind(None, None)
    except TypeError as error:
        raise ConfigurationError(f"{name}.accepts takes (self, candidate, incumbent): {error}") from error
    if inspect.iscoroutinefunction(accepts) or inspect.isgeneratorfunction(accepts):
        raise ConfigurationError(f"{name}.accepts is an ordinary method that returns a bool")
    if not isinstance(repeats, int) or repeats < 1:
        raise ConfigurationError(f"{name}.repeats is a number of executions, at least 1, not {repeats!r:.80}")
    checked: Acceptance = acceptance
    return checked
