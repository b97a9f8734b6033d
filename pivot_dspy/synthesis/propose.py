"""PROPOSE: goals that a user of an environment may have, as new tasks to learn from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dspy
from pydantic import TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from pivot_dspy.environment.render import Named, type_text
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, ask
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.catalogue import TOOLS_ARE, Catalogue


class ProposeGoals(dspy.Signature):  # type: ignore[misc]
    """Propose goals that a user of this environment may have. They become tasks to practise on.

    Each goal can be reached with the tools from what is there, as `seen` shows it, and in the end it can be told
    whether it was reached. Word it as a user would: with the names and values that decide it, so that one outcome is
    right, but without saying which tools to call or what they will give. Let some goals need the tools that were not
    used yet, some join tools in new ways, and some take fewer or more calls than before. Repeat no goal of `examples`
    or `proposed`.

    `goals` is a list of objects with the fields that `goal` names.
    """

    tools: str = dspy.InputField(desc=TOOLS_ARE)
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
        answer = yield from ask(
            self.predict,
            config,
            tools=catalogue.tools,
            checks=catalogue.checks,
            policy=catalogue.policy,
            about=self.task.instructions,
            goal=_goal_fields(fields),
            seen="\n".join(text for text in (catalogue.known, seen) if text),
            examples="\n".join(_inputs_text(inputs, fields) for inputs in examples),
            covered=covered,
            proposed="\n".join(_inputs_text(inputs, fields) for inputs in proposed),
            number=number,
        )
        entries = answer.goals if isinstance(answer.goals, list) else [answer.goals]
        goals = [goal for goal in (_read_goal(entry, fields) for entry in entries) if goal is not None]
        return dspy.Prediction(goals=goals, unreadable=len(entries) - len(goals))


def _goal_fields(fields: Mapping[str, Any]) -> str:
    named: Named = {}
    lines = []
    for name, field in fields.items():
        description = str((field.json_schema_extra or {}).get("desc") or "")
        comment = "" if description.startswith("${") else f"  # {description}"
        lines.append(f"{name}: {type_text(field.annotation, named)}{comment}")
    return "\n".join([*lines, *(f"{name} = {text}" for name, text in named.items())])


def _inputs_text(inputs: Mapping[str, Any], fields: Collection[str]) -> str:
    goal = {name: value for name, value in inputs.items() if name in fields}
    return json.dumps(plain(goal), ensure_ascii=False)


def _read_goal(entry: Any, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inputs in what the model wrote; a text stands for the only field. None where they are not all there."""
    if isinstance(entry, str) and len(fields) == 1:
        entry = {next(iter(fields)): entry}
    kinds = {
        name: field.annotation if field.is_required() else NotRequired[field.annotation]
        for name, field in fields.items()
    }
    try:
        goal: dict[str, Any] = TypeAdapter(TypedDict("Goal", kinds)).validate_python(entry)  # type: ignore[operator]
    except ValidationError:
        return None
    return None if "" in goal.values() else goal or None
