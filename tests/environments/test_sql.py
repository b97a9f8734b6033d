"""A SQL database as an environment: what its tools give, what copies hold, and what only reads."""

from __future__ import annotations

import copy
import pickle
import sqlite3
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa

from pivot_dspy import ConfigurationError, EnvironmentFailed, ToolError, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environments.sql import SQLEnvironment
from tests.environment.running import run, values
from tests.environments.databases import PostgresWorld, SQLiteWorld, World

WAYS = [
    "INSERT INTO orders VALUES (1, 1, 10)",
    "UPDATE customers SET credit = 0",
    "DELETE FROM customers",
    "CREATE TABLE more (id INTEGER)",
    "ALTER TABLE customers ADD COLUMN mail TEXT",
    "DROP TABLE orders",
    "CREATE INDEX by_customer ON orders (customer)",
    "CREATE VIEW rich AS SELECT * FROM customers WHERE credit > 50",
    "INSERT INTO customers VALUES (1, 'Ann', 0) ON CONFLICT (id) DO UPDATE SET credit = 7 RETURNING *",
]
SQLITE_WAYS = [
    "REPLACE INTO customers VALUES (1, 'Eve', 3)", "PRAGMA user_version = 7",
    "CREATE VIRTUAL TABLE texts USING fts5(a)",
    "ANALYZE", "CREATE TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM customers; END",
    "ALTER TABLE orders RENAME TO o", "ALTER TABLE orders DROP COLUMN customer",
]  # fmt: skip
POSTGRES_WAYS = [
    "WITH made AS (INSERT INTO orders VALUES (9, 1, 5) RETURNING id) SELECT * FROM made",
    "SELECT nextval('numbers')", "SELECT setval('numbers', 40)", "TRUNCATE orders",
    "DO $$ BEGIN DELETE FROM customers; END $$",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM customers; END $$",
    "CREATE FUNCTION f() RETURNS integer AS 'SELECT 1' LANGUAGE sql", "COMMENT ON TABLE orders IS 'x'",
    "EXPLAIN ANALYZE DELETE FROM orders", "REFRESH MATERIALIZED VIEW nothing",
    "MERGE INTO customers c USING customers d ON c.id = d.id WHEN MATCHED THEN DELETE",
]  # fmt: skip
SQLITE_REFUSED = [
    "ATTACH '{path}' AS other", "VACUUM INTO '{path}.copy'", "VACUUM", "PRAGMA query_only = off", "BEGIN", "COMMIT",
    "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "PRAGMA writable_schema = on", "PRAGMA journal_mode = wal",
    "CREATE TEMP TABLE t (a)", "SELECT load_extension('a')", "INSERT INTO archive.old VALUES (1)", "DETACH archive",
    "DELETE FROM archive.old", "CREATE TABLE archive.new (a)", "SELECT 1; DELETE FROM customers",
    "PRAGMA foreign_keys = off",
]  # fmt: skip
POSTGRES_REFUSED = [
    "COPY customers TO '/tmp/stolen'", "COPY customers TO PROGRAM 'cat'", "COPY customers TO STDOUT", "COMMIT", "END",
    "BEGIN", "ROLLBACK", "ABORT", "SAVEPOINT a", "PREPARE TRANSACTION 'a'", "/* a /* b */ */ -- c\n;COMMIT", "VACUUM",
    "SELECT 1; DELETE FROM customers", "SET search_path = pg_catalog", "SET ROLE postgres", "CREATE DATABASE other",
    "SELECT set_config('search_path', 'pg_catalog', false)", "DO $$ BEGIN COMMIT; END $$", "LISTEN a",
    "START TRANSACTION",
    "SELECT pg_read_file('/etc/passwd')", "DISCARD ALL", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT lo_export(1, '/tmp/stolen')",
]  # fmt: skip


def ways(world: World) -> list[str]:
    return WAYS + (SQLITE_WAYS if world.kind == "sqlite" else POSTGRES_WAYS)


def refused(world: World) -> list[str]:
    return [sql.format(path=getattr(world, "path", "")) if world.kind == "sqlite" else sql
            for sql in (SQLITE_REFUSED if world.kind == "sqlite" else POSTGRES_REFUSED)]  # fmt: skip


def archive(folder: Any) -> Any:
    """What a user may do with each connection: functions, pragmas, another file."""
    path = folder / "archive" / "old.db"
    path.parent.mkdir()
    sqlite3.connect(path).executescript("CREATE TABLE old (a)").connection.close()

    def prepare(driver: Any) -> None:
        driver.execute("PRAGMA foreign_keys = on")
        driver.execute(f"ATTACH '{path}' AS archive")
        driver.create_function("double", 1, lambda number: 2 * number)

    return prepare


