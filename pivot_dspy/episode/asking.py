"""How an episode's moves call their model: booked to the ledger, corrected by what memory knows, and past the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import dspy

from pivot_dspy.deadline import until_deadline
from pivot_dspy.dspy_internals import (
    AdapterParseError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    call_of,
    current_adapter,
)
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.events import Event, FixEvent
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.flow import Await, Flow
from pivot_dspy.lm_errors import remedy
from pivot_dspy.memory.fixes import apply_fixes
from pivot_dspy.phases.base import SPENT, Phase, RunView, called
from pivot_dspy.prompts.adapter import Heard, read_whole
from pivot_dspy.prompts.constrained import ConstrainedAdapter
from pivot_dspy.prompts.plan_schema import PlanSchema
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.trajectory import Trajectory

LASTING = (
    LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedFeatureError, LMUnsupportedModelError
)  # fmt: skip
"""Errors that asking again brings again, whatever is asked."""

Gate = Callable[[Trajectory, Callable[[Event], None]], Trajectory]
"""Looks at what a model proposes before it is run, and gives it back with what may not run marked; may emit events."""


class ModelFailed(Exception):
    """A phase got nothing usable from its model; the cause is the model's or the adapter's error."""


class PhaseCaller:
    """Calls phases for one episode.

    Args:
        context: the task, for what memory knows of it.
        record: where calls, failures and corrections go on record.
        gate: what looks at a model's steps before they run.
        constrained: whether the model is asked for JSON of the plan's schema.
    """

    def __init__(
        self, context: TaskContext, record: RunRecord, gate: Gate | None = None, *, constrained: bool = False
    ) -> None:
        self.context = context
        self.record = record
        self.gate = gate
        self._schema = PlanSchema(context.toolbox, context.outputs) if constrained else None

    def ask(self, phase: str, module: dspy.Module, /, **inputs: Any) -> Flow[dspy.Prediction]:
        """One phase that calls its model, booked to the ledger under `phase`, and given up when the seconds are spent.

        A `trajectory` in its answer has the mistakes corrected that memory knows, and has passed the gate. Steps of a
        run that the phase was shown, as `view`, are left as they are.

        Raises:
            ModelFailed: the model or the adapter failed after DSPy's own retries, or is asked no more in this run.
        """
        if self.record.ended is not None:
            raise ModelFailed(f"{phase}: not asked any more, since {self.record.ended}")
        with self.record.ledger.phase(phase), self.held_to(module):
            try:
                prediction = yield _asked(module, inputs)
            except (LMError, AdapterParseError) as error:
                self.record_failure(phase, error)
                raise ModelFailed(f"{phase}: {self._told(error)}") from error
        self.record.failures_in_a_row = 0
        if isinstance(prediction.get("trajectory"), Trajectory):
            prediction.trajectory = self._apply_fixes(prediction.trajectory, inputs.get("view"))
            if self.gate is not None:
                prediction.trajectory = self.gate(prediction.trajectory, self.record.emit)
        return prediction

    def held_to(self, module: dspy.Module) -> AbstractContextManager[Any]:
        """What holds while a phase is asked: the budget, and the adapter that has it answered by its schema."""
        changes: dict[str, Any] = {SPENT: self.record.spent}
        if self._schema is not None and isinstance(module, Phase):
            changes["adapter"] = ConstrainedAdapter(self._schema, module.asks)
        return dspy.context(**changes)  # type: ignore[no-any-return]

    def _apply_fixes(self, written: Trajectory, view: RunView | None) -> Trajectory:
        """What a model wrote, with the mistakes corrected that memory knows; steps that have been run stay."""
        executed = () if view is None else view.execution.trajectory.steps
        lessons = {lesson.fix: lesson for lesson in self.context.recalled.fixes if lesson.fix is not None}
        corrected, fixes = apply_fixes(written, lessons, executed)
        if fixes:
            used = [lessons[fix] for fix in fixes]
            self.context.note_used(lesson.id for lesson in used)
            message = "; ".join(f"lesson {lesson.id}: {lesson.avoid}" for lesson in used)
            self.record.emit(FixEvent(trajectory=corrected, message=message))
        return corrected

    def record_failure(self, phase: str, error: Exception) -> None:
        """Put the failure of a phase on record. Where asking again would not help, the model is asked no more."""
        self.record.fail(f"{phase}: {self._told(error)}", error, lasting=isinstance(error, LASTING))


    def _told(self, error: Exception) -> str:
        """What an error says, and what may be done about it."""
        advice = remedy(error, constrained=self._schema is not None)
        return f"{_error_text(error)}{f'; {advice}' if advice else ''}"


def call(module: dspy.Module, /, **inputs: Any) -> Flow[dspy.Prediction]:
    """A call of a phase as a DSPy module, which callbacks and tracers are told of."""
    prediction: dspy.Prediction = yield _call(module, inputs)
    return prediction


def _call(module: dspy.Module, inputs: Mapping[str, Any]) -> Await:
    return Await(lambda: call_of(module)(**inputs), lambda: call_of(module, "acall")(**inputs))


def _asked(module: dspy.Module, inputs: Mapping[str, Any]) -> Await:
    """A call of a module that asks its model; what is no phase of ours reads by the adapter that is set."""
    if isinstance(module, Phase):
        return until_deadline(_call(module, inputs))
    heard = Heard()
    return called(module, inputs, read_whole(current_adapter(), heard), heard)


def sample_config(rollout: int) -> Mapping[str, Any] | None:
    """What asks for another sample of a prompt: DSPy's cache gives the first one again without it."""
    return {"rollout_id": rollout, "temperature": 1.0} if rollout else None


def _error_text(error: Exception) -> str:
    return truncate(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
