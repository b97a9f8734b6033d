"""PostgreSQL: copies in databases of their own, reads in read-only transactions, a commit whose end is looked up."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pivot_dspy.environments.databases.base import Database, DatabaseOptions
from pivot_dspy.environments.databases.postgres_copies import drop_copy, make_copy
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, OutcomeUnknown

SKIPPED = re.compile(r"(?:[\s;]|--[^\n]*)+")
"""What may stand before the first word of a statement, beside comments that may hold others."""
BRACKETS = re.compile(r"/\*|\*/")
CONTROLS = frozenset({
    "abort", "begin", "commit", "copy", "deallocate", "discard", "end", "listen", "prepare", "release", "rollback",
    "savepoint", "start", "unlisten",
})  # fmt: skip
"""First words of statements that end or divide a transaction, or belong to a connection, as does what COPY sends. In
the middle of anything else, a block or a procedure, PostgreSQL itself refuses to end a transaction begun outside."""
SETTINGS = sa.text(
    "SELECT current_user, session_user, coalesce(string_agg(name || '=' || setting, ', ' ORDER BY name), '') "
    "FROM pg_settings WHERE source = 'session' AND name <> 'transaction_read_only'"
)
OUTSIDE = sa.text(
    "SELECT CASE WHEN rolsuper THEN 'the role is a superuser' "
    "WHEN pg_has_role('pg_write_server_files', 'member') OR pg_has_role('pg_execute_server_program', 'member') "
    "THEN 'the role may write files or run programs of the server' "
    "WHEN EXISTS (SELECT FROM pg_foreign_server) THEN 'the database has foreign servers' "
    "WHEN EXISTS (SELECT FROM pg_extension WHERE extname = 'dblink') THEN 'the database has the extension dblink' END "
    "FROM pg_roles WHERE rolname = current_user"
)
VERSION = sa.text(
    "SELECT c.oid::regclass::text, concat_ws(E'\\n', c.relkind::text, pg_get_viewdef(c.oid), "
    "(SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, "
    "pg_get_expr(d.adbin, d.adrelid)), ', ' ORDER BY a.attnum) FROM pg_attribute a LEFT JOIN pg_attrdef d "
    "ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT attisdropped), "
    "(SELECT string_agg(concat_ws(' ', conname, pg_get_constraintdef(k.oid)), ', ' ORDER BY conname) "
    "FROM pg_constraint k WHERE k.conrelid = c.oid), "
    "(SELECT string_agg(pg_get_triggerdef(t.oid), ', ' ORDER BY tgname) FROM pg_trigger t "
    "WHERE t.tgrelid = c.oid AND NOT tgisinternal)) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
)
ACTIVE = 1
"""libpq's status of a connection that has a statement under way."""


