"""Lessons: what the repairs of a run teach whoever plans another task.

A repair is a rewrite that was accepted and lowered the loss, read from the events of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import dspy

from pivot_dspy.environment.base import Environment
from pivot_dspy.episode.events import AcceptEvent, Event
from pivot_dspy.episode.result import Refined, by_own_names
from pivot_dspy.gradient import Gradient
from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.learning.edits import StepEdit, edits
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.memory.records import Lesson
from pivot_dspy.phases.learn import Learn
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.steps import render_steps
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.trajectory import Execution, Step

SHOWN = 3
"""Repairs of one run that a model is shown, those that lowered the loss most."""
STEPS_BUDGET = ObservationBudget(result=50, turn=300)
STEPS_BUDGET = ObservationBudget(result=50, turn=300)
STEPS_CAP = 1600
COMMENTS_CAP = 600


class Repair(NamedTuple):
    """A trajectory that failed, what was said of it, and the one that took its place at a lower loss."""

    before: Execution
    after: Execution
    gradient: Gradient | None
    """The last blame before the rewrite; None where it was criticised in words only."""
    comments: str
    """What a model said of the failure in words."""
    drop: float
    """By how much the total loss fell, above 0."""

    @property
    def by_rule(self) -> bool:
        """Whether a rule told what was to blame."""
        return self.gradient is not None and self.gradient.by != "model" and self.gradient.kind != "unexplained"

    def edits(self) -> tuple[StepEdit, ...]:
        """What was changed, as far as it can be put into words for any task; each once."""
        before, after = self.before.trajectory, self.after.trajectory
        difference = after.diff(before)
        ids = {*before.ids, *after.ids}
        known_tools = {step.tool for step in before.steps}
        every = [edit for change in difference.changed for edit in edits(change.before, change.after, ids)]
        for step in difference.added:
            if step.tool not in known_tools and not step.is_submit:
                later = [other.tool for other in after.steps[after.index(step.id) + 1 :] if other.tool in known_tools]
                every.append(StepEdit("added", step.tool, other=f" before {later[0]}" if later else ""))
        return tuple(every)


def repairs(history: Iterable[Event]) -> Iterator[Repair]:
    """The repairs of a run, in order. A plan that merely goes on where it had stopped is none."""
    executions: dict[str, Execution] = {}
    accepted: AcceptEvent | None = None
    gradient: Gradient | None = None
    comments: list[str] = []
    for event in history:
        if event.kind == "inspect":
            executions[event.trajectory.id] = event.execution
        elif event.kind == "gradient":
            gradient, comments = event.gradient, []
        elif event.kind == "critique" or event.kind == "reflect":
            gradient, comments = None, [event.diagnosis]
        elif event.kind == "evolve" or event.kind == "rewrite":
            comments.append(event.diagnosis)
        elif event.kind == "accept":
            text = "\n".join(filter(None, comments))
            if accepted is not None and event.trajectory.operator != "extend" and (gradient is not None or text):
                before, after = executions.get(accepted.trajectory.id), executions.get(event.trajectory.id)
                if before is not None and after is not None and event.loss.better_than(accepted.loss):
                    yield Repair(before, after, gradient, text, accepted.loss.total - event.loss.total)
            accepted, gradient, comments = event, None, []


def lessons_of(
    result: Refined, task: dspy.Example, environment: str, learn: Learn | None = None
) -> tuple[Lesson, ...]:
    """What the repairs of a run teach: by rule where a rule had told what was to blame, from what the rewrite changed.

    Args:
        learn: asked once, where a model had blamed or criticised, for what those repairs teach; None asks nobody.

    Raises:
        LMError, AdapterParseError: the model gave nothing usable.
    """
    result = by_own_names(result)
    slots = Delexicalizer(task, result.execution)
    every = list(repairs(result.history))
    lessons = [
        _lesson(environment, edit.texts, (edit.tool,), "rule", edit.fix)
        for repair in every if repair.by_rule
        for edit in repair.edits() if not slots.owns(edit.place) and not slots.owns(edit.other)
    ]  # fmt: skip
    unexplained = sorted((repair for repair in every if not repair.by_rule), key=lambda repair: -repair.drop)[:SHOWN]
    if unexplained and learn is not None:
        answer = learn(inputs=task.inputs().toDict(), repairs=[_description(repair) for repair in unexplained])
        executions = [execution for repair in unexplained for execution in (repair.before, repair.after)]
        tools = {step.tool for execution in executions for step in execution.trajectory.steps}
        for draft in answer.lessons:
            texts = [slots.text(str(draft.get(name) or "")).strip() for name in ("trigger", "mistake", "avoid")]
            named = draft.get("tools")
            named = [name for name in named if name in tools] if isinstance(named, list) else []
            if all(texts):
                lessons.append(_lesson(environment, texts, dict.fromkeys(named), "model"))
    return tuple({lesson.id: lesson for lesson in lessons}.values())


def count_lessons(lessons: Iterable[Lesson]) -> tuple[tuple[Lesson, int], ...]:
    """Lessons of many tasks, those that say the same as one, with how often each was learned; most frequent first."""
    counts: Counter[str] = Counter()
    kept: dict[str, Lesson] = {}
    for lesson in lessons:
        near = (other.id for other in kept.values() if other.id == lesson.id or other.near(lesson))
        name = next(near, lesson.id)
        kept.setdefault(name, lesson)
        counts[name] += 1
    return tuple((kept[name], counts[name]) for name in sorted(kept, key=lambda name: (-counts[name], name)))


def _lesson(
    environment: str, texts: Iterable[str], tools: Iterable[str], by: Literal["rule", "model"], fix: Fix | None = None
) -> Lesson:
    trigger, mistake, avoid = texts
    return Lesson(
        environment=environment, trigger=trigger, mistake=mistake, avoid=avoid, tools=tuple(tools), fix=fix, by=by
    )


def _description(repair: Repair) -> str:
    """A repair as a model reads it: the steps that differ, what came of them, and what was said of the failure."""
    difference = repair.after.trajectory.diff(repair.before.trajectory)
    changed = [change.before.id for change in difference.changed]
    blame = repair.gradient.to_text() if repair.gradient is not None else ""
    parts = [
        truncate("\n".join(filter(None, (blame, repair.comments))), COMMENTS_CAP),
        "Before:",
        _steps(repair.before, changed, difference.removed) or "nothing in its place",
        "After:",
        _steps(repair.after, changed, difference.added) or "left out",
    ]
    return "\n".join(parts)


def _steps(execution: Execution, changed: Sequence[str], others: Iterable[Step]) -> str:
    nobody = Environment()  # observations in plain words: no environment is open any more
    ids = [*changed, *(step.id for step in others)]
    return truncate(render_steps(execution, ids, nobody, STEPS_BUDGET), STEPS_CAP)
