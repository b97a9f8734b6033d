"""A desk with notes, as an MCP server made with `mcp` or, where `DESK_LIBRARY` says so, with `fastmcp`.

Over stdio, or with `DESK_PORT` over streamable HTTP on loopback. With `DESK_FOLDER` its notes are kept in a file there.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from mcp.types import EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents, ToolAnnotations
from pydantic import BaseModel

READS = ToolAnnotations(readOnlyHint=True)
WRITES = ToolAnnotations(readOnlyHint=False, destructiveHint=False)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


class Sure(BaseModel):
    sure: bool


def made(library: str, folder: str | None = None) -> Any:
    """A server with notes of its own, or with those that are kept in a folder."""
    if library == "fastmcp":
        from fastmcp import Context, FastMCP

        server: Any = FastMCP("desk")
    else:
        from mcp.server.mcpserver import Context, MCPServer

        server = MCPServer("desk")
    file = Path(folder) / "notes.json" if folder else None
    kept: list[str] = []
    tickets: list[str] = []

    def stored() -> list[str]:
        return json.loads(file.read_text()) if file and file.exists() else list(kept)

    def store(texts: list[str]) -> None:
        kept[:] = texts
        if file:
            file.write_text(json.dumps(texts))

    @server.tool(annotations=READS)
    def notes() -> list[str]:
        """All notes."""
        return stored()

    @server.tool(annotations=WRITES)
    def add(text: str, desk: str | None = None) -> dict[str, Any]:
        """Add a note. Gives its number.

        Args:
            text: what it says.
            desk: whose it is.
        """
        if text == "":
            raise ValueError("a note says something")
        store([*stored(), text if desk is None else f"{desk}: {text}"])
        return {"number": len(stored())}

    @server.tool(annotations=WRITES)
    def ticket() -> dict[str, str]:
        """A ticket, whose id is drawn by lot."""
        tickets.append(uuid4().hex)
        return {"id": tickets[-1], "said": f"ticket {tickets[-1]} of desk"}

    @server.tool(annotations=WRITES)
    def redeem(id: str) -> dict[str, Any]:
        """Use a ticket."""
        tickets.remove(id)
        return {"used": id, "left": list(tickets)}

    @server.tool(annotations=READS)
    def texts(which: str):
        """A text as it stands."""
        return TextContent(type="text", text=which)

    @server.tool(annotations=READS)
    def hits(count: int):
        """So many records, each in a block of its own."""
        return [TextContent(type="text", text=json.dumps({"n": n})) for n in range(count)]

    @server.tool(annotations=READS)
    def picture():
        """A picture, with its title."""
        return [TextContent(type="text", text="a pixel"), ImageContent(type="image", data=PIXEL, mimeType="image/png")]

    @server.tool(annotations=READS)
    def papers():
        """A link and a paper."""
        paper = TextResourceContents(uri="desk://paper", text="1.10", mimeType="text/plain")
        link = ResourceLink(type="resource_link", name="more", uri="desk://more")
        return [link, EmbeddedResource(type="resource", resource=paper)]

    @server.tool(annotations=WRITES)
    async def add_if_sure(text: str, ctx: Context) -> str:
        """Adds a note, and asks then whether that was meant."""
        store([*stored(), text])
        answer = await (ctx.elicit("sure?", bool) if library == "fastmcp" else ctx.elicit("sure?", Sure))
        return answer.action

    @server.tool(annotations=WRITES)
    def add_and_die(text: str) -> str:
        """Adds a note, and ends the server before it answers."""
        store([*stored(), text])
        os._exit(3)

    @server.tool(annotations=READS)
    def die() -> str:
        """Ends the server."""
        os._exit(3)

    @server.tool(annotations=READS)
    async def slow(seconds: float, ctx: Context) -> str:
        """Answers late, and tells how far it is."""
        for part in range(4):
            await ctx.report_progress(part, 4)
            await asyncio.sleep(seconds / 4)
        return "late"

    @server.tool(annotations=WRITES)
    async def slow_add(text: str, seconds: float) -> str:
        """Adds a note late, unless it is cancelled."""
        await asyncio.sleep(seconds)
        store([*stored(), text])
        return "added"

    @server.tool(annotations=WRITES)
    async def rebuild(ctx: Context) -> str:
        """Takes the tool `notes` away, and tells that the list has changed."""
        if library == "fastmcp":
            server.local_provider.remove_tool("notes")
        else:
            server.remove_tool("notes")
            await ctx.session.send_tool_list_changed()
        return "rebuilt"

    return server


if __name__ == "__main__":
    library, port = os.environ.get("DESK_LIBRARY", "mcp"), os.environ.get("DESK_PORT")
    over = {"transport": "stdio"} if port is None else {
        "transport": "streamable-http", "host": "127.0.0.1", "port": int(port)
    }
    made(library, os.environ.get("DESK_FOLDER")).run(**over, **({"show_banner": False} if library == "fastmcp" else {}))
