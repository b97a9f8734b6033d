"""What an OpenAPI description says of its operations: how each is called, with what, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pivot_dspy.environment.base import Effect
from pivot_dspy.environments.http.bodies import Body, body_of, is_json
from pivot_dspy.environments.http.document import Description
from pivot_dspy.environments.http.naming import ToolArgument, named_arguments, snake
from pivot_dspy.environments.http.schemas import SchemaReader, outlined
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.trajectory import SUBMIT

EFFECTS_OF: Mapping[str, Effect] = {
    "get": "read", "head": "read", "options": "read", "post": "write", "put": "write", "patch": "write",
    "delete": "irreversible",
}  # fmt: skip
"""What the methods do that are offered, unless it is said otherwise."""

STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
"""How the parameters of each location are written unless they say otherwise."""

NOT_PARAMETERS = frozenset(("accept", "content-type", "authorization"))
"""Headers that OpenAPI does not let a parameter set."""

SUMMARY = 300
"""Characters of a description that stand for it, where it has no summary."""


@dataclass(frozen=True)
class Parameter:
    """A parameter and how it is written; the words are OpenAPI's."""

    name: str
    location: str
    style: str
    explode: bool
    argument: str = ""
    """The argument of the tool that it is given by."""
    media_type: str = ""
    """What its value is written as, where it is not by a style."""


