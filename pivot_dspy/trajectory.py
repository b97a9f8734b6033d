"""The object that is optimised: a trajectory of steps, and what came of running it, as immutable records.

PIVOT, arXiv 2605.11225, section on trajectories as optimisable objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import Self

from pivot_dspy import bindings
from pivot_dspy.confidence import Confidence
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.plain_json import JsonObject, Text

if TYPE_CHECKING:
    from pivot_dspy.messages import LoggedStep

SUBMIT = "submit"
"""Name of the step that ends a trajectory; its arguments are the output fields of the signature."""

_ABOUT = {"serves", "why", "confidence"}
"""Fields of a step that change nothing of what it does."""
_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


class Frozen(BaseModel):
    """A record that never changes after it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields replaced, unchecked. What was computed of the old fields is not taken along."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).__pydantic_fields__.keys():
            del copied.__dict__[name]
        return copied


class PersonsResult(Frozen):
    """What a person gave in the place of a call."""

    value: Any = None


class Step(Frozen):
    """One planned tool call."""

    id: str
    """Short name, unique in its trajectory; later steps refer to the result as `$id`."""
    tool: Text
    """Name of the tool, or `submit`."""
    args: JsonObject = Field(default_factory=dict)
    """Arguments; a string with `$id` in it is a binding (see `pivot_dspy.bindings`)."""
    for_each: Text | None = None
    """A binding that gives a list; the call is made once for each element, `$item`, and the result is a list of
    `{"item": element, "result": value}`."""
    expects: Text | None = None
    """A JMESPath condition on the step's own result that must give true."""
    serves: tuple[Text, ...] = ()
    """Ids of the requirements that the planner says it is for. Blame goes by it; it shows nothing to a judge."""
    why: Text | None = None
    """The planner's reason, for people."""
    problem: Text | None = None
    """Why what was proposed cannot be read as a step; such a step never runs."""
    confidence: Confidence | None = None
    """How sure the model was of it, where it was asked."""
    stopped: Text | None = None
    """Why the trajectory is stopped here: neither this step nor one after it runs."""
    result: PersonsResult | None = None
    """What a person gave in the place of the call, which is then never made."""

    @field_validator("id")
    @classmethod
    def _short_id(cls, value: str) -> str:
        if not _ID.fullmatch(value) or value == bindings.ITEM:
            raise ValueError(f"a step id is 1 to 64 letters, digits or _, and not 'item'; got {value!r}")
        return value

    @property
    def is_submit(self) -> bool:
        return self.tool == SUBMIT

    def depends_on(self, step_ids: Collection[str]) -> tuple[str, ...]:
        """Ids of the steps whose results this step's bindings read."""
        return bindings.dependencies(self.dollar_texts, step_ids) if self.dollar_texts else ()

    @cached_property
    def dollar_texts(self) -> tuple[str, ...]:
        """The texts in `for_each` and `args` that may be bindings: those with a dollar."""
        return tuple(text for text in bindings.strings([self.for_each, self.args]) if "$" in text)

    def content(self) -> dict[str, Any]:
        """The part that decides what the step does: what is said about it is left out, and whatever is empty."""
        return self.model_dump(exclude=_ABOUT, exclude_defaults=True)

    def to_prompt(self) -> str:
        """The step as one line of compact JSON, as a model writes it."""
        return self._written

    @cached_property
    def _written(self) -> str:
        written = self.model_dump(exclude={*_ABOUT, "stopped", "result"}, exclude_defaults=True)
        return json.dumps(written, ensure_ascii=False)


class StepChange(Frozen):
    """A step of one trajectory beside the step of the same id in another."""

    before: Step
    after: Step


class TrajectoryDiff(Frozen):
    """How one trajectory differs from another, step by step; steps that do the same in both are left out."""

    added: tuple[Step, ...]
    removed: tuple[Step, ...]
    changed: tuple[StepChange, ...]


