"""Runs one statement with named parameters and gives its rows as records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult
from sqlalchemy.types import NullType

from pivot_dspy.errors import ToolError

NAMED = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
"""What SQLAlchemy takes for a parameter."""


class StatementResult(NamedTuple):
    """What a statement gave."""

    rows: list[dict[str, Any]]
    more: bool
    """Whether there are rows beyond these."""
    rowcount: int | None
    """Rows that it changed, where the database says so, or gave."""


def run_statement(
    connection: Connection, sql: str, parameters: Mapping[str, Any], limit: int | None
) -> StatementResult:
    """Run one statement.

    Args:
        parameters: values of `:name`, by name; a colon before any other word is part of the text.
        limit: rows that are given at most.

    Raises:
        ToolError: a parameter stands nowhere in the statement, or it is empty.
    """
    names = set(NAMED.findall(sql))
    if unknown := [name for name in parameters if name not in names]:
        raise ToolError(f"the statement has no :{unknown[0]}; write each parameter as :name where its value belongs")
    if not sql.strip(" \t\r\n;"):
        raise ToolError("the statement is empty")
    written = NAMED.sub(lambda match: match[0] if match[1] in parameters else f"\\{match[0]}", sql)
    # Without a type, the database tells by the place what a value is: a text is a date where a date belongs.
    values = [sa.bindparam(name, value, type_=NullType()) for name, value in parameters.items()]
    result: CursorResult[Any] = connection.execute(sa.text(written).bindparams(*values))
    if not result.returns_rows:
        return StatementResult([], False, result.rowcount if result.rowcount >= 0 else None)
    columns = _distinct(list(result.keys()))
    read = result.fetchall() if limit is None else result.fetchmany(limit + 1)
    more = limit is not None and len(read) > limit
    rows = [dict(zip(columns, row, strict=True)) for row in (read[:limit] if more else read)]
    return StatementResult(rows, more, len(rows))


def _distinct(names: list[str]) -> list[str]:
    """The names of columns, each once: the second `id` is `id_2`."""
    given: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in count(2))
        given.append(name if name not in given else next(other for other in others if other not in (*names, *given)))
    return given
