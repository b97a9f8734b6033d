"""Requirements that nobody stated, found from training tasks whose outcome was wrong although every check held."""

from __future__ import annotations

import json
import re
from collections import ChainMap, Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import Any, NamedTuple

import dspy
import jmespath

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import triple
from pivot_dspy.budget import Budget
from pivot_dspy.episode.context import TaskContext, orient, orientation_steps
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.episode.result import Refined
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.learning.delexicalize import Delexicalizer, leaves
from pivot_dspy.memory.records import Lesson, environment_name, task_text
from pivot_dspy.phases.learn import Find
from pivot_dspy.prompts.truncation import fair_cap, truncate
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.requirements import Requirements, compile_drafts
from pivot_dspy.trajectory import Trajectory

LEAST = 2
"""Failures that a requirement has to explain."""
_SLOT = re.compile(r"<([^<>\n]+)>")
_CODE = re.compile(r"(?<![\w$.])(?=[a-z-]*\d[\w-]*[a-z]|[\w-]*[a-z][\w-]*\d\d)[\w-]{5,}(?![\w.])", re.IGNORECASE)


class TrainingOutcome(NamedTuple):
    """How a training task went: the example, what the refiner returned, and what the metric said of it."""

    task: dspy.Example
    result: Refined
    score: float
    feedback: str = ""


