"""What a file holds, and the short name of a version of it by which two can be told apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

ABSENT = "absent"
"""The version of a file that is not there."""
NEW_FILE = 0o644


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file, or a link, as it is to stand."""

    data: bytes
    mode: int = NEW_FILE
    target: str | None = None
    """What it names, if it is a link."""

    @property
    def version(self) -> str:
        return version_of(self.data if self.target is None else f"link to {self.target}".encode())


@dataclass(frozen=True, slots=True)
class FileChange:
    """How one path is to change."""

    before: str
    """Version of what stood there before."""
    after: FileContent | None
    """What is to stand there; None for nothing."""


def version_of(data: bytes) -> str:
    """The name of a version: ten letters.

    Letters alone: a commit takes words with figures in them for what may differ between two runs, as clocks and fresh
    ids do, and a version that differs must stop it.

    >>> version_of(b"a"), version_of(b"b")
    ('peobgjpioo', 'jdfapgingl')
    """
    return "".join(chr(ord("a") + int(digit, 16)) for digit in hashlib.blake2b(data, digest_size=5).hexdigest())
