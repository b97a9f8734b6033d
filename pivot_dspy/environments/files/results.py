"""What tools that change files return. The versions say what was replaced by what: where a commit meets another, it
stops, for somebody else has changed the file since."""

from __future__ import annotations

from typing_extensions import TypedDict


class WrittenFile(TypedDict):
    """A file that was written."""

    path: str
    before: str
    """Version of what was there; `absent` for nothing."""
    after: str


class RemovedFiles(TypedDict):
    """Files that were deleted."""

    deleted: list[str]
    version: str
    """Of all of them."""


class MovedFiles(TypedDict):
    """Files that were moved."""

    moved: list[str]
    """Where they now are."""
    version: str
    """Of all of them."""


class CommandResult(TypedDict):
    """What came of a command."""

    passed: bool
    """Whether its exit code is 0."""
    code: int
    output: str
    """What it printed; of much the middle is left out."""
    changed: list[str]
    """The files that it changed, made or deleted."""
    version: str
    """Of all of them."""
