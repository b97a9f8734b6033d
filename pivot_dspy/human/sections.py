"""A review as sections of plain lines, which a terminal, a notebook or a page lay out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pivot_dspy.human.review import TITLES, Review
from pivot_dspy.prompts.truncation import compact_json, escape_controls, truncate
from pivot_dspy.trajectory import Observation, Step

VALUE_CAP = 300
"""Characters of what a step gave."""
STATUS = {"ok": "", "error": "failed", "blocked": "not run", "withheld": "waits for commit"}
"""The states of a step in words."""

Mark = Literal["", "result", "new", "changed", "pinned", "good", "bad", "waits"]


class Line(NamedTuple):
    """One thing that is said."""

    text: str
    mark: Mark = ""
    """How it stands out."""


class Section(NamedTuple):
    """What is said of one subject."""

    title: str
    lines: tuple[Line, ...]


def sections(review: Review) -> tuple[Section, ...]:
    """What a person has to know, in the order in which it matters; nothing in it can begin a line of its own.

    Sections without lines are left out.
    """
    parts = (
        Section("Note", tuple(Line(line, "waits") for line in review.note.splitlines())),
        Section("Task", tuple(Line(f"{name}: {_shown(value)}") for name, value in review.task.items())),
        Section("Steps", tuple(_steps(review))),
        Section("Requirements", tuple(_requirements(review))),
        Section("Answer", tuple(Line(f"{name}: {_shown(value)}") for name, value in review.outputs.items())),
        Section("Verdict", tuple(_verdict(review))),
        Section("Waiting calls", tuple(_waiting(review))),
        Section("Proposed change", tuple(Line(line) for line in _gradient(review))),
    )
    return tuple(part for part in parts if part.lines)


def title(review: Review) -> str:
    """The occasion and the review's id, in one line."""
    return f"{TITLES[review.occasion].capitalize()} ({review.id})"


def _steps(review: Review) -> Iterator[Line]:
    changes = review.changes
    new = {step.id for step in changes.added} if changes else set()
    changed = {change.after.id for change in changes.changed} if changes else set()
    observations = review.execution.by_step
    for step in review.trajectory.steps:
        mark: Mark = "changed" if step.id in changed else "new" if step.id in new else ""
        mark = "pinned" if step.id in review.pinned else mark
        yield Line(_call(step, mark), mark)
        if step.id in observations and not step.is_submit:
            yield _result(observations[step.id])
    for step in changes.removed if changes else ():
        yield Line(f"- {_call(step, '')}", "changed")


def _call(step: Step, mark: str) -> str:
    args = ", ".join(f"{name}={_shown(value)}" for name, value in step.args.items())
    each = f" for each of {step.for_each}" if step.for_each else ""
    return f"{step.id}  {step.tool}({args}){each}{f'  [{mark}]' if mark else ''}"


def _result(seen: Observation) -> Line:
    said = seen.fault.message if seen.fault is not None else _shown(seen.value) if seen.ok else ""
    status = STATUS[seen.status]
    text = f"     {': '.join(part for part in (status, escape_controls(truncate(said, VALUE_CAP))) if part)}"
    marks: dict[str, Mark] = {"ok": "result", "withheld": "waits"}
    return Line(text, marks.get(seen.status, "bad"))


def _requirements(review: Review) -> Iterator[Line]:
    for standing in review.requirements:
        theirs = " (yours)" if standing.by_person else ""
        evidence = f" - {escape_controls(truncate(standing.evidence, VALUE_CAP))}" if standing.evidence else ""
        mark: Mark = {"holds": "good", "violated": "bad"}.get(standing.status, "waits")  # type: ignore[assignment]
        yield Line(f"{standing.id}{theirs} {standing.status}: {escape_controls(standing.text)}{evidence}", mark)


def _verdict(review: Review) -> Iterator[Line]:
    yield Line(f"loss {review.loss.total:.3f}")
    if review.verdict is not None:
        yield Line(review.verdict.status, "good" if review.verdict.verified else "bad")
        yield from (Line(escape_controls(truncate(reason, VALUE_CAP)), "bad") for reason in review.verdict.reasons)


def _waiting(review: Review) -> Iterator[Line]:
    for call in review.pending:
        needs = "needs an approval" if call.approval else "runs at commit"
        yield Line(f"{call.step}  {call.tool} {_shown(call.args)}  [{needs}]", "waits")


def _gradient(review: Review) -> list[str]:
    return [] if review.gradient is None else [escape_controls(line) for line in review.gradient.to_text().splitlines()]


def _shown(value: object) -> str:
    return escape_controls(truncate(value if isinstance(value, str) else compact_json(value), VALUE_CAP))
