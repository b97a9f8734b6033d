"""What lies between one tool call and the next, done in the thread of the calls: to change threads costs more than most
calls do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pivot_dspy._drive import Effect, Steps
from pivot_dspy.environment.batch import Batch, Outcome


class Ended(NamedTuple):
    """Steps that came to their end, with what they returned."""

    value: Any


def advanced(answer: Callable[[], Effect]) -> Effect | Ended:
    """What steps wait for next, once they have got an answer."""
    try:
        return answer()
    except StopIteration as end:
        return Ended(end.value)


class Tour:
    """Runs steps in a worker, from the job that they wait for to where they wait for something else.

    Watched from outside like a `Batch`. A call that is given up ends the tour, and the steps belong to the caller
    again: they wait for an answer and nothing else touches them.

    Attributes:
        given_up: whether that happened; `outcomes` are then the answer.
    """

    def __init__(self, steps: Steps[Any], job: Batch) -> None:
        self._steps = steps
        self._job = job
        self._cancelled = False
        self.given_up = False

    def run(self) -> Effect | Ended:
        """Go on in this thread. Raises what the steps raise."""
        while True:
            try:
                answer = partial(self._steps.send, self._job.run())
            except Exception as error:  # of the permit: for the steps
                answer = partial(self._steps.throw, error)
            if self._job.cancelled:
                return Ended(None)
            came = advanced(answer)
            # Who waits sleeps for a whole timeout, and would be late for a shorter one.
            if isinstance(came, Ended) or came.job is None or came.job.timeout != self._job.timeout:
                return came
            self._job = came.job
            if self._cancelled:
                return Ended(None)

    @property
    def outcomes(self) -> list[Outcome]:
        return self._job.outcomes

    @property
    def running(self) -> bool:
        return self._job.running

    def patience(self, grace: float = 0.0) -> float | None:
        """As `Batch.patience`, of the present job."""
        return self._job.patience(grace)

    def abandon(self, grace: float = 0.0) -> bool:
        """As `Batch.abandon`, of the present job."""
        self.given_up = self._job.abandon(grace)
        return self.given_up

    def cancel(self) -> None:
        """Make no further call; nobody waits for the steps any more."""
        self._cancelled = True
        self._job.cancel()
