"""Requirements that nobody stated, found from training tasks whose outcome was wrong although every check held."""

from __future__ import annotations

import json
import re
from collections import ChainMap, Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import dspy
import jmespath

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import triple
from pivot_dspy.environment.factory import task_of
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.result import Refined
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.learning.delexicalize import Delexicalizer, leaves
from pivot_dspy.memory.records import Lesson, environment_name, task_text
from pivot_dspy.phases.learn import Find
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.prompts.report import environment_summary
from pivot_dspy.prompts.truncation import compact_json, fair_cap, truncate
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.requirements import Requirement, Requirements, compile_drafts, evaluate
from pivot_dspy.trajectory import Step, Trajectory

LEAST = 2
"""Failures that a requirement has to explain."""
_PART_LEAST = 240
"""Characters that each part of a case has at least."""
_KNOWN_CAP = 1500
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
    wrong = [outcome for outcome in outcomes if outcome.result.verified and outcome.score < good]
    by_task: dict[str, TrainingOutcome] = {}
    for outcome in wrong:
        if outcome.feedback.strip():
            by_task.setdefault(task_text(outcome.task.inputs()), outcome)
    failures = list(by_task.values())
    if len(failures) < LEAST:
        return ()
    examples = failures[:cases]
    common = _common_values(outcomes)
    answer, environment = _ask(find or Find(), examples, refiner, common, 4 * max_tokens)
    slots = [Delexicalizer(outcome.task, outcome.result.execution) for outcome in examples]
    own = {value.casefold() for outcome in outcomes for value in _own_gold(outcome.task, common)}
    drafts: dict[str, tuple[dict[str, Any], str]] = {}
    for proposal in answer.proposals:
        draft, reason = _draft(proposal, slots)
        if draft and not any(text.casefold() in own or _CODE.search(text) for text in _compared(draft.get("args", {}))):
            drafts[json.dumps(draft, sort_keys=True, default=str)] = (draft, reason)
    if not drafts:
        return ()
    succeeded = _test(drafts.values(), [outcome for outcome in outcomes if outcome.score >= good], refiner)
    failed = _test(drafts.values(), failures, refiner)
    return tuple(
        _lesson(draft, reason, environment)
        for (draft, reason), *holds in zip(drafts.values(), succeeded, failed, strict=True)
        if _is_borne_out(draft, *holds)
    )


