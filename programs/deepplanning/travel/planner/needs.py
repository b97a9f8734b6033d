"""What each day of a trip needs, as the policy says."""

from __future__ import annotations

from typing import NamedTuple

from programs.deepplanning.travel.atlas import Trip
from programs.deepplanning.travel.clock import DAY, read_clock
from programs.deepplanning.travel.frame import Frame

FULL_DAY = 4 * 60
"""Minutes of visits, with the roads to and from them, that do instead of two visits."""
BETWEEN_MEALS = 2 * 60


class Need(NamedTuple):
    """Numbers of meals and visits."""

    least_meals: int
    most_meals: int
    visits: int


def needs(frame: Frame, out: Trip, back: Trip) -> list[Need]:
    """What each day needs; nobody has more than two meals."""
    arrives = (read_clock(out["arr"]) or 0) % DAY
    leaves = read_clock(back["dep"]) or 0
    if arrives < 10 * 60:
        first = Need(2, 2, 1)
    elif arrives < 15 * 60:
        first = Need(1, 2, int(arrives < 12 * 60))
    else:
        first = Need(0, 1, 0)
    if leaves < 9 * 60:
        last = Need(0, 0, 0)
    elif leaves < 15 * 60:
        last = Need(0, 1, 0)
    else:
        last = Need(1, 2, int(leaves > 16 * 60))
    return [first, *([Need(2, 2, 2)] * (frame.days - 2)), last]
