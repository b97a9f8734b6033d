"""One prompt that only grows: each call of a task begins with the messages of the one before, so that it is cached.

What a phase shares with the phases before it (tools, policy, request) stands in the first message and is not said
again. How a message is written is the adapter's own business; this only decides which messages stand before the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MethodType
from typing import Any, NamedTuple

from pivot_dspy.dspy_internals import unannounced, with_callbacks
from pivot_dspy.prompts.adapter import Heard, read_whole
from pivot_dspy.prompts.history import telling_turns
from pivot_dspy.prompts.shown import ShownResults
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.trajectory import Observation, Step

Message = Mapping[str, Any]

SHARED_FIELDS = ("tools", "checks", "policy", "lessons", "known", "user_requirements")
"""Input fields of the phases that stay the same for a task, beside its own."""
PREFIXES = ("pivot_", "task_")
"""What the name of a field begins with that would be that of another one."""
PARAGRAPH = "\n\n"
FORM_LENGTH = 700
"""Characters that an adapter adds to a first message, about."""
EXAMPLE = "An example, of another task; nothing of it is true of this one:"
"""Before an example that stands amid the messages of a task."""
UNREADABLE_CAP = 2000
"""Characters of an answer that could not be read, and of the reason, that the model is shown again."""


class Reading(NamedTuple):
    """What a step read."""

    step: Step
    observation: Observation

    @property
    def key(self) -> str:
        """Equal for the same call."""
        step, args = self.step, self.observation.args
        return f"{step.tool} {compact_json(step.content() | {'id': ''} if args is None else args)}"


@dataclass(frozen=True)
class Conversation:
    """The messages of one task up to a trajectory; empty before its first call. It is never changed, only continued."""

    messages: tuple[Message, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    """The input fields that stay the same for the task and that it shows, as texts by name."""
    told: frozenset[str] = frozenset()
    """The paragraphs of the instructions, and the lines about input fields, that stand in it."""
    written: frozenset[str] = frozenset()
    """The steps that stand in its answers, each as `Step.to_prompt` writes it."""
    shown: ShownResults = field(default_factory=ShownResults)
    """The results that stand in it."""
    readings: frozenset[str] = frozenset()
    """Keys of the readings of other runs that stand in it."""
    looks: tuple[str, ...] = ()
    """The expressions whose values it shows because the model asked to see them."""

    @property
    def relooks(self) -> tuple[str, ...]:
        """What was shown on request and has to be shown again, as no message holds it."""
        return () if self.messages else self.looks

    def begun_anew(self) -> Conversation:
        """A conversation without messages, whose first prompt shows again what is needed of this one."""
        return Conversation(looks=self.looks)

    def cost(self, signature: Any, inputs: Mapping[str, Any], cached_price: float) -> float:
        """About what a prompt costs that goes on after it with these input fields, in uncached characters.

        One that stands alone begins with form and instructions, as all of its kind do: these are cached too.
        """
        sent = sum(len(str(message["content"])) for message in self.messages)
        new = sum(len(str(value)) for name, value in inputs.items() if not self.shows(name, value))
        told = sum(map(len, self.untold(signature.instructions.split(PARAGRAPH))))
        return new + (cached_price * sent + told if self.messages else cached_price * (FORM_LENGTH + told))

    def shows(self, name: str, value: Any) -> bool:
        """Whether it shows an input field, or a longer text of the same name, which says the same and more."""
        return name in self.fields and (self.fields[name] == str(value) or len(self.fields[name]) > len(str(value)))

    def unread(self, readings: Sequence[Reading]) -> list[Reading]:
        """Those of `readings` that it does not show."""
        return [reading for reading in readings if reading.key not in self.readings]

    def wrote(self, step: Step) -> bool:
        """Whether an answer in it has the step as it is."""
        return step.to_prompt() in self.written

    def untold(self, texts: Sequence[str]) -> list[str]:
        """Those of the paragraphs and lines that do not stand in it."""
        return [text for text in texts if text and text not in self.told]

    def continue_with(
        self, asked: Asked, shown: ShownResults, steps: Sequence[Step] = (), readings: Sequence[Reading] = (),
        looks: Sequence[str] = (), task: Iterable[str] = (),
    ) -> Conversation:  # fmt: skip
        """The conversation after one more call; as it was, where nothing is known of what that call sent.

        Args:
            asked: the call, answered.
            task: names of the task's own input fields.
            shown: the results that stand in it now.
            steps: what the answer wrote.
            readings: of other runs, which were shown.
            looks: what was shown because it was asked for.
        """
        if not asked.answered:
            return self
        names = [*SHARED_FIELDS, *task]
        stable = [*names, *(f"{prefix}{name}" for prefix in PREFIXES for name in names)]
        return replace(
            self,
            messages=asked.answered,
            fields={**self.fields, **{name: str(asked.inputs[name]) for name in stable if name in asked.inputs}},
            told=self.told.union(asked.signature.instructions.split(PARAGRAPH), _about_fields(asked.signature)),
            written=self.written | {step.to_prompt() for step in steps},
            shown=shown,
            readings=self.readings.union(reading.key for reading in readings),
            looks=tuple(dict.fromkeys([*self.looks, *looks])),
        )


EMPTY = Conversation()
"""Before the first call."""


@dataclass
class Asked:
    """One call of the model: what was sent, and with what."""

    conversation: Conversation
    signature: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    answered: tuple[Message, ...] = ()
    """The messages with the answer after them, as the adapter writes it; empty where another adapter wrote them for
    this one, as in `dspy.Refine`."""
    heard: Heard = field(default_factory=Heard)
    """What DSPy recorded of the call."""

    def adapter(self, adapter: Any, correction: Sequence[Message] = ()) -> Any:
        """`adapter`, with the conversation before what it writes; it reads whole answers alone.

        It does not ask again by itself in another form, which would not know of the conversation.

        Args:
            correction: what is put after it: an answer that could not be read, and why.
        """
        continued = read_whole(adapter, self.heard)
        continued.use_json_adapter_fallback = False

        def write(signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> list[Message]:
            self.signature, self.inputs = signature, inputs
            writer = telling_turns(adapter)
            turn = _turn(writer, self.conversation) if self.conversation.messages else unannounced(writer.format)
            self.messages = (*self.conversation.messages, *turn(signature, demos, inputs), *correction)
            return [*self.messages]

        continued.format = write
        return continued

    def answer(self, adapter: Any, answer: Any) -> None:
        """Takes note of what was answered: a prediction with the output fields that were asked for."""
        if self.signature is None:
            return
        outputs = {name: answer.get(name) for name in self.signature.output_fields}
        try:
            content = adapter.format_assistant_message_content(self.signature, outputs)
        except NotImplementedError:  # an adapter that writes its messages in a way of its own
            content = compact_json(outputs)
        self.answered = (*self.messages, {"role": "assistant", "content": content})


def correction_of(response: str, reason: str) -> tuple[Message, Message]:
    """What follows an answer that could not be read: the answer, and what was wrong with it."""
    problem = truncate(" ".join(reason.split()), UNREADABLE_CAP // 4)
    return (
        {"role": "assistant", "content": truncate(response, UNREADABLE_CAP) or "(nothing)"},
        {"role": "user", "content": f"This could not be read: {problem}\nWrite the whole answer again, as asked for."},
    )


def _turn(adapter: Any, conversation: Conversation) -> Callable[..., list[Message]]:
    """What writes the messages of a later call: without what the first one has said."""

    def merge(signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> list[Message]:
        new = PARAGRAPH.join(conversation.untold(signature.instructions.split(PARAGRAPH)))
        return _merged(adapter.format(signature.with_instructions(new), demos if new else [], inputs))

    def format(self: Any, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> list[Message]:
        new = conversation.untold(signature.instructions.split(PARAGRAPH))
        examples = adapter.format_demos(signature, demos) if new else []  # they stand where this was asked before
        prefix = PARAGRAPH.join([*new, "\n".join(conversation.untold(_about_fields(signature)))]).strip()
        content = adapter.format_user_message_content(signature, inputs, prefix=prefix, main_request=True)
        return [*map(_as_example, examples), {"role": "user", "content": content}]

    if not hasattr(adapter, "user_message_output_requirements"):
        return merge
    turn: Callable[..., list[Message]] = unannounced(MethodType(with_callbacks(format), adapter))
    return turn


def _as_example(message: Message) -> Message:
    """A message of an example, said to be of another task where it stands amid this one's."""
    if message["role"] != "user" or not isinstance(message["content"], str):
        return message
    return {**message, "content": f"{EXAMPLE}\n\n{message['content']}"}


def _about_fields(signature: Any) -> list[str]:
    """What a signature says of its input fields, in a line each."""
    described = ((name, field.json_schema_extra["desc"]) for name, field in signature.input_fields.items())
    return [f"`{name}`: {about}" for name, about in described if about and about != f"${{{name}}}"]


def _merged(messages: Sequence[Message]) -> list[Message]:
    """Messages without one of the system's, whose text stands before that of the first one of the user's."""
    system = [str(message["content"]) for message in messages if message["role"] == "system"]
    others: list[Any] = [dict(message) for message in messages if message["role"] != "system"]
    if system and others and isinstance(others[0]["content"], str):
        others[0]["content"] = PARAGRAPH.join([*system, others[0]["content"]])
    return others
