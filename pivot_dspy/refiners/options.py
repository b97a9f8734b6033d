"""The keyword arguments that every refiner takes, and what is shown of a class of refiners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, TypedDict

import dspy

from pivot_dspy.acceptance import Acceptance
from pivot_dspy.budget import Budget
from pivot_dspy.environment.from_functions import Effects
from pivot_dspy.episode.events import Event
from pivot_dspy.errors import did_you_mean
from pivot_dspy.human.review import Reviewer, When
from pivot_dspy.loss import Weights
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.requirements import Requirement


class ConstructorSignature:
    """What `help` and editors show of a class of refiners: its own parameters, then those that it passes on."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None:  # the signature of a call is another
            raise AttributeError("__signature__")
        parameters: dict[str, inspect.Parameter] = {}
        ancestors = owner.__mro__[: owner.__mro__.index(dspy.Module)]
        for base in (ancestor for ancestor in ancestors if "__init__" in vars(ancestor)):
            _, *own = inspect.signature(vars(base)["__init__"]).parameters.values()
            parameters |= {new.name: new for new in own if new.kind is not new.VAR_KEYWORD} | parameters
            if not any(new.kind is new.VAR_KEYWORD for new in own):
                break  # it passes nothing on
        return inspect.Signature([*parameters.values()])


class RefinerOptions(TypedDict, total=False):
    """The keyword arguments that every refiner takes; `Refiner` says what they are."""

    tools: Iterable[Callable[..., Any] | dspy.Tool] | None
    effects: Effects
    requirements: Iterable[Requirement | str | Mapping[str, Any]]
    budget: Budget | None
    acceptance: Acceptance | None
    weights: Weights | None
    observations: ObservationBudget | None
    cached_price: float
    constrained: bool
    timeout: float | None
    on_event: Callable[[Event], None] | None
    reviewer: Reviewer | None
    review: When
    review_timeout: float | None
    journal: str | PathLike[str] | None


def unknown_parameter(kind: type, name: str) -> str:
    """Why a refiner has no parameter of a name, with the remedy."""
    parameters = [*inspect.signature(kind).parameters]
    remedy = did_you_mean(name, parameters) or f"; it takes {', '.join(parameters)}"
    return f"{kind.__name__} has no parameter {name!r}{remedy}"
