"""What the offline model knows of a task. Here that is the gold itself, since no rule reads free requests: without
slips it passes by construction, and its figures compare search strategies and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dspy

from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.steps import render_observations
from pivot_dspy.simulator import Reference, offline_lm
from programs.office.data import Case, load_gold
from programs.office.environment import opened
from programs.office.judge import OUTPUTS
from programs.office.plan import plan
from programs.office.wanted import ANSWER, wanted


def model(cases: Iterable[Case], **options: Any) -> dspy.LM:
    """The offline model that knows `cases`; `options` are those of `pivot_dspy.simulator.offline_lm`."""
    return offline_lm([reference(case) for case in cases], **options)


def reference(case: Case) -> Reference:
    """The reference of a task: its gold calls as steps, and the requirements that they meet.

    A requirement holds, to the simulated judge, where the observations show the call that it asks for; the one on the
    answer, where they show every call that only reads. Raises MissingPackage.
    """
    gold = load_gold(case)
    trajectory, items = plan(gold), wanted(gold)
    shown = _shown(case)
    asked = {item.place: item.id for item in items if item.place is not None}
    calls = [step for step in trajectory.steps if not step.is_submit]
    serves = {step.id: asked.get(place, ANSWER) for place, step in enumerate(calls)}
    reads = [line for step, line in zip(calls, shown, strict=True) if serves[step.id] == ANSWER]
    return Reference(
        match=case.request,
        requirements=[item.draft for item in items],
        steps=[step.model_dump(include={"id", "tool", "args"}) for step in trajectory.steps],
        serves=serves,
        truths={
            **{item.id: shown[item.place] for item in items if item.place is not None},
            ANSWER: reads or shown[-1:],
        },
    )


def _shown(case: Case) -> list[str]:
    """The calls of the gold, as a judge is shown them, whatever their steps are called; not what they gave, which may
    carry the clock."""
    session = SessionFactory(opened(case), timeout=None).open(None)
    try:
        execution = run_sync(execute(plan(load_gold(case)), session, outputs=OUTPUTS)).execution
    finally:
        session.family.close()
    text = f"\n{render_observations(execution, session.environment, ObservationBudget())}"
    steps = [step for step in execution.trajectory.steps if not step.is_submit]
    places = [text.index(f"\n{step.id} {step.tool}") + len(f"\n{step.id} ") for step in steps]
    return [text[place : text.index(" -> ", place)] for place in places]
