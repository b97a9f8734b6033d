"""Steps as a rule would write them: what one candidate fits is mended, and nothing that is not sure."""

from __future__ import annotations

from typing import Any

import pytest

from pivot_dspy import Environment, Gradient, Step, tool
from pivot_dspy.blame.mends import with_predicate
from pivot_dspy.blame.predicates import Predicate
from pivot_dspy.blame.ranking import gradient
from tests.blame.shirts import PLAN, TASK, Shop, choose, first, run, with_step, without


def blame(steps: tuple[Step, ...], environment: type[Environment] = Shop, **options: Any) -> Gradient | None:
    return gradient(*run(steps, environment=environment), task=TASK, **options)


def patched(steps: tuple[Step, ...], **options: Any) -> tuple[Step, ...] | None:
    """The whole trajectory as a rule mends it."""
    blamed = blame(steps, **options)
    return None if blamed is None or blamed.patch is None else (*steps[: blamed.locus], *blamed.patch)


@pytest.mark.parametrize(
    "steps",
    [
        with_step("p", tool="detail"),
        with_step("z", tool="loook"),
        with_step("p", args={"idz": "$s.ids"}),
        with_step("s", args={"sizs": ["L", "M"]}),
        with_step("s", tool="details"),  # the arguments are those of one other tool
        with_step("p", args={"ids": "$s.idz"}),
        with_step("a", args=choose("brand=='Nike' && color=='Brwn' && price < `60`")),
        with_step("a", args=choose("brand=='Nike' && size=='Red' && price < `60`")),
        with_step("c", args=choose("brand=='Puma' && color=='Khaki' && size=='M'")),
        with_step("b", args=choose("brand=='Nike' && color=='Brown' && price < `6`")),
    ],
)
def test_what_one_candidate_fits_is_mended(steps: tuple[Step, ...]) -> None:
    mended = patched(steps)
    assert mended is not None and [step.id for step in mended] == [step.id for step in PLAN]
    execution, _, findings, _ = run(mended)
    assert not execution.discrepancies and all(finding.holds for finding in findings)


@pytest.mark.parametrize(
    "steps",
    [
        with_step("p", tool="fly"),
        with_step("p", tool="by_siz", args={"ids": "$s.ids"}),  # a near name, whose tool does not take them
        with_step("p", args={"what": "$s.ids"}),
        with_step("p", args={"ids": "$s.rows"}),
        with_step("a", args=choose("brand=='Nike' && price < `60`")),  # what is left out may be anywhere
        with_step("d", args={"id": "vkl1x"}),
        without("b"),
    ],
)
def test_what_is_not_sure_is_left_to_the_model(steps: tuple[Step, ...]) -> None:
    assert patched(steps) is None


def test_a_patch_in_vain_leaves_the_suspect_to_the_model() -> None:
    steps = with_step("p", tool="detail")
    by_rule = blame(steps)
    assert by_rule is not None and by_rule.patch is not None
    by_model = blame(steps, refuted={by_rule.key})
    assert by_model is not None and by_model.patch is None and by_model.kind == by_rule.kind
    assert blame(steps, refuted={by_rule.key, by_model.key}) != by_model


class Final(Shop):
    """A shop whose basket cannot be undone."""

    @tool(effect="irreversible", preview="shown")
    def add(self, id: str) -> dict[str, Any]:  # type: ignore[override]
        return self.shown(id)

    def shown(self, id: str) -> dict[str, Any]:
        self.basket.append(id)
        return {"items": list(self.basket)}


@pytest.mark.parametrize("wrong", [{"tool": "ad"}, {"args": {"idd": "nrl1"}}])
def test_what_cannot_be_undone_is_never_written_by_a_rule(wrong: dict[str, Any]) -> None:
    assert patched(with_step("a", **wrong)) is not None
    assert patched(with_step("a", **wrong), environment=Final) is None


def test_a_call_with_a_value_that_was_made_up_is_not_mended() -> None:
    assert patched(with_step("p", args={"id": ["nope"]})) is None
    assert patched(with_step("p", args={"id": "$s.ids"})) is not None


@pytest.mark.parametrize(("serves", "to_blame"), [(("", ""), "b"), (("R2", "R1"), "a"), (("R1", "R2"), "b")])
def test_what_a_step_says_that_it_serves_is_what_it_is_blamed_for(serves: tuple[str, str], to_blame: str) -> None:
    alike = choose("brand=='Nike' && price < `60`")
    steps = with_step("a", args=alike, serves=tuple(filter(None, serves[:1])))
    steps = with_step("b", plan=steps, args=alike, serves=tuple(filter(None, serves[1:])))
    suspect = first(steps)
    assert (suspect.step, suspect.requirements) == (to_blame, ("R2",))
    assert steps[2].content() == PLAN[2].model_copy(update={"args": alike}).content()  # it says, and does, no more


def test_words_that_look_like_a_condition_stay_as_they_are() -> None:
    wrong = Predicate(("color",), "==", "red", "Red")
    meant = Predicate(("color",), "==", "brown", "Brown")
    toolbox = run(PLAN)[3]
    bound = Step(id="a", tool="add", args={"id": "$p.rows[?color=='Red'] | [0].id"})
    mended = with_predicate(bound, wrong, meant, toolbox, ["p"])
    assert mended is not None and "Brown" in mended.args["id"]
    said = Step(id="a", tool="add", args={"id": "take the one where color=='Red'"})
    assert with_predicate(said, wrong, meant, toolbox, ["p"]) is None
