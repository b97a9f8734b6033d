"""Activity Diversity: no restaurant and no attraction twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL
from programs.deepplanning.travel.scoring.submission import Submission


def diverse_meal_options(submission: Submission) -> Iterator[str]:
    """No restaurant twice; names that differ in outer spaces are taken for different ones."""
    return _repeated(submission, MEAL)


def diverse_attraction_options(submission: Submission) -> Iterator[str]:
    """The same for attractions."""
    return _repeated(submission, ATTRACTION)


def _repeated(submission: Submission, kind: str) -> Iterator[str]:
    names = Counter(name for activity in submission.itinerary.of(kind) if (name := activity.details.get("name")))
    return (f"{name} is visited {count} times" for name, count in names.items() if count > 1)
