"""Which requirement each call that changes something serves: nothing is done that nobody asked for.

By rule, without a model: a requirement that names its call is served by one such call; a requirement that a check or a
test decides is served by a step without which it no longer holds. What is left is for a judge to tell from the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pivot_dspy import requirements as requirement_rules
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import ExecutedRun, Permit, execute
from pivot_dspy.flow import Flow
from pivot_dspy.required_calls import MadeCall, assign
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Discrepancy, Execution, Trajectory

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
    asked = {item.id: item.call for item in requirements.items if item.call is not None and item.traced}
    serves = assign(asked, calls).serves
    return tuple(
        CoveredCall(call, serves.get(index), "call" if index in serves else None) for index, call in enumerate(calls)
    )


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

    The run is made again without each of their steps, from there on. Steps that are bound to its result are called
    with what it gave: a call is not asked for because another one repeats it.

    Args:
        session_for: a session of its own that stands as the environment did after so many steps.
    """
    held = {finding.requirement for finding in findings if finding.holds}
    acting = (item for item in requirements.items if item.executable and item.hard and item.traced)
    decided = tuple(item for item in acting if item.id in held)
    steps = list(dict.fromkeys(one.call.step for one in covered if one.serves is None))
    if not decided or len(steps) > MOST_STEPS_LEFT_OUT:
        return tuple(covered)
    serves: dict[str, str] = {}
    for step in steps:
        position = run.execution.trajectory.index(step)
        rest = _without(step, run.execution)
        if rest is None:
            continue
        session = session_for(position)
        without = yield from execute(rest, session, outputs=outputs, base=run, permit=permit)
        if without.reach is not None:
            break  # the budget ended: nothing is known of the rest
        missed = _first_violated(decided, without.execution, without.session)
        if missed is not None:
            serves[step] = missed
    return tuple(
        one._replace(serves=serves[one.call.step], by="check")
        if one.serves is None and one.call.step in serves
        else one
        for one in covered
    )


def _without(left_out: str, execution: Execution) -> Trajectory | None:
    """The trajectory without a step, whose result stands where it was bound; None where a step repeats over it. The
    answer keeps its bindings: a requirement on what it says does not hold without the call that gives it.
    """
    depends_on, rest = execution.trajectory.dependencies(), []
    for step in execution.trajectory.steps:
        if step.id == left_out:
            continue
        if not step.is_submit and left_out in depends_on[step.id]:
            if step.for_each is not None:
                return None
            step = step.model_copy(update={"args": execution.by_step[step.id].args or step.args})
        rest.append(step)
    return Trajectory(steps=tuple(rest))


def _first_violated(items: tuple[Requirement, ...], execution: Execution, session: Session) -> str | None:
    findings = requirement_rules.evaluate(Requirements(items=items), execution, session, until_violated=True)
    return next((finding.requirement for finding in findings if finding.status == "violated"), None)


def unasked_call(step: str, message: str) -> Discrepancy:
    """A step that makes a call which nothing asks for."""
    expected = "a call that a requirement names, or that the request asks for"
    return Discrepancy(kind="unasked_call", step=step, message=message, expected=expected)
