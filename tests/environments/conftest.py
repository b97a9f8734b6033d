"""Databases for the tests: a file of SQLite, and one of a PostgreSQL server that is started once where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.databases import PostgresWorld, SQLiteWorld, World
from tests.environments.postgres_server import binaries, postgres_server


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[str]:
    if binaries() is None:
        pytest.skip("no PostgreSQL is installed here (Debian's package postgresql)")
    with postgres_server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A real database with two customers and no orders."""
    made: World
    if request.param == "sqlite":
        made = SQLiteWorld(tmp_path)
    else:
        made = PostgresWorld(request.getfixturevalue("postgres_folder"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def sqlite_world(tmp_path: Path) -> SQLiteWorld:
    return SQLiteWorld(tmp_path)


@pytest.fixture
def postgres_world(postgres_folder: str) -> Iterator[PostgresWorld]:
    made = PostgresWorld(postgres_folder)
    try:
        yield made
    finally:
        made.close()
