"""Servers of `desk_server.py` in processes of their own, environments of them, and calls in these."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastmcp
import mcp

from pivot_dspy import from_mcp
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.mcp.sandbox import McpEnvironment
from pivot_dspy.environment.session import Session
from tests.environment.mcp import desk_server
from tests.environment.running import run, values

SERVER = desk_server.__file__
LIBRARIES = ("mcp", "fastmcp")
PROBE = (("add", {"text": "probe"}), ("notes", {}))


def desk(library: str = "mcp", folder: Path | None = None) -> Any:
    """A server over stdio, whose notes are its own unless they are kept in a folder."""
    return mcp.StdioServerParameters(command=sys.executable, args=[SERVER], env=_settings(library, folder))


def inside(library: str = "mcp", **options: Any) -> Any:
    """A client, not connected yet, of a server in this process that is its own."""
    server = desk_server.made(library)
    return (fastmcp.Client if library == "fastmcp" else mcp.Client)(server, **options)


@contextmanager
def desk_over_http(library: str, port: int | None = None, folder: Path | None = None) -> Iterator[str]:
    """The address of a server over HTTP."""
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    env = {**_settings(library, folder), "DESK_PORT": str(port)}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, SERVER], stdout=quiet, stderr=quiet, env=env)
    try:
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait()


def _settings(library: str, folder: Path | None) -> dict[str, str]:
    return {"DESK_LIBRARY": library, **({} if folder is None else {"DESK_FOLDER": str(folder)})}


def made(real: Any, **options: Any) -> McpEnvironment:
    return asyncio.run(from_mcp(real, **options))


@contextmanager
def committed(environment: McpEnvironment, timeout: float = 20) -> Iterator[Session]:
    """A session in which everything acts on the real server."""
    session = SessionFactory(environment, timeout=timeout).open_real(None)
    try:
        yield session
    finally:
        session.family.close()


def answer(session: Session, tool: str, **args: Any) -> Any:
    """The value that one call gives, or its fault."""
    return values(run(session, (tool, args)))[0]


def notes(session: Session) -> list[str]:
    result: list[str] = answer(session, "notes")["result"]
    return result


def trial(environment: McpEnvironment, timeout: float = 20) -> Session:
    opened = SessionFactory(environment, timeout=timeout).open(None)
    assert opened.family.tier == "fork"
    return opened
