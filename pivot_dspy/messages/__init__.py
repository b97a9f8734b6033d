"""Reads what an agent did out of its log, whichever library wrote it: one module for each format.

A log is read whole or refused: every call that stands in it is a call of the `Log`, or `TrajectoryError` says why not.

What is read, and the library by which the tests have it written (`tests/messages/writing.py`, `test_agents.py` and
`test_people.py`):

| format | what | written by |
|---|---|---|
| `openai` | chat messages with `tool_calls`; as text where Hermes and Qwen write them so | openai 3.57.0 |
| `openai-responses` | items of the Responses interface | openai 3.57.0 |
| `anthropic` | messages with `tool_use` and `tool_result` | anthropic 2.14.0 |
| `gemini` | contents with `parts`, in snake or camel case | google-genai 3.6.1 |
| `langchain` | messages, `messages_to_dict`, `dumpd`; with edits by a person | langchain 1.5.2 |
| `pydantic-ai` | messages, and their JSON | pydantic-ai-slim 2.68.0 |
| `dspy.ReAct` | the `trajectory` of `dspy.ReAct` | dspy 3.4 |
| `dspy.ReActV2` | the `history` of `dspy.ReActV2` | dspy 3.4 |
| `smolagents` | steps of the memory, and `get_full_steps()` | smolagents 1.26.0 |
| `atif` | ATIF 1.0 to 1.8 | harbor 0.26.0, kept in `tests/messages/logs/atif.json` |
| `spans` | OpenTelemetry GenAI, by the SDK or as OTLP | opentelemetry-sdk 1.45.2, opentelemetry-util-genai 1.3b0 |
| `spans` | OpenInference | openinference-instrumentation 0.1.72 |
| `turns` | speeches of agents that call no tools, where it is chosen | no library |

After documentation alone, without the library (`test_other_makers.py`): blocks of Amazon Bedrock, calls of LlamaIndex,
Inspect and tau2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any

from pivot_dspy.errors import TrajectoryError, error_text
from pivot_dspy.messages import (
    atif,
    blocks,
    chat,
    gemini,
    langchain,
    pydantic_ai,
    react,
    responses,
    runs,
    smolagents,
    spans,
    turns,
    written_calls,
)
from pivot_dspy.messages.events import Event, Format, PlacedRecord, WordsEvent
from pivot_dspy.messages.log import Log, LoggedCall, assemble
from pivot_dspy.messages.plan import LoggedStep, plan
from pivot_dspy.messages.runs import LoggedRun

__all__ = ["FORMATS", "Log", "LoggedCall", "LoggedStep", "plan", "read"]

_AUTOMATIC = (
    atif.FORMAT, spans.FORMAT, react.FORMAT, react.HISTORY_FORMAT, smolagents.FORMAT, pydantic_ai.FORMAT,
    responses.FORMAT, blocks.FORMAT, langchain.FORMAT, gemini.FORMAT, chat.FORMAT,
)  # fmt: skip
FORMATS = {format.name: format for format in (*_AUTOMATIC, turns.FORMAT)}
"""The formats that can be read, by name. `turns`, which reads speeches as steps, is never chosen by itself."""


def read(
    log: Any, *, format: str = "auto", agent: str | None = None, edited: Collection[str] = (),
    run: str | int | None = None,
) -> Log:  # fmt: skip
    """Read `log`: messages, items, steps or spans, as dictionaries or as the objects of the libraries that make them.

    Args:
        format: the name of one of `FORMATS`; `auto` tells it from each entry.
        agent: whose calls are wanted, where several agents call tools.
        run: which run is wanted, where a list or a file holds several: its number from 0, or the id of its trace.
        edited: ids of calls that a person changed before they ran, where the log does not tell.

    Raises:
        TrajectoryError: an entry is of no format that can be read, a result has no call, or there are several runs, or
            calls of several agents, and none is chosen; the text names the place and the remedy.
    """
    if format not in ("auto", *FORMATS):
        raise TrajectoryError(f"no format is called {format!r}; formats: auto, {', '.join(FORMATS)}")
    try:
        return assemble(_events(runs.choose(log, run), format), agent=agent, edited=edited)
    except TrajectoryError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:  # logs may hold anything
        raise TrajectoryError(f"the log is not well formed: {error_text(error)}") from error


def _events(run: LoggedRun, format: str) -> Iterator[Event]:
    formats = _AUTOMATIC if format == "auto" else (FORMATS[format],)
    for chosen, group in groupby(run.entries, key=lambda entry: _format_of(entry, formats)):
        yield from written_calls.read(chosen.read(list(group)))
    if run.submitted is not None:
        yield WordsEvent("answer", run.submitted)


def _format_of(entry: PlacedRecord, formats: Collection[Format]) -> Format:
    chosen = next((format for format in formats if format.claims(entry.record)), None)
    if chosen is not None:
        return chosen
    role = entry.record.get("role")
    told = f"has the role {role!r}" if role is not None else f"has the fields {', '.join(map(str, entry.record))[:200]}"
    names = ", ".join(format.name for format in formats)
    wrapping = next((name for name in ("message", "payload") if isinstance(entry.record.get(name), Mapping)), None)
    if wrapping is not None:
        raise TrajectoryError(
            f"{entry.place} {told}, and is of no format that can be read; it holds another record under {wrapping!r}: "
            f"give those, [entry[{wrapping!r}] for entry in log]"
        )
    remedy = "" if turns.FORMAT in formats else "; to read what several agents say as steps, choose the format 'turns'"
    raise TrajectoryError(f"{entry.place} {told}, and is of no format that can be read ({names}){remedy}")
