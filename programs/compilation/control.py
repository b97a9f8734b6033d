"""What a compiled refiner is compared with: the same refiner, its memory filled at random."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import dspy

from pivot_dspy import Refined, Refiner
from pivot_dspy.learning.demonstrations import demonstrate
from pivot_dspy.learning.lessons import lessons_of
from pivot_dspy.memory.records import Entries, Entry, Lesson
from pivot_dspy.optimizer.candidates import borne_out


def at_random(
    student: Refiner,
    like: Entries,
    outcomes: Sequence[tuple[dspy.Example, Refined]],
    environment: str,
    seed: int,
    *,
    judged: bool = False,
) -> Refiner:
    """A copy of `student` with as many demonstrations and lessons as `like` has, drawn from all that results of
    training tasks teach by rule; fewer where there are not as many.

    Args:
        outcomes: training tasks with what `student` returned for them.
        environment: the `environment_name`.
        judged: whether only lessons are drawn that the results which verified bear out.
    """
    rng = random.Random(seed)
    examples = [one for task, result in outcomes if (one := demonstrate(result, task, environment)) is not None]
    lessons: Sequence[Lesson] = [one for task, result in outcomes for one in lessons_of(result, task, environment)]
    if judged:
        lessons = borne_out(lessons, [result.trajectory for _, result in outcomes if result.verified])
    counted = ((examples, like.demonstrations), (lessons, like.lessons))
    drawn = [one for pool, wanted in counted for one in _some(pool, len(wanted), rng)]
    copied = student.deepcopy()
    copied.memory.entries = Entries().add(*drawn)
    return copied


def _some(pool: Iterable[Entry], count: int, rng: random.Random) -> list[Entry]:
    """`count` different entries in random order."""
    different = list({one.id: one for one in pool}.values())
    return rng.sample(different, min(count, len(different)))
