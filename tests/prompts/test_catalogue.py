from typing import Any, Literal

import dspy
import pytest
from pydantic import BaseModel

from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.prompts.catalogue import Catalogue, render, submit_line
from tests.stores import Store


class Room(BaseModel):
    id: str
    seats: int


class Book(dspy.Signature):
    """Book a room."""

    request: str = dspy.InputField()
    room: Room = dspy.OutputField(desc="the one that was booked")
    rooms: list[Room] = dspy.OutputField()
    verdict: Literal["yes", "no"] = dspy.OutputField()
    count: int = dspy.OutputField(desc="how many")


def test_submit_names_the_output_fields_with_types_and_what_they_mean():
    types: dict[str, str] = {}
    line = submit_line(Book.output_fields, types)
    assert line.startswith("- submit(room: Room, rooms: [Room], verdict: 'yes' | 'no', count: int)")
    assert "room: the one that was booked" in line and "count: how many" in line and "rooms: " in line
    assert "${" not in line
    assert types == {"Room": "{id, seats: int}"}


def test_a_string_signature_has_no_descriptions():
    line = submit_line(dspy.Signature("question -> answer").output_fields, {})
    assert line == "- submit(answer)  # ends the trajectory with the answer"


def test_a_catalogue_holds_tools_checks_policy_and_what_is_known():
    made = render(
        toolbox_of(Store), Book, policy=" Buy little. ", vocabulary=Store.vocabulary, known='colors() -> ["red"]\n'
    )
    lines = made.tools.splitlines()
    assert "- find(color?, size?) -> {str: [str]}  # Ids of the products that match." in lines
    assert "- add(product_id) -> {str: any}  [write]  # Put a product in the cart." in lines
    assert any(line.startswith("- submit(") for line in lines)
    assert all(line.split("  # ")[0] in made.tools_brief for line in lines if line.startswith("- find"))
    assert "Ids of the products" not in made.tools_brief and len(made.tools_brief) < len(made.tools)
    assert made.checks.splitlines()[0].startswith("- item(color?, size?, name?)")
    assert made.checks.endswith(Store.vocabulary)
    assert (made.policy, made.known) == ("Buy little.", 'colors() -> ["red"]')
    assert Catalogue.model_validate_json(made.model_dump_json()) == made


def test_without_checks_there_is_no_vocabulary():
    def look(day: str) -> list[str]:
        return []

    made = render(from_functions([look], effects="read").toolbox, Book, policy="", vocabulary="x", known="")
    assert made.checks == "" and made.policy == ""


def test_a_type_that_tools_and_submit_share_stands_once():
    def look(day: str) -> list[Room]:
        return []

    made = render(from_functions([look], effects="read").toolbox, Book, policy="", vocabulary="", known="")
    assert made.tools.count("Room = {") == 1


def test_it_is_written_anew_only_where_something_of_it_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    rendering = Toolbox.render_tools

    def counted(self: Toolbox, **given: Any) -> str:
        written.append(given)
        return rendering(self, **given)

    monkeypatch.setattr(Toolbox, "render_tools", counted)
    toolbox = Toolbox(toolbox_of(Store).tools.values(), toolbox_of(Store).checks.values())

    def catalogue(read: tuple[str, ...] = (), policy: str = "", outputs: type[dspy.Signature] = Book) -> Catalogue:
        return render(toolbox, outputs, policy=policy, vocabulary="", known="", read=read)

    first = catalogue(policy="one")
    count = len(written)
    assert catalogue(policy="other") == first.model_copy(update={"policy": "other"})
    assert len(written) == count
    assert catalogue(read=("find",)).tools != first.tools
    assert catalogue(outputs=dspy.Signature("question -> answer")).tools != first.tools
    del toolbox.tools["colors"]
    assert "colors" not in catalogue().tools
