#!/usr/bin/env bash
# mcp 2.3.0: Client speaks MCP 2026-07-28 unless it is told otherwise, in which a server cannot ask its client anything.
# A tool that acts and then asks (ctx.elicit) has acted, and the call fails as an error of the protocol. With
# mode="legacy" and a callback that answers, the same call succeeds. Valid input, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "mcp==2.3.0"
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio

from mcp import Client, MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ElicitResult
from pydantic import BaseModel

sold: list[str] = []
server = MCPServer("shop")


class Sure(BaseModel):
    sure: bool


@server.tool()
async def sell(what: str, ctx: Context) -> str:
    sold.append(what)
    return (await ctx.elicit("sure?", Sure)).action


async def agree(context, params):
    return ElicitResult(action="accept", content={"sure": True})


async def main():
    async with Client(server, elicitation_callback=agree) as client:
        version = client.protocol_version
        try:
            error = f"none: {await client.call_tool('sell', {'what': 'a chair'})}"
        except MCPError as raised:
            error = str(raised)
    print("by default:", version, "|", error, "| sold:", sold)
    if version != "2026-07-28" or "no back-channel" not in error or sold != ["a chair"]:
        raise SystemExit("changed: a tool that acts and then asks, by default")
    async with Client(server, mode="legacy", elicitation_callback=agree) as client:
        version, result = client.protocol_version, await client.call_tool("sell", {"what": "a table"})
    print("mode='legacy':", version, "|", result.structured_content, "| sold:", sold)
    if result.structured_content != {"result": "accept"}:
        raise SystemExit("changed: a tool that acts and then asks, in legacy mode")


asyncio.run(main())
PYTHON
echo "as stated"
