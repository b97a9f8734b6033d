"""What may be submitted: a null where the field allows it, and what is no output field."""

from __future__ import annotations

import enum
from typing import Any, Literal

import dspy
import pytest

from pivot_dspy import Pivot, submission
from pivot_dspy.bindings import BindingError
from pivot_dspy.plain_json import plain
from tests.scripted import plan, scripted, step, submit

RESULTS = {"a": None, "b": {"nick": None, "at": {"home": None}}, "c": [{"id": 1, "nick": None}]}


@pytest.mark.parametrize("kind", [str | None, Literal["yes", "no", None], type(None)])
@pytest.mark.parametrize(
    "written", ["$a", "$b.nick", "$b.at.home", "$b.at.home.street", "$c[?id==`1`] | [0].nick", "$c[?id==`9`] | [0]"]
)
def test_a_null_that_stands_in_a_result_answers_a_field_that_allows_none(kind: Any, written: str) -> None:
    if written.endswith("street"):  # home is null, and so has none
        kind = str | None
    resolved = submission.resolve({"answer": written}, {"answer": kind}, RESULTS, RESULTS)
    assert submission.validate(resolved, {"answer": kind}) == {"answer": None}


@pytest.mark.parametrize(
    ("written", "kind"), [("$b.nickname", str | None), ("$b.att.home", str | None), ("$a", str), ("$a", Any)]
)
def test_a_misspelt_field_and_a_null_where_none_is_allowed_are_no_answer(written: str, kind: Any) -> None:
    with pytest.raises(BindingError, match="gives nothing"):
        submission.resolve({"answer": written}, {"answer": kind}, RESULTS, RESULTS)


def nickname(who: str) -> str | None:
    """The nickname, or none."""
    return None if who == "x" else "Bo"


def test_a_refiner_answers_none_without_a_rewrite() -> None:
    signature = dspy.Signature({"q": (str, dspy.InputField()), "answer": (str | None, dspy.OutputField())})
    lm = scripted(plan=plan([step("a", "nickname", who="x"), submit(answer="$a")]))
    with dspy.context(lm=lm):
        result = Pivot(signature, tools=[nickname], effects="read")(q="x")
    assert result.verified and result.answer is None and not lm.engine.count("evolve")


def test_what_is_no_output_field_is_left_out_with_a_note_and_no_rewrite() -> None:
    lm = scripted(plan=plan([step("a", "nickname", who="y"), submit(answer="$a", confidence="high")]))
    with dspy.context(lm=lm):
        result = Pivot("q -> answer", tools=[nickname], effects="read")(q="x")
    assert result.verified and result.execution.outputs == {"answer": "Bo"} and not lm.engine.count("evolve")
    notes = [event.message for event in result.history if event.kind == "note"]
    assert notes == ["submit: confidence is no output field, and was left out"]


def test_it_is_refused_where_an_output_is_missing_that_it_may_have_been_meant_for() -> None:
    lm = scripted(plan=plan([step("a", "nickname", who="y"), submit(anwser="$a")]))
    with dspy.context(lm=lm):
        result = Pivot("q -> answer", tools=[nickname], effects="read", max_iters=1)(q="x")
    assert not result.verified and "anwser: not an output field" in result.execution.discrepancies[0].message


def test_media_in_results_and_names_of_members_are_submitted_as_what_they_are() -> None:
    class Size(enum.Enum):
        SMALL = 1

    picture = dspy.Image("data:image/png;base64,iVBORw0KGgo=")
    outputs = {"shot": dspy.Image, "shots": list[dspy.Image], "size": Size}
    values = submission.validate({"shot": plain(picture), "shots": [plain(picture)], "size": "SMALL"}, outputs)
    assert values == {"shot": picture, "shots": [picture], "size": Size.SMALL}
    assert submission.validate({"shot": picture.url}, outputs) == {"shot": picture}
