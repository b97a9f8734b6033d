"""A language model whose answers are kept in a run's journal, and taken from there when the run is made again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import dspy

from pivot_dspy.budget import Usage, current_phase
from pivot_dspy.dspy_internals import settings
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.adapter import Heard
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.source_digest import digest

JOURNAL = "pivot_dspy_journal"
"""Key in `dspy.settings`, which follow DSPy into its threads."""
TEXTUAL = {"text", "reasoning_content", "logprobs", "citations"}
"""What an answer may hold to be kept."""
LM_CALL = "lm"
"""Kind of the journal's lines that hold an answer."""


def journalled(lm: Any) -> Any:
    """`lm`, whose answers are kept where a run's journal is open; itself where none is."""
    journal: RunJournal | None = settings.get(JOURNAL)
    if journal is None or not isinstance(lm, dspy.BaseLM) or isinstance(lm, _Journalled):
        return lm
    kept = copy.copy(lm)
    kept.__class__ = _kind(lm.__class__)
    return kept


class _Journalled:
    """What a language model does otherwise of which a journal is kept; mixed into the class of a copy of it."""

    def __call__(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        journal, key = settings.get(JOURNAL), _key(self, prompt, messages, kwargs)
        if (kept := journal.finished(LM_CALL, key)) is not None:
            return _replayed(journal, kept, messages)
        with _Metered() as measured:
            outputs = super().__call__(prompt=prompt, messages=messages, **kwargs)  # type: ignore[misc]
        _note(journal, key, outputs, measured)
        return outputs

    async def acall(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        journal, key = settings.get(JOURNAL), _key(self, prompt, messages, kwargs)
        if (kept := journal.finished(LM_CALL, key)) is not None:
            return _replayed(journal, kept, messages)
        with _Metered() as measured:
            outputs = await super().acall(prompt=prompt, messages=messages, **kwargs)  # type: ignore[misc]
        _note(journal, key, outputs, measured)
        return outputs


@lru_cache(maxsize=32)
def _kind(kind: type) -> type:
    return type(kind.__name__, (_Journalled, kind), {"__module__": kind.__module__})


class _Metered:
    """What a call used by the ledger, and whether its answer was cut off."""

    def __enter__(self) -> _Metered:
        self._phase = current_phase()
        self._before = Usage() if self._phase is None else self._phase.ledger.usage
        self._began = 0.0 if self._phase is None else self._phase.ledger.elapsed
        return self

    def __exit__(self, *_: object) -> None:
        ledger = None if self._phase is None else self._phase.ledger
        self.usage = Usage() if ledger is None else ledger.usage - self._before
        self.seconds = 0.0 if ledger is None else ledger.elapsed - self._began
        self.cut_off = any(heard.cut_off for heard in _listening())


def _listening() -> list[Heard]:
    return [module for module in settings.caller_modules or () if isinstance(module, Heard)]


def _key(lm: Any, prompt: Any, messages: Any, kwargs: Mapping[str, Any]) -> str:
    return digest(plain([lm.model, prompt, messages, kwargs], fallback=str))


def _note(journal: RunJournal, key: str, outputs: Any, measured: _Metered) -> None:
    """Keep an answer of texts; any other, with calls of a provider's own say, is asked for again in a resumed run."""
    if not all(isinstance(each, str) or (isinstance(each, Mapping) and each.keys() <= TEXTUAL) for each in outputs):
        return
    kept = {"outputs": plain(outputs, fallback=str), "seconds": round(measured.seconds, 3)}
    kept |= {"usage": measured.usage.model_dump(exclude_defaults=True)}
    journal.note(LM_CALL, key, kept | ({"cut_off": True} if measured.cut_off else {}))


def _replayed(journal: RunJournal, kept: Mapping[str, Any], messages: Any) -> Any:
    """An answer of the journal, booked as it was then."""
    journal.replayed += 1
    phase = current_phase()
    if phase is not None:
        sent = [(str(message.get("role")), str(message.get("content"))) for message in messages or ()]
        phase.ledger.replay(phase.name, sent, Usage(**kept["usage"]), kept["seconds"])
    if kept.get("cut_off"):
        for heard in _listening():
            heard.history.append({"response": SimpleNamespace(finish_reason="length")})
    return kept["outputs"]
