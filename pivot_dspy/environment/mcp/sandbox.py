"""Where the calls of a run go: to the real session, or to a server of the trial's own, which is made when needed."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from typing_extensions import Self

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.from_functions import FunctionEnvironment
from pivot_dspy.environment.mcp.aliases import Aliases
from pivot_dspy.environment.mcp.connection import Connection, LoopThread, is_open
from pivot_dspy.environment.mcp.elicitation import Answering
from pivot_dspy.environment.mcp.listing import Listing, ServerTool, told_of
from pivot_dspy.environment.mcp.results import unknown, value_of, without_echo
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, OutcomeUnknown, ToolError, error_text
from pivot_dspy.plain_json import plain

logger = logging.getLogger(__name__)

Made = Any
"""What a factory of sandboxes gives: what connects to a server, or a pair of that and values of hidden arguments."""


class Server(Protocol):
    """What the tools of an environment call."""

    async def call(self, tool: ServerTool, arguments: dict[str, Any]) -> Any:
        """The value that the tool gives; raises what says why it gives none."""

    def fork(self) -> Server:
        """One in which nothing that is done to this one is seen."""

    def close(self) -> None:
        """Leave the server."""


class OpenServer(Server, Protocol):
    """A server that is reached."""

    async def is_alive(self) -> bool:
        """Whether it still answers, and knows of what was done before."""


@dataclass
class ConnectedServer:
    """A server that calls go to as they come."""

    connection: Connection
    hidden: Mapping[str, Any]
    """Values of arguments that no model sees."""
    sandboxes: Sandboxes | None = None
    """Where its forks come from."""
    real: bool = False
    """Whether what it does is real: then it must be listed, before each write, as it was when it was described."""

    async def call(self, tool: ServerTool, arguments: dict[str, Any]) -> Any:
        """Call once; whatever ends a call that writes without the tool's own answer leaves open what it did.

        Raises:
            OutcomeUnknown: it writes, and nobody knows whether it did.
            ToolError: the tool says that it failed, or the call was not made.
        """
        given = {name: value for name, value in self.hidden.items() if name in tool.hidden}
        if self.real and tool.writes:
            await self._require_unchanged(tool)
        try:
            result = await self.connection.call(tool.name, {**arguments, **given})
        except ToolError:
            raise
        except Exception as error:
            if tool.writes:
                raise OutcomeUnknown(unknown(error_text(error))) from error
            raise
        value = value_of(result, tool.returns, writes=tool.writes)
        return without_echo(value, given) if given else value

    async def _require_unchanged(self, tool: ServerTool) -> None:
        """Raises ToolError where the server does not list a tool as it did, or cannot be asked."""
        try:
            now = [told_of(other) for other in await self.connection.tools() if other.name == tool.name]
        except Exception as error:
            raise ToolError(f"not called, for the server does not list its tools: {error_text(error)}") from error
        if tool.listed not in ("", *now):
            why = "has changed" if now else "is gone"
            raise ToolError(
                f"not called, for {tool.name} {why} since the server's tools were listed; make the environment again "
                "with from_mcp"
            )

    def fork(self) -> Server:
        if self.sandboxes is None:
            raise ConfigurationError("an MCP server that writes cannot be forked; give from_mcp a sandbox")
        return Trial(self.sandboxes)

    async def is_alive(self) -> bool:
        return await self.connection.is_alive()

    def close(self) -> None:
        self.connection.close()


class _Comparison:
    """Warns, once for the same differences, of sandboxes that list other tools than the real server."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._warned = ""

    async def __call__(self, connection: Connection) -> None:
        """Raises EnvironmentFailed where the sandbox does not list its tools."""
        try:
            differences = self._listing.differences(await connection.tools())
        except Exception as error:
            connection.close()
            why = error_text(error)
            raise EnvironmentFailed(f"a sandbox of the MCP server does not list its tools: {why}") from error
        if differences and differences != self._warned:
            self._warned = differences
            logger.warning(
                "a sandbox lists other tools than the real MCP server did when the environment was made: %s; what is "
                "planned goes by the real ones; make the environment again with from_mcp where these have changed",
                differences,
            )


class Sandboxes:
    """Makes servers for trials, each with a state of its own.

    Args:
        make: gives what leads to one, as of `from_mcp`.
        connect: reaches what that gave, with values for arguments that no model sees.
        hidden: such values, where the factory gives no others.
        thread: where connections live.
    """

    def __init__(
        self,
        make: Callable[[], Made],
        connect: Callable[[Any, Mapping[str, Any]], Awaitable[OpenServer]],
        hidden: Mapping[str, Any],
        thread: LoopThread,
    ) -> None:
        self._make, self._connect, self._hidden, self.thread = make, connect, hidden, thread

    @classmethod
    def of_mcp(
        cls, make: Callable[[], Made], hidden: Mapping[str, Any], thread: LoopThread, listing: Listing,
        answering: Answering | None = None,
    ) -> Sandboxes:  # fmt: skip
        """Sandboxes of an MCP server.

        Args:
            listing: the tools of the real server; those of a sandbox should be no others.
            answering: answers what they ask; None where the clients do, if anybody.
        """
        compare = _Comparison(listing)

        async def connect(source: Any, hidden: Mapping[str, Any]) -> OpenServer:
            if is_open(source):
                raise ConfigurationError(
                    "sandbox gives a session that is open already, which all trials would share; give a function that "
                    "makes a server's parameters, a client that is not connected, or an async context manager"
                )
            connection = await thread.open(source, answering)
            await compare(connection)
            return ConnectedServer(connection, hidden)

        return cls(make, connect, hidden, thread)

    async def open(self) -> OpenServer:
        """Another sandbox.

        Raises:
            EnvironmentFailed: it cannot be made.
            ConfigurationError: the factory gives something else, or what is open already.
        """
        try:
            made = self._make()
            made = await made if inspect.isawaitable(made) else made
            source, hidden = made if isinstance(made, tuple) else (made, {})
            return await self._connect(source, {**self._hidden, **hidden})
        except (ConfigurationError, EnvironmentFailed):
            raise
        except Exception as error:
            raise EnvironmentFailed(f"a sandbox of the server cannot be opened: {error_text(error)}") from error


