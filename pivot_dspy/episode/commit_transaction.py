"""A commit as one transaction of the real environment, where that offers one: begun, and ended for good or undone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Literal

from pivot_dspy.environment.base import allowing
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.commit_attempt import CommitStopped
from pivot_dspy.errors import OutcomeUnknown, error_text
from pivot_dspy.flow import Await, Flow

logger = logging.getLogger(__name__)

Outcome = Literal["none", "durable", "rolled back", "unknown"]


class CommitTransaction:
    """The transaction of one attempt to commit, begun and ended in the thread where the environment lives.

    An interrupt while it is begun or ended waits for that to be over, so that it is known how it ended.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._manager: AbstractContextManager[None] | None = None
        self.outcome: Outcome = "none"
        """How it ended; `none` where the environment offers none, or nothing was begun."""

    @property
    def is_open(self) -> bool:
        """Whether what runs now can still be undone as a whole."""
        return self._manager is not None and self.outcome == "none"

    def around(self, steps: Flow[None]) -> Flow[None]:
        """Run `steps` inside of it.

        Raises:
            CommitStopped: it could not be begun or made durable.
        """
        yield from self._begin()
        if self._manager is None:
            yield from steps
            return
        try:
            yield from steps
        except BaseException as error:
            self._roll_back(error)
            raise
        yield from self._make_durable()

    def _begin(self) -> Flow[None]:
        beginning = self._started(self._enter)
        try:
            yield _result_of(beginning)
        except Exception as error:
            self.outcome = "rolled back"
            message = f"its transaction could not be begun: {error_text(error)}"
            raise CommitStopped(message, ran=False, cause=error) from error
        except BaseException as interrupt:
            beginning.exception()
            if self._manager is not None:
                self._roll_back(interrupt)
            raise

    def _roll_back(self, cause: BaseException) -> None:
        # Without a yield, for a coroutine that is cancelled leaves no time to wait for anything.
        raised = self._started(lambda: self._exit(cause)).exception()
        self.outcome = "unknown" if _leaves_open(raised, cause) else "rolled back"
        if raised is not None and raised is not cause:
            logger.warning("rolling back %s: %s", type(self._session.environment).__name__, error_text(raised))

    def _make_durable(self) -> Flow[None]:
        ending = self._started(lambda: self._exit(None))
        try:
            yield _result_of(ending)
        except Exception as error:
            message = f"its transaction could not be made durable: {error_text(error)}"
            raise CommitStopped(message, cause=error) from error
        finally:
            raised = ending.exception()
            self.outcome = "durable" if raised is None else "unknown" if _leaves_open(raised) else "rolled back"

    def _enter(self) -> None:
        manager = self._session.environment.transaction()
        if manager is not None:
            manager.__enter__()
            self._manager = manager

    def _exit(self, error: BaseException | None) -> None:
        if self._manager is not None:
            # What it returns is of no account: it may not turn a commit that failed into one that did not.
            if error is None:
                self._manager.__exit__(None, None, None)
            else:
                self._manager.__exit__(type(error), error, error.__traceback__)

    def _started(self, function: Callable[[], None]) -> Future[None]:
        """`function`, which may do all that a commit may, as it is run where the environment lives."""
        environment, family = self._session.environment, self._session.family

        def permitted() -> None:
            with allowing(None, inside=environment):
                function()

        if family.timeout is not None:
            return family.worker.submit(permitted)
        ended: Future[None] = Future()
        try:
            permitted()
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)
        return ended


def _leaves_open(raised: BaseException | None, cause: BaseException | None = None) -> bool:
    """Whether nobody knows how a transaction ended whose end raised this: it was interrupted, or says so itself."""
    if raised is None or raised is cause:
        return False
    return isinstance(raised, OutcomeUnknown) or not isinstance(raised, Exception)


def _result_of(future: Future[Any]) -> Await:
    def awaited() -> Awaitable[Any]:
        return asyncio.shield(asyncio.wrap_future(future))  # which a cancelled coroutine leaves to end by itself

    return Await(future.result, awaited)
