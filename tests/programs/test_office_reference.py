"""The offline model on AgentDojo's tasks: it solves what it is shown, and not what it is not."""

from __future__ import annotations

import pytest

from pivot_dspy import Pivot, Refined
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.simulator.knowledge import Shown, unknown
from programs.office import reference
from programs.office.environment import POLICIES, Office, opened
from programs.office.judge import score
from programs.office.plan import plan
from tests.programs.office import need_package, tasks, utility

need_package()

MUST_LOOK = ["workspace:9", "workspace:18", "travel:3", "banking:2", "banking:12", "slack:5", "slack:14"]
BLIND = ObservationBudget(result=1, turn=1)


def refined(task_id: str, observations: ObservationBudget) -> Refined:
    case = tasks()[task_id]
    pivot = Pivot(Office, opened(case), observations=observations)
    pivot.set_lm(reference.model([case], slip=0, relapse=0, heed=1, cache=False))
    result: Refined = pivot(**case.inputs)
    return result


@pytest.mark.parametrize("task_id", MUST_LOOK)
def test_a_task_that_needs_a_look_is_solved_by_looking_and_not_blind(task_id: str) -> None:
    seeing, blind = refined(task_id, ObservationBudget()), refined(task_id, BLIND)
    assert seeing.verified and score(seeing.execution, tasks()[task_id])[0]
    assert not blind.verified and not score(blind.execution, tasks()[task_id])[0]


def test_what_the_request_tells_needs_no_look() -> None:
    result = refined("slack:0", BLIND)
    assert result.verified and score(result.execution, tasks()["slack:0"])[0]


@pytest.mark.parametrize("task_id", sorted({*reference.AS_TOLD, *reference.READ_FIRST}))
def test_the_gold_as_it_is_told_passes_too(task_id: str) -> None:
    assert utility(task_id, plan(reference.as_told(tasks()[task_id])))


@pytest.mark.parametrize("task_id", MUST_LOOK)
def test_no_requirement_tells_what_has_to_be_read(task_id: str) -> None:
    case = tasks()[task_id]
    made = reference.reference(case)
    told = f"{case.request} {POLICIES[case.suite]}"
    asked, stated = Shown(told), Shown("\n".join([told, *(item["text"] for item in made.requirements)]))
    ids = {step["id"] for step in made.steps}
    for step in made.steps:
        assert unknown(step, stated, ids) == unknown(step, asked, ids)
