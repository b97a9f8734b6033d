"""Connections to MCP servers, each in the event loop that it has to be used in, and a thread that keeps such a loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pivot_dspy.environment.mcp.elicitation import Answering, answer_by
from pivot_dspy.environment.mcp.results import field
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, ToolError, error_text

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

FAREWELL = 3.0
"""Seconds that servers get to end when their connections are closed at last."""

PULSE = 2.0
"""Seconds within which a server that is alive lists its tools."""

MODERN = "2026"
"""How the versions of the protocol begin that know neither sessions nor questions from the server."""

PAGES = 1000
"""Pages of tools that a server may list."""


class LoopThread:
    """A daemon thread with an event loop, in which connections live whoever uses them; it starts when first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopped = self._chose = False
        self._kept: set[asyncio.Task[None]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop.

        Raises:
            EnvironmentFailed: it has been stopped.
        """
        with self._starting:
            if self._stopped:
                raise EnvironmentFailed("the environment of the server is closed; make it again")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="pivot-server", daemon=True)
                self._thread.start()
            return self._loop

    def is_home_of(self, connection: Connection) -> bool:
        """Whether a connection lives here."""
        return connection.loop is self._loop

    def later(self, function: Callable[[], object]) -> None:
        """Call a function there, unless all is closed already."""
        with contextlib.suppress(EnvironmentFailed):
            self.loop.call_soon_threadsafe(function)

    async def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Await a coroutine there, from any event loop; cancelled here, it is cancelled there."""
        try:
            loop = self.loop
        except EnvironmentFailed:
            coroutine.close()
            raise
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))

    async def open(self, source: Any, answering: Answering | None = None) -> Connection:
        """Connect to a server, in this thread and in a task of its own that leaves it, too.

        Sessions are kept: a client that may choose the protocol is told to speak one that has them.

        Args:
            source: an async context manager that gives a session, a `Client` of MCP 2 or fastmcp that is not connected
                yet, parameters of a server over stdio, or the address of one over HTTP.
            answering: answers what the server asks; None where the client does, if anybody.

        Raises:
            ConfigurationError: it is none of these, or one that cannot be told who answers.
            Exception: whatever it raises when it is entered.
        """
        if getattr(source, "mode", None) == "auto":
            source.mode = "legacy"
            if not self._chose:
                logger.warning(
                    "an MCP client is used with mode='legacy', for the protocol of 2026 has no sessions and no "
                    "questions from the server; one made with mode='legacy', or with a version, is used as it is"
                )
            self._chose = True
        if hasattr(type(source), "message_handler") and source.message_handler is None:
            source.message_handler = _warn_of_changes
        if not hasattr(source, "__aenter__"):
            return await self.run(self._open(_connected(source, answering)))
        if answering is not None:
            answer_by(source, answering)
        return await self.run(self._open(source))

    async def _open(self, manager: AbstractAsyncContextManager[Any]) -> Connection:
        stop, opened = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def keep() -> None:
            try:
                async with manager as session:
                    if not opened.done():
                        opened.set_result(session)
                        await stop.wait()
            except (Exception, asyncio.CancelledError) as error:
                if opened.done():
                    logger.debug("an MCP connection ended: %s", error_text(error))
                else:
                    opened.set_exception(RuntimeError("it was cancelled") if not str(error) else error)

        task = asyncio.get_running_loop().create_task(keep())
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        try:
            return Connection(await opened, asyncio.get_running_loop(), stop)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def stop(self) -> None:
        """Close all connections and end the thread; what does not end in time ends with the process."""
        with self._starting:
            loop, self._loop, self._stopped = self._loop, None, True
        if loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(loop), loop)
        if threading.current_thread() is not self._thread:  # where it is garbage that ends it, it may be
            self._thread.join(FAREWELL + 1)

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        for task in (kept := list(self._kept)):
            task.cancel()
        if kept:
            await asyncio.wait(kept, timeout=FAREWELL)
        loop.stop()


