"""Judges what a run did by the suite's own rule, in the world in which everything was made real."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from pivot_dspy import Execution, Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from programs.office.data import Case, initial_world, load_gold, user_task
from programs.office.environment import Office, OfficeEnvironment, opened
from programs.office.package import call_type

logger = logging.getLogger(__name__)

OUTPUTS = {name: field.annotation for name, field in Office.output_fields.items()}


class Made(NamedTuple):
    """A trajectory that was run with every call made, held ones too."""

    execution: Execution
    environment: OfficeEnvironment


def make_real(case: Case, trajectory: Trajectory) -> Made:
    """The trajectory run in a fresh world of its own, in which nothing is held back. Raises MissingPackage."""
    environment = opened(case)
    session = SessionFactory(environment, timeout=None).open_real(None)
    try:
        return Made(run_sync(execute(trajectory, session, outputs=OUTPUTS)).execution, environment)
    finally:
        session.family.close()


def score(execution: Execution | None, case: Case) -> tuple[bool, bool]:
    """The suite's utility of what was planned, all its calls made, as official and as strict result, which are one
    here. None, for no plan at all, is of none. Raises MissingPackage.
    """
    if execution is None:
        return False, False
    made = make_real(case, execution.trajectory)
    passed = useful(case, execution.outputs.get("answer"), made.environment)
    return passed, passed


def useful(case: Case, answer: Any, environment: OfficeEnvironment) -> bool:
    """The suite's utility of an answer and of the world as it was left. Raises MissingPackage."""
    return _utility(case, str(answer or ""), environment.world, environment.calls)


@cache
def must_act(case: Case) -> bool:
    """Whether the suite asks for more than a text: the gold's answer alone does not pass. Raises MissingPackage."""
    return not _utility(case, load_gold(case).answer, initial_world(case), ())


def traces(calls: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """The calls as the package's judges are told them. Raises MissingPackage."""
    record = call_type()
    return [record(function=name, args=dict(args)) for name, args in calls]


def _utility(case: Case, answer: str, world: Any, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> bool:
    task, trace = user_task(case), traces(calls)
    # The rules of some tasks take from the worlds what they do not compare.
    told = (answer, initial_world(case), copy.deepcopy(world))
    try:
        traced = task.utility_from_traces(*told, trace)
        return bool(task.utility(*told) if traced is None else traced)
    except (LookupError, AttributeError, TypeError, ValueError) as error:  # what the rule looks for is not there
        logger.info("%s: its rule raised %r", case.id, error)
        return False
