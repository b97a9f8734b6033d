"""SQLite: copies in memory by its backup API, and statements that its authorizer lets pass or not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from pivot_dspy.environments.databases.base import Database, DatabaseOptions
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed

ACTIONS = {
    name: getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        "ALTER_TABLE", "ATTACH", "CREATE_INDEX", "CREATE_TABLE", "CREATE_TEMP_INDEX", "CREATE_TEMP_TABLE",
        "CREATE_TEMP_TRIGGER", "CREATE_TEMP_VIEW", "CREATE_TRIGGER", "CREATE_VIEW", "CREATE_VTABLE", "DELETE", "DETACH",
        "DROP_INDEX", "DROP_TABLE", "DROP_TEMP_INDEX", "DROP_TEMP_TABLE", "DROP_TEMP_TRIGGER", "DROP_TEMP_VIEW",
        "DROP_TRIGGER", "DROP_VIEW", "DROP_VTABLE", "FUNCTION", "INSERT", "PRAGMA", "READ", "RECURSIVE", "REINDEX",
        "SAVEPOINT", "SELECT", "TRANSACTION", "UPDATE", "ANALYZE",
    )
}  # fmt: skip
"""Codes by which the authorizer is told what a statement would do."""
NAMES = {code: name.replace("_", " ") for name, code in ACTIONS.items()}
READS = frozenset(ACTIONS[name] for name in ("SELECT", "READ", "RECURSIVE"))
REASONS = {
    "each call is a transaction of its own, and a commit is one": ("TRANSACTION", "SAVEPOINT"),
    "no other file may be opened": ("ATTACH", "DETACH"),
    "what is temporary would end with the call": (
        "CREATE_TEMP_INDEX", "CREATE_TEMP_TABLE", "CREATE_TEMP_TRIGGER", "CREATE_TEMP_VIEW",
    ),
}  # fmt: skip
NEVER = {ACTIONS[name]: reason for reason, names in REASONS.items() for name in names}
"""What is refused whatever the connection is for, with the reason."""
INFORMING = frozenset({
    "collation_list", "compile_options", "data_version", "database_list", "encoding", "foreign_key_check",
    "foreign_key_list", "freelist_count", "function_list", "index_info", "index_list", "index_xinfo", "integrity_check",
    "module_list", "page_count", "page_size", "pragma_list", "quick_check", "table_info", "table_list", "table_xinfo",
})  # fmt: skip
"""Pragmas that only tell something."""
VERSIONS = frozenset({"application_id", "user_version"})
"""Pragmas that read a number in the file, or with a value write it."""
INTERNAL = ("sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema")
"""Tables that SQLite changes itself with the schema; it refuses to change them for others."""
BUSY = (5, 6)
"""Statuses of a backup whose source is locked."""
STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""
PAGES = 2_048
"""Of a backup between two looks at the clock."""


class SQLiteDatabase(Database):
    """A file, or a database in memory."""

    def copy(self) -> SQLiteDatabase:
        target = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        try:
            with self.engine.connect() as connection:  # without a transaction of its own, as a backup needs it
                source = cast(sqlite3.Connection, connection.connection.driver_connection)
                pages, size = (source.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
                if pages * size > self.options.largest_copy:
                    raise EnvironmentFailed(
                        f"the database has {pages * size:,} bytes, and a copy in memory may have "
                        f"{self.options.largest_copy:,}; pass a larger largest_copy, or set forkable = False"
                    )
                source.backup(target, pages=PAGES, progress=self._refuse_locked(), sleep=0.01)
        except BaseException:
            target.close()
            raise
        return SQLiteDatabase(self.url, _engine_on(target, self.options), self.options)

    def _refuse_locked(self) -> Any:
        """Ends a backup whose source is locked for too long: left alone, it tries for ever."""
        deadline: float | None = None

        def progress(status: int, remaining: int, total: int) -> None:
            nonlocal deadline
            if status not in BUSY:
                deadline = None
            elif deadline is None:
                deadline = time.monotonic() + self.options.lock_seconds
            elif time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked")

        return progress

    @contextmanager
    def limited(self, connection: Connection, read_only: bool) -> Iterator[None]:
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        authorizer = _Authorizer(read_only)
        deadline = time.monotonic() + self.options.statement_seconds
        driver.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        driver.set_authorizer(authorizer)
        try:
            yield
        except sa.exc.DatabaseError as error:
            if authorizer.refused:
                raise PermissionError(authorizer.refused) from error
            if "interrupted" in str(error.orig) and time.monotonic() > deadline:
                seconds = self.options.statement_seconds
                raise TimeoutError(f"the statement took longer than {seconds:g} s, and was stopped") from error
            raise
        finally:
            driver.set_authorizer(_allow)  # which Python 3.10 cannot take away again
            driver.set_progress_handler(None, 0)

    def begin(self, connection: Connection) -> None:
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        file = driver.execute("PRAGMA database_list").fetchone()[2]
        connection.execution_options(pivot_begin="BEGIN IMMEDIATE").begin()
        driver.execute("PRAGMA user_version")  # the first to look at a file finds that it is none of SQLite's
        if file and driver.execute("PRAGMA query_only").fetchone()[0]:
            raise EnvironmentFailed("the connection was made for reading only, by PRAGMA query_only in on_connect")

    def interrupt(self, connection: Connection) -> None:
        cast(sqlite3.Connection, connection.connection.driver_connection).interrupt()

    def version(self, connection: Connection) -> Mapping[str, str]:
        found = connection.exec_driver_sql("SELECT name, coalesce(sql, '') FROM sqlite_master")
        return {row[0]: row[1] for row in found}

    def explain(self, error: DBAPIError) -> str:
        message = str(error.orig)
        if "locked" in message:
            waited = f"{self.options.lock_seconds:g} s"
            return f"{message}: another connection has held it for {waited}; try again when it is done"
        if "readonly" in message:
            return f"{message}: its file, or the folder that it is in, may not be written; give the right to"
        return message


class _Authorizer:
    """Says of each thing that a statement would do whether it may."""

    def __init__(self, read_only: bool) -> None:
        self.read_only = read_only
        self.refused = ""
        """Why the last statement was refused."""

    def __call__(self, action: int, first: str | None, second: str | None, schema: str | None, by: str | None) -> int:
        reason = self._reason(action, first, second, schema)
        if not reason:
            return sqlite3.SQLITE_OK
        if not self.refused:
            what = " ".join(filter(None, (NAMES.get(action, "this"), second if first is None else first)))
            self.refused = f"{what} is refused: {reason}"
        return sqlite3.SQLITE_DENY

    def _reason(self, action: int, first: str | None, second: str | None, schema: str | None) -> str:
        if action in READS:
            return ""
        if action == ACTIONS["FUNCTION"]:
            return "no code may be loaded" if second == "load_extension" else ""
        if action == ACTIONS["PRAGMA"]:
            return self._of_pragma(first, second)
        if action in NEVER:
            return NEVER[action]
        if self.read_only:
            return "this may only read; what changes something is for a tool that writes"
        if schema not in (None, "main") and action != ACTIONS["ALTER_TABLE"] and first not in INTERNAL:
            return f"only the database itself may be written, and {schema} is another"
        return ""

    def _of_pragma(self, name: str | None, value: str | None) -> str:
        if name in INFORMING or (name in VERSIONS and (value is None or not self.read_only)):
            return ""
        return "of the pragmas only those are open that tell something, and user_version; the others are for on_connect"


def _allow(*about: Any) -> int:
    return sqlite3.SQLITE_OK


def open_sqlite(url: URL, options: DatabaseOptions) -> SQLiteDatabase:
    """The database of a URL such as `sqlite:///shop.db`.

    Raises:
        ConfigurationError: there is no such file.
    """
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigurationError(f"of SQLite's drivers only pysqlite is used: sqlite:///..., not {url.drivername}")
    if url.database in (None, "", ":memory:"):
        return SQLiteDatabase(url, _engine_on(None, options), options)
    if not str(url.database).startswith("file:") and not Path(str(url.database)).is_file():
        raise ConfigurationError(f"there is no database {url.database}; make it first, with what it has to hold")
    waits = {"timeout": options.lock_seconds, "check_same_thread": False}
    engine = sa.create_engine(url, poolclass=NullPool, connect_args=waits)
    return SQLiteDatabase(url, _prepared(engine, options), options)


def _engine_on(connection: sqlite3.Connection | None, options: DatabaseOptions) -> Engine:
    """An engine with one connection, which has the whole database in memory: a given one, or a new one."""
    given: dict[str, Any] = {} if connection is None else {"creator": lambda: connection}
    shared = {"check_same_thread": False}
    return _prepared(sa.create_engine("sqlite://", poolclass=StaticPool, connect_args=shared, **given), options)


def _prepared(engine: Engine, options: DatabaseOptions) -> Engine:
    @event.listens_for(engine, "connect")
    def connected(driver: sqlite3.Connection, record: Any) -> None:
        # The driver must begin no transaction by itself: it would leave a savepoint outside of one.
        driver.isolation_level = None
        if options.on_connect is not None:
            options.on_connect(driver)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("pivot_begin", "BEGIN"))

    return engine
