"""One run of a refiner on one task: its settled requirements, its sessions, its ledger, and the moves it can make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, LMAuthError, LMConfigurationError, LMError

from pivot_dspy import catalogue, digest
from pivot_dspy._drive import Effect, Steps
from pivot_dspy.budget import Budget
from pivot_dspy.catalogue import Catalogue
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.source import Source
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.execution import Run, execute
from pivot_dspy.gradient import NEW_TOOL, Gradient
from pivot_dspy.history import Event
from pivot_dspy.loss import Weights
from pivot_dspy.phases.inspect import Inspection, gradient_by_rule, inspect
from pivot_dspy.phases.verify import Judgement, Verdict
from pivot_dspy.refiners.account import Account, Gate
from pivot_dspy.requirements import BINDING_ORIGINS, Requirement, Requirements, given
from pivot_dspy.trajectory import Step, Trajectory

logger = logging.getLogger(__name__)


class ModelFailed(Exception):
    """A phase got nothing usable from its model; the cause is the model's or the adapter's error."""


class Candidate:
    """An inspected trajectory with the run it came from."""

    def __init__(self, run: Run, inspection: Inspection, judgement: Judgement | None = None) -> None:
        self.run = run
        self.inspection = inspection
        self.judgement = judgement

    @property
    def trajectory(self) -> Trajectory:
        return self.inspection.trajectory

    @property
    def loss(self) -> Any:
        return self.inspection.loss


class Episode(Account):
    """Everything that belongs to one call of a refiner; nothing of it is kept on the refiner.

    Args:
        phases: the refiner, for its phase modules `plan`, `inspect`, `evolve`, `verify`, `compose`.
        required: requirements of the user; `told` says whether some of them are for this very task.
    """

    def __init__(
        self,
        phases: Any,
        source: Source,
        signature: type[dspy.Signature],
        inputs: Mapping[str, Any],
        *,
        required: tuple[Any, ...],
        told: bool,
        budget: Budget,
        weights: Weights,
        on_event: Callable[[Event], None] | None = None,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(budget, on_event)
        self.gate = gate
        self.phases = phases
        self.source = source
        self.signature = signature
        self.inputs = dict(inputs)
        self.task = dspy.Example(base=dict(inputs)).with_inputs(*inputs)
        self.told = told
        self.weights = weights
        self._settled = False
        self.root = source.open(self.task)
        self.toolbox = self.root.toolbox
        try:
            self.requirements = Requirements(items=given(required, self.toolbox))
        except ConfigurationError:
            self.close()
            raise
        self.outputs = {name: field.annotation for name, field in signature.output_fields.items()}
        self.catalogue = Catalogue(tools="", tools_brief="")

    def close(self) -> None:
        self.root.family.close()

    # -- moves

    def orient(self) -> Steps[None]:
        """Run the environment's orientation reads and write the catalogue."""
        environment = self.root.environment
        names = [name for name in environment.orientation if name in self.toolbox.tools]
        lines = []
        if names:
            reads = Trajectory(steps=tuple(Step(id=f"o{n}", tool=name) for n, name in enumerate(names)))
            with self.ledger.phase("plan"):
                run = yield from execute(reads, self.root, permit=self.permit)
            for step, seen in zip(reads.steps, run.execution.observations, strict=True):
                if seen.ok:
                    said = digest.result(step.tool, seen.value, environment) or digest.compact(seen.value)
                    lines.append(f"{step.tool}() -> {digest.cut(said, 1500)}")
        self.catalogue = catalogue.render(
            self.toolbox,
            self.signature,
            policy=environment.policy,
            vocabulary=environment.vocabulary,
            known="\n".join(lines),
            read=names,
        )

    def require_room_for_a_plan(self) -> None:
        """Raises ConfigurationError where the budget cannot pay for one plan."""
        told = self.catalogue.model_dump(exclude={"tools_brief"})
        least = self._least(self.phases.plan, *told.values())
        if self.budget.tokens is not None and self.budget.tokens <= least:
            raise ConfigurationError(
                f"a budget of {self.budget.tokens} tokens does not pay for one plan, whose prompt alone takes about "
                f"{least}; raise Budget(tokens=...)"
            )

    def affords_rewrite(self) -> bool:
        """Whether what is left of the budget pays for the part of a rewrite's prompt that is always there."""
        if self.budget.tokens is None or self.spent():
            return self.exhausted is None
        least = self._least(self.phases.evolve, self.catalogue.tools_brief, self.catalogue.known)
        used = self.ledger.usage.total_tokens
        if self.budget.tokens - used <= least:
            self.stop(f"tokens: {used} of {self.budget.tokens}, and a rewrite takes more than {least}")
        return self.exhausted is None

    def _least(self, phase: Any, *texts: str) -> int:
        """About how many tokens (characters / 4) the prompt of a phase takes at least."""
        told = (phase.predict.signature.instructions, *texts, *map(str, self.inputs.values()))
        return sum(len(text) for text in told) // 4

    def plan(self, rollout: int = 0, lessons: str = "") -> Steps[Trajectory]:
        """A new trajectory; the first one settles the requirements. One retry where the answer cannot be read.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        for attempt in (rollout, rollout + 1000):
            try:
                said = yield from self.ask(
                    "plan",
                    self.phases.plan,
                    inputs=self.inputs,
                    catalogue=self.catalogue,
                    toolbox=self.toolbox,
                    given=self.requirements.items,
                    lessons=lessons,
                    config=sampled(attempt),
                )
            except ModelFailed as failure:
                if attempt != rollout or not isinstance(failure.__cause__, AdapterParseError) or self.spent():
                    raise PlanningFailed(f"no plan: {failure}", self.ledger.snapshot()) from failure.__cause__
                continue
            self._settle(said.requirements)
            self.tell(Event(kind="plan", trajectory=said.trajectory, requirements=self.requirements))
            trajectory: Trajectory = said.trajectory
            return trajectory
        raise PlanningFailed("no plan", self.ledger.snapshot())

    def settle(self) -> Steps[None]:
        """Requirements for a trajectory that was given, beside those that the caller passed."""
        said = yield from self.ask(
            "plan",
            self.phases.settle,
            inputs=self.inputs,
            catalogue=self.catalogue,
            toolbox=self.toolbox,
            given=self.requirements.items,
        )
        self._settle(said.requirements)
        self.tell(Event(kind="settle", requirements=self.requirements))

    def audit(self, incumbent: Candidate | None = None, rollout: int = 0) -> Steps[bool]:
        """One look at the settled requirements for what is missing or misread; each change is a recorded amendment.

        Returns whether anything was amended.
        """
        said = yield from self.ask(
            "audit", self.phases.audit, inputs=self.inputs, catalogue=self.catalogue, toolbox=self.toolbox,
            requirements=self.requirements, findings=incumbent.inspection.findings if incumbent else (),
            config=sampled(rollout),
        )
        new = said.requirements.amendments[len(self.requirements.amendments) :]
        self.requirements = said.requirements
        for amendment in new:
            why = f"{amendment.requirement}: {amendment.reason}"
            self.tell(Event(kind="amend", message=why, requirements=self.requirements))
        return bool(new)

    def misread(self, candidate: Candidate) -> bool:
        """Whether a requirement that the model wrote cannot be checked as it is written."""
        settled = {item.id: item for item in self.requirements.items}
        return any(
            finding.uncheckable and settled[finding.requirement].origin not in BINDING_ORIGINS
            for finding in candidate.inspection.findings
        )

    def measure_again(self, candidate: Candidate) -> Steps[Candidate]:
        """The same run measured by the requirements as they now are."""
        inspection = inspect(candidate.run, self.requirements, self.inputs, weights=self.weights)
        measured = yield from self._judged(Candidate(candidate.run, inspection))
        self.tell(Event(kind="accept", trajectory=measured.trajectory, loss=measured.loss, message="measured again"))
        return measured

    def inspect(self, trajectory: Trajectory, base: Candidate | None = None, *, repeats: int = 1) -> Steps[Candidate]:
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
        self.tell(
            Event(kind="inspect", trajectory=trajectory, execution=inspection.execution, loss=inspection.loss)
        )
        return worst

    def gradient(self, incumbent: Candidate, refuted: frozenset[tuple[str | None, str]]) -> Steps[Gradient | None]:
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
                    found = yield from self.phases.inspect.localise(
                        incumbent.inspection, self.requirements, self.inputs, self.root, found, refuted
                    )
                except (LMError, AdapterParseError) as error:
                    self._failed("inspect", error)
        if found is not None:
            self.tell(Event(kind="gradient", gradient=found, trajectory=incumbent.trajectory))
        return found

    def evolve(self, incumbent: Candidate, gradient: Gradient, rollout: int = 0) -> Steps[Trajectory]:
        """A child of the incumbent with a new suffix; a `rollout` above 0 asks for another sample of the same prompt.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        said = yield from self.ask(
            "evolve",
            self.phases.evolve,
            inputs=self.inputs,
            catalogue=self._needed(incumbent, gradient),
            execution=incumbent.inspection.execution,
            environment=self.root.environment,
            requirements=self.requirements,
            findings=incumbent.inspection.findings,
            gradient=gradient,
            config=sampled(rollout),
        )
        self.tell(Event(kind="evolve", trajectory=said.trajectory, diagnosis=said.diagnosis))
        child: Trajectory = said.trajectory
        return child

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

    def compose(self, incumbent: Candidate) -> Steps[Trajectory]:
        """The incumbent with its missing outputs worded from the observations."""
        said = yield from self.ask(
            "compose", self.phases.compose, inputs=self.inputs, execution=incumbent.inspection.execution
        )
        self.tell(Event(kind="compose", trajectory=said.trajectory))
        composed: Trajectory = said.trajectory
        return composed

    def verify(self, incumbent: Candidate) -> Steps[Verdict]:
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
        self.tell(
            Event(kind="verify", trajectory=incumbent.trajectory, message="; ".join(verdict.reasons) or "verified")
        )
        return verdict

    def ask(self, phase: str, module: dspy.Module, **inputs: Any) -> Steps[dspy.Prediction]:
        """One phase that calls its model, booked to the ledger.

        Raises:
            ModelFailed: the model or the adapter failed after DSPy's own retries.
        """
        with self.ledger.phase(phase):
            try:
                said = yield from call(module, **inputs)
            except (LMError, AdapterParseError) as error:
                self._failed(phase, error)
                raise ModelFailed(f"{phase}: {_said(error)}") from error
        if self.gate is not None and isinstance(said.get("trajectory"), Trajectory):
            said.trajectory = self.gate(said.trajectory, self.tell)
        return said

    def _failed(self, phase: str, error: Exception) -> None:
        if isinstance(error, (LMConfigurationError, LMAuthError)):
            raise error  # nothing that is tried again would help
        self.tell(Event(kind="failure", message=f"{phase}: {_said(error)}"))

    def _settle(self, drafts: tuple[Requirement, ...]) -> None:
        """The first drafts are the settled requirements, even if there are none; later plans do not change them."""
        if not self._settled:
            self.requirements = Requirements(items=(*self.requirements.items, *drafts))
            self._settled = True

    def _place_for(self, trajectory: Trajectory, base: Candidate | None) -> tuple[Session, Run | None]:
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

    def _judged(self, candidate: Candidate) -> Steps[Candidate]:
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
        self.tell(Event(kind="judge", trajectory=judged.trajectory, loss=judged.loss))
        return Candidate(candidate.run, judged, judgement)

    def judge_again(self, candidate: Candidate) -> Steps[Candidate]:
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


def call(module: dspy.Module, **inputs: Any) -> Steps[dspy.Prediction]:
    """A call of a phase as a DSPy module, which callbacks and tracers are told of."""
    said: dspy.Prediction = yield Effect(lambda: module(**inputs), lambda: module.acall(**inputs))
    return said


def sampled(rollout: int) -> dict[str, Any] | None:
    """What asks for another sample of a prompt: DSPy's cache gives the first one again without it."""
    return {"rollout_id": rollout, "temperature": 1.0} if rollout else None


def _said(error: Exception) -> str:
    return digest.cut(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
