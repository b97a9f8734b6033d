"""One run of a refiner on one task: the moves that a search is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from pivot_dspy.acceptance import Acceptance
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.crossover import Parent
from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.environment.session import Session
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import Gate, ModelFailed, PhaseCaller, call, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.decisions import accepts
from pivot_dspy.episode.dialogue import Dialogue
from pivot_dspy.episode.judging import Judge
from pivot_dspy.episode.moves import Phases, move
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.episode.repair_catalogue import repair_catalogue
from pivot_dspy.episode.reviewing import NOBODY, ReviewDesk, Reviewing
from pivot_dspy.errors import ConfigurationError, EnvironmentFailed, PlanningFailed, error_text
from pivot_dspy.execution import ExecutedRun
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.concretise import concretise
from pivot_dspy.phases.inspect import Inspection, gradient_by_rule, parent
from pivot_dspy.requirements import Amendment
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.submission import left_out
from pivot_dspy.trajectory import Trajectory
from pivot_dspy.verdict import Verdict


class Episode:
    """Everything that belongs to one call of a refiner; nothing of it is kept on the refiner.

    A search is written with its moves: `plan`, `inspect`, `gradient`, `evolve`, `compose`, `decide`, `verify` and so
    on. All but `decide` wait for something, and so are generators, called with `yield from`.

    Args:
        context: the task and what is known of it.
        record: the ledger, the history and the limits.
        phases: what the moves are made by.
        acceptance: when a candidate replaces the incumbent.
        gate: what looks at a model's steps before they run.
        reviewing: the person who is asked, and when.
        journal: of this run.
    """

    def __init__(
        self,
        context: TaskContext,
        record: RunRecord,
        phases: Phases,
        acceptance: Acceptance,
        gate: Gate | None = None,
        reviewing: Reviewing = NOBODY,
        journal: RunJournal | None = None,
    ) -> None:
        self.context = context
        self.record = record
        self.phases = phases
        self.acceptance = acceptance
        self.caller = PhaseCaller(context, record, gate, constrained=phases.constrained)
        self.dialogue = Dialogue()
        self.desk = ReviewDesk(self, reviewing, journal)
        self.judge = Judge(self.caller, phases.verify, self.view, self._session_after)
        self.best: Candidate | None = None
        """What was accepted last."""
        self.awaiting: tuple[Any, ...] = ()
        """The reviews that wait for an answer."""
        self.refusals: list[str] = []
        """Changes of requirements that the model wrote last and that were not made, with the reasons."""
        self.ask = self.caller.ask
        self.emit = record.emit
        self.spent = record.spent

    def __repr__(self) -> str:
        moves = self.record.moves
        latest = f"move {len(moves)}: {moves[-1]}" if moves else "no move yet"
        usage = self.record.ledger.usage
        return f"Episode({self.context.task_text!r:.80}; {latest}; {usage.lm_calls} LM calls)"

    # -------------------------------------------------------------------------------------------- plans, requirements

    @move
    def plan(
        self, rollout: int = 0, lessons: str = "", *, after: Candidate | None = None, tried: Sequence[str] = ()
    ) -> Flow[Trajectory]:
        """A new trajectory; the first one settles the requirements.

        Args:
            rollout: above 0, another sample of the same prompt.
            lessons: of the refiner's own, beside what memory knows.
            after: a candidate that was given up, in whose conversation the model plans anew.
            tried: what failed before, one line each.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        context = self.context
        recalled = context.recalled
        planning = context.planning_input(context.tell(recalled.requirements, recalled.advice, lessons=lessons))
        options: dict[str, Any] = {"planning": planning, "config": sample_config(rollout)}
        if after is not None:
            conversation = self.dialogue.up_to(after.trajectory)
            readings = self.dialogue.read_elsewhere()
            options |= {"conversation": conversation, "after": self.view(after), "readings": readings}
            options["tried"] = "\n".join(tried)
        try:
            written = yield from self.ask("plan", self.phases.plan, **options)
        except ModelFailed as failure:
            raise PlanningFailed(f"no plan: {failure}", self.record.ledger.snapshot()) from failure.__cause__
        learned = context.settle(written.requirements)
        trajectory = context.completed(written.trajectory, written.looks)
        self.dialogue.remember(trajectory, written)
        self.emit(events.PlanEvent(trajectory=trajectory, requirements=context.requirements))
        self._emit_amendments(learned)
        return trajectory

    @move
    def settle(self) -> Flow[None]:
        """Requirements for a trajectory that was not planned here, beside those that the caller passed.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        context = self.context
        planning = context.planning_input(context.tell(context.recalled.requirements))
        try:
            written = yield from self.ask("plan", self.phases.settle, planning=planning)
        except ModelFailed as failure:
            raise PlanningFailed(f"no requirements: {failure}", self.record.ledger.snapshot()) from failure.__cause__
        learned = context.settle(written.requirements)
        self.emit(events.SettleEvent(requirements=context.requirements))
        self._emit_amendments(learned)

    @move
    def audit(self, incumbent: Candidate | None = None, rollout: int = 0) -> Flow[bool]:
        """One look at the settled requirements for what is missing or misread; each change is a recorded amendment.

        Returns:
            Whether anything was amended.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        context = self.context
        audited = yield from self.ask(
            "audit", self.phases.audit, inputs=context.inputs, catalogue=context.catalogue, toolbox=context.toolbox,
            requirements=context.requirements, view=self.view(incumbent) if incumbent else None,
            config=sample_config(rollout),
        )  # fmt: skip
        new = audited.requirements.amendments[len(context.requirements.amendments) :]
        context.amend(audited.requirements, {amendment.requirement for amendment in new})
        self._emit_amendments(new)
        return bool(new)

    def require(self, requirements: Iterable[Any]) -> None:
        """Take requirements of a person, which no model alters."""
        context = self.context
        before = context.requirements
        context.require(requirements)
        self._emit_amendments(context.requirements.amendments[len(before.amendments) :])

    def _emit_amendments(self, amendments: tuple[Amendment, ...]) -> None:
        for amendment in amendments:
            reason = f"{amendment.requirement}: {amendment.reason}"
            self.emit(events.AmendEvent(message=reason, requirements=self.context.requirements))

    # ------------------------------------------------------------------------------------------------ running, blaming

    @move
    def inspect(
        self, trajectory: Trajectory, base: Candidate | None = None, *, repeats: int | None = None
    ) -> Flow[Candidate]:
        """Execute and measure; the shared prefix with `base` is not run again where the environment forks.

        Args:
            repeats: how many executions, of which the worst counts; those of the acceptance by default.
        """
        context = self.context
        given, trajectory = trajectory, context.completed(trajectory)
        if trajectory is not given:
            self.dialogue.share(trajectory, given)
        worst: Candidate | None = None
        for _ in range(self.acceptance.repeats if repeats is None else repeats):
            session, start = self.session_for(trajectory, base)
            with self.record.ledger.phase("inspect"):
                measured = yield from call(
                    self.phases.inspect,
                    trajectory=trajectory,
                    session=session,
                    requirements=context.requirements,
                    inputs={**context.inputs, **context.told},
                    outputs=context.outputs,
                    base=start,
                    permit=self.record.permit,
                    weights=context.weights,
                )
            new = self.dialogue.read(measured.run.execution, context.toolbox)
            candidate = yield from self.judge.if_needed(Candidate(measured.run, measured.inspection, new=new))
            if worst is None or worst.loss.no_worse_than(candidate.loss):
                worst = candidate
        if worst is None:
            raise ConfigurationError("repeats must be at least 1")
        execution, loss = worst.inspection.execution, worst.loss
        self.emit(events.InspectEvent(trajectory=trajectory, execution=execution, loss=loss))
        for name in left_out(execution):
            self.emit(events.NoteEvent(message=f"submit: {name} is no output field, and was left out"))
        return worst

    def session_for(self, trajectory: Trajectory, base: Candidate | None) -> tuple[Session, ExecutedRun | None]:
        """Where to run `trajectory`, and the run that it may take its first steps over from."""
        start = base.run if base is not None else None
        root = self.context.root
        if root.family.tier == "fork":
            origin = root if base is None else base.run.after(base.trajectory.common_prefix(trajectory))
            try:
                return origin.fork(), start
            except Exception as error:  # what only one thread may touch is gone with it, where a call hung
                self.record.warn(f"a session cannot be forked any more ({error_text(error)}); opening a fresh one")
                start = None
        return self.context.reopen(), start

    def _session_after(self, candidate: Candidate, count: int) -> Session:
        """A session of its own that stands as the candidate's did after so many steps; a fresh one without forks."""
        if self.context.root.family.tier == "fork":
            return candidate.run.after(count).fork()
        return self.context.reopen()

    @move
    def measure_again(self, candidate: Candidate) -> Flow[Candidate]:
        """The same run measured by the requirements as they now are."""
        measured = yield from self.judge.if_needed(self.judge.measured(candidate, None))
        self.emit(events.AcceptEvent(trajectory=measured.trajectory, loss=measured.loss, message="measured again"))
        return measured

    def view(self, candidate: Candidate) -> RunView:
        """What the phases that improve a candidate are shown of it."""
        conversation = self.dialogue.up_to(candidate.trajectory)
        readings = tuple(self.dialogue.read_elsewhere(candidate.inspection.execution))
        view = self.context.view(candidate.inspection)
        return view._replace(looks=conversation.looks, picked=conversation.shown.picked, readings=readings)

    @move
    def gradient(
        self, incumbent: Candidate, refuted: Collection[tuple[str | None, str]] = frozenset()
    ) -> Flow[Gradient | None]:
        """The next thing to blame: by rule first; by the model where rules are out of their depth.

        Args:
            refuted: keys of the suspects that were blamed in vain.
        """
        context = self.context
        excluded = frozenset(refuted)
        while True:
            gradient = gradient_by_rule(
                incumbent.inspection,
                context.requirements,
                context.root,
                task=context.task_text,
                known=context.known_text,
                refuted=excluded,
            )
            if gradient is None or gradient.step not in context.pinned or gradient.key in excluded:
                break
            excluded |= {gradient.key}  # a person has fixed the step: something else has to give way
        if gradient is not None and gradient.kind == "unexplained" and refuted and not self.spent():
            with self.record.ledger.phase("inspect"):
                try:
                    gradient = yield from self.phases.inspect.localise(self.view(incumbent), gradient, refuted)
                except (LMError, AdapterParseError) as error:
                    self.caller.record_failure("inspect", error)
        if gradient is not None:
            self.emit(events.GradientEvent(gradient=gradient, trajectory=incumbent.trajectory))
        return gradient

    def parent(self, candidate: Candidate) -> Parent:
        """The candidate as a parent of a crossover, its steps graded by what its run showed."""
        context = self.context
        return parent(
            candidate.inspection,
            context.requirements,
            context.toolbox,
            task=context.task_text,
            known=context.known_text,
        )

    # ----------------------------------------------------------------------------------------------- new versions

    @move
    def evolve(
        self, incumbent: Candidate, gradient: Gradient, rollout: int = 0, tried: Sequence[str] = ()
    ) -> Flow[Trajectory]:
        """A child of the incumbent with a new suffix; what it says of the requirements is settled with it.

        Args:
            rollout: above 0, another sample of the same prompt.
            tried: rewrites that failed, one line each.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        execution = incumbent.inspection.execution
        conversation = self.dialogue.up_to(incumbent.trajectory)
        view = self.view(incumbent)
        tools = repair_catalogue(self.context, incumbent.trajectory, gradient)
        written = yield from self.ask(
            "evolve", self.phases.evolve,
            view=view._replace(catalogue=tools), gradient=gradient,
            conversation=conversation, looks=self.dialogue.looks(incumbent.trajectory),
            readings=self.dialogue.read_elsewhere(execution),
            tried="\n".join([*tried, *self.refusals]), cached_price=self.context.cached_price,
            config=sample_config(rollout),
        )  # fmt: skip
        self._concretise(written.get("requirements"), incumbent.inspection)
        child = self.context.completed(written.trajectory, written.looks)
        self.dialogue.remember(child, written)
        self.emit(events.EvolveEvent(trajectory=child, diagnosis=written.diagnosis))
        return child

    def patch(self, incumbent: Candidate, gradient: Gradient) -> Trajectory:
        """The incumbent as a rule mends it; no model is asked."""
        steps = gradient.patch or ()
        child = incumbent.trajectory.replace_from(gradient.locus, steps, operator="patch")
        self.dialogue.share(child, incumbent.trajectory)
        self.emit(events.EvolveEvent(trajectory=child, diagnosis=gradient.diagnosis))
        return child

    def _concretise(self, changes: Any, inspection: Inspection) -> None:
        """Put what was read into the settled requirements, and those right that were misread, where quotes stand."""
        context = self.context
        before = context.requirements
        told = f"{context.task_text} {context.known_text}"
        doubts = {finding.requirement: finding.doubt for finding in inspection.findings}
        settled, refused = concretise(before, changes, inspection.execution, context.toolbox, told, doubts)
        context.amend(settled, {item.id for item in settled.items if item.executable and item not in before.items})
        self._emit_amendments(context.requirements.amendments[len(before.amendments) :])
        self.refusals = [f"requirement not taken: {reason}" for reason in refused]

    def measure_by_settled(self, candidate: Candidate) -> Candidate:
        """The candidate by the requirements as they now are and the verdicts as they were; nobody is asked."""
        return self.judge.measured(candidate, candidate.judgement)

    @move
    def compose(self, incumbent: Candidate) -> Flow[Trajectory]:
        """The incumbent with its missing outputs worded from the observations.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        written = yield from self.ask("compose", self.phases.compose, view=self.view(incumbent))
        composed: Trajectory = written.trajectory
        self.dialogue.share(composed, incumbent.trajectory)
        self.emit(events.ComposeEvent(trajectory=composed))
        return composed

    # ---------------------------------------------------------------------------------------------------- decisions

    def decide(
        self,
        incumbent: Candidate | None,
        candidate: Candidate,
        *,
        ties: Literal["latest", "first"] = "latest",
        extensions: bool = False,
    ) -> Candidate:
        """The candidate, where the acceptance lets it replace the incumbent, else the incumbent; on record either way.

        A larger loss is never accepted, whatever the acceptance says.

        Args:
            incumbent: None where there is none yet.
            ties: with `first`, an equal loss does not win with as many steps.
            extensions: whether one that goes on after all the incumbent's steps wins with an equal loss: seeing more is
                progress even before it changes the loss.
        """
        accepted = incumbent is None or accepts(
            self.acceptance, incumbent, candidate, ties, extensions, self.record.warn
        )
        emitted = events.AcceptEvent if accepted else events.RejectEvent
        self.best = candidate if incumbent is None or accepted else incumbent  # before anybody may interrupt it
        self.emit(emitted(trajectory=candidate.trajectory, loss=candidate.loss))
        return self.best

    @move
    def verify(self, incumbent: Candidate) -> Flow[Verdict]:
        """The verdict on the incumbent, run again from the start in a fresh session."""
        context, permit = self.context, self.record.permit
        try:
            session = context.reopen() if incumbent.loss.perfect else None
        except EnvironmentFailed as error:
            self.record.end(str(error), error)
            session, permit = context.root, _refuse
        if isinstance(self.record.cause, KeyboardInterrupt):  # whoever pressed the keys does not want to wait
            permit = _refuse
        with self.record.ledger.phase("verify"):
            verified = yield from call(
                self.phases.verify,
                inspection=incumbent.inspection,
                requirements=context.requirements,
                toolbox=context.toolbox,
                session=session,
                outputs=context.outputs,
                judgement=incumbent.judgement,
                permit=permit,
                needs_approval=self.desk.needs_approval,
            )
        verdict: Verdict = verified.verdict
        message = "; ".join(verdict.reasons) or "verified"
        self.emit(events.VerifyEvent(trajectory=incumbent.trajectory, verdict=verdict, message=message))
        return verdict

    @move
    def judge_again(self, candidate: Candidate) -> Flow[Candidate]:
        """The candidate by further opinions of the judge on what it found unmet; itself where they agree."""
        return (yield from self.judge.again(candidate))


def _refuse(reused: bool) -> None:
    raise BudgetExhausted("sessions", "no session can be opened")
