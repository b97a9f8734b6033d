"""Makes an environment of an OpenAPI description: which of its operations, what each does, and where trials run."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pivot_dspy.environment.declarations import Reads, declare, refuse_unknown, with_key
from pivot_dspy.environment.from_functions import Effects, effect_of
from pivot_dspy.environment.mcp.connection import LoopThread
from pivot_dspy.environment.mcp.listing import Listing, called_by, spec_of
from pivot_dspy.environment.mcp.probe import Call, why_live
from pivot_dspy.environment.mcp.sandbox import Made, OpenServer, Sandboxes, ServerEnvironment
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.environments.http.document import Description, Source, read_description
from pivot_dspy.environments.http.operations import Operation, OperationDraft, read_operations
from pivot_dspy.environments.http.requests import KEY
from pivot_dspy.environments.http.server import CallLimits, HttpServer
from pivot_dspy.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    import httpx2

logger = logging.getLogger(__name__)

MEBIBYTE = 1 << 20


class HttpEnvironment(ServerEnvironment):
    """The operations of a server over HTTP."""


def from_openapi(
    description: Source,
    *,
    server: str | httpx2.AsyncClient | None = None,
    headers: Mapping[str, str] | None = None,
    auth: Any = None,
    sandbox: Callable[[], Made] | None = None,
    probe: tuple[Call, Call] | None = None,
    hidden: Mapping[str, Any] | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    effects: Effects = None,
    idempotency_key: bool | Iterable[str] = False,
    idempotency_header: str = "Idempotency-Key",
    checks: Iterable[Callable[..., Any]] = (),
    policy: str = "",
    vocabulary: str = "",
    orientation: Iterable[str | tuple[str, Mapping[str, Any]]] = (),
    undo: Mapping[str, str] | None = None,
    volatile: Mapping[str, Iterable[str]] | None = None,
    parallel: Reads = False,
    pure: Reads = False,
    timeout: float = 30.0,
    max_bytes: int = 10 * MEBIBYTE,
    answer_depth: int = 2,
) -> HttpEnvironment:
    """An environment of the operations of a server, as an OpenAPI description (3.0 or 3.1) tells of them.

    GET, HEAD and OPTIONS read, POST, PUT and PATCH write, and DELETE is irreversible, unless `effects` says otherwise.
    The tier is `live`: reads run, and writes wait for commit. With `sandbox`, and once `probe` has shown that two
    sandboxes are apart, it is `fork`: each trial has a server of its own, a copy of it is another server in which the
    same calls are made again, and only commits act on the real one.

    A tool is called like its operation, by its id or by method and path (`get_pets_petId`). It takes the parameters of
    path, query, headers and cookies, and the properties of a body that is one plain object, else the whole as `body`;
    where two have one name, those outside of the path are told apart: `body_id`. An operation that cannot be offered is
    left out, with a warning that says why.

    Its value is the answer's JSON or text; an image, a sound or other bytes are an object with `mimeType` and `data` in
    base64, which may be given where a file is sent. 4xx is an error that the model reads, with what the server says.
    5xx, or no answer, to a call that writes is an unknown outcome (`OutcomeUnknown`): it is not made again. Redirects
    are followed on the same server. Credentials go to no sandbox, and what a request carries of them stands in no
    value, message or log.

    >>> description = {"openapi": "3.1.0", "paths": {"/notes/{id}": {"get": {"operationId": "note", "parameters": [
    ...     {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}]}, "delete": {}}}}
    >>> environment = from_openapi(description, server="https://example.org/v1")
    >>> print(environment.toolbox.render_tools())  # doctest: +ELLIPSIS
    [write]...
    - note(id: int)
    - delete_notes_id(id)  [held]

    Args:
        description: a dictionary, a path or an address, in JSON or YAML.
        server: what commits act on: the server's address, or an `httpx2.AsyncClient` that nothing else uses; the first
            server that the description names where it is left out.
        headers: what is sent with each call, such as `{"X-Api-Key": key}`; no model sees or gives them.
        auth: `(user, password)` or an `httpx2.Auth`.
        sandbox: makes for each trial an address or a client of a server with a state of its own (with
            `httpx2.ASGITransport(app)`, one in this process); or a pair of it and values of `hidden` arguments.
        probe: a write and a read that shows what it did, each as `(name, arguments)`, tried in two sandboxes now.
        hidden: values of arguments that no model sees or gives, for all tools that take them.
        include: what is offered, all where it is empty: names of tools, ids or tags of operations, paths, or patterns
            such as `GET /pets*`.
        exclude: what of it is not, told likewise.
        effects: one effect for all tools, or a mapping from tool name to effect.
        idempotency_key: names of tools of which the server knows a call that is made again by its key, True for all
            that change something; those that declare the header are among them. Their calls are simply made again where
            the outcome is unknown, with the same key: say it only of a server that heeds it.
        idempotency_header: the header that takes the key.
        checks: read-only functions that requirements may use.
        orientation: read tools whose results the planner sees before planning: names, or `(name, arguments)`.
        undo, volatile, parallel, pure: as of `pivot_dspy.from_functions`.
        timeout: seconds that a server may take to connect, and between two parts of its answer.
        max_bytes: of an answer; a longer one is an error.
        answer_depth: how deep the catalogue tells what is answered: 1 for the fields of the answer, or of the records
            in it, 2 for the fields of these, and so on.

    Raises:
        ConfigurationError: the `http` extra is not installed, the description cannot be read, tells of no operation or
            of no server, an option names what is no tool, or `probe` does not show a write.
        EnvironmentFailed: no sandbox can be opened for `probe`.
    """
    _require_installed()
    hidden, thread, limits = hidden or {}, LoopThread(), CallLimits(timeout, max_bytes)
    reads = orientation if isinstance(orientation, str) else tuple(orientation)
    told = read_description(description)
    client = _client(server if server is not None else told.base_url, limits, told, headers, auth)
    operations = _operations(told, _Choice.of(include, exclude), client, idempotency_header, answer_depth)
    by_name = {operation.name: operation for operation in operations}
    listing = Listing.of(operations)
    _warn_of({by_name[name].label: why for name, why in listing.left_out.items()})
    specs = _specs(listing, hidden, effects, idempotency_key)
    specs = declare(specs, undo=undo, volatile=volatile, parallel=parallel, pure=pure)
    environment = HttpEnvironment(specs, checks, policy=policy, vocabulary=vocabulary, orientation=reads)

    async def connected(
        source: httpx2.AsyncClient, hidden: Mapping[str, Any], sandboxes: Sandboxes | None = None
    ) -> HttpServer:
        try:
            connection = await thread.open(source)
        except RuntimeError as error:
            raise ConfigurationError(
                "the httpx2.AsyncClient is open or closed already; give one that nothing else uses, and let sandbox "
                "make another for each trial"
            ) from error
        return HttpServer(connection, by_name, hidden, thread, limits, idempotency_header, sandboxes)

    async def connect(source: Any, hidden: Mapping[str, Any]) -> OpenServer:
        return await connected(_client(source, limits, told), hidden)

    sandboxes = None if sandbox is None else Sandboxes(sandbox, connect, hidden, thread)

    async def opened() -> tuple[HttpServer, str]:
        live_because = "" if environment.forkable else await why_live(sandboxes, probe, environment, listing)
        return await connected(client, hidden, sandboxes), live_because

    try:
        real, live_because = asyncio.run_coroutine_threadsafe(opened(), thread.loop).result()
    except BaseException:
        thread.stop()
        raise
    weakref.finalize(environment, thread.stop)
    return environment.connect(real, live_because)


@dataclass(frozen=True)
class _Choice:
    """Which operations are wanted."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]

    @classmethod
    def of(cls, include: Iterable[str], exclude: Iterable[str]) -> _Choice:
        for option, names in (("include", include), ("exclude", exclude)):
            if isinstance(names, str):
                raise ConfigurationError(f"{option} is a list of names, tags or patterns; write [{names!r}]")
        return cls(tuple(include), tuple(exclude))

    def __call__(self, drafts: Sequence[OperationDraft]) -> list[OperationDraft]:
        """The drafts that are wanted.

        Raises:
            ConfigurationError: a text fits none.
        """
        for option, texts in (("include", self.include), ("exclude", self.exclude)):
            for text in texts:
                if not any(_fits(draft, text) for draft in drafts):
                    raise ConfigurationError(
                        f"{option} names {text!r}, which is no tool, tag, path or pattern of any{_meant(text, drafts)}"
                    )
        wanted = [draft for draft in drafts if not self.include or any(_fits(draft, text) for text in self.include)]
        return [draft for draft in wanted if not any(_fits(draft, text) for text in self.exclude)]