def test_no_way_of_writing_reaches_the_real_thing_or_another_fork(world: World) -> None:
    real = world.environment()
    before, kept = world.everything(), real.fork()
    for sql in ways(world):
        trial = kept.fork()
        with pytest.raises(ToolError):  # whatever it says, a query only reads
            trial.query(sql)
        done = True
        try:
            trial.execute(sql)
        except ToolError as error:
            done = False
            assert world.kind == "postgres" and ("nothing" in str(error) or "READ WRITE" in sql), (sql, error)
        assert done or "nothing" in sql or "READ WRITE" in sql
        with pytest.raises(ToolError):
            real.query(sql)
        trial.close()
        assert kept.value("SELECT sum(credit) FROM customers", 105).holds
        assert kept.rows("SELECT * FROM orders", at_most=0).holds
    kept.close()
    assert world.everything() == before


def test_what_leaves_the_database_or_the_transaction_is_refused_in_both(world: World, tmp_path: Any) -> None:
    real = world.environment(on_connect=archive(tmp_path) if world.kind == "sqlite" else None)
    before, trial = world.everything(), real.fork()
    for sql in refused(world):
        for call in (trial.query, trial.execute, real.query):
            with pytest.raises(ToolError):
                call(sql)
        with pytest.raises(RuntimeError, match="to be undone"), real._in_transaction():
            real.execute("INSERT INTO orders VALUES (1, 1, 10)")
            for tried in (real.execute, real.query):
                with pytest.raises(ToolError):
                    tried(sql)
            raise RuntimeError("to be undone")
    trial.close()
    assert world.everything() == before


def test_what_tools_and_checks_give(world: World) -> None:
    trial = world.environment().fork()
    made = trial.execute("INSERT INTO orders VALUES (:id, 1, :n) RETURNING id, amount, id", {"id": 7, "n": 30})
    assert made.rows == [{"id": 7, "amount": 30, "id_2": 7}] and made.rowcount == 1
    assert trial.execute("UPDATE customers SET credit = credit + 1").rowcount == 2
    assert trial.execute("CREATE TABLE more (day date)").rowcount is None
    assert trial.execute("INSERT INTO more VALUES (:day)", {"day": "2026-02-03"}).rowcount == 1
    many = trial.query("SELECT id FROM customers ORDER BY id", limit=1)
    assert many.rows == [{"id": 1}] and many.more
    named = trial.query("SELECT ':one 12:30 50%' AS text, name FROM customers WHERE name = :name", {"name": "Ann"})
    assert named.rows == [{"text": ":one 12:30 50%", "name": "Ann"}] and not named.more
    assert trial.rows("SELECT * FROM orders").fits == [{"id": 7, "customer": 1, "amount": 30}]
    assert not trial.rows("SELECT * FROM orders", at_most=0).holds
    none = trial.rows("SELECT * FROM orders WHERE id = :id", {"id": 8}, at_most=0)
    assert none == (True, "0 rows", "", (), [], 1, ())
    assert trial.rows("SELECT * FROM customers", at_least=2, at_most=2).holds
    assert not trial.rows("SELECT * FROM customers", at_least=3).holds
    assert trial.value("SELECT avg(credit) FROM customers WHERE id = 1", 101).holds  # a decimal, in PostgreSQL
    assert trial.value("SELECT name FROM customers WHERE id = 2", "Bob").holds
    assert not trial.value("SELECT id, name FROM customers", "Bob").holds
    for sql, parameters, why in [
        ("", None, "the statement is empty"),
        ("SELECT 1", {"id": 1}, "the statement has no :id"),
        ("SELEC 1", None, "syntax"),
        ("INSERT INTO orders VALUES (8, 1, 0)", None, "(?i)check"),
    ]:
        with pytest.raises(ToolError, match=why):
            trial.execute(sql, parameters)
    schema = trial.schema().splitlines()
    assert schema[0].startswith("table customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, credit INTEGER NOT NULL ")
    assert schema[1] == "table more(day DATE)" and "FOREIGN KEY (customer) REFERENCES customers(id)" in schema[2]
    trial.close()


def test_forks_of_forks_are_apart_and_share_until_one_writes(world: World) -> None:
    real = world.environment()
    first = real.fork()
    forks = [first.fork() for _ in range(4)]
    assert len({id(fork._handle.database) for fork in (first, *forks)}) == 1
    forks[0].execute("INSERT INTO orders VALUES (1, 1, 1)")
    second = forks[0].fork()
    second.execute("INSERT INTO orders VALUES (2, 1, 1)")
    forks[0].close()  # which second came from
    counts = [fork.rows("SELECT * FROM orders").evidence.split(" ")[0] for fork in (first, forks[1], second)]
    assert counts == ["0", "0", "2"]
    for fork in (first, *forks, second):
        fork.close()
    if isinstance(world, PostgresWorld):
        assert world.trials() == []


