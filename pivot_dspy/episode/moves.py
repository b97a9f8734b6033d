"""What makes the moves of an episode, and what marks a method as one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import dspy

from pivot_dspy.episode.record import RunRecord
from pivot_dspy.flow import Flow
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.phases.inspect import Inspect
from pivot_dspy.phases.verify import Verify

P = ParamSpec("P")
T = TypeVar("T")


class Recorded(Protocol):
    """Something whose moves go on record."""

    record: RunRecord


Owner = TypeVar("Owner", bound=Recorded)


class Phases(Protocol):
    """The modules that make an episode's moves, and what is remembered of earlier tasks: those of a refiner."""

    plan: dspy.Module
    settle: dspy.Module
    audit: dspy.Module
    inspect: Inspect
    evolve: dspy.Module
    compose: dspy.Module
    verify: Verify
    memory: TrajectoryMemory
    constrained: bool
    """Whether they are answered by a schema."""


def move(
    method: Callable[Concatenate[Owner, P], Flow[T]],
) -> Callable[Concatenate[Owner, P], Flow[T]]:
    """A method that is a move of the search: it is counted, and an error names it."""

    @wraps(method)
    def made(episode: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Flow[T]:
        with episode.record.making(method.__name__):
            return (yield from method(episode, *args, **kwargs))

    return made
