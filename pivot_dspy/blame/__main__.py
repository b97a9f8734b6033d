"""Ranks the steps of any agent's log that may have caused what went wrong: `python -m pivot_dspy.blame LOG.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dspy

from pivot_dspy import messages
from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.errors import PivotError, TrajectoryError
from pivot_dspy.gradient import Suspect
from pivot_dspy.recorded import suspects
from pivot_dspy.trajectory import Execution, Step

_SHOWN = 160
"""Characters of a call or a result that are shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 where the log was read, 2 where it was not, with the reason on stderr."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.require and not options.lm:
        parser.error("--require needs --lm, the model that judges; what you know to be wrong is told by --wrong")
    try:
        log = load(options.log)
        execution = Execution.from_messages(
            log, output=options.output, format=options.format, agent=options.agent, edited=options.edited,
            run=options.run,
        )  # fmt: skip
        read = messages.read(log, format=options.format, agent=options.agent, run=options.run)
        ranked = _ranked(execution, read, options)
    except (PivotError, OSError, LMError, AdapterParseError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    shown = ranked[: options.top]
    text = _json(execution, shown) if options.json else _text(execution, shown, len(ranked))
    sys.stdout.write(f"{text}\n")
    return 0


def load(path: str) -> Any:
    """The log in a file of JSON, or of one JSON value a line; `-` for standard input.

    Raises:
        TrajectoryError: it is neither.
        OSError: it cannot be read.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TrajectoryError(f"{path} is no text in UTF-8: {error}") from error
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines] if len(lines) > 1 else _refuse(path, error)
        except (json.JSONDecodeError, RecursionError):
            return _refuse(path, error)


def _refuse(path: str, error: Exception) -> Any:
    raise TrajectoryError(f"{path} is neither JSON nor JSON Lines: {error}") from error


def _ranked(execution: Execution, log: messages.Log, options: argparse.Namespace) -> tuple[Suspect, ...]:
    with dspy.context(lm=dspy.LM(options.lm)) if options.lm else nullcontext():
        return suspects(
            execution, options.require, wrong=options.wrong, reads=options.reads, task=log.task, known=log.told
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pivot_dspy.blame", description=__doc__)
    parser.add_argument("log", help="a file of JSON or JSON Lines; - for standard input")
    parser.add_argument("--format", default="auto", help=f"auto (the default), or one of {', '.join(messages.FORMATS)}")
    parser.add_argument("--agent", help="whose calls are wanted, where several agents call tools")
    parser.add_argument("--run", metavar="N", help="which run, where the file holds several: from 0, or its trace's id")
    parser.add_argument("--output", default="answer", metavar="FIELD", help="what the last words are called")
    parser.add_argument("--edited", action="append", default=[], metavar="ID", help="a call that a person changed")
    parser.add_argument("--wrong", action="append", default=[], metavar="TEXT", help="what is wrong, in words")
    parser.add_argument("--require", action="append", default=[], metavar="TEXT", help="what is asked; needs --lm")
    parser.add_argument("--lm", metavar="MODEL", help="the model that judges what is required, as DSPy names it")
    parser.add_argument("--reads", action="append", default=[], metavar="NAME", help="a tool that only reads, or get_*")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many suspects are shown, 5 by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _json(execution: Execution, shown: Sequence[Suspect]) -> str:
    steps = {step.id: step for step in execution.trajectory.steps}
    records = [
        {**suspect.model_dump(), "call": steps[suspect.step].model_dump() if suspect.step in steps else None}
        for suspect in shown
    ]
    return json.dumps({"steps": len(steps), "suspects": records}, ensure_ascii=False, indent=2)


def _text(execution: Execution, shown: Sequence[Suspect], total: int) -> str:
    steps = {step.id: step for step in execution.trajectory.steps}
    failed = sum(not seen.ok for seen in execution.observations)
    lines = [f"{len(steps)} steps, {failed} of them failed; {len(shown)} of {total} suspects"]
    if not total:
        lines.append("Nothing failed, and there is an answer. Say what is wrong with it: --wrong TEXT")
    for rank, suspect in enumerate(shown, start=1):
        where = _call(steps[suspect.step]) if suspect.step in steps else "the end"
        missing = suspect.kind == "missing_step"
        lines.append(f"{rank}. {'before ' if missing else ''}{where}")
        lines.append(f"   {suspect.kind}: {_line(suspect.diagnosis)}")
        if suspect.correction:
            lines.append(f"   change: {_line(suspect.correction)}")
        lines += [f"   evidence: {_line(text)}" for text in suspect.evidence]
        seen = execution.by_step.get(suspect.step or "")
        if seen is not None and seen.ok and not missing:
            lines.append(f"   gave: {_line(json.dumps(seen.value, ensure_ascii=False))}")
    return "\n".join(lines)


def _call(step: Step) -> str:
    return f"{step.id}: {_line(step.tool + ' ' + json.dumps(step.args, ensure_ascii=False))}"


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"


if __name__ == "__main__":
    sys.exit(main())
