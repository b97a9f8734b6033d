"""Requirements of a kind of one's own: checked, told and reported like any other."""

import dspy

from pivot_dspy import Pivot, Requirement, Requirements
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Store


class Answered(Requirement):
    """A kind of its own, as a user writes it."""

    allowed: str

    def check_on(self, execution, session):
        answer = execution.outputs.get("answer")
        return answer == self.allowed, f"the answer is {answer}"

    def describe(self):
        return f"the answer is {self.allowed}"


def test_a_requirement_of_ones_own_kind_is_checked_told_and_reported():
    found = step("b", "find", color="red")
    wrong, right = ([found, submit(answer=f"$b.ids[{place}]")] for place in (1, 0))
    lm = scripted(plan=plan(wrong, []), evolve=rewrite(right))
    with dspy.context(lm=lm):
        result = Pivot("request -> answer", Store, requirements=[Answered(id="F1", allowed="p1")])(request="x")
    assert "F1: the answer is p1 - NOT MET: the answer is p" in lm.engine.prompts[1].section("report")
    assert result.verified and [finding.status for finding in result.findings] == ["holds"]
    assert lm.engine.count("judge") == 0


def test_one_that_cannot_say_how_it_stands_is_not_met_and_never_left_to_a_judge():
    class Broken(Answered):
        def check_on(self, execution, session):
            raise KeyError("colour")

    steps = [step("b", "find", color="red"), submit(answer="$b.ids[0]")]
    with dspy.context(lm=scripted(plan=plan(steps, []), evolve=rewrite(steps))):
        result = Pivot("request -> answer", Store, requirements=[Broken(id="F1", allowed="p1")])(request="x")
    assert not result.verified
    assert [(found.status, found.evidence) for found in result.findings] == [
        ("violated", "cannot be checked: KeyError: 'colour'")
    ]


def test_its_fields_are_part_of_its_json():
    settled = Requirements(items=(Answered(id="F1", allowed="p1"),))
    assert settled.model_dump()["items"][0]["allowed"] == "p1"
