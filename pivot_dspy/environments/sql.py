"""A SQL database as an environment: trials on copies, and a commit as one transaction of the real one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from pivot_dspy.environment.base import CheckResult, Environment, check, may_change, tool
from pivot_dspy.errors import EnvironmentFailed, PivotError, ToolError, error_text
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import Frozen

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

Value = str | int | float | bool | None
Parameters = dict[str, Value]

LIMIT = 100
"""Rows that a query gives where nothing else is asked for."""


class Rows(Frozen):
    """What a query gave."""

    rows: list[dict[str, Any]]
    """By the names of the columns; a second column of one name has a number: `id_2`."""
    more: bool
    """Whether there are rows beyond the limit."""


class Written(Frozen):
    """What a statement did."""

    rowcount: int | None
    """Rows that were changed; None where the database does not say, as with the schema."""
    rows: list[dict[str, Any]]
    """What RETURNING gave."""


class SQLEnvironment(Environment):
    """A database that an agent may read and change: SQLite, or PostgreSQL by psycopg 3 (extras `sql`, `postgres`).

    Trials run on copies: of SQLite in memory, of PostgreSQL in databases `pivot_trial_...` of the same server, for
    which the role needs CREATEDB. A commit runs all statements in one transaction: it is done as a whole or not at all,
    also where the process is killed. A statement is a transaction of its own in a trial and a savepoint in a commit; it
    may not end one, open other files, or change settings of the connection.

    A query only reads, by the database's own doing: SQLite's authorizer, a read-only transaction of PostgreSQL. So do
    checks, and tools of your own that are declared `read`, with the connection that `self.connection()` gives them.

    Args:
        url: of the real database, as SQLAlchemy writes it: `sqlite:///shop.db`, `postgresql+psycopg://me@host/shop`.
        on_connect: called with each connection of the driver, to the real database and to copies: for functions,
            collations and pragmas, say `foreign_keys`. It must change nothing in the database.
        statement_seconds: that one statement may take; keep it below the time that a call may take.
        lock_seconds: that are waited for what others have locked.
        largest_copy: bytes of a database that may still be copied; with `forkable = False` nothing is, and what writes
            waits for commit.
        reaches_outside: accept a role or a database of PostgreSQL through which a statement can act outside of the
            database: a superuser, foreign servers. What it does there, no copy keeps from being real.

    Raises:
        ConfigurationError: the URL is of no such database, or names a file that is not there.

    >>> import sqlite3, tempfile
    >>> path = tempfile.mkdtemp() + "/shop.db"
    >>> made = sqlite3.connect(path)
    >>> _ = made.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL, paid INTEGER)")
    >>> shop = SQLEnvironment(f"sqlite:///{path}")
    >>> print(shop.schema())
    table orders(id INTEGER PRIMARY KEY, item TEXT NOT NULL, paid INTEGER)
    >>> trial = shop.fork()
    >>> trial.execute("INSERT INTO orders (item) VALUES (:item) RETURNING id", {"item": "flour"}).rows
    [{'id': 1}]
    >>> trial.rows("SELECT * FROM orders").holds, shop.rows("SELECT * FROM orders").holds
    (True, False)
    """

    reopenable = False
    orientation = ("schema",)

    def __init__(
        self,
        url: str | URL,
        *,
        on_connect: Callable[[Any], None] | None = None,
        statement_seconds: float = 20.0,
        lock_seconds: float = 5.0,
        largest_copy: int = 1 << 30,
        reaches_outside: bool = False,
    ) -> None:
        # SQLAlchemy is an extra, and is not loaded with the package.
        from pivot_dspy.environments.databases.base import DatabaseOptions
        from pivot_dspy.environments.databases.handle import open_handle

        options = DatabaseOptions(on_connect, statement_seconds, lock_seconds, largest_copy, reaches_outside)
        self._handle = open_handle(url, options)

    # ---------------------------------------------------------------------------------------------------- tools

    @tool(effect="read")
    def schema(self) -> str:
        """The tables and views with their columns, keys and conditions."""
        from pivot_dspy.environments.databases.schema import schema_text

        with self._explained(), self.connection(read_only=True) as connection:
            return schema_text(connection)

    @tool(effect="read")
    def query(self, sql: str, parameters: Parameters | None = None, limit: int = LIMIT) -> Rows:
        """Run one statement that only reads.

        Args:
            sql: the statement, with :name for each parameter.
            parameters: the values, by name.
            limit: rows that are given at most.
        """
        ran = self._run(sql, parameters, limit, read_only=True)
        return Rows(rows=ran.rows, more=ran.more)

    @tool(effect="write")
    def execute(self, sql: str, parameters: Parameters | None = None) -> Written:
        """Run one statement that changes data or the schema; what RETURNING gives are its rows.

        Args:
            sql: the statement, with :name for each parameter.
            parameters: the values, by name.
        """
        ran = self._run(sql, parameters, None, read_only=False)
        return Written(rowcount=ran.rowcount, rows=ran.rows)

    # ---------------------------------------------------------------------------------------------------- checks

    @check(fits=dict[str, Any])
    def rows(
        self, sql: str, parameters: Parameters | None = None, at_least: int = 1, at_most: int | None = None
    ) -> CheckResult:
        """Whether a query gives so many rows; without numbers, whether it gives any. At most 0: none."""
        least = 0 if at_most is not None and at_most < at_least else at_least
        ran = self._run(sql, parameters, max(LIMIT, least, (at_most or 0) + 1), read_only=True)
        number = len(ran.rows)
        told = f"{number}{' or more' if ran.more else ''} row{'' if number == 1 else 's'}"
        shown = f"{told}: {ran.rows[:3]}" if ran.rows else told
        return CheckResult(least <= number and (at_most is None or number <= at_most), shown, fits=ran.rows)

    @check
    def value(self, sql: str, equals: Value, parameters: Parameters | None = None) -> CheckResult:
        """Whether a query gives one row with one value, and it is this one."""
        ran = self._run(sql, parameters, 2, read_only=True)
        if len(ran.rows) != 1 or len(ran.rows[0]) != 1:
            columns = len(ran.rows[0]) if ran.rows else 0
            return CheckResult(False, f"the query gives {len(ran.rows)} rows of {columns} columns")
        (given,) = ran.rows[0].values()
        return CheckResult(_equal(given, equals), f"it is {given!r}")

    # ------------------------------------------------------------------------------------------- for tools of one's own

    @contextmanager
    def connection(self, *, read_only: bool = False) -> Iterator[Connection]:
        """A SQLAlchemy connection for tools and checks of your own, in a transaction that an error undoes.

        In checks, and in a trial in tools that are declared `read`, it can only read, whatever is asked for.
        """
        with self._handle.connection(read_only=read_only or not may_change(self)) as connection:
            yield connection

    # ------------------------------------------------------------------------------------------ what an environment is

    def fork(self) -> Self:
        """A copy with a database of its own; what a subclass keeps on `self` is deep-copied.

        Raises:
            EnvironmentFailed: the database cannot be copied; the message says why and what to do.
        """
        try:
            with self._explained():
                return copy.deepcopy(self)
        except PivotError as error:
            raise EnvironmentFailed(f"the database cannot be copied for a trial: {error}") from error

    def transaction(self) -> AbstractContextManager[None] | None:
        """One transaction of the real database, which refuses to begin where the schema is not the trial's any more."""
        return self._in_transaction()

    def close(self) -> None:
        """Release the database; a copy is gone then."""
        self._handle.close()

    @contextmanager
    def _in_transaction(self) -> Iterator[None]:
        with self._explained(), self._handle.transaction():
            yield

    def _run(self, sql: str, parameters: Mapping[str, Value] | None, limit: int | None, *, read_only: bool) -> Any:
        from pivot_dspy.environments.databases.statements import run_statement

        with self._explained(), self.connection(read_only=read_only) as connection:
            ran = run_statement(connection, sql, parameters or {}, limit)
        return ran._replace(rows=plain(ran.rows))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns what a database raises into a message that says what to do."""
        import sqlite3

        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except DBAPIError as error:
            raise ToolError(self._handle.database.explain(error)) from error
        except (PermissionError, TimeoutError) as error:
            raise ToolError(str(error)) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ToolError(error_text(error)) from error


def _equal(given: Any, wanted: Value) -> bool:
    """Whether a value is the wanted one: numbers by their value, for a decimal is read as text."""
    if isinstance(given, str) and isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        try:
            return float(given) == float(wanted)
        except ValueError:
            return False
    return bool(given == wanted)
