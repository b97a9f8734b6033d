#!/usr/bin/env bash
# mcp 2.3.0: a tool without an output schema that returns a list of records sends one block of text for each. A client
# sees no block, a record, or several: of the list with one record nothing tells that it was a list.
# Valid input, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "mcp==2.3.0"
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import json

from mcp import Client
from mcp.server.mcpserver import MCPServer

server = MCPServer("shop")


@server.tool(structured_output=False)
def search(hits: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(hits)]


async def main():
    async with Client(server) as client:
        for hits in range(3):
            result = await client.call_tool("search", {"hits": hits})
            blocks = [json.loads(block.text) for block in result.content]
            print(hits, "hits:", blocks, "| structured:", result.structured_content)
            if blocks != [{"n": n} for n in range(hits)] or result.structured_content is not None:
                raise SystemExit("changed: how a list is sent")


asyncio.run(main())
PYTHON
echo "as stated"