class PostgresDatabase(Database):
    """A database of a server, with a connection of its own for each call."""

    def __init__(self, url: URL, engine: Engine, options: DatabaseOptions, *, is_copy: bool = False) -> None:
        super().__init__(url, engine, options)
        self._is_closed_world = is_copy or options.reaches_outside
        self._dropped = weakref.finalize(self, drop_copy, url) if is_copy else None

    def copy(self) -> PostgresDatabase:
        with self.engine.connect() as connection:  # never that of a commit which is under way
            if not self._is_closed_world:
                self._refuse_outside(connection)
            size = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one()
        if size > self.options.largest_copy:
            raise EnvironmentFailed(
                f"the database has {size:,} bytes, and a copy may have {self.options.largest_copy:,}; pass a larger "
                "largest_copy, or set forkable = False"
            )
        url = make_copy(self.url, self.options.lock_seconds)
        return PostgresDatabase(url, _engine(url, self.options), self.options, is_copy=True)

    @contextmanager
    def limited(self, connection: Connection, read_only: bool) -> Iterator[None]:
        if not self._is_closed_world:
            self._refuse_outside(connection)
        if read_only:  # in the savepoint around it, where nothing can turn it off again
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        before = connection.execute(SETTINGS).one()
        with _refusing_controls(connection):
            yield
        if connection.execute(SETTINGS).one() != before:
            raise PermissionError("settings of a connection end with the call, so a statement may not change them")

    def _refuse_outside(self, connection: Connection) -> None:
        if reason := connection.execute(OUTSIDE).scalar_one_or_none():
            raise PermissionError(
                f"{reason}, so that a statement could act outside of the database: connect as a role that owns the "
                "database and has CREATEDB, or accept it by reaches_outside=True"
            )
        self._is_closed_world = True

    def begin(self, connection: Connection) -> None:
        connection.begin()
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
            raise EnvironmentFailed("the database may only be read: connect to the primary server, or as another role")

    def interrupt(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if driver.info.transaction_status == ACTIVE:
            driver.cancel_safe(timeout=self.options.lock_seconds)

    def settle(self, connection: Connection) -> None:
        number = connection.execute(sa.text("SELECT pg_current_xact_id()::text")).scalar_one()
        try:
            connection.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            if not self._was_committed(number):
                raise EnvironmentFailed("the connection was lost before the transaction was made durable") from error

    def _was_committed(self, number: str) -> bool:
        """Whether a transaction was made durable whose connection was lost while it was."""
        try:
            with self.engine.connect() as connection:
                asked = {"number": number}
                status = connection.execute(sa.text("SELECT pg_xact_status((:number)::xid8)"), asked).scalar_one()
        except DBAPIError as error:
            raise OutcomeUnknown(f"the connection was lost, and there is no other: {self.explain(error)}") from error
        if status not in ("committed", "aborted"):
            raise OutcomeUnknown(f"the connection was lost; the server says of transaction {number}: {status}")
        return bool(status == "committed")

    def version(self, connection: Connection) -> Mapping[str, str]:
        return {row[0]: row[1] for row in connection.execute(VERSION)}

    def explain(self, error: DBAPIError) -> str:
        original: Any = error.orig
        diagnosis = getattr(original, "diag", None)
        told = [getattr(diagnosis, name, None) for name in ("message_primary", "message_detail", "message_hint")]
        message = "; ".join(filter(None, told)) or str(original).strip()
        if error.connection_invalidated or diagnosis is None or diagnosis.sqlstate is None:
            return f"there is no connection to the database: {message}; nothing of this call was kept, so call again"
        if diagnosis.sqlstate == "55P03":
            return f"{message}: another transaction has held it for {self.options.lock_seconds:g} s; try again later"
        if diagnosis.sqlstate == "57014":
            return f"the statement took longer than {self.options.statement_seconds:g} s, and was stopped"
        if diagnosis.sqlstate in ("40001", "40P01"):
            return f"{message}: another transaction has changed the same meanwhile; do it again"
        return message

    def close(self) -> None:
        super().close()
        if self._dropped is not None:
            self._dropped()


@contextmanager
def _refusing_controls(connection: Connection) -> Iterator[None]:
    """Inside, a statement that would end the transaction is refused; of two in one text PostgreSQL refuses both."""

    def look(conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        word = first_word(statement)
        if word in CONTROLS:
            raise PermissionError(
                f"{word.upper()} is refused: each call is a transaction of its own, a commit is one, and nothing "
                "of a connection outlasts its call"
            )

    event.listen(connection, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", look)


def first_word(statement: str) -> str:
    """The word that tells what a statement is, in small letters; empty where there is none.

    >>> first_word("/* a /* nested */ comment */ -- and another\\n COMMIT")
    'commit'
    """
    position, depth = 0, 0
    while True:
        if skipped := SKIPPED.match(statement, position):
            position = skipped.end()
        if not statement.startswith("/*", position):
            word = re.compile(r"\w*").match(statement, position)
            return word[0].lower() if word else ""
        while bracket := BRACKETS.search(statement, position):
            position, depth = bracket.end(), depth + (1 if bracket[0] == "/*" else -1)
            if depth == 0:
                break
        else:
            return ""  # a comment without an end, which the database refuses


def open_postgres(url: URL, options: DatabaseOptions) -> PostgresDatabase:
    """The database of a URL such as `postgresql+psycopg://me@host/shop`.

    Raises:
        ConfigurationError: it names another driver, or no database.
    """
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ConfigurationError(f"of PostgreSQL's drivers only psycopg 3 is used; not {url.drivername}")
    if not url.database:
        raise ConfigurationError("the URL names no database; write postgresql+psycopg://user@host/database")
    address = url.set(drivername="postgresql+psycopg")
    return PostgresDatabase(address, _engine(address, options), options)


def _engine(url: URL, options: DatabaseOptions) -> Engine:
    # No connection stays open between calls, for one would be in the way of a copy. With every statement prepared,
    # the server takes but one at a time.
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"prepare_threshold": 0, "connect_timeout": 10})

    @event.listens_for(engine, "connect")
    def connected(driver: Any, record: Any) -> None:
        driver.autocommit = True
        driver.execute(f"SET lock_timeout = {int(options.lock_seconds * 1000)}")
        driver.execute(f"SET statement_timeout = {int(options.statement_seconds * 1000)}")
        if options.on_connect is not None:
            options.on_connect(driver)
        driver.autocommit = False

    return engine
