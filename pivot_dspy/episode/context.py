"""What one run of a refiner works on: the task, its environment, what is known of both, and the requirements."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import dspy

from pivot_dspy import bindings, claims
from pivot_dspy.blame import standing
from pivot_dspy.environment.brevity import stems
from pivot_dspy.environment.factory import SessionFactory, task_of
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, PivotError, error_text
from pivot_dspy.execution import execute
from pivot_dspy.flow import Await, Flow
from pivot_dspy.human.pinning import PinnedStep, with_pinned
from pivot_dspy.lookup_steps import with_lookups
from pivot_dspy.loss import Weights
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.memory.records import environment_name, task_text
from pivot_dspy.memory.wording import PromptSection, Retrieved
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.evolve import CACHED_PRICE
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.phases.settle import PlanningInput
from pivot_dspy.plain_json import scalars
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.report import environment_summary
from pivot_dspy.prompts.truncation import FENCE, compact_json, escape_controls, truncate
from pivot_dspy.required_calls import made_calls, not_told
from pivot_dspy.requirements import (
    BINDING_ORIGINS,
    Amendment,
    Finding,
    Requirement,
    Requirements,
    normalize_requirements,
)
from pivot_dspy.trajectory import Step, Trajectory

LEAST_TRACED = 4
"""Characters from which on a figure in a requirement has to stand in what was told: smaller ones are counts."""
LONGEST_LEAF = 40
"""Characters of a value of orientation that tells something by itself; a longer text may ask for things."""
ORIENTATION_CAP = 1500
"""Characters of one result of orientation that a prompt tells."""
TABLE_CAP = 12_000
"""The same where the environment tells it in lines of its own: about 3,000 tokens."""


@dataclass
class TaskContext:
    """The task of one call, and what is known of it by now."""

    factory: SessionFactory
    signature: type[dspy.Signature]
    inputs: Mapping[str, Any]
    task: dspy.Example
    root: Session
    """The session that all others are forked from, or opened like."""
    requirements: Requirements
    """As they are settled by now."""
    has_task_requirements: bool
    """Whether the caller passed some for this very task, so that none need be settled for a given trajectory."""
    weights: Weights = field(default_factory=Weights)
    catalogue: Catalogue = field(default_factory=lambda: Catalogue(tools="", tools_brief=""))
    recalled: Retrieved = field(default_factory=Retrieved)
    """What memory knows of this task."""
    budget: ObservationBudget = field(default_factory=ObservationBudget)
    """How much of what was read a prompt shows."""
    cached_price: float = CACHED_PRICE
    """What a cached token of a prompt costs, as a share of another."""
    orientation: tuple[Any, ...] = ()
    """What orientation gave, a value for each read."""
    used_entries: tuple[str, ...] = ()
    """Ids of the memory's entries that prompts told of, and of those whose fixes were applied."""
    pinned: dict[str, PinnedStep] = field(default_factory=dict)
    """The steps that a person has fixed, by id."""
    written: frozenset[str] = frozenset()
    """Ids of those that a person wrote itself."""
    heard: tuple[str, ...] = ()
    """What a person has said in the run."""
    _settled: bool = False

    @classmethod
    def open(
        cls,
        factory: SessionFactory,
        signature: type[dspy.Signature],
        inputs: Mapping[str, Any],
        *,
        required: Sequence[Any] = (),
        has_task_requirements: bool = False,
        weights: Weights | None = None,
        budget: ObservationBudget | None = None,
        cached_price: float = CACHED_PRICE,
        seconds: float | None = None,
        run_id: UUID | None = None,
    ) -> TaskContext:
        """The context of a task, with a session of its own, which `close` ends.

        Args:
            required: requirements of the user, as `Refiner` takes them.
            seconds: that the run may take, None for no limit.
            run_id: of a run that is made again.

        Raises:
            ConfigurationError: the environment cannot be opened, or a requirement does not fit it.
        """
        task = task_of(inputs)
        try:
            root = factory.open(task, seconds, watched=True, run_id=run_id)
        except PivotError:
            raise
        except Exception as error:
            raise ConfigurationError(f"{factory.name} cannot be opened: {error_text(error)}") from error
        try:
            requirements = Requirements(items=normalize_requirements(required, root.toolbox))
        except ConfigurationError:
            root.family.close()
            raise
        return cls(
            factory=factory,
            signature=signature,
            inputs=dict(inputs),
            task=task,
            root=root,
            requirements=requirements,
            has_task_requirements=has_task_requirements,
            weights=weights or Weights(),
            budget=budget or ObservationBudget(),
            cached_price=cached_price,
        )

    def close(self) -> None:
        self.root.family.close()

    @property
    def toolbox(self) -> Toolbox:
        return self.root.toolbox

    @property
    def outputs(self) -> dict[str, Any]:
        """The types of the task's output fields, by name."""
        return {name: output.annotation for name, output in self.signature.output_fields.items()}

    @property
    def task_text(self) -> str:
        """The task's inputs as one text."""
        return " ".join(str(value) for value in self.inputs.values())

    @property
    def told(self) -> dict[str, str]:
        """The words of those who may ask for something, by name: the request, the policy, what a person required."""
        given = {item.id: item.describe() for item in self.requirements.items if item.origin in BINDING_ORIGINS}
        said = {f"comment {number}": text for number, text in enumerate(self.heard, start=1)}
        return {"request": self.task_text, "policy": self.catalogue.policy, **given, **said}

    @property
    def oriented(self) -> tuple[str, ...]:
        """What orientation gave, leaf by leaf, without long texts."""
        return tuple(leaf for value in self.orientation for leaf in told_by(value) if len(leaf) <= LONGEST_LEAF)

    @property
    def known_text(self) -> str:
        """What else the planner sees: the results of orientation, and the policy."""
        return f"{self.catalogue.known} {self.catalogue.policy}"

    def reopen(self) -> Session:
        """A fresh session that begins like the first.

        Raises:
            EnvironmentFailed: the environment cannot be opened again.
        """
        try:
            return self.factory.reopen(self.root, self.task)
        except Exception as error:
            raise EnvironmentFailed(f"{self.factory.name} cannot be opened again: {error_text(error)}") from error

    def view(self, inspection: Inspection) -> RunView:
        """What the phases are shown of a run."""
        return RunView(
            inputs=self.inputs,
            catalogue=self.catalogue,
            execution=inspection.execution,
            environment=self.root.environment,
            requirements=self.requirements,
            findings=inspection.findings,
            budget=self.budget,
            pinned=tuple(step for step in inspection.execution.trajectory.ids if step in self.pinned),
            changed=bool(made_calls(inspection.execution, self.toolbox)),
        )

    def planning_input(self, lessons: str) -> PlanningInput:
        """What PLAN and SETTLE are told, with the requirements as they now are."""
        return PlanningInput(self.inputs, self.catalogue, self.toolbox, given=self.requirements.items, lessons=lessons)

    def tell(self, *sections: PromptSection, lessons: str = "") -> str:
        """Sections of what memory knows, then a refiner's own lessons, as a prompt tells them; notes what is used."""
        self.note_used(entry for section in sections for entry in section.ids)
        return "\n\n".join(text for text in (*(section.text for section in sections), lessons) if text)

    def note_used(self, entries: Any) -> None:
        """Remember that these entries of memory had a part in this run."""
        self.used_entries = tuple(dict.fromkeys((*self.used_entries, *entries)))

    def settle(self, drafts: Sequence[Requirement]) -> tuple[Amendment, ...]:
        """Take the first drafts for the requirements, even if there are none; later plans do not change them.

        Returns:
            The amendments by which a lesson's requirement came in, beside what the task and the policy say.
        """
        if self._settled:
            return ()
        learned = dict(self.recalled.learned)
        asked = (self.traced(item) for item in drafts if item.id not in learned)
        settled = Requirements(items=(*self.requirements.items, *asked))
        for item in drafts:
            if item.id in learned:
                after = item.model_copy(update={"origin": "lesson"})
                settled = settled.amend(item.id, after, reason=learned[item.id], by="memory")
        self.requirements = settled
        self._settled = True
        return settled.amendments

    def amend(self, requirements: Requirements, again: Collection[str]) -> None:
        """Take amended requirements; those `again`, by id, are looked at for what nobody asks for."""
        if again:
            items = tuple(self.traced(item) if item.id in again else item for item in requirements.items)
            requirements = requirements.model_copy(update={"items": items})
        self.requirements = requirements

    def completed(self, trajectory: Trajectory, looks: Sequence[str] = ()) -> Trajectory:
        """The trajectory with the steps that a person has pinned, and the reads of what fits the requirements that its
        steps are bound to, or `looks` name."""
        return with_lookups(with_pinned(trajectory, self.pinned), self.requirements, self.toolbox, looks)

    def require(self, requirements: Iterable[Any]) -> None:
        """Add requirements of a person; each is a recorded amendment.

        Raises:
            ConfigurationError: one does not fit the environment.
        """
        taken = {item.id for item in self.requirements.items}
        for item in normalize_requirements(requirements, self.toolbox):
            name = item.id
            while name in taken:
                name += "_"
            taken.add(name)
            mine = item.model_copy(update={"id": name, "origin": "person"})
            self.requirements = self.requirements.amend(name, mine, reason="a person requires it", by="person")

    def pin(self, trajectory: Trajectory, steps: Iterable[str], *, written: bool = False) -> None:
        """Fix these steps of a trajectory: whoever writes the next version, they stay.

        Args:
            steps: their ids.
            written: whether a person wrote them, who then asks for what they do.
        """
        pinned = {name: PinnedStep.of(trajectory, name) for name in steps}
        self.pinned = {**self.pinned, **pinned}
        if written:
            self.written |= pinned.keys()
            self.hear(*(compact_json(one.step.args) for one in pinned.values()))

    def hear(self, *texts: str) -> None:
        """Take note of what a person has said: it may ask for something, and values may come from it."""
        self.heard = (*self.heard, *texts)

    def traced(self, item: Requirement) -> Requirement:
        """The requirement, marked where it names what nobody has asked for: it may come from what was read."""
        if item.origin != "task" or item.under is not None:
            return item
        shown = [*self.told.values(), *self.oriented]
        told = standing.tokens(shown)
        call = item.open_call or item.call  # what was filled in later was read, and is looked at where it is called
        named = f"{item.text} {compact_json([item.args, call.args if call else {}])}"
        figures = [figure for figure in claims.figures_beyond(named, shown) if len(figure) >= LEAST_TRACED]
        foreign = not all(standing.holds(told, figure) for figure in figures)
        if call is not None:
            words, asked = stems([item.text, call.tool, compact_json(call.args)]), stems(self.told.values())
            foreign |= bool(not_told(call.without_wording, told) or (words and asked and not words & asked))
        elif item.check is not None:  # the environment's own words say nothing of who or what is meant
            told |= standing.tokens(f"{self.catalogue.checks}\n{self.catalogue.tools}")
            foreign |= not all(standing.holds(told, leaf) for leaf in scalars(item.args) if isinstance(leaf, str))
        return item.model_copy(update={"traced": False}) if foreign else item

    def misread(self, findings: Sequence[Finding]) -> bool:
        """Whether a requirement that the model wrote cannot be checked as it is written."""
        return any(
            finding.uncheckable and self.requirements[finding.requirement].origin not in BINDING_ORIGINS
            for finding in findings
        )

    def is_wrong(self, fix: Fix) -> bool:
        """Whether what a fix replaces is nothing that could be right here."""
        spec = self.toolbox.tools.get(fix.tool)
        if spec is None:
            return False
        if fix.kind == "argument":
            return not (spec.open_ended or fix.wrong in spec.parameters)
        if fix.kind == "field":  # the catalogue names the fields of every type of result
            return re.search(rf"\b{re.escape(fix.wrong.rpartition('.')[2])}\b", self.catalogue.tools) is None
        return fix.kind != "tool" or fix.wrong not in self.toolbox.tools


