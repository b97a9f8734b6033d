"""A directory as a trial sees it: what really stands there, unchanged since the trial began, and changes beside it.

Nothing is copied: files are read where they are, and what is written is held in memory. So a fork costs what has been
written, not what is there; and a file that somebody else changes meanwhile is an error to read, not another content.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from pivot_dspy.environments.files.content import ABSENT, NEW_FILE, FileChange, FileContent, version_of_file
from pivot_dspy.environments.files.manifest import FileEntry, Manifest, identity_of
from pivot_dspy.errors import ToolError, did_you_mean

MAX_BYTES = 16 << 20
"""Bytes of one file that are read or written."""
MAX_LINKS = 20

Result = TypeVar("Result")


@dataclass
class Tree:
    """What a trial sees of a directory. Paths are relative to it, with `/`; errors are `ToolError`s."""

    base: Manifest
    changes: dict[str, FileChange] = field(default_factory=dict)
    """By path, what is other than in the base."""
    reads: set[str] = field(default_factory=set)
    """Paths of the base of which the content was read."""
    message: str = ""
    """What a version control is to say of the changes, once they are real."""
    memory: dict[Any, Any] = field(default_factory=dict)
    """What was worked out of states of this base; shared by all forks, and to be asked for with `state` in the key."""

    def fork(self) -> Tree:
        """Another with the same content: what is changed in one is not seen in the other."""
        return Tree(self.base, dict(self.changes), set(self.reads), self.message, self.memory)

    @property
    def state(self) -> frozenset[tuple[str, FileContent | None]]:
        """Tells this content from any other of the same base."""
        return frozenset((path, change.after) for path, change in self.changes.items())

    def __contains__(self, path: str) -> bool:
        """Whether there is a file or link at a path, which is taken as it is."""
        change = self.changes.get(path)
        return change.after is not None if change is not None else path in self.base.entries

    def paths(self) -> list[str]:
        """All files and links, sorted."""
        return sorted(path for path in {*self.base.entries, *self.changes} if path in self)

    def below(self, folder: str) -> list[str]:
        """The files and links inside of a folder, sorted; `""` is the whole directory."""
        prefix = f"{folder}/" if folder else ""
        return [path for path in self.paths() if path.startswith(prefix)]

    def is_folder(self, path: str) -> bool:
        return not path or any(name.startswith(f"{path}/") for name in self._names())

    def is_link(self, path: str) -> bool:
        return path in self and self._target(path) is not None

    def is_executable(self, path: str) -> bool:
        return bool(self._mode(path) & 0o100)

    # ------------------------------------------------------------------------------------------------------- paths

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """The path, without `.`, `..` and links; with `follow` false the last part may be one.

        Raises:
            ToolError: it leads out of the directory, is hidden, or its links lead round.
        """
        waiting, place, links = self._parts(path), "", 0
        while waiting:
            place = posixpath.join(place, waiting.pop(0))
            target = self._target(place) if place in self else None
            if target is not None and (waiting or follow):
                links += 1
                if links > MAX_LINKS:
                    raise ToolError(f"{path} is a link that leads round in a circle")
                aim = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
                if posixpath.isabs(target) or aim == ".." or aim.startswith("../"):
                    raise ToolError(f"{path} leads out of the directory, by the link {place}: that is not shown")
                waiting, place = [*(part for part in aim.split("/") if part != "."), *waiting], ""
            self._refuse_hidden(path, place, folder=bool(waiting))
        return place

    def _parts(self, path: str) -> list[str]:
        if posixpath.isabs(path) or "\0" in path:
            raise ToolError(f"{path!r} is no path inside of the directory; paths are relative to its top, like a/b.txt")
        parts: list[str] = []
        for part in path.split("/"):
            if part == ".." and not parts:
                raise ToolError(f"{path} leads out of the directory; paths are relative to its top, like a/b.txt")
            if part == "..":
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        return parts

    def _refuse_hidden(self, path: str, place: str, *, folder: bool) -> None:
        if place and (place in self.base.hidden or (folder and f"{place}/" in self.base.hidden)):
            raise ToolError(f"{path} is hidden here: secrets and ignored files are neither shown nor changed")
        if place in self.base.closed:
            raise ToolError(f"{place} is a repository of its own, and not open here; make it an environment of its own")
        if place in self.base.entries and self.base.entries[place].kind == "unreadable":
            raise ToolError(f"there is no permission to look into {place}")

    # ----------------------------------------------------------------------------------------------------- reading

    def read(self, path: str) -> bytes:
        """The content of a file, by its resolved path."""
        change = self.changes.get(path)
        if change is not None and change.after is not None:
            return change.after.data
        entry = self.base.entries.get(path)
        if change is not None or entry is None:
            raise ToolError(self._missing(path))
        if entry.size > MAX_BYTES:
            raise ToolError(f"{path} has {entry.size:,} bytes, which is more than the {MAX_BYTES:,} that can be read")
        return self._of_base(path, entry, lambda file: file.read())

    def version(self, path: str) -> str:
        """The version of what stands at a resolved path."""
        if path not in self:
            return ABSENT
        change, entry = self.changes.get(path), self.base.entries.get(path)
        if change is not None and change.after is not None:
            return change.after.version
        if entry is None or entry.kind == "link":
            return self.content(path).version
        return self._of_base(path, entry, version_of_file)

    def _of_base(self, path: str, entry: FileEntry, use: Callable[[BinaryIO], Result]) -> Result:
        """What `use` makes of a file of the base, which is as it was."""
        if entry.kind != "file":
            raise ToolError(f"{path} is no file that can be read ({entry.kind})")
        changed = f"{path} was changed by something else since this trial began; it is refused, and a new run sees it"
        try:
            descriptor = os.open(self.base.root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except PermissionError as error:
            raise ToolError(f"there is no permission to read {path}") from error
        except OSError as error:
            raise ToolError(changed) from error
        with open(descriptor, "rb") as file:
            made = use(file) if identity_of(os.fstat(descriptor)) == entry.identity else None
            if made is None or identity_of(os.fstat(descriptor)) != entry.identity:
                raise ToolError(changed)
        self.reads.add(path)
        return made

    def _missing(self, path: str) -> str:
        if self.is_folder(path):
            return f"{path or 'the top'} is a folder, not a file"
        return f"there is no file {path}{did_you_mean(path, self.paths())}"

    # ----------------------------------------------------------------------------------------------------- writing

    def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """Let a file stand at a resolved path, with this content.

        Args:
            executable: None for as it was.
        """
        if len(data) > MAX_BYTES:
            raise ToolError(f"{len(data):,} bytes are more than the {MAX_BYTES:,} that can be written to a file")
        mode = self._mode(path)
        if executable is not None:
            mode = mode | 0o111 if executable else mode & ~0o111
        self.put(path, FileContent(data, mode))

    def put(self, path: str, content: FileContent) -> None:
        """Let this stand at a resolved path."""
        if not path or self.is_folder(path):
            raise ToolError(f"{path or 'the top'} is a folder; name a file in it")
        parent = posixpath.dirname(path)
        while parent:
            if parent in self:
                raise ToolError(f"{parent} is a file, so that there can be no {path}")
            parent = posixpath.dirname(parent)
        is_new = path not in self.base.entries and path not in self.changes
        if is_new and os.path.lexists(self.base.root / path) and not self._was_folder(path):
            raise ToolError(f"something that is not shown here stands at {path}; take another name")
        if path in self.base.entries and self.base.entries[path].kind in ("special", "unreadable"):
            raise ToolError(f"{path} is no file that can be written ({self.base.entries[path].kind})")
        self._change(path, content)

    def delete(self, path: str) -> None:
        """Let nothing stand at a resolved path."""
        if path not in self:
            raise ToolError(self._missing(path))
        if self.base.entries.get(path) is not None and self.base.entries[path].kind in ("special", "unreadable"):
            raise ToolError(f"{path} is no file that can be deleted ({self.base.entries[path].kind})")
        self._change(path, None)

    def move(self, start: str, end: str) -> list[str]:
        """Let what stands at a resolved path, a file or a folder, stand at another; where its files then are.

        A link is moved itself.
        """
        if end in self or self.is_folder(end):
            raise ToolError(f"{end or 'the top'} is there already; delete it first, or take another name")
        moves = {start: end}
        if start not in self and start and self.is_folder(start):
            if end.startswith(f"{start}/"):
                raise ToolError(f"{end} lies in {start} itself")
            moves = {name: self.resolve(end + name[len(start) :], follow=False) for name in self.below(start)}
        trial = self.fork()
        for name, content in [(name, trial.content(name)) for name in moves]:
            trial.delete(name)
            trial.put(moves[name], content)
        self.changes, self.reads = trial.changes, trial.reads
        return list(moves.values())

    def content(self, path: str) -> FileContent:
        """What stands at a resolved path."""
        target = self._target(path) if path in self else None
        return FileContent(b"", target=target) if target is not None else FileContent(self.read(path), self._mode(path))

    def content_or_none(self, path: str) -> FileContent | None:
        return self.content(path) if path in self else None

    def _change(self, path: str, after: FileContent | None) -> None:
        earlier = self.changes.get(path)
        before = self.version(path) if earlier is None else earlier.before
        unchanged = before == (ABSENT if after is None else after.version)
        entry = self.base.entries.get(path)
        if unchanged and (after is None or (entry is not None and (after.target or after.mode == entry.mode))):
            self.changes.pop(path, None)
        else:
            self.changes[path] = FileChange(before, after)

    def _mode(self, path: str) -> int:
        change, entry = self.changes.get(path), self.base.entries.get(path)
        if change is not None and change.after is not None:
            return change.after.mode
        return entry.mode if entry is not None and entry.kind == "file" else NEW_FILE

    def _target(self, path: str) -> str | None:
        """What the link at a path names; None where there is none."""
        change = self.changes.get(path)
        if change is not None:
            return None if change.after is None else change.after.target
        entry = self.base.entries.get(path)
        return entry.target if entry is not None and entry.kind == "link" else None

    def _was_folder(self, path: str) -> bool:
        """Whether there is a folder in the base, which may become a file once it is empty."""
        return any(name.startswith(f"{path}/") for name in self.base.entries)

    def _names(self) -> Iterator[str]:
        yield from (path for path in self.base.entries if path not in self.changes)
        yield from (path for path, change in self.changes.items() if change.after is not None)
