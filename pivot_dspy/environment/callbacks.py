"""DSPy's callbacks for tool calls, told in the thread of the caller: some of them can be heard from nowhere else."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.utils.callback import BaseCallback, with_callbacks

from pivot_dspy._drive import Effect
from pivot_dspy.environment.batch import Batch, Outcome
from pivot_dspy.environment.toolbox import ToolSpec


def listened(spec: ToolSpec) -> bool:
    """Whether a callback in force wants to hear of this tool."""
    callbacks = [*(dspy.settings.get("callbacks") or ()), *(getattr(spec.tool, "callbacks", None) or ())]
    return any(
        getattr(getattr(callback, name, None), "__func__", None) is not getattr(BaseCallback, name)
        for callback in callbacks
        for name in ("on_tool_start", "on_tool_end")
    )


def told(job: Batch, kwargs: dict[str, Any], wait: Effect) -> Effect:
    """`wait` for the one call of `job`, with `on_tool_start` before it and `on_tool_end` after it."""

    def call(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
        wait.call()
        return job.result()

    async def acall(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
        await wait.acall()
        return job.result()

    def outcomes() -> list[Outcome]:
        try:
            with_callbacks(call)(job.spec.as_tool, kwargs)
        except Exception as error:
            if error is not job.error:
                raise
        return job.outcomes

    async def aoutcomes() -> list[Outcome]:
        try:
            await with_callbacks(acall)(job.spec.as_tool, kwargs)
        except Exception as error:
            if error is not job.error:
                raise
        return job.outcomes

    return Effect(outcomes, aoutcomes)
