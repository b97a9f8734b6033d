"""What a refiner returns: a `dspy.Prediction` that can also be made real."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dspy

from pivot_dspy.confidence import lowest
from pivot_dspy.episode.commit import Committer
from pivot_dspy.episode.final_state import EnvironmentView
from pivot_dspy.errors import CommitError
from pivot_dspy.flow import Flow, run_async, run_sync
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import Execution, Trajectory
from pivot_dspy.verdict import Verdict

RESERVED = (
    "trajectory", "execution", "loss", "verdict", "verified", "tier", "requirements", "findings", "history", "ledger",
    "failures", "exhausted", "retrieved", "probability", "committed", "commit", "acommit", "resume_commit",
    "aresume_commit",
)  # fmt: skip
"""Fields and methods that a refiner adds to the signature's outputs."""
OWN = "pivot_"
"""What the name of such a field begins with where an output of the signature has it."""


class Refined(dspy.Prediction):  # type: ignore[misc]
    """The signature's outputs with what is known of how they were reached; an output that was not reached is None.

    Where an output has the name of one of the attributes below, it keeps it, and the attribute is `pivot_NAME`; one
    that is called `commit` is `result["commit"]`, beside the method.

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
        committed: the `Execution` in the real environment, once committed, or as far as a commit that failed got, which
            is None where it was rolled back. After a commit the outputs are those of this one.
    """

    def __repr__(self) -> str:
        own, facts = by_own_names(self), {_key(name, self) for name in RESERVED if name not in dir(Refined)}
        outputs = ", ".join(f"{name}={value!r}" for name, value in self.items() if name not in facts)
        return f"Refined({outputs}; {own.verdict.status}, loss {own.loss.total:.3f}, {len(own.trajectory)} steps)"

    __str__ = __repr__

    @property
    def environment(self) -> EnvironmentView | None:
        """The environment as the trial of the trajectory left it, to be read; None in what was pickled."""
        view: EnvironmentView | None = self.__dict__.get("_final_state")
        return view

    def toDict(self) -> dict[str, Any]:  # DSPy's name for it
        """All of it as plain JSON data, as `dspy.Evaluate(save_as_json=)` writes it.

        What has no JSON form, such as a requirement's own Python function, stands as its text.
        """
        return {name: plain(value, fallback=_text) for name, value in self.items()}

    def commit(self, allow: str | Iterable[str] | None = None) -> Execution:
        """Run the trajectory once in the real environment, irreversible steps included.

        A verified result runs as it is. A `provisional` one runs only with the calls that could not be tried before
        (`verdict.pending`) allowed by name; after each of them the executable requirements are looked at in the real
        world, and all hard ones must hold in the end. No call is made with other arguments than were verified.

        Where the environment offers a `transaction`, all of it is done or nothing, irreversible calls aside.

        Args:
            allow: `"all"`, or the steps of the calls that wait for commit and may run; the others stay withheld.

        Raises:
            CommitError: it was not verified, was committed before, or a step departed from what was verified; the
                error names the step, carries all that was observed, and steps after it were not run.
        """
        return run_sync(self._commit(allow))

    async def acommit(self, allow: str | Iterable[str] | None = None) -> Execution:
        """`commit`, awaited."""
        return await run_async(self._commit(allow))

    def resume_commit(self, repeat: str | None = None) -> Execution:
        """Go on with a commit that failed, from the step at which it did, once the cause is gone.

        What changed something is not run again; what departed and departs again is refused again. What was rolled back
        starts from the first step.

        Args:
            repeat: a step whose last call may or may not have been made (it took too long, say), and that you found to
                have done nothing. Where its tool declares an `idempotency_key`, it is called again without this. After
                a commit of which nobody knows whether it was rolled back, `"all"` says that you found nothing done.

        Raises:
            CommitError: as `commit`, or there is no commit that failed.
        """
        return run_sync(self._resume_commit(repeat))

    async def aresume_commit(self, repeat: str | None = None) -> Execution:
        """`resume_commit`, awaited."""
        return await run_async(self._resume_commit(repeat))

    def _commit(self, allow: str | Iterable[str] | None = None) -> Flow[Execution]:
        return self._make_real(lambda committer: committer.commit(allow))

    def _resume_commit(self, repeat: str | None) -> Flow[Execution]:
        return self._make_real(lambda committer: committer.resume(repeat))

    def _make_real(self, begin: Callable[[Committer], Flow[Execution]]) -> Flow[Execution]:
        committer: Committer | None = getattr(self, "_committer", None)
        if committer is None:
            raise CommitError("a copy of a result cannot be committed; commit what the refiner returned", self)
        try:
            execution = yield from begin(committer)
            for name in execution.outputs.keys() & dict(self.items()).keys():
                self[name] = execution.outputs[name]  # an id of what was made is another one in the real world
            return execution
        except CommitError as error:
            error.result = self
            raise
        finally:
            if committer.execution is not None:
                self[_key("committed", self)] = committer.execution


def by_own_names(result: Any) -> Any:
    """A result with all that a refiner adds under its usual name; the same one where no output has such a name."""
    moved = {name: result[f"{OWN}{name}"] for name in RESERVED if f"{OWN}{name}" in result}
    return Refined(**{**dict(result.items()), **moved}) if moved else result


def _key(name: str, outputs: Any) -> str:
    """What a field is called that a refiner adds to these outputs, or to a result that has them."""
    return f"{OWN}{name}" if f"{OWN}{name}" in outputs else name


def _text(value: Any) -> Any:
    """What stands for a value without a JSON form."""
    return value.toDict() if isinstance(value, dspy.Example) else str(value)


def features(result: Refined) -> dict[str, float]:
    """What is known of a result that tells how far it may be trusted, by name.

    `rewrites`: trajectories that the model wrote after the first. `amended`: changes that audits made to requirements.
    `calls`: logarithm of 1 + LM calls, cached ones too; tokens are not told, since a cached call spends none and the
    same result would count as another. `judged`: share of requirements that no check decides, 1 without any.
    `confidence`: of the least certain step, 0 where none was `stated`.
    """
    result = by_own_names(result)
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


def make_refined(
    outputs: Mapping[str, Any],
    *,
    trajectory: Trajectory,
    verdict: Verdict,
    committer: Committer,
    final_state: EnvironmentView | None = None,
    probability: Callable[[Mapping[str, float]], float | None] | None = None,
    **known: Any,
) -> Refined:
    """A `Refined` with every reserved field set; `known` has those that are not arguments of their own.

    Args:
        probability: gives that by the `features`.
    """
    known |= {"trajectory": trajectory, "verdict": verdict, "verified": verdict.verified, "committed": None}
    added = {f"{OWN}{name}" if name in outputs else name: value for name, value in known.items()}
    result = Refined(**outputs, **added)
    chance = probability(features(result)) if probability is not None else None
    result[f"{OWN}probability" if "probability" in outputs else "probability"] = chance
    result._committer = committer
    result._final_state = final_state
    return result
