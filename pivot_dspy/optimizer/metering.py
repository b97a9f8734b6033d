"""What a run of a program spent and what its refiners returned, whatever program they are part of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import dspy

from pivot_dspy.dspy_internals import BaseCallback, count_tokens, settings
from pivot_dspy.episode.result import Refined
from pivot_dspy.refiners.base import Refiner


class RefinerCall(NamedTuple):
    """One call of a refiner: its path in the program, what it was given, and what it returned."""

    path: str
    inputs: dict[str, Any]
    result: Refined


class Meter(BaseCallback):  # type: ignore[misc]
    """What is seen of a run inside `with metered(...)`.

    Attributes:
        returned: the calls of refiners that returned something, in the order in which they ended.
        history: DSPy's entry of each call of a language model.
    """

    def __init__(self, refiners: Mapping[str, Refiner]) -> None:
        self.returned: list[RefinerCall] = []
        self.history: list[Mapping[str, Any]] = []
        self._refiners = refiners
        self._open: dict[str, tuple[str, dict[str, Any]]] = {}
        self._asked: dict[str, dict[str, Any]] = {}
        self._alone = bool(settings.disable_history)

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens, as if no call had been served from DSPy's cache: else whatever ran second would
        look cheaper. Where neither provider nor cache tells, they are counted as LiteLLM does for the model."""
        return sum(_tokens(entry) for entry in self.history)

    @property
    def lm_calls(self) -> int:
        return len(self.history)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        path = self._path(instance)
        if path is not None:
            self._open[call_id] = path, dict(inputs.get("kwargs") or {})

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        opened = self._open.pop(call_id, None)
        if opened is not None and isinstance(outputs, Refined):
            self.returned.append(RefinerCall(*opened, outputs))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if self._alone:  # DSPy makes no entries: ours has what there is to count
            asked = {name: inputs.get(name) for name in ("messages", "prompt")}
            self._asked[call_id] = {**asked, "model": instance.model}

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        asked = self._asked.pop(call_id, None)
        if asked is not None and exception is None:
            self.history.append({**asked, "outputs": outputs})

    def _path(self, instance: Any) -> str | None:
        if not isinstance(instance, Refiner):
            return None
        for path, refiner in self._refiners.items():
            if refiner is instance:
                return path
        for path, refiner in self._refiners.items():  # a copy, as `dspy.Refine` makes them
            if refiner._source is instance._source and refiner.signature is instance.signature:
                return path
        return None


@contextmanager
def metered(refiners: Mapping[str, Refiner]) -> Iterator[Meter]:
    """Sees what runs inside the `with` block."""
    meter = Meter(refiners)
    with dspy.context(
        callbacks=[*(settings.callbacks or ()), meter], caller_modules=[*(settings.caller_modules or ()), meter]
    ):
        yield meter


def _tokens(entry: Mapping[str, Any]) -> int:
    told = entry.get("usage") or {}
    counts = [told.get("prompt_tokens"), told.get("completion_tokens")]
    if not any(counts):
        said = entry.get("response")
        responses = said if isinstance(said, (list, tuple)) else [said]
        usages = [usage for one in responses if (usage := getattr(one, "usage", None))]
        counts = [getattr(usage, name, None) for usage in usages for name in ("input_tokens", "output_tokens")]
    found = sum(int(count) for count in counts if count)
    if found:
        return found
    asked = [str(message.get("content") or "") for message in entry.get("messages") or ()]
    text = "\n".join([*(asked or [str(entry.get("prompt") or "")]), *map(str, entry["outputs"])])
    return count_tokens(str(entry.get("model") or ""), text)
