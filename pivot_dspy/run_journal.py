"""The journal of one run of a refiner: what a killed process had finished, so that another goes on from there.

A folder holds a folder for each run, told by the task's inputs and the options of the call, with the JSON lines of a
`Journal`. A resumed run is the same search made again, in which every answer of a language model and of a person that
had come is taken from the journal instead of being asked for again. So it ends as it would have without the kill.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.journal import Journal
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.source_digest import digest

VERSION = 1
"""Of what the lines of a run mean."""
DIFFERENCE_CAP = 200
"""Characters of a setting that the refusal of a resumed run shows."""


class RunJournal:
    """What is finished of one run, and what finishes.

    Args:
        folder: of this run.
        task: the task's inputs as plain data.
        call: options of the call, likewise.
        settings: what decides how the run goes, as texts by name; a resumed run must have the same.

    Raises:
        ConfigurationError: another process has the run, it was made with other settings or by another version, or a
            line is damaged; the message names the remedy.
    """

    def __init__(
        self, folder: Path, task: Mapping[str, Any], call: Mapping[str, Any], settings: Mapping[str, str]
    ) -> None:
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._of = folder, (task, call, settings)
        self._lock = FileLock(folder / "run.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ConfigurationError(
                f"the run in {folder} is under way in another process or thread; wait for it, or name another journal"
            ) from error
        try:
            self._journal = Journal(folder)
            self.run_id = self._begin(task, call, settings)
        except BaseException:
            self._lock.release()
            raise
        self.waits = sum(1 for _ in self._journal.items("waits"))
        """How often the run has ended to wait for a person."""
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.replayed = 0
        """Answers of language models that were taken from the journal."""

    def _begin(self, task: Mapping[str, Any], call: Mapping[str, Any], settings: Mapping[str, str]) -> UUID:
        begun = self._journal.get("run", "begin")
        if begun is None:
            run_id = uuid4()
            head = {"version": VERSION, "run": str(run_id), "task": task, "call": call, "settings": dict(settings)}
            self._journal.append("run", "begin", head)
            return run_id
        if begun["version"] != VERSION:
            raise ConfigurationError(
                f"the run in {self.folder} has the version {begun['version']!r}, and this pivot_dspy writes {VERSION}; "
                "name another journal, or use the version that wrote it"
            )
        if changed := _differences(begun["settings"], settings):
            raise ConfigurationError(
                f"the run in {self.folder} was begun with other settings: {'; '.join(changed)}; set them as they were "
                "to go on with it, or name another journal"
            )
        return UUID(begun["run"])

    def reopened(self) -> RunJournal:
        """The same journal once more, after it was closed, with what others have written meanwhile.

        Raises:
            ConfigurationError: another process has the run.
        """
        return RunJournal(self.folder, *self._of)

    def close(self) -> None:
        """Let others have the run."""
        self._journal.close()
        self._lock.release()

    def end(self, status: str, *, waiting: bool) -> None:
        """The run has ended, or waits for a person's answer to go on."""
        if waiting:
            self._journal.append("waits", str(self.waits), {"status": status})
        else:
            self._journal.append("run", "end", {"status": status})

    def finished(self, kind: str, key: str) -> dict[str, Any] | None:
        """What was noted of a finished piece of work, None where it is not finished.

        Pieces of one key are told apart by how often the run has come to that key: each is asked for once.
        """
        return self._journal.get(kind, self._numbered(kind, key))

    def note(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Note the piece of work that `finished` was last asked for; it is on the disk when this returns."""
        with self._counting:
            number = self._counts[f"{kind} {key}"]
        self._journal.append(kind, f"{key}-{number}", data)

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """What was last noted under this very key."""
        return self._journal.get(kind, key)

    def set(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Note something under a key of its own."""
        self._journal.append(kind, key, data)

    def items(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """All that was noted of one kind, in order."""
        return self._journal.items(kind)

    def _numbered(self, kind: str, key: str) -> str:
        with self._counting:
            self._counts[f"{kind} {key}"] += 1
            return f"{key}-{self._counts[f'{kind} {key}']}"


@contextmanager
def opened(
    path: str | os.PathLike[str] | None, task: Mapping[str, Any], call: Mapping[str, Any], settings: Mapping[str, str]
) -> Iterator[RunJournal | None]:
    """The journal of one run under `path`; None where there is no path.

    Args:
        task: the task's inputs.
        call: options of the call that make it another run.
    """
    if path is None:
        yield None
        return
    known = plain(dict(task), fallback=str)
    journal = RunJournal(Path(path) / digest([known, call]), known, call, settings)
    try:
        yield journal
    finally:
        journal.close()


def unfinished(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The runs under `path` that have begun and not ended, by name, with how each began."""
    runs = {folder.name: Journal(folder) for folder in sorted(Path(path).glob("*")) if folder.is_dir()}
    begun = {name: (run.get("run", "begin"), run.get("run", "end")) for name, run in runs.items()}
    return {name: head for name, (head, end) in begun.items() if head is not None and end is None}


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names: Sequence[str] = [*dict.fromkeys([*before, *now])]
    return [
        f"{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _shown(value: str | None) -> str:
    return "not set" if value is None else truncate(value, DIFFERENCE_CAP)
