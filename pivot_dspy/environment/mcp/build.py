"""Makes an environment of an MCP server: which of its tools, what each does, and where trials run."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from pivot_dspy.environment.base import Approval
from pivot_dspy.environment.declarations import Reads, declare
from pivot_dspy.environment.from_functions import Effects, effect_of
from pivot_dspy.environment.mcp.connection import Connection, LoopThread, imported, is_open, named
from pivot_dspy.environment.mcp.elicitation import Answering, Handler
from pivot_dspy.environment.mcp.listing import EXCLUDED, Listing, called_by, spec_of
from pivot_dspy.environment.mcp.probe import Call, why_live
from pivot_dspy.environment.mcp.sandbox import ConnectedServer, Made, McpEnvironment, Sandboxes
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.errors import ConfigurationError, did_you_mean, error_text

logger = logging.getLogger(__name__)

async def from_mcp(
    real: Any,
    *,
    sandbox: Callable[[], Made] | None = None,
    probe: tuple[Call, Call] | None = None,
    hidden: Mapping[str, Any] | None = None,
    exclude: Iterable[str] = (),
    effects: Effects = None,
    checks: Iterable[Callable[..., Any]] = (),
    policy: str = "",
    vocabulary: str = "",
    orientation: Iterable[str | tuple[str, Mapping[str, Any]]] = (),
    undo: Mapping[str, str] | None = None,
    idempotency_key: Mapping[str, str] | None = None,
    volatile: Mapping[str, Iterable[str]] | Iterable[str] | None = None,
    parallel: Reads = False,
    pure: Reads = False,
    approval: Mapping[str, Approval] | None = None,
    elicitation: Handler | None = None,
) -> McpEnvironment:
    """An environment of the tools of an MCP server.

    What a server writes cannot be copied or undone, so unless every tool only reads, the tier is `live`: reads run, and
    writes wait for commit. With `sandbox`, and once `probe` has shown that two sandboxes are apart, the tier is `fork`:
    each trial has a server of its own, a copy of it is another server in which the same calls are made again, and only
    commits act on `real`. What is only connected to here lives in a thread of its own, so that the environment may be
    used in sync code and in any event loop; a session that is open already is used in its own loop: `await` the
    refiner's `acall` there, or call it from another thread.

    A tool that cannot be described (its schema refers to nothing, two tools have its name) is left out, with a warning
    that says why. A call that writes and ends by an error of the protocol, and not by the tool's own, has an unknown
    outcome (`OutcomeUnknown`): it is not made again. A trial whose server is lost is void from there on. The tools are
    those that were listed: a real write is not made where the server lists its tool otherwise by then, and a sandbox
    that lists others is warned of, as is a server that says in a session that it has changed its tools.

    The value of a call is its structured content; without such, that of the one block of content, or a list where there
    are several or none: a server that declares no output schema may answer `[]`, one record, or a list of records for
    no hit, one and two. Of text only JSON objects and arrays are decoded. Images, audio, resources and links to them
    are objects as on the wire.

    >>> from mcp import Client
    >>> from mcp.server.mcpserver import MCPServer
    >>> def desk() -> Client:
    ...     server, notes = MCPServer("desk"), list[str]()
    ...     server.add_tool(lambda text: notes.append(text), name="add")
    ...     server.add_tool(lambda: notes, name="all")
    ...     return Client(server, mode="legacy")
    >>> probe = (("add", {"text": "a note"}), ("all", {}))
    >>> environment = asyncio.run(from_mcp(desk(), sandbox=desk, probe=probe, effects={"all": "read"}))
    >>> environment.forkable
    True

    Args:
        real: what commits act on: a session or client that is open, a `Client` of MCP 2 or fastmcp that is not yet, an
            async context manager that gives a session, `StdioServerParameters`, or the address of a server over HTTP.
        sandbox: makes such a thing for each trial, on a server with a state of its own, and none that is open; or a
            pair of it and values of `hidden` arguments that differ in it.
        probe: a write and a read that shows what it did, each as `(name, arguments)`, tried in two sandboxes when the
            environment is made.
        hidden: values of arguments that no model sees or gives, such as `{"state_key": "desk-7"}`, for all tools that
            take them; fields of results that repeat them by name do not show them.
        exclude: names of tools that are left out.
        effects: one effect for all tools, or a mapping from tool name to effect. For a tool that is not named, the
            server's annotations count, which are hints that an untrusted server may get wrong: `readOnlyHint` means
            `read`, `destructiveHint` means `irreversible`. A tool of which nobody tells an effect writes; a warning
            names these.
        checks: read-only functions that requirements may use.
        orientation: read tools whose results the planner sees before planning: names, or `(name, arguments)`.
        undo, idempotency_key: as of `from_functions`.
        volatile: paths of what may differ between two results, for all tools or by tool.
        parallel: names of reads of which calls may be made at once; True for all that read.
        pure: names of reads whose results hang on their arguments alone; True for all that read.
        approval: by tool name, whether its calls wait for a person's approval, or a function of their arguments that
            says so, as in `@tool(approval=)`.
        elicitation: answers what a server asks in the midst of a call: a function, or coroutine function, from a
            `ServerQuestion` to `{"action": "accept", "content": {...}}`, or None to decline. It is told whether the
            answer is for something real or for a trial, and the timeout of the call goes on meanwhile. Without it the
            client's own callback answers, if it has one.

    Raises:
        ConfigurationError: the `mcp` extra is not installed, no server is reached by `real` or `sandbox`, an option
            names what is no tool or was left out, `probe` does not show a write, or as `from_functions`.
    """
    imported()
    hidden, thread = hidden or {}, LoopThread()
    reads = orientation if isinstance(orientation, str) else tuple(orientation)
    connection = await _connected(real, thread, _answering(elicitation, real=True))
    try:
        listing = Listing.of(await connection.tools(), exclude)
        for name, why in listing.left_out.items():
            if why != EXCLUDED:
                logger.warning("the MCP tool %r is left out: %s", name, why)
        specs = _specs(listing, hidden, effects)
        names = [spec.name for spec in specs]
        if not isinstance(volatile, Mapping):
            volatile = dict.fromkeys(names, (volatile,) if isinstance(volatile, str) else tuple(volatile or ()))
        for option, told in (("undo", undo), ("idempotency_key", idempotency_key), ("volatile", volatile)):
            listing.refuse(option, told or ())
        listing.refuse("undo", (undo or {}).values())
        listing.refuse("orientation", [read if isinstance(read, str) else read[0] for read in reads])
        home = None if thread.is_home_of(connection) else connection.loop
        specs = [replace(spec, home=home) for spec in specs]
        specs = declare(
            specs, undo=undo, idempotency_key=idempotency_key, volatile=volatile, parallel=parallel, pure=pure,
            approval=approval,
        )  # fmt: skip
        environment = McpEnvironment(specs, checks, policy=policy, vocabulary=vocabulary, orientation=reads)
        sandboxes = None
        if sandbox is not None:
            sandboxes = Sandboxes.of_mcp(sandbox, hidden, thread, listing, _answering(elicitation, real=False))
        live_because = "" if environment.forkable else await why_live(sandboxes, probe, environment, listing)
    except BaseException:
        thread.stop()
        raise
    if connection.speaks_modern and not environment.forkable:
        logger.warning(
            "the MCP session speaks a protocol without sessions and without questions from the server: what a server "
            "keeps of its client is gone at the next call, a restart goes unnoticed, and a tool that asks fails after "
            "it has acted; make the client with mode='legacy'"
        )
    weakref.finalize(environment, thread.stop)
    return environment.connect(ConnectedServer(connection, hidden, sandboxes, real=True), live_because)


def _specs(listing: Listing, hidden: Mapping[str, Any], effects: Effects) -> list[ToolSpec]:
    """The tools with their effects, without what is hidden."""
    if isinstance(effects, Mapping):
        listing.refuse("effects", effects)
    hinted = listing.hinted()
    chosen = effect_of(effects, listing.tools, hinted)
    specs = [spec_of(tool, chosen[name], hidden) for name, tool in listing.tools.items()]
    taken = {name for spec in specs for name in called_by(spec).hidden}
    for name in hidden:
        if name not in taken:
            parameters = sorted({parameter for spec in specs for parameter in spec.parameters})
            raise ConfigurationError(f"no tool takes {name!r}, which hidden names{did_you_mean(name, parameters)}")
    untold = [name for name in chosen if name not in hinted]
    if untold and not effects:
        logger.warning(
            "nobody tells what %s of the MCP server do, so they count as writes; name those that only read: "
            "effects={%r: 'read', ...}",
            ", ".join(untold), untold[0],
        )  # fmt: skip
    return specs


def _answering(elicitation: Handler | None, *, real: bool) -> Answering | None:
    return None if elicitation is None else Answering(elicitation, real)


async def _connected(source: Any, thread: LoopThread, answering: Answering | None) -> Connection:
    if is_open(source) or hasattr(source, "list_tools") and not hasattr(source, "__aenter__"):
        if answering is not None:
            raise ConfigurationError(
                "a session that is open answers by the elicitation_callback that it was made with; leave elicitation= "
                "out, or give from_mcp a client that is not connected"
            )
        return Connection(source, asyncio.get_running_loop())
    try:
        return await thread.open(source, answering)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"no MCP server can be reached by {named(source)}: {error_text(error)}") from error