class Trajectory(Frozen):
    """An immutable sequence of steps that knows where it came from.

    >>> first = Trajectory(steps=(Step(id="a", tool="search", args={"day": "Monday"}),))
    >>> second = first.replace_from(0, [Step(id="a", tool="search", args={"day": "Friday"})], operator="evolve")
    >>> second.parent == first.id, second.common_prefix(first)
    (True, 0)
    """

    steps: tuple[Step, ...] = ()
    """In the order in which they run."""
    parent: str | None = None
    """Id of the trajectory that this one was made from."""
    operator: str = "given"
    """What made it: `plan`, `evolve`, `patch`, `person`, `extend`, `rewrite`, `crossover`, `transfer`, `restructure`,
    `compose`, `messages` or `given`."""

    @field_validator("steps")
    @classmethod
    def _unique_ids(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        seen: set[str] = set()
        for step in steps:
            if step.id in seen:
                raise ValueError(f"two steps are called {step.id!r}; give each step an id of its own")
            seen.add(step.id)
        return steps

    @cached_property
    def id(self) -> str:
        """Content id: equal for equal steps, whatever their lineage. 12 hexadecimal digits."""
        text = json.dumps([step.content() for step in self.steps], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(step.id for step in self.steps)

    @cached_property
    def submit(self) -> Step | None:
        """The submitting step, if there is one."""
        return next((step for step in self.steps if step.is_submit), None)

    def __len__(self) -> int:
        return len(self.steps)

    def index(self, step_id: str) -> int:
        """Position of the step called `step_id`.

        Raises:
            TrajectoryError: there is no such step.
        """
        try:
            return self.ids.index(step_id)
        except ValueError:
            raise TrajectoryError(f"no step {step_id!r}; the steps are {', '.join(self.ids) or 'none'}") from None

    def common_prefix(self, other: Trajectory) -> int:
        """Number of steps, from the start, that do the same in both."""
        count = 0
        for mine, theirs in zip(self.steps, other.steps, strict=False):
            if mine is not theirs and mine.content() != theirs.content():
                break
            count += 1
        return count

    def replace_from(self, start: int, suffix: Sequence[Step], *, operator: str) -> Trajectory:
        """The first `start` steps of this trajectory, then `suffix`; this one becomes the parent."""
        return Trajectory(steps=(*self.steps[:start], *suffix), parent=self.id, operator=operator)

    def diff(self, other: Trajectory) -> TrajectoryDiff:
        """What changed from `other` to this trajectory."""
        before = {step.id: step for step in other.steps}
        pairs = [StepChange(before=before[step.id], after=step) for step in self.steps if step.id in before]
        return TrajectoryDiff(
            added=tuple(step for step in self.steps if step.id not in before),
            removed=tuple(step for step in other.steps if step.id not in self.ids),
            changed=tuple(pair for pair in pairs if pair.before.content() != pair.after.content()),
        )

    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """For each step, the earlier or later steps that its bindings name."""
        step_ids = frozenset(self.ids)
        return {step.id: step.depends_on(step_ids) for step in self.steps}

    def to_json(self) -> str:
        return self.model_dump_json(exclude_defaults=True)

    @classmethod
    def from_json(cls, text: str) -> Trajectory:
        """Inverse of `to_json`.

        Raises:
            TrajectoryError: the text is not a trajectory.
        """
        try:
            return cls.model_validate_json(text)
        except ValueError as error:
            raise TrajectoryError(f"not the JSON of a trajectory: {error}") from error

    @classmethod
    def from_messages(
        cls, log: Any, *, output: str | Mapping[str, Any] | None = None, format: str = "auto",
        agent: str | None = None, edited: Collection[str] = (), run: str | int | None = None,
    ) -> Trajectory:  # fmt: skip
        """The trajectory that an agent ran, read from its log, to be refined.

        A call that failed is left out where a later one of the same tool did what it was for; the later step's `why`
        says so. `Execution.from_messages` reads what the calls gave as well.

        Args:
            log: messages of OpenAI (chat and Responses), Anthropic, Gemini, LangChain or Pydantic AI, the `trajectory`
                of `dspy.ReAct`, the `dspy.History` of a `dspy.ReActV2` run, steps of smolagents, an ATIF document, or
                spans of OpenTelemetry or OpenInference; as dictionaries or as objects. Arguments are taken literally:
                no binding is read into them.
            output: name of the output field that the last words answer, or the fields with what they were; this
                becomes the `submit` step. Without it, only a logged call of `submit` does.
            format: the name of a format; by default it is told from each entry. `turns` reads what several agents say
                to each other as steps.
            agent: whose calls are wanted, where several agents call tools.
            edited: ids of calls that a person changed before they ran, where the log keeps only what the model asked
                for. Such a step has a `problem`, and does not run as it stands.
            run: which run is wanted, where a list or a file holds several: its number from 0, or the id of its trace.

        Raises:
            TrajectoryError: an entry is of no format that can be read, a result stands without its call, there are
                several runs, or agents that call tools, and none is chosen, or a call comes after one of `submit` that
                did not fail.

        >>> call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        >>> t = Trajectory.from_messages([{"role": "assistant", "tool_calls": [call]},
        ...                               {"role": "tool", "tool_call_id": "1", "content": "2"},
        ...                               {"role": "assistant", "content": "It is 2."}], output="answer")
        >>> [(step.tool, step.args) for step in t.steps]
        [('add', {'a': 1}), ('submit', {'answer': 'It is 2.'})]
        """
        from pivot_dspy import messages  # the readers of all formats, of which most programs need none

        read = messages.read(log, format=format, agent=agent, edited=edited, run=run)
        logged = messages.plan(read, output, SUBMIT)
        return cls._of_log(logged)

    @classmethod
    def _of_log(cls, logged: Sequence[LoggedStep]) -> Trajectory:
        steps = (Step(id=one.id, tool=one.tool, args=one.args, why=one.why, problem=one.problem) for one in logged)
        return cls(steps=tuple(steps), operator="messages")


FaultKind = Literal[
    "malformed_step",
    "low_confidence",
    "unknown_tool",
    "bad_arguments",
    "unresolved_binding",
    "tool_error",
    "timeout",
    "unserialisable",
    "unmet_expectation",
    "violated_requirement",
    "unsupported_claim",
    "unasked_call",
    "missing_submit",
]


class Fault(Frozen):
    """Why a call gave no value."""

    kind: FaultKind
    message: str
    """What happened."""
    expected: str | None = None
    """What would have been right, such as a schema."""
    reference: str | None = None
    """Id of the step whose result could not be read, of an unresolved binding."""


class Discrepancy(Fault):
    """One difference between plan and execution."""

    step: str | None = None
    """Id of the step; None where the whole trajectory is meant."""
    requirement: str | None = None
    """Id of the requirement that is violated, if one is."""


class Observation(Frozen):
    """What running a step gave."""

    step: str
    """Id of the step."""
    status: Literal["ok", "error", "blocked", "withheld"] = "ok"
    """`error`: see `fault`; `blocked`: a step it depends on gave nothing; `withheld`: it may only run at commit."""
    value: Any = None
    """The result as plain JSON data, whole."""
    args: dict[str, Any] | None = None
    """The arguments after bindings were resolved; for a repeated step, None."""
    fault: Fault | None = None
    calls: int = 0
    """Number of tool calls made."""
    reused: bool = False
    """Whether it was taken over from an earlier execution without a call."""
    seconds: float = 0.0
    """Time in the tool."""
    stale: bool = False
    """Whether it was read after a step that was withheld, and so tells of a world without what that step does."""

    @property
    def ok(self) -> bool:
        return self.status == "ok"


class Execution(Frozen):
    """A trajectory with its observations, one for each step."""

    trajectory: Trajectory
    observations: tuple[Observation, ...] = ()
    tier: Literal["fork", "replay", "live", "recorded"] = "fork"
    """How the environment was kept safe; `recorded` where this was read from a log, and none was there."""
    outputs: dict[str, Any] = Field(default_factory=dict)
    """The resolved arguments of `submit`, empty where it did not run."""
    missing_outputs: tuple[str, ...] = ()
    state: str = ""
    """The environment's own short description of where it ended up."""
    discrepancies: tuple[Discrepancy, ...] = ()
    """What differed from the plan while running, in the order of the steps."""

    @cached_property
    def by_step(self) -> Mapping[str, Observation]:
        return {observation.step: observation for observation in self.observations}

    @property
    def withheld(self) -> tuple[str, ...]:
        """Ids of the steps that wait for commit."""
        return tuple(o.step for o in self.observations if o.status == "withheld")

    @property
    def tool_calls(self) -> int:
        """Calls that were really made in this execution; reused ones are not counted."""
        return sum(o.calls for o in self.observations if not o.reused)

    @classmethod
    def from_messages(
        cls, log: Any, *, output: str | Mapping[str, Any] = "answer", format: str = "auto", agent: str | None = None,
        edited: Collection[str] = (), run: str | int | None = None,
    ) -> Execution:  # fmt: skip
        """What an agent did as its log records it, for blame and requirements in words, where nothing can be run.

        The arguments and errors are those of `Trajectory.from_messages`, which reads the same steps; but a run without
        last words counts as unfinished here, whatever these are called. A call that the log holds no result of is an
        error, as is one that a person refused; a result counts as failed where the format says so, else where it begins
        with `Error` or has a field `error`. See `pivot_dspy.recorded` for blame of it.

        >>> log = [{"role": "user", "content": "How much is 1 + 1?"},
        ...        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": "{}"}}]},
        ...        {"role": "tool", "tool_call_id": "1", "content": "Error: a is missing"}]
        >>> recorded = Execution.from_messages(log)
        >>> [(seen.step, seen.fault.message) for seen in recorded.observations], recorded.missing_outputs
        ([('c1', 'Error: a is missing')], ('answer',))
        """
        from pivot_dspy import messages

        read = messages.read(log, format=format, agent=agent, edited=edited, run=run)
        logged = messages.plan(read, output, SUBMIT)
        observations = tuple(
            Observation(
                step=one.id, status=one.status, value=one.value, args=one.given, calls=int(one.tool != SUBMIT),
                fault=None if one.fault is None else Fault(kind="tool_error", message=one.fault),
            )
            for one in logged
        )  # fmt: skip
        outputs: dict[str, Any] = next((one.value for one in logged if one.tool == SUBMIT), {})
        faults = [(seen.step, seen.fault) for seen in observations if seen.fault is not None]
        return cls(
            trajectory=Trajectory._of_log(logged),
            observations=observations,
            tier="recorded",
            outputs=outputs,
            missing_outputs=tuple({output} if isinstance(output, str) else output) if not outputs else (),
            discrepancies=tuple(Discrepancy(step=step, **fault.model_dump()) for step, fault in faults),
        )
