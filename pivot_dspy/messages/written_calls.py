"""Calls that stand in the text of an assistant, as templates of models without an interface for tools have them.

Read is what Hermes and Qwen write: `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, results in
`<tool_response>`, and thoughts in `<think>`. Other marks of calls are refused: such a text answers nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages.events import CallEvent, Event, ResultEvent, WordsEvent, call_of, value_of

_CALL = r"<tool_call>(?=\s*(?:\{|<function=|\w+\s*<arg_key>))"
_PART = re.compile(
    rf"{_CALL}(?P<call>.*?)(?:</tool_call>|\Z)|\A\s*<think>(?P<thought>.*?)</think>|(?P<said>.+?)(?={_CALL}|\Z)",
    re.DOTALL,
)
_RESULT = re.compile(r"\s*<tool_response>\s*(.*?)\s*</tool_response>\s*", re.DOTALL)
_OTHER = re.compile(
    r"^\s*(?:\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_calls?(?:_section)?_begin\|>|<｜tool▁calls▁begin｜>|<function=\w"
    r"|<function_calls>|<(?:antml:)?invoke name=|functools\[|<\|channel\|>commentary to=|<\|tool_call\|>"
    r"|Action Input:)",
    re.MULTILINE,
)
"""Of Mistral, Llama, Kimi, DeepSeek, Anthropic's text form, Phi, gpt-oss, Granite, ReAct, where they begin a line."""


def read(events: Iterable[Event]) -> Iterator[Event]:
    """The events, with the calls and results that stand in texts as such; one that also stands beside its text is one.

    Raises:
        TrajectoryError: a text holds a call in a form that cannot be read.
    """
    events = list(events)
    for position, event in enumerate(events):
        text = event.value if isinstance(event, (WordsEvent, ResultEvent)) and isinstance(event.value, str) else ""
        if isinstance(event, WordsEvent) and event.speaker == "assistant":
            beside = takewhile(lambda other: isinstance(other, CallEvent), events[position + 1 :])
            yield from _said(event, text, [call for call in beside if isinstance(call, CallEvent)])
        elif isinstance(event, WordsEvent) and event.speaker == "user" and _RESULT.search(text):
            yield from _responses(event, text)
        elif isinstance(event, ResultEvent) and (whole := _RESULT.fullmatch(text)):
            yield replace(event, value=value_of(whole[1]))
        else:
            yield event


def _said(words: WordsEvent, text: str, beside: Sequence[CallEvent]) -> Iterator[Event]:
    """What an assistant says, where `beside` it there are calls in a form of their own."""
    parts = list(_PART.finditer(text))
    calls = [_call(part["call"], words.agent) for part in parts if part["call"]]
    if not calls and not beside and (mark := _OTHER.search(text)):
        raise TrajectoryError(
            f"an assistant's text holds a call, by {mark[0].strip()!r}, in a form that cannot be read; parse it into "
            "tool_calls, as the server of such a model does"
        )
    for part in parts:
        if spoken := (part["thought"] or part["said"] or "").strip():
            yield replace(words, speaker="assistant" if part["said"] and not calls else "thought", value=spoken)
    made = [(call.tool, call.arguments) for call in beside]
    yield from (call for call in calls if (call.tool, call.arguments) not in made)


def _call(held: str, agent: str | None) -> CallEvent:
    try:
        call = json.loads(held)
        name, arguments = call["name"], call.get("arguments", call.get("parameters"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise TrajectoryError(
            f"a call in an assistant's text cannot be read, for it is no JSON object with a name: {held.strip()!r:.200}"
        ) from error
    return call_of(name, arguments, "an assistant's text", call=call.get("id"), agent=agent)


def _responses(words: WordsEvent, text: str) -> Iterator[Event]:
    """The results in a message that a template writes as a user's, and what the user says beside them."""
    # Splitting by a pattern with one group gives what stands between its matches, and in turn what the group holds.
    for position, part in enumerate(_RESULT.split(text)):
        if position % 2:
            yield ResultEvent(value_of(part))
        elif part.strip():
            yield replace(words, value=part.strip())