def _ask(
    find: Callable[..., Any], failures: Sequence[TrainingOutcome], refiner: Refiner, common: Collection[str], cap: int
) -> tuple[Any, str]:
    """What the model proposes for these failures, and the name of their environment."""
    texts: list[str] = []
    for outcome in failures:
        with replay(refiner, outcome.task) as again:
            texts.append(_case(outcome, again.orientation, common, cap // len(failures)))
            known, environment = again.catalogue, again.environment
    return find(checks=known.checks, policy=known.policy, cases=texts), environment


def _case(outcome: TrainingOutcome, orientation: str, common: Collection[str], cap: int) -> str:
    """One failure in about `cap` characters; what its outcome lacks is cut last."""
    request = _without_gold(task_text(outcome.task.inputs()), outcome.task, common)
    requirements = "\n".join(item.to_prompt() for item in outcome.result.requirements.items)
    required = _without_gold(requirements, outcome.task, common)
    feedback = truncate(_without_gold(outcome.feedback, outcome.task, common), max(cap // 2, cap - 3 * _PART_LEAST))
    level = fair_cap([len(request), len(orientation), len(required)], max(3 * _PART_LEAST, cap - len(feedback)))
    parts = [
        f"Request: {truncate(request, level)}",
        f"Known: {truncate(orientation, level)}" if orientation else "",
        f"Requirements, all met:\n{truncate(required, level)}",
        f"Outcome: {feedback}",
    ]
    return "\n".join(filter(None, parts))


def _common_values(outcomes: Sequence[TrainingOutcome]) -> frozenset[str]:
    """Values that stand in the gold of at least half of the tasks, and which their runs saw too: no task's secret."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        observed = [observation.value for observation in outcome.result.execution.observations]
        counts.update(_values(observed) & _values(outcome.task.labels().toDict()))
    return frozenset(text for text, count in counts.items() if 2 * count >= len(outcomes) > 1)


def _values(data: Any) -> set[str]:
    return {str(value).casefold() for _, value in leaves(data)}


def _own_gold(task: dspy.Example, common: Collection[str]) -> set[str]:
    """Names, ids and longer numbers of a task's gold that few other golds share."""
    texts = {str(value) for _, value in leaves(task.labels().toDict())}
    return {text for text in texts if text.casefold() not in common and re.search(r"[\dA-Z ]", text) and len(text) > 2}


def _without_gold(text: str, task: dspy.Example, common: Collection[str]) -> str:
    """`text` without ids, and without what the task's gold alone holds, unless its inputs say it too."""
    inputs = task_text(task.inputs()).casefold()
    for value in sorted(_own_gold(task, common), key=len, reverse=True):
        if value in text and value.casefold() not in inputs:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
    return _CODE.sub("<id>", text)


def _draft(proposal: Mapping[str, Any], slots: Sequence[Delexicalizer]) -> tuple[dict[str, Any], str]:
    """A proposal as a draft, empty where it says nothing, and the reason for it."""
    check, text, reason = (str(proposal.get(name) or "").strip() for name in ("check", "text", "reason"))
    for task_slots in slots:
        text, reason = task_slots.text(text), task_slots.text(reason)
    args = proposal.get("args")
    draft: dict[str, Any] = {}
    if check:
        draft = {"check": check, "args": dict(args) if isinstance(args, Mapping) else {}}
    if text:
        draft["text"] = text
    return draft, reason


def _compared(value: Any) -> Iterator[str]:
    """Texts that a draft compares with; names of fields, operators, slots and references left out."""
    if triple(value) is not None:
        value = value[2]
    if isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _compared(item)
    elif not isinstance(value, bool) and not str(value).startswith(("$", "<")):
        yield str(value)


def _test(
    drafts: Iterable[tuple[Mapping[str, Any], str]], outcomes: Iterable[TrainingOutcome], refiner: Refiner
) -> list[list[bool | None]]:
    """For each draft, whether it holds of each outcome; None where no check can tell."""
    results: list[list[bool | None]] = [[] for _ in drafts]
    for outcome in outcomes:
        with replay(refiner, outcome.task) as again:
            holds = again.judge(outcome.result.trajectory, outcome.result.requirements)
            for row, (draft, _) in zip(results, drafts, strict=True):
                row.append(holds(draft))
    return results


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


@contextmanager
def replay(refiner: Refiner, task: dspy.Example) -> Iterator[Replay]:
    """Opens the refiner's environment on a task once more, for as long as the `with` block lasts."""
    session = refiner.session_factory.open(task_of(task.inputs()))
    with closing(session.family):
        yield Replay(refiner, session)


class Replay:
    """A session of a refiner's environment, with its orientation reads made."""

    def __init__(self, refiner: Refiner, session: Session) -> None:
        self._refiner = refiner
        self._session = session
        self.known: dict[str, Any] = {}
        """Results of the orientation reads, by tool."""
        self.orientation = self._orient()
        """The same as a planner is shown them, one a line."""

    @property
    def environment(self) -> str:
        """The `environment_name`."""
        return environment_name(self._session.environment)

    @property
    def catalogue(self) -> Catalogue:
        """What a planner is told of the environment."""
        environment = self._session.environment
        return catalogue.render(
            self._session.toolbox, self._refiner.signature, policy=environment.policy,
            vocabulary=environment.vocabulary, known=self.orientation, read=list(self.known),
        )  # fmt: skip

    def run(self, trajectory: Trajectory) -> ExecutedRun:
        """Runs the trajectory in the session."""
        outputs = {name: field.annotation for name, field in self._refiner.signature.output_fields.items()}
        return run_sync(execute(trajectory, self._session, outputs=outputs))

    def judge(self, trajectory: Trajectory, settled: Requirements) -> Callable[[Mapping[str, Any]], bool | None]:
        """Runs the trajectory, and gives what tells of a draft of a requirement whether it holds where it ended.

        That is None where no check can tell: the draft is in words, its slots cannot be filled, its check raises or
        does not fit, or steps of the trajectory wait for commit.
        """
        run = self.run(trajectory)

        def holds(draft: Mapping[str, Any]) -> bool | None:
            written = self._fill_draft(draft)
            if written is None or run.execution.withheld or not draft.get("check"):
                return None
            compiled: tuple[Requirement, ...] = compile_drafts([written], self._session.toolbox, taken=settled.items)
            if not compiled or not compiled[0].executable:
                return None
            whole = Requirements(items=(*settled.items, compiled[0]))
            finding = evaluate(whole, run.execution, run.session)[-1]
            return None if finding.uncheckable else finding.holds

        return holds

    def _fill_draft(self, draft: Mapping[str, Any]) -> dict[str, Any] | None:
        """The draft with what its slots stand for here; None where one cannot be filled."""
        scope = dict(ChainMap(self.known, *(value for value in self.known.values() if isinstance(value, dict))))
        try:
            return {key: fill(value, scope) if key == "args" else value for key, value in draft.items()}
        except LookupError:
            return None

    def _orient(self) -> str:
        environment = self._session.environment
        names = [name for name in environment.orientation if name in self._session.toolbox.tools]
        reads = Trajectory(steps=tuple(Step(id=f"o{n}", tool=name) for n, name in enumerate(names)))
        run = run_sync(execute(reads, self._session))
        lines = []
        for name, observation in zip(names, run.execution.observations, strict=True):
            if observation.ok:
                self.known[name] = observation.value
                text = environment_summary(name, observation.value, environment) or compact_json(observation.value)
                lines.append(f"{name}() -> {truncate(text, _KNOWN_CAP)}")
        return "\n".join(lines)


def fill(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with each slot in it, `<EXPRESSION>`, replaced by what that JMESPath expression gives over `known`.

    Raises:
        LookupError: it gives nothing, or is no expression.

    >>> fill([["size", "in", "<values(sizes)>"]], {"sizes": {"tops": "L"}})
    [['size', 'in', ['L']]]
    """

    def fill_text(text: str) -> Any:
        whole = _SLOT.fullmatch(text)
        return _search(whole[1], known) if whole else _SLOT.sub(lambda slot: str(_search(slot[1], known)), text)

    return bindings.map_strings(value, fill_text)


def _search(expression: str, known: Mapping[str, Any]) -> Any:
    try:
        result = jmespath.search(expression, known)
    except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError) as error:  # what jmespath lets through
        raise LookupError(f"{expression} cannot be evaluated: {error}") from error
    if result is None or result == []:
        raise LookupError(f"nothing that is known has {expression}")
    return result
