"""What tools of every day take and show: aliases, defaults, enumerations, variadic parameters."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import dspy
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import Required, TypedDict, Unpack

from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.base import tool as declared_tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.environment.written_values import as_taken
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory

KINDS = pytest.mark.parametrize("kind", [lambda function: function, dspy.Tool], ids=["function", "dspy.Tool"])


class Size(enum.Enum):
    S = "small"
    L = "large"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Box(BaseModel):
    width: int = 2


class Address(BaseModel):
    street: str
    zip_code: str = Field(alias="zipCode")
    kind: str = "home"


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str


class TwoNames(BaseModel):
    number: int = Field(validation_alias=AliasChoices("no", "nr"), serialization_alias="num")
    deep: int = Field(0, validation_alias=AliasPath("inner", 0))


@pydantic.dataclasses.dataclass
class Parcel:
    to_city: str = Field(alias="toCity")


@dataclass
class Shelf:
    sizes: list[Size]
    level: Level | None = None


PRICE, BOX, HOME, TAGS, NOT_GIVEN = Decimal("1.10"), Box(), Address(street="a", zipCode="1"), frozenset("x"), object()


def spec_of(tool: Any) -> ToolSpec:
    return next(iter(from_functions([tool], effects="read").toolbox.tools.values()))


def run(tools: list[Any], *steps: tuple[str, str, dict[str, Any]]) -> Execution:
    session = SessionFactory(from_functions(tools, effects="read")).open(None)
    plan = Trajectory(steps=tuple(Step(id=id, tool=tool, args=args) for id, tool, args in steps))
    return run_sync(execute(plan, session)).execution


def called(tool: Any, **args: Any) -> Any:
    observation = run([tool], ("a", spec_of(tool).name, args)).observations[0]
    return observation.value if observation.ok else observation.fault and observation.fault.message


class Filters(TypedDict, total=False):
    year: Required[int]
    size: Size


@KINDS
def test_variadic_parameters_may_be_left_out_or_given_in_their_types(kind: Any) -> None:
    def search(**filters: str) -> dict[str, str]:
        return filters

    def total(unit: str = "g", *parts: int, **named: int) -> tuple[str, int, dict[str, int]]:
        return unit, sum(parts), named

    def join(text: str, *rest: Decimal, **more: Literal["x"]) -> str:
        return text + "".join(map(str, rest)) + "".join(more)

    assert called(kind(search), color="red") == {"color": "red"}
    assert called(kind(search)) == {}
    assert spec_of(kind(search)).signature == "search(**filters) -> {str: str}"
    assert called(kind(total), parts=["1", 2], salt="3") == ["g", 3, {"salt": 3}]
    assert called(kind(total), unit="kg") == ["kg", 0, {}]
    assert "salt: Input should be a valid integer" in str(called(kind(total), salt="much"))
    assert "parts.0: Input should be a valid integer" in str(called(kind(total), parts=["x"]))
    assert spec_of(kind(total)).signature == 'total(unit = "g", parts?: [int], **named: int) -> [str, int, {str: int}]'
    assert called(kind(join), text="a", rest=["1.10"], b="x") == "a1.10b"
    assert spec_of(kind(join)).signature == "join(text, rest?: [Decimal], **more: 'x') -> str"


def test_keywords_of_a_record_are_parameters() -> None:
    def of_record(query: str, **filters: Unpack[Filters]) -> str:
        return f"{query} {filters['year'] + 1} {filters.get('size')}"

    assert called(of_record, query="a", year="2026", size="L") == "a 2027 Size.L"
    assert "year: missing" in str(called(of_record, query="a"))
    assert "nothing: not a parameter" in str(called(of_record, query="a", year=1, nothing=1))
    assert spec_of(of_record).signature == "of_record(query, year: int, size?: 'small' | 'large') -> str"


@KINDS
def test_methods_and_async_functions_may_be_variadic(kind: Any) -> None:
    async def total(*parts: int) -> int:
        return sum(parts)

    class Scale:
        def __call__(self, unit: str, *parts: int) -> str:
            return f"{sum(parts)} {unit}"

    assert called(kind(total), parts=[1, "2"]) == 3
    assert called(kind(Scale()), unit="g", parts=["1", 2]) == "3 g"


def test_a_tool_of_an_environment_may_be_variadic() -> None:
    class Scale(Environment):
        @declared_tool(effect="read")
        def weigh(self, *parts: int, **named: int) -> int:
            return sum(parts) + sum(named.values())

    steps = (Step(id="a", tool="weigh", args={"parts": ["1", 2], "salt": "3"}),)
    execution = run_sync(execute(Trajectory(steps=steps), SessionFactory(Scale).open(None))).execution
    assert execution.observations[0].value == 6


def test_a_given_schema_may_name_an_argument_like_a_variadic_parameter() -> None:
    def forward(**args: Any) -> Any:
        return args

    tool = dspy.Tool(forward, args={"args": {"type": "string"}}, arg_types={"args": str})
    assert spec_of(tool).signature == "forward(args) -> any" and called(tool, args="x") == {"args": "x"}
    assert called(tool) == "forward: args: missing"


def test_a_default_of_the_function_makes_a_parameter_of_a_given_schema_optional() -> None:
    def page(query: str, limit: int = 10) -> str:
        return f"{query} {limit}"

    tool = dspy.Tool(page, args={"query": {"type": "string"}, "limit": {"type": "integer", "maximum": 20}})
    assert spec_of(tool).signature == "page(query, limit: int = 10) -> str"
    assert called(tool, query="a") == "a 10"
    assert called(tool, query="a", limit="20") == "a 20"
    assert called(tool, query="a", limit="21") == "page: limit: 21 is greater than the maximum of 20"


@KINDS
def test_functions_and_dspy_tools_are_equally_lax(kind: Any) -> None:
    def take(n: int, price: Decimal = PRICE, on: bool = True, size: Size = Size.S, at: Level = Level.LOW) -> str:
        return f"{n} {price} {on} {size.name} {at:d}"

    tool = kind(take)
    assert called(tool, n="3") == "3 1.10 True S 1"
    assert called(tool, n=3.0, price=2, on="no", size="large", at=2) == "3 2 False L 2"
    assert called(tool, n=3, size="L", at="HIGH") == called(tool, n=3, size="Size.L", at="2") == "3 1.10 True L 2"
    assert "n: Input should be a valid integer" in called(tool, n="many")
    assert "size: Input should be 'small' or 'large'" in called(tool, n=1, size="XXL")


@KINDS
def test_defaults_are_shown_as_the_tool_takes_them(kind: Any) -> None:
    def pack(size: Size = Size.S, box: Box = BOX, to: Address | None = HOME, tags: Any = TAGS) -> list[Any]:
        return [size, box, to, tags]

    tool = kind(pack)
    assert 'size: \'small\' | \'large\' = "small"' in spec_of(tool).signature
    assert 'box: Box = {"width": 2}' in spec_of(tool).signature
    assert 'tags: any = ["x"]' in spec_of(tool).signature
    shown = {"size": "small", "box": {"width": 2}, "to": {"street": "a", "zipCode": "1", "kind": "home"}, "tags": ["x"]}
    assert called(tool, **shown) == called(tool) == list(shown.values())


def test_a_default_that_cannot_be_written_is_only_marked_as_optional() -> None:
    def find(query: str, cursor: Any = NOT_GIVEN, least: float = float("inf")) -> str:
        return query

    assert spec_of(find).signature == "find(query, cursor?: any, least?: float) -> str"


@KINDS
def test_models_are_shown_by_the_names_that_arguments_and_results_have(kind: Any) -> None:
    def address_of(who: str) -> Address:
        return Address(street="Main", zipCode="12345")

    def ship(to: Address) -> str:
        return f"shipped to {to.zip_code}"

    tools = [kind(address_of), kind(ship)]
    assert from_functions(tools).toolbox.render_tools().splitlines()[-1] == "Address = {street, zipCode, kind}"
    to = {"street": "Main", "zipCode": "$a.zipCode"}
    execution = run(tools, ("a", "address_of", {"who": "me"}), ("b", "ship", {"to": to}), ("c", "ship", {"to": "$a"}))
    assert [observation.value for observation in execution.observations[1:]] == ["shipped to 12345"] * 2


def test_aliases_of_every_kind_are_shown() -> None:
    def take(camel: Camel, two: TwoNames, parcel: Parcel) -> TwoNames:
        return two

    shown = from_functions([take]).toolbox.render_tools().splitlines()
    assert shown[0] == "- take(camel: Camel, two: TwoNames, parcel: Parcel) -> TwoNamesResult  [write]"
    assert shown[2:] == [
        "Camel = {firstName}", "TwoNames = {no: int, inner: int}", "Parcel = {toCity}",
        "TwoNamesResult = {num: int, deep: int}",
    ]  # fmt: skip
    given = {"camel": {"firstName": "a"}, "two": {"no": 1}, "parcel": {"toCity": "x"}}
    assert called(take, **given) == {"num": 1, "deep": 0}


def test_a_callable_object_is_described_by_its_call() -> None:
    class Told:
        """A class."""

        def __call__(self, x: int) -> int:
            """Doubles
            a number."""
            return 2 * x

    class OfClass:
        """Halves a number."""

        def __call__(self, x: int) -> int:
            return x // 2

    class Silent:
        def __call__(self, x: int) -> int:
            return x

    for tool, about in ((Told(), "Doubles a number."), (OfClass(), "Halves a number."), (Silent(), "")):
        assert spec_of(tool).description == spec_of(functools.partial(tool, x=1)).description == about


class Label(BaseModel):
    text: str = Field(description="In capital letters.")


class Plant(BaseModel):
    label: Label
    made_by: str | None = Field(None, alias="madeBy", description="Initials of a gardener.")


class Tree(Plant):
    children: list[Tree] = []


@KINDS
def test_descriptions_of_inner_fields_are_kept(kind: Any) -> None:
    def plant(plants: list[Plant], by_row: dict[str, Label | None], note: str = "") -> str:
        """Plant."""
        return note

    assert spec_of(kind(plant)).details == (
        "plants.madeBy: Initials of a gardener.; plants.label.text, by_row.text: In capital letters."
    )


def test_descriptions_of_types_that_refer_to_themselves_are_told_once() -> None:
    def plant(tree: Tree) -> str:
        return ""

    assert spec_of(plant).details == "tree.madeBy: Initials of a gardener.; tree.label.text: In capital letters."
    schema = {"x": {"properties": {"y": {"$ref": "#/$defs/gone", "description": "Of 3 letters."}}}}
    assert ToolSpec("t", "", lambda _, /, **args: args, schema, ()).details == "x.y: Of 3 letters."


@given(st.sampled_from(Size), st.sampled_from(Level), st.sampled_from(["name", "dotted", "value", "text"]))
def test_members_are_found_by_name_or_value_wherever_they_stand(size: Size, level: Level, by: str) -> None:
    def given(member: enum.Enum) -> Any:
        ways = {"name": member.name, "dotted": str(type(member).__name__) + "." + member.name, "value": member.value}
        return ways.get(by, str(member.value))

    data = {"sizes": [given(size)], "level": given(level)}
    annotation = dict[str, list[Shelf | None]] | None
    assert as_taken({"a": [data]}, annotation) == {"a": [{"sizes": [size.value], "level": level.value}]}


DATA = st.recursive(
    st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(DATA)
def test_what_names_no_member_stays_as_it_is(data: Any) -> None:
    class Odd(enum.Enum):
        NO_TEXT_IS_THIS = object()

    assert as_taken(data, list[Odd] | dict[str, Odd] | Odd) == data


PICTURE = "data:image/png;base64,iVBORw0KGgo="


@KINDS
def test_media_in_results_are_bound_to_parameters_that_take_them(kind: Any) -> None:
    def shots() -> list[dspy.Image]:
        return [dspy.Image(PICTURE)] * 2

    def page() -> dict[str, Any]:
        return {"image": dspy.Image(PICTURE), "n": 1}

    def sound() -> dspy.Audio:
        return dspy.Audio(data="AA==", audio_format="wav")

    def letter() -> dspy.File:
        return dspy.File(file_data="data:text/plain;base64,AA==", filename="a.txt")

    def look(image: dspy.Image | None = None, images: tuple[dspy.Image, ...] = (), caption: str = "") -> str:
        return f"{isinstance(image, dspy.Image)} {len(images)} {caption[:3]}"

    def hear(sound: dspy.Audio, letter: dspy.File) -> str:
        return f"{sound.audio_format} {letter.filename}"

    execution = run(
        [kind(each) for each in (shots, page, sound, letter, look, hear)],
        ("a", "shots", {}), ("b", "page", {}), ("s", "sound", {}), ("t", "letter", {}),
        ("c", "look", {"image": "$a[0]", "images": "$a"}), ("d", "look", {"image": "$b.image", "caption": "$a[0]"}),
        ("e", "hear", {"sound": "$s", "letter": "$t"}), ("f", "look", {"image": "no picture"}),
    )  # fmt: skip
    assert [seen.value for seen in execution.observations[4:7]] == ["True 2 ", "True 0 <<C", "wav a.txt"]
    fault = execution.observations[7].fault
    assert fault is not None and "image" in fault.message
