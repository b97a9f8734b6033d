"""ConfidenceGate: what a model is not sure of is not run; it wraps any refiner."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import dspy

from pivot_dspy.confidence import Confidence, Source, lowest, read_stated, read_tokens, step_confidences
from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import Gate, call
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.flow import Flow, run_async, run_sync
from pivot_dspy.phases.base import STEP_BASICS, STEP_FORM
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.state import check_range, check_real, check_state
from pivot_dspy.trajectory import Trajectory

logger = logging.getLogger(__name__)

STATED_FORM = """\
"confidence": 0.9 beside args says how likely it is, from 0 to 1, that the step is right as it is written (0.5: as \
likely wrong). Write it with every step that you write out."""


class Threshold(Parameter):  # type: ignore[misc]
    """The confidence below which a step is not run: given, or calibrated; part of the saved state."""

    def __init__(self, value: float | None = None) -> None:
        self._given = value
        self.reset()

    def reset(self) -> None:
        """Back to what was given."""
        self.value = self._given
        self.source: Source | None = None

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {"value": self.value, "source": self.source}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.value, self.source = state["value"], state["source"]


class Confident(dspy.Predict):  # type: ignore[misc]
    """A predictor whose answer's `steps`, or one `step`, carry their `Confidence`: of their tokens, else as stated."""

    top_k = 20
    window = 64

    @staticmethod
    def field(signature: type[dspy.Signature]) -> str | None:
        """The output field that holds what is rated; None where a phase writes no steps."""
        fields = signature.output_fields
        return next((name for name in ("steps", "step") if name in fields and fields[name].annotation is not str), None)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        return self._rate(super().forward(**inputs))

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return self._rate(await super().aforward(**inputs))

    def _rate(self, answer: dspy.Prediction) -> dspy.Prediction:
        field = self.field(self.signature)
        is_list = isinstance(answer[field], list)
        steps = answer[field] if is_list else [answer[field]]
        by_tokens = self._of_tokens(steps, answer.get("logprobs"))
        rated = [
            {**step, "confidence": sure or read_stated(step.get("confidence"))} if isinstance(step, Mapping) else step
            for step, sure in zip(steps, by_tokens, strict=True)
        ]
        # A new prediction, since DSPy's trace keeps the answer as it was.
        return dspy.Prediction(**{**answer, field: rated if is_list else rated[0]})

    def _of_tokens(self, steps: list[Any], logprobs: Any) -> list[Confidence | None]:
        try:
            tokens = read_tokens(logprobs)
            if not tokens:
                return [None] * len(steps)
            values = step_confidences(steps, tokens, top_k=self.top_k, window=self.window)
        except ValueError as error:
            raise ConfigurationError(
                f"the log-probabilities tell no confidence ({error}); ask for alternatives: "
                f"dspy.LM(..., logprobs=True, top_logprobs={self.top_k})"
            ) from error
        return [Confidence(value=round(value, 6), source="tokens") for value in values]


