"""What a refiner returns: a `dspy.Prediction` that can also be made real."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from pivot_dspy.confidence import lowest
from pivot_dspy.departures import Foreseen
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.errors import CommitError
from pivot_dspy.execution import execute
from pivot_dspy.flow import Flow, run_async, run_sync
from pivot_dspy.trajectory import Execution, Observation, Trajectory
from pivot_dspy.verdict import Verdict

RESERVED = (
    "trajectory", "execution", "loss", "verdict", "verified", "tier", "requirements", "findings", "history", "ledger",
    "failures", "exhausted", "retrieved", "probability", "committed", "commit", "acommit",
)
"""Fields and methods that a refiner adds to the signature's outputs."""


class Refined(dspy.Prediction):  # type: ignore[misc]
    """The signature's outputs with what is known of how they were reached; an output that was not reached is None.

    Attributes:
        trajectory: the best `Trajectory`, and `execution` its `Execution` in the safe copy.
        loss: its `Loss`; `verdict` and `verified` say whether it may be called a success.
        tier: how the environment was kept safe.
        requirements: the settled `Requirements` with their amendments; `findings` how each stands.
        history: the events of the run, a tuple of `Event`.
        failures: what the model's side did wrong, a line each: errors, answers that could not be read.
        ledger: the `LedgerReport` of what was spent; `exhausted` names the budget's limit that ended the run.
        retrieved: ids of the memory's entries that the prompts told of, and of those whose fixes were applied.
        probability: that it is right, by the refiner's `calibration`; None where nothing was fitted.
        committed: the `Execution` in the real environment, once committed.
    """

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name}={value!r}" for name, value in self.items() if name not in RESERVED)
        return f"Refined({outputs}; {self.verdict.status}, loss {self.loss.total:.3f}, {len(self.trajectory)} steps)"

    __str__ = __repr__

    def commit(self) -> Execution:
        """Run the verified trajectory once in the real environment, irreversible steps included.

        Raises:
            CommitError: it was not verified, was committed before, or a step departed from what was verified; the
                error's message names the step, and steps after it were not run.
        """
        return run_sync(self._commit())

    async def acommit(self) -> Execution:
        """`commit`, awaited."""
        return await run_async(self._commit())

    def _commit(self) -> Flow[Execution]:
        if not self.verified:
            raise CommitError(f"not verified, so not committed: {'; '.join(self.verdict.reasons) or 'no verdict'}")
        committer: Committer | None = getattr(self, "_committer", None)
        if committer is None:
            raise CommitError("a copy of a result cannot be committed; commit what the refiner returned")
        if not committer.claim():
            raise CommitError("already committed, or tried to; run the refiner again to act again")
        try:
            evidence = [finding.evidence for finding in self.findings]
            execution = yield from committer.run(self.trajectory, self.execution, evidence)
        except CommitError as error:
            error.result = self
            raise
        self["committed"] = execution
        return execution


def features(result: Refined) -> dict[str, float]:
    """What is known of a result that tells how far it may be trusted, by name.

    `rewrites`: trajectories that the model wrote after the first. `amended`: changes that audits made to requirements.
    `calls`: logarithm of 1 + LM calls, cached ones too; tokens are not told, since a cached call spends none and the
    same result would count as another. `judged`: share of requirements that no check decides, 1 without any.
    `confidence`: of the least certain step, 0 where none was `stated`.
    """
    usage = result.ledger.usage
    items = result.requirements.items
    written = sum(1 for event in result.history if event.kind in ("plan", "evolve", "rewrite"))
    sure = lowest(step.confidence for step in result.trajectory.steps)
    return {
        "verified": float(result.verified),
        "loss": result.loss.total,
        "rewrites": float(max(0, written - 1)),
        "amended": float(len(result.requirements.amendments)),
        "calls": math.log1p(usage.lm_calls + usage.cache_hits),
        "steps": float(len(result.trajectory)),
        "judged": len(result.requirements.textual) / len(items) if items else 1.0,
        "stated": float(sure is not None),
        "confidence": 0.0 if sure is None else sure.value,
    }


class Committer:
    """Knows the real environment; runs a trajectory there step by step and stops at the first departure."""

    def __init__(self, source: SessionFactory, task: Any, outputs: Mapping[str, Any]) -> None:
        self.source, self.task, self.outputs = source, task, outputs
        self._unused = threading.Lock()

    def claim(self) -> bool:
        """Whether the caller may go on: true once."""
        return self._unused.acquire(blocking=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Committer:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # what is pickled is a record of a run: it cannot be committed

    def run(self, trajectory: Trajectory, verified: Execution, relied_on: Iterable[str] = ()) -> Flow[Execution]:
        """Run it; `relied_on` has the texts that `Foreseen` takes."""
        session = self.source.open_real(self.task)
        foreseen = Foreseen(verified, session.toolbox, relied_on)
        ran: list[str] = []

        def watch(actual: Observation) -> None:
            ran.append(actual.step)
            expected = verified.by_step[actual.step]
            if expected.status == "withheld":  # it could not be run before; now it must succeed
                problem = None if actual.ok else f"step {actual.step} failed: {_why(actual)}"
            else:
                problem = foreseen.departure(actual)
            if problem:
                raise CommitError(f"{problem}; steps run for real: {', '.join(ran)}; nothing after that was run")

        def approve(step: str, number: int, args: Mapping[str, Any]) -> None:
            if problem := foreseen.refusal(step, number, args):
                made = ", ".join(ran) or "none"
                raise CommitError(f"{problem}; steps run for real: {made}; neither this nor anything after it was run")

        try:
            run = yield from execute(
                trajectory, session, outputs=self.outputs, watch=watch, departs=foreseen.departs, approve=approve
            )
        finally:
            session.family.close()
        return run.execution


def _why(observation: Observation) -> str:
    return observation.fault.message if observation.fault else observation.status


def make_refined(
    outputs: Mapping[str, Any],
    *,
    trajectory: Trajectory,
    verdict: Verdict,
    committer: Committer,
    **known: Any,
) -> Refined:
    """A `Refined` with every reserved field set."""
    result = Refined(
        **outputs, trajectory=trajectory, verdict=verdict, verified=verdict.verified, probability=None, committed=None,
        **known,
    )  # fmt: skip
    result._committer = committer
    return result
