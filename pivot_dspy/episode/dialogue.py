"""What the model was shown and has asked to see in one run, and all that was read in it, whichever attempt read it."""

from __future__ import annotations

import dspy

from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.prompts.conversation import Conversation, Reading
from pivot_dspy.trajectory import Execution, Observation, Trajectory


class Dialogue:
    """The conversations of one run, each up to a trajectory, and its readings."""

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._looks: dict[str, tuple[str, ...]] = {}
        self._first = Conversation()
        self._made: set[str] = set()
        """Keys of all calls that gave something."""
        self._readings: dict[str, Reading] = {}
        """Of the tools that only read, by key."""

    def remember(self, trajectory: Trajectory, written: dspy.Prediction) -> None:
        """Take note of what a phase wrote: `trajectory`, its `looks` and its `conversation`."""
        conversation = written.get("conversation")
        if conversation is not None:
            self._conversations[trajectory.id] = conversation
            if not self._first.messages:
                self._first = conversation
        self._looks[trajectory.id] = tuple(written.get("looks") or ())

    def up_to(self, trajectory: Trajectory) -> Conversation:
        """The conversation that a trajectory was written in; the first of the run for one that nobody wrote so."""
        return self._conversations.get(trajectory.id, self._first)

    def share(self, trajectory: Trajectory, other: Trajectory) -> None:
        """Let `trajectory`, made of `other` without the model, go on in the other's conversation."""
        self._conversations.setdefault(trajectory.id, self.up_to(other))

    def looks(self, trajectory: Trajectory) -> tuple[str, ...]:
        """What the model asked to see of the results of `trajectory`."""
        return self._looks.get(trajectory.id, ())

    def read(self, execution: Execution, toolbox: Toolbox) -> tuple[str, ...]:
        """Take note of what was read; ids of the steps that read what no run before them has."""
        new = []
        for reading in _readings(execution):
            if reading.observation.ok and reading.key not in self._made:
                new.append(reading.step.id)
                self._made.add(reading.key)
            spec = toolbox.spec(reading.step.tool)
            if spec is not None and spec.effect == "read":
                self._readings.setdefault(reading.key, reading)
        return tuple(new)

    def read_elsewhere(self, execution: Execution | None = None) -> list[Reading]:
        """What runs have read and `execution`, if given, has not."""
        here = {reading.key for reading in _readings(execution)} if execution is not None else set()
        return [reading for key, reading in self._readings.items() if key not in here]


def _readings(execution: Execution) -> list[Reading]:
    """What the calls of a run gave, or how a tool refused them."""
    pairs = zip(execution.trajectory.steps, execution.observations, strict=True)
    return [Reading(step, seen) for step, seen in pairs if not step.is_submit and _tells(seen)]


def _tells(observation: Observation) -> bool:
    fault = observation.fault
    return observation.ok or (observation.status == "error" and fault is not None and fault.kind == "tool_error")