class TrialCall(NamedTuple):
    """A call of a trial that has ended."""

    tool: ServerTool
    arguments: dict[str, Any]
    value: Any = None
    failed: bool = False


class Trial:
    """A sandbox of one trial, opened at its first call.

    A fork is another sandbox in which the same calls are made again, once it is needed; ids that come out otherwise
    there are translated. A trial whose server is lost is void: no call is made in another server that knows nothing of
    what was done before.

    Args:
        calls: what is to be done in it before its first call.
        void: why nothing can be called any more.
    """

    def __init__(self, sandboxes: Sandboxes, calls: tuple[TrialCall, ...] = (), void: str = "") -> None:
        self._sandboxes, self._calls, self._void = sandboxes, calls, void
        self._unknown = bool(void)
        """Whether it was lost in a call that writes."""
        self._opening: asyncio.Task[OpenServer] | None = None
        self._aliases = Aliases()
        """Between what was seen of this trial and what its present sandbox says."""

    async def call(self, tool: ServerTool, arguments: dict[str, Any]) -> Any:
        """As of `ConnectedServer`.

        Raises:
            EnvironmentFailed: no sandbox can be made in which things stand as they do here.
        """
        return await self._sandboxes.thread.run(self._call(tool, arguments))

    async def _call(self, tool: ServerTool, arguments: dict[str, Any]) -> Any:
        if self._void:
            raise ToolError(f"not called, for this trial is void: {self._void}")
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._opened())
        # Where the first call is cancelled, the next one has the sandbox that was being opened for it.
        server = await asyncio.shield(self._opening)
        try:
            value = self._aliases.here(await server.call(tool, self._aliases.there(arguments)))
        except asyncio.CancelledError:
            if tool.writes:
                self._lose(tool, f"nobody knows what the call of {tool.name} did before it was cancelled")
            raise
        except Exception as error:
            if isinstance(error, ToolError) or await server.is_alive():
                self._calls = (*self._calls, TrialCall(tool, arguments, failed=True))
            else:
                self._lose(tool, f"its server was lost in the call of {tool.name} ({error_text(error)})")
            raise
        self._calls = (*self._calls, TrialCall(tool, arguments, plain(value)))
        return value

    def _lose(self, tool: ServerTool, why: str) -> None:
        self._void, self._unknown = why, tool.writes

    async def _opened(self) -> OpenServer:
        """A fresh sandbox in which what was done here is done again."""
        server = await self._sandboxes.open()
        try:
            for call in self._calls:
                failure = ""
                try:
                    value = plain(await server.call(call.tool, self._aliases.there(call.arguments)))
                    self._aliases.learn(call.value, value)
                except Exception as error:
                    failure = error_text(error)
                if bool(failure) != call.failed:
                    now = f"fails ({failure})" if failure else "succeeds"
                    raise EnvironmentFailed(
                        f"a sandbox cannot be brought to where a trial stood: {call.tool.name} {now} when it is called "
                        "there again"
                    )
        except BaseException:
            server.close()
            raise
        return server

    def fork(self) -> Server:
        # What a lost read has done is nothing; of a lost write nobody knows.
        return Trial(self._sandboxes, self._calls, self._void if self._unknown else "")

    def close(self) -> None:
        if self._opening is not None:
            self._sandboxes.thread.later(self._leave)

    def _leave(self) -> None:
        opening = self._opening
        if opening is not None and not opening.cancel() and not opening.cancelled() and opening.exception() is None:
            opening.result().close()


class ServerEnvironment(FunctionEnvironment):
    """The tools of a server. The instance acts on the real one, its forks on sandboxes.

    Without sandboxes that were shown to be apart, the tier is `live` unless every tool only reads.
    """

    server: Server
    _origin: ServerEnvironment | None = None
    """What a fork was made of, and whose end closes all connections."""
    live_because: str = ""
    """Why writes wait for commit, where they do."""

    def connect(self, server: Server, live_because: str) -> Self:
        """Let the tools act on a server, of which copies are made where there is no reason against."""
        self._only_reads = self.forkable
        self.server, self.live_because = server, "" if self._only_reads else live_because
        self.forkable = not self.live_because
        return self

    def fork(self) -> Environment:
        if self._only_reads:
            return self
        forked = copy.copy(self)
        forked.server, forked._origin = self.server.fork(), self._origin or self
        return forked

    def close(self) -> None:
        self.server.close()


class McpEnvironment(ServerEnvironment):
    """The tools of an MCP server."""
