"""The client of MCP 1, which cannot be installed beside MCP 2: its site-packages are named by `MCP1_SITE_PACKAGES`.

    python -m venv /tmp/mcp1 && /tmp/mcp1/bin/pip install 'mcp<2'
    MCP1_SITE_PACKAGES=$(echo /tmp/mcp1/lib/python3*/site-packages) python -m pytest tests/environment/mcp
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import asyncio, contextlib, mcp, sys
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from pivot_dspy import from_mcp
from pivot_dspy.environment.factory import SessionFactory
from tests.environment.running import run, values

assert not hasattr(mcp, "Client"), "this is MCP 2"
SERVER, HTTP = sys.argv[1:]
PARAMETERS = mcp.StdioServerParameters(command=sys.executable, args=[SERVER])
PROBE = (("add", {"text": "probe"}), ("notes", {}))
CALLS = [("add", {"text": "x"}), ("notes", {}), ("texts", {"which": "1e5"}), ("hits", {"count": 1})]
ASKS = ("add_if_sure", {"text": "y"})

def check(environment):
    source = SessionFactory(environment)
    for session, tier in ((source.open(None), "fork"), (source.open_real(None), "live")):
        *seen, asked = values(run(session, *CALLS, ASKS))
        assert session.family.tier == tier
        assert seen == [{"number": 1}, {"result": ["x"]}, "1e5", {"n": 0}], seen
        assert "unknown whether the call did what it does" in asked.message, asked
        session.family.close()

check(asyncio.run(from_mcp(PARAMETERS, sandbox=lambda: PARAMETERS, probe=PROBE)))
check(asyncio.run(from_mcp(HTTP, sandbox=lambda: PARAMETERS, probe=PROBE)))

async def open_session():
    async with stdio_client(PARAMETERS) as streams, mcp.ClientSession(*streams) as session:
        await session.initialize()
        await asyncio.to_thread(check, await from_mcp(session, sandbox=lambda: PARAMETERS, probe=PROBE))

asyncio.run(open_session())

def agrees(question):
    return {"action": "accept", "content": {"sure": True}}

for source in (PARAMETERS, HTTP):
    agreed = SessionFactory(asyncio.run(from_mcp(source, elicitation=agrees))).open_real(None)
    assert values(run(agreed, ASKS)) == [{"result": "accept"}]
    agreed.family.close()
print("all right with MCP 1")
"""


@pytest.mark.skipif("MCP1_SITE_PACKAGES" not in os.environ, reason="no client of MCP 1 is named")
def test_the_client_of_mcp_1_is_as_good() -> None:
    from tests.environment.mcp.desks import SERVER, desk_over_http

    path = os.pathsep.join((os.environ["MCP1_SITE_PACKAGES"], str(ROOT)))
    with desk_over_http("mcp") as address:
        ran = subprocess.run(
            [sys.executable, "-c", CODE, SERVER, address],
            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT,
        )  # fmt: skip
    assert "all right with MCP 1" in ran.stdout, ran.stdout + ran.stderr
