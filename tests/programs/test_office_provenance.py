"""Labels on AgentDojo's gold and on its mutants: how much of the right is settled, and how little of the wrong."""

from __future__ import annotations

from collections import Counter

from pivot_dspy import Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.provenance import Origin, open_values, origins
from pivot_dspy.required_calls import made_calls
from programs.benchmarks.office_mutants import mutants
from programs.office.data import Case, initial_world
from programs.office.environment import POLICIES, opened
from programs.office.judge import OUTPUTS
from programs.office.tools import toolbox
from tests.programs.office import gold_plan, need_package, tasks

need_package()


def labelled(case: Case, trajectory: Trajectory) -> dict[str, tuple[Origin, ...]]:
    """The origins of the values of each changing call, by step."""
    session = SessionFactory(opened(case), timeout=None).open(None)
    try:
        execution = run_sync(execute(trajectory, session, outputs=OUTPUTS)).execution
    finally:
        session.family.close()
    told = {"request": case.request, "policy": POLICIES[case.suite]}
    tools = toolbox(case.suite)
    return {call.step: origins(call, execution, tools, told=told) for call in made_calls(execution, tools)}


def test_most_values_of_the_gold_have_a_source_and_few_mutated_ones_are_settled():
    labels: Counter[str] = Counter()
    right: Counter[bool] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for task_id, case in tasks().items():
        gold = labelled(case, gold_plan(task_id))
        labels.update(origin.label for found in gold.values() for origin in found)
        right.update(origin.settled for found in gold.values() for origin in found)
        for mutant in mutants(gold_plan(task_id), initial_world(case), each=2):
            if mutant.step is not None:
                before = {(origin.path, str(origin.value)) for origin in gold[mutant.step]}
                found = labelled(case, mutant.trajectory)[mutant.step]
                changed = [origin for origin in found if (origin.path, str(origin.value)) not in before]
                assert changed, mutant.change
                passes = "open" if open_values(changed) else "/".join(sorted({origin.label for origin in changed}))
                wrong[mutant.kind, passes] += 1
    sourced = labels["asked"] + labels["read"] + labels["worked out"]
    assert sourced >= 0.74 * labels.total() and right[True] >= 0.45 * right.total(), (labels, right)
    # What is left is told in another role: the one who acts, another user or page that the request names.
    assert wrong["wrong amount", "open"] == sum(count for (kind, _), count in wrong.items() if kind == "wrong amount")
    assert sum(count for (_, passes), count in wrong.items() if passes not in ("open", "asked")) <= 2, wrong
    assert sum(count for (_, passes), count in wrong.items() if passes != "open") <= 0.12 * wrong.total(), wrong
