"""Whether sandboxes are apart: one of them is written to, and another is looked at."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy import leaf_paths
from pivot_dspy.environment.mcp.listing import Listing, ServerTool, called_by
from pivot_dspy.environment.mcp.sandbox import OpenServer, Sandboxes, ServerEnvironment
from pivot_dspy.environment.toolbox import ArgumentError
from pivot_dspy.errors import ConfigurationError, did_you_mean, error_text
from pivot_dspy.plain_json import plain

logger = logging.getLogger(__name__)

Call = tuple[str, Mapping[str, Any]]
"""A tool's name and arguments."""

ABSENT = object()


class ProbeCall(NamedTuple):
    """A tool and the arguments that it is called with."""

    tool: ServerTool
    arguments: Mapping[str, Any]
    volatile: tuple[str, ...] = ()
    """Paths of what may differ between two results."""


async def why_live(
    sandboxes: Sandboxes | None, probe: tuple[Call, Call] | None, environment: ServerEnvironment, listing: Listing
) -> str:
    """Why what the server writes waits for commit; empty where trials may write in sandboxes."""
    if sandboxes is None:
        return "the server cannot be copied; give a sandbox to try writes in"
    if probe is None:
        why = "no sandbox is believed unseen; give a probe, a write and a read that shows what it did"
    else:
        write, read = (_probe_call(call, environment, listing) for call in probe)
        path = await shows_through(sandboxes, write, read)
        if path is None:
            return ""
        why = (
            f"what {write.tool.name} changes in one sandbox shows in another ({path} of {read.tool.name}), so they "
            "share their state; give each a folder, database or key of its own"
        )
    logger.warning("the tier is live, and writes wait for commit: %s", why)
    return why


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


def _probe_call(call: Call, environment: ServerEnvironment, listing: Listing) -> ProbeCall:
    name, arguments = call
    listing.refuse("probe", [name])
    tools = environment.toolbox.tools
    if name not in tools:
        raise ConfigurationError(f"probe names {name!r}, which is no tool{did_you_mean(name, tools)}")
    spec = tools[name]
    try:
        return ProbeCall(called_by(spec), spec.validate(arguments), spec.volatile)
    except ArgumentError as error:
        raise ConfigurationError(f"probe: {error}; it takes {error.expected}") from error


async def _read(server: OpenServer, call: ProbeCall) -> dict[str, Any]:
    """What a call gives, leaf by leaf."""
    value = plain(await _call(server, call))
    for path in call.volatile:
        value = leaf_paths.without(value, path)
    return dict(_leaves(value))


async def _call(server: OpenServer, call: ProbeCall) -> Any:
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
