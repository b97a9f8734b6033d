"""What a caller passes to a refiner, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dspy

from pivot_dspy.budget import Budget
from pivot_dspy.dspy_internals import ensure_signature
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.environment.from_functions import Effects, from_functions
from pivot_dspy.episode.result import OWN, RESERVED
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.requirements import Requirement

CALL_OPTIONS = ("trajectory", "requirements", "commit", "budget")
"""Keyword arguments of a call that are not inputs of the task."""
GATE = "_gate"
"""One that only a `ConfidenceGate` passes: what looks at steps before they run."""


def read_budget(budget: Any) -> Budget | None:
    """`budget`. Raises ConfigurationError where it is no `Budget`."""
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError(f"budget= takes a Budget, such as Budget(lm_calls=20), not {type(budget).__name__}")
    return budget


def read_observation_budget(budget: Any) -> ObservationBudget:
    """`budget`, or the default. Raises ConfigurationError where it is no `ObservationBudget`."""
    if budget is not None and not isinstance(budget, ObservationBudget):
        raise ConfigurationError(
            f"observations= takes an ObservationBudget, such as ObservationBudget(result=2000), not {budget!r:.80}"
        )
    return budget or ObservationBudget()


def list_requirements(requirements: Any) -> tuple[Any, ...]:
    """`requirements` as a tuple. Raises ConfigurationError for a single one, whose parts would be taken for many."""
    if isinstance(requirements, (str, Mapping, Requirement)):
        raise ConfigurationError("requirements is a list: put the one requirement in brackets, requirements=[...]")
    return tuple(requirements)


def usable_signature(signature: str | type[dspy.Signature]) -> type[dspy.Signature]:
    """The signature as a class. Raises ConfigurationError where it is none, or has fields that no refiner can have."""
    if not isinstance(signature, str) and not (isinstance(signature, type) and issubclass(signature, dspy.Signature)):
        raise ConfigurationError(f"a signature is 'inputs -> outputs' or a dspy.Signature class, not {signature!r:.80}")
    ready: type[dspy.Signature] = ensure_signature(signature)
    if not ready.output_fields:
        raise ConfigurationError("the signature has no output field; name what is submitted, as in 'task -> answer'")
    moved = {f"{OWN}{name}" for name in (*RESERVED, *CALL_OPTIONS) if name in ready.fields}
    for name in ready.fields.keys() & moved:
        raise ConfigurationError(f"the signature's field {name!r} has a name that Pivot's own fields use; rename it")
    return ready


def split_call(signature: type[dspy.Signature], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options and the task's inputs among the keyword arguments of a call.

    An option that has the name of an input field is passed as `pivot_NAME`.

    >>> split_call(dspy.Signature("goal, budget -> plan"), {"goal": "Rome", "budget": "400 EUR", "pivot_budget": None})
    ({'budget': None}, {'goal': 'Rome', 'budget': '400 EUR'})
    """
    inputs = dict(given)
    keys = {name: f"{OWN}{name}" if name in signature.input_fields else name for name in (*CALL_OPTIONS, GATE)}
    options = {name: inputs.pop(key) for name, key in keys.items() if key in inputs}
    return options, inputs


def environment_of(
    environment: EnvironmentLike | None, tools: Iterable[Callable[..., Any] | dspy.Tool] | None, effects: Effects
) -> EnvironmentLike:
    """What the refiner acts on. Raises ConfigurationError unless one of the two is given, and can be used."""
    if isinstance(environment, (list, tuple)):
        raise ConfigurationError("pass tools by name: tools=[...], with effects= to say which of them only read")
    if (environment is None) == (tools is None):
        raise ConfigurationError("pass either an environment or tools=[...]")
    if environment is not None and effects is not None:
        raise ConfigurationError("effects= goes with tools=; an environment says @tool(effect=...) itself")
    if environment is not None:
        return environment
    if callable(tools):
        raise ConfigurationError("tools is a list; write tools=[...]")
    made = from_functions(tools or (), effects=effects)
    if not any(spec.effect == "read" for spec in made.toolbox.tools.values()):
        names = ", ".join(made.toolbox.tools)
        raise ConfigurationError(
            f"none of the tools ({names}) is declared to only read, so that none may run before commit; declare it: "
            'effects="read" if all only read, or effects={"NAME": "read", ...}'
            if names
            else "tools is empty; pass at least one function or dspy.Tool"
        )
    return made
