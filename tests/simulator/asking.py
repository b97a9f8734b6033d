"""Asks a model what PIVOT's phases ask, through DSPy's own adapters."""

import json
import math
from collections.abc import Iterable
from typing import Any

import dspy

from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.phases.base import ask, with_task
from pivot_dspy.phases.compose import ComposeOutputs
from pivot_dspy.phases.evolve import RewriteSuffix
from pivot_dspy.phases.inspect import LocaliseCause
from pivot_dspy.phases.plan import PlanTrajectory
from pivot_dspy.phases.settle import AuditRequirements, SettleRequirements
from pivot_dspy.phases.verify import JudgeAnswer
from tests.simulator.rooms import STEPS, Book

TOOLS = """\
- list_rooms(day: str) -> [Room]  # Rooms that are free on a day.
- list_floors(day: str) -> [int]  # Floors that are open on a day.
- quote(room_id: str, day: str) -> Quote  # What a room costs on a day.
- book_room(room_id: str, day: str) -> Booking  [write]  # Book a room.
Types:
Room = {id, seats: int, projector: 'yes' | 'no', floor: int}
- submit(room: str, message: str)  # ends the trajectory with the answer"""

ADAPTERS = [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter]
PLAN = with_task(PlanTrajectory, Book, after="user_requirements")
EVOLVE = with_task(RewriteSuffix, Book, after="known")
LOCALISE = with_task(LocaliseCause, Book, after="suspects")
JUDGE = with_task(JudgeAnswer, Book, after="requirements")
SETTLE = with_task(SettleRequirements, Book, after="known")
AUDIT = with_task(AuditRequirements, Book, after="known")
COMPOSE = with_task(ComposeOutputs, Book, after="observations", outputs=True)

OBSERVED = """\
a list_rooms {"day": "2026-03-12"} ->
| 1 record
| {"id": "r3", "seats": 10, "projector": "yes"}
b quote {"room_id": "r3", "day": "2026-03-12"} ->
| {"room_id": "r3", "price": 100.0}
c book_room {"room_id": "r3", "day": "2026-03-12"} ->
| {"room_id": "r3", "day": "2026-03-12"}"""
"""What a prompt shows of a run of the steps."""


class RewriteAll(dspy.Signature):  # type: ignore[misc]
    """The trajectory was run. Write all its steps again, better."""

    tools: str = dspy.InputField()
    open_steps: str = dspy.InputField(desc="one a line: step -> what came of it")
    report: str = dspy.InputField()
    steps: list[dict[str, Any]] = dspy.OutputField()


REWRITE = with_task(RewriteAll, Book, after="tools")


def said(signature: Any, lm: Any, request: str, /, *, config: dict[str, Any] | None = None, **shown: Any) -> Any:
    """The prediction for a prompt with `request` and the sections `shown`; the others are left out, as phases do."""
    with dspy.context(lm=lm):
        return run_sync(_asking(signature, request, config, shown))


async def asaid(signature: Any, lm: Any, request: str, /, **shown: Any) -> Any:
    """`said`, awaited."""
    with dspy.context(lm=lm):
        return await run_async(_asking(signature, request, None, shown))


def _asking(signature: Any, request: str, config: Any, shown: dict[str, Any]) -> Any:
    inputs = dict.fromkeys(signature.input_fields, "")
    if "tools" in inputs:
        inputs["tools"] = TOOLS
    return ask(dspy.Predict(signature), config, **{**inputs, "request": request, **shown})


def lines(steps: Iterable[dict[str, Any]], outcomes: dict[str, str] | None = None) -> str:
    """Steps as `open_steps` shows them."""
    told = outcomes or {}
    return "\n".join(f"{json.dumps(step)} -> {told.get(step['id'], 'ok')}" for step in steps)


def changed(written: Iterable[dict[str, Any]], right: Iterable[dict[str, Any]] = STEPS) -> set[str]:
    """Ids of the steps of `right` that are not in `written` as they should be."""
    found = {step.get("id"): step for step in written}
    return {step["id"] for step in right if found.get(step["id"]) != step}


def within(count: int, tries: int, rate: float) -> bool:
    """Whether a count is within four and a half standard deviations of what a rate gives."""
    return abs(count - tries * rate) <= 4.5 * math.sqrt(tries * rate * (1 - rate)) + 1e-9
