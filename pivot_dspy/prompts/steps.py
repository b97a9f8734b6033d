"""The steps of a run as a model reads them: each as it was written, or in brief, with what came of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any

from pivot_dspy import bindings, expressions
from pivot_dspy.bindings import BindingError
from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.observations import ObservationBudget, render_look, render_results
from pivot_dspy.prompts.report import READ_TOO_EARLY, STATE_CAP
from pivot_dspy.prompts.shown import REPEATED, ShownResults
from pivot_dspy.prompts.truncation import FENCE, MIN_SHARE, SUFFIX_ROOM, compact_json, fair_cap, json_length, truncate
from pivot_dspy.trajectory import Execution, Observation, Step

WRITTEN_CAP = 12_000
"""Characters of all the steps that a prompt shows as they were written."""

_NOTICE_ROOM = 200
"""Characters for naming the steps that are not shown: as many as two ids may take, and some words."""

_COMPUTES = re.compile(r"[?(&]")
"""Stands in an expression that does more than pick parts: a condition or a function."""
_GOES_ON = re.compile(r"\[\d+:\]$")
"""How an expression ends that asks for the rest of a list."""


def render_steps(
    execution: Execution,
    ids: Collection[str],
    environment: Environment,
    budget: ObservationBudget,
    *,
    in_full: Collection[str] | None = None,
    shown: ShownResults | None = None,
    looks: Sequence[str] = (),
) -> str:
    """The steps called `ids`, each with what became of it.

    Args:
        in_full: the steps that are shown as they were written, all if None; of the others only id and tool.
        shown: results that the prompt shows already, to which those are added that are now shown in full.
        looks: expressions whose values the prompt shows.
    """
    every = zip(execution.trajectory.steps, execution.observations, strict=True)
    pairs = [(step, observation) for step, observation in every if step.id in ids]
    whole = [in_full is None or step.id in in_full for step, _ in pairs]
    texts = [_text(step, full) for (step, _), full in zip(pairs, whole, strict=True)]
    written = _within_cap([step for step, _ in pairs], texts, WRITTEN_CAP)
    if (excess := sum(map(len, written)) - WRITTEN_CAP) > 0:  # each is only cut to about its share
        written = _within_cap([step for step, _ in pairs], texts, WRITTEN_CAP - excess)
    count = _as_many(written, WRITTEN_CAP)
    headers = {step.id: text for (step, _), text in zip(pairs[:count], written, strict=False)}
    results = render_results(pairs[:count], environment, budget, shown=shown, headers=headers, picked=_picked(looks))
    return "\n".join(filter(None, [results, _left_out([step for step, _ in pairs[count:]])]))


def _within_cap(steps: Sequence[Step], texts: Sequence[str], cap: int) -> list[str]:
    """The texts of steps, the longest cut so that all together take about so many characters."""
    level = fair_cap([*map(len, texts)], cap)
    return [_shorten(step, text, level) for step, text in zip(steps, texts, strict=True)]


def _as_many(texts: Sequence[str], cap: int) -> int:
    """How many of the first texts there is room for, with a line for the rest."""
    if sum(map(len, texts)) <= cap:
        return len(texts)
    lengths = accumulate(map(len, texts), initial=_NOTICE_ROOM)
    return sum(1 for length in lengths if length <= cap) - 1


def _left_out(steps: Sequence[Step]) -> str:
    """Names steps that are not shown."""
    if len(steps) < 2:
        return f"… step {steps[0].id} is not shown" if steps else ""
    return f"… {len(steps):,} steps are not shown, {steps[0].id} to {steps[-1].id}"


def render_readings(
    readings: Sequence[tuple[Step, Observation]], environment: Environment, budget: ObservationBudget,
    shown: ShownResults | None = None, picked: Collection[str] = (),
) -> str:  # fmt: skip
    """What was read in other runs: the calls with their arguments, without the ids that other steps may have by now.

    Args:
        picked: as for `render_results`.
    """
    calls = {step.id: _call(step, seen).removeprefix(f"{step.id} ") for step, seen in readings}
    return render_results(readings, environment, budget, shown=shown, headers=calls, picked=picked)


def render_looks(
    looks: Sequence[str], results: Mapping[str, Any], budget: ObservationBudget, shown: ShownResults | None = None
) -> str:
    """What each of the expressions in `looks` selects from `results`, by step, or why it cannot be evaluated.

    Args:
        shown: results that the prompt shows: what only picks from those that it shows in full is not repeated.
    """
    known = ShownResults() if shown is None else shown
    texts = []
    for look in looks:
        value, problem = None, ""
        try:
            value = bindings.evaluate(look, results)
        except BindingError as error:
            problem = str(error)
        sources = [] if problem or _COMPUTES.search(look) else [*expressions.references(look)]
        is_long = json_length(value, REPEATED) >= REPEATED
        if is_long and sources and all(known.place_of(results[name]) for name in sources):
            value = results[sources[0]]
        texts.append(render_look(look, value, problem, budget, known))
    return "\n".join(texts)


def values_of(execution: Execution) -> dict[str, Any]:
    """What the steps that ran gave, by id."""
    return {name: seen.value for name, seen in execution.by_step.items() if seen.ok}


def _picked(looks: Sequence[str]) -> frozenset[str]:
    """The steps from whose results `looks` select, other than by going on where a prompt has left off."""
    return frozenset(name for look in looks if not _GOES_ON.search(look) for name in expressions.references(look))


def render_observations(
    execution: Execution, budget: ObservationBudget, looks: Sequence[str] = (),
    readings: Sequence[tuple[Step, Observation]] = (), picked: Collection[str] = (),
) -> str:  # fmt: skip
    """The calls with their whole arguments, what they returned, and the final state: for an answer, or its judge.

    The environment's own words about a result do not stand for it here: nobody can ask for more.

    Args:
        looks: expressions whose values were shown to whoever wrote the steps.
        readings: what steps had read that were given up.
        picked: ids of the steps of whose results the writer was shown little but what `looks` select.
    """
    steps = execution.trajectory.steps
    pairs = [(step, seen) for step, seen in zip(steps, execution.observations, strict=True) if not step.is_submit]
    calls = {step.id: _call(step, seen) for step, seen in pairs}
    shown = ShownResults()
    parts = [render_results(pairs, Environment(), budget, shown=shown, headers=calls, picked=picked)]
    if execution.state:
        parts += ["State:", *(f"{FENCE}{line}" for line in truncate(execution.state, STATE_CAP).splitlines())]
    if readings:
        given_up = render_readings(readings, Environment(), budget.after("\n".join(parts)), shown, picked)
        parts += ["Read before, by steps that were given up:", given_up]
    results = {step.id: seen.value for step, seen in readings if seen.ok} | values_of(execution)
    seen_before = [look for look in looks if results.keys() >= {*expressions.references(look)}]
    parts.append(render_looks(seen_before, results, budget.after("\n".join(parts)), shown))
    return "\n".join(filter(None, parts))


def _text(step: Step, full: bool) -> str:
    return step.to_prompt() if full else f"{step.id} {step.tool}"


def _call(step: Step, observation: Observation) -> str:
    if step.for_each is not None or observation.args is None:
        return step.to_prompt()
    early = f" ({READ_TOO_EARLY})" if observation.stale else ""
    return f"{step.id} {step.tool} {compact_json(observation.args)}{early}"


def _shorten(step: Step, text: str, cap: int) -> str:
    """The step's JSON with long values cut inside it, so that it stays JSON, in about `cap` characters."""
    if len(text) <= cap:
        return text
    bare = {"id": step.id, "tool": step.tool, "args": dict.fromkeys(step.args, "")}
    room = max(MIN_SHARE, cap - len(compact_json(bare)))
    fields = step.content()
    leaves = [field for field in ("for_each", "expects", "problem") if field in fields]
    values: Sequence[Any] = [*(fields[name] for name in leaves), *step.args.values()]
    level = fair_cap([len(compact_json(value)) for value in values], room)
    fields |= {name: truncate(fields[name], level) for name in leaves}
    if step.args:
        fields["args"] = {name: _cut_value(value, level) for name, value in step.args.items()}
    return compact_json(fields)


def _cut_value(value: Any, cap: int) -> Any:
    text = compact_json(value)
    if len(text) <= cap:
        return value
    if not isinstance(value, list):
        return truncate(value if isinstance(value, str) else text, cap)
    left, shown = cap - SUFFIX_ROOM, 0
    while shown < len(value) and (left := left - len(compact_json(value[shown])) - 2) >= 0:
        shown += 1
    return [*value[:shown], f"… (+{len(value) - shown} more)"]
