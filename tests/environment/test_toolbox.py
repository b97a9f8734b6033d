import dataclasses
import enum
import json
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import NotRequired, TypedDict

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.from_class import of_class
from pivot_dspy.environment.render import schema_text, type_text
from pivot_dspy.environment.toolbox import HELD, ArgumentError, Toolbox, ToolSpec, describe
from pivot_dspy.errors import ConfigurationError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Slot(TypedDict):
    room: str
    seats: int
    note: NotRequired[str | None]


class Guest(BaseModel):
    name: str
    age: int = 0
    friends: "list[Guest]" = []


class Point(NamedTuple):
    x: float
    y: float


@dataclasses.dataclass
class Order:
    slot: Slot
    guests: list[Guest]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Desk(Environment):
    """An environment with every kind of parameter that a schema can say."""

    orientation = ("today",)

    @tool(effect="read")
    def today(self) -> date:
        return date(2026, 1, 2)

    @tool(effect="read", returns=list[Slot])
    def free(self, day: date, kind: Literal["big", "small"] = "big", least: int | None = None) -> list[Slot] | str:
        """Free slots
        on a working day."""
        return []

    @tool(effect="write")
    def order(
        self, order: Order, colours: list[Colour], where: Annotated[Point, Field(description="in metres")]
    ) -> int:
        return 1

    @tool(effect="irreversible")
    async def pay(self, amount: float, **details: str) -> None: ...

    @check
    def paid(self, least: float = 0.0) -> bool:
        """Whether it is paid."""
        return False


def test_tools_are_shown_in_one_line_each_with_record_types_once() -> None:
    assert of_class(Desk).render_tools() == "\n".join(
        [
            HELD,
            "- today() -> date",
            "- free(day: date, kind: 'big' | 'small' = \"big\", least?: int) -> [Slot]  # Free slots on a working day.",
            "- order(order: Order, colours: ['red' | 'blue'], where: Point) -> int  [write]  # where: in metres",
            "- pay(amount: float, **details) -> null  [held]",
            "Types:",
            "Slot = {room, seats: int, note?: str | null}",
            "Order = {slot: Slot, guests: [Guest]}",
            "Guest = {name, age: int, friends: [Guest]}",
            "Point = [x: float, y: float]",
        ]
    )
    assert "# Free" not in of_class(Desk).render_tools(brief=True)
    assert HELD.startswith("[write] changes the copy. [held] is only noted")
    assert of_class(Desk).render_checks(" words ") == "- paid(least: float = 0.0)  # Whether it is paid.\nwords"


