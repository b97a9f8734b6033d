"""One run of a refiner on one task: its sessions, its ledger, and the moves it can make."""

from __future__ import annotations

import logging

from pivot_dspy.crossover import Parent
from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import ModelFailed, Settling, call, sampled
from pivot_dspy.episode.events import Event
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import ExecutedRun
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import NEW_TOOL, Gradient
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.inspect import Inspection, gradient_by_rule, inspect, parent
from pivot_dspy.phases.verify import Judgement, Verdict
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.trajectory import Trajectory

__all__ = ["Candidate", "Episode", "ModelFailed", "call", "sampled"]

logger = logging.getLogger(__name__)


class Episode(Settling):
    """Everything that belongs to one call of a refiner; nothing of it is kept on the refiner."""

    def measure_again(self, candidate: Candidate) -> Flow[Candidate]:
        """The same run measured by the requirements as they now are."""
        inspection = inspect(candidate.run, self.requirements, self.inputs, weights=self.weights)
        measured = yield from self._judged(Candidate(candidate.run, inspection))
        self.emit(Event(kind="accept", trajectory=measured.trajectory, loss=measured.loss, message="measured again"))
        return measured

    def inspect(self, trajectory: Trajectory, base: Candidate | None = None, *, repeats: int = 1) -> Flow[Candidate]:
        """Execute and measure; the shared prefix with `base` is not run again where the environment forks."""
        worst: Candidate | None = None
        for _ in range(repeats):
            session, start = self._place_for(trajectory, base)
            with self.ledger.phase("inspect"):
                said = yield from call(
                    self.phases.inspect,
                    trajectory=trajectory,
                    session=session,
                    requirements=self.requirements,
                    inputs=self.inputs,
                    outputs=self.outputs,
                    base=start,
                    permit=self.permit,
                    weights=self.weights,
                )
            candidate = Candidate(said.run, said.inspection)
            candidate = yield from self._judged(candidate)
            if worst is None or worst.loss.no_worse_than(candidate.loss):
                worst = candidate
        if worst is None:
            raise ConfigurationError("repeats must be at least 1")
        inspection = worst.inspection
        self.emit(
            Event(kind="inspect", trajectory=trajectory, execution=inspection.execution, loss=inspection.loss)
        )
        return worst

    def gradient(self, incumbent: Candidate, refuted: frozenset[tuple[str | None, str]]) -> Flow[Gradient | None]:
        """The next thing to blame: by rule first; by the model where rules are out of their depth."""
        found = gradient_by_rule(
            incumbent.inspection,
            self.requirements,
            self.root,
            task=" ".join(str(value) for value in self.inputs.values()),
            known=f"{self.catalogue.known} {self.catalogue.policy}",
            refuted=refuted,
        )
        if found is not None and found.kind == "unexplained" and refuted and not self.spent():
            with self.ledger.phase("inspect"):
                try:
                    found = yield from self.phases.inspect.localise(self.shown(incumbent), found, refuted)
                except (LMError, AdapterParseError) as error:
                    self._failed("inspect", error)
        if found is not None:
            self.emit(Event(kind="gradient", gradient=found, trajectory=incumbent.trajectory))
        return found

    def evolve(self, incumbent: Candidate, gradient: Gradient, rollout: int = 0) -> Flow[Trajectory]:
        """A child of the incumbent with a new suffix; a `rollout` above 0 asks for another sample of the same prompt.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        shown = self.shown(incumbent)._replace(catalogue=self._needed(incumbent, gradient))
        said = yield from self.ask(
            "evolve", self.phases.evolve, shown=shown, gradient=gradient, config=sampled(rollout)
        )
        self.emit(Event(kind="evolve", trajectory=said.trajectory, diagnosis=said.diagnosis))
        child: Trajectory = said.trajectory
        return child

    def shown(self, candidate: Candidate) -> RunView:
        """What the phases that improve a candidate are shown of it."""
        return RunView(
            inputs=self.inputs,
            catalogue=self.catalogue,
            execution=candidate.inspection.execution,
            environment=self.root.environment,
            requirements=self.requirements,
            findings=candidate.inspection.findings,
        )

    def parent(self, candidate: Candidate) -> Parent:
        """The candidate as a parent of a crossover, its steps graded by what its run showed."""
        return parent(
            candidate.inspection,
            self.requirements,
            self.toolbox,
            task=" ".join(str(value) for value in self.inputs.values()),
            known=f"{self.catalogue.known} {self.catalogue.policy}",
        )

    def _needed(self, incumbent: Candidate, gradient: Gradient) -> Catalogue:
        """What a repair has to know of the tools: types of those that the plan and the blame name, where it is not a
        tool that is wanting."""
        if gradient.kind in NEW_TOOL or not gradient.questioned:
            return self.catalogue
        said = gradient.to_text()
        by_id = {step.id: step for step in incumbent.trajectory.steps}
        typed = {by_id[name].tool for name in gradient.questioned}
        typed.update(name for name in self.toolbox.tools if name in said)
        reads = incumbent.trajectory.dependencies()
        bound = {by_id[one].tool for name in gradient.questioned for one in reads[name] if one in by_id}
        read = [name for name in self.toolbox.tools if name not in bound]
        tools = catalogue.brief(self.toolbox, self.signature, read=read, typed=typed | bound)
        return self.catalogue.model_copy(update={"tools_brief": tools})

    def compose(self, incumbent: Candidate) -> Flow[Trajectory]:
        """The incumbent with its missing outputs worded from the observations."""
        said = yield from self.ask("compose", self.phases.compose, shown=self.shown(incumbent))
        self.emit(Event(kind="compose", trajectory=said.trajectory))
        composed: Trajectory = said.trajectory
        return composed

    def verify(self, incumbent: Candidate) -> Flow[Verdict]:
        """The verdict on the incumbent, run again from the start in a fresh session."""
        session = None
        if incumbent.loss.perfect:
            session = self.source.reopen(self.root, self.task)
        with self.ledger.phase("verify"):
            said = yield from call(
                self.phases.verify,
                inspection=incumbent.inspection,
                requirements=self.requirements,
                session=session,
                outputs=self.outputs,
                permit=self.permit,
            )
        verdict: Verdict = said.verdict
        self.emit(
            Event(kind="verify", trajectory=incumbent.trajectory, message="; ".join(verdict.reasons) or "verified")
        )
        return verdict

    def _place_for(self, trajectory: Trajectory, base: Candidate | None) -> tuple[Session, ExecutedRun | None]:
        """Where to run `trajectory`, and the run that it may take its first steps over from."""
        start = base.run if base is not None else None
        if self.root.family.tier == "fork":
            place = self.root if base is None else base.run.after(base.trajectory.common_prefix(trajectory))
            try:
                return place.fork(), start
            except Exception as error:  # what only one thread may touch is gone with it, where a call hung
                logger.warning("a session cannot be forked any more (%s); opening a fresh one", error)
                start = None
        return self.source.reopen(self.root, self.task), start

    def _judged(self, candidate: Candidate) -> Flow[Candidate]:
        """Ask the judge where nothing but its word is missing, so that no verdict is paid for in vain."""
        inspection = candidate.inspection
        if not self._needs_judge(inspection) or self.spent():
            return candidate
        with self.ledger.phase("verify"):
            try:
                judgement = yield from self.phases.verify.judge(inspection, self.requirements, self.inputs)
            except (LMError, AdapterParseError) as error:
                self._failed("verify", error)
                return candidate
        return self._with(candidate, judgement)

    def _with(self, candidate: Candidate, judgement: Judgement) -> Candidate:
        judged = inspect(
            candidate.run,
            self.requirements,
            self.inputs,
            judged=judgement.findings,
            cleared=True,
            unsupported=judgement.unsupported,
            weights=self.weights,
        )
        self.emit(Event(kind="judge", trajectory=judged.trajectory, loss=judged.loss))
        return Candidate(candidate.run, judged, judgement)

    def judge_again(self, candidate: Candidate) -> Flow[Candidate]:
        """Further opinions on the requirements that the judge found unmet: a third where the second is another.

        The majority decides on each of them; what was found met is not asked again.
        """
        first = candidate.judgement or Judgement()
        doubted = {finding.requirement for finding in first.findings if not finding.holds}
        opinions = [first.findings]
        for rollout in (1, 2):
            if not doubted or self.spent():
                break
            with self.ledger.phase("verify"):
                try:
                    said = yield from self.phases.verify.judge(
                        candidate.inspection, self.requirements, self.inputs, doubted, sampled(rollout)
                    )
                except (LMError, AdapterParseError) as error:
                    self._failed("verify", error)
                    return candidate
            opinions.append(said.findings)
            doubted = {finding.requirement for finding in said.findings if finding.holds and rollout == 1}
        votes = [{finding.requirement: finding for finding in opinion} for opinion in opinions]
        findings = tuple(votes[2].get(one.requirement, one) if len(votes) > 2 else one for one in first.findings)
        if findings == first.findings:
            return candidate
        return self._with(candidate, first.model_copy(update={"findings": findings}))

    def _needs_judge(self, inspection: Inspection) -> bool:
        execution = inspection.execution
        open_only = all(finding.status != "violated" for finding in inspection.findings)
        if execution.discrepancies or not open_only or execution.trajectory.submit is None or execution.missing_outputs:
            return False
        if inspection.unjudged:
            return True
        executable = any(item.executable for item in self.requirements.items)
        return bool(inspection.claims.written) and (bool(inspection.claims.unsupported) or not executable)
