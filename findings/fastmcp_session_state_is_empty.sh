#!/usr/bin/env bash
# fastmcp 4.1.7: Client speaks MCP 2026-07-28 unless it is told otherwise, which has no sessions. What a tool keeps with
# ctx.set_state is gone at the client's next call, without an error, and that the server over HTTP was started again
# between two calls goes unnoticed. With mode="legacy" the state is kept, and the restart is an error.
# Valid input, no network but the package index and loopback.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "fastmcp==4.1.7" "mcp==2.3.0"
cd "$folder"
cat > server.py <<'PYTHON'
import sys

from fastmcp import Context, FastMCP

server = FastMCP("desk")


@server.tool
async def keep(text: str, ctx: Context) -> str:
    await ctx.set_state("kept", text)
    return "kept"


@server.tool
async def kept(ctx: Context) -> str:
    return str(await ctx.get_state("kept"))


server.run("http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
PYTHON
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import asyncio
import socket
import subprocess
import sys
import time

from fastmcp import Client


def serve(port):
    process = subprocess.Popen([sys.executable, "server.py", str(port)], stdout=subprocess.DEVNULL)
    for _ in range(400):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise SystemExit("the server does not start")


async def seen(mode):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = serve(port)
    try:
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
            await client.call_tool("keep", {"text": "a note"})
            state = (await client.call_tool("kept", {})).data
            process.kill()
            process.wait()
            process = serve(port)
            try:
                after = (await client.call_tool("kept", {})).data
            except Exception as error:
                after = f"{type(error).__name__}: {error}"
    finally:
        process.kill()
        process.wait()
    print(mode, "| at the next call:", state, "| after a restart:", after)
    return state, after


by_default, legacy = asyncio.run(seen("auto")), asyncio.run(seen("legacy"))
if by_default != ("None", "None"):
    raise SystemExit("changed: what the default protocol keeps and notices")
if legacy[0] != "a note" or "Error" not in legacy[1]:
    raise SystemExit("changed: what legacy mode keeps and notices")
PYTHON
echo "as stated"
