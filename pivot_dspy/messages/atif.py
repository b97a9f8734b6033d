"""ATIF, the Agent Trajectory Interchange Format of Harbor and terminal-bench, versions 1.0 to 1.8.

Source: https://www.harborframework.com/docs/trajectory-format. Calls and results stand in one step; a step that was
copied from an earlier trajectory stands there for context, and is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages.events import (
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    Speaker,
    WordsEvent,
    call_of,
    mapping,
    records,
    text_of,
    value_of,
)

_VERSION = re.compile(r"ATIF-v1\.[0-8]")
_SPEAKERS: Mapping[str, Speaker] = {"agent": "assistant", "user": "user", "system": "system"}


def claims(record: Record) -> bool:
    return str(record.get("schema_version", "")).upper().startswith("ATIF")


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, trajectory in entries:
        yield from _trajectory(place, trajectory)


def _trajectory(place: str, trajectory: Record, above: str | None = None) -> Iterator[Event]:
    version = str(trajectory["schema_version"])
    if not _VERSION.fullmatch(version):
        raise TrajectoryError(f"{place} is of {version!r}; ATIF-v1.0 to ATIF-v1.8 can be read")
    agent = (mapping(trajectory.get("agent")) or {}).get("name")
    if above is not None and agent in (above, None):  # a copy of the agent above, whose calls are not that one's
        agent = f"{above}/{trajectory.get('trajectory_id') or trajectory.get('session_id') or place}"
    for number, step in enumerate(records(trajectory.get("steps"), place), start=1):
        yield from _step(f"step {number} of {place}", step, agent)
    for number, other in enumerate(records(trajectory.get("subagent_trajectories"), place), start=1):
        yield from _trajectory(f"subagent {number} of {place}", {"schema_version": version, **other}, agent or "agent")
    if trajectory.get("continued_trajectory_ref"):
        raise TrajectoryError(
            f"{place} goes on in {trajectory['continued_trajectory_ref']!r}; join the steps of both, and leave "
            "continued_trajectory_ref out"
        )


def _step(place: str, step: Record, agent: str | None) -> Iterator[Event]:
    thought = step.get("reasoning_content")
    if isinstance(thought, str) and thought.strip():
        yield WordsEvent("thought", thought.strip(), agent)
    if text := text_of(step.get("message")):
        yield WordsEvent(_SPEAKERS.get(str(step.get("source")), "user"), text, agent)
    calls = [
        call_of(call.get("function_name"), call.get("arguments"), place, call=call.get("tool_call_id"), agent=agent)
        for call in records(step.get("tool_calls"), place)
    ]
    yield from calls
    observation = mapping(step.get("observation")) or {}
    for result in records(observation.get("results"), place):
        named = result.get("source_call_id")
        call = named if named is not None else calls[0].id if len(calls) == 1 else None
        if call is not None:  # else the environment spoke without being called
            failed = (mapping(result.get("extra")) or {}).get("is_error")
            value = value_of(result.get("content"))
            yield ResultEvent(value, call, failed=failed if isinstance(failed, bool) else None)


FORMAT = Format("atif", claims, read)
