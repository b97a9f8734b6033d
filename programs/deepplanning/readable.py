"""Which tasks the rules read, so that the offline model has references of them, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from rich.console import Console

from pivot_dspy.simulator import Reference
from programs.deepplanning.loader import Case, load_annotation
from programs.deepplanning.reference import reference
from programs.options import DataError


class Named(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Readable(Generic[T]):
    """Cases that can be run.

    Attributes:
        cases: those that are read, in the order given; all of them for a real model, which needs no reference.
        references: theirs, by id.
        unread: why the others are not read, by id.
    """

    cases: tuple[T, ...]
    references: Mapping[str, Reference] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


def readable(directory: str | Path, cases: Iterable[Case], *, policy: bool = True) -> Readable[Case]:
    """The cases whose annotation in `directory` the rules read. Raises DataError where that is none of them.

    Args:
        policy: as of `reference`.
    """
    return read_all(cases, lambda case: reference(case, load_annotation(directory, case.id), policy=policy))


def read_all(cases: Iterable[T], read: Callable[[T], Reference]) -> Readable[T]:
    """The cases of which there is a reference.

    Args:
        read: makes it, or raises ValueError where no rule reads what it takes.

    Raises:
        DataError: there is none of any, or `read` raises it, as for broken data.
    """
    cases_read: list[T] = []
    references: dict[str, Reference] = {}
    unread: dict[str, str] = {}
    for case in cases:
        try:
            references[case.id] = read(case)
            cases_read.append(case)
        except DataError:
            raise
        except ValueError as error:  # a sentence, or a buyer's record, that no rule reads
            unread[case.id] = str(error)
    if unread and not cases_read:
        name, reason = next(iter(unread.items()))
        raise DataError(f"the offline model can read none of the tasks; of {name}: {reason}; take others")
    return Readable(tuple(cases_read), references, unread)


def warn(unread: Mapping[str, str]) -> None:
    """Says on standard error which tasks are left out, and why."""
    console = Console(stderr=True)
    for name, reason in unread.items():
        told = f"warning: task {name} is left out, since the offline model cannot read it: {reason}"
        console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)


def remark(unread: Mapping[str, str]) -> str:
    """How many tasks are left out, and which."""
    tasks = f"{len(unread)} task{'s' * (len(unread) != 1)}"
    return f"Left out: {tasks} that the offline model's rules cannot read: {', '.join(unread)}."
