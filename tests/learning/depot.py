"""A depot whose parts, owners and requests are full of marked values, for tests of what may be kept of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dspy

from pivot_dspy import Pivot, Refined, Trajectory
from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.phases.written_steps import read_steps
from tests.scripted import rewrite, scripted, step, submit

SIGNATURE = dspy.Signature("request -> part, message", "Reserve the part that is asked for.")
VOCABULARY = "where: [field, op, value]; a value may be $owner.team."


class Depot(Environment):
    """Parts with a kind, a site and a team; a reservation is for the parts of one owner."""

    vocabulary = VOCABULARY
    orientation = ("owner",)

    def __init__(self, parts: Sequence[dict[str, Any]], owner: dict[str, Any]) -> None:
        self.parts = list(parts)
        self.record = owner
        self.reserved: list[str] = []

    @tool(effect="read")
    def owner(self) -> dict[str, Any]:
        """Who asks."""
        return self.record

    @tool(effect="read")
    def find(self, kind: str) -> dict[str, list[str]]:
        """Ids of the parts of a kind."""
        return {"ids": [part["id"] for part in self.parts if part["kind"] == kind]}

    @tool(effect="read")
    def details(self, ids: list[str]) -> list[dict[str, Any]]:
        """The records of the parts."""
        return [part for part in self.parts if part["id"] in ids]

    @tool(effect="write")
    def reserve(self, part_id: str, priority: str = "low") -> dict[str, Any]:
        """Reserve a part."""
        if part_id not in [part["id"] for part in self.parts]:
            raise LookupError(f"no part is called {part_id!r}; there are {[part['id'] for part in self.parts]}")
        self.reserved.append(part_id)
        return {"part": part_id, "priority": priority}

    @check
    def every(self, where: list[list[Any]]) -> CheckResult:
        """All reserved parts meet `where`."""
        for field, op, value in where:
            wanted = self.record[value.removeprefix("$owner.")] if str(value).startswith("$owner.") else value
            if op != "==":
                raise ValueError(f"only ==, not {op}")
            for part in self.parts:
                if part["id"] in self.reserved and part.get(field) != wanted:
                    return CheckResult(False, f"{part['id']} has {field} {part.get(field)}")
        return CheckResult(True, "all do")

    @check
    def count(self, number: int) -> CheckResult:
        """So many parts are reserved."""
        return CheckResult(len(self.reserved) == number, f"{len(self.reserved)} reserved")


def part(name: str, kind: str, site: str = "yard", team: str = "north", price: float = 5.0) -> dict[str, Any]:
    return {"id": name, "kind": kind, "site": site, "team": team, "price": price}


def task(request: str, **gold: Any) -> dspy.Example:
    return dspy.Example(request=request, **gold).with_inputs("request")


def bound(kind: str) -> list[dict[str, Any]]:
    """A plan that binds what it takes."""
    return [
        step("a", "find", kind=kind),
        step("b", "details", ids="$a.ids"),
        step("c", "reserve", part_id="min_by($b, &price).id"),
        submit(part="$c.part", message="join(' ', ['Reserved', $c.part])"),
    ]


def asked(kind: str, number: int = 1) -> list[dict[str, Any]]:
    return [
        {"id": "R1", "check": "every", "args": {"where": [["kind", "==", kind]]}},
        {"id": "R2", "check": "count", "args": {"number": number}},
    ]


def refined(
    depot: Any,
    request: str,
    kind: str,
    steps: Sequence[dict[str, Any]],
    repairs: Sequence[Sequence[dict[str, Any]]] = (),
    number: int = 1,
) -> Refined:
    """What Pivot makes of a plan and of the rewrites that a script gives for it."""
    pivot = Pivot(SIGNATURE, depot)
    trajectory = Trajectory(steps=tuple(read_steps(list(steps))), operator="plan")
    found = [{key: value for key, value in one.items() if key != "id"} for one in asked(kind, number)]
    lm = scripted(evolve=[rewrite(list(one)) for one in repairs], settle={"requirements": []}, audit={"changes": []})
    with dspy.context(lm=lm):
        result: Refined = pivot(request=request, trajectory=trajectory, requirements=found)
    return result


def said(*entries: Any) -> str:
    """Everything that entries hold, as it is saved."""
    return json.dumps([one.model_dump(mode="json") for one in entries], ensure_ascii=False)
