"""PROPOSE: goals that a user of an environment may have, as new tasks to learn from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dspy
from pydantic import TypeAdapter, ValidationError

from pivot_dspy.environment.render import Named, type_text
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, ask
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.catalogue import Catalogue


class ProposeGoals(dspy.Signature):  # type: ignore[misc]
    """Propose goals that a user of this environment may have. They become tasks to practise on.

    Each goal can be reached with the tools from what is there, as `seen` shows it, and in the end it can be told
    whether it was reached. Word it as a user would: with the names and values that decide it, so that one outcome is
    right, but without saying which tools to call or what they will give. Let some goals need the tools that were not
    used yet, some join tools in new ways, and some take fewer or more calls than before. Repeat no goal of `examples`
    or `proposed`.

    `goals` is a list of objects with the fields that `goal` names.
    """

    tools: str = dspy.InputField(desc="what may be called: parameters (? optional) -> result  [effect]")
    checks: str = dspy.InputField(desc="what can be checked in the end")
    policy: str = dspy.InputField(desc="what always holds here")
    about: str = dspy.InputField(desc="what every task is to do")
    goal: str = dspy.InputField(desc="the fields of one")
    seen: str = dspy.InputField(desc="calls that were made, and what they gave")
    examples: str = dspy.InputField(desc="goals of known tasks, one a line")
    covered: str = dspy.InputField(desc="what the tasks so far make use of")
    proposed: str = dspy.InputField(desc="goals that were proposed already, one a line")
    number: int = dspy.InputField(desc="of goals to propose")
    goals: list[Any] = dspy.OutputField()


class Propose(Phase):
    """New inputs for a task's signature.

    Called with `catalogue`, `seen`, `examples` and `proposed` (inputs of tasks), `covered`, `number` and `given` (names
    of inputs that are not to be proposed); returns a Prediction with `goals`, a list of inputs, and `unreadable`, how
    many entries were none.
    """

    asks = ProposeGoals

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.task = signature

    def run(
        self,
        *,
        catalogue: Catalogue,
        seen: str,
        examples: Sequence[Mapping[str, Any]] = (),
        proposed: Sequence[Mapping[str, Any]] = (),
        covered: str = "",
        number: int = 8,
        given: Collection[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        fields = {name: field for name, field in self.task.input_fields.items() if name not in given}
        said = yield from ask(
            self.predict,
            config,
            tools=catalogue.tools,
            checks=catalogue.checks,
            policy=catalogue.policy,
            about=self.task.instructions,
            goal=_described(fields),
            seen="\n".join(text for text in (catalogue.known, seen) if text),
            examples="\n".join(_line(one, fields) for one in examples),
            covered=covered,
            proposed="\n".join(_line(one, fields) for one in proposed),
            number=number,
        )
        written = said.goals if isinstance(said.goals, list) else [said.goals]
        read = [_read(entry, fields) for entry in written]
        goals = [goal for goal in read if goal is not None]
        return dspy.Prediction(goals=goals, unreadable=len(read) - len(goals))


def _described(fields: Mapping[str, Any]) -> str:
    named: Named = {}
    lines = []
    for name, field in fields.items():
        said = str((field.json_schema_extra or {}).get("desc") or "")
        lines.append(f"{name}: {type_text(field.annotation, named)}" + ("" if said.startswith("${") else f"  # {said}"))
    return "\n".join([*lines, *(f"{name} = {text}" for name, text in named.items())])


def _line(inputs: Mapping[str, Any], fields: Collection[str]) -> str:
    shown = {name: value for name, value in inputs.items() if name in fields}
    return json.dumps(plain(shown), ensure_ascii=False)


def _read(entry: Any, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inputs in what the model wrote; a text stands for the only field. None where they are not all there."""
    if isinstance(entry, str) and len(fields) == 1:
        entry = {next(iter(fields)): entry}
    if not isinstance(entry, Mapping):
        return None
    goal: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in entry:
            if field.is_required():
                return None
            continue
        try:
            goal[name] = TypeAdapter(field.annotation).validate_python(entry[name])
        except ValidationError:
            return None
        if goal[name] == "":
            return None
    return goal or None
