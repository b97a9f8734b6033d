"""Which tasks to train on, to validate on, and to test on without ever having trained on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from programs.deepplanning.loader import Case
from programs.options import DataError


class Split(NamedTuple):
    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]

    @property
    def ids(self) -> dict[str, list[str]]:
        """The ids of each part, by its name."""
        return {name: [case.id for case in cases] for name, cases in self._asdict().items()}


def split(cases: Sequence[Case], train: int, val: int, test: int, seed: int) -> Split:
    """Disjoint parts of these sizes by a seeded shuffle, each with the levels in the same shares as all cases.

    Raises:
        DataError: there are too few cases.
    """
    wanted = train + val + test
    if wanted > len(cases):
        raise DataError(
            f"--train {train}, --val {val} and --test {test} need {wanted} tasks, and there are {len(cases)}; ask for "
            "fewer"
        )
    rng = random.Random(seed)
    levels: dict[int, list[Case]] = {}
    for case in rng.sample(sorted(cases, key=_order), len(cases)):
        levels.setdefault(case.level, []).append(case)
    # Each level is spread evenly over the row, so that any piece of the row has its share of it.
    row = [((place + 0.5) / len(level), case) for level in levels.values() for place, case in enumerate(level)]
    row.sort(key=lambda pair: (pair[0], pair[1].level))
    ordered = [case for _, case in row]
    pieces = ordered[:train], ordered[train : train + val], ordered[train + val : wanted]
    return Split(*(tuple(sorted(piece, key=_order)) for piece in pieces))


def _order(case: Case) -> tuple[int, int]:
    return case.level, case.number
