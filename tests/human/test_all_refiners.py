"""What a person pins and requires stays in every refiner, whatever its model says."""

from __future__ import annotations

import itertools
import json

import dspy
from hypothesis import given

from pivot_dspy import PlanningFailed
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.human.feedback import Comment, Pin, Require
from pivot_dspy.loss import EPSILON
from pivot_dspy.requirements import Requirement
from tests.refiners.loops import REQUEST
from tests.refiners.test_all_refiners import OFTEN, every, scripts, speaking
from tests.stores import Calls, Store

MINE = Requirement(id="P", check="total", args={"max": 35})


class Insisting:
    """Pins the first steps that it is shown and requires something, then only comments; keeps what it has pinned."""

    def __init__(self):
        self.pinned = None
        self.asked = 0

    def __call__(self, review):
        self.asked += 1
        if self.pinned is None and review.trajectory.steps:
            self.pinned = review.trajectory.steps[: len(review.trajectory) // 2 + 1]
            ids = tuple(step.id for step in self.pinned)
            return [Pin(steps=ids), Require(requirement=MINE), Comment(message="Do it better.")]
        return Comment(message="Better still.") if self.asked < 4 else None


@every
@OFTEN
@given(said=scripts)
def test_no_model_changes_what_a_person_has_fixed(kind, said):
    person = Insisting()
    made = kind("request -> answer", lambda: Store(Calls()), timeout=None, reviewer=person, review="each_round")
    try:
        with dspy.context(lm=speaking(kind, **said)):
            result = made(request=REQUEST)
    except PlanningFailed:
        return
    if person.pinned is None:
        return
    for step in person.pinned:
        assert result.trajectory.steps[result.trajectory.index(step.id)] == step
    (mine,) = (item for item in result.requirements.items if item.origin == "person")
    assert mine == MINE.model_copy(update={"id": mine.id, "origin": "person"})
    for event in result.history:  # from the feedback on, in all that was run
        if event.kind == "feedback" and event.feedback.actions[0].kind == "pin":
            later = result.history[result.history.index(event) :]
            runs = [after.trajectory for after in later if after.kind == "inspect"]
            assert all(step in run.steps for run in runs for step in person.pinned)
            break
    losses = accepted_losses(result.history)
    assert all(later <= earlier + EPSILON for earlier, later in itertools.pairwise(losses))
    json.dumps(result.toDict())
