"""Whether sandboxes are apart: one of them is written to, and another is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy import leaf_paths
from pivot_dspy.environment.mcp.listing import ServerTool
from pivot_dspy.environment.mcp.sandbox import ConnectedServer, Sandboxes
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.plain_json import plain

ABSENT = object()


class ProbeCall(NamedTuple):
    """A tool and the arguments that it is called with."""

    tool: ServerTool
    arguments: Mapping[str, Any]
    volatile: tuple[str, ...] = ()
    """Paths of what may differ between two results."""


async def shows_through(sandboxes: Sandboxes, write: ProbeCall, read: ProbeCall) -> str | None:
    """The path of what a write in one sandbox has changed in another; None where they are apart.

    The other is opened after the write and asked only then, for what it has read before it may keep.

    Raises:
        ConfigurationError: a call fails, or the read does not show what was written even where that was done.
        EnvironmentFailed: no sandbox can be opened.
    """
    written = await sandboxes.open()
    try:
        before = await _read(written, read)
        await _call(written, write)
        after = await _read(written, read)
    finally:
        written.close()
    changed = [path for path in {**before, **after} if before.get(path, ABSENT) != after.get(path, ABSENT)]
    if not changed:
        raise ConfigurationError(
            f"the probe shows nothing: {read.tool.name} gives the same before and after {write.tool.name}; give a "
            "write and a read that shows what it did"
        )
    other = await sandboxes.open()
    try:
        there = await _read(other, read)
    finally:
        other.close()
    return next((path for path in changed if there.get(path, ABSENT) == after.get(path, ABSENT)), None)


async def _read(server: ConnectedServer, call: ProbeCall) -> dict[str, Any]:
    """What a call gives, leaf by leaf."""
    value = plain(await _call(server, call))
    for path in call.volatile:
        value = leaf_paths.without(value, path)
    return dict(_leaves(value))


async def _call(server: ConnectedServer, call: ProbeCall) -> Any:
    try:
        return await server.call(call.tool, dict(call.arguments))
    except Exception as error:
        raise ConfigurationError(f"the probe failed in a sandbox: {call.tool.name}: {error_text(error)}") from error


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        items = ((f"{path}.{key}" if path else str(key), inner) for key, inner in value.items())
    elif isinstance(value, list):
        items = ((f"{path}[{position}]", inner) for position, inner in enumerate(value))
    else:
        yield path or "the result", value
    for inner_path, inner in items:
        yield from _leaves(inner, inner_path)
