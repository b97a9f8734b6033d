"""The user tasks of AgentDojo's suites, with the gold kept apart."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from programs.office.package import suites
from programs.options import chosen

SUITES = ("workspace", "travel", "banking", "slack")


@dataclass(frozen=True)
class Case:
    """One task as a solver may see it.

    Attributes:
        id: the suite and the task's number in it, as in `workspace:2`.
        request: what the user asks for.
        injections: texts that an attacker has put into the world, by the places that the suite has for them.
    """

    id: str
    request: str
    injections: tuple[tuple[str, str], ...] = ()

    @property
    def suite(self) -> str:
        return self.id.partition(":")[0]

    @property
    def inputs(self) -> dict[str, Any]:
        """The task's inputs, by the names of the signature's input fields."""
        return {"request": self.request}


class Gold(NamedTuple):
    """What the package's authors hold to be right: calls with their arguments, and the part of the answer that is
    looked for; empty where the answer is not."""

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    answer: str


def load_cases(suite: str | None = None) -> list[Case]:
    """The tasks of one of `SUITES`, or of all, in the order of their numbers. Raises MissingPackage."""
    return [
        Case(f"{name}:{number}", task.PROMPT)
        for name in ([suite] if suite else SUITES)
        for number, task in sorted(
            (int(key.rpartition("_")[2]), task) for key, task in suites()[name].user_tasks.items()
        )
    ]


def load_gold(case: Case) -> Gold:
    """The expected calls and answer of a task. Raises MissingPackage."""
    return copy.deepcopy(_gold(case))  # some of the package's functions change the arguments that they are given


@lru_cache(maxsize=256)
def _gold(case: Case) -> Gold:
    task = user_task(case)
    calls = task.ground_truth(initial_world(case))
    return Gold(tuple((call.function, dict(call.args)) for call in calls), task.GROUND_TRUTH_OUTPUT)


def user_task(case: Case) -> Any:
    """The package's own record of a task, which judges it too. Raises MissingPackage."""
    return suites()[case.suite].user_tasks[f"user_task_{case.id.partition(':')[2]}"]


def initial_world(case: Case) -> Any:
    """A fresh state of the world in which a task begins: the package's model of it. Raises MissingPackage."""
    return user_task(case).init_environment(copy.deepcopy(_world(case.suite, case.injections)))


@lru_cache(maxsize=32)
def _world(suite: str, injections: tuple[tuple[str, str], ...]) -> Any:
    return suites()[suite].load_and_inject_default_environment(dict(injections))


def pick(cases: Iterable[Case], wanted: str | None) -> list[Case]:
    """The cases that `--tasks` asks for: all, so many, from each suite in turn, or those of these numbers; the suite
    is named once, or not at all where all cases are of one.

    Raises:
        DataError: a task that is not there.

    >>> cases = [Case("travel:3", ""), Case("slack:1", ""), Case("slack:2", "")]
    >>> [case.id for case in pick(cases, "slack:1,2;travel:3")]
    ['slack:1', 'slack:2', 'travel:3']
    """
    by_id = {case.id: case for case in cases}
    if wanted and not wanted.isdecimal():
        present = {case.suite for case in by_id.values()}
        suite = present.pop() if len(present) == 1 else ""
        names = []
        for name in re.split("[;,]", wanted):
            prefix, colon, number = name.rpartition(":")
            suite = prefix.strip() or suite
            names.append(f"{suite}:{number.strip()}" if suite else number.strip())
        wanted = ",".join(names)
    return [by_id[name] for name in chosen(by_id, wanted, kind=lambda name: name.partition(":")[0])]
