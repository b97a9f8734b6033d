"""A log as steps with what each gave: without what failed and was put right, and with the answer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pivot_dspy import bindings
from pivot_dspy.errors import TrajectoryError, cap_text
from pivot_dspy.messages.log import Log, LoggedCall
from pivot_dspy.plain_json import plain

_SHOWN = 200
"""Characters that are told of a try that failed."""


@dataclass(frozen=True)
class LoggedStep:
    """One step of a log, before it is a `Step` and an `Observation`."""

    id: str
    tool: str
    args: dict[str, Any]
    """With what could be taken for a binding escaped."""
    why: str | None = None
    problem: str | None = None
    status: Literal["ok", "error"] = "ok"
    given: dict[str, Any] | None = None
    """The arguments as they were; None where the log does not keep what ran."""
    value: Any = None
    fault: str | None = None
    """Why there is no value."""


def plan(log: Log, output: str | Mapping[str, Any] | None, submit: str) -> list[LoggedStep]:
    """The steps of a log.

    Args:
        output: the output field that the answer is for, or the fields with their values.
        submit: name of the tool that submits.

    Raises:
        TrajectoryError: a call comes after one of `submit` that did not fail, or has no JSON form.
    """
    tries: dict[int, list[LoggedCall]] = defaultdict(list)
    for call in log.calls:
        if call.mended is not None and call.tool != submit:
            tries[call.mended].append(call)
    steps: list[LoggedStep] = []
    submitted = False
    for index, call in enumerate(log.calls):
        submits = call.tool == submit
        if call.mended is not None or (submits and call.failed):
            continue  # the agent was told what was wrong with it, and did it again
        if submitted:
            raise TrajectoryError(f"call {index + 1} of the log comes after submit; cut the log at its first submit")
        steps.append(_step(submit if submits else f"c{index + 1}", call, tries[index], f"call {index + 1}", submits))
        submitted = submits
    if submitted:
        return steps
    if isinstance(output, str):
        output = {output: log.answer} if output and log.answer is not None else None
    if output:
        given = _plain(dict(output), "the answer")
        steps.append(LoggedStep(submit, submit, plain(bindings.literal(given)), given=given, value=given))
    return steps


def _step(step_id: str, call: LoggedCall, tries: list[LoggedCall], place: str, submits: bool) -> LoggedStep:
    given = _plain(call.arguments, f"the arguments of {place}")
    notes = [call.why or ""]
    notes += [f"(tried before with {_shown(other.arguments)}: {other.error[:_SHOWN]})" for other in tries]
    fault = None
    if call.problem and (call.failed or not call.answered):
        fault = call.problem
    elif call.failed:
        fault = call.error
    elif not call.answered and not submits:
        fault = "the log holds no result of this call, so that nobody knows whether it ran"
    return LoggedStep(
        id=step_id,
        tool=call.tool,
        args=plain(bindings.literal(given)),
        why=" ".join(filter(None, notes)) or None,
        problem=call.problem,
        status="ok" if fault is None else "error",
        given=None if call.problem else given,
        value=(given if submits else _plain(call.value, f"the result of {place}")) if fault is None else None,
        fault=None if fault is None else cap_text(fault),
    )


def _shown(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False, default=str)[:_SHOWN]


def _plain(value: Any, what: str) -> Any:
    try:
        return plain(value)
    except ValueError as error:
        raise TrajectoryError(f"{what} have no JSON form: {error}") from error
