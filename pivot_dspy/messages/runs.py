"""The runs that a log holds: one, or several that stand in one file or list, of which one has to be chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages import atif, react, spans
from pivot_dspy.messages.events import PlacedRecord, Record, mapping

_LISTS = ("messages", "contents", "steps", "history", "traj", "spans", "output")
"""Where documents, requests and results of libraries hold their messages."""
_ANSWERS = ("response", "choices", "outputs")
"""Where logs of single requests to a model hold, beside its messages, what it answered to them."""
_NAMES = ("trajectory_id", "session_id", "run_id", "id", "task_id")
_SHOWN = 8
"""Runs that an error names."""


class LoggedRun(NamedTuple):
    """One run of an agent."""

    entries: Sequence[PlacedRecord]
    submitted: Any = None
    """What was submitted, where that stands beside the entries."""
    name: str = ""
    """By which it may be chosen, beside its number from 0."""


def choose(log: Any, run: str | int | None) -> LoggedRun:
    """The run that a log holds, or the one that is wanted.

    Args:
        run: its number, from 0, or its name: a trace's or a document's own id.

    Raises:
        TrajectoryError: there are several and none is chosen, or there is none of that name.
    """
    runs = _runs(log)
    if run is None and len(runs) == 1:
        return runs[0]
    named = ", ".join(f"{number} ({each.name})" if each.name else str(number) for number, each in enumerate(runs))
    if len(runs) > _SHOWN:
        named = f"0 to {len(runs) - 1}"
    if run is None:
        raise TrajectoryError(
            f"the log holds {len(runs)} runs: {named}; choose one with run=, or join the messages of those that "
            "belong together"
        )
    chosen = [each for number, each in enumerate(runs) if str(run) in (str(number), each.name)]
    if not chosen:
        raise TrajectoryError(f"no run is called {run!r} in this log; there are {named}")
    return chosen[0]


def _runs(log: Any) -> list[LoggedRun]:
    parts = list(log) if isinstance(log, (list, tuple)) and log and all(map(_is_whole, log)) else [log]
    return [run for part in parts for run in _split(_entries(part), _outputs(part), _name(part))]


def _split(entries: Iterable[Any], submitted: Any, name: str) -> Iterator[LoggedRun]:
    """The runs in one list of entries: a trace each, or beginning with the same instructions once more."""
    placed = [_entry(position, entry) for position, entry in enumerate(entries)]
    if placed and all(spans.claims(entry.record) for entry in placed):
        for trace, group in spans.by_trace(placed).items():
            yield LoggedRun(group, submitted, trace)
        return
    starts = [0, *_begun_again(placed)]
    for start, end in zip(starts, [*starts[1:], len(placed)], strict=True):
        yield LoggedRun(placed[start:end], submitted, name)


def _begun_again(placed: Sequence[PlacedRecord]) -> list[int]:
    """Where the instructions that a log begins with stand once more, after something else."""
    first = placed[0].record if placed else {}
    if first.get("role", first.get("type")) not in ("system", "developer") or not first.keys() & {"content", "data"}:
        return []
    return [position for position in range(2, len(placed)) if placed[position].record == first]


def _is_whole(item: Any) -> bool:
    """Whether an element of a list is a whole run, and no entry of one."""
    if isinstance(item, (list, tuple)) or _held_by(item) is not None:
        return True
    record = mapping(item)
    if record is None or spans.claims(record):
        return False
    return atif.FORMAT.claims(record) or react.FORMAT.claims(record) or _document(record) is not None


def _name(item: Any) -> str:
    record = mapping(item) or {}
    return next((str(record[key]) for key in _NAMES if isinstance(record.get(key), (str, int))), "")


def _entry(position: int, entry: Any) -> PlacedRecord:
    record = mapping(entry)
    if record is None:
        raise TrajectoryError(f"message {position} is {type(entry).__name__}; expected a dict with 'role'")
    return PlacedRecord(f"message {position}", record)


def _entries(log: Any) -> Iterable[Any]:
    """The entries of a log: its elements, what a document or an object holds as such, or the document itself."""
    held = _held_by(log)
    if held is not None:
        return [held] if isinstance(held, Mapping) else _entries(held)
    record = mapping(log)
    if record is not None:
        return _of_document(record, log)
    if isinstance(log, (str, bytes)) or not isinstance(log, Iterable):
        raise TrajectoryError(
            "from_messages takes a list of chat messages (dicts with 'role') or a dspy.History, "
            f"not {type(log).__name__}"
        )
    return list(log)


def _held_by(log: Any) -> Any:
    """What an object of a library's holds as its log; None where it is none that does."""
    if callable(getattr(log, "all_messages", None)):  # a result of Pydantic AI
        return list(log.all_messages())
    trajectory = getattr(log, "trajectory", None)
    if isinstance(trajectory, Mapping):  # a prediction of dspy.ReAct
        return trajectory
    for name in () if isinstance(log, Mapping) else ("steps", "messages", "history"):
        held = getattr(log, name, None)
        if held is not None and not callable(held):
            return held
    return None


def _of_document(record: Record, log: Any) -> Iterable[Any]:
    if any(format.claims(record) for format in (atif.FORMAT, spans.FORMAT, react.FORMAT)):
        return [record]
    held = _document(record)
    if held is None:
        raise TrajectoryError(
            f"this {type(log).__name__} is not a log; from_messages takes a list of messages, or a document that holds "
            f"one under {', '.join(_LISTS)}"
        )
    return held


def _document(record: Record) -> Sequence[Any] | None:
    """The entries that a document holds under one of its fields; None where there is no such field."""
    for holder in ("trajectory", "history"):
        inner = mapping(record.get(holder))
        if inner is not None:
            return [inner] if react.FORMAT.claims(inner) or atif.FORMAT.claims(inner) else _document(inner)
    name = next((name for name in _LISTS if isinstance(record.get(name), (list, tuple))), "")
    if not name or "attributes" in record or "role" in record or (name == "output" and "type" in record):
        return None  # a span, a message or an item
    beside = [key for key in _ANSWERS if name == "messages" and isinstance(record.get(key), (list, tuple, Mapping))]
    if any(record[key] for key in beside):
        raise TrajectoryError(
            f"a document holds messages and, under {beside[0]!r}, what a model answered to them; append that to the "
            "messages"
        )
    before = record.get("input") if name == "output" else None
    return [*(before if isinstance(before, (list, tuple)) else ()), *record[name]]


def _outputs(log: Any) -> Any:
    """What a prediction of `dspy.ReAct` gives beside its trajectory."""
    if not isinstance(getattr(log, "trajectory", None), Mapping) or not hasattr(log, "items"):
        return None
    outputs = {name: value for name, value in log.items() if name not in ("trajectory", "reasoning")}
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs or None
