"""Whether a feedback fits the review that it answers, by the review alone: before it is saved, sent or used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from pivot_dspy import bindings
from pivot_dspy.errors import did_you_mean
from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Pin, Reject, Respond
from pivot_dspy.human.review import Review, ToolForm
from pivot_dspy.trajectory import Step


def problems(feedback: HumanFeedback, review: Review) -> list[str]:
    """Why `feedback` cannot be an answer to `review`, a sentence each with the remedy; empty where it can."""
    if feedback.review is not None and feedback.review != review.id:
        return [f"it answers the review {feedback.review}, and this is {review.id}; answer what is asked now"]
    return [*_problems(feedback, review)]


def _problems(feedback: HumanFeedback, review: Review) -> Iterator[str]:
    kinds = {action.kind for action in feedback.actions}
    if "approve" in kinds and kinds & {"reject", "edit", "respond", "comment"}:
        yield (
            f"it approves and has {', '.join(sorted(kinds - {'approve'}))} too; what is changed is shown again, and "
            "can be approved then"
        )
    for action in feedback.actions:
        if isinstance(action, Approve):
            waiting = tuple(dict.fromkeys(call.step for call in review.pending))
            for step in action.steps:
                if step not in waiting:
                    yield (
                        f"approve: step {step} waits for no approval{did_you_mean(step, waiting)}; those that do: "
                        f"{', '.join(waiting) or 'none'}"
                    )
        elif isinstance(action, (Edit, Respond)):
            yield from _no_such_step(action.kind, (action.step,), review)
            if action.step in review.trajectory.ids:
                yield from _of_edit(action, review) if isinstance(action, Edit) else _of_respond(action, review)
        elif isinstance(action, (Comment, Reject)) and action.step is not None:
            yield from _no_such_step(action.kind, (action.step,), review)
        elif isinstance(action, Pin):
            yield from _no_such_step(action.kind, action.steps, review)


def _no_such_step(kind: str, steps: tuple[str, ...], review: Review) -> Iterator[str]:
    for step in steps:
        if step not in review.trajectory.ids:
            meant = did_you_mean(step, review.trajectory.ids)
            yield f"{kind}: no step is called {step!r}{meant}; the steps are {', '.join(review.trajectory.ids)}"


def edited_args(edit: Edit, before: Step) -> dict[str, Any]:
    """The arguments of a step as edited: what the edit does not name keeps its value, unless the tool is another."""
    kept = before.args if edit.tool in (None, before.tool) else {}
    return {name: value for name, value in {**kept, **edit.args}.items() if name not in edit.dropped}


def _of_edit(edit: Edit, review: Review) -> Iterator[str]:
    tool = edit.tool or review.step(edit.step).tool
    form = review.tools.get(tool)
    if form is None:
        yield f"edit of {edit.step}: no tool is called {tool!r}{did_you_mean(tool, review.tools)}"
        return
    args = edited_args(edit, review.step(edit.step))
    missing = [name for name in form.required if name not in args]
    unknown = [name for name in args if form.closed and name not in form.parameters]
    if missing or unknown:
        lacks = f"lacks {', '.join(missing)}" if missing else ""
        extra = f"has {', '.join(unknown)}, which it does not take" if unknown else ""
        yield f"edit of {edit.step}: it {' and '.join(filter(None, (lacks, extra)))}; the tool is {form.signature}"
    for name in edit.args.keys() & form.parameters.keys():
        yield from _misfit(edit.step, name, edit.args[name], form)


def _misfit(step: str, name: str, value: Any, form: ToolForm) -> Iterator[str]:
    """A value that the parameter does not take; what a binding gives is seen when it runs."""
    if any("$" in text for text in bindings.strings([value])) or (isinstance(value, dict) and "calc" in value):
        return
    for error in Draft202012Validator(form.parameters[name]).iter_errors(value):
        yield f"edit of {step}: {name}: {error.message:.200}; the tool is {form.signature}"
        return


def _of_respond(respond: Respond, review: Review) -> Iterator[str]:
    if review.step(respond.step).is_submit:
        yield f"respond to {respond.step}: it is the answer, not a call; edit its arguments instead"
