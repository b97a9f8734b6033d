"""One database, real or a copy: connections that may only read, and one transaction around many calls."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from pivot_dspy.errors import EnvironmentFailed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatabaseOptions:
    """How a database and all of its copies are used."""

    on_connect: Callable[[Any], None] | None = None
    """Called with each connection of the driver that is made, to copies too."""
    statement_seconds: float = 20.0
    """That one statement may take."""
    lock_seconds: float = 5.0
    """That are waited for what others have locked."""
    largest_copy: int = 1 << 30
    """Bytes of a database that may still be copied."""
    reaches_outside: bool = False
    """Whether a role or a database is accepted by which statements can act outside of the database itself."""


class Database(ABC):
    """One database, and how a copy is made of it."""

    def __init__(self, url: URL, engine: Engine, options: DatabaseOptions) -> None:
        self.url, self.engine, self.options = url, engine, options
        self._open: Connection | None = None
        """The connection of the transaction that is under way around several calls."""
        self._using = threading.RLock()
        """Held while a call uses it: a run beside the commit may read the same instance."""

    # ----------------------------------------------------------------------------------------- what each kind provides

    @abstractmethod
    def copy(self) -> Database:
        """An independent copy, as the database stands now without what is not yet committed in it.

        Raises:
            EnvironmentFailed: it is too large, or may not be copied; the message says what to do.
        """

    @abstractmethod
    def limited(self, connection: Connection, read_only: bool) -> AbstractContextManager[None]:
        """Inside, the database itself refuses what ends the transaction or leaves the database, and with `read_only`
        whatever writes."""

    @abstractmethod
    def begin(self, connection: Connection) -> None:
        """Begin a transaction that others cannot come in between, or say why it cannot be begun."""

    @abstractmethod
    def interrupt(self, connection: Connection) -> None:
        """Stop a statement that another thread has under way."""

    @abstractmethod
    def version(self, connection: Connection) -> Mapping[str, str]:
        """What defines its schema, by the names of the objects."""

    @abstractmethod
    def explain(self, error: DBAPIError) -> str:
        """Why a statement failed, and what to do about it."""

    def settle(self, connection: Connection) -> None:
        """Make the open transaction durable.

        Raises:
            OutcomeUnknown: nobody knows whether it was.
        """
        connection.commit()

    def close(self) -> None:
        """Release what it holds; a copy is gone then."""
        self.engine.dispose()

    # ------------------------------------------------------------------------------------------------ what all have

    @contextmanager
    def connection(self, read_only: bool) -> Iterator[Connection]:
        """A connection in a transaction of its own, or in a part of the one that is under way; undone by an error."""
        under_way = self._open
        if under_way is not None:
            with self._using, self._part(under_way, read_only):
                yield under_way
            return
        with self.engine.connect() as connection, connection.begin(), self._part(connection, read_only):
            yield connection

    @contextmanager
    def _part(self, connection: Connection, read_only: bool) -> Iterator[None]:
        with connection.begin_nested() as part:
            with self.limited(connection, read_only):
                yield
            if read_only:
                part.rollback()

    @contextmanager
    def transaction(self, expected: Mapping[str, str] | None) -> Iterator[None]:
        """Make all that the block does durable together, or nothing of it.

        Args:
            expected: the schema that it has to have still, None for any.

        Raises:
            EnvironmentFailed: it cannot be begun, or the schema is another one.
            OutcomeUnknown: nobody knows whether it was made durable.
        """
        with self.engine.connect() as connection:
            self.begin(connection)
            changed = [] if expected is None else _differences(expected, self.version(connection))
            if changed:
                raise EnvironmentFailed(
                    f"the schema is not the one that the trial had, by {', '.join(changed)}; a migration has changed "
                    "it, so run the refiner again"
                )
            self._open = connection
            try:
                yield
            except BaseException:
                self._open = None
                self._roll_back(connection)
                raise
            self._open = None
            self.settle(connection)

    def _roll_back(self, connection: Connection) -> None:
        try:
            self.interrupt(connection)
            connection.rollback()
        except (DBAPIError, sa.exc.InvalidRequestError) as error:  # without the connection, the database undoes it
            logger.debug("rolling back %s: %s", self.url, error)
            connection.invalidate()


def _differences(expected: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return sorted(name for name in expected.keys() | now.keys() if expected.get(name) != now.get(name))
