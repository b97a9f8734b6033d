"""A real MCP server over stdio, for the tests: rooms that can be listed, booked and burnt down."""

import asyncio

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:  # MCP 1
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError
from mcp.types import ToolAnnotations
from typing_extensions import TypedDict

server = MCPServer("rooms")
booked: list[str] = []


class Room(TypedDict):
    name: str
    seats: int


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def rooms(least: int = 0) -> list[Room]:
    """Rooms with at least so many seats."""
    return [room for room in (Room(name="Blue", seats=4), Room(name="Red", seats=9)) if room["seats"] >= least]


@server.tool(annotations=ToolAnnotations(readOnlyHint=True), structured_output=False)
def bookings() -> str:
    """What is booked, as JSON in text."""
    return '{"booked": [' + ", ".join(f'"{name}"' for name in booked) + "]}"


@server.tool(annotations=ToolAnnotations(readOnlyHint=True), structured_output=False)
def greeting() -> str:
    """Plain text."""
    return "Good day: {not JSON}"


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
async def slow(seconds: float) -> int:
    """Answers late."""
    await asyncio.sleep(seconds)
    return 1


@server.tool(annotations=ToolAnnotations(readOnlyHint=False, destructiveHint=False))
def book(room: str) -> Room:
    """Book a room."""
    if room in booked:
        raise ToolError(f"{room} is taken")
    booked.append(room)
    return Room(name=room, seats=4)


@server.tool(annotations=ToolAnnotations(destructiveHint=True))
def burn() -> bool:
    """Burn it all down."""
    booked[:] = ["ashes"]
    return True


calls: list[str] = []


@server.tool(annotations=ToolAnnotations(readOnlyHint=True), structured_output=False)
def status() -> str:
    """How it stands, and how often that was asked."""
    calls.append("status")
    return '{"call": ' + str(len(calls)) + ', "room": "Blue"}'


@server.tool()
def paint(room: str, colour: str | None = None) -> str:
    """Says nothing of its effect."""
    return f"{room} is {colour}"


if __name__ == "__main__":
    server.run("stdio")
