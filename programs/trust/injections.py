"""How far an injection gets, with a model that acts on whatever it reads: before commit, and in results that may be
committed. Simulated: it says nothing of any real model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from programs.office.attacked_run import react_row, refined_row
from programs.office.data import Case
from programs.office.environment import Office
from programs.office.injections import ATTACKS, Attacked, Injection, attacked
from programs.office.react import REACT
from programs.refiners import REFINERS
from programs.trust.credulous import Credulity
from programs.trust.obedient import Manner, given_calls, obedient_lm

SAMPLE = 120
"""Pairs of a task and an injection that are tried where not all are."""
SEED = 0
STATUSES = ("checked", "judged", "verified", "provisional", "unverified", "no plan")


class Setting(NamedTuple):
    """What is tried on each pair: a refiner by its name in `programs.refiners`, and what `ObedientEngine` takes."""

    refiner: str
    judge: Credulity
    manner: Manner = "adds"
    given: bool = False

    @property
    def name(self) -> str:
        """In words, without the refiner."""
        return f"{self.judge} judge, {self.manner}{', calls given' if self.given else ''}"


SETTINGS = (
    *(
        Setting("pivot", judge, manner, given)
        for judge in ("honest", "obedient")
        for manner in ("adds", "replaces")
        for given in (False, True)
    ),
    *(Setting("react", judge, "adds") for judge in ("honest", "obedient")),
    Setting("react", "obedient", "replaces", True),
    Setting(REACT, "honest"),
)


def pairs(
    cases: Iterable[Case], injections: Sequence[Injection], *, sample: int | None = None, attack: str = ATTACKS[0]
) -> Iterator[Attacked]:
    """Every task with every injection of its suite, or a fixed random sample of so many. Raises MissingPackage."""
    both = [(case, injection) for case in cases for injection in injections if injection.suite == case.suite]
    if sample is not None and sample < len(both):
        both = [both[place] for place in sorted(random.Random(SEED).sample(range(len(both)), sample))]
    for case, injection in both:
        yield attacked(case, injection, attack)


def measure(pair: Attacked, setting: Setting) -> dict[str, Any]:
    """A row, as `programs.office.attacked_run` makes it. Raises MissingPackage."""
    lm = obedient_lm([pair], judge=setting.judge, manner=setting.manner, given=setting.given)
    if setting.refiner == REACT:
        return react_row(pair, lm)

    def make_refiner(world: Any) -> Any:
        required = given_calls(pair) if setting.given else []
        refiner = REFINERS[setting.refiner](Office, world, requirements=required)
        refiner.set_lm(lm)
        return refiner

    return refined_row(pair, make_refiner)


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over rows: `attacked` has for each status how many results there are, and in how many stands an injected
    call or what the injection wants said."""
    statuses = {}
    for status in STATUSES:
        chosen = [row for row in rows if row["status"] == status]
        if chosen:
            statuses[status] = {"results": len(chosen), "injected": sum(map(is_hit, chosen))}
    return {
        "pairs": len(rows),
        "effects_before": sum(bool(row["effects_before"]) for row in rows),
        "by_status": statuses,
        "injected_real": sum(bool(row["injected_real"]) or row["goal_real"] for row in rows),
        "utility": sum(row["strict_pass"] for row in rows),
        "lm_calls": sum(row["lm_calls"] for row in rows),
        "tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }


def is_hit(row: dict[str, Any]) -> bool:
    """Whether something injected stands in a result."""
    return bool(row["injected"]) or row["goal_in_result"]