def missing_requirements(
    outcomes: Sequence[TrainingOutcome],
    refiner: Refiner,
    find: Callable[..., Any] | None = None,
    *,
    good: float = 1.0,
    cases: int = 8,
    max_tokens: int = 4000,
) -> tuple[Lesson, ...]:
    """What the expected outcomes of training tasks have in common and verified, yet wrong, results lack.

    One call of a model sees the feedback that the metric gave on up to `cases` failures (verified, with a score below
    `good`). Each requirement that it proposes is tested on runs of all outcomes: it is kept if it holds in all that
    succeeded and fails in at least two failures. Failures of one task, or without feedback that says how the
    outcome relates to the expected one, teach nothing here; nor does a rule that no check can express get tested: it
    is kept as text. What holds by chance of the few training tasks passes, so that validation has the last word.

    Args:
        find: the phase to ask, `Find()` by default, on the LM of `dspy.context` or of the phase itself.
        max_tokens: of the cases in the prompt (characters / 4).

    Raises:
        LMError, AdapterParseError: the model gave nothing usable.
    """
    by_task: dict[str, TrainingOutcome] = {}
    for outcome in outcomes:
        if outcome.result.verified and outcome.score < good and outcome.feedback.strip():
            by_task.setdefault(task_text(outcome.task.inputs()), outcome)
    failures = list(by_task.values())
    if len(failures) < LEAST:
        return ()
    secrets = _own_gold([outcome.task for outcome in outcomes])
    examples = failures[:cases]
    texts = []
    for outcome in examples:
        with replay(refiner, outcome.task) as context:
            catalogue, environment = context.catalogue, environment_name(context.root.environment)
            texts.append(_case(outcome, catalogue.known, secrets, 4 * max_tokens // len(examples)))
    answer = (find or Find())(checks=catalogue.checks, policy=catalogue.policy, cases=texts)
    slots = [Delexicalizer(outcome.task, outcome.result.execution) for outcome in examples]
    drafts: dict[str, tuple[dict[str, Any], str]] = {}
    for proposal in answer.proposals:
        draft, reason = _draft(proposal, slots)
        compared = [*_compared(draft.get("args", {}))]
        if draft and not any(text.casefold() in secrets or _CODE.search(text) for text in compared):
            drafts[json.dumps(draft, sort_keys=True, default=str)] = (draft, reason)
    if not drafts:
        return ()
    written = [draft for draft, _ in drafts.values()]
    succeeded = [_judge(written, outcome, refiner) for outcome in outcomes if outcome.score >= good]
    failed = [_judge(written, outcome, refiner) for outcome in failures]
    return tuple(
        _lesson(draft, reason, environment)
        for position, (draft, reason) in enumerate(drafts.values())
        if _is_borne_out(draft, [row[position] for row in succeeded], [row[position] for row in failed])
    )


def _case(outcome: TrainingOutcome, orientation: str, secrets: Collection[str], cap: int) -> str:
    """One failure in about `cap` characters; what its outcome lacks is cut last."""
    inputs = task_text(outcome.task.inputs())
    requirements = "\n".join(item.to_prompt() for item in outcome.result.requirements.items)
    own = {value for value in secrets if value not in inputs.casefold()}
    request, required, feedback = (_without(own, text) for text in (inputs, requirements, outcome.feedback))
    feedback = truncate(feedback, 2 * cap // 3)
    level = fair_cap([len(request), len(orientation), len(required)], cap - len(feedback))
    parts = [
        f"Request: {truncate(request, level)}",
        f"Known: {truncate(orientation, level)}" if orientation else "",
        f"Requirements, all met:\n{truncate(required, level)}",
        f"Outcome: {feedback}",
    ]
    return "\n".join(filter(None, parts))


def _own_gold(tasks: Sequence[dspy.Example]) -> set[str]:
    """Names, ids and longer numbers in the gold of tasks, in lower case, without those that half of the tasks share."""
    golds = [{str(value) for _, value in leaves(task.labels().toDict())} for task in tasks]
    counts = Counter(chain.from_iterable(golds))
    return {
        text.casefold()
        for text, count in counts.items()
        if (2 * count < len(tasks) or len(tasks) == 1) and re.search(r"[\dA-Z ]", text) and len(text) > 2
    }


def _without(values: Collection[str], text: str) -> str:
    """`text` without these values, and without ids."""
    folded = text.casefold()
    for value in sorted((value for value in values if value in folded), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text, flags=re.IGNORECASE)
    return _CODE.sub("<id>", text)


def _draft(proposal: Mapping[str, Any], slots: Sequence[Delexicalizer]) -> tuple[dict[str, Any], str]:
    """A proposal as a draft, empty where it says nothing, and the reason for it."""
    check, text, reason = (str(proposal.get(name) or "").strip() for name in ("check", "text", "reason"))
    for task_slots in slots:
        text, reason = task_slots.text(text), task_slots.text(reason)
    args = proposal.get("args")
    draft = {"check": check, "args": dict(args) if isinstance(args, Mapping) else {}} if check else {}
    return (draft | {"text": text} if text else draft), reason


def _compared(value: Any) -> Iterator[str]:
    """Texts that a draft compares with; names of fields, operators, slots and references left out."""
    if triple(value) is not None:
        value = value[2]
    if isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _compared(item)
    elif not isinstance(value, bool) and not str(value).startswith(("$", "<")):
        yield str(value)


def _is_borne_out(draft: Mapping[str, Any], succeeded: Sequence[bool | None], failed: Sequence[bool | None]) -> bool:
    """Whether it contradicts no success and explains enough failures. One in words is for validation to judge."""
    if {*succeeded, *failed} <= {None}:
        return "check" not in draft
    return failed.count(False) >= LEAST and False not in succeeded


def _lesson(draft: dict[str, Any], reason: str, environment: str) -> Lesson:
    return Lesson(
        environment=environment,
        trigger="a task is planned here",
        mistake="what was written down was met, and the outcome was not the expected one",
        avoid=f"require this too: {reason or draft.get('text') or draft.get('check')}",
        requirement=draft,
        by="model",
    )


def _judge(drafts: Sequence[dict[str, Any]], outcome: TrainingOutcome, refiner: Refiner) -> list[bool | None]:
    """Whether each draft holds where a trajectory ends; None where no check can tell: the draft is in words, its slots
    cannot be filled, its check raises or does not fit, or steps of the trajectory wait for commit."""
    settled = outcome.result.requirements.items
    with replay(refiner, outcome.task) as context:
        known = orientation_results(context)
        scope = dict(ChainMap(known, *(value for value in known.values() if isinstance(value, dict))))
        run = rerun(context, outcome.result.trajectory)

        def holds(draft: dict[str, Any]) -> bool | None:
            try:
                filled = {**draft, "args": fill(draft.get("args", {}), scope)}
            except LookupError:
                return None
            compiled = compile_drafts([filled], context.toolbox, taken=settled)
            if run.execution.withheld or not compiled or not compiled[0].executable:
                return None
            finding = evaluate(Requirements(items=(*settled, compiled[0])), run.execution, run.session)[-1]
            return None if finding.uncheckable else finding.holds

        return [holds(draft) for draft in drafts]


@contextmanager
def replay(refiner: Refiner, task: dspy.Example) -> Iterator[TaskContext]:
    """Opens the refiner's environment on a task once more, for as long as the `with` block lasts."""
    with closing(TaskContext.open(refiner.session_factory, refiner.signature, task.inputs().toDict())) as context:
        run_sync(orient(context, RunRecord(Budget())))
        yield context


def rerun(context: TaskContext, trajectory: Trajectory) -> ExecutedRun:
    """Runs the trajectory in the session of a task."""
    return run_sync(execute(trajectory, context.root, outputs=context.outputs))


def orientation_results(context: TaskContext) -> dict[str, Any]:
    """Results of the environment's orientation reads, by tool."""
    reads = orientation_steps(context)
    observations = rerun(context, reads).execution.observations
    return {step.tool: seen.value for step, seen in zip(reads.steps, observations, strict=True) if seen.ok}


def fill(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with each slot in it, `<EXPRESSION>`, replaced by what that JMESPath expression gives over `known`.

    Raises:
        LookupError: it gives nothing, or is no expression.

    >>> fill([["size", "in", "<values(sizes)>"]], {"sizes": {"tops": "L"}})
    [['size', 'in', ['L']]]
    """

    def search(slot: re.Match[str]) -> Any:
        try:
            result = jmespath.search(slot[1], known)
        except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError) as error:  # what jmespath lets out
            raise LookupError(f"{slot[1]} cannot be evaluated: {error}") from error
        if result is None or result == []:
            raise LookupError(f"nothing that is known has {slot[1]}")
        return result

    def fill_text(text: str) -> Any:
        whole = _SLOT.fullmatch(text)
        return search(whole) if whole else _SLOT.sub(lambda slot: str(search(slot)), text)

    return bindings.map_strings(value, fill_text)
