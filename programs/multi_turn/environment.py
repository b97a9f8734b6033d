"""BFCL's multi-turn tasks as a `pivot_dspy.Environment`: the package's own stateful instances, copied for every fork.

All of the user's turns are given at once, where the benchmark tells each only after the one before it is closed: a
trajectory is planned as a whole. Figures are therefore not those of the leaderboard.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import dspy

from pivot_dspy import Environment
from pivot_dspy.environment.toolbox import Toolbox
from programs.multi_turn.data import Case
from programs.multi_turn.package import LOCK, SHARING, module
from programs.multi_turn.tools import class_of, toolbox

POLICY = """\
Serve the user's turns in their order: the calls for turn 1, end_turn, the calls for turn 2, end_turn, and so on; \
close every turn, the last one too, then submit.
In each turn do what it asks for and nothing else: no call that only a later turn asks for, and nothing changed that \
nobody asked to change.
Where a turn cannot be served yet, since the user has left something out or a function is not available yet, close it \
without calls; do it in the turn that brings what was missing."""

ORIENTATION = ("find", "list_users")
"""Reads that a planner is shown: the tree of files, and who may be written to."""


class Conversation(dspy.Signature):  # type: ignore[misc]
    """Do what the user asks for, turn by turn."""

    conversation: str = dspy.InputField(desc="what the user says, turn by turn")
    report: str = dspy.OutputField(desc="what was done, in a few words; no figures")


class ConversationEnvironment(Environment):
    """One life of a task's instances, and the turn that is open. Forks copy the instances."""

    policy = POLICY

    def __init__(self, case: Case, tools: Toolbox, instances: Mapping[str, Any], turn: int = 1) -> None:
        self.case = case
        self.toolbox = tools
        self.turn = turn
        self.instances = dict(instances)
        self.orientation = tuple(name for name in ORIENTATION if name in tools.tools and name not in case.withheld)

    def fork(self) -> ConversationEnvironment:
        copied = {name: copy.deepcopy(instance) for name, instance in self.instances.items()}
        return ConversationEnvironment(self.case, self.toolbox, copied, self.turn)

    def run(self, owner: str, name: str, args: Mapping[str, Any]) -> Any:
        """What the function gives, as JSON data.

        Raises:
            LookupError: every turn is closed, or the function comes in a later turn.
        """
        if self.turn > len(self.case.turns):
            raise LookupError(f"all {len(self.case.turns)} turns are closed: no call belongs to any of them")
        first = self.case.withheld.get(name, 1)
        if self.turn < first:
            raise LookupError(f"{name} comes in turn {first}; turn {self.turn} is open, which end_turn closes")
        with LOCK if name in SHARING else nullcontext():
            return json.loads(json.dumps(getattr(self.instances[owner], name)(**args), default=_plain))

    def end_turn(self) -> dict[str, int]:
        """Closes the open turn. Raises LookupError where none is open."""
        if self.turn > len(self.case.turns):
            raise LookupError(f"all {len(self.case.turns)} turns are closed already")
        self.turn += 1
        return {"closed": self.turn - 1}

    def error_of(self, tool: str, value: Any) -> str | None:
        if isinstance(value, list) and len(value) == 1:  # so some of the functions that give lists say it
            value = {"error": value[0]} if str(value[0]).startswith("Error: ") else value[0]
        return str(value["error"]) if isinstance(value, dict) and "error" in value else None

    def describe(self) -> str:
        turns = len(self.case.turns)
        return f"Turn {self.turn} of {turns} is open." if self.turn <= turns else f"All {turns} turns are closed."


class Conversations:
    """The environments of many tasks, opened by what their users say."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._known = {case.conversation: (case, toolbox(case)) for case in cases}

    def open(self, task: dspy.Example) -> Environment:
        """A fresh environment for `task.conversation`.

        Raises:
            MissingPackage: the package cannot be imported.
            LookupError: no task has this conversation.
        """
        try:
            case, tools = self._known[task.conversation]
        except KeyError:
            raise LookupError(f"no task has the conversation {task.conversation[:80]!r}; load it first") from None
        return ConversationEnvironment(case, tools, instances(case))


def instances(case: Case) -> dict[str, Any]:
    """New instances of a task's classes in their initial state. Raises MissingPackage."""
    stateless = module("constants.executable_backend_config").STATELESS_CLASSES
    made = {}
    for name in case.classes:
        made[name] = class_of(name)()
        if name not in stateless:
            made[name]._load_scenario(copy.deepcopy(case.config.get(name, {})), long_context=case.long_context)
    return made


def _plain(value: Any) -> Any:
    """What JSON has no form for: numbers of mpmath as floats, the rest as text."""
    return float(value) if hasattr(value, "__float__") else str(value)
