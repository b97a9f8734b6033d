"""What the programs share: the choice of a model, and a run shown in the terminal as it happens, 100 columns wide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import dspy
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from pivot_dspy import Environment, Event, Execution, LedgerReport, Loss, Step, Trajectory
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.episode.events import (
    AcceptEvent,
    ComposeEvent,
    EvolveEvent,
    GradientEvent,
    InspectEvent,
    PlanEvent,
    RejectEvent,
    SettleEvent,
    VerifyEvent,
)
from pivot_dspy.prompts.observations import ObservationBudget, render_results
from pivot_dspy.prompts.truncation import FENCE, compact_json
from pivot_dspy.simulator import Reference, is_simulated, offline_lm
from pivot_dspy.verdict import Verdict

WIDTH = 100
"""Columns that the output takes, fewer in a narrower terminal."""

Part = str | Text | tuple[str, str]
"""A piece of a line, with its style or without."""

_INDENT = 14
_FENCES = re.compile(rf"^(?:{re.escape(FENCE)})+", re.MULTILINE)
_PARTS = ("validity", "discrepancy", "requirements", "completeness", "claims", "outcome")
_COLOURS = {"PLAN": "cyan", "INSPECT": "blue", "GRADIENT": "magenta", "EVOLVE": "yellow", "VERIFY": "green"}
_TIERS = {"fork": "in a fork", "replay": "in a fresh session", "live": "live: reads only, writes wait for commit"}
_MARKS = {"ok": ("✓", "green"), "error": ("✗", "red"), "blocked": ("·", "dim"), "withheld": ("…", "yellow")}


def console() -> Console:
    """A console on standard output, in colour only on a terminal."""
    found = Console(highlight=False)
    return Console(highlight=False, width=min(WIDTH, found.width) if found.is_terminal else WIDTH)


def choose_lm(name: str | None, references: Iterable[Reference], seed: int = 0, **noise: Any) -> dspy.LM:
    """The model that `--lm` names, or the offline one, which simulates a model of `references` with `noise`.

    Answers of the offline one are not cached, so that every run shows what it takes.
    """
    return dspy.LM(name) if name else offline_lm(references, seed=seed, cache=False, **noise)


def model_line(lm: dspy.LM) -> str:
    """Which model runs; of the offline one, that it is simulated."""
    name = str(lm.model)
    return f"{name.replace(',', ', ')}, simulated: says nothing of any real model" if is_simulated(lm) else name


def spending(report: LedgerReport) -> str:
    """What a run took, in one line: LM calls, tokens by phase, tool calls run and reused, seconds."""
    usage = report.usage
    tokens = ", ".join(f"{name} {used.total_tokens:,}" for name, used in report.phases.items() if used.total_tokens)
    cached = f" and {usage.cache_hits} from DSPy's cache" if usage.cache_hits else ""
    return (
        f"{usage.lm_calls} LM calls{cached} · {usage.total_tokens:,} tokens ({tokens or 'none'}) · "
        f"{usage.tool_calls} tool calls run, {usage.tool_calls_reused} reused · {report.seconds:.1f} s"
    )


def status_word(status: str) -> str:
    """A verdict's status in a table that asks whether a result is verified."""
    return "no" if status == "unverified" else status


