"""A judge that knows the gold: which of a task's requirements in words a run does not meet, by what it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pivot_dspy.requirements import Finding
from programs.office.data import Gold
from programs.office.plan import DONE
from programs.office.wanted import wanted

Call = tuple[str, Mapping[str, Any]]


def judge(gold: Gold, calls: Iterable[Call], answer: Any, *, quotes: bool = False) -> tuple[Finding, ...]:
    """A finding for each requirement of `wanted`. One that asks for a call holds where just that call was made, which
    then serves no other.

    Args:
        calls: all that were made, held ones too.
        quotes: whether an unmet requirement quotes the call that comes nearest to what it asks for, as a judge should;
            otherwise it is only said to be unmet.
    """
    free = [_known(call) for call in calls]
    asked = [_known(call) for call in gold.calls]
    unmet = set()
    for place, call in enumerate(asked):
        if call in free:
            free.remove(call)
        else:
            unmet.add(place)
    found = []
    for item in wanted(gold):
        if item.place is None:
            found.append(Finding(requirement=item.id, status=_status(answer == (gold.answer or DONE))))
        else:
            near = _nearest(asked[item.place], free) if quotes and item.place in unmet else ""
            status = _status(item.place not in unmet)
            found.append(Finding(requirement=item.id, status=status, evidence=near))
    return tuple(found)


def _status(holds: bool) -> Any:
    return "holds" if holds else "violated"


def _known(call: Call) -> Call:
    """The call without what may as well be left out."""
    tool, args = call
    return tool, {key: value for key, value in args.items() if value is not None}


def _nearest(asked: Call, free: Sequence[Call]) -> str:
    """The call of the same tool that has most arguments in common; empty where there is none."""
    tool, args = asked
    rivals = [given for name, given in free if name == tool]
    if not rivals:
        return ""
    return f"{tool} {max(rivals, key=lambda given: sum(given.get(key) == value for key, value in args.items()))}"