def _meant(text: str, drafts: Iterable[OperationDraft]) -> str:
    tags = sorted({tag for draft in drafts for tag in draft.tags})
    nearest = did_you_mean(text, [*tags, *(draft.name for draft in drafts)])
    return nearest or (f"; there are the tags {', '.join(tags[:20])}" if tags else "")


def _fits(draft: OperationDraft, text: str) -> bool:
    names = (draft.name, draft.operation_id, *draft.tags, draft.path)
    return text in names or fnmatchcase(draft.label, text) or fnmatchcase(draft.path, text)


def _operations(
    description: Description, choice: _Choice, client: httpx2.AsyncClient, key_header: str, depth: int
) -> tuple[Operation, ...]:
    operations = read_operations(
        description, choose=choice, given_headers=client.headers, key_header=key_header, depth=depth
    )
    _warn_of(operations.left_out)
    if not operations.offered:
        raise ConfigurationError("no operation is left to offer; see the warnings, and what include and exclude name")
    return operations.offered


def _warn_of(left_out: Mapping[str, str]) -> None:
    for label, why in left_out.items():
        logger.warning("the operation %s is left out: %s", label, why)


def _specs(
    listing: Listing, hidden: Mapping[str, Any], effects: Effects, idempotency_key: bool | Iterable[str]
) -> list[ToolSpec]:
    """The tools with their effects and keys, without what is hidden."""
    operations: Mapping[str, Operation] = listing.tools
    chosen = effect_of(effects, operations, {name: operation.effect for name, operation in operations.items()})
    specs = [spec_of(operation, chosen[name], hidden) for name, operation in operations.items()]
    taken = {name for spec in specs for name in called_by(spec).hidden}
    for name in hidden:
        if name not in taken:
            parameters = sorted({parameter for spec in specs for parameter in spec.parameters})
            raise ConfigurationError(f"no tool takes {name!r}, which hidden names{did_you_mean(name, parameters)}")
    keyed = _keys(idempotency_key, chosen)
    return [_with_key(spec, operations[spec.name], spec.name in keyed) for spec in specs]


