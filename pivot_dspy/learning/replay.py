"""Runs what was found for a training task once more, and tells whether another requirement would have held."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

import dspy
import jmespath

from pivot_dspy import bindings
from pivot_dspy.environment.factory import task_of
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.memory.records import environment_name
from pivot_dspy.prompts import catalogue
from pivot_dspy.prompts.catalogue import Catalogue
from pivot_dspy.prompts.report import environment_summary
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.requirements import Requirement, Requirements, compile_drafts, evaluate
from pivot_dspy.trajectory import Step, Trajectory

_SLOT = re.compile(r"<([^<>\n]+)>")
_KNOWN_CAP = 1500


class Replay:
    """A session of a refiner's environment on one task, for as long as it is entered with `with`."""

    known: dict[str, Any]
    """Results of the orientation reads, by tool."""
    orientation: str
    """The same as a planner is shown them, one a line."""

    def __init__(self, refiner: Refiner, task: dspy.Example) -> None:
        self._refiner = refiner
        self._session = refiner.session_factory.open(task_of(task.inputs()))
        self.known, self.orientation = {}, ""

    def __enter__(self) -> Replay:
        try:
            self._orient()
        except BaseException:
            self._session.family.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.family.close()

    @property
    def environment(self) -> str:
        """The `environment_name`."""
        return environment_name(self._session.environment)

    @property
    def catalogue(self) -> Catalogue:
        """What a planner is told of the environment."""
        environment = self._session.environment
        return catalogue.render(
            self._session.toolbox, self._refiner.signature, policy=environment.policy,
            vocabulary=environment.vocabulary, known=self.orientation, read=list(self.known),
        )  # fmt: skip

    def judge(self, trajectory: Trajectory, settled: Requirements) -> Callable[[Mapping[str, Any]], bool | None]:
        """Runs the trajectory, and gives what tells of a draft of a requirement whether it holds where it ended.

        That is None where no check can tell: the draft is in words, its slots cannot be filled, its check raises or
        does not fit, or steps of the trajectory wait for commit.
        """
        outputs = {name: field.annotation for name, field in self._refiner.signature.output_fields.items()}
        run = run_sync(execute(trajectory, self._session, outputs=outputs))

        def holds(draft: Mapping[str, Any]) -> bool | None:
            written = self._fill_draft(draft)
            if written is None or run.execution.withheld or not draft.get("check"):
                return None
            compiled: tuple[Requirement, ...] = compile_drafts([written], self._session.toolbox, taken=settled.items)
            if not compiled or not compiled[0].executable:
                return None
            whole = Requirements(items=(*settled.items, compiled[0]))
            finding = evaluate(whole, run.execution, run.session)[-1]
            return None if finding.uncheckable else finding.holds

        return holds

    def _fill_draft(self, draft: Mapping[str, Any]) -> dict[str, Any] | None:
        """The draft with what its slots stand for here; None where one cannot be filled."""
        scope = dict(ChainMap(self.known, *(value for value in self.known.values() if isinstance(value, dict))))
        try:
            return {key: fill(value, scope) if key == "args" else value for key, value in draft.items()}
        except LookupError:
            return None

    def _orient(self) -> None:
        environment = self._session.environment
        names = [name for name in environment.orientation if name in self._session.toolbox.tools]
        reads = Trajectory(steps=tuple(Step(id=f"o{n}", tool=name) for n, name in enumerate(names)))
        run = run_sync(execute(reads, self._session))
        lines = []
        for name, observation in zip(names, run.execution.observations, strict=True):
            if observation.ok:
                self.known[name] = observation.value
                text = environment_summary(name, observation.value, environment) or compact_json(observation.value)
                lines.append(f"{name}() -> {truncate(text, _KNOWN_CAP)}")
        self.orientation = "\n".join(lines)


def fill(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with each slot in it, `<EXPRESSION>`, replaced by what that JMESPath expression gives over `known`.

    Raises:
        LookupError: it gives nothing, or is no expression.

    >>> fill([["size", "in", "<values(sizes)>"]], {"sizes": {"tops": "L"}})
    [['size', 'in', ['L']]]
    """

    def fill_text(text: str) -> Any:
        whole = _SLOT.fullmatch(text)
        return _search(whole[1], known) if whole else _SLOT.sub(lambda slot: str(_search(slot[1], known)), text)

    return bindings.map_strings(value, fill_text)


def _search(expression: str, known: Mapping[str, Any]) -> Any:
    try:
        result = jmespath.search(expression, known)
    except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError) as error:  # what jmespath lets through
        raise LookupError(f"{expression} cannot be evaluated: {error}") from error
    if result is None or result == []:
        raise LookupError(f"nothing that is known has {expression}")
    return result
