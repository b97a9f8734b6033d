"""A PostgreSQL server of the tests' own: Debian's binaries, a folder that goes away, a socket and no port."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    "listen_addresses": "", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
    "shared_buffers": "16MB", "max_connections": "60", "autovacuum": "off",
}  # fmt: skip


@functools.cache
def binaries() -> Path | None:
    """Where PostgreSQL's programs are."""
    places = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def _user() -> str | None:
    """Who runs the server, which refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Starts one, and gives the folder of its socket; the superuser is `admin`, and nobody needs a password."""
    place = binaries()
    if place is None:
        raise RuntimeError("there are no binaries of PostgreSQL; look at `binaries` first")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    run = functools.partial(subprocess.run, check=True, capture_output=True, text=True, cwd="/", timeout=60, user=user)
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        run([place / "initdb", "-D", data, "-U", "admin", "--auth=trust", "--no-sync", "--encoding=UTF8"])
        with (data / "postgresql.conf").open("a") as file:
            for name, value in {**SETTINGS, "unix_socket_directories": folder}.items():
                file.write(f"{name} = '{value}'\n")
        run([place / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "start"])
        folder.chmod(0o755)
        try:
            yield str(folder)
        finally:
            run([place / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
