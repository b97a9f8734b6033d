"""Scores executions with the package's own checker, which runs the calls again beside the gold ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from pivot_dspy import Execution, Observation, Step, bindings
from programs.multi_turn.data import Case, Gold
from programs.multi_turn.package import BACKEND, LOCK, module
from programs.multi_turn.tools import END_TURN

_numbers = itertools.count(1)


def score(execution: Execution | None, case: Case, gold: Gold) -> tuple[bool, bool]:
    """Whether the package's checker passes the calls of an execution: as official and as strict result, which are one
    here. None, for no plan at all, passes nothing. Raises MissingPackage.
    """
    passed = execution is not None and valid(case, gold, calls(execution))
    return passed, passed


def calls(execution: Execution) -> list[list[str]]:
    """The calls that were made, by turn, as Python source.

    A call that failed was made all the same, also one of a function that was not available yet: the benchmark runs
    what a model calls, told of or not. One whose arguments did not fit, or could not be resolved, was not; one that
    ran out of time is left out, since the checker would wait for it.
    """
    turns: list[list[str]] = [[]]
    results: dict[str, Any] = {}
    observed: set[str] = set()
    for step, seen in zip(execution.trajectory.steps, execution.observations, strict=True):
        if step.tool == END_TURN:
            ended = len(seen.value) if step.for_each and isinstance(seen.value, list) else int(seen.ok)
            turns += [[] for _ in range(ended)]
        elif seen.calls:
            turns[-1] += [call_text(step.tool, args) for args in _arguments(step, seen, results, observed)]
        observed.add(step.id)
        if seen.ok:
            results[step.id] = seen.value
    return turns


def valid(case: Case, gold: Gold, turns: Sequence[Sequence[str]]) -> bool:
    """What the package's checker says of calls by turn; turns that are wanting count as without calls.

    It keeps instances in globals of its module, by model and task: so every time has a name of its own, and what it
    kept is removed. Raises MissingPackage.
    """
    made = [list(turn) for turn in turns]
    while len(made) > len(gold) and not made[-1]:
        made.pop()
    if len(made) > len(gold):
        return False
    made += [[] for _ in range(len(gold) - len(made))]
    check = module(f"{BACKEND}.multi_turn_checker").multi_turn_checker
    kept = vars(module(f"{BACKEND}.multi_turn_utils"))
    entry = {"id": case.id, "initial_config": case.config, "involved_classes": list(case.classes)}
    category = case.id.rsplit("_", 1)[0]
    name = f"pivot{next(_numbers)}"
    with LOCK:
        try:
            found = check([[[call] for call in turn] for turn in made], list(map(list, gold)), entry, category, name)
        finally:
            for key in [key for key in kept if key.startswith(f"{name}_")]:
                del kept[key]
    return bool(found["valid"])


def call_text(tool: str, args: dict[str, Any]) -> str:
    """A call as Python source.

    The checker prepends an instance to every known function that it finds before a parenthesis, inside of texts too;
    so a text's parentheses are written as escapes.

    >>> call_text("echo", {"content": "mean (3)"})
    "echo(content='mean \\\\x283)')"
    """
    written = (f"{name}={repr(value).replace('(', chr(92) + 'x28')}" for name, value in args.items())
    return f"{tool}({', '.join(written)})"


def _arguments(
    step: Step, seen: Observation, results: dict[str, Any], observed: set[str]
) -> Iterator[dict[str, Any]]:
    """The resolved arguments of each call of a step that was made."""
    made = seen.calls - (seen.fault is not None and seen.fault.kind == "timeout")
    if step.for_each is None:
        yield from [dict(seen.args or {})][:made]
        return
    for item in bindings.resolve(step.for_each, results, observed)[:made]:
        known = {*observed, bindings.ITEM}
        yield bindings.resolve(step.args, {**results, bindings.ITEM: item}, known)