def test_arguments_arrive_in_the_types_that_the_function_takes() -> None:
    box = of_class(Desk)
    assert box.tools["free"].validate({"day": "2026-01-02"}) == {"day": date(2026, 1, 2)}
    found = box.tools["order"].validate(
        {
            "order": {"slot": {"room": "a", "seats": 2}, "guests": [{"name": "x"}]},
            "colours": ["red"],
            "where": [1, 2.5],
        }
    )
    assert found["order"] == Order(slot={"room": "a", "seats": 2}, guests=[Guest(name="x")])
    assert found["colours"] == [Colour.RED] and found["where"] == Point(1.0, 2.5)
    assert box.tools["pay"].validate({"amount": 1, "to": "x"}) == {"amount": 1.0, "to": "x"}


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("free", {}, "day: missing"),
        ("free", {"day": "soon"}, "day: Input should be a valid date.* got 'soon'"),
        ("free", {"day": "2026-01-02", "kind": "huge"}, "kind: Input should be 'big' or 'small'"),
        ("free", {"day": "2026-01-02", "size": 1}, "size: not a parameter"),
        ("order", {"order": {"slot": {}}}, "order.slot.room: missing; order.slot.seats: missing"),
        ("free", {"day": object()}, "cannot be validated"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(
    name: str, args: dict[str, Any], message: str
) -> None:
    spec = of_class(Desk).tools[name]
    with pytest.raises(ArgumentError, match=f"^{name}: .*{message}") as caught:
        spec.validate(args)
    assert caught.value.expected == spec.signature


@UNHURRIED
@given(
    st.dictionaries(
        st.sampled_from(["copy", "schema", "json", "model_fields_set", "environment", "name", "args", "tool", "_x"]),
        st.integers(),
    )
)
def test_no_name_of_a_parameter_clashes_with_ours(args: dict[str, int]) -> None:
    def take(
        copy: int = 0,
        schema: int = 0,
        json: int = 0,
        model_fields_set: int = 0,
        environment: int = 0,
        name: int = 0,
        args: int = 0,
        tool: int = 0,
        _x: int = 0,
    ) -> dict[str, int]:
        return locals()

    spec = describe(take, name="take", effect="read")
    assert spec.invoke(None, **spec.validate(args)) == {**dict.fromkeys(spec.parameters, 0), **args}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SCHEMA = {
    "type": "object",
    "properties": {
        "ids": {"type": "array", "items": {"$ref": "#/$defs/Id"}},
        "odd": {"anyOf": [{"const": 1}, {"enum": ["x", None]}]},
        "deep": {"$ref": "#/$defs/Tree"},
    },
    "required": ["ids"],
    "additionalProperties": False,
    "$defs": {
        "Id": {"type": "string", "minLength": 1},
        "Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}, "value": {"type": "integer"}}},
    },
}


def of_schema(schema: dict[str, Any]) -> ToolSpec:
    from pivot_dspy.environment.toolbox import inline

    return ToolSpec("t", "", lambda _, /, **args: args, inline(schema), tuple(schema.get("required", ())))


@UNHURRIED
@given(st.dictionaries(st.sampled_from(["ids", "odd", "deep", "other"]), ANYTHING))
def test_a_schema_alone_accepts_what_the_schema_accepts(args: dict[str, Any]) -> None:
    try:
        jsonschema.validate(args, SCHEMA, cls=jsonschema.Draft202012Validator)
        fits = True
    except jsonschema.ValidationError:
        fits = False
    try:
        assert of_schema(SCHEMA).validate(args) == args
        assert fits
    except ArgumentError:
        assert not fits


def test_schemas_are_shown_as_types_are() -> None:
    assert of_schema(SCHEMA).signature == 't(ids: [str], odd?: 1 | "x", deep?: {left?: Tree, value?: int})'
    assert schema_text(SCHEMA["properties"]["odd"]) == '1 | "x" | null'  # type: ignore[index]
    assert schema_text({"type": ["string", "null"]}) == "str | null"
    assert schema_text({"type": "object", "additionalProperties": {"type": "number"}}) == "{str: float}"
    assert schema_text({"$ref": "#/$defs/gone"}) == schema_text(True) == schema_text({}) == "any"
    assert schema_text(Guest.model_json_schema()) == "{name, age?: int, friends?: [Guest]}"


@UNHURRIED
@given(ANYTHING | st.dictionaries(st.sampled_from(["type", "$ref", "enum", "anyOf", "properties", "items"]), ANYTHING))
def test_any_valid_schema_is_shown_and_refuses_instead_of_raising(schema: Any) -> None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        return
    if not isinstance(schema, dict):
        return
    spec = ToolSpec("t", "", lambda _, /, **args: args, {"x": schema}, ("x",))
    try:
        spec.validate({"x": 1})
    except ArgumentError as error:
        assert str(error).startswith("t: ")


def test_types_of_all_kinds() -> None:
    def text(annotation: Any) -> str:
        return type_text(annotation, {})

    assert text(list) == text(set) == "[any]"
    assert text(dict) == "object" and text(dict[str, list[int]]) == "{str: [int]}"
    assert text(tuple[int, ...]) == "[int]" and text(tuple[int, str]) == "[int, str]"
    assert text(Annotated[int, {"not": "hashable"}]) == "int"
    assert text(CheckResult) == "CheckResult"
    assert text("Forward") == "Forward"


def test_descriptions_of_unhashable_defaults_and_of_what_is_no_json() -> None:
    def take(ids: list[int] = [1], when: date = date(2026, 1, 2)) -> None: ...  # noqa: B006

    spec = describe(take, name="take", effect="read")
    assert spec.signature == 'take(ids: [int] = [1], when: date = "2026-01-02") -> null'
    assert json.dumps(dict(spec.parameters))


class Unnamed:
    def __call__(self, x: int) -> int:
        return x


def by_position(x: int, /) -> int:
    return x


def odd_type(x: object()) -> int:  # type: ignore[valid-type]
    return 1


def unknown_type(x: "Nowhere") -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


def no_schema(x: Unnamed) -> int:
    return 1


@pytest.mark.parametrize("function", [by_position, odd_type, unknown_type, no_schema])
def test_what_cannot_be_described_says_what_to_do(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be described: .*annotate its parameters"):
        describe(function, name="f", effect="read")


def test_a_callable_object_is_described_by_its_call() -> None:
    spec = describe(Unnamed(), name="unnamed", effect="read")
    assert spec.signature == "unnamed(x: int) -> int" and spec.invoke(None, x=3) == 3


def made(**members: Any) -> type[Environment]:
    return type("Made", (Environment,), members)


def test_bad_classes_are_refused_with_the_remedy() -> None:
    @tool(effect="write")
    def write(self: Any) -> int:
        return 1

    @tool(effect="read")
    def read(self: Any, x: int = 1) -> int:
        return x

    @tool(effect="read")
    def needs(self: Any, x: int) -> int:
        return x

    @check
    @tool(effect="write")
    def both(self: Any) -> bool:
        return True

    @check
    async def later(self: Any) -> bool:
        return True

    @check
    def holds(self: Any) -> bool:
        return True

    bad: list[tuple[dict[str, Any], str]] = [
        ({"submit": read}, "ends a trajectory; rename the tool"),
        ({"close": write}, "'close' is part of Environment itself; give the tool another name"),
        ({"fork": holds}, "'fork' is part of Environment itself"),
        ({"both": both}, "is a check and a tool that writes; split it"),
        ({"later": later}, "the check 'later' is async; make it a plain function"),
        ({"read": staticmethod(read)}, "is a staticmethod; make it a plain method"),
        ({"read": tool()(staticmethod(lambda: 1))}, "is a staticmethod; make it a plain method"),
        ({"read": classmethod(read)}, "is a classmethod; make it a plain method"),
        ({"read": property(read)}, "is a property; make it a plain method"),
        ({"read": read, "orientation": "read"}, r"orientation is a tuple of tool names; write \('read',\)"),
        ({"read": read, "orientation": ("raed",)}, "orientation names 'raed'; it takes read tools, with"),
        ({"needs": needs, "orientation": ("needs",)}, r'orientation: needs: .*: missing; write \("needs", \{...\}\)'),
        ({"write": write, "orientation": ("write",)}, "orientation names 'write'; it takes read tools"),
    ]
    for members, message in bad:
        with pytest.raises(ConfigurationError, match=message):
            of_class(made(**members))
    with pytest.raises(ConfigurationError, match="effect must be one of read, write, irreversible; got 'delete'"):
        tool(effect="delete")  # type: ignore[arg-type]
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="above 0"):
            tool(timeout=seconds)
    spec = describe(lambda: 1, name="a", effect="read")
    with pytest.raises(ConfigurationError, match="two tools are called 'a'; give each a name of its own"):
        Toolbox([spec, spec])
    with pytest.raises(ConfigurationError, match="two checks are called 'a'"):
        Toolbox([], [spec, spec])
    with pytest.raises(ConfigurationError, match="effect must be one of"):
        Toolbox([dataclasses.replace(spec, effect="delete")])  # type: ignore[arg-type]


def test_an_override_keeps_its_place_only_if_it_is_marked() -> None:
    class Marked(Desk):
        @tool(effect="write")
        def today(self) -> date:
            return date(2027, 1, 1)

        orientation = ()

    assert list(of_class(Marked).tools) == list(of_class(Desk).tools)
    assert of_class(Marked).tools["today"].effect == "write"
    assert "paid" not in of_class(type("Less", (Desk,), {"paid": None})).checks
    with pytest.raises(ConfigurationError, match="Bare.today overrides a tool or check without being marked"):
        of_class(type("Bare", (Desk,), {"today": lambda self: 1}))
