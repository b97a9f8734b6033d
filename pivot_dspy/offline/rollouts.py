"""Which rollout of a prompt a call asks for: engines are not told, and the offline one has to tell them apart."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from dspy.utils.callback import BaseCallback

_ASKED: ContextVar[int | None] = ContextVar("pivot_dspy_offline_rollout", default=None)


class Rollouts(BaseCallback):  # type: ignore[misc]
    """A callback of a `dspy.LM` that keeps the `rollout_id` of the call that is under way."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        given = {**instance.kwargs, **(inputs.get("kwargs") or {})}.get("rollout_id")
        _ASKED.set(given if isinstance(given, int) else None)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        _ASKED.set(None)


def asked() -> int | None:
    """The `rollout_id` of the call that is under way; None where it has none."""
    return _ASKED.get()