def test_a_session_runs_on_it_and_leaves_nothing(world: World) -> None:
    before, real = world.everything(), world.environment()
    session = SessionFactory(real).open(None, watched=True)
    with session.family.watched():
        assert session.family.tier == "fork"
        kept = session.keep()
        execution = run(
            session,
            ("execute", {"sql": "INSERT INTO orders VALUES (1, 2, 5) RETURNING id"}),
            ("query", {"sql": "SELECT * FROM orders"}),
            ("query", {"sql": "DELETE FROM orders"}),
        )
        assert values(execution)[:2] == [{"rowcount": 1, "rows": [{"id": 1}]},
                                         {"rows": [{"id": 1, "customer": 2, "amount": 5}], "more": False}]  # fmt: skip
        assert execution.observations[2].fault.kind == "tool_error"  # type: ignore[union-attr]
        assert run(kept.fork(), ("query", {"sql": "SELECT * FROM orders"})).observations[0].value["rows"] == []
    assert world.everything() == before and (not isinstance(world, PostgresWorld) or world.trials() == [])


class Desk(SQLEnvironment):
    """Tools and checks of one's own, and state beside the database."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.notes: list[str] = []

    @tool(effect="write")
    def order(self, customer: int, amount: int) -> int:
        """Order, and lower the credit."""
        with self.connection() as connection:
            number = connection.execute(sa.text("SELECT coalesce(max(id), 0) + 1 FROM orders")).scalar_one()
            connection.execute(sa.text(f"INSERT INTO orders VALUES ({number}, {customer}, {amount})"))
            connection.execute(sa.text(f"UPDATE customers SET credit = credit - {amount} WHERE id = {customer}"))
            if amount > 1000:
                raise ToolError("that is too much")
        self.notes.append("ordered")
        return int(number)

    @tool(effect="read")
    def peek(self) -> int:
        with self.connection() as connection:
            return int(connection.execute(sa.text("DELETE FROM customers")).rowcount)

    @check
    def tampering(self) -> bool:
        with self.connection() as connection:
            return bool(connection.execute(sa.text("UPDATE customers SET credit = 1")).rowcount)


def test_tools_of_ones_own_are_undone_by_errors_and_what_is_declared_a_read_reads(world: World) -> None:
    before, session = world.everything(), SessionFactory(Desk(world.url)).open(None)
    execution = run(session, ("order", {"customer": 1, "amount": 2000}), ("order", {"customer": 1, "amount": 20}),
                    ("peek", {}), ("query", {"sql": "SELECT credit FROM customers ORDER BY id"}))  # fmt: skip
    assert [seen.status for seen in execution.observations] == ["error", "ok", "error", "ok"]
    assert values(execution)[3]["rows"] == [{"credit": 80}, {"credit": 5}]
    answer = session.check(session.toolbox.checks["tampering"], {})
    assert not answer.holds and "cannot be checked" in answer.evidence
    session.family.close()
    assert world.everything() == before


def test_copies_have_what_each_connection_was_given(sqlite_world: SQLiteWorld, tmp_path: Any) -> None:
    sqlite_world.run("PRAGMA journal_mode = wal")
    trial = sqlite_world.environment(on_connect=archive(tmp_path)).fork().fork()
    assert trial.query("SELECT double(4) AS d").rows == [{"d": 8}]
    assert trial.query("SELECT * FROM archive.old").rows == []
    with pytest.raises(ToolError, match="FOREIGN KEY"):
        trial.execute("INSERT INTO orders VALUES (1, 99, 5)")


def test_what_a_read_only_transaction_lets_pass_is_undone(postgres_world: PostgresWorld) -> None:
    real = postgres_world.environment()
    for sql in ("SELECT lo_create(0)", "LOCK TABLE orders", "SELECT pg_advisory_lock(1)", "SELECT pg_notify('a', 'b')"):
        for environment in (real, real.fork()):
            environment.query(sql)
            for left in ("pg_largeobject_metadata", "pg_locks WHERE locktype = 'advisory'"):
                assert environment.value(f"SELECT count(*) FROM {left}", 0).holds


def test_copies_of_postgresql_have_its_settings_also_while_others_are_connected(postgres_world: PostgresWorld) -> None:
    postgres_world.run("CREATE SCHEMA shop; CREATE TABLE shop.stock (item text)")
    postgres_world.admin(f"ALTER DATABASE {postgres_world.name} SET search_path = shop, public")
    real = postgres_world.environment()
    with postgres_world.connect() as other:
        other.execute("INSERT INTO stock VALUES ('flour')")
        used = real.fork()
        other.execute("BEGIN; LOCK TABLE stock")  # a migration in flight
        with pytest.raises(EnvironmentFailed, match="pg_dump cannot copy it.*a migration that is under way is done"):
            postgres_world.environment(lock_seconds=0.3).fork()
    alone = real.fork()
    for trial in (used, alone):
        assert trial.query("SELECT * FROM stock").rows == [{"item": "flour"}]
        trial.close()
    assert postgres_world.trials() == []


def test_copying_and_pickling_what_holds_a_connection(sqlite_world: SQLiteWorld) -> None:
    real = sqlite_world.environment()
    again = pickle.loads(pickle.dumps(real))
    assert again.rows("SELECT * FROM customers").holds
    trial = copy.deepcopy(real)
    with pytest.raises(TypeError, match="pickle the environment that it was made from"):
        pickle.dumps(trial)


def test_bad_input_is_named(world: World, tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="there is no database"):
        SQLEnvironment(f"sqlite:///{tmp_path}/typo.db")
    with pytest.raises(ConfigurationError, match="there are no copies of a mysql database"):
        SQLEnvironment("mysql://me@host/shop")
    with pytest.raises(ConfigurationError, match="only psycopg 3 is used"):
        SQLEnvironment("postgresql+asyncpg://me@host/shop")
    with pytest.raises(EnvironmentFailed, match="pass a larger largest_copy, or set forkable = False"):
        world.environment(largest_copy=1000).fork()
    with pytest.raises(EnvironmentFailed, match="largest_copy"):  # which ends a run at once, instead of a worse tier
        SessionFactory(world.environment(largest_copy=1000)).open(None)
    slow = world.environment(statement_seconds=0.2).fork()
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    with pytest.raises(ToolError, match="the statement took longer than 0.2 s, and was stopped"):
        slow.query(endless)
    assert slow.rows("SELECT * FROM customers").holds
    slow.close()


def test_a_file_that_is_locked_or_no_database(sqlite_world: SQLiteWorld, tmp_path: Any) -> None:
    other = sqlite3.connect(sqlite_world.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    real = sqlite_world.environment(lock_seconds=0.2)
    with pytest.raises(EnvironmentFailed, match="database is locked"):
        real.fork()
    with pytest.raises(ToolError, match="database is locked.*held it for 0.2 s; try again when it is done"):
        real.query("SELECT 1 FROM customers")
    other.close()
    assert real.fork().rows("SELECT * FROM customers").holds
    (tmp_path / "text.db").write_text("no database at all, but some text that is long enough" * 20)
    with pytest.raises(EnvironmentFailed, match="file is not a database"):
        SQLEnvironment(f"sqlite:///{tmp_path}/text.db").fork()


def test_roles_that_could_leave_the_database_or_may_make_none(postgres_world: PostgresWorld) -> None:
    admin = postgres_world.url.replace("//shop@", "//admin@")
    with pytest.raises(EnvironmentFailed, match="the role is a superuser.*reaches_outside=True"):
        SQLEnvironment(admin).fork()
    with pytest.raises(ToolError, match="superuser"):
        SQLEnvironment(admin).query("SELECT 1")
    SQLEnvironment(admin, reaches_outside=True).fork().close()
    postgres_world.admin("DROP ROLE IF EXISTS guest")
    postgres_world.admin("CREATE ROLE guest LOGIN")
    with pytest.raises(EnvironmentFailed, match="have CREATEDB"):
        SQLEnvironment(postgres_world.url.replace("//shop@", "//guest@")).fork()
    with pytest.raises(EnvironmentFailed, match="there is no connection to the database"):
        SQLEnvironment(postgres_world.url.replace(postgres_world.folder, "/nowhere")).fork()
    postgres_world.admin("CREATE EXTENSION postgres_fdw", postgres_world.name)
    postgres_world.admin("CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw", postgres_world.name)
    with pytest.raises(EnvironmentFailed, match="the database has foreign servers"):
        postgres_world.environment().fork()
    assert postgres_world.trials() == []


def test_a_connection_that_is_lost_is_named_and_the_next_call_has_another(postgres_world: PostgresWorld) -> None:
    trial = postgres_world.environment().fork()
    name = trial._handle.database.url.database
    ending = f"SELECT pg_terminate_backend(pg_backend_pid()) FROM pg_database WHERE datname = '{name}'"
    with pytest.raises(ToolError, match="there is no connection to the database.*call again"):
        trial.execute(ending)
    assert trial.rows("SELECT * FROM customers").holds
    trial.close()


def test_the_package_loads_no_database_library() -> None:
    loaded = "import sys, pivot_dspy, pivot_dspy.environments.sql; print('sqlalchemy' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
