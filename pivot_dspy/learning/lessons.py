"""Lessons: what a failure that was later repaired teaches whoever plans another task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.environment.base import Environment
from pivot_dspy.episode.result import Refined
from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.learning.repairs import Repair, repairs
from pivot_dspy.memory.records import Lesson
from pivot_dspy.phases.learn import Learn
from pivot_dspy.prompts.report import render_steps
from pivot_dspy.prompts.truncation import truncate

SHOWN = 3
"""Repairs of one run that a model is shown, those that lowered the loss most."""
_STEPS_CAP = 1600
_SAID_CAP = 600


def lessons_of(
    result: Refined, task: dspy.Example, environment: str, learn: Learn | None = None
) -> tuple[Lesson, ...]:
    """What the repairs of a run teach: by rule where a rule had told what was to blame, from what the rewrite changed.

    Args:
        learn: asked once, where a model had blamed or criticised, for what those repairs teach; None asks nobody.

    Raises:
        LMError, AdapterParseError: the model gave nothing usable.
    """
    slots = Delexicalizer(task, result.execution)
    found: list[Lesson] = []
    asked: list[Repair] = []
    for repair in repairs(result.history):
        if not repair.by_rule:
            asked.append(repair)
            continue
        for change in repair.changes():
            if change.kind == "tool" and change.fix is None:
                continue  # another call in its place: both tools have their use
            if not any(slots.owns(name) for name in (change.place, *change.wrong)):
                found.append(
                    Lesson(
                        environment=environment, trigger=change.trigger, mistake=change.mistake, avoid=change.avoid,
                        tools=(change.tool,), fix=change.fix, by="rule",
                    )  # fmt: skip
                )
    if asked and learn is not None:
        asked = sorted(asked, key=lambda one: -one.drop)[:SHOWN]
        said = learn(inputs=task.inputs().toDict(), repairs=[_shown(repair) for repair in asked])
        runs = [run for repair in asked for run in (repair.before, repair.after)]
        known = [step.tool for run in runs for step in run.trajectory.steps]
        found += [one for draft in said.lessons if (one := _of_model(draft, environment, slots, known)) is not None]
    return tuple({lesson.id: lesson for lesson in found}.values())


def counted(lessons: Iterable[Lesson]) -> tuple[tuple[Lesson, int], ...]:
    """Lessons of many tasks, those that say the same as one, with how often each was learned; most frequent first."""
    counts: dict[str, int] = {}
    kept: list[Lesson] = []
    for lesson in lessons:
        same = next((other for other in kept if other.id == lesson.id or other.near(lesson)), None)
        if same is None:
            kept.append(lesson)
        counts[(same or lesson).id] = counts.get((same or lesson).id, 0) + 1
    return tuple(sorted(((one, counts[one.id]) for one in kept), key=lambda pair: (-pair[1], pair[0].id)))


def _of_model(draft: Mapping[str, Any], environment: str, slots: Delexicalizer, known: Sequence[str]) -> Lesson | None:
    """A lesson that a model wrote, without values of the task; None where a part of it is wanting."""
    parts = [slots.text(str(draft.get(name) or "")).strip() for name in ("trigger", "mistake", "avoid")]
    if not all(parts):
        return None
    trigger, mistake, avoid = parts
    named = draft.get("tools")
    tools = tuple(dict.fromkeys(str(name) for name in named if name in known)) if isinstance(named, list) else ()
    return Lesson(
        environment=environment, trigger=trigger, mistake=mistake, avoid=avoid, tools=tools, by="model"
    )


def _shown(repair: Repair) -> str:
    """A repair as a model reads it: the steps that differ, what came of them, and what was said of the failure."""
    difference = repair.after.trajectory.diff(repair.before.trajectory)
    changed = [change.before.id for change in difference.changed]
    before = [*changed, *(step.id for step in difference.removed)]
    after = [*changed, *(step.id for step in difference.added)]
    blame = repair.gradient.to_text() if repair.gradient is not None else ""
    nobody = Environment()  # observations in plain words: no environment is open any more
    return "\n".join(
        [
            truncate("\n".join(part for part in (blame, repair.said) if part), _SAID_CAP),
            "Before:",
            truncate(render_steps(repair.before, before, nobody) or "nothing in its place", _STEPS_CAP),
            "After:",
            truncate(render_steps(repair.after, after, nobody) or "left out", _STEPS_CAP),
        ]
    )
