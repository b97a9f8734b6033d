"""Requirements that nobody stated, found from training tasks whose outcome was wrong although every check held."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dspy

from pivot_dspy.blame.predicates import triple
from pivot_dspy.episode.result import Refined
from pivot_dspy.learning.delexicalize import Delexicalizer, leaves
from pivot_dspy.learning.replay import Replay
from pivot_dspy.memory.records import Lesson, task_text
from pivot_dspy.phases.learn import Find
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.prompts.truncation import fair_cap, truncate
from pivot_dspy.refiners.base import Refiner

_LEAST = 240
"""Characters that each part of a case has at least."""
_CODE = re.compile(r"(?<![\w$.])(?=[a-z-]*\d[\w-]*[a-z]|[\w-]*[a-z][\w-]*\d\d)[\w-]{5,}(?![\w.])", re.IGNORECASE)


class TrainingOutcome(NamedTuple):
    """How a training task went: the example, what the refiner returned, and what the metric said of it."""

    task: dspy.Example
    result: Refined
    score: float
    feedback: str = ""


class MinedRequirement(NamedTuple):
    """A requirement that a model proposed, and how it stands on the training tasks.

    Attributes:
        lesson: with the requirement as a draft.
        held: of `successes` (tasks with a good outcome where it can be told) those in which it holds.
        explained: of `failures` (tasks that verified with a bad outcome) those in which it does not hold.
        tested: whether a check could tell at all; one in words has to be judged, and nobody has.
        kept: whether it contradicts no success and explains enough failures.
    """

    lesson: Lesson
    held: int
    successes: int
    explained: int
    failures: int
    tested: bool
    kept: bool


def missing_requirements(
    outcomes: Sequence[TrainingOutcome],
    refiner: Refiner,
    find: Callable[..., Any] | None = None,
    *,
    good: float = 1.0,
    least: int = 2,
    cases: int = 8,
    max_tokens: int = 4000,
) -> tuple[MinedRequirement, ...]:
    """What the expected outcomes of training tasks have in common and verified, yet wrong, results lack.

    One call of a model sees the feedback that the metric gave on up to `cases` failures (verified, with a score below
    `good`). Each requirement that it proposes is tested on runs of all outcomes: it is kept if it holds in all that
    succeeded and fails in at least `least` failures. Failures of one task, or without feedback that says how the
    outcome relates to the expected one, teach nothing here; nor does a rule that no check can express get tested: it
    is kept as text. What holds by chance of the few training tasks passes, so that validation has the last word.

    Args:
        find: the phase to ask, `Find()` by default, on the LM of `dspy.context` or of the phase itself.
        max_tokens: of the cases in the prompt (characters / 4).

    Raises:
        LMError, AdapterParseError: the model gave nothing usable.
    """
    wrong = [one for one in outcomes if one.result.verified and one.score < good and one.feedback.strip()]
    failures = [*{task_text(one.task.inputs()): one for one in reversed(wrong)}.values()][::-1]  # one for each task
    if len(failures) < least:
        return ()
    shown = failures[:cases]
    common = _common(outcomes)
    texts, told, environment = _cases(shown, refiner, common, 4 * max_tokens)
    said = (find or Find())(checks=told.checks, policy=told.policy, cases=texts)
    slots = [Delexicalizer(one.task, one.result.execution) for one in shown]
    drafts = [draft for one in said.proposals if (draft := _draft(one, outcomes, common, slots)) is not None]
    unique = [*{json.dumps(draft[0], sort_keys=True, default=str): draft for draft in drafts}.values()]
    if not unique:
        return ()
    only = [draft for draft, _ in unique]
    succeeded = _tests(only, [one for one in outcomes if one.score >= good], refiner)
    failed = _tests(only, failures, refiner)
    return tuple(
        _proposal(draft, reason, environment, [row[n] for row in succeeded], [row[n] for row in failed], least)
        for n, (draft, reason) in enumerate(unique)
    )


def _cases(
    failures: Sequence[TrainingOutcome], refiner: Refiner, common: frozenset[str], cap: int
) -> tuple[list[str], Catalogue, str]:
    """The failures as a model is shown them, what it is told of the environment, and the environment's name."""
    texts: list[str] = []
    told: Catalogue | None = None
    name = ""
    for one in failures:
        with Replay(refiner, one.task) as bench:
            told, name = told or bench.catalogue, bench.environment
            texts.append(_case(one, bench.told, common, cap // len(failures)))
    if told is None:
        raise ValueError("no failure to show")
    return texts, told, name


def _case(one: TrainingOutcome, known: str, common: frozenset[str], cap: int) -> str:
    """One failure in about `cap` characters; what its outcome lacks is cut last."""
    request = _plain(task_text(one.task.inputs()), one.task, common)
    required = _plain("\n".join(item.to_prompt() for item in one.result.requirements.items), one.task, common)
    outcome = truncate(_plain(one.feedback, one.task, common), max(cap // 2, cap - 3 * _LEAST))
    level = fair_cap([len(request), len(known), len(required)], max(3 * _LEAST, cap - len(outcome)))
    parts = [
        f"Request: {truncate(request, level)}",
        f"Known: {truncate(known, level)}" if known else "",
        f"Requirements, all met:\n{truncate(required, level)}",
        f"Outcome: {outcome}",
    ]
    return "\n".join(part for part in parts if part)


def _common(outcomes: Sequence[TrainingOutcome]) -> frozenset[str]:
    """Values that stand in the gold of at least half of the tasks, and which their runs saw too: no task's secret."""
    counts: Counter[str] = Counter()
    for one in outcomes:
        seen = {str(value).casefold() for o in one.result.execution.observations for _, value in leaves(o.value)}
        counts.update(seen & {str(value).casefold() for _, value in leaves(one.task.labels().toDict())})
    return frozenset(text for text, count in counts.items() if 2 * count >= len(outcomes) > 1)


def _gold(task: dspy.Example, common: frozenset[str]) -> set[str]:
    """Names, ids and longer numbers of a task's gold that few other golds share."""
    found = {str(value) for _, value in leaves(task.labels().toDict())}
    return {text for text in found if text.casefold() not in common and len(text) > 2 and re.search(r"[\dA-Z ]", text)}


def _plain(text: str, task: dspy.Example, common: frozenset[str]) -> str:
    """`text` without ids, and without what the task's gold alone holds, unless its inputs say it too."""
    inputs = task_text(task.inputs()).casefold()
    for value in sorted(_gold(task, common), key=len, reverse=True):
        if value in text and value.casefold() not in inputs:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
    return _CODE.sub("<id>", text)


def _draft(
    written: Mapping[str, Any],
    outcomes: Sequence[TrainingOutcome],
    common: frozenset[str],
    slots: Sequence[Delexicalizer],
) -> tuple[dict[str, Any], str] | None:
    """A proposal as a draft and the reason for it; None where it says nothing or holds a value of one task."""
    check, args = str(written.get("check") or "").strip(), written.get("args")
    text, reason = (str(written.get(name) or "").strip() for name in ("text", "reason"))
    for one in slots:
        text, reason = one.text(text), one.text(reason)
    draft: dict[str, Any] = {}
    if check:
        draft = {"check": check, "args": dict(args) if isinstance(args, Mapping) else {}}
    if text:
        draft["text"] = text
    own = {value.casefold() for one in outcomes for value in _gold(one.task, common)}
    if any(value.casefold() in own or _CODE.search(value) for value in _compared(draft.get("args", {}))):
        return None
    return (draft, reason) if draft else None


def _compared(value: Any) -> Iterator[str]:
    """Texts that a draft compares with; names of fields, operators, slots and references left out."""
    if triple(value) is not None:
        value = value[2]
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _compared(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _compared(item)
    elif not isinstance(value, bool) and not str(value).startswith(("$", "<")):
        yield str(value)


def _tests(
    drafts: Sequence[Mapping[str, Any]], outcomes: Sequence[TrainingOutcome], refiner: Refiner
) -> list[list[bool | None]]:
    """For each outcome, whether each draft holds of it; None where no check can tell."""
    found = []
    for one in outcomes:
        with Replay(refiner, one.task) as bench:
            holds = bench.judge(one.result.trajectory, one.result.requirements)
            found.append([holds(draft) for draft in drafts])
    return found


def _proposal(
    draft: dict[str, Any],
    reason: str,
    environment: str,
    good: Sequence[bool | None],
    bad: Sequence[bool | None],
    least: int,
) -> MinedRequirement:
    tested = any(one is not None for one in (*good, *bad))
    explained = sum(one is False for one in bad)
    lesson = Lesson(
        environment=environment,
        trigger="a task is planned here",
        mistake="what was written down was met, and the outcome was not the expected one",
        avoid=f"require this too: {reason or draft.get('text') or draft.get('check')}",
        requirement=draft,
        by="model",
    )
    contradicted = any(one is False for one in good)
    kept = explained >= least and not contradicted if tested else bool(draft.get("text")) and "check" not in draft
    held, told = sum(one is True for one in good), sum(one is not None for one in good)
    return MinedRequirement(lesson, held, told, explained, len(bad), tested, kept)
