"""TrajectoryMemory: what a refiner has learned from earlier tasks, as a parameter that DSPy saves and loads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.memory.records import Demonstration, Entries, Entry, Lesson, ToolNote
from pivot_dspy.memory.similarity import Embedder, Index
from pivot_dspy.memory.wording import Retrieved, SelectedEntries, retrieved, wordings

FORMAT = 2
"""Version of the saved form; it changes when a reader of the last one would misread it."""
READS = (1, FORMAT)
"""Versions that are read: in the first, lessons had no fix."""
SETTINGS = ("demonstrations", "lessons", "notes", "max_tokens")

Kind = TypeVar("Kind", bound=Entry)


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
    >>> memory = TrajectoryMemory(Entries().added(lesson))
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
        self._check()
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

        Left out are entries that have faded, that name a tool which is not among `tools` (where any are given), and
        that say nearly what another one said; of other environments, those that have nothing in common with the task,
        and requirements.

        Args:
            task: the task in words, as `task_text` gives it.
            environment: the name of its environment, as `environment_name` gives it.
            applies: whether a fix may be applied there; if not, its lesson is told.
        """
        entries = self.entries
        if not len(entries):
            return Retrieved()
        near = self._indexed(entries).similarities(task)

        def fits(entry: Entry) -> bool:
            if entry.faded or (tools and not entry.named_tools <= frozenset(tools)):
                return False
            foreign = entry.environment != environment
            return not foreign or (near[entry.id] > 0 and getattr(entry, "requirement", None) is None)

        def rank(entry: Entry) -> tuple[Any, ...]:
            partial = isinstance(entry, Demonstration) and entry.partial
            return (entry.environment != environment, -near[entry.id], -entry.rate, partial, entry.id)

        def ranked(entries: Iterable[Kind]) -> list[Kind]:
            return sorted(filter(fits, entries), key=rank)

        def mends(lesson: Lesson) -> bool:
            return lesson.fix is not None and lesson.environment == environment and applies(lesson.fix)

        lessons = ranked(entries.lessons)
        required = [lesson for lesson in lessons if lesson.requirement is not None]
        others = [lesson for lesson in lessons if lesson.requirement is None and not mends(lesson)]
        told = self._within([*required, *others], ranked(entries.notes), ranked(entries.demonstrations))
        return told._replace(fixes=tuple(filter(mends, lessons)))

    def _within(
        self, lessons: list[Lesson], notes: list[ToolNote], demonstrations: list[Demonstration]
    ) -> Retrieved:
        """As many of each, in order, as the settings allow."""
        best = retrieved(SelectedEntries())
        shown = SelectedEntries()
        told: list[Entry] = []

        def tried(entry: Entry, **change: Any) -> bool:
            nonlocal best, shown
            wider = shown._replace(**change)
            said = retrieved(wider)
            if tokens(said.text) > self.max_tokens:
                return False
            best, shown = said, wider
            told.append(entry)
            return True

        for lesson in lessons:
            if len(shown.required) + len(shown.lessons) >= self.lessons:
                break
            kind = "lessons" if lesson.requirement is None else "required"
            if not any(lesson.near(other) for other in told):
                tried(lesson, **{kind: (*getattr(shown, kind), lesson)})
        for note in notes:
            if len(shown.notes) >= self.notes:
                break
            if not any(note.near(other) for other in told):
                tried(note, notes=(*shown.notes, note))
        for example in demonstrations:
            if len(shown.examples) >= self.demonstrations:
                break
            if not any(example.near(other) for other in told):
                any(tried(example, examples=(*shown.examples, (example, text))) for text in wordings(example))
        return best

    def _indexed(self, entries: Entries) -> Index:
        index = self._index
        if index is None or index.entries is not entries or index.embedder is not self.embedder:
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
        _readable(state)
        try:
            entries = Entries.model_validate(state["entries"])
        except ValidationError as error:
            wrong = error.errors(include_url=False)
            first = wrong[0]
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise ConfigurationError(
                f"the saved memory is damaged at {_path('entries', *first['loc'])}: {first['msg']}, got "
                f"{first['input']!r:.80}{more}; correct it there, or compile again"
            ) from error
        self._check(state["settings"])
        for name in SETTINGS:
            setattr(self, name, state["settings"][name])
        self.entries = entries

    def _check(self, settings: Mapping[str, Any] | None = None) -> None:
        for name, value in (self.settings if settings is None else settings).items():
            if type(value) is not int or value < 0:
                place = name if settings is None else f"the saved memory is damaged at {_path('settings', name)}: it"
                raise ConfigurationError(f"{place} is a whole number of at least 0; got {value!r:.80}")

    def __deepcopy__(self, memo: dict[int, Any]) -> TrajectoryMemory:
        copied = TrajectoryMemory(self.entries, embedder=self.embedder, **self.settings)
        copied._index = self._index
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_index", "_indexing")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _index=None, _indexing=threading.Lock())

    def __repr__(self) -> str:
        held = self.entries
        return (
            f"TrajectoryMemory({len(held.demonstrations)} demonstrations, {len(held.lessons)} lessons, "
            f"{len(held.notes)} notes)"
        )


def tokens(text: str) -> int:
    """Characters / 4, rounded up."""
    return -(-len(text) // 4)


def _readable(state: Any) -> None:
    """Raises ConfigurationError where the saved form is none that this version reads."""
    if not isinstance(state, Mapping):
        raise ConfigurationError(f"the saved memory is damaged at memory: it is an object, got {state!r:.80}")
    version = state.get("format")
    if type(version) is not int:
        raise ConfigurationError(
            f"the saved memory is damaged at {_path('format')}: it is the number of the format, {FORMAT} for this "
            f"version of pivot_dspy; got {version!r:.80}. Compile the refiner again"
        )
    if version > FORMAT:
        raise ConfigurationError(
            f"the memory was saved in format {version} by a newer pivot_dspy, and this one reads format {FORMAT}; "
            "upgrade it (pip install -U pivot-dspy), or compile the refiner again"
        )
    if version not in READS:
        raise ConfigurationError(
            f"the memory was saved in format {version} by an older pivot_dspy, and this one reads format {FORMAT}; "
            "compile the refiner again, or load it with the version that saved it"
        )
    if unknown := [name for name in state if name not in ("format", "settings", "entries")]:
        raise ConfigurationError(f"the saved memory is damaged at {_path(unknown[0])}: nothing is called so")
    for part, names in (("settings", SETTINGS), ("entries", tuple(Entries.model_fields))):
        held = state.get(part)
        missing = [name for name in names if not isinstance(held, Mapping) or name not in held]
        unknown = [name for name in held if name not in names] if isinstance(held, Mapping) else []
        if missing or unknown:
            raise ConfigurationError(
                f"the saved memory is damaged at {_path(part, (missing or unknown)[0])}: {part} has {', '.join(names)}"
            )


def _path(*parts: str | int) -> str:
    """Where something stands in the saved JSON."""
    return "memory" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
