"""What the offline model knows of a task: the plan that a capable model would write for it, and nothing of its gold."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.simulator.knowledge import Literal, Shown, guessed, shown_by, unknown
from pivot_dspy.simulator.prompt import Prompt, is_step, names, unmet_in
from pivot_dspy.simulator.slips import Dice, Rates, WrittenStep
from pivot_dspy.trajectory import SUBMIT, Frozen

Revise = Callable[[Mapping[str, str], list[WrittenStep]], list[WrittenStep]]
"""From the prompt's sections and the reference's steps to the steps as they should be, given what the prompt shows."""


class Reference(Frozen):
    """One known task.

    Raises:
        ValueError: it is no plan that could be written; the message names what is wrong.

    >>> Reference(match="Which day?", steps=[{"id": "submit", "tool": "submit", "args": {"day": "Monday"}}]).match
    'Which day?'
    """

    match: str
    """Text that stands in the prompts of this task and in no other's, such as the request; the longest match counts."""
    requirements: Sequence[dict[str, Any]] = ()
    """As a capable model writes them: `{"id", "check", "args"}` or `{"id", "text"}`."""
    steps: Sequence[WrittenStep]
    """As a capable model writes them: `{"id", "tool", "args", "for_each"}`, up to submit."""
    serves: Mapping[str, str | Sequence[str]] = Field(default_factory=dict)
    """Id of a step to the id, or ids, of the requirements that it is there for."""
    outputs: Mapping[str, Any] = Field(default_factory=dict)
    """Values of the output fields that are composed at the end; a string may be a binding over what the prompt shows of
    the observations, `"$a.total"`."""
    truths: Mapping[str, str | Sequence[str]] = Field(default_factory=dict)
    """Id or text of a requirement to the text, or all the texts, that observations show where it holds, for judging."""
    worked_out: Mapping[str, Sequence[Any]] = Field(default_factory=dict)
    """A value that is worked out, to those that it comes from: none for what everybody knows. The sum or difference of
    two figures, and another form of a date, need not stand here."""
    revise: Revise | None = Field(default=None, exclude=True, repr=False)
    """A domain's reasoning over a prompt that shows how a run went ("the evidence names a selection that meets the
    total: take it"). It sees the prompt's sections and nothing else; for a plan after failed trials, the plan in mind
    as `open_steps` and the reflections as `report`."""
    told: Callable[[Mapping[str, str], Reference], Reference] | None = Field(default=None, exclude=True, repr=False)
    """A domain's understanding of what a prompt states beside the task (in its lessons, say), which changes what a
    capable model would plan: from the prompt's sections and this reference to the one to go by."""

    @model_validator(mode="after")
    def _plausible(self) -> Reference:
        if not self.match.strip():
            raise ValueError("match is empty; give text that stands in the task's prompts, such as the request")
        for step in self.steps:
            if not is_step(step):
                raise ValueError(f'a step needs "id" and "tool", both text: {step!r:.200}')
        ids = [step["id"] for step in self.steps]
        for step_id in self.serves:
            if step_id not in ids:
                raise ValueError(f"serves names {step_id!r}; the steps are {', '.join(ids) or 'none'}")
        if len(set(ids)) < len(ids):
            raise ValueError(f"two steps have one id; the ids are {', '.join(ids)}")
        if any(not isinstance(item.get("id"), str) for item in self.requirements):
            raise ValueError('every requirement needs an "id" of its own')
        try:
            json.dumps(self.model_dump())
        except TypeError as error:
            raise ValueError(f"a reference is plain JSON data, but for revise: {error}") from error
        return self

    def requirements_of(self, step_id: str) -> tuple[str, ...]:
        """Ids of the requirements that a step serves."""
        served = self.serves.get(step_id, ())
        return (served,) if isinstance(served, str) else tuple(served)

    def revised(self, sections: Mapping[str, str]) -> list[WrittenStep]:
        """The steps, after `revise` where there is one; they are the caller's to change."""
        steps = copy.deepcopy(list(self.steps))
        return steps if self.revise is None else self.revise(dict(sections), steps)

    def as_told(self, sections: Mapping[str, str]) -> Reference:
        """The reference in the light of what a prompt states; itself where there is no `told`."""
        return self if self.told is None else self.told(dict(sections), self)

    def to_state(self) -> dict[str, Any]:
        """The JSON form.

        Raises:
            ConfigurationError: it holds code.
        """
        for name in ("revise", "told"):
            if getattr(self, name) is not None:
                raise ConfigurationError(
                    f"the reference for {self.match[:60]!r} has a {name} function, which JSON cannot hold; save the "
                    "program without this LM and set it again after loading"
                )
        return self.model_dump(mode="json")

    @property
    def fingerprint(self) -> str:
        """Its content as text; of code only the name and the instructions."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return text + _code_of(self.revise) + _code_of(self.told)


_CHANGING = re.compile(r"^- (\w+)\((?:(?!  # ).)*  \[\w+\](?:  # |$)", re.MULTILINE)

UNKNOWN_TASK = Reference(match="unknown", steps=[{"id": SUBMIT, "tool": SUBMIT, "args": {}}])
"""What the model goes by where it has no reference: an empty submit."""


class Turn(NamedTuple):
    """One call of the model: what it is asked and shown, what it knows of the task, and how its luck falls."""

    prompt: Prompt
    reference: Reference
    """`UNKNOWN_TASK` where no reference matches."""
    rates: Rates
    dice: Dice

    @property
    def knows_task(self) -> bool:
        return self.reference is not UNKNOWN_TASK

    def section(self, name: str) -> str:
        return self.prompt.section(name)

    @property
    def shown(self) -> Shown:
        """What the prompt tells."""
        return self.told_by(self.prompt.shown)

    @property
    def shown_before(self) -> Shown:
        """What it told by the call before."""
        return self.told_by(self.prompt.shown_before)

    def told_by(self, text: str) -> Shown:
        worked_out = self.reference.worked_out.items()
        return shown_by(text, tuple((figure, tuple(sources)) for figure, sources in worked_out))

    @property
    def ids(self) -> frozenset[str]:
        """Ids of the reference's steps."""
        return frozenset(str(step["id"]) for step in self.reference.steps)

    def unknown(self, step: Mapping[str, Any], shown: Shown | None = None) -> list[Literal]:
        """The literals of a step that the prompt does not tell."""
        return unknown(step, shown or self.shown, self.ids)

    def guessed(self, step: WrittenStep) -> WrittenStep:
        """The step with something made up for them."""
        return guessed(step, self.shown, self.ids, self.dice)

    def only_reads(self, tool: str) -> bool:
        """Whether the prompt's list of tools says nothing else of one."""
        return tool != SUBMIT and tool not in _CHANGING.findall(self.section("tools"))

    def blames(self, feedback: str, step_id: str) -> bool:
        """Whether feedback names a step, or says that a requirement which it serves is not met."""
        served = self.reference.requirements_of(step_id)
        return names(feedback, step_id) or not unmet_in(feedback).isdisjoint(served)

    def heeds(self, *labels: object) -> bool:
        """Whether the model takes in what its prompt says of the thing that `labels` name."""
        return self.dice.falls(self.rates.heed, *labels)

    def showing(self, **sections: str) -> Turn:
        """The same call with other sections."""
        return self._replace(prompt=self.prompt._replace(sections={**self.prompt.sections, **sections}))


def find(references: Iterable[Reference], texts: Sequence[str]) -> Reference | None:
    """The reference with the longest `match` in the first of `texts` where any matches; None if none does."""
    longest_first = sorted(references, key=lambda reference: -len(reference.match))
    return next((reference for text in texts for reference in longest_first if reference.match.strip() in text), None)


def digest(references: Iterable[Reference]) -> str:
    """Eight hexadecimal digits that change with any of the references and with the code of the offline model."""
    text = "\n".join([_own_code(), *(reference.fingerprint for reference in references)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@lru_cache(maxsize=1)
def _own_code() -> str:
    """The source of this package: answers that DSPy has cached must not outlive it."""
    files = [file for file in resources.files("pivot_dspy.simulator").iterdir() if file.name.endswith(".py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name))


def _code_of(function: Any) -> str:
    """The name and the instructions of a function, or of what a `partial` calls."""
    function = getattr(function, "func", function)
    code = getattr(function, "__code__", None)
    return f"{getattr(function, '__qualname__', '')}:{code and code.co_code.hex()}"
