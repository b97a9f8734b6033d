"""What one run of a refiner works on: the task, the catalogue of tools, its plans, and the settled requirements."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dspy

from pivot_dspy.budget import Budget
from pivot_dspy.dspy_internals import AdapterParseError, LMAuthError, LMConfigurationError, LMError
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.episode.accounting import Gate, RunRecord
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.events import Event
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.execution import execute
from pivot_dspy.flow import Await, Flow
from pivot_dspy.loss import Weights
from pivot_dspy.memory.fixes import Fix, apply_fixes
from pivot_dspy.memory.records import environment_name, task_text
from pivot_dspy.memory.wording import PromptSection, Retrieved
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.settle import PlanningInput
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.prompts.report import environment_summary
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.requirements import BINDING_ORIGINS, Amendment, Requirement, Requirements, normalize_requirements
from pivot_dspy.trajectory import Step, Trajectory


class ModelFailed(Exception):
    """A phase got nothing usable from its model; the cause is the model's or the adapter's error."""


class Settling(RunRecord):
    """The first half of an episode: what a call of a refiner works on, its plans, and what they are measured by.

    Args:
        phases: the refiner, for its phase modules `plan`, `inspect`, `evolve`, `verify`, `compose`, and its memory.
        required: requirements of the user; `told` says whether some of them are for this very task.
    """

    def __init__(
        self,
        phases: Any,
        source: SessionFactory,
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
            self.requirements = Requirements(items=normalize_requirements(required, self.toolbox))
        except ConfigurationError:
            self.close()
            raise
        self.outputs = {name: field.annotation for name, field in signature.output_fields.items()}
        self.catalogue = Catalogue(tools="", tools_brief="")
        self.recalled = Retrieved()
        self.retrieved: tuple[str, ...] = ()

    def close(self) -> None:
        self.root.family.close()

    def orient(self) -> Flow[None]:
        """Run the environment's orientation reads and write the catalogue."""
        environment = self.root.environment
        names = [name for name in environment.orientation if name in self.toolbox.tools]
        lines, read = [], []
        if names:
            reads = Trajectory(steps=tuple(Step(id=f"o{n}", tool=name) for n, name in enumerate(names)))
            with self.ledger.phase("plan"):
                run = yield from execute(reads, self.root, permit=self.permit)
            for step, seen in zip(reads.steps, run.execution.observations, strict=True):
                if seen.ok:
                    said = environment_summary(step.tool, seen.value, environment) or compact_json(seen.value)
                    lines.append(f"{step.tool}() -> {truncate(said, 1500)}")
                    read.append(step.tool)
        self.catalogue = catalogue.render(
            self.toolbox,
            self.signature,
            policy=environment.policy,
            vocabulary=environment.vocabulary,
            known="\n".join(lines),
            read=read,
        )

    def recall(self) -> Flow[None]:
        """Look up in the refiner's memory what earlier tasks have taught, for the prompts of this one."""
        if len(self.phases.memory.entries):
            name = environment_name(self.root.environment)
            told = task_text(self.inputs), name, self.toolbox.tools, self._is_wrong
            look_up = partial(self.phases.memory.retrieve, *told)
            self.recalled = yield Await(look_up, lambda: asyncio.to_thread(look_up))

    def remembering(self, *parts: PromptSection, lessons: str = "") -> str:
        """The parts of what was recalled, then a refiner's own lessons, as a prompt tells them; notes what is told."""
        self.retrieved = tuple(dict.fromkeys((*self.retrieved, *(name for part in parts for name in part.ids))))
        return "\n\n".join(text for text in (*(part.text for part in parts), lessons) if text)

    def require_room_for_a_plan(self) -> None:
        """Raises ConfigurationError where the budget cannot pay for one plan."""
        told = self.catalogue.model_dump(exclude={"tools_brief"})
        least = self._least(self.phases.plan, *told.values(), self.recalled.text)
        if self.budget.tokens is not None and self.budget.tokens <= least:
            raise ConfigurationError(
                f"a budget of {self.budget.tokens} tokens does not pay for one plan, whose prompt alone takes about "
                f"{least}; raise Budget(tokens=...)"
            )

    def affords_rewrite(self) -> bool:
        """Whether what is left of the budget pays for the part of a rewrite's prompt that is always there."""
        if self.spent() or self.budget.tokens is None:
            return self.exhausted is None
        least = self._least(self.phases.evolve, self.catalogue.known)
        used = self.ledger.usage.total_tokens
        if self.budget.tokens - used <= least:
            self.stop(f"tokens: {used} of {self.budget.tokens}, and a rewrite takes more than {least}")
        return self.exhausted is None

    def _least(self, phase: Any, *texts: str) -> int:
        """About how many tokens (characters / 4) the prompt of a phase takes at least."""
        told = (phase.predict.signature.instructions, *texts, *map(str, self.inputs.values()))
        return sum(len(text) for text in told) // 4

    def plan(self, rollout: int = 0, lessons: str = "") -> Flow[Trajectory]:
        """A new trajectory; the first one settles the requirements. One retry where the answer cannot be read.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        briefing = self.briefing(self.remembering(self.recalled.requirements, self.recalled.advice, lessons=lessons))
        for attempt in (rollout, rollout + 1000):
            try:
                said = yield from self.ask("plan", self.phases.plan, briefing=briefing, config=sampled(attempt))
            except ModelFailed as failure:
                if attempt != rollout or not isinstance(failure.__cause__, AdapterParseError) or self.spent():
                    raise PlanningFailed(f"no plan: {failure}", self.ledger.snapshot()) from failure.__cause__
                continue
            learned = self._settle(said.requirements)
            self.emit(Event(kind="plan", trajectory=said.trajectory, requirements=self.requirements))
            self._tell_amendments(learned)
            trajectory: Trajectory = said.trajectory
            return trajectory
        raise PlanningFailed("no plan", self.ledger.snapshot())

    def briefing(self, lessons: str) -> PlanningInput:
        """What PLAN and SETTLE are told, with the requirements as they now are."""
        return PlanningInput(self.inputs, self.catalogue, self.toolbox, given=self.requirements.items, lessons=lessons)

    def settle(self) -> Flow[None]:
        """Requirements for a trajectory that was given, beside those that the caller passed."""
        briefing = self.briefing(self.remembering(self.recalled.requirements))
        said = yield from self.ask("plan", self.phases.settle, briefing=briefing)
        learned = self._settle(said.requirements)
        self.emit(Event(kind="settle", requirements=self.requirements))
        self._tell_amendments(learned)

    def audit(self, incumbent: Candidate | None = None, rollout: int = 0) -> Flow[bool]:
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
        self._tell_amendments(new)
        return bool(new)

    def _tell_amendments(self, amendments: tuple[Amendment, ...]) -> None:
        for amendment in amendments:
            why = f"{amendment.requirement}: {amendment.reason}"
            self.emit(Event(kind="amend", message=why, requirements=self.requirements))

    def misread(self, candidate: Candidate) -> bool:
        """Whether a requirement that the model wrote cannot be checked as it is written."""
        settled = {item.id: item for item in self.requirements.items}
        return any(
            finding.uncheckable and settled[finding.requirement].origin not in BINDING_ORIGINS
            for finding in candidate.inspection.findings
        )

    def ask(self, phase: str, module: dspy.Module, **inputs: Any) -> Flow[dspy.Prediction]:
        """One phase that calls its model, booked to the ledger. Steps of a run that it is `shown` are left as they are.

        Raises:
            ModelFailed: the model or the adapter failed after DSPy's own retries.
        """
        with self.ledger.phase(phase):
            try:
                said = yield from call(module, **inputs)
            except (LMError, AdapterParseError) as error:
                self._failed(phase, error)
                raise ModelFailed(f"{phase}: {_said(error)}") from error
        if isinstance(said.get("trajectory"), Trajectory):
            said.trajectory = self._fixed(said.trajectory, inputs.get("shown"))
            if self.gate is not None:
                said.trajectory = self.gate(said.trajectory, self.emit)
        return said

    def _fixed(self, written: Trajectory, shown: RunView | None) -> Trajectory:
        """What a model wrote, with the mistakes corrected that memory knows; steps that have been run stay."""
        known = () if shown is None else shown.execution.trajectory.steps
        lessons = {lesson.fix: lesson for lesson in self.recalled.fixes if lesson.fix is not None}
        better, made = apply_fixes(written, lessons, known)
        if made:
            used = [lessons[fix] for fix in made]
            self.retrieved = tuple(dict.fromkeys((*self.retrieved, *(lesson.id for lesson in used))))
            said = "; ".join(f"lesson {lesson.id}: {lesson.avoid}" for lesson in used)
            self.emit(Event(kind="fix", trajectory=better, message=said))
        return better

    def _is_wrong(self, fix: Fix) -> bool:
        """Whether what a fix replaces is nothing that could be right here."""
        spec = self.toolbox.tools.get(fix.tool)
        if spec is None:
            return False
        if fix.kind == "argument":
            return not (spec.open_ended or fix.wrong in spec.parameters)
        if fix.kind == "field":  # the catalogue names the fields of every type of result
            return re.search(rf"\b{re.escape(fix.wrong.rpartition('.')[2])}\b", self.catalogue.tools) is None
        return fix.kind != "tool" or fix.wrong not in self.toolbox.tools

    def _failed(self, phase: str, error: Exception) -> None:
        if isinstance(error, (LMConfigurationError, LMAuthError)):
            raise error  # nothing that is tried again would help
        self.emit(Event(kind="failure", message=f"{phase}: {_said(error)}"))

    def _settle(self, drafts: tuple[Requirement, ...]) -> tuple[Amendment, ...]:
        """The first drafts are the settled requirements, even if there are none; later plans do not change them.

        Returns the amendments by which a lesson's requirement came in, beside what the task and the policy say.
        """
        if self._settled:
            return ()
        learned = dict(self.recalled.learned)
        asked = (item for item in drafts if item.id not in learned)
        settled = Requirements(items=(*self.requirements.items, *asked))
        for item in drafts:
            if item.id in learned:
                after = item.model_copy(update={"origin": "lesson"})
                settled = settled.amend(item.id, after, reason=learned[item.id], by="memory")
        self.requirements = settled
        self._settled = True
        return settled.amendments


def call(module: dspy.Module, **inputs: Any) -> Flow[dspy.Prediction]:
    """A call of a phase as a DSPy module, which callbacks and tracers are told of."""
    said: dspy.Prediction = yield Await(lambda: module(**inputs), lambda: module.acall(**inputs))
    return said


def sampled(rollout: int) -> dict[str, Any] | None:
    """What asks for another sample of a prompt: DSPy's cache gives the first one again without it."""
    return {"rollout_id": rollout, "temperature": 1.0} if rollout else None


def _said(error: Exception) -> str:
    return truncate(f"{type(error).__name__}: {' '.join(str(error).split())}", 300)
