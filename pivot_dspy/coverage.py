"""Which requirement each call that changes something serves: nothing is done that nobody asked for.

By rule, without a model: a requirement that names its call is served by one such call; a requirement that a check or a
test decides is served by a step without which it no longer holds. What is left is for a judge to tell from the request.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pivot_dspy import evaluation
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import PivotError, error_text
from pivot_dspy.evaluation import leaves_of
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Flow
from pivot_dspy.required_calls import MadeCall, assign
from pivot_dspy.requirements import BINDING_ORIGINS, Finding, Requirement, Requirements
from pivot_dspy.supervision import Permit, Supervisor
from pivot_dspy.trajectory import Discrepancy, Execution, Observation, Trajectory

logger = logging.getLogger(__name__)

MOST_STEPS_LEFT_OUT = 12
"""Steps that are tried without, one by one; of further ones a judge has to tell what they serve."""


class CoveredCall(NamedTuple):
    """A call that changes something, and what asks for it."""

    call: MadeCall
    serves: str | None = None
    """Id of the requirement; None where no rule tells one."""
    by: Literal["call", "check"] | None = None
    """How that is known: the requirement names the call, or does not hold without it."""


def by_named_calls(requirements: Requirements, calls: Sequence[MadeCall]) -> tuple[CoveredCall, ...]:
    """Each call with the requirement that names it, if one does; a requirement names one call."""
    asked = {item.id: item.call for item in requirements.items if item.call is not None}
    serves = assign(asked, calls).serves
    return tuple(
        CoveredCall(call, serves.get(index), "call" if index in serves else None) for index, call in enumerate(calls)
    )


def by_waiting_checks(
    covered: Sequence[CoveredCall], requirements: Requirements, findings: Iterable[Finding]
) -> tuple[CoveredCall, ...]:
    """`covered`, with the checks of a person that may hold once a call that waits has run, and that ask about it."""
    pending = {finding.requirement for finding in findings if finding.status == "pending"}
    waits = [item for item in requirements.items if item.id in pending and item.origin in BINDING_ORIGINS]

    def serving(one: CoveredCall) -> CoveredCall:
        asked = (item.id for item in waits if leaves_of(item.args) <= leaves_of(one.call.args))
        serves = next(asked, None) if one.serves is None and one.call.waits else None
        return one if serves is None else one._replace(serves=serves, by="check")

    return tuple(map(serving, covered))


def by_execution(
    covered: Sequence[CoveredCall],
    run: ExecutedRun,
    requirements: Requirements,
    findings: Iterable[Finding],
    *,
    outputs: Mapping[str, Any],
    session_for: Callable[[int], Session],
    permit: Permit,
) -> Flow[tuple[CoveredCall, ...]]:
    """`covered`, with what a check or test says of the calls that no requirement names.

    The run is made again from each of their steps on, as if it had given what it gave and done nothing.

    Args:
        session_for: a session of its own that stands as the environment did after so many steps.
    """
    held = {finding.requirement for finding in findings if finding.holds}
    acting = (item for item in requirements.items if item.executable and item.hard and item.traced)
    decided = tuple(item for item in acting if item.id in held)
    calls = Counter(one.call.step for one in covered)  # of several calls one may be needed, and the rest not
    toolbox = run.session.toolbox
    single = [one for one in covered if one.serves is None and calls[one.call.step] == 1]
    steps = list(dict.fromkeys(one.call.step for one in single if not toolbox.tools[one.call.tool].draft))
    if not decided or len(steps) > MOST_STEPS_LEFT_OUT:
        return tuple(covered)
    serves: dict[str, str] = {}
    for step in steps:
        without = yield from _run_without(step, run, outputs, session_for, permit)
        if without is None or without.reach is not None:
            break  # it cannot be copied, or the budget ended: nothing is known of the rest, which a judge is asked
        missed = yield from _first_violated(decided, leave_out(without.execution, {step}), without.session)
        if missed is not None:
            serves[step] = missed
    return tuple(
        one._replace(serves=serves[one.call.step], by="check")
        if one.serves is None and one.call.step in serves
        else one
        for one in covered
    )


def _run_without(
    step: str, run: ExecutedRun, outputs: Mapping[str, Any], session_for: Callable[[int], Session], permit: Permit
) -> Flow[ExecutedRun | None]:
    """The run made again without what a step did; None where the environment cannot be copied."""
    trajectory = run.execution.trajectory
    position = trajectory.index(step)
    # What it gave stays known to the steps that read it: nothing asks for a call only because its result is used.
    left_out = Supervisor()
    left_out.taken = {step: run.execution.by_step[step]}
    before = ExecutedRun(run.execution, run.session, run.before, reach=position)
    without: ExecutedRun | None = None
    for copies in (False, True):
        try:
            session = session_for(position)
        except PivotError:
            raise
        except Exception as error:  # the environment's own code
            logger.warning("what needs step %s is not tried, for the copy failed: %s", step, error_text(error))
            return None
        without = yield from execute(
            trajectory, session, outputs=outputs, base=before, permit=permit, supervisor=left_out, copies=copies
        )
        # Copies before each change are needed for nothing else than to go on where a call hangs, which few do.
        if without.reach is not None or not any(map(_hung, without.execution.observations[position + 1 :])):
            break
    return without


def _hung(observation: Observation) -> bool:
    return observation.fault is not None and observation.fault.kind == "timeout"


def leave_out(execution: Execution, names: Collection[str]) -> Execution:
    """The execution as if the steps of these ids had not been there."""
    steps = tuple(step for step in execution.trajectory.steps if step.id not in names)
    return execution.model_copy(
        update={
            "trajectory": Trajectory(steps=steps, operator=execution.trajectory.operator),
            "observations": tuple(seen for seen in execution.observations if seen.step not in names),
        }
    )


def _first_violated(items: tuple[Requirement, ...], execution: Execution, session: Session) -> Flow[str | None]:
    findings = yield from evaluation.evaluating(Requirements(items=items), execution, session, tentative=True)
    return next((finding.requirement for finding in findings if finding.status == "violated"), None)


def unasked_call(step: str, message: str) -> Discrepancy:
    """A step that makes a call which nothing asks for."""
    expected = "a call that a requirement names, or that the request asks for"
    return Discrepancy(kind="unasked_call", step=step, message=message, expected=expected)
