"""Records of runs for the tests of a comparison, and refiners that fail in their own ways."""

from __future__ import annotations

from typing import Any

from pivot_dspy import PlanExecute
from pivot_dspy.flow import Flow
from programs.comparison.runs import Record


def record(refiner: str, task: str, seed: int = 0, *, strict: bool = False, tokens: int = 100, **more: Any) -> Record:
    """A run that ended with `strict` after `tokens` tokens, and had no other result before."""
    given: dict[str, Any] = {
        "official": strict,
        "prompt_tokens": tokens - tokens // 4,
        "completion_tokens": tokens // 4,
        "trace": ((tokens, strict, strict),),
    }
    return Record(refiner=refiner, task=task, seed=seed, strict=strict, **(given | more))


class BreaksDown(PlanExecute):
    """Has a result, and then breaks down."""

    def search(self, episode: Any, given: Any) -> Flow[Any]:
        yield from super().search(episode, given)
        raise RuntimeError("no room left in /home/somebody/disk/file.txt")
