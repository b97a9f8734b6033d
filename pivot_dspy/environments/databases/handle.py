"""What one environment holds of a database: the real one, or a copy that forks share until one of them writes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection, make_url

from pivot_dspy.environments.databases.base import Database, DatabaseOptions
from pivot_dspy.errors import ConfigurationError


class DatabaseHandle:
    """The real database, or a copy. A deep copy of it is a fork: nothing done to one is seen by the other.

    Forks of a copy share it, for most forks only read; one that writes while others hold the same makes its own first.
    """

    def __init__(self, database: Database, *, real: bool) -> None:
        self.real = real
        self._database = database
        self._holders: weakref.WeakSet[DatabaseHandle] = weakref.WeakSet([self])
        """All that share the database."""
        self._version: Mapping[str, str] | None = None
        """The schema of the last copy of the real database."""

    def __deepcopy__(self, memo: dict[int, Any]) -> DatabaseHandle:
        if not self.real:
            return self._sharing()
        copied = DatabaseHandle(self._database.copy(), real=False)
        with copied.connection(read_only=True) as connection:
            self._version = copied._database.version(connection)
        return copied

    def __reduce__(self) -> tuple[Callable[[str, DatabaseOptions], DatabaseHandle], tuple[str, DatabaseOptions]]:
        if not self.real:
            raise TypeError("a copy of a database cannot be pickled; pickle the environment that it was made from")
        return open_handle, (self._database.url.render_as_string(hide_password=False), self._database.options)

    def _sharing(self) -> DatabaseHandle:
        other = DatabaseHandle(self._database, real=False)
        other._holders = self._holders
        self._holders.add(other)
        return other

    @contextmanager
    def connection(self, *, read_only: bool) -> Iterator[Connection]:
        """As `Database.connection`; a copy that others hold too is copied before it is written."""
        if not read_only and len(self._holders) > 1:
            copied = self._database.copy()
            self._holders.discard(self)
            self._database, self._holders = copied, weakref.WeakSet([self])
        with self._database.connection(read_only) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `Database.transaction`, for the schema that the last copy had."""
        with self._database.transaction(self._version):
            yield

    @property
    def database(self) -> Database:
        """The database as it is held now."""
        return self._database

    def close(self) -> None:
        """Release the database where no other fork holds it."""
        self._holders.discard(self)
        if not self._holders:
            self._database.close()


def open_handle(url: Any, options: DatabaseOptions) -> DatabaseHandle:
    """The real database of a URL.

    Raises:
        ConfigurationError: its kind is not known, or a file is not there.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        from pivot_dspy.environments.databases.sqlite import open_sqlite

        return DatabaseHandle(open_sqlite(address, options), real=True)
    if address.get_backend_name() == "postgresql":
        from pivot_dspy.environments.databases.postgres import open_postgres

        return DatabaseHandle(open_postgres(address, options), real=True)
    raise ConfigurationError(
        f"there are no copies of a {address.get_backend_name()} database; use sqlite:///... or "
        "postgresql+psycopg://..., or write an Environment of your own whose fork copies it"
    )
