"""What a judge is asked of a candidate, where nothing but its word is missing, and where its word is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.episode.asking import PhaseCaller, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.events import JudgeEvent
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.inspect import Inspection, inspect
from pivot_dspy.phases.verify import Judgement, Verify


class Judge:
    """Asks VERIFY's judge for one episode.

    Args:
        caller: for its context and its record.
        verify: the phase whose judge it is.
        view: what it is shown of a candidate.
    """

    def __init__(self, caller: PhaseCaller, verify: Verify, view: Callable[[Candidate], RunView]) -> None:
        self.caller = caller
        self.verify = verify
        self.view = view

    @property
    def context(self) -> TaskContext:
        return self.caller.context

    def again(self, candidate: Candidate) -> Flow[Candidate]:
        """Further opinions on the requirements that the judge found unmet: a third where the second is another.

        The majority decides on each of them; what was found met is not asked again.
        """
        first = candidate.judgement or Judgement()
        doubted = {finding.requirement for finding in first.findings if not finding.holds}
        opinions = [first.findings]
        for rollout in (1, 2):
            if not doubted or self.caller.record.spent():
                break
            judgement = yield from self._ask(candidate, only=doubted, config=sample_config(rollout))
            if judgement is None:
                return candidate
            opinions.append(judgement.findings)
            doubted = {finding.requirement for finding in judgement.findings if finding.holds and rollout == 1}
        votes = [{finding.requirement: finding for finding in opinion} for opinion in opinions]
        findings = tuple(
            votes[2].get(finding.requirement, finding) if len(votes) > 2 else finding for finding in first.findings
        )
        if findings == first.findings:
            return candidate
        return self._with_judgement(candidate, first.model_copy(update={"findings": findings}))

    def if_needed(self, candidate: Candidate) -> Flow[Candidate]:
        """Ask the judge where nothing but its word is missing, so that no verdict is paid for in vain."""
        if not self._needs_judge(candidate.inspection) or self.caller.record.spent():
            return candidate
        judgement = yield from self._ask(candidate)
        return candidate if judgement is None else self._with_judgement(candidate, judgement)

    def _needs_judge(self, inspection: Inspection) -> bool:
        execution = inspection.execution
        violated = any(finding.status == "violated" for finding in inspection.findings)
        if execution.discrepancies or violated or execution.trajectory.submit is None or execution.missing_outputs:
            return False
        if inspection.unjudged:
            return True
        executable = any(item.executable for item in self.context.requirements.items)
        return bool(inspection.claims.written) and (bool(inspection.claims.unsupported) or not executable)

    def _ask(self, candidate: Candidate, **options: Any) -> Flow[Judgement | None]:
        with self.caller.record.ledger.phase("verify"):
            try:
                return (yield from self.verify.judge(self.view(candidate), **options))
            except (LMError, AdapterParseError) as error:
                self.caller.record_failure("verify", error)
                return None

    def measured(self, candidate: Candidate, judgement: Judgement | None) -> Candidate:
        """The candidate by the requirements as they now are and by a judgement, or by none."""
        inspection = inspect(
            candidate.run,
            self.context.requirements,
            self.context.inputs,
            judged=judgement.findings if judgement else (),
            cleared=judgement is not None,
            unsupported=judgement.unsupported if judgement else (),
            weights=self.context.weights,
        )
        return replace(candidate, inspection=inspection, judgement=judgement)

    def _with_judgement(self, candidate: Candidate, judgement: Judgement) -> Candidate:
        judged = self.measured(candidate, judgement)
        self.caller.record.emit(JudgeEvent(trajectory=judged.trajectory, loss=judged.loss))
        return judged
