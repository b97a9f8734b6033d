"""Whether a candidate takes the place of the incumbent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pivot_dspy.acceptance import Acceptance
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.errors import ConfigurationError, error_text


def accepts(
    acceptance: Acceptance, incumbent: Candidate, candidate: Candidate, ties: str, extensions: bool,
    warn: Callable[[str], None],
) -> bool:  # fmt: skip
    """Whether the candidate is accepted; never with a larger loss, whatever the acceptance says.

    Args:
        ties: with `first`, an equal loss does not win with as many steps.
        extensions: whether one that goes on after all the incumbent's steps wins with an equal loss.
        warn: told where the acceptance fails, without whose word nothing is replaced.

    Raises:
        ConfigurationError: the acceptance gives something else than a bool.
    """
    if not candidate.loss.no_worse_than(incumbent.loss):
        return False
    if not candidate.loss.better_than(incumbent.loss):
        if extensions and candidate.extends(incumbent):
            return True
        if ties == "first" and len(candidate.trajectory) == len(incumbent.trajectory):
            return False
    try:
        answer: Any = acceptance.accepts(candidate, incumbent)
    except Exception as error:  # the user's own
        warn(f"the acceptance failed: {error_text(error)}")
        return False
    if not isinstance(answer, bool):
        name = type(acceptance).__name__
        raise ConfigurationError(f"{name}.accepts returns a bool, not {answer!r:.80}; does it lack a `return`?")
    return answer
