from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.render import schema_text
from pivot_dspy.environment.schemas import parameters_of, validator, without_foreign_patterns
from pivot_dspy.errors import ConfigurationError

TREE = {"type": "object", "properties": {"v": {"type": "string"}, "kids": {"items": {"$ref": "#/$defs/Tree"}}}}
TEXT = {"type": "string"}


def accepts(schema: dict[str, Any], arguments: dict[str, Any]) -> bool:
    parameters, required = parameters_of({"type": "object", **schema})
    named = set(required) <= set(arguments) <= set(parameters)
    return named and all(validator(parameters[name]).is_valid(value) for name, value in arguments.items())


@pytest.mark.parametrize(
    ("schema", "fits", "misfits"),
    [
        ({"properties": {"r": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": TREE}}, {"r": {"v": "a"}}, {"r": {"v": 1}}),
        ({"properties": {"q": {"type": ["string", "null"]}}}, {"q": None}, {"q": 1}),
        ({"properties": {"q": True}}, {"q": [1]}, {"p": 1}),
        ({"properties": {"q": False}}, {}, {"q": 1}),
        ({"properties": {"a": TEXT, "b": {"$ref": "#/properties/a"}}}, {"b": "x"}, {"b": 1}),
        ({"properties": {"a": {"properties": {"c": TEXT}}, "b": {"$ref": "#/properties/a/properties/c"}}},
         {"b": "x"}, {"b": 1}),
        ({"properties": {"n": TEXT, "kids": {"type": "array", "items": {"$ref": "#"}}}},
         {"kids": [{"n": "a", "kids": []}]}, {"kids": [{"n": 1}]}),
        ({"$ref": "#/$defs/In", "$defs": {"In": {"properties": {"a": TEXT}, "required": ["a"]}}}, {"a": "x"}, {}),
        ({"allOf": [{"properties": {"a": TEXT}}, {"properties": {"b": TEXT}, "required": ["b"]}]},
         {"a": "x", "b": "y"}, {"a": "x"}),
        ({"oneOf": [{"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": TEXT}}]},
         {"b": "x"}, {"b": 1}),
        ({"anyOf": [{"properties": {"a": TEXT}}, {"properties": {"a": {"type": "integer"}}}]}, {"a": 1}, {"a": None}),
        ({"required": ["free"]}, {"free": {"any": 1}}, {}),
        ({"properties": {"d": {"$ref": "#/definitions/D"}}, "definitions": {"D": TEXT},
          "$schema": "http://json-schema.org/draft-07/schema#"}, {"d": "x"}, {"d": 1}),
        ({"properties": {"p": {"type": "array", "items": [TEXT, {"type": "integer"}]}},
          "$schema": "http://json-schema.org/draft-07/schema#"}, {"p": ["a", 1]}, {"p": [1, "a"]}),
        ({"properties": {"x": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": TEXT}}, {"x": "y"}, {"x": 1}),
    ],
)  # fmt: skip
def test_legal_schemas_are_read(schema: dict[str, Any], fits: dict[str, Any], misfits: dict[str, Any]) -> None:
    assert accepts(schema, fits)
    assert not accepts(schema, misfits)
    for parameter in parameters_of({"type": "object", **schema})[0].values():
        assert schema_text(parameter)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"properties": {"x": {"$ref": "#/$defs/gone"}}}, "refers to '#/\\$defs/gone', and nothing stands there"),
        ({"properties": {"x": {"$ref": "https://example.org/s.json"}}}, "which is not part of it"),
        ({"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}, "in a circle"),
        ({"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}}, "circle"),
        ({"properties": {"x": {"$ref": "#/$defs/A/not"}}, "$defs": {"A": {"not": {"$ref": "#/$defs/A"}}}}, "circle"),
        ({"properties": {"x": {"type": "strin"}}}, "no valid JSON schema: 'strin'"),
        ({"properties": [1]}, "no valid JSON schema"),
        ({"properties": {"x": {"$ref": "#/required"}}, "required": ["x"]}, "which is no schema"),
        (True, "it is bool, and no object"),
    ],
)
def test_what_cannot_be_used_says_why(schema: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        parameters_of(schema)


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(5000):
        nested = {"items": nested}
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        parameters_of({"properties": {"x": nested}})


names = st.sampled_from(["a", "b", "c"])
parts = st.recursive(
    st.one_of(
        st.booleans(),
        st.sampled_from([{"type": "string"}, {"type": ["integer", "null"]}, {"enum": [1, "x"]}, {"const": None}]),
        st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/properties/a"]).map(lambda ref: {"$ref": ref}),
    ),
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=2).map(lambda given: {"type": "object", "properties": given}),
        inner.map(lambda given: {"type": "array", "items": given}),
        st.lists(inner, min_size=1, max_size=2).map(lambda given: {"anyOf": given}),
    ),
    max_leaves=6,
)
schemas = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(names, parts, max_size=3)},
    optional={"$defs": st.dictionaries(names, parts, max_size=2), "required": st.lists(names, max_size=2, unique=True)},
)
values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)),
    max_leaves=4,
)


@given(schemas, st.dictionaries(names, values, max_size=3))
def test_each_parameter_judges_like_the_whole_schema(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Or the schema is refused: nothing else is raised, and every parameter can be rendered."""
    try:
        parameters, required = parameters_of(schema)
    except ConfigurationError:
        return
    assert all(schema_text(parameter) for parameter in parameters.values())
    by_part = set(required) <= set(arguments) and all(
        validator(parameters[name]).is_valid(value) for name, value in arguments.items() if name in parameters
    )
    assert by_part == validator(schema).is_valid(arguments)


def test_a_pattern_that_python_cannot_read_is_left_to_who_wrote_it() -> None:
    foreign = {"properties": {"name": {"type": "string", "pattern": r"^\p{L}+$"}, "pattern": {"pattern": "^a$"}}}
    parameters, _ = parameters_of(without_foreign_patterns(foreign))
    assert parameters == {"name": {"type": "string"}, "pattern": {"pattern": "^a$"}}
    with pytest.raises(ConfigurationError, match="is not a 'regex'"):
        parameters_of(foreign)


def test_a_list_of_fixed_places_is_shown_by_them() -> None:
    pair = [{"type": "number"}, {"type": "string"}]
    assert schema_text({"type": "array", "prefixItems": pair}) == "[float, str]"
    assert schema_text({"type": "array", "items": pair}) == "[float, str]"