class Connection:
    """A session with a server, which may be used from any event loop.

    Args:
        session: `ClientSession` of MCP 1 or 2, or `Client` of MCP 2 or fastmcp, connected.
        loop: the event loop that it lives in.
        stop: what ends it, if that is ours to do.
    """

    def __init__(self, session: Any, loop: asyncio.AbstractEventLoop, stop: asyncio.Event | None = None) -> None:
        self.session, self.loop, self._stop = session, loop, stop

    @property
    def speaks_modern(self) -> bool:
        """Whether the protocol is one without sessions and without questions from the server."""
        inner = getattr(self.session, "session", None)
        version = getattr(self.session, "protocol_version", None) or getattr(inner, "protocol_version", None)
        return str(version or "") >= MODERN

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The server's `CallToolResult`, also where it says that the call failed."""
        call = getattr(self.session, "call_tool_mcp", None) or self.session.call_tool  # fastmcp's other one raises
        return await self._inside(lambda: call(tool, arguments))

    async def tools(self) -> list[Any]:
        """What the server lists, all pages of it.

        Raises:
            ConfigurationError: it lists pages without end.
        """
        return await self._inside(lambda: _list_tools(self.session))

    async def is_alive(self) -> bool:
        """Whether the server still answers in this session."""
        try:
            await asyncio.wait_for(self._inside(self.session.list_tools), PULSE)
        except Exception:
            return False
        return True

    def close(self) -> None:
        """Leave the server, without waiting for that; what was not opened here is closed by who opened it."""
        if self._stop is not None and self.loop.is_running():
            self.loop.call_soon_threadsafe(self._stop.set)

    async def _inside(self, make: Callable[[], Awaitable[Result]]) -> Result:
        if asyncio.get_running_loop() is self.loop:
            return await make()
        if not self.loop.is_running():
            raise ToolError("the event loop of the MCP session has ended; keep the session open while it is used")

        async def inside() -> Result:
            return await make()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(inside(), self.loop))


def is_open(source: Any) -> bool:
    """Whether this is a session, or a client that is connected, which lives in an event loop already."""
    if not hasattr(source, "call_tool"):
        return False
    if callable(connected := getattr(source, "is_connected", None)):  # fastmcp
        return bool(connected())
    if not hasattr(type(source), "session"):  # a session rather than a client
        return True
    try:
        return source.session is not None
    except RuntimeError:  # of a client that is not entered
        return False


@asynccontextmanager
async def _connected(target: Any, answering: Answering | None) -> AsyncIterator[Any]:
    """A session with a server by its parameters or address."""
    mcp = imported()
    client = getattr(mcp, "Client", None)
    if client is not None:  # MCP 2
        try:
            made = client(
                target, mode="legacy", message_handler=_warn_of_changes, elicitation_callback=answering
            )  # fmt: skip
        except (TypeError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"no MCP server can be reached by {named(target)}: {error}") from error
        async with made as session:
            yield session
        return
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(target, mcp.StdioServerParameters):
            from mcp.client.stdio import stdio_client

            streams: Any = await stack.enter_async_context(stdio_client(target))
        elif isinstance(target, str):
            from mcp.client import streamable_http

            streams = await stack.enter_async_context(streamable_http.streamablehttp_client(target))  # type: ignore
        else:
            raise ConfigurationError(
                f"no MCP server can be reached by {named(target)}; give StdioServerParameters, an address, a client, "
                "or an async context manager that gives a session"
            )
        session = await stack.enter_async_context(
            mcp.ClientSession(*streams[:2], message_handler=_warn_of_changes, elicitation_callback=answering)
        )
        await session.initialize()
        yield session


async def _warn_of_changes(message: Any) -> None:
    """What is told of messages from a server that answer nothing."""
    if type(getattr(message, "root", message)).__name__ == "ToolListChangedNotification":
        logger.warning(
            "the MCP server says that it has changed its tools; those that were listed before are the ones that are "
            "offered; make the environment again with from_mcp"
        )


def named(source: Any) -> str:
    """What a server is reached by, without what may be secret: parameters have keys in them, and addresses, too.

    >>> named("https://me:key@example.org/mcp?token=1"), named(7)
    ('https://example.org/mcp', 'int')
    """
    if not isinstance(source, str):
        return type(source).__name__
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else "a text that is no address"


def imported() -> Any:
    """The `mcp` package.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import mcp
    except ImportError as error:
        raise ConfigurationError("from_mcp needs the MCP client; pip install 'pivot-dspy[mcp]'") from error
    return mcp


async def _list_tools(session: Any) -> list[Any]:
    """All pages of the server's tools. MCP 2's session takes the cursor in `params`, others by itself."""
    page = await session.list_tools()
    if isinstance(page, list):  # fastmcp, which has turned the pages
        return page
    in_params = "params" in inspect.signature(session.list_tools).parameters
    tools, cursors = list(page.tools), set()
    while (cursor := field(page, "next_cursor", "nextCursor")) and cursor not in cursors:
        cursors.add(cursor)
        if len(cursors) > PAGES:
            raise ConfigurationError(f"the server lists its tools on more than {PAGES} pages")
        params = {"params": imported().types.PaginatedRequestParams(cursor=cursor)} if in_params else {"cursor": cursor}
        page = await session.list_tools(**params)
        tools += page.tools
    return tools
