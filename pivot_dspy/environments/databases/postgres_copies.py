"""Copies of PostgreSQL databases on the same server: from a template where nobody is connected, else by `pg_dump`."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import URL

from pivot_dspy.errors import EnvironmentFailed

logger = logging.getLogger(__name__)

PREFIX = "pivot_trial_"
"""How the names of copies begin. A process that is killed leaves its own behind: they may be dropped at any time."""
MAINTENANCE = "postgres"
"""The database that is connected to while another is made or dropped."""
PATIENCE = 600.0
"""Seconds that `pg_dump` and `pg_restore` may take."""


def make_copy(url: URL, lock_seconds: float) -> URL:
    """Copy a database as it stands, and give the URL of the copy.

    Raises:
        EnvironmentFailed: the role may not, or others are connected and there is no `pg_dump`.
    """
    name, source = f"{PREFIX}{uuid.uuid4().hex}", str(url.database)
    copied, server = url.set(database=name), url.set(database=MAINTENANCE)
    new, old = sql.Identifier(name), sql.Identifier(source)
    with psycopg.connect(**_arguments(server), autocommit=True) as connection:
        try:
            _require_alone(connection, source)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(new, old))
        except psycopg.errors.InsufficientPrivilege as error:
            raise EnvironmentFailed(
                f"{error.diag.message_primary}; trials run on copies, so let the role own {source} and have CREATEDB "
                f"(ALTER ROLE {url.username} CREATEDB), or set forkable = False"
            ) from error
        except psycopg.errors.ObjectInUse as error:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(new))
            try:
                _dump_into(url, copied, lock_seconds, error)
            except BaseException:
                drop_copy(copied)
                raise
        _keep_settings(connection, source, name)
    return copied


def _require_alone(connection: psycopg.Connection[Any], source: str) -> None:
    """Raises what `CREATE DATABASE` would after five seconds where others are connected to what it copies."""
    for pause in (0.0, 0.02, 0.1, 0.3):  # a connection that was just closed stays a moment
        time.sleep(pause)
        asked = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend')"
        (used,) = connection.execute(asked, (source,)).fetchone() or (False,)
        if not used:
            return
    raise psycopg.errors.ObjectInUse(f"others are connected to {source}")


def _keep_settings(connection: psycopg.Connection[Any], source: str, name: str) -> None:
    """Give a copy the settings of its database, which a template does not hand on."""
    found = connection.execute(
        "SELECT split_part(s, '=', 1), substr(s, strpos(s, '=') + 1) FROM pg_db_role_setting r JOIN pg_database d "
        "ON d.oid = r.setdatabase, unnest(r.setconfig) s WHERE d.datname = %s AND r.setrole = 0",
        (source,),
    ).fetchall()
    for setting, value in found:
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
        parts = sql.SQL(".").join(sql.Identifier(part) for part in setting.split("."))
        connection.execute(sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(sql.Identifier(name), parts))


def _dump_into(url: URL, target: URL, lock_seconds: float, cause: Exception) -> None:
    """Copy what a database holds while others are connected to it, as one transaction sees it."""
    dump, restore = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dump is None or restore is None:
        raise EnvironmentFailed(
            f"others are connected to {url.database}, which can then be copied by pg_dump alone, and there is none "
            "here; install PostgreSQL's client programs, or connect to a database that nobody else uses"
        ) from cause
    waits = f"--lock-wait-timeout={int(lock_seconds * 1000)}"
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "dump")
        _run([dump, "--format=custom", "--compress=0", waits, f"--file={file}", f"--dbname={_conninfo(url)}"], url)
        options = ["--no-owner", "--no-privileges", "--no-comments", "--exit-on-error", "--single-transaction"]
        _run([restore, *options, f"--dbname={_conninfo(target)}", file], url)


def _run(command: list[str], url: URL) -> None:
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}  # not where others see it
    try:
        subprocess.run(
            command, env={**os.environ, **secret}, check=True, capture_output=True, text=True, timeout=PATIENCE
        )
    except (subprocess.SubprocessError, OSError) as error:
        told = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise EnvironmentFailed(
            f"others are connected to {url.database}, and {Path(command[0]).name} cannot copy it: {told[-1]}; try "
            "again when a migration that is under way is done, or connect to a database that nobody else uses"
        ) from error


def drop_copy(url: URL) -> None:
    """Drop a copy; what keeps it from that is logged."""
    name = sql.Identifier(str(url.database))
    try:
        with psycopg.connect(**_arguments(url.set(database=MAINTENANCE)), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
    except psycopg.Error as error:
        logger.warning("the copy %s could not be dropped, and may be at any time: %s", url.database, error)


def _arguments(url: URL) -> dict[str, Any]:
    return {"connect_timeout": 10, **url.translate_connect_args(username="user", database="dbname"), **url.query}


def _conninfo(url: URL) -> str:
    return make_conninfo(**{name: value for name, value in _arguments(url).items() if name != "password"})
