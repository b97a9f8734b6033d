"""Reads the multi-turn tasks of BFCL from the package bfcl-eval, with the gold kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from programs.multi_turn.package import MissingPackage, module, records

SETS = ("base", "long_context", "miss_func", "miss_param")
"""Two hundred tasks each: as they are, with long results, with functions withheld, with arguments left out."""

Gold = tuple[tuple[str, ...], ...]
"""The expected calls of a task by turn, as Python source."""


@dataclass(frozen=True)
class Case:
    """One task as a solver may see it, and what its environment starts from.

    Attributes:
        turns: what the user says, turn by turn.
        classes: names of the package's stateful classes that are involved.
        withheld: names of functions that are not available at first, with the number of the turn, from 1, in which
            they come.
        config: initial state by class.
    """

    id: str
    turns: tuple[str, ...]
    classes: tuple[str, ...]
    withheld: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def conversation(self) -> str:
        """All turns, numbered, one a line."""
        return "\n".join(f"Turn {number}: {said}" for number, said in enumerate(self.turns, start=1))

    @property
    def inputs(self) -> dict[str, Any]:
        """The task's inputs, by the names of the signature's input fields."""
        return {"conversation": self.conversation}

    @property
    def long_context(self) -> bool:
        return "long_context" in self.id


def load_cases(name: str) -> list[Case]:
    """The tasks of one of `SETS`, in the package's order. Raises MissingPackage."""
    return [_case(entry) for entry in records(f"BFCL_v4_multi_turn_{name}.json")]


def load_gold(name: str) -> dict[str, Gold]:
    """The expected calls of the tasks of one of `SETS`, by id. Raises MissingPackage."""
    found = records(f"possible_answer/BFCL_v4_multi_turn_{name}.json")
    return {entry["id"]: tuple(tuple(turn) for turn in entry["ground_truth"]) for entry in found}


def _case(entry: Mapping[str, Any]) -> Case:
    try:
        added = {int(turn) + 1: tuple(names) for turn, names in entry.get("missed_function", {}).items()}
        turns = tuple(
            _told(added[number]) if number in added else " ".join(" ".join(m["content"] for m in said).split())
            for number, said in enumerate(entry["question"], start=1)
        )
        return Case(
            id=entry["id"],
            turns=turns,
            classes=tuple(entry["involved_classes"]),
            withheld={name: turn for turn, names in added.items() for name in names},
            config=entry["initial_config"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MissingPackage(f"task {entry.get('id')} of bfcl-eval is not in the known form: {error!r}") from error


def _told(names: tuple[str, ...]) -> str:
    """What the benchmark says in the turn in which functions are added; the new ones it adds to its list of tools."""
    said = module("constants.default_prompts").DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
    return f"{said} (New: {', '.join(names)}.)"
