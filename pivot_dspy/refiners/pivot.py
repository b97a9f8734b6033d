"""Pivot: plan, inspect, evolve from the earliest cause, accept what is no worse, verify."""

from __future__ import annotations

from typing import ClassVar, Literal

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.refiners.base import Refiner, Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.pivot_search import PivotSearch
from pivot_dspy.refiners.state import Tunable, check_range
from pivot_dspy.trajectory import Trajectory


class Pivot(Refiner):
    """Refines the trajectory of tool calls for a task until it is verified. PIVOT, arXiv 2605.11225.

    Drops in where `dspy.ReAct(signature, tools)` stood. The result is a `Refined` prediction: the signature's outputs
    with `trajectory`, `loss`, `verdict`, `verified`, `history`, `ledger` and `commit()`.

    Args:
        candidates: plans to begin with; the best one, or what two of them make together, is refined.
        max_iters: rewrites at most.
        patience: rewrites in a row that were not accepted before giving up.
        restarts: new plans where nothing is left to try on the incumbent, which is then joined with what they do
            better: a start that is badly flawed is beyond repair from its earliest fault on.
        max_looks: how often the model may stop before the answer to read what it asked for, and go on from there; after
            that, it words the answer from what was found.
        audit: when one more call looks for missing or misread requirements, the one failure that no rewrite mends:
            `stuck`, where there is reason to doubt them, and once more before giving up; `always`, before anything is
            rewritten; or `never`.

    The remaining arguments are those of `Refiner`. A call takes the signature's inputs and, by keyword, `trajectory`
    (one to refine instead of planning), `requirements` (more of them for this task), `commit=True` (run it for real
    once verified) and `budget`.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: a call got no plan at all from the model.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> Pivot("question -> answer: int", tools=[double], effects="read").signature.output_fields.keys()
    dict_keys(['answer'])
    """

    candidates = Tunable(1, 2, 3)
    patience = Tunable(2, 3, 5)
    search_type: ClassVar[type[PivotSearch]] = PivotSearch
    """What makes the moves; a subclass of it makes some of them otherwise."""

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        candidates: int = 1,
        max_iters: int = 16,
        patience: int = 3,
        restarts: int = 4,
        max_looks: int = 8,
        audit: Literal["never", "stuck", "always"] = "stuck",
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, candidates=candidates, patience=patience)
        check_range(0, max_iters=max_iters, restarts=restarts, max_looks=max_looks)
        if audit not in ("never", "stuck", "always"):
            raise ConfigurationError(f"audit is 'never', 'stuck' or 'always'; got {audit!r}")
        super().__init__(signature, environment, **options)
        self.candidates = candidates
        self.max_iters = max_iters
        self.patience = patience
        self.restarts = restarts
        self.max_looks = max_looks
        self.audit_when = audit

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        state = self.search_type(self, episode)
        yield from state.begin(start)
        while not state.over:
            yield from state.iterate()
        if state.verdict is None:
            state.verdict = yield from episode.verify(state.incumbent)
        return state.incumbent, state.verdict
