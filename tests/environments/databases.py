"""Real databases, looked at and changed from outside of the package, with the drivers alone."""

from __future__ import annotations

import sqlite3
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from pivot_dspy.environments.sql import SQLEnvironment

TABLES = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, credit INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers (id), "
    "amount INTEGER NOT NULL CHECK (amount > 0))",
    "INSERT INTO customers VALUES (1, 'Ann', 100), (2, 'Bob', 5)",
)


class World(ABC):
    """One real database."""

    kind: str
    url: str

    @abstractmethod
    def run(self, sql: str) -> list[Any]:
        """Run a statement in the real database, as another program would."""

    @abstractmethod
    def everything(self) -> Any:
        """All that stands in the real database, to compare."""

    @abstractmethod
    def close(self) -> None: ...

    def environment(self, **options: Any) -> SQLEnvironment:
        return SQLEnvironment(self.url, **options)


class SQLiteWorld(World):
    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.db"
        self.url = f"sqlite:///{self.path}"
        for statement in TABLES:
            self.run(statement)

    def run(self, sql: str) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def everything(self) -> Any:
        connection = sqlite3.connect(self.path)
        try:
            pragmas = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id")]
            return [*connection.iterdump(), *pragmas, sorted(path.name for path in self.path.parent.iterdir())]
        finally:
            connection.close()

    def close(self) -> None:
        """The folder goes away by itself."""


class PostgresWorld(World):
    kind = "postgres"

    def __init__(self, folder: str) -> None:
        self.folder, self.name = folder, f"shop_{uuid.uuid4().hex[:8]}"
        self.url = f"postgresql+psycopg://shop@/{self.name}?host={folder}"
        self.admin("DO $$ BEGIN CREATE ROLE shop LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        self.admin(f"CREATE DATABASE {self.name} OWNER shop")
        self.run(";".join(TABLES) + "; CREATE SEQUENCE numbers")

    def connect(self, user: str = "shop", database: str = "") -> Any:
        import psycopg

        return psycopg.connect(host=self.folder, user=user, dbname=database or self.name, autocommit=True)

    def admin(self, sql: str, database: str = "postgres") -> list[Any]:
        with self.connect("admin", database) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def run(self, sql: str) -> list[Any]:
        with self.connect() as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def everything(self) -> Any:
        tables = self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        rows = {name: sorted(self.run(f"SELECT * FROM {name}")) for (name,) in tables}
        named = "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        catalogue = self.run(named)
        return rows, catalogue, self.run("SELECT last_value, is_called FROM numbers")

    def trials(self) -> list[str]:
        """The copies that now stand on the server."""
        return [name for (name,) in self.admin("SELECT datname FROM pg_database WHERE datname LIKE 'pivot_trial_%'")]

    def close(self) -> None:
        self.admin(f"DROP DATABASE {self.name} WITH (FORCE)")
