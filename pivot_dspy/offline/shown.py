"""What a prompt shows of an executed trajectory: its steps with what came of them, and what the feedback names."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

_ARROW = " -> "
_KEPT = re.compile(r"^(\w+) \S+ -> ", re.MULTILINE)
_BRIEF = re.compile(r"^(\w+) (\S+) -> (.*)$")
_UNMET = re.compile(r"^(\w+): .*NOT MET", re.MULTILINE)
_LISTED = re.compile(r"\bsteps? ((?:['\"`$]*\w+['\"`]*(?:, and |, | and )?)+)", re.IGNORECASE)
_POINTED = r"(?:\$|\b(?:step|called|result of|id|named|after|before|add) ['\"`$]*){name}\b"


class ShownStep(NamedTuple):
    """A step as a prompt shows it."""

    id: str
    written: dict[str, Any]
    outcome: str
    brief: bool = False  # without its arguments

    @property
    def failed(self) -> bool:
        """Whether its own line says that it failed or did not run."""
        return self.outcome.startswith(("FAILED", "not run"))


def steps_in(text: str) -> list[ShownStep]:
    """The steps in `text`, one a line: the step as JSON, an arrow, and what came of it (more lines may follow)."""
    found: list[ShownStep] = []
    for line in text.splitlines():
        step, end = _json_at(line)
        if isinstance(step, dict) and isinstance(step.get("id"), str) and isinstance(step.get("tool"), str):
            found.append(ShownStep(step["id"], step, line[end:].removeprefix(_ARROW)))
        elif found:
            found[-1] = found[-1]._replace(outcome=f"{found[-1].outcome}\n{line}")
    return found


def open_in(text: str) -> list[ShownStep]:
    """As `steps_in`, with the steps that stand there without their arguments: `id tool -> ` and what came of it."""
    found = []
    for line in text.splitlines():
        brief = _BRIEF.match(line)
        found += [ShownStep(brief[1], {"id": brief[1], "tool": brief[2]}, brief[3], True)] if brief else steps_in(line)
    return found


def kept_in(text: str, ids: Iterable[str]) -> frozenset[str]:
    """Ids of the steps that `kept` shows, and where it leaves out the first ones, those of `ids` before."""
    shown = _KEPT.findall(text)
    order = list(ids)
    hidden = order[: order.index(shown[0])] if text.startswith("…") and shown and shown[0] in order else []
    return frozenset([*hidden, *shown])


def same(written: Mapping[str, Any], reference: Mapping[str, Any]) -> bool:
    """Whether two steps do the same."""
    return _content(written) == _content(reference)


def unmet_in(text: str) -> frozenset[str]:
    """Ids of the requirements that a report says are not met."""
    return frozenset(name.rstrip("_") or name for name in _UNMET.findall(text))


def names(text: str, step_id: str, blame: str = "") -> bool:
    """Whether feedback names a step: as `$id`, "step id", "steps id and id", "called 'id'" and the like.

    In `blame` the bare id is enough, unless it could be a word of the language.
    """
    whole = f"{text}\n{blame}"
    if re.search(_POINTED.format(name=re.escape(step_id)), whole):
        return True
    if any(step_id in re.findall(r"\w+", listed) for listed in _LISTED.findall(whole)):
        return True
    word = step_id.isalpha() and (len(step_id) > 1 or step_id in "aAI")
    return not word and re.search(rf"(?<!\w){re.escape(step_id)}(?!\w)", blame) is not None


def results_in(text: str) -> dict[str, Any]:
    """Results by step id from lines `id tool {arguments} -> result`; those that were cut short are left out."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        match = re.match(r"(\w+) (\S+) ", line)
        if not match:
            continue
        rest = line[match.end() :]
        _, end = _json_at(rest)
        said = rest[end:].strip().removeprefix("->").strip()
        value, length = _json_at(said)
        if length == len(said) and said:
            found[match[1]] = value
        elif "… (+" not in said and said not in ("error", "blocked", "withheld"):
            found[match[1]] = said
    return found


def shared(sections: Mapping[str, str], without: Collection[str]) -> str:
    """All sections but those named, as one text."""
    return "\n".join(text for name, text in sections.items() if name not in without)


def _json_at(text: str) -> tuple[Any, int]:
    """The JSON value at the start of `text` and where it ends; (None, 0) where there is none."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return None, 0
    return value, end


def _content(step: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: step[key] for key in ("tool", "for_each", "expects", "problem") if step.get(key)}
    return {**named, "args": step.get("args") or {}}