def told_by(value: Any) -> Iterator[str]:
    """The keys and values of a result as texts."""
    if isinstance(value, Mapping):
        yield from map(str, value)
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from told_by(item)
    elif value is not None:
        yield str(value)


def orient(context: TaskContext, record: RunRecord) -> Flow[None]:
    """Run the environment's orientation reads, and write the catalogue of what may be called."""
    environment = context.root.environment
    reads = orientation_steps(context)
    lines, read = [], []
    if reads.steps:
        with record.ledger.phase("plan"):
            run = yield from execute(reads, context.root, permit=record.permit)
        for step, observation in zip(reads.steps, run.execution.observations, strict=True):
            if observation.ok:
                summary = environment_summary(step.tool, observation.value, environment)
                lines.append(_known(step, summary or compact_json(observation.value)))
                if "\n" not in (summary or ""):  # a table does not tell the shape of the result
                    read.append(step.tool)
                context.orientation += (observation.value,)
    context.catalogue = catalogue.render(
        context.toolbox,
        context.signature,
        policy=environment.policy,
        vocabulary=environment.vocabulary,
        known="\n".join(lines),
        read=read,
    )


def orientation_steps(context: TaskContext) -> Trajectory:
    """The environment's orientation reads as steps.

    Raises:
        ConfigurationError: one of them is no read tool, or its arguments do not fit.
    """
    calls = context.toolbox.of_orientation(context.root.environment.orientation)
    return Trajectory(
        steps=tuple(
            Step(id=f"o{number}", tool=call.tool, args=bindings.literal(dict(call.args)))
            for number, call in enumerate(calls)
        )
    )


def _known(step: Step, result: str) -> str:
    """A read that was made and what it gave: in one line, or below it in lines that can be none of the prompt's own."""
    args = ", ".join(f"{name}={compact_json(bindings.resolve(value, {}, ()))}" for name, value in step.args.items())
    call = f"{step.tool}({args}) ->"
    lines = result.strip().splitlines()
    if len(lines) < 2:
        return escape_controls(f"{call} {' '.join(truncate(result, ORIENTATION_CAP).split())}")
    table = truncate(result.strip(), TABLE_CAP).splitlines()
    return "\n".join(map(escape_controls, [call, *(f"{FENCE}{line}" for line in table)]))


def recall(context: TaskContext, memory: TrajectoryMemory) -> Flow[None]:
    """Look up what earlier tasks have taught, for the prompts of this one."""
    if len(memory.entries):
        name = environment_name(context.root.environment)
        text = task_text(context.inputs)
        look_up = partial(memory.retrieve, text, name, context.toolbox.tools, context.is_wrong)
        context.recalled = yield Await(look_up, lambda: asyncio.to_thread(look_up))
