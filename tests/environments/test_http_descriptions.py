"""Descriptions of all kinds, published ones' oddities among them: what is made of them, and what is said of others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from pivot_dspy import from_openapi
from pivot_dspy.environment.toolbox import ArgumentError
from pivot_dspy.environments.http.build import HttpEnvironment
from pivot_dspy.errors import ConfigurationError
from tests.environments.shops import answer, committed

SERVER = "https://example.org/v1"
A = {"$ref": "#/components/schemas/A"}


def described(paths: Any, *, version: str = "3.1.0", **fields: Any) -> dict[str, Any]:
    return {"openapi": version, "info": {"title": "x", "version": "1"}, "paths": paths, **fields}


def made(paths: Any, *, server: Any = SERVER, options: dict[str, Any] | None = None, **fields: Any) -> HttpEnvironment:
    return from_openapi(described(paths, **fields), server=server, **(options or {}))


def signature(paths: Any, name: str, **fields: Any) -> str:
    return made(paths, **fields).toolbox.tools[name].signature


def post(schema: Any, media_type: str = "application/json", **fields: Any) -> dict[str, Any]:
    body = {"required": True, "content": {media_type: {"schema": schema}}}
    return {"operationId": "send", "requestBody": body, **fields}


def sent(operation: dict[str, Any], arguments: dict[str, Any], *, path: str = "/x", **fields: Any) -> httpx2.Request:
    """The request that goes out for a call."""
    requests: list[httpx2.Request] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(204)

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(note), base_url=SERVER)
    environment = made({path: {"post": {**operation, "operationId": "send"}}}, server=client, **fields)
    with committed(environment) as session:
        assert answer(session, "send", **arguments) is None
    return requests[0]


# ---------------------------------------------------------------------------------------------- what is no description


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"a": 1}, "is no OpenAPI description: it has no field 'openapi'"),
        ({"swagger": "2.0", "paths": {}}, "Swagger 2.0; convert it to OpenAPI 3 first: npx swagger2openapi"),
        (described({}), "has no operations"),
        (described(["/a"]), "are list, and no object"),
        ({"openapi": "3.1.0", "paths": {}, "webhooks": {"a": {"post": {}}}}, "has no operations"),
        ("/nowhere/openapi.json", "no description can be read: FileNotFoundError"),
        ("http://127.0.0.1:9/openapi.json?key=5ecret", r"from http://127.0.0.1/openapi.json \(ConnectError\)"),
        (7, "give a dictionary, a path or an address"),
        ({"openapi": "3.1.0", "paths": {1, 2}}, "is no JSON data"),
    ],
)
def test_what_is_no_description_is_refused_with_the_remedy(source: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        from_openapi(source, server=SERVER)
    assert "5ecret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>Not here</html>", "no OpenAPI description"),
        ("{'openapi': ", "no valid JSON"),
        ("a: [1", "neither JSON nor YAML"),
        ("", "no OpenAPI description"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "api").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        from_openapi(tmp_path / "api", server=SERVER)


@pytest.mark.parametrize("servers", [None, [], [{"url": "/v1"}], [{"url": "ftp://example.org"}]])
def test_a_description_that_names_no_server_asks_for_one(servers: Any) -> None:
    with pytest.raises(ConfigurationError, match="names no server with a whole address; give it: server='https://"):
        made({"/a": {"get": {}}}, server=None, servers=servers)


@pytest.mark.parametrize("server", ["example.org", "ftp://example.org", 7, httpx2.Client()])
def test_what_is_no_server_is_refused(server: Any) -> None:
    with pytest.raises(ConfigurationError, match="server is told by|begins with http://"):
        made({"/a": {"get": {}}}, server=server)


def test_servers_have_variables_and_descriptions_are_json_or_yaml(tmp_path: Path) -> None:
    servers = [{"url": "https://{region}.example.org/v1/", "variables": {"region": {"default": "eu"}}}]
    document = described(
        {"/a": {"get": {"responses": {200: {"description": "since 2024-01-01"}}, "summary": "x"}}}, servers=servers
    )
    texts = {"a.json": json.dumps(document), "a.yaml": yaml.safe_dump(document) + "x-since: 2024-01-01\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        environment = from_openapi(str(tmp_path / name))
        assert str(environment.server.connection.session.base_url) == "https://eu.example.org/v1/"


# ----------------------------------------------------------------------------------------------- operations and names


def test_methods_tell_effects_unless_it_is_said_otherwise() -> None:
    paths = {"/a": {method: {} for method in ("get", "head", "options", "post", "put", "patch", "delete", "trace")}}
    tools = made(paths, options={"effects": {"post_a": "read", "delete_a": "write"}}).toolbox.tools
    assert {name: spec.effect for name, spec in tools.items()} == {
        "get_a": "read", "head_a": "read", "options_a": "read", "post_a": "read", "put_a": "write", "patch_a": "write",
        "delete_a": "write",
    }  # fmt: skip


def test_operations_without_an_id_or_with_that_of_another_are_called_by_their_paths() -> None:
    paths = {
        "/a/{id}": {"get": {"operationId": "same"}, "put": {"operationId": "same"}},
        "/a": {"get": {}, "post": {"operationId": "submit"}, "put": {"operationId": "a/b-c.d"}},
        "/a/": {"get": {}},
    }
    assert [*made(paths).toolbox.tools] == ["get_a_id", "put_a_id", "get_a", "post_a", "a_b_c_d", "get_a_2"]


def test_a_bad_operation_costs_no_other_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    paths = {
        "/good": {"get": {}},
        "/nothing": {"get": {"parameters": [{"$ref": "#/components/parameters/Gone"}]}},
        "/file": {"get": {"parameters": [{"in": "query", "name": "a", "schema": {"$ref": "other.yaml#/A"}}]}},
        "/old": {"get": {"parameters": [{"in": "body", "name": "a", "schema": {}}]}},
        "/nameless": {"get": {"parameters": [{"in": "query"}]}},
        "/typeless": {"get": {"parameters": [{"in": "query", "name": "a", "schema": {"type": "file"}}]}},
        "/xml": {"post": post({"type": "object"}, "application/xml")},
        "/other": {"get": {"servers": [{"url": "https://uploads.example.org"}]}},
        "/path": {"$ref": "#/components/pathItems/Gone"},
        "/circle": {"get": {"parameters": [{"in": "query", "name": "a", "schema": A}]}},
    }
    environment = made(paths, components={"schemas": {"A": A}}, servers=[{"url": SERVER}])
    assert [*environment.toolbox.tools] == ["get_good"]
    warnings = re.findall(r"the operation (?:\w+ )?(\S+) is left out: (.*)", caplog.text)
    assert {place for place, _ in warnings} == paths.keys() - {"/good"}
    told = dict(warnings)
    assert "npx @redocly/cli bundle" in told["/file"] and "application/xml only" in told["/xml"]
    assert "uploads.example.org" in told["/other"] and "circle" in told["/circle"]


def test_operations_are_chosen_by_name_id_tag_path_or_pattern() -> None:
    paths = {
        "/pets": {"get": {"operationId": "list-pets", "tags": ["pets"]}, "post": {"tags": ["pets"]}},
        "/pets/{id}": {"delete": {"tags": ["pets", "danger"]}},
        "/shops": {"get": {"tags": ["shops"]}},
    }

    def chosen(**options: Any) -> list[str]:
        return [*made(paths, options=options).toolbox.tools]

    assert chosen(include=["pets"], exclude=["danger"]) == ["list_pets", "post_pets"]
    assert chosen(include=["list-pets"]) == chosen(include=["GET /pets*"]) == ["list_pets"]
    assert chosen(include=["/pets/{id}", "get_shops"]) == ["delete_pets_id", "get_shops"]
    assert chosen(exclude=["/pets*"]) == ["get_shops"]
    for options, message in (
        ({"include": ["pest"]}, "include names 'pest', which is no tool, tag, path or pattern.*did you mean 'pets'"),
        ({"exclude": ["zzz"]}, "exclude names 'zzz'.*there are the tags danger, pets, shops"),
        ({"include": "pets"}, r"write \['pets'\]"),
        ({"include": ["pets"], "exclude": ["pets"]}, "no operation is left"),
        ({"hidden": {"nope": 1}}, "no tool takes 'nope'"),
        ({"effects": {"nope": "read"}}, "effects names nope"),
        ({"idempotency_key": ["nope"]}, "idempotency_key names nope"),
        ({"idempotency_key": "post_pets"}, r"write \['post_pets'\]"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            chosen(**options)


# ------------------------------------------------------------------------------------------------------------ schemas


def test_schemas_of_3_0_are_read_as_what_they_mean() -> None:
    schemas = {
        "Pet": {
            "type": "object",
            "required": ["id", "name"],
            "properties": {
                "id": {"type": "integer", "readOnly": True},
                "secret": {"type": "string", "writeOnly": True},
                "name": {"type": "string", "nullable": True},
                "age": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                "parent": {"$ref": "#/components/schemas/Pet"},
                "code": {"type": "string", "pattern": r"^\p{L}+$"},  # which only other languages read
            },
        }
    }
    pet = {"$ref": "#/components/schemas/Pet"}
    responses = {"201": {"description": "x", "content": {"application/hal+json": {"schema": pet}}}}
    paths = {"/pets": {"post": post(pet, responses=responses)}}
    spec = made(paths, version="3.0.3", components={"schemas": schemas}).toolbox.tools["send"]
    assert spec.signature.startswith("send(secret?, name: str | null, age?: float, parent?: {secret?, name: str | null")
    assert "-> {id: int, name: str | null, age?: float" in spec.signature
    spec.validate({"name": None, "age": 0.5, "parent": {"name": "x", "parent": {"name": None}}, "code": "é"})
    for wrong in ({"name": "x", "age": 0}, {"name": "x", "parent": {"parent": {}}}, {"id": 1, "name": "x"}):
        with pytest.raises(ArgumentError):
            spec.validate(wrong)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"allOf": [A, {"properties": {"b": {"type": "integer"}}}]}, "send(a, b?: int)"),
        ({"oneOf": [A, {"type": "string"}]}, "send(body: {a} | str)"),
        ({"type": "array", "items": A}, "send(body: [{a}])"),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, "send(body: any)"),
        ({"type": ["object", "null"], "properties": {"a": {"type": "string"}}}, "send(body: {a?} | null)"),
        ({"type": "object"}, "send(body: object)"),
        (True, "send(body: any)"),
    ],
)
def test_a_body_is_flattened_only_where_it_is_one_plain_object(schema: Any, expected: str) -> None:
    components = {"schemas": {"A": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}}}
    assert signature({"/x": {"post": post(schema)}}, "send", components=components) == expected


def test_arguments_that_collide_are_told_apart_and_arrive_where_they_belong() -> None:
    parameters = [
        {"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}},
        {"in": "query", "name": "id", "schema": {"type": "integer"}},
        {"in": "header", "name": "id", "schema": {"type": "integer"}},
        {"in": "query", "name": "filter[name]", "schema": {"type": "string"}},
        {"in": "cookie", "name": "body_id", "schema": {"type": "string"}},
        {"in": "header", "name": "Authorization", "schema": {"type": "string"}},
    ]
    operation = {**post({"type": "object", "properties": {"id": {"type": "integer"}}}), "parameters": parameters}
    assert signature({"/x/{id}": {"post": operation}}, "send") == (
        "send(id: int, query_id?: int, header_id?: int, filter_name?, body_id?, body_id_?: int)"
    )
    arguments = {"id": 1, "query_id": 2, "header_id": 3, "filter_name": "a&b", "body_id": "c d", "body_id_": 5}
    request = sent(operation, arguments, path="/x/{id}")
    assert (request.url.path, request.url.params.multi_items()) == ("/v1/x/1", [("id", "2"), ("filter[name]", "a&b")])
    assert (request.headers["id"], request.headers["cookie"], request.content) == ("3", "body_id=c%20d", b'{"id": 5}')


@pytest.mark.parametrize(
    ("fields", "value", "query"),
    [
        ({}, ["a", "b"], "q=a&q=b"),
        ({"explode": False}, ["a", "b,c"], "q=a,b%2Cc"),
        ({}, {"a": 1, "b": True}, "a=1&b=true"),
        ({"explode": False}, {"a": 1}, "q=a,1"),
        ({"style": "deepObject"}, {"a": {"b": [1]}}, "q%5Ba%5D%5Bb%5D%5B0%5D=1"),
        ({"style": "pipeDelimited", "explode": False}, ["a", "b"], "q=a%7Cb"),
        ({"style": "spaceDelimited", "explode": False}, ["a", "b"], "q=a%20b"),
        ({}, [], ""),
        ({}, "", "q="),
        ({}, None, "q="),
        ({"content": {"application/json": {"schema": {}}}}, {"a": 1}, "q=%7B%22a%22%3A%201%7D"),
        ({"content": {"application/json": {"schema": {}}}}, 'a"b', "q=%22a%5C%22b%22"),
    ],
)
def test_parameters_are_written_in_their_styles(fields: dict[str, Any], value: Any, query: str) -> None:
    operation = {"parameters": [{"in": "query", "name": "q", "schema": {}, **fields}]}
    assert sent(operation, {"q": value}).url.query.decode().replace("|", "%7C") == query


def test_forms_files_and_texts_are_written_as_they_are_described() -> None:
    item = {"type": "object", "properties": {"price": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}, "meta": {"type": "object"}}}
    form = post(schema, "application/x-www-form-urlencoded")
    form["requestBody"]["content"]["application/x-www-form-urlencoded"]["encoding"] = {"items": {"style": "deepObject"}}
    request = sent(form, {"items": [{"price": 3}], "meta": {"a": 1}})
    assert request.content == b"items%5B0%5D%5Bprice%5D=3&meta=%7B%22a%22%3A%201%7D"
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    schema = {"type": "object", "properties": {"files": files, "about": {"type": "object"}}}
    given = {"files": ["one", {"data": "dHdv", "name": "b.bin"}], "about": {}}
    parts = sent(post(schema, "multipart/form-data"), given).content
    assert parts.count(b'; name="files"') == 2 and b'filename="b.bin"' in parts and b"two" in parts
    assert b"application/json" in parts
    assert sent(post({"type": "string"}, "text/plain"), {"body": "hi"}).content == b"hi"
    assert sent(post({}, "application/octet-stream"), {"body": {"data": "dHdv"}}).content == b"two"
    nothing = post({"type": "object", "properties": {"a": {"type": "string"}}}, "application/vnd.x+json")
    request = sent(nothing, {})
    assert (request.content, request.headers["content-type"]) == (b"{}", "application/vnd.x+json")


def test_summaries_stand_for_long_descriptions() -> None:
    long = "<p>Deletes <b>all</b> notes of a day.</p>\n\n## Errors\nMany. " + "x" * 1000
    paths = {"/a": {"get": {"description": long}, "put": {"summary": "Mends.", "description": long}}}
    tools = made(paths).toolbox.tools
    assert [spec.description for spec in tools.values()] == ["Deletes all notes of a day.", "Mends."]


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    code = "import sys, pivot_dspy; sys.exit(not {'uritemplate', 'pivot_dspy.environments'}.isdisjoint(sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)
