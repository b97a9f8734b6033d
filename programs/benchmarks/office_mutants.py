"""Single faults put into the gold of AgentDojo's tasks, as an agent makes them: drawn from what its world holds."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pivot_dspy import Step, Trajectory
from programs.office.tools import effect_of

KINDS = ("dropped write", "wrong recipient", "wrong amount", "wrong id", "answer alone")

_ARGUMENTS = {
    "wrong recipient": ("recipients", "participants", "email", "user_email", "recipient", "user", "channel"),
    "wrong amount": ("amount", "start_time", "end_time", "new_start_time", "new_end_time", "start_day", "end_day"),
    "wrong id": ("id", "event_id", "file_id", "email_id", "attachments", "hotel", "restaurant", "company", "url"),
}
"""The arguments that say to whom, how much or when, and which, by the kind of fault that puts another there."""

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}\w{10,}\b")
_TIMES = ("%Y-%m-%d %H:%M", "%Y-%m-%d")
_LATER = (datetime.timedelta(days=1), datetime.timedelta(days=-1), datetime.timedelta(days=7), datetime.timedelta(28))


@dataclass(frozen=True)
class Mutant:
    """A trajectory with one fault."""

    kind: str
    """One of `KINDS`."""
    trajectory: Trajectory
    step: str | None
    """Id of the step that was changed; None where steps are missing."""
    position: int
    """Where it stands, or where the first of the missing ones stood."""
    missing: tuple[Step, ...]
    """The steps that were dropped."""
    change: str
    """What was done, in words."""


def mutants(trajectory: Trajectory, world: Any, each: int = 4) -> Iterator[Mutant]:
    """All mutants of a gold trajectory; the same for the same arguments.

    Args:
        world: the package's model of the world in which the task begins.
        each: how many other values are put in the place of one.
    """
    steps = trajectory.steps
    acting = [position for position, step in enumerate(steps) if not step.is_submit and effect_of(step.tool) != "read"]
    held = world.model_dump(mode="json")
    for position in acting:
        step = steps[position]
        dropped = Trajectory(steps=(*steps[:position], *steps[position + 1 :]))
        yield Mutant("dropped write", dropped, None, position, (step,), f"{step.tool} dropped")
        for kind, names in _ARGUMENTS.items():
            for name in (name for name in names if name in step.args):
                others = _others(name, step.args[name], held)
                for other in others[:: max(1, len(others) // each)][:each]:
                    changed = step.model_copy(update={"args": {**step.args, name: other}})
                    wrong = Trajectory(steps=(*steps[:position], changed, *steps[position + 1 :]))
                    yield Mutant(kind, wrong, step.id, position, (), f"{name} {other!r} instead of {step.args[name]!r}")
    if acting:
        calls = tuple(step for step in steps if not step.is_submit)
        yield Mutant("answer alone", Trajectory(steps=steps[-1:]), None, 0, calls, "nothing is done, though answered")


def _others(name: str, value: Any, held: Mapping[str, Any]) -> list[Any]:
    """Other values that the world holds for an argument; a list differs in one element."""
    if isinstance(value, list):
        return [
            [*value[:place], other, *value[place + 1 :]]
            for place, item in enumerate(value)
            for other in _others("file" if isinstance(item, dict) else "email", item, held)
            if other not in value
        ]
    if isinstance(value, dict):  # an attachment
        return [{**value, "file_id": other} for other in _others("file_id", value.get("file_id"), held)]
    if isinstance(value, str) and (moved := list(_moved(value))):
        return moved
    found: Iterable[Any] = _POOLS[name](held)
    return [other for other in dict.fromkeys(found) if other != value]


def _moved(text: str) -> Iterator[str]:
    """Other times than the one that a text is, in its own form; none where it is no time."""
    for form in _TIMES:
        try:
            time = datetime.datetime.strptime(text, form)
        except ValueError:
            continue
        yield from ((time + later).strftime(form) for later in _LATER)


def _emails(held: Mapping[str, Any]) -> list[str]:
    return _EMAIL.findall(json.dumps(held))


def _recipients(held: Mapping[str, Any]) -> list[str]:
    """Of a message, or of money."""
    return list(held["slack"]["users"]) if "slack" in held else _IBAN.findall(json.dumps(held))


def _amounts(held: Mapping[str, Any]) -> list[float]:
    account = held["bank_account"]
    return [entry["amount"] for entry in (*account["transactions"], *account["scheduled_transactions"])]


_POOLS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Any]]] = {
    "email": _emails,
    "user_email": _emails,
    "recipient": _recipients,
    "user": lambda held: held["slack"]["users"],
    "channel": lambda held: held["slack"]["channels"],
    "amount": _amounts,
    "id": lambda held: [entry["id"] for entry in held["bank_account"]["scheduled_transactions"]],
    "event_id": lambda held: held["calendar"]["events"],
    "file_id": lambda held: held["cloud_drive"]["files"],
    "email_id": lambda held: held["inbox"]["emails"],
    "hotel": lambda held: [hotel["name"] for hotel in held["hotels"]["hotel_list"]],
    "restaurant": lambda held: [restaurant["name"] for restaurant in held["restaurants"]["restaurant_list"]],
    "company": lambda held: [company["name"] for company in held["car_rental"]["company_list"]],
    "url": lambda held: held["web"]["web_content"],
}
"""What the world holds for an argument."""
