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

import mcp

from pivot_dspy import from_mcp
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.mcp.sandbox import McpEnvironment
from pivot_dspy.environment.session import Session
from tests.environment.running import run, values

SERVER = Path(__file__).with_name("desk_server.py")
LIBRARIES = ("mcp", "fastmcp")
PROBE = (("add", {"text": "probe"}), ("notes", {}))


def desk(library: str = "mcp", folder: Path | None = None) -> Any:
    """A server over stdio, whose notes are its own unless they are kept in a folder."""
    env = {} if folder is None else {"DESK_FOLDER": str(folder)}
    return mcp.StdioServerParameters(command=sys.executable, args=[str(SERVER), library], env=env)


@contextmanager
def desk_over_http(library: str, port: int | None = None, folder: Path | None = None) -> Iterator[str]:
    """The address of a server over HTTP."""
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    env = {} if folder is None else {"DESK_FOLDER": str(folder)}
    server = subprocess.Popen(
        [sys.executable, str(SERVER), library, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
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
