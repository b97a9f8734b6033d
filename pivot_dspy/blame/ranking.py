"""Blame by rule: from an execution and its findings to ranked suspects, without a language model.

Rules look for clues: faults of steps, bindings that gave nothing and what a failed check is about (`fault_rules`),
steps that select by something else than requirements ask, or read another than they should (`mismatch_rules`), and
calls that requirements in words ask for, made otherwise or not at all (`call_rules`). A clue has a weight; the place
with the weightiest is the first suspect, the earlier of two equal ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from pivot_dspy import bindings
from pivot_dspy.blame import call_rules, fault_rules, mismatch_rules
from pivot_dspy.blame.context import BlameContext, Clue, Weight
from pivot_dspy.blame.dependence import slice_of
from pivot_dspy.blame.patches import first_patch, mended_by_rule
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.gradient import Gradient, Suspect
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution

__all__ = ["gradient", "rank", "slice_of"]

_EVIDENCE = 4
_TEXT = 300


def rank(
    execution: Execution, requirements: Requirements, findings: Sequence[Finding], toolbox: Toolbox, *,
    task: str = "", known: str = "",
) -> tuple[Suspect, ...]:
    """The places that may have caused what went wrong, likeliest first; empty where nothing did.

    Args:
        findings: one for each requirement; those that are not judged count for nothing.
        task: the task's inputs as text.
        known: other text that the planner saw. Without both, values that stand nowhere else are not suspected.
    """
    return _suspects(BlameContext(execution, requirements, findings, toolbox, task, known))


def _suspects(context: BlameContext) -> tuple[Suspect, ...]:
    falls_short = bool(context.violated or context.execution.discrepancies)
    if not falls_short and context.execution.trajectory.submit is not None:
        return ()
    clues = list(fault_rules.clues(context))
    if falls_short:
        clues += [*mismatch_rules.clues(context), *call_rules.clues(context)]
        clues += [*fault_rules.origins(context), *fault_rules.unexplained(context)]
    suspects = _rank_places(clues)
    # Several things may be wrong at once. What comes after a step that failed has not shown yet what it is worth, so
    # that a rewrite begins no later than there.
    first_failed = min((context.graph.position[step_id] for step_id in context.failed), default=len(context.steps))
    return tuple(sorted(suspects, key=lambda suspect: suspect.position > first_failed))


def gradient(
    execution: Execution, requirements: Requirements, findings: Sequence[Finding], toolbox: Toolbox, *,
    task: str = "", known: str = "", refuted: Collection[tuple[str | None, str]] = frozenset(),
) -> Gradient | None:
    """The gradient of the first suspect that is not refuted, with what its step depends on; None where none is left.

    Args:
        refuted: keys of suspects that were tried in vain, see `Suspect.key`.
    """
    context = BlameContext(execution, requirements, findings, toolbox, task, known)
    patch = first_patch(context, frozenset(refuted))
    if patch is not None:
        return patch
    suspects = _suspects(context)
    left = [suspect for suspect in _without_symptoms(suspects, refuted) if suspect.key not in refuted]
    if not left:
        return None
    first = left[0]
    # What else is known to be wrong is told along with it, to be mended in the same rewrite.
    others = [other for other in left[1:] if other.certain or other.kind == "missing_step"]
    diagnoses = [f"{other.step or 'at the end'}: {other.diagnosis}" for other in others]
    position = min([first.position, *(other.position for other in others)])
    first = first.model_copy(update={"position": position, "evidence": (*first.evidence, *diagnoses)[:_EVIDENCE]})
    # Where nothing tells the suspects apart, the cause is sought among all of them.
    unexplained = first.kind == "unexplained"
    causes = left if unexplained else [first]
    slice_ = context.graph.slice(suspect.step for suspect in causes if suspect.step is not None)
    # Questioned are the steps that something speaks against, or that did not run, and the answer as it was written out.
    doubted = {suspect.step for suspect in suspects if suspect.kind != "unexplained"}
    submit, ids = execution.trajectory.submit, execution.trajectory.ids
    if submit is not None and not all(bindings.dependencies(value, ids) for value in submit.args.values()):
        doubted.add(submit.id)
    doubted.update(seen.step for seen in execution.observations if seen.status in ("error", "blocked"))
    questioned = tuple(step_id for step_id in execution.trajectory.ids if step_id in doubted)
    blamed = Gradient.of(first, slice_, () if unexplained else questioned)
    mended = mended_by_rule(blamed, execution.trajectory, [first, *others])
    return blamed if mended is None or mended.key in refuted else mended


def _without_symptoms(
    suspects: Sequence[Suspect], refuted: Collection[tuple[str | None, str]]
) -> Sequence[Suspect]:
    """Where a step that a tool refused was blamed in vain, such steps only show what is wrong or wanting before them:
    then nothing but a certain fault comes before the search for the cause."""
    refused = [suspect for suspect in suspects if suspect.kind == "tool_error"]
    if not any(suspect.key in refuted for suspect in refused):
        return suspects
    symptoms = [suspect.model_copy(update={"kind": "unexplained"}) for suspect in refused]
    others = [suspect for suspect in suspects if suspect.kind != "tool_error"]
    return sorted([*symptoms, *others], key=lambda suspect: not suspect.certain)


def _rank_places(clues: Sequence[Clue]) -> tuple[Suspect, ...]:
    """One suspect for each place, and one for what is missing before it; of equal ones, what is earlier or missing."""
    places: dict[tuple[int, bool], list[Clue]] = defaultdict(list)
    for clue in sorted(clues, key=lambda clue: -clue.weight):
        places[clue.position, clue.kind != "missing_step"].append(clue)
    order = sorted(places, key=lambda place: (-places[place][0].weight, place))
    return tuple(_suspect(places[place]) for place in order)


def _suspect(clues: Sequence[Clue]) -> Suspect:
    first = clues[0]
    others = (clue for clue in clues[1:] if clue.text != first.text and clue.weight > Weight.UNEXPLAINED)
    evidence = dict.fromkeys(clue.text[:_TEXT] for clue in others)
    return Suspect(
        position=first.position,
        step=first.step,
        kind=first.kind,
        diagnosis=_sentence(first.text),
        correction=_sentence(next((clue.correction for clue in clues if clue.correction), "")),
        evidence=tuple(evidence)[:_EVIDENCE],
        certain=first.weight == Weight.CERTAIN or first.kind == "missing_submit",
        requirements=tuple(dict.fromkeys(name for clue in clues for name in clue.requirements)),
        mended=first.mended,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith(".") else ".")