@dataclass(frozen=True)
class Operation:
    """One operation as a tool. `Listing` and `spec_of` of `pivot_dspy.environment.mcp.listing` read it."""

    name: str
    method: str
    path: str
    operation_id: str
    tags: tuple[str, ...]
    description: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    key: str = ""
    """The argument that takes the idempotency key, where a header is declared for one."""

    @property
    def effect(self) -> Effect:
        return EFFECTS_OF[self.method]

    @property
    def label(self) -> str:
        """`GET /pets/{id}`."""
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class OperationDraft:
    """An operation of which no more is read than what it is called and where it is."""

    name: str
    method: str
    path: str
    operation_id: str
    tags: tuple[str, ...]
    fields: Mapping[str, Any]
    shared: Mapping[str, Any]
    """The fields of its path."""

    @property
    def label(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass(frozen=True)
class Operations:
    """The operations of a description, and why others are left out."""

    offered: tuple[Operation, ...]
    left_out: Mapping[str, str]
    """By method and path."""


def read_operations(
    description: Description,
    *,
    choose: Callable[[Sequence[OperationDraft]], Iterable[OperationDraft]] = lambda drafts: drafts,
    given_headers: Collection[str] = (),
    key_header: str = "",
    depth: int = 2,
) -> Operations:
    """All operations of a description that can be offered; one that cannot be read costs no other.

    Args:
        choose: gives those that are wanted, by name, method, path, id and tags; the others are not read.
        given_headers: names of headers that are sent anyway, and that nobody need give.
        key_header: the name of the header that takes an idempotency key.
        depth: objects in objects down to which the schema of an answer is told.

    Raises:
        ConfigurationError: the description has no operations.
    """
    reader = _OperationReader(description, frozenset(name.lower() for name in given_headers), key_header.lower(), depth)
    left_out: dict[str, str] = {}
    drafts = list(_drafts(description, left_out))
    if not drafts and not left_out:
        raise ConfigurationError(
            "the description has no operations: its 'paths' are empty; see that it is that of the server, and not a "
            "part of it"
        )
    operations = []
    for draft in choose(_with_names(drafts)):
        try:
            operations.append(reader.read(draft))
        except ConfigurationError as error:
            left_out[draft.label] = str(error)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            left_out[draft.label] = f"it cannot be read: {error_text(error)}"
    return Operations(tuple(operations), left_out)


def _drafts(description: Description, left_out: dict[str, str]) -> Iterator[OperationDraft]:
    paths = description.document.get("paths") or {}
    if not isinstance(paths, Mapping):
        raise ConfigurationError(f"the 'paths' of the description are {type(paths).__name__}, and no object")
    for path, item in paths.items():
        try:
            shared = description.resolved(item)
        except ConfigurationError as error:
            left_out[path] = str(error)
            continue
        for method in EFFECTS_OF:
            fields = shared.get(method) if isinstance(shared, Mapping) else None
            if isinstance(fields, Mapping):
                tags = fields.get("tags") or ()
                own_id = str(fields.get("operationId") or "")
                yield OperationDraft(snake(own_id), method, path, own_id, tuple(map(str, tags)), fields, shared)


def _with_names(drafts: Sequence[OperationDraft]) -> list[OperationDraft]:
    """The drafts, each with a name of its own: one without an id, or with that of another, is called by its path."""
    ids = [draft.name for draft in drafts]
    taken: set[str] = set()
    named = []
    for draft in drafts:
        name = draft.name
        if not name or name == SUBMIT or ids.count(name) > 1:
            name = snake(f"{draft.method} {draft.path}")
        first, number = name, 2
        while name in taken:
            name, number = f"{first}_{number}", number + 1
        taken.add(name)
        named.append(replace(draft, name=name))
    return named


class _OperationReader:
    """Reads operations, whose schemas share definitions."""

    def __init__(self, description: Description, given_headers: frozenset[str], key_header: str, depth: int) -> None:
        self._description, self._given, self._key_header = description, given_headers, key_header
        self._depth = depth
        self._sent = SchemaReader(description, "readOnly")
        self._answered = SchemaReader(description, "writeOnly")

    def read(self, draft: OperationDraft) -> Operation:
        self._refuse_other_server(draft)
        declared = [*self._declared(draft), *self._undeclared(draft)]
        body = body_of(draft.fields.get("requestBody"), self._description, self._sent)
        wanted = [argument for _, argument in declared] + (body.arguments if body is not None else [])
        arguments = named_arguments(wanted)
        own = arguments[: len(declared)]
        parameters = tuple(replace(p, argument=a.name) for (p, _), a in zip(declared, own, strict=True))
        keys = [p.argument for p in parameters if p.location == "header" and p.name.lower() == self._key_header]
        schema = {
            "type": "object",
            "properties": {argument.name: argument.schema for argument in arguments},
            "required": [argument.name for argument in arguments if argument.required],
        }
        return Operation(
            draft.name, draft.method, draft.path, draft.operation_id, draft.tags,
            description=_about(draft.fields),
            parameters=parameters,
            body=None if body is None else body.body.called(arguments[len(declared) :]),
            input_schema=self._sent.closed(schema),
            output_schema=self._output_schema(draft.fields.get("responses") or {}),
            key=keys[0] if keys else "",
        )  # fmt: skip

    def _declared(self, draft: OperationDraft) -> Iterator[tuple[Parameter, ToolArgument]]:
        """The parameters of the path and of the operation; the latter count where both have one."""
        by_place: dict[tuple[str, str], Mapping[str, Any]] = {}
        for declared in (*(draft.shared.get("parameters") or ()), *(draft.fields.get("parameters") or ())):
            fields = self._description.resolved(declared)
            by_place[(fields["in"], fields["name"])] = fields
        for (location, name), fields in by_place.items():
            if location not in STYLES:
                raise ConfigurationError(f"its parameter {name!r} is in {location!r}, which OpenAPI 3 does not know")
            if location == "header" and name.lower() in NOT_PARAMETERS | self._given:
                continue
            if location == "path" and f"{{{name}}}" not in draft.path:
                continue
            style = str(fields.get("style") or STYLES[location])
            written: Mapping[str, Any] = fields.get("content") or {}
            media_type = next(iter(written), "")
            if media_type and not is_json(media_type):
                raise ConfigurationError(f"its parameter {name!r} is written as {media_type}, and not as JSON")
            schema = self._sent.part(written[media_type].get("schema", {}) if media_type else fields.get("schema", {}))
            if isinstance(text := fields.get("description"), str):
                schema = {**schema, "description": text}
            required = location == "path" or fields.get("required") is True
            parameter = Parameter(
                name, location, style, bool(fields.get("explode", style == "form")), media_type=media_type
            )
            yield parameter, ToolArgument(location, name, schema, required)

    def _undeclared(self, draft: OperationDraft) -> Iterator[tuple[Parameter, ToolArgument]]:
        """What stands in the path without being declared, as many descriptions have it: some text."""
        declared = (*(draft.shared.get("parameters") or ()), *(draft.fields.get("parameters") or ()))
        names = {p["name"] for p in map(self._description.resolved, declared) if p["in"] == "path"}
        for name in re.findall(r"{([^{}]+)}", draft.path):
            if name not in names:
                yield Parameter(name, "path", "simple", False), ToolArgument("path", name, {"type": "string"}, True)

    def _output_schema(self, responses: Mapping[str, Any]) -> dict[str, Any] | None:
        """The schema of what is answered where the operation succeeds; None where nothing tells it."""
        for status in sorted(status for status in responses if status.startswith("2")):
            content = self._description.resolved(responses[status]).get("content") or {}
            for media_type, fields in content.items():
                if is_json(media_type) and fields.get("schema"):
                    return outlined(self._answered.whole(fields["schema"]), self._depth)
            if any(media_type.startswith("text/") for media_type in content):
                return {"type": "string"}
        return None

    def _refuse_other_server(self, draft: OperationDraft) -> None:
        """Raises ConfigurationError where an operation is another server's: a trial would get out of its sandbox."""
        servers = draft.fields.get("servers") or draft.shared.get("servers")
        if servers and (url := self._description.address_of(servers[0])) != self._description.base_url:
            raise ConfigurationError(f"it has a server of its own ({url}); make an environment of its own for that")


def _about(fields: Mapping[str, Any]) -> str:
    """What an operation does, in few words: its summary, or how its description begins."""
    text = fields.get("summary") or str(fields.get("description") or "").strip().split("\n\n")[0]
    text = " ".join(re.sub(r"<[^<>]+>", "", str(text)).split())
    return text if len(text) <= SUMMARY else f"{text[:SUMMARY]}…"
