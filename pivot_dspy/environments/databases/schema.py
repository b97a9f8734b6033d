"""A schema as short text, near to the DDL that would make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.engine.reflection import Inspector, ObjectKind, ObjectScope

SYSTEM = ("information_schema", "pg_catalog", "pg_toast")


def schema_text(connection: Connection) -> str:
    """Tables and views with their columns, keys and conditions, one a line; those outside of the default schema by
    their full names.
    """
    inspector = sa.inspect(connection)
    default = inspector.default_schema_name
    schemas: list[str | None] = [None]
    if connection.dialect.name == "postgresql":
        schemas += [name for name in inspector.get_schema_names() if name not in (default, *SYSTEM)]
    lines = [line for schema in schemas for line in _lines(inspector, schema)]
    return "\n".join(lines) or "(no tables)"


def _lines(inspector: Inspector, schema: str | None) -> Iterator[str]:
    of_all: dict[str, Any] = {"schema": schema, "kind": ObjectKind.ANY, "scope": ObjectScope.DEFAULT}
    columns = inspector.get_multi_columns(**of_all)
    of_tables: dict[str, Any] = {"schema": schema}
    primary: dict[Any, Any] = dict(inspector.get_multi_pk_constraint(**of_tables))
    foreign = inspector.get_multi_foreign_keys(**of_tables)
    unique = inspector.get_multi_unique_constraints(**of_tables)
    checks = inspector.get_multi_check_constraints(**of_tables)
    views = {*inspector.get_view_names(schema), *_materialized(inspector, schema)}
    for key in sorted(columns, key=lambda key: (key[1] in views, key[1])):
        kind = "view" if key[1] in views else "table"
        name = key[1] if schema is None else f"{schema}.{key[1]}"
        keys = (primary.get(key) or {}).get("constrained_columns") or []
        single = keys[0] if len(keys) == 1 else None
        parts = [_column(column, single) for column in columns[key]]
        if len(keys) > 1:
            parts.append(f"PRIMARY KEY {_listed(keys)}")
        for link in foreign.get(key) or ():
            target = ".".join(filter(None, (link["referred_schema"], link["referred_table"])))
            of, to = _listed(link["constrained_columns"]), _listed(link["referred_columns"])
            parts.append(f"FOREIGN KEY {of} REFERENCES {target}{to}")
        parts += [f"UNIQUE {_listed(item['column_names'])}" for item in unique.get(key) or ()]
        parts += [f"CHECK ({item['sqltext']})" for item in checks.get(key) or ()]
        yield f"{kind} {name}({', '.join(parts)})"


def _materialized(inspector: Inspector, schema: str | None) -> list[str]:
    return inspector.get_materialized_view_names(schema) if inspector.dialect.name == "postgresql" else []


def _column(column: Any, primary: str | None) -> str:
    words = [str(column["name"])]
    if not isinstance(column["type"], sa.types.NullType):  # SQLite needs no type
        words.append(str(column["type"]))
    if column["name"] == primary:
        words.append("PRIMARY KEY")
    elif not column["nullable"]:
        words.append("NOT NULL")
    if column.get("default") is not None:
        words.append(f"DEFAULT {column['default']}")
    return " ".join(words)


def _listed(names: Iterable[Any]) -> str:
    return f"({', '.join(map(str, names))})"
