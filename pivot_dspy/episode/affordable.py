"""Whether a budget of tokens pays for what a prompt holds in any case, so that no call is begun in vain."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import scalars


def require_room_for_a_plan(context: TaskContext, record: RunRecord, plan: dspy.Module) -> None:
    """Raises ConfigurationError where the budget cannot pay for one plan."""
    texts = context.catalogue.model_dump(exclude={"tools_brief"}).values()
    least = _least_tokens(context, plan, *texts, context.recalled.text)
    limit = record.budget.tokens
    if limit is not None and limit <= least:
        raise ConfigurationError(
            f"a budget of {limit} tokens does not pay for one plan, whose prompt alone takes about {least}; raise "
            "Budget(tokens=...)"
        )


def affords_rewrite(context: TaskContext, record: RunRecord, evolve: dspy.Module) -> bool:
    """Whether what is left of the budget pays for the part of a rewrite's prompt that is always there."""
    limit = record.budget.tokens
    if record.spent() or limit is None:
        return not record.spent()
    least = _least_tokens(context, evolve, context.catalogue.known)
    used = record.ledger.usage.total_tokens
    if limit - used <= least:
        record.exhaust(f"tokens: {used} of {limit}, and a rewrite takes more than {least}")
    return not record.spent()


def _least_tokens(context: TaskContext, phase: Any, *texts: str) -> int:
    """About how many tokens (characters / 4) the prompt of a phase takes at least: an image is no text."""
    inputs = scalars(list(context.inputs.values()))
    told = [str(value) for value in inputs if isinstance(value, (str, int, float))]
    return sum(map(len, [phase.predict.signature.instructions, *texts, *told])) // 4
