"""Where an OpenAPI description comes from, and whether it is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from pivot_dspy.environment.mcp.connection import named
from pivot_dspy.environment.schemas import target
from pivot_dspy.errors import ConfigurationError, error_text

Source = Mapping[str, Any] | str | Path
"""A description as a dictionary, as a file in JSON or YAML, or as the address of one."""

WAIT = 30.0
"""Seconds within which a description arrives."""


@dataclass(frozen=True)
class Description:
    """An OpenAPI description of version 3."""

    document: Mapping[str, Any]
    address: str = ""
    """What it was fetched from, to which the addresses in it are relative; empty where it was not fetched."""

    @property
    def is_3_0(self) -> bool:
        """Whether its schemas are those of OpenAPI 3.0, which are no JSON schemas."""
        return str(self.document["openapi"]).startswith("3.0")

    @property
    def base_url(self) -> str:
        """The address of the first server that it names; empty where that is none."""
        servers = self.document.get("servers") or [{"url": "/"}]
        return self.address_of(servers[0])

    def address_of(self, server: Any) -> str:
        """The absolute address of a Server Object, variables at their defaults; empty where there is none."""
        if not isinstance(server, Mapping):
            return ""
        url = str(server.get("url") or "")
        for name, variable in (server.get("variables") or {}).items():
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
        url = urljoin(self.address, url)
        return url.rstrip("/") if urlsplit(url).scheme in ("http", "https") else ""

    def resolved(self, place: Any) -> Any:
        """A place of the document, or what it refers to.

        Raises:
            ConfigurationError: it refers to nothing, to another document, or in a circle.
        """
        met: set[str] = set()
        while isinstance(place, Mapping) and isinstance(reference := place.get("$ref"), str):
            if reference in met:
                raise ConfigurationError(f"it refers to {reference!r} in a circle")
            met.add(reference)
            place = self.at(reference)
        return place

    def at(self, reference: str) -> Any:
        """What a reference leads to.

        Raises:
            ConfigurationError: that is nothing, or in another document.
        """
        if not reference.startswith("#"):
            raise ConfigurationError(
                f"it refers to another document ({reference!r}); bundle them into one: npx @redocly/cli bundle FILE"
            )
        return target(reference, self.document)


def read_description(source: Source) -> Description:
    """Read an OpenAPI description.

    Raises:
        ConfigurationError: it cannot be read, or is none of OpenAPI 3.

    >>> read_description({"openapi": "3.1.0", "servers": [{"url": "https://example.org/v1/"}]}).base_url
    'https://example.org/v1'
    >>> read_description({"swagger": "2.0"})
    Traceback (most recent call last):
    pivot_dspy.errors.ConfigurationError: this is a description of Swagger 2.0; convert it to OpenAPI 3 first: npx ...
    """
    address = source if isinstance(source, str) and urlsplit(source).scheme in ("http", "https") else ""
    where = named(address) if address else str(source)
    if isinstance(source, Mapping):
        where, document = "the dictionary", _as_json(source, "the dictionary")
    else:
        document = _as_json(_parsed(_fetched(address) if address else _file(source), where), where)
    if not isinstance(document, dict) or not ("openapi" in document or "swagger" in document):
        raise ConfigurationError(
            f"{where} is no OpenAPI description: it has no field 'openapi'; servers often keep theirs at /openapi.json"
        )
    version = str(document.get("openapi") or document.get("swagger"))
    if "openapi" not in document or not version.startswith("3."):
        raise ConfigurationError(
            f"this is a description of Swagger {version}; convert it to OpenAPI 3 first: npx swagger2openapi FILE, or "
            "https://converter.swagger.io"
        )
    return Description(document, address)


def _fetched(address: str) -> str:
    import httpx2

    try:
        response = httpx2.get(address, follow_redirects=True, timeout=WAIT)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ConfigurationError(
            f"no description can be fetched from {named(address)} ({type(error).__name__}); is the server running?"
        ) from error
    if not response.is_success:
        raise ConfigurationError(
            f"no description can be fetched from {named(address)}: {response.status_code} {response.reason_phrase}; "
            "where it needs credentials, fetch it yourself and give the file or the dictionary"
        )
    return response.text


def _file(source: Any) -> str:
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"no description can be read: {error_text(error)}; give a dictionary, a path or an address (https://...)"
        ) from error


def _parsed(text: str, where: str) -> Any:
    """JSON or YAML; what looks like JSON is not parsed as YAML, which takes a hundred times as long."""
    try:
        return json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("{"):
            raise ConfigurationError(f"{where} is no valid JSON: {error}") from error
    import yaml

    try:
        return yaml.load(text, Loader=_plain_loader())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where} is neither JSON nor YAML: {error}") from error


def _plain_loader() -> Any:
    """A safe loader that leaves dates as texts, as JSON has them."""
    import yaml

    class PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return PlainLoader


def _as_json(document: Any, where: str) -> Any:
    """A copy with texts as keys: YAML reads the key `200:` as a number."""
    try:
        return json.loads(json.dumps(document))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where} is no JSON data: {error_text(error)}") from error
