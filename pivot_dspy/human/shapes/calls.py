"""What of a review a peer is asked, call by call, and what its decisions come to. No peer's words are known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from pivot_dspy import bindings
from pivot_dspy.errors import ConfigurationError, did_you_mean
from pivot_dspy.human.feedback import Action, Approve, Edit, HumanFeedback, Pin, Reject, Respond
from pivot_dspy.human.review import Review, ToolForm
from pivot_dspy.human.validation import problems
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.trajectory import SUBMIT, Step
from pivot_dspy.verdict import PendingCall

Decision = Approve | Edit | Reject | Respond
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class AskedCall:
    """One thing that is to be decided: a step whose calls wait, or the answer."""

    id: str
    """Of this question alone: no other review has it."""
    step: Step | None
    """None for the answer of a trajectory that has no step for it."""
    tool: str
    args: dict[str, Any]
    """All of them, as they are known; of a step that repeats, as they are written."""
    description: str
    form: ToolForm | None
    waits: bool
    """Whether it waits for a decision before it can be made real."""

    @property
    def allowed(self) -> tuple[str, ...]:
        """The kinds of decision that can be taken."""
        if self.waits:
            return ("approve", "edit", "reject", "respond")
        return ("approve", "edit", "reject") if self.step is not None else ("approve", "reject")

    @property
    def args_schema(self) -> dict[str, Any]:
        """JSON schema of arguments that an edit may have, those that stand now among them."""
        parameters = {} if self.form is None else self.form.parameters
        schemas = {name: _admitting(parameters.get(name, {}), value) for name, value in self.args.items()}
        return {
            "type": "object",
            "properties": {**parameters, **schemas},
            "additionalProperties": self.form is None or not self.form.closed,
        }

    def edited(self, tool: str, args: Mapping[str, Any]) -> Edit | Approve:
        """The decision for other arguments, which are literal; those that are as they were sent, or left out, stay as
        they are written in the step, bindings and all. Where nothing is otherwise, the call is approved.

        Raises:
            ConfigurationError: there is no step to edit.
        """
        if self.step is None:
            raise ConfigurationError(f"{self.id}: there is no step to edit; approve the answer or reject it")
        same_tool = tool == self.tool
        kept = self.args if same_tool else {}
        changed = {name: value for name, value in args.items() if not (name in kept and same(value, kept[name]))}
        if same_tool and not changed:
            return self.approved()
        written = {name: bindings.literal(plain(value)) for name, value in changed.items()}
        return Edit(step=self.step.id, tool=None if same_tool else tool, args=written)

    def approved(self) -> Approve:
        return Approve(steps=(self.step.id,) if self.waits and self.step is not None else ())

    def rejected(self, message: str) -> Reject:
        """The decision against it; against the answer is against the whole trajectory."""
        step = self.step.id if self.waits and self.step is not None else None
        return Reject(message=message or f"A person rejected {self.tool}.", step=step)

    def responded(self, value: Any) -> Respond:
        """The decision for a result in the place of the call.

        Raises:
            ConfigurationError: it is the answer, which is no call.
        """
        if not self.waits or self.step is None:
            raise ConfigurationError(f"{self.id}: {self.tool} is the answer, not a call; edit it instead")
        return Respond(step=self.step.id, value=plain(value))


def asked_calls(review: Review) -> tuple[AskedCall, ...]:
    """What is to be decided: each step with calls that wait, in order; where there is none, the answer alone."""
    waiting: dict[str, list[PendingCall]] = {}
    for call in review.pending:
        waiting.setdefault(call.step, []).append(call)
    if waiting:
        return tuple(_waiting_call(review, review.step(step), calls) for step, calls in waiting.items())
    submit = review.trajectory.submit
    args = plain({**(submit.args if submit is not None else {}), **review.outputs})
    return (
        AskedCall(
            id=f"{review.id}/{SUBMIT if submit is None else submit.id}",
            step=submit,
            tool=SUBMIT,
            args=args,
            description=_described(review, "The answer, and all that was done for it", [f"{SUBMIT} {_told(args)}"]),
            form=review.tools.get(SUBMIT),
            waits=False,
        ),
    )


def combined(review: Review, decisions: Sequence[Decision | None]) -> HumanFeedback:
    """The feedback of the decisions on what was asked, None for what was left open; all of them or none.

    What is approved beside something that changes is pinned: it is shown again with the whole, to be approved then.

    Raises:
        ConfigurationError: they do not fit the review.
    """
    approved = [decision for decision in decisions if isinstance(decision, Approve)]
    changing = [decision for decision in decisions if isinstance(decision, (Edit, Reject, Respond))]
    steps = tuple(step for approval in approved for step in approval.steps)
    actions: list[Action] = [*changing]
    if changing and steps:
        actions.append(Pin(steps=steps))
    elif approved and not changing:
        actions.append(Approve(steps=steps))
    given = HumanFeedback(review=review.id, actions=tuple(actions))
    if wrong := problems(given, review):
        raise ConfigurationError(f"review {review.id}: {'; '.join(wrong)}")
    return given


def by_id(review: Review, answers: Mapping[str, Answer]) -> list[tuple[AskedCall, Answer]]:
    """Each thing that was asked with its answer.

    Raises:
        ConfigurationError: an answer is to something else, or one is missing.
    """
    asked = asked_calls(review)
    ids = [call.id for call in asked]
    for name in answers:
        if name not in ids:
            raise ConfigurationError(f"nothing is asked as {name!r}{did_you_mean(name, ids)}; open: {', '.join(ids)}")
    if missing := [name for name in ids if name not in answers]:
        raise ConfigurationError(f"{', '.join(missing)} has no answer; answer all that is asked at once")
    return [(call, answers[call.id]) for call in asked]


def read(adapter: TypeAdapter[Answer], data: Any, what: str) -> Answer:
    """Data of a peer as what it should be.

    Raises:
        ConfigurationError: it is not; the message says where, and `what` it should be.
    """
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc'])) or 'all'}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise ConfigurationError(f"{'; '.join(faults)}; it takes {what}") from error


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, as in JavaScript, 1 and true are not.

    >>> same([1], [1.0]), same(1, True)
    (True, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _waiting_call(review: Review, step: Step, calls: Sequence[PendingCall]) -> AskedCall:
    args = plain(step.args if step.for_each is not None or len(calls) != 1 else calls[0].args)
    why = "waits for approval" if any(call.approval for call in calls) else "waits for commit"
    form = review.tools.get(step.tool)
    lines = [f"{call.tool} {_told(call.args)}" for call in calls]
    about = "" if form is None or not form.description else f": {form.description}"
    return AskedCall(
        id=f"{review.id}/{step.id}",
        step=step,
        tool=step.tool,
        args=args,
        description=_described(review, f"{step.tool} {why}{about}", lines),
        form=form,
        waits=True,
    )


def _described(review: Review, heading: str, lines: Sequence[str]) -> str:
    standing = [f"{one.status}: {one.text}" for one in review.requirements if one.status != "holds"]
    note = [review.note] if review.note else []
    return "\n".join((review.title, heading, *lines, *standing, *note))


def _told(args: Mapping[str, Any]) -> str:
    return compact_json(plain(args))


def _admitting(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """The schema of a parameter, which a value that stands now fits, also where that is a binding."""
    return schema if Draft202012Validator(schema).is_valid(value) else {"anyOf": [schema, {"const": value}]}
