"""What a file holds, and the short name of a version of it by which two can be told apart."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

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

    >>> version_of(b"a"), version_of(b"b")
    ('peobgjpioo', 'jdfapgingl')
    """
    return version_of_file(io.BytesIO(data))


def version_of_file(file: BinaryIO) -> str:
    """The version of what a file holds, however large it is.

    Letters alone: a commit takes words with figures in them for what may differ between two runs, as clocks and fresh
    ids do, and a version that differs must stop it.
    """
    digest = hashlib.blake2b(digest_size=5)
    while block := file.read(1 << 20):
        digest.update(block)
    return "".join(chr(ord("a") + int(digit, 16)) for digit in digest.hexdigest())
