"""Calls of operations: what is sent, what comes back, and what is said where nothing does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pivot_dspy.environment.mcp.connection import PULSE, Connection, LoopThread
from pivot_dspy.environment.mcp.listing import ServerTool
from pivot_dspy.environment.mcp.results import UNKNOWN, without_echo
from pivot_dspy.environment.mcp.sandbox import Sandboxes, Server, Trial
from pivot_dspy.environments.http.answers import HttpAnswer
from pivot_dspy.environments.http.operations import Operation
from pivot_dspy.environments.http.requests import BuiltRequest, built_request
from pivot_dspy.environments.http.secrets import secrets_of, texts_of, without_secrets
from pivot_dspy.errors import ConfigurationError, OutcomeUnknown, PivotError, ToolError

if TYPE_CHECKING:
    import httpx2

HOPS = 5
"""Redirects that are followed."""


@dataclass(frozen=True)
class CallLimits:
    """What one call may take."""

    seconds: float
    answer_bytes: int


@dataclass
class HttpServer:
    """A server that operations are called on, through a client that lives in a thread."""

    connection: Connection
    operations: Mapping[str, Operation]
    """By the names of their tools."""
    hidden: Mapping[str, Any]
    """Values of arguments that no model sees."""
    thread: LoopThread
    limits: CallLimits
    key_header: str
    sandboxes: Sandboxes | None = None
    """Where its forks come from."""

    async def call(self, tool: ServerTool, arguments: dict[str, Any]) -> Any:
        """Call once.

        Raises:
            OutcomeUnknown: it writes, and nobody knows whether it did: the connection broke, or the server failed.
            ToolError: the server refuses it, or it was not sent.
        """
        given = {name: value for name, value in self.hidden.items() if name in tool.hidden}
        call = _HttpCall(self, tool, self.operations[tool.name], {**arguments, **given}, texts_of(given.values()))
        value = await self.thread.run(call.value())
        return without_echo(value, given) if given else value

    async def is_alive(self) -> bool:
        """Whether the server answers anything."""
        try:
            await asyncio.wait_for(self.thread.run(self.connection.session.head("/")), PULSE)
        except Exception:
            return False
        return True

    def fork(self) -> Server:
        if self.sandboxes is None:
            raise ConfigurationError("a server that writes cannot be forked; give from_openapi a sandbox")
        return Trial(self.sandboxes)

    def close(self) -> None:
        self.connection.close()


@dataclass
class _HttpCall:
    """One call of an operation, from its arguments to its value."""

    server: HttpServer
    tool: ServerTool
    operation: Operation
    arguments: dict[str, Any]
    secrets: frozenset[str]
    """What no message and no value may tell; grows with what the client adds to the request."""

    async def value(self) -> Any:
        """What the server gives; raises as `HttpServer.call`."""
        import httpx2

        try:
            built = built_request(self.client, self.operation, self.arguments, self.server.key_header)
        except PivotError:
            raise
        except Exception as error:  # a value that no URL or header can hold; the message may tell a secret
            raise ToolError(f"not sent: no request can be made of these arguments ({type(error).__name__})") from None
        host = built.request.url.host
        try:
            answer = await self._followed(built)
        except PivotError:
            raise
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol) as error:
            raise ToolError(
                f"not sent: no connection to {host} ({type(error).__name__}); is the server running?"
            ) from None
        except httpx2.LocalProtocolError as error:
            raise ToolError(f"not sent: the request is no valid HTTP ({type(error).__name__})") from None
        except Exception as error:  # of the connection, or of what signs requests; here, too, no message is repeated
            raise self._lost(f"no answer from {host} ({type(error).__name__})") from None
        if answer.status >= 500:
            raise self._lost(self._said(answer))
        if answer.status >= 300:
            raise ToolError(self._said(answer))
        if self.operation.method == "head" or (self.operation.method == "options" and not answer.content):
            return without_secrets({"status": answer.status, "headers": dict(answer.headers)}, self.secrets)
        return without_secrets(answer.value, self.secrets)

    @property
    def client(self) -> httpx2.AsyncClient:
        client: httpx2.AsyncClient = self.server.connection.session
        return client

    async def _followed(self, built: BuiltRequest) -> HttpAnswer:
        """The answer, at the same server's other address where it says that it is there."""
        request = built.request
        for _ in range(HOPS):
            response = await self.client.send(request, stream=True, follow_redirects=False)
            # What signs requests (`auth`) has done so by now.
            self.secrets |= secrets_of(response.request, built.given_headers, built.given_query)
            following = response.next_request
            if following is None:
                return await self._read(response)
            await response.aclose()
            if _origin(following.url) != _origin(request.url):
                raise self._moved(response, f"to another server ({following.url.host})")
            if self.tool.writes and response.status_code in (301, 302):
                raise self._moved(response, f"to {following.url.path}, where it would become a read")
            request = following
        raise self._lost(f"more than {HOPS} redirects")

    async def _read(self, response: httpx2.Response) -> HttpAnswer:
        content = bytearray()
        limit = self.server.limits.answer_bytes
        async with contextlib.aclosing(response):
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > limit:
                    why = f"the answer is longer than {limit} bytes"
                    if response.is_success and self.tool.writes:  # it is done
                        left_out = f"({why})".encode()
                        return HttpAnswer(response.status_code, "", {"content-type": "text/plain"}, left_out)
                    raise ToolError(f"{response.status_code}, but {why}; ask for less (a page, a filter)")
        headers = {name.lower(): value for name, value in response.headers.items()}
        charset = response.charset_encoding or "utf-8"
        return HttpAnswer(response.status_code, response.reason_phrase, headers, bytes(content), charset)

    def _moved(self, response: httpx2.Response, where: str) -> PivotError:
        why = f"{response.status_code} {response.reason_phrase}: redirected {where}; give the address that it is at now"
        return self._lost(why) if response.status_code in (301, 302, 303) else ToolError(why)

    def _said(self, answer: HttpAnswer) -> str:
        return str(without_secrets(answer.failure, self.secrets))

    def _lost(self, why: str) -> PivotError:
        """What is raised of a call that may have been done."""
        return OutcomeUnknown(f"{why}; {UNKNOWN}") if self.tool.writes else ToolError(why)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