def established_lines(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """How a verdict came about: for each requirement, changing call and claim by whom it was established and what
    shows it, then the calls that wait for commit. Each a label and a text."""
    for entry in verdict.established:
        shown = f"{entry.by}{': ' if entry.evidence else ''}{' '.join(entry.evidence.split())}"
        yield ("claim", f'"{entry.about}" {shown}') if entry.kind == "claim" else (entry.about, shown)
    for call in verdict.pending:
        yield "pending", f"{call.step} {call.tool} {compact_json(call.args)}"


OUTCOME = ObservationBudget(result=50, turn=50)
"""Of what a step gave, in the one line for it."""


class Narrator:
    """Prints each phase of one run as it happens: the `on_event` of a refiner.

    Args:
        console: where to print; standard output by default.
        environment: words its results, and tells which tools are irreversible.
    """

    def __init__(self, console_: Console | None = None, environment: Environment | None = None) -> None:
        self.console = console_ or console()
        self._environment = environment or Environment()
        tools = toolbox_of(self._environment).tools
        self._irreversible = {name for name, spec in tools.items() if spec.effect == "irreversible"}
        self._seen: dict[str, Trajectory] = {}
        self._incumbent: Loss | None = None
        self._shown: dict[str, Callable[[Any], None]] = {
            "settle": self._settled,
            "plan": self._plan,
            "inspect": self._inspect,
            "gradient": self._gradient,
            "evolve": self._rewrite,
            "compose": self._rewrite,
            "accept": self._decision,
            "reject": self._decision,
            "verify": self._verdict,
        }

    def __call__(self, event: Event) -> None:
        self._shown.get(event.kind, self._remark)(event)
        trajectory = getattr(event, "trajectory", None)  # some kinds of events have none
        if trajectory is not None:
            self._seen[trajectory.id] = trajectory

    def heading(self, name: str, note: str = "") -> None:
        """A rule with the name of a phase."""
        title = Text.assemble((name, f"bold {_COLOURS.get(name, '')}"), (f"  {note}" if note else "", "dim"))
        self.console.print(Rule(title, align="left", style="dim"))

    def say(self, label: str, text: str, style: str = "") -> None:
        """A labelled paragraph."""
        for number, line in enumerate(self._wrapped(text, style, _INDENT)):
            self._line((f"{label if number == 0 else '':>{_INDENT - 2}}  ", "dim"), line)

    def committed(self, execution: Execution) -> None:
        """The run in the real environment."""
        self.heading("COMMIT", "once, in the real environment")
        self._outcomes(execution, real=True)

    # -- one method for each kind of event

    def _plan(self, event: PlanEvent) -> None:
        if self._incumbent is None:
            self.heading("PLAN", "requirements, then steps")
            self._list_requirements(event)
        else:  # the requirements are settled by the first plan
            self.heading("PLAN", "another candidate")
        self._steps(event.trajectory.steps)

    def _settled(self, event: SettleEvent) -> None:
        self.heading("PLAN", "requirements of the given trajectory")
        self._list_requirements(event)

    def _list_requirements(self, event: PlanEvent | SettleEvent) -> None:
        for item in event.requirements.items:
            self._line("     ", (f"{item.id}  ", "magenta"), plain(item.to_prompt().partition(": ")[2]))

    def _inspect(self, event: InspectEvent) -> None:
        self.heading("INSPECT", _TIERS[event.execution.tier])
        self._outcomes(event.execution)
        self.say("loss", _loss(event.loss), "bold green" if event.loss.perfect else "bold")

    def _gradient(self, event: GradientEvent) -> None:
        gradient = event.gradient
        self.heading("GRADIENT", f"by {gradient.by}")
        where = f"step {gradient.locus + 1}, {gradient.step}" if gradient.step else "the end of the trajectory"
        self.say("blame", f"{where} ({gradient.kind})", "bold")
        self.say("why", gradient.diagnosis)
        if gradient.correction:
            self.say("change", gradient.correction)
        for number, item in enumerate(gradient.evidence):
            self.say("evidence" if number == 0 else "", item, "italic")

    def _rewrite(self, event: EvolveEvent | ComposeEvent) -> None:
        self.heading(event.kind.upper())
        if event.kind == "evolve" and event.diagnosis:
            self.say("diagnosis", event.diagnosis)
        child = event.trajectory
        parent = self._seen.get(child.parent or "")
        if parent is None:
            self._steps(child.steps)
            return
        changes = list(_diff(child, parent))
        columns = _columns(step for sign, step in changes if sign != "=")
        for sign, pairs in groupby(changes, key=lambda change: change[0]):
            steps = [step for _, step in pairs]
            if sign == "=":
                self._line("  =  ", (f"{', '.join(step.id for step in steps)} kept", "dim"))
                continue
            for step in steps:
                self._line(f"  {sign}  ", columns(step), *_arguments(step), style="green" if sign == "+" else "red")

    def _decision(self, event: AcceptEvent | RejectEvent) -> None:
        before = self._incumbent
        if event.loss is None:
            self.say(f"{event.kind}ed", event.message)
        elif event.kind == "accept":
            came = f"{before.total:.3f} → " if before else ""
            note = event.message or ("" if before else "the first")
            self.say("accepted", f"{came}{event.loss.total:.3f}{', ' if note else ''}{note}", "green")
            self._incumbent = event.loss
        else:
            stays = f"; the incumbent has {before.total:.3f}" if before else ""
            self.say("rejected", f"{event.loss.total:.3f}{stays}", "red")

    def _verdict(self, event: VerifyEvent) -> None:
        self.heading("VERIFY")
        if event.verdict.verified:
            self.say(event.verdict.status, "run again from the start with the same results", "green")
        else:
            waits = event.verdict.status == "provisional"
            self.say("provisional" if waits else "not verified", event.message, "yellow" if waits else "red")
        for label, text in established_lines(event.verdict):
            self.say(label, text)

    def _remark(self, event: Event) -> None:
        if message := getattr(event, "message", ""):
            self.say(event.kind, message, "red" if event.kind == "failure" else "")
        elif loss := getattr(event, "loss", None):
            self.say(event.kind, _loss(loss))

    # -- lines

    def _wrapped(self, text: str, style: str, indent: int) -> list[Text]:
        return list(Text(plain(text), style).wrap(self.console, max(self.console.width - indent, 20))) or [Text()]

    def _line(self, *parts: Part, style: str = "") -> None:
        line = Text.assemble(*parts, style=style)
        line.rstrip()
        self.console.print(line, no_wrap=True, overflow="ellipsis")

    def _steps(self, steps: Sequence[Step]) -> None:
        columns = _columns(steps)
        for step in steps:
            self._line("     ", columns(step), *_arguments(step))

    def _outcomes(self, execution: Execution, *, real: bool = False) -> None:
        steps = execution.trajectory.steps
        columns = _columns(steps)
        for step, observation in zip(steps, execution.observations, strict=True):
            mark, style = _MARKS[observation.status]
            start = columns(step)
            before = "preview: " if step.tool in self._irreversible and observation.ok and not real else ""
            before = "reused: " if observation.reused else before
            shown = render_results([(step, observation)], self._environment, OUTCOME)
            text = _outcome(shown.partition("->")[2])
            colour = "red" if observation.status == "error" else "dim" if observation.status == "blocked" else ""
            indent = 5 + len(start) + len(before)
            failed = observation.status == "error"
            lines = self._wrapped(text, colour, indent) if failed else [Text(plain(text), colour)]
            self._line("  ", (f"{mark}  ", style), start, (before, "dim"), lines[0])
            for line in lines[1:]:
                self._line(" " * indent, line)


def plain(text: str) -> str:
    """`text` in one line, without the control characters that a terminal would obey."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _outcome(text: str) -> str:
    """What came of a step, in one line and without the fences that tell a model where results stand."""
    words, *result = _FENCES.sub("", text).splitlines() or [""]
    return ": ".join(filter(None, (words.strip(), " ".join(result))))


def _columns(steps: Iterable[Step]) -> Callable[[Step], str]:
    """How to write the id and tool of each of `steps`, one under the other."""
    sizes = [(len(step.id), min(len(plain(step.tool)), 30)) for step in steps]
    first, second = max((a for a, _ in sizes), default=0), max((b for _, b in sizes), default=0)
    return lambda step: f"{step.id:<{first}}  {plain(step.tool):<{second}}  "


def _arguments(step: Step) -> Iterator[Part]:
    if step.problem:
        yield plain(step.problem), "red"
    if step.for_each:
        yield from (("for each ", "dim"), (plain(step.for_each), "cyan"), "  ")
    for name, value in step.args.items():
        text = plain(value if isinstance(value, str) else compact_json(value))
        yield from ((f"{plain(name)}=", "dim"), (text, "cyan" if "$" in text else ""), "  ")


def _diff(child: Trajectory, parent: Trajectory) -> Iterator[tuple[str, Step]]:
    """The child's steps: kept (`=`) or new (`+`), a changed one after its old form (`-`); those left out last."""
    old = {step.id: step for step in parent.steps}
    for step in child.steps:
        before = old.pop(step.id, None)
        if before is not None and before.content() == step.content():
            yield "=", step
            continue
        if before is not None:
            yield "-", before
        yield "+", step
    for step in old.values():
        yield "-", step


def _loss(loss: Loss) -> str:
    if loss.perfect:
        return "0.000"
    parts = [f"{name} {value:.2f}" for name in _PARTS if (value := getattr(loss, name))]
    hard = f"{loss.hard_violations} of {loss.hard_count} hard requirements violated" if loss.hard_violations else ""
    return f"{loss.total:.3f}: {' · '.join([*([hard] if hard else []), *parts])}"