class ConfidenceGate(dspy.Module):  # type: ignore[misc]
    """Wraps a refiner; a trajectory is stopped, before it is run, at its first step of too low a confidence.

    Source: DeepConf (arXiv 2508.15260), which stops a trace of reasoning as soon as the mean confidence of its latest
    tokens falls below a percentile of what 16 warm-up traces fell to, and lets the survivors vote by their confidence.
    Here every trajectory that the wrapped refiner gets from its model is looked at. A step below the threshold, and all
    that come after it, are not run: a discrepancy of the kind `low_confidence` and an event `gate` say so. What is
    saved is tool calls, and the rewriting of hopeless candidates. So a refiner that samples goes on to its next sample,
    and one that rewrites does so from there; a step that the model lets stand when it rewrites is run. Where all are
    stopped, the least bad is returned, unverified. The vote is `MajorityOfN(..., weighted=True)`.

    Ours departs from the source in that a trajectory is written before it is stopped, so that no tokens are saved; in
    that the threshold is calibrated once, on tasks of the same kind, not on each task anew by 16 traces of its own,
    which no budget for agents pays for; and in that where the model gives no log-probabilities, it is asked to state
    its confidence in each step: the gate's own copy of the refiner has prompts that say so.

    Args:
        refiner: what is wrapped; it is copied.
        threshold: the lowest confidence at which a step still runs. None: `calibrate` finds it, and until then a call
            is refused.
        top_k: log-probabilities that count at each token.
        window: tokens over which their confidence is averaged: about one step, as the 2,048 of the source are a passage
            of its long traces.
        percentile: of the warm-up traces' scores; it becomes the threshold. 10 is the source's cautious setting.
        warmup: traces that `calibrate` takes.
        stated: whether the model is asked to state its confidence. No need for it where the model gives
            log-probabilities, `dspy.LM(..., logprobs=True, top_logprobs=20)`: they count before what is stated.

    A call takes what the refiner takes, and returns what it returns.

    Raises:
        ConfigurationError: an argument cannot work, or a call comes before there is a threshold.
        PlanningFailed: as the refiner.

    >>> from pivot_dspy import MajorityOfN
    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> ConfidenceGate(MajorityOfN("question -> answer: int", tools=[double], effects="read"), 0.5).threshold
    0.5
    """

    def __init__(
        self,
        refiner: Refiner,
        threshold: float | None = None,
        *,
        top_k: int = 20,
        window: int = 64,
        percentile: float = 10,
        warmup: int = 16,
        stated: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(refiner, Refiner):
            raise ConfigurationError(f"ConfidenceGate wraps a refiner such as MajorityOfN(...), not {refiner!r:.80}")
        check_real(0, threshold=0 if threshold is None else threshold)
        check_real(0, 100, percentile=percentile)
        check_range(1, window=window, warmup=warmup)
        check_range(2, top_k=top_k)
        self.top_k, self.window = top_k, window
        self.percentile, self.warmup = percentile, warmup
        self.calibrated = Threshold(threshold)
        self.refiner = refiner.deepcopy()
        for _, module in [*self.refiner.named_sub_modules(dspy.Module)]:
            for name, part in vars(module).items():
                if isinstance(part, dspy.Predict) and Confident.field(part.signature):
                    setattr(module, name, self._confident(part, stated))

    @property
    def threshold(self) -> float | None:
        """The confidence below which a step is not run, None before it is known."""
        return self.calibrated.value

    def forward(self, **inputs: Any) -> Refined:
        """As a call of the wrapped refiner."""
        result: Refined = self.refiner(_gate=self._gate(), **inputs)
        return result

    async def aforward(self, **inputs: Any) -> Refined:
        """As `forward`, awaited."""
        result: Refined = await self.refiner.acall(_gate=self._gate(), **inputs)
        return result

    def calibrate(self, tasks: Iterable[dspy.Example | Mapping[str, Any]]) -> float:
        """Sets the threshold by running the wrapped refiner on tasks, ungated, until it has planned `warmup` traces.

        Returns:
            The threshold: the percentile of the traces' lowest confidences.

        Raises:
            ConfigurationError: the tasks gave fewer traces with a confidence.
        """
        return run_sync(self._calibrate(tasks))

    async def acalibrate(self, tasks: Iterable[dspy.Example | Mapping[str, Any]]) -> float:
        """As `calibrate`, awaited."""
        return await run_async(self._calibrate(tasks))

    def _calibrate(self, tasks: Iterable[dspy.Example | Mapping[str, Any]]) -> Flow[float]:
        import numpy  # slow to load, and not needed for a call

        traces: list[Confidence] = []

        def listen(trajectory: Trajectory, emit: Callable[[events.Event], None]) -> Trajectory:
            score = lowest(step.confidence for step in trajectory.steps)
            if trajectory.parent is None and score is not None:  # a plan, and no rewrite of one
                traces.append(score)
            return trajectory

        for task in tasks:
            if len(traces) >= self.warmup:
                break
            inputs = dict(task.inputs()) if isinstance(task, dspy.Example) else dict(task)
            try:
                yield from call(self.refiner, _gate=listen, **inputs)
            except PlanningFailed as failure:
                logger.warning("no trace of a task for calibration: %s", failure)
        traces = traces[: self.warmup]
        if len(traces) < self.warmup:
            raise ConfigurationError(
                f"calibration found {len(traces)} traces with a confidence, and takes {self.warmup}; pass more tasks, "
                "or a smaller warmup=, and stated=True for a model without log-probabilities"
            )
        threshold = float(numpy.percentile([trace.value for trace in traces], self.percentile))
        self.calibrated.value, self.calibrated.source = threshold, traces[0].source
        return threshold

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """As of the refiner that it wraps."""
        check_state(self, state)
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    def _gate(self) -> Gate:
        if self.calibrated.value is None:
            raise ConfigurationError(
                "the gate has no threshold yet; call calibrate(tasks), load a calibrated state, or pass threshold="
            )
        return partial(_look, self.calibrated.value, self.calibrated.source)

    def _confident(self, predict: dspy.Predict, stated: bool) -> Confident:
        made = Confident(_asking(predict.signature) if stated else predict.signature)
        made.__dict__.update({**vars(predict), "signature": made.signature, "top_k": self.top_k, "window": self.window})
        return made


def _asking(signature: type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature with a confidence asked for, where the form of a step is told."""
    instructions: str = signature.instructions
    form = next((form for form in (STEP_FORM, STEP_BASICS) if form in instructions), instructions)
    asking: type[dspy.Signature] = signature.with_instructions(instructions.replace(form, f"{form}\n{STATED_FORM}", 1))
    return asking


def _look(
    threshold: float, source: Source | None, trajectory: Trajectory, emit: Callable[[events.Event], None]
) -> Trajectory:
    """The trajectory with its doubtful steps marked, but for those that the model let stand when told of the doubt."""
    steps, notes = [], []
    for step in trajectory.steps:
        sure = step.confidence
        if step.stopped:
            step = step.model_copy(update={"stopped": None, "confidence": None})
            notes.append(f"step {step.id} stands, and runs")
        elif sure is not None and source not in (None, sure.source):
            raise ConfigurationError(
                f"the threshold was calibrated on confidences that are {_KINDS[source]}, and those of this model are "
                f"{_KINDS[sure.source]}; calibrate again"
            )
        elif sure is not None and sure.value < threshold:
            doubt = f"a confidence of {sure.value:.3g}, below {threshold:.3g}"
            step = step.model_copy(update={"stopped": f"not run: {doubt}; keep it if it is right after all"})
            notes.append(f"step {step.id} has {doubt}")
        steps.append(step)
    if notes:
        trajectory = trajectory.model_copy(update={"steps": tuple(steps)})
        emit(events.GateEvent(trajectory=trajectory, message="; ".join(notes)))
    return trajectory


_KINDS: dict[str | None, str] = {"stated": "stated by the model", "tokens": "of its log-probabilities"}
