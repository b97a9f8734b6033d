"""Commits to a SQL database: as a whole or not at all, whatever stops them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
import sqlalchemy as sa

import pivot_dspy
from pivot_dspy import CommitError, OutcomeUnknown, Requirement, tool
from pivot_dspy.environments.sql import SQLEnvironment
from tests.environments.databases import PostgresWorld, SQLiteWorld, World
from tests.episode.committing import refined
from tests.readme_blocks import snippet
from tests.scripted import plan, scripted, step, submit

ORDER = step("o", "execute", sql="INSERT INTO orders VALUES (1, 1, 30) RETURNING id")
PLAN = [
    step("r", "query", sql="SELECT credit FROM customers WHERE id = 1"),
    ORDER,
    step("t", "execute", sql="CREATE TABLE shipped (id INTEGER)"),
    step("s", "execute", sql="INSERT INTO shipped VALUES (:id)", parameters={"id": "$o.rows[0].id"}),
    step("c", "execute", sql="UPDATE customers SET credit = credit - 30 WHERE id = 1 RETURNING credit"),
    step("l", "query", sql="SELECT credit FROM customers ORDER BY id"),
    submit(answer="$l.rows[0].credit"),
]
DONE = Requirement(id="R1", check="value", args={"sql": "SELECT credit FROM customers WHERE id = 1", "equals": 70})
NOTHING = "all was rolled back, so nothing was done"


def test_it_is_done_once_and_as_a_whole(world: World) -> None:
    before, real = world.everything(), world.environment()
    result = refined(real, PLAN, DONE, status="judged")
    assert world.everything() == before
    execution = result.commit()
    assert execution.outputs == {"answer": "70"} and world.run("SELECT * FROM orders") == [(1, 1, 30)]
    assert world.run("SELECT id FROM shipped") == [(1,)]
    assert world.run("SELECT credit FROM customers ORDER BY id") == [(70,), (5,)]


@pytest.mark.parametrize("change", [
    "INSERT INTO orders VALUES (1, 2, 5)",  # which the first step that writes collides with
    "UPDATE customers SET credit = 29 WHERE id = 1",  # which a read shows, or the last write
    "CREATE TABLE shipped (id INTEGER, day date)",
    "ALTER TABLE customers ADD COLUMN mail TEXT",  # a migration that nothing would collide with
])  # fmt: skip
def test_what_has_changed_meanwhile_leaves_all_as_it_is(world: World, change: str) -> None:
    result = refined(world.environment(), PLAN, DONE, status="judged")
    world.run(change)
    before = world.everything()
    with pytest.raises(CommitError, match=NOTHING) as caught:
        result.commit()
    assert world.everything() == before and result.committed is None
    if "TABLE" in change:
        assert "the schema is not the one that the trial had, by" in str(caught.value)
        assert "run the refiner again" in str(caught.value)


def test_a_late_step_that_fails_takes_the_first_ones_with_it_and_it_starts_again(world: World) -> None:
    late = [ORDER, step("f", "execute", sql="INSERT INTO orders VALUES (2, 2, 5)"), submit(answer="x")]
    result = refined(world.environment(), late, status="judged")
    world.run("INSERT INTO orders VALUES (2, 1, 1)")
    before = world.everything()
    with pytest.raises(CommitError, match=f"(?i)unique.*{NOTHING}"):
        result.commit()
    assert world.everything() == before
    world.run("DELETE FROM orders")
    result.resume_commit()
    assert [row[0] for row in world.run("SELECT id FROM orders ORDER BY id")] == [1, 2]


async def test_it_is_the_same_awaited_and_from_a_factory(world: World) -> None:
    def shop() -> SQLEnvironment:
        return world.environment()

    result = refined(shop, PLAN, DONE, status="judged", timeout=30.0)
    world.run("INSERT INTO orders VALUES (1, 2, 5)")
    with pytest.raises(CommitError, match=NOTHING):
        await result.acommit()
    world.run("DELETE FROM orders")
    await result.aresume_commit()
    assert world.run("SELECT credit FROM customers ORDER BY id") == [(70,), (5,)]


def test_a_database_that_is_locked_says_so_and_waits_for_another_try(sqlite_world: SQLiteWorld) -> None:
    result = refined(sqlite_world.environment(lock_seconds=0.2), PLAN, status="judged")
    other = sqlite3.connect(sqlite_world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # a migration in flight
    with pytest.raises(CommitError, match=f"could not be begun: database is locked: another connection.*{NOTHING}"):
        result.commit()
    other.close()
    assert result.resume_commit().outputs == {"answer": "70"}


def test_a_table_that_a_migration_holds_says_so(postgres_world: PostgresWorld) -> None:
    result = refined(postgres_world.environment(lock_seconds=0.2), PLAN, status="judged")
    with postgres_world.connect() as other:
        other.execute("BEGIN; ALTER TABLE orders ADD COLUMN day date")
        before = time.monotonic()
        with pytest.raises(CommitError, match=NOTHING):
            result.commit()
        assert time.monotonic() - before < 5
        other.execute("ROLLBACK")
    assert result.resume_commit().outputs == {"answer": "70"}


def test_what_may_only_be_read_says_so(world: World) -> None:
    result = refined(world.environment(), PLAN, status="judged")
    if isinstance(world, PostgresWorld):
        world.admin(f"ALTER DATABASE {world.name} SET default_transaction_read_only = on")
    else:
        refusing = lambda driver: driver.execute("PRAGMA query_only = on")  # noqa: E731
        result = refined(world.environment(on_connect=refusing), PLAN[:1] + PLAN[-2:], status="judged")
    before = world.everything()
    with pytest.raises(CommitError, match=f"could not be begun: .*only.*{NOTHING}"):
        result.commit()
    assert world.everything() == before


def test_a_trial_beside_a_commit_has_a_copy_of_what_stood_before_it(world: World) -> None:
    real = world.environment()
    with real._in_transaction():
        real.execute("INSERT INTO orders VALUES (1, 1, 30)")
        trial = real.fork()
        assert real.value("SELECT count(*) FROM orders", 1).holds
        assert trial.value("SELECT count(*) FROM orders", 0).holds
        trial.close()
    assert world.run("SELECT count(*) FROM orders") == [(1,)]


class Broken(SQLEnvironment):
    """Loses its connection, or hangs, in the real world alone."""

    real = False

    @tool(effect="write")
    def lose(self) -> str:
        """Lose the connection."""
        with self.connection() as connection:
            if self._handle.real:
                connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return "lost"

    @tool(effect="write")
    def hang(self) -> str:
        """Write slowly."""
        with self.connection() as connection:
            for number in range(40 if self._handle.real else 1):
                connection.execute(sa.text(f"INSERT INTO orders VALUES ({50 + number}, 1, 1)"))
                time.sleep(0.05 if self._handle.real else 0)
        LEFT.set()
        return "done"


LEFT = threading.Event()


def test_a_connection_that_is_lost_in_mid_commit_has_done_nothing(postgres_world: PostgresWorld) -> None:
    result = refined(Broken(postgres_world.url), [ORDER, step("b", "lose"), submit(answer="x")], status="judged")
    before = postgres_world.everything()
    with pytest.raises(CommitError, match=NOTHING):
        result.commit()
    assert postgres_world.everything() == before


def test_a_call_that_is_given_up_writes_nothing_any_more(world: World) -> None:
    LEFT.clear()
    steps = [ORDER, step("h", "hang"), submit(answer="x")]
    result = refined(Broken(world.url), steps, status="judged", timeout=0.5 if world.kind == "sqlite" else 1.5)
    before = world.everything()
    with pytest.raises(CommitError, match=f"hang took longer than .* s; {NOTHING}"):
        result.commit()
    assert world.everything() == before
    LEFT.wait(0.3)
    assert world.everything() == before


@pytest.mark.parametrize("when", ["before", "after", "never known"])
def test_of_a_connection_that_is_lost_while_it_is_made_durable_the_server_tells(
    postgres_world: PostgresWorld, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = postgres_world.environment()
    result = refined(real, PLAN, status="judged")
    before = postgres_world.everything()
    database = real._handle.database

    original = database.engine.dialect.do_commit

    def losing(driver: Any) -> None:
        pid = driver.driver_connection.info.backend_pid
        if when == "after":
            original(driver)
        postgres_world.admin(f"SELECT pg_terminate_backend({pid}, 5000)")
        if when == "never known":
            monkeypatch.setattr(database, "engine", sa.create_engine("postgresql+psycopg://x@/x?host=/nowhere"))
        driver.driver_connection.execute("SELECT 1") if when == "after" else original(driver)

    monkeypatch.setattr(database.engine.dialect, "do_commit", losing)
    if when == "after":
        result.commit()
        assert postgres_world.run("SELECT credit FROM customers ORDER BY id") == [(70,), (5,)]
        return
    with pytest.raises(CommitError) as caught:
        result.commit()
    assert postgres_world.everything() == before
    if when == "before":
        assert NOTHING in str(caught.value) and "lost before the transaction was made durable" in str(caught.value)
    else:
        assert isinstance(caught.value.cause, OutcomeUnknown) and "nobody knows whether" in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_twenty_kills_at_random_moments_leave_it_whole_or_untouched(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = str(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_folder")
    command = [sys.executable, "-m", "tests.environments.database_kills", kind, folder, "20"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["unkilled"] == "all" and len(told["seen"]) == 20
    assert set(told["seen"]) <= {"nothing", "all"} and "nothing" in told["seen"]


RECIPE = snippet("SQLEnvironment")


def test_the_recipe(world: World) -> None:
    assert len(RECIPE.strip().splitlines()) < 15
    lower = "UPDATE customers SET credit = credit - :amount WHERE id = 1"
    wrong = [step("c", "execute", sql=lower, parameters={"amount": 300}), submit(answer="Done.")]
    right = [ORDER, step("c", "execute", sql=lower, parameters={"amount": 30}), submit(answer="Ordered.")]
    rewritten = {"diagnosis": "It takes more than she has.", "requirements": [], "steps": right}
    engine = scripted(plan=plan(wrong, []), evolve=rewritten)
    names: dict[str, Any] = {"pivot_dspy": pivot_dspy}
    with dspy.context(lm=engine):
        exec(RECIPE.replace("sqlite:///shop.db", world.url), names)
    result = names["result"]
    assert result.verified, result.verdict.reasons
    assert result.committed is not None and result.tier == "fork"
    assert world.run("SELECT credit FROM customers ORDER BY id") == [(70,), (5,)]