def _with_key(spec: ToolSpec, operation: Operation, is_keyed: bool) -> ToolSpec:
    """The tool, which is given an idempotency key where it declares a header for one, or is said to heed one."""
    if operation.key and spec.effect != "read":
        return with_key(spec, operation.key)
    return replace(spec, idempotency_key=KEY) if is_keyed else spec


def _keys(idempotency_key: bool | Iterable[str], effects: Mapping[str, str]) -> set[str]:
    """The tools of which the server is said to heed a key."""
    if isinstance(idempotency_key, bool):
        return {name for name, effect in effects.items() if idempotency_key and effect != "read"}
    if isinstance(idempotency_key, str):
        raise ConfigurationError(f"idempotency_key takes names of tools, or True; write [{idempotency_key!r}]")
    names = set(idempotency_key)
    refuse_unknown("idempotency_key", sorted(names), list(effects))
    return names


def _client(
    source: Any,
    limits: CallLimits,
    description: Description,
    headers: Mapping[str, str] | None = None,
    auth: Any = None,
) -> httpx2.AsyncClient:
    """A client of a server, by its address; a client that is given is used as it is.

    Raises:
        ConfigurationError: it is neither, is connected already, or has no address.
    """
    import httpx2

    if isinstance(source, httpx2.AsyncClient):
        if headers or auth:
            raise ConfigurationError("headers and auth are the client's own where server is one: give them to that")
        if not str(source.base_url):
            source.base_url = description.base_url
        return source
    if not isinstance(source, str):
        raise ConfigurationError(
            f"a server is told by its address or by an httpx2.AsyncClient, and not by {type(source).__name__}"
        )
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            "the description names no server with a whole address; give it: server='https://...'"
            if not source
            else "the address of a server begins with http:// or https:// and a host; this one does not"
        )
    return httpx2.AsyncClient(base_url=source, headers=headers, auth=auth, timeout=limits.seconds)


def _require_installed() -> None:
    try:
        import httpx2
        import uritemplate
        import yaml
    except ImportError as error:
        raise ConfigurationError("from_openapi needs an HTTP client; pip install 'pivot-dspy[http]'") from error
    _ = httpx2, uritemplate, yaml
