"""How the steps that a model writes are read: what cannot be read becomes a step that says why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pivot_dspy.bindings import ITEM
from pivot_dspy.confidence import Confidence
from pivot_dspy.trajectory import SUBMIT, Step


def read_steps(written: Any, *, base: Mapping[str, Step] | None = None, taken: Sequence[str] = ()) -> list[Step]:
    """The steps that a model wrote. What cannot be read becomes a step with its `problem`; nothing is raised.

    Args:
        base: steps that `{"keep": id}`, or `{"keep": [id, ...]}`, stands for.
        taken: ids that stand before these steps.
    """
    if not isinstance(written, Sequence) or isinstance(written, str):
        written = [written]
    steps: list[Step] = []
    used = set(taken)
    for number, entry in enumerate(_each(written), start=len(used) + 1):
        if _look(entry) is not None:
            continue  # it asks to see something, and does nothing
        if isinstance(entry, Mapping) and entry.get("keep") in taken:
            continue  # it stands before these steps, and so is kept anyway
        step = _read(entry, number, base or {})
        if step.id in used:
            fresh = unused(step.id, used)
            problem = step.problem or f"the id {step.id!r} is already taken by an earlier step"
            step = step.model_copy(update={"id": fresh, "problem": problem})
        used.add(step.id)
        steps.append(step)
    return steps


def read_looks(written: Any) -> tuple[str, ...]:
    """The expressions that a model asks to see the values of, among the steps that it wrote."""
    entries = written if isinstance(written, list) else [written]
    return tuple(expression for entry in entries if (expression := _look(entry)) is not None)


def _look(entry: Any) -> str | None:
    asks = isinstance(entry, Mapping) and "look" in entry and "tool" not in entry
    return str(entry["look"]) if asks else None


def _each(written: Sequence[Any]) -> Iterator[Any]:
    for entry in written:
        kept = entry.get("keep") if isinstance(entry, Mapping) else None
        if isinstance(kept, list):
            yield from ({"keep": name} for name in kept)
        else:
            yield entry


def _read(entry: Any, number: int, base: Mapping[str, Step]) -> Step:
    name = f"s{number}"
    if isinstance(entry, str):
        entry = {"keep": entry}
    if not isinstance(entry, Mapping):
        return Step(id=name, tool="?", problem=f"a step is an object with id, tool and args, not {entry!r:.200}")
    if "keep" in entry:
        kept = base.get(str(entry["keep"]))
        if kept is not None:
            return kept
        names = ", ".join(base) or "none"
        return Step(id=name, tool="?", problem=f"keep names {entry['keep']!r:.60}; the steps to keep are {names}")
    args = entry.get("args", entry.get("arguments"))
    tool = entry.get("tool", entry.get("name"))
    if not isinstance(tool, str) or not tool:
        return Step(id=name, tool="?", problem=f"a step needs the name of its tool: {entry!r:.200}")
    chosen = str(entry.get("id") or (SUBMIT if tool == SUBMIT else name))
    if args == "":  # an empty tag, to an adapter that reads XML
        args = None
    if not isinstance(args, (Mapping, type(None))):
        return Step(id=name, tool=tool, problem=f"args is an object of named arguments, not {args!r:.200}")
    fields: dict[str, Any] = {
        key: entry[key] for key in ("for_each", "expects", "why") if isinstance(entry.get(key), str)
    }
    fields["serves"] = _names(entry.get("serves"))
    if isinstance(entry.get("confidence"), Confidence):  # put there by a gate; without one, nobody asked for it
        fields["confidence"] = entry["confidence"]
    for key in ("for_each", "expects"):
        if entry.get(key) and key not in fields:
            return Step(id=name, tool=tool, problem=f"{key} is an expression in a string, not {entry[key]!r:.200}")
    if fields.get("for_each") == "":  # an empty tag, as above
        del fields["for_each"]
    if chosen.startswith("$"):
        chosen = chosen[1:]
    try:
        return Step(id=chosen, tool=tool, args=dict(args or {}), **fields)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        return Step(id=name, tool=tool, args=dict(args or {}), problem=reason)


def _names(written: Any) -> tuple[str, ...]:
    """One name, or a list of them, as a model writes it; what is none is left out."""
    entries = written if isinstance(written, list) else [written]
    return tuple(entry.lstrip("$") for entry in entries if isinstance(entry, str) and entry)


def unused(name: str, used: Collection[str]) -> str:
    """`name`, or with a number after it, such that it is none of `used`."""
    if name not in used:
        return name
    number = 2
    while f"{name}_{number}" in used or f"{name}_{number}" == ITEM:
        number += 1
    return f"{name}_{number}"
