"""Environments of the tools that a Model Context Protocol server offers (https://modelcontextprotocol.io)."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dspy
import jsonschema

from pivot_dspy.environment.base import Effect
from pivot_dspy.environment.declarations import declare
from pivot_dspy.environment.from_functions import Effects, FunctionEnvironment, effect_of
from pivot_dspy.environment.toolbox import ToolSpec, inline
from pivot_dspy.errors import ConfigurationError

if TYPE_CHECKING:
    from mcp import ClientSession


async def from_mcp(
    session: ClientSession,
    *,
    effects: Effects = None,
    checks: Iterable[Callable[..., Any]] = (),
    policy: str = "",
    vocabulary: str = "",
    orientation: Iterable[str | tuple[str, Mapping[str, Any]]] = (),
    undo: Mapping[str, str] | None = None,
    idempotency_key: Mapping[str, str] | None = None,
    volatile: Mapping[str, Iterable[str]] | None = None,
) -> FunctionEnvironment:
    """An environment of the tools that the server of an initialized MCP session (or MCP 2 `Client`) lists.

    What the server writes cannot be copied or undone, so unless every tool only reads, the tier is `live`: reads run,
    and writes wait for commit. Calls are made in the event loop of the session: `await` the refiner's `acall` there,
    or call it from another thread.

    Args:
        effects: one effect for all tools, or a mapping from tool name to effect. For a tool that is not named, the
            server's annotations count, which are hints that an untrusted server may get wrong: `readOnlyHint` means
            `read`, `destructiveHint` means `irreversible`, and without them the tool writes.
        checks: read-only functions that requirements may use.
        orientation: read tools whose results the planner sees before planning: names, or `(name, arguments)`.
        undo, idempotency_key, volatile: as of `from_functions`.

    Raises:
        ConfigurationError: the `mcp` extra is not installed, or as `from_functions`.
    """
    listed = await _list_tools(session)
    home = asyncio.get_running_loop()
    hinted = {tool.name: _hinted_effect(tool) for tool in listed}
    chosen = effect_of(effects, [tool.name for tool in listed], hinted)
    specs = [_spec(session, tool, chosen[tool.name], home) for tool in listed]
    specs = declare(specs, undo=undo, idempotency_key=idempotency_key, volatile=volatile)
    return FunctionEnvironment(specs, checks, policy=policy, vocabulary=vocabulary, orientation=orientation)


async def _list_tools(session: Any) -> list[Any]:
    """All pages of the server's tools. MCP 2 takes the cursor in `params`, MCP 1 by itself."""
    try:
        from mcp import types
    except ImportError as error:
        raise ConfigurationError("from_mcp needs the MCP client; pip install 'pivot-dspy[mcp]'") from error
    in_params = "params" in inspect.signature(session.list_tools).parameters
    page = await session.list_tools()
    tools, cursors = list(page.tools), set()
    while (cursor := _field(page, "next_cursor", "nextCursor")) and cursor not in cursors:
        cursors.add(cursor)
        given = {"params": types.PaginatedRequestParams(cursor=cursor)} if in_params else {"cursor": cursor}
        page = await session.list_tools(**given)
        tools += page.tools
    return tools


def _hinted_effect(tool: Any) -> Effect:
    hints = getattr(tool, "annotations", None)
    if _field(hints, "read_only_hint", "readOnlyHint") is True:
        return "read"
    return "irreversible" if _field(hints, "destructive_hint", "destructiveHint") is True else "write"


def _spec(session: Any, tool: Any, effect: Effect, home: asyncio.AbstractEventLoop) -> ToolSpec:
    bridged = dspy.Tool.from_mcp_tool(session, tool, result_mode="structured")
    schema = _field(tool, "input_schema", "inputSchema") or {}
    returns = _field(tool, "output_schema", "outputSchema")
    try:
        for written in (schema, returns or {}):
            jsonschema.Draft202012Validator.check_schema(written)
    except jsonschema.SchemaError as error:
        raise ConfigurationError(
            f"the server's schema of {tool.name!r} is no valid JSON schema: {error.message}; correct it in the server"
        ) from error
    call: Callable[..., Awaitable[Any]] = bridged.func

    async def invoke(_: Any, /, **arguments: Any) -> Any:
        if asyncio.get_running_loop() is home:
            return _parse(await call(**arguments))
        if not home.is_running():
            raise RuntimeError("the event loop of the MCP session has ended; keep the session open while it is used")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(invoke(_, **arguments), home))

    return ToolSpec(
        name=tool.name,
        description=" ".join((tool.description or "").split()),
        invoke=invoke,
        parameters=inline(schema),
        required=tuple(schema.get("required", ())),
        returns_schema=returns,
        effect=effect,
        is_async=True,
        open_ended=bool(schema.get("additionalProperties", False)),
        home=home,
        tool=bridged,
    )


def _parse(value: Any) -> Any:
    """Structured content as it is; text as the JSON that it holds, if it does."""
    if isinstance(value, list):
        return [_parse(item) for item in value]
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _field(record: Any, name: str, wire_name: str) -> Any:
    """A field that MCP 2 calls `name` and MCP 1 by its name on the wire."""
    return getattr(record, name, getattr(record, wire_name, None))
