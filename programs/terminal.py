"""What the programs share: the choice of a model, and a run shown in the terminal as it happens, 100 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pivot_dspy import Environment, Event, Execution, LedgerReport, Loss, Requirement, Step, Trajectory, digest
from pivot_dspy.offline import Reference, is_simulated, offline_lm

WIDTH = 100
"""Columns that the output takes, fewer in a narrower terminal."""

_PARTS = ("validity", "discrepancy", "requirements", "completeness", "claims", "outcome")
_COLOURS = {"PLAN": "cyan", "INSPECT": "blue", "GRADIENT": "magenta", "EVOLVE": "yellow", "VERIFY": "green"}
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
    return f"{lm.model}, simulated: says nothing of any real model" if is_simulated(lm) else str(lm.model)


def spending(report: LedgerReport) -> str:
    """What a run took, in one line: LM calls, tokens by phase, tool calls run and reused, seconds."""
    usage = report.usage
    tokens = ", ".join(f"{name} {used.total_tokens:,}" for name, used in report.phases.items() if used.total_tokens)
    cached = f" and {usage.cache_hits} from DSPy's cache" if usage.cache_hits else ""
    return (
        f"{usage.lm_calls} LM calls{cached} · {usage.total_tokens:,} tokens ({tokens or 'none'}) · "
        f"{usage.tool_calls} tool calls run, {usage.tool_calls_reused} reused · {report.seconds:.1f} s"
    )


class Narrator(BaseCallback):
    """Prints each phase as it happens: the `on_event` of a refiner.

    Requirements are part of no event: they are shown where it is one of the callbacks of DSPy as well, as in
    `dspy.context(callbacks=[narrator])`.

    Args:
        console: where to print; standard output by default.
        environment: words results its own way, if it has one.
    """

    def __init__(self, console_: Console | None = None, environment: Environment | None = None) -> None:
        self.console = console_ or console()
        self._environment = environment or Environment()
        self._requirements: tuple[Requirement, ...] = ()
        self._seen: dict[str, Trajectory] = {}
        self._incumbent: Loss | None = None
        self._shown: dict[str, Callable[[Event], None]] = {
            "plan": self._plan,
            "inspect": self._inspect,
            "gradient": self._gradient,
            "evolve": self._rewrite,
            "compose": self._rewrite,
            "accept": self._decision,
            "reject": self._decision,
            "verify": self._verdict,
        }

    def on_module_end(self, call_id: str, outputs: Any | None, exception: Exception | None = None) -> None:
        if isinstance(outputs, dspy.Prediction) and isinstance(found := outputs.get("requirements"), tuple):
            self._requirements = found

    def __call__(self, event: Event) -> None:
        self._shown.get(event.kind, self._remark)(event)
        if event.trajectory is not None:
            self._seen[event.trajectory.id] = event.trajectory

    def heading(self, name: str, note: str = "") -> None:
        """A rule with the name of a phase."""
        title = Text.assemble((name, f"bold {_COLOURS.get(name, 'white')}"), (f"  {note}" if note else "", "dim"))
        self.console.print(Rule(title, align="left", style="dim"))

    def say(self, label: str, text: str, style: str = "") -> None:
        """A labelled paragraph."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=12, style="dim", justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(label, Text(text, style))
        self.console.print(grid)

    def committed(self, execution: Execution) -> None:
        """The run in the real environment."""
        self.heading("COMMIT", "once, in the real environment")
        self._outcomes(execution)

    # -- one method for each kind of event

    def _plan(self, event: Event) -> None:
        self.heading("PLAN")
        for item in self._requirements:
            self._line("  ", (f"{item.id:>4}  ", "cyan"), item.to_prompt().partition(": ")[2])
        if self._requirements:
            self.console.print()
        self._steps(event.trajectory.steps if event.trajectory else ())

    def _inspect(self, event: Event) -> None:
        if event.execution is None:
            return
        execution = event.execution
        self.heading("INSPECT", f"in a safe copy ({execution.tier})")
        self._outcomes(execution)
        if event.loss is not None:
            self.say("loss", _loss(event.loss), "bold green" if event.loss.perfect else "bold")

    def _gradient(self, event: Event) -> None:
        if event.gradient is None:
            return
        gradient = event.gradient
        self.heading("GRADIENT", f"by {gradient.by}")
        where = f"step {gradient.locus + 1}, {gradient.step}" if gradient.step else "the end of the trajectory"
        self.say("blame", f"{where} ({gradient.kind})", "bold")
        self.say("why", gradient.diagnosis)
        if gradient.correction:
            self.say("change", gradient.correction)
        for number, item in enumerate(gradient.evidence):
            self.say("evidence" if number == 0 else "", item, "italic")

    def _rewrite(self, event: Event) -> None:
        self.heading(event.kind.upper())
        if event.diagnosis:
            self.say("diagnosis", event.diagnosis)
        child = event.trajectory
        if child is None:
            return
        parent = self._seen.get(child.parent or "")
        if parent is None:
            self._steps(child.steps)
            return
        for sign, steps in groupby(_diff(child, parent), key=lambda pair: pair[0]):
            if sign == "=":
                self._line("  =  ", (f"{', '.join(step.id for _, step in steps)} kept", "dim"))
            else:
                for _, step in steps:
                    self._line(f"  {sign}  ", *_said(step), style="green" if sign == "+" else "red")

    def _decision(self, event: Event) -> None:
        before = self._incumbent
        if event.loss is None:
            self.say(f"{event.kind}ed", event.message)
        elif event.kind == "accept":
            came = "the first" if before is None else f"loss {before.total:.3f} → {event.loss.total:.3f}"
            self.say("accepted", came, "green")
            self._incumbent = event.loss
        else:
            stays = f"; the incumbent has {before.total:.3f}" if before else ""
            self.say("rejected", f"loss {event.loss.total:.3f}{stays}", "red")

    def _verdict(self, event: Event) -> None:
        verified = event.message == "verified"
        self.heading("VERIFY")
        if verified:
            self.say("verified", "run again from the start with the same results; every requirement holds", "green")
        else:
            self.say("not verified", event.message, "red")

    def _remark(self, event: Event) -> None:
        if event.message:
            self.say(event.kind, event.message, "red" if event.kind == "failure" else "")
        elif event.loss is not None:
            self.say(event.kind, _loss(event.loss))

    # -- lines

    def _line(self, *parts: str | tuple[str, str], style: str = "") -> None:
        self.console.print(Text.assemble(*parts, style=style, no_wrap=True, overflow="ellipsis"))

    def _steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._line("     ", *_said(step))

    def _outcomes(self, execution: Execution) -> None:
        for step, observation in zip(execution.trajectory.steps, execution.observations, strict=True):
            mark, style = _MARKS[observation.status]
            text = digest.outcome(step, observation, self._environment)
            reused = ("  (reused)", "dim") if observation.reused else ""
            colour = "red" if observation.status == "error" else "dim" if observation.status == "blocked" else ""
            self._line("  ", (f"{mark}  ", style), f"{step.id:<7} {step.tool:<20} ", (text, colour), reused)


def _said(step: Step) -> list[str | tuple[str, str]]:
    parts: list[str | tuple[str, str]] = [f"{step.id:<7} {step.tool:<20} "]
    if step.for_each:
        parts += ["for each ", (step.for_each, "cyan"), "  "]
    for name, value in step.args.items():
        text = value if isinstance(value, str) else digest.compact(value)
        parts += [(f"{name}=", "dim"), (text, "cyan" if "$" in text else ""), "  "]
    return parts


def _diff(child: Trajectory, parent: Trajectory) -> Iterator[tuple[str, Step]]:
    """The child's steps as kept (`=`) or new (`+`), each changed one after its old form (`-`); what is left out last."""
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
    return f"{loss.total:.3f}   {' · '.join([*([hard] if hard else []), *parts])}"
