"""TrajectoryMemory: what a refiner has learned from earlier tasks, as a parameter that DSPy saves and loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.memory.records import Demonstration, Entries, Entry, Lesson, ToolNote
from pivot_dspy.memory.similarity import Embedder, Index
from pivot_dspy.memory.wording import Retrieved, render_entries, wordings
from pivot_dspy.trajectory import Frozen

FORMAT = 3
"""Version of the saved form; it changes when a reader of the last one would misread it."""
SETTINGS = ("demonstrations", "lessons", "notes", "max_tokens")

Count = Annotated[int, Field(strict=True, ge=0)]


class TrajectoryMemory(Parameter):  # type: ignore[misc]
    """Demonstrations, lessons and notes on tools, of which each task is told what is nearest to it.

    A lesson that has a fix is not told: it is applied to the steps that a model writes, which costs no tokens.

    Part of the state that a program saves and loads. What it holds is one immutable value, `entries`, which only an
    optimizer replaces: a run never changes it, and copies share nothing that could change.

    Args:
        entries: what it holds.
        demonstrations: how many examples a task is shown at most; `lessons` and `notes` likewise.
        max_tokens: of all that a task is told (characters / 4); what does not fit is left out, and an example cut.
        embedder: a `dspy.Embedder`, by whose vectors similarity is measured instead of by BM25. It is not saved.

    Raises:
        ConfigurationError: a setting is no whole number of at least 0, or the embedder cannot be called.

    >>> lesson = Lesson(environment="Shop", trigger="a size is given", mistake="it was written small",
    ...                 avoid="write it in capitals", tools=("find",))
    >>> memory = TrajectoryMemory(Entries().add(lesson))
    >>> print(memory.retrieve("Buy a shirt of size L.", "Shop", ["find"]).text)
    Learned from what went wrong before:
    - When a size is given: it was written small; instead write it in capitals.
    """

    def __init__(
        self,
        entries: Entries | None = None,
        *,
        demonstrations: int = 2,
        lessons: int = 6,
        notes: int = 4,
        max_tokens: int = 1200,
        embedder: Embedder | None = None,
    ) -> None:
        if embedder is not None and not callable(embedder):
            raise ConfigurationError(f"embedder is a dspy.Embedder, or None for BM25; got {embedder!r:.80}")
        self.entries = entries or Entries()
        self.demonstrations = demonstrations
        self.lessons = lessons
        self.notes = notes
        self.max_tokens = max_tokens
        self.embedder = embedder
        for name, value in self.settings.items():
            if type(value) is not int or value < 0:
                raise ConfigurationError(f"{name} is a whole number of at least 0; got {value!r:.80}")
        self._index: Index | None = None
        self._indexing = threading.Lock()

    @property
    def settings(self) -> dict[str, int]:
        """How much a task is told."""
        return {name: getattr(self, name) for name in SETTINGS}

    def retrieve(
        self,
        task: str,
        environment: str,
        tools: Collection[str] = (),
        applies: Callable[[Fix], bool] = lambda fix: True,
    ) -> Retrieved:
        """What is to be told of earlier tasks: those of the same environment first, then the most similar ones; and
        what is to be mended by the fixes of the same environment's lessons.

        Left out are entries that name a tool which is not among `tools` (where any are given), and that say nearly what
        another one said; of other environments, those that have nothing in common with the task,
        and requirements.

        Args:
            task: the task in words, as `task_text` gives it.
            environment: the name of its environment, as `environment_name` gives it.
            applies: whether a fix may be applied there; if not, its lesson is told.
        """
        entries = self.entries
        if not len(entries):
            return Retrieved()
        ranking, at_hand = self._indexed(entries).ranking(task), frozenset(tools)

        def usable(entry: Entry) -> bool:
            return not at_hand or entry.named_tools <= at_hand

        def mends(lesson: Lesson) -> bool:
            return lesson.fix is not None and applies(lesson.fix)

        own = [lesson for lesson in ranking.of_environment(Lesson, environment) if usable(lesson)]
        required = [lesson for lesson in own if lesson.requirement is not None]
        told = [lesson for lesson in own if lesson.requirement is None and not mends(lesson)]
        others = (lesson for lesson in ranking.of_others(Lesson, environment) if lesson.requirement is None)
        lessons = chain(required, told, filter(usable, others))
        notes, examples = (
            filter(usable, chain(ranking.of_environment(kind, environment), ranking.of_others(kind, environment)))
            for kind in (ToolNote, Demonstration)
        )
        limited = ((lessons, self.lessons), (notes, self.notes), (examples, self.demonstrations))
        return self._select(limited)._replace(fixes=tuple(filter(mends, own)))

    def _select(self, limited: Iterable[tuple[Iterable[Entry], int]]) -> Retrieved:
        """As many of each kind, in order, as its limit allows."""
        selected: list[tuple[Entry, str]] = []
        retrieved = Retrieved()
        for entries, limit in limited:
            end = len(selected) + limit
            for entry in entries if limit else ():
                if any(entry.near(other) for other, _ in selected):
                    continue
                for wording in wordings(entry):
                    wider = render_entries([*selected, (entry, wording)])
                    if tokens(wider.text) <= self.max_tokens:
                        retrieved = wider
                        selected.append((entry, wording))
                        break
                if len(selected) == end:
                    break
        return retrieved

    def _indexed(self, entries: Entries) -> Index:
        with self._indexing:  # an embedder is not to be asked for the same by every thread
            index = self._index
            if index is None or index.entries is not entries or index.embedder is not self.embedder:
                index = self._index = Index(entries, self.embedder)
        return index

    def reset(self) -> None:
        """Keeps everything: DSPy's optimizers reset a copy of the program that they compile, and what was compiled here
        outlives that, as the instructions of predictors do. `memory.entries = Entries()` empties it."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """The JSON form."""
        return {"format": FORMAT, "settings": self.settings, "entries": self.entries.model_dump(mode="json")}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `dump_state`.

        Raises:
            ConfigurationError: it was saved in another format, or is damaged: the message says where.
        """
        version = state.get("format") if isinstance(state, Mapping) else None
        if type(version) is int and version != FORMAT:
            raise ConfigurationError(
                f"the memory was saved in format {version}, and this pivot_dspy reads format {FORMAT}; load it with "
                "the version that saved it, or compile the refiner again"
            )
        try:
            saved = _SavedMemory.model_validate(state)
        except ValidationError as error:
            raise ConfigurationError(_damage(error)) from error
        for name, value in saved.settings:
            setattr(self, name, value)
        self.entries = saved.entries

    def __deepcopy__(self, memo: dict[int, Any]) -> TrajectoryMemory:
        copied = TrajectoryMemory(self.entries, embedder=self.embedder, **self.settings)
        copied._index = self._index
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_index", "_indexing")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _index=None, _indexing=threading.Lock())

    def __repr__(self) -> str:
        counts = [f"{len(getattr(self.entries, kind))} {kind}" for kind in Entries.model_fields]
        return f"TrajectoryMemory({', '.join(counts)})"


def tokens(text: str) -> int:
    """Characters / 4, rounded up."""
    return -(-len(text) // 4)


class _Settings(Frozen):
    demonstrations: Count
    lessons: Count
    notes: Count
    max_tokens: Count


class _SavedMemory(Frozen):
    """The JSON form of a memory."""

    format: Annotated[int, Field(strict=True)]
    settings: _Settings
    entries: Entries


def _damage(error: ValidationError) -> str:
    """What is wrong with the saved JSON, and where."""
    first, *others = error.errors(include_url=False)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    more = f", and {len(others)} more" if others else ""
    return (
        f"the saved memory is damaged at memory{path}: {first['msg']}, got {first['input']!r:.80}{more}; correct it "
        "there, or compile the refiner again"
    )
