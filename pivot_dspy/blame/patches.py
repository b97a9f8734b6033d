"""Repairs that need no model: what a check proposes in data, and steps that failed and that nothing needs.

A patch is a child like any other: it is run, measured, and kept only if it is better. What is not sure is no patch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.blame.context import BlameContext
from pivot_dspy.blame.dependence import holds
from pivot_dspy.gradient import PROPOSED, UNNEEDED, Gradient, Suspect
from pivot_dspy.requirements import Finding
from pivot_dspy.trajectory import Step, Trajectory


def patches(context: BlameContext) -> Iterator[Gradient]:
    """The patches that rules can tell, the most certain first."""
    for name, finding in context.violated.items():
        if finding.instead:
            yield from _proposed(context, name, finding)
    yield from _unneeded(context)


def _proposed(context: BlameContext, name: str, finding: Finding) -> Iterator[Gradient]:
    """The steps that were given a value for which a check proposes another one, given that one."""
    instead = {str(before): after for before, after in finding.instead}
    changed: dict[str, Step] = {}
    for before, after in instead.items():
        step = _given(context, before)
        if step is None or not _was_read(context, after):
            return  # half of a proposal is none
        resolved = context.graph.observed[step.id].args or {}
        changed[step.id] = _with(changed.get(step.id, step), resolved, {before: after})
    steps = [changed.get(step.id, step) for step in context.steps]
    locus = min(context.graph.position[changed_id] for changed_id in changed)
    proposal = ", ".join(f"{after} instead of {before}" for before, after in instead.items())
    yield Gradient(
        locus=locus,
        step=steps[locus].id,
        kind=PROPOSED,
        diagnosis=f"{name} is not met: {finding.evidence}",
        correction=f"As its check proposes, {proposal}.",
        slice=context.graph.slice(changed),
        questioned=tuple(changed),
        patch=tuple(steps[locus:]),
    )


def _given(context: BlameContext, value: str) -> Step | None:
    """The one step that was given a value as a whole argument, and may be given another; None where that is unsure."""
    given = [
        step
        for step in context.steps
        if value in map(str, (context.graph.observed[step.id].args or {}).values()) and not step.is_submit
    ]
    spec = context.toolbox.spec(given[0].tool) if len(given) == 1 else None
    return None if spec is None or spec.effect == "irreversible" or given[0].for_each else given[0]


def _was_read(context: BlameContext, value: Any) -> bool:
    """Whether a value stands whole in what a step has returned."""
    return any(seen.ok and holds(seen.value, value) for seen in context.execution.observations)


def _with(step: Step, args: Mapping[str, Any], instead: Mapping[str, Any]) -> Step:
    """The step with other values for those of its arguments that were resolved to these."""
    new = {
        key: bindings.literal(instead[str(args[key])]) if str(args.get(key)) in instead else value
        for key, value in step.args.items()
    }
    return step.model_copy(update={"args": new})


def _unneeded(context: BlameContext) -> Iterator[Gradient]:
    """The trajectory without the steps that failed and that nothing reads, where all that is asked for holds as it is,
    as checks tell. What cannot be undone is left to the model."""
    graph, submit = context.graph, context.execution.trajectory.submit
    decided = context.requirements.items and all(item.executable for item in context.requirements.items)
    if not decided or context.violated or submit is None or not graph.observed[submit.id].ok:
        return
    failed = [name for name in context.failed if not graph.readers[name] and not graph.step(name).is_submit]
    specs = {name: context.toolbox.spec(graph.step(name).tool) for name in failed}
    drop = [name for name, spec in specs.items() if spec is not None and spec.effect != "irreversible"]
    if not drop:
        return
    drop = sorted(drop, key=graph.position.__getitem__)
    locus = graph.position[drop[0]]
    yield Gradient(
        locus=locus,
        step=drop[0],
        kind=UNNEEDED,
        diagnosis=f"{', '.join(drop)} failed, and nothing needs what it would have done.",
        correction="Drop it.",
        slice=graph.slice(drop),
        questioned=tuple(drop),
        patch=tuple(step for step in context.steps[locus:] if step.id not in drop),
    )


def mended_by_rule(gradient: Gradient, trajectory: Trajectory, suspects: Sequence[Suspect]) -> Gradient | None:
    """The gradient of the first of `suspects` with those of them mended that a rule can write; None where it is not
    one of these."""
    mended = {suspect.step: suspect.mended for suspect in suspects if suspect.mended is not None}
    if not suspects or suspects[0].step not in mended:
        return None
    patch = tuple(mended.get(step.id) or step for step in trajectory.steps[gradient.locus :])
    return gradient.model_copy(update={"patch": patch})


def first_patch(context: BlameContext, refuted: Sequence[tuple[str | None, str]] | frozenset[Any]) -> Gradient | None:
    """The first patch that was not tried in vain."""
    return next((patch for patch in patches(context) if patch.key not in refuted), None)
