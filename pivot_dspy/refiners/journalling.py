"""How a refiner's calls are journalled: which run a call is, what it may not differ in, what is left to go on with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dspy
from pydantic import TypeAdapter

from pivot_dspy.dspy_internals import settings
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.human.review import UNATTENDED
from pivot_dspy.lm_replay import JOURNAL
from pivot_dspy.plain_json import plain
from pivot_dspy.requirements import Requirement
from pivot_dspy.run_journal import RunJournal, opened, unfinished
from pivot_dspy.source_digest import source_digest
from pivot_dspy.trajectory import Trajectory

if TYPE_CHECKING:
    from pivot_dspy.refiners.base import Refiner

UNWRITTEN = "written in Python"
"""Key of a requirement that no journal can hold."""
_OF_MODELS = ("temperature", "max_tokens", "rollout_id")
"""Settings of a language model that decide what it answers."""


@contextmanager
def journalled_call(
    refiner: Refiner, inputs: Mapping[str, Any], trajectory: Trajectory | None, requirements: Sequence[Any]
) -> Iterator[RunJournal | None]:
    """The journal of this call, where the refiner keeps one; language models answer from it inside the block.

    Raises:
        ConfigurationError: as `RunJournal`.
    """
    path = refiner.journal
    if path is None or settings.get(UNATTENDED):
        yield None
        return
    call = {
        "trajectory": None if trajectory is None else trajectory.model_dump(mode="json", exclude_defaults=True),
        "requirements": [_as_json(item) for item in requirements],
    }
    with opened(path, inputs, call, _settings(refiner)) as journal, dspy.context(**{JOURNAL: journal}):
        yield journal


def _settings(refiner: Refiner) -> dict[str, str]:
    """What decides how a run goes, in words where a person can read them, else by digest."""
    toolbox = refiner.session_factory.toolbox
    tools = [] if toolbox is None else [*toolbox.tools.values(), *toolbox.checks.values()]
    models = {id(lm): lm for lm in (settings.lm, *(part.lm for part in refiner.predictors())) if lm is not None}
    return {
        "refiner": f"{type(refiner).__name__} {dict(refiner.tuned.given) | dict(refiner.tuned.values)}",
        "signature": f"{', '.join(refiner.signature.input_fields)} -> {', '.join(refiner.signature.output_fields)}: "
        f"{refiner.signature.instructions}",
        "requirements": "; ".join(_written(item) for item in refiner._required) or "none",
        "tests of requirements": source_digest([getattr(item, "test", None) for item in refiner._required]),
        "acceptance": f"{type(refiner._acceptance).__name__} {source_digest(refiner._acceptance)}",
        "weights": str(refiner._weights),
        "form": "constrained" if refiner.constrained else type(settings.adapter).__name__,
        "language models": "; ".join(_model(lm) for lm in models.values()),
        "tools": "; ".join(spec.signature for spec in tools),
        "environment": source_digest(refiner.session_factory.code),
        "memory": source_digest([entry.id for entry in refiner.memory.entries]),
    }


def _as_json(requirement: Any) -> Any:
    """A requirement as it is passed, where JSON can hold it; else, by its words, one that has to be passed again."""
    if isinstance(requirement, Requirement):
        if requirement.has_json_form:
            return requirement.model_dump(mode="json", exclude_defaults=True)
        return {UNWRITTEN: requirement.describe()}
    return plain(requirement)


def _written(requirement: Any) -> str:
    """A requirement in words."""
    return requirement.describe() if isinstance(requirement, Requirement) else str(plain(requirement, fallback=str))


def _model(lm: Any) -> str:
    chosen = {name: lm.kwargs[name] for name in _OF_MODELS if lm.kwargs.get(name) is not None}
    return f"{lm.model} {chosen or ''}".strip()


def interrupted(refiner: Refiner, run: str | None) -> dict[str, Any]:
    """What to call a refiner with to go on with a run of its journal that has not ended.

    Args:
        run: name of the run's folder; None where only one is left.

    Raises:
        ConfigurationError: there is no journal, no such run, or several are left.
    """
    if refiner.journal is None:
        raise ConfigurationError("there is no journal to go on from; make the refiner with journal=PATH")
    left = unfinished(refiner.journal)
    if run is None and len(left) == 1:
        run = next(iter(left))
    if run is None or run not in left:
        said = "; ".join(f"{name}: {' '.join(map(str, head['task'].values())):.80}" for name, head in left.items())
        asked = "nothing is left to go on with" if not left else f"name one of these by run=: {said}"
        which = "" if run is None else f"no run {run!r}; "
        raise ConfigurationError(f"{os.fspath(refiner.journal)}: {which}{asked}")
    head = left[run]
    fields = refiner.signature.input_fields
    inputs = {name: TypeAdapter(fields[name].annotation).validate_python(value) for name, value in head["task"].items()}
    trajectory = head["call"]["trajectory"]
    requirements = head["call"]["requirements"]
    if any(isinstance(item, Mapping) and UNWRITTEN in item for item in requirements):
        raise ConfigurationError(
            "the run has a requirement of its own that is a function; call the refiner again with the same inputs and "
            "requirements, which goes on with the run too"
        )
    options: dict[str, Any] = {"requirements": requirements}
    if trajectory is not None:
        options["trajectory"] = Trajectory.model_validate(trajectory)
    return {**inputs, **options}
