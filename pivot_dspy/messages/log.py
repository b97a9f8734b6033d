"""What a log holds once it is read: calls with their results, and the answer."""

from __future__ import annotations

import difflib
import json
import re
from bisect import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages.events import USER, CallEvent, Event, ResultEvent, WordsEvent

_TRACEBACK = "Traceback (most recent call last)"
_FAILURE = re.compile(rf"\s*(?:Error\b|Exception\b|{re.escape(_TRACEBACK)}|exitcode: [1-9])")
"""How texts of tools begin that tell of a failure, where a format has no flag for it."""
UNNAMED = "assistant"
"""By which the agent without a name is chosen."""
_NEAR = 0.7
"""Likeness from which on two values are taken for two tries at the same."""
_TRIES = 8
"""Later calls that are looked at."""
_OF_FORM = re.compile(
    r"\b(?:invalid|not valid|must|expected|missing|required|format|schema|validation|unexpected)\b", re.IGNORECASE
)
"""How errors speak of the form of what was given, after which an agent writes the same in another form."""
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class LoggedCall:
    """One tool call of a log, with what came of it."""

    tool: str
    arguments: dict[str, Any]
    id: str | None = None
    """As the log names it."""
    agent: str | None = None
    problem: str | None = None
    """Why the step cannot be run again: its arguments cannot be read, or are not those that ran."""
    why: str | None = None
    """The thought before the call, and what is known of how it came about."""
    answered: bool = False
    """Whether the log holds its result."""
    failed: bool = False
    """Whether the log says so, or its result reads like it."""
    value: Any = None
    """The result."""
    mended: int | None = None
    """Where among the calls the same was tried again and done; None where it was not."""

    @property
    def error(self) -> str:
        """What is said of a call that failed."""
        value = self.value.get("error", self.value) if isinstance(self.value, dict) else self.value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return text.strip().rpartition("\n")[2] if _TRACEBACK in text else text


@dataclass(frozen=True)
class Log:
    """What a log holds."""

    calls: tuple[LoggedCall, ...]
    """Every one, in order, those that failed included."""
    answer: Any
    """What was submitted, or the assistant's last words; None where it called something after them."""
    task: str
    """The first that a user says; empty where none does."""
    told: str = ""
    """All that users and instructions say, a line for each message."""

    @property
    def final_text(self) -> str | None:
        """The answer as a text."""
        return None if self.answer is None else self.answer if isinstance(self.answer, str) else json.dumps(self.answer)


def assemble(events: Iterable[Event], *, agent: str | None = None, edited: Collection[str] = ()) -> Log:
    """Pair calls with results, and find the answer.

    Args:
        agent: whose calls and words are wanted; of all, where it is None.
        edited: ids of calls that a person changed before they ran, where the log keeps only what the model asked for.

    Raises:
        TrajectoryError: a result without its call, calls of several agents where none is chosen, or an agent or id
            that does not occur.
    """
    draft = _Draft()
    for event in events:
        draft.add(event)
    agents = dict.fromkeys(call.agent for call in draft.calls)
    if agent is None and (len(agents.keys() - {None}) > 1 or agents.keys() == {None, USER}):
        named = ", ".join(f"{name or UNNAMED} ({_share(draft.calls, name)})" for name in agents)
        raise TrajectoryError(f"several agents call tools in this log: {named}; choose one with agent=")
    if agent is None and not draft.calls and len(draft.speakers) > 1:
        raise TrajectoryError(
            f"several agents speak in this log, and none calls a tool: {', '.join(draft.speakers)}; choose one with "
            "agent=, or format='turns', which reads what each says as a step"
        )
    is_unnamed = agent == UNNAMED and None in agents
    if agent is not None and not is_unnamed and agent not in {*agents, *draft.speakers}:
        named = ", ".join(dict.fromkeys([*filter(None, agents), *draft.speakers]))
        raise TrajectoryError(f"nobody is called {agent!r} in this log; there are {named or 'no names'}")
    unknown = set(edited) - {call.id for call in draft.calls}
    if unknown:
        raise TrajectoryError(f"no call has the id {', '.join(sorted(unknown))}, which edited= names")
    wanted = None if is_unnamed else agent
    chosen = [index for index, call in enumerate(draft.calls) if agent is None or call.agent == wanted]
    calls = [_logged(draft.calls[i], draft.results.get(i), draft.why.get(i), edited) for i in chosen]
    return Log(_with_mended(calls), draft.said_last(agent is None, wanted), draft.task, "\n".join(draft.told))


def _share(calls: Sequence[CallEvent], agent: str | None) -> str:
    count = sum(call.agent == agent for call in calls)
    return f"{count} call{'' if count == 1 else 's'}"


@dataclass
class _Draft:
    calls: list[CallEvent] = field(default_factory=list)
    results: dict[int, ResultEvent] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)
    task: str = ""
    told: list[str] = field(default_factory=list)
    speakers: dict[str, None] = field(default_factory=dict)
    _open: dict[int, CallEvent] = field(default_factory=dict)
    """The calls without a result, by their place."""
    _by_id: dict[str, list[int]] = field(default_factory=dict)
    _answers: dict[str | None, Any] = field(default_factory=dict)
    _answer: Any = None
    _words: str | None = None
    _submitted: bool = False

    def add(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            if self._words is not None:
                self.why[len(self.calls)] = self._words
            self._words = None
            self._submitted = False
            self._answer = self._answers[event.agent] = None
            self._open[len(self.calls)] = event
            if event.id is not None:
                self._by_id.setdefault(event.id, []).append(len(self.calls))
            self.calls.append(event)
        elif isinstance(event, ResultEvent):
            self._words = None
            index = self._call_of(event)
            self._open.pop(index, None)
            self.results[index] = event
        else:
            self._say(event)

    def _say(self, words: WordsEvent) -> None:
        if words.agent is not None:
            self.speakers[words.agent] = None
        if words.speaker in ("user", "system"):
            self._words = None
            self.told.append(words.value)
            self.task = self.task or (words.value if words.speaker == "user" else "")
            return
        if words.speaker == "answer":
            self._submitted = True
        else:
            self._words = words.value
        if words.speaker == "answer" or (words.speaker == "assistant" and not self._submitted):
            self._answer = self._answers[words.agent] = words.value

    def said_last(self, by_anyone: bool, agent: str | None) -> Any:
        """What an agent said last, or whoever did."""
        return self._answer if by_anyone else self._answers.get(agent)

    def _call_of(self, result: ResultEvent) -> int:
        """Which call a result is of.

        Raises:
            TrajectoryError: none that the log holds.
        """
        same = self._by_id.get(result.call, ()) if result.call is not None else ()
        if same:  # ids may be used again; a second result of one call stands for the first
            return next((index for index in same if index in self._open), same[-1])
        for index, call in self._open.items():
            if (result.call is None or call.id is None) and result.tool in (call.tool, None):
                return index
        what = result.call or result.tool or "a tool"
        raise TrajectoryError(
            f"the log holds a result of {what!r}, and no call that it is of; give it from its beginning"
        )


def _logged(call: CallEvent, result: ResultEvent | None, why: str | None, edited: Collection[str]) -> LoggedCall:
    problem, notes = call.problem, [why or ""]
    if result is not None and result.instead is not None:
        asked = f"{call.tool} {json.dumps(dict(call.arguments), ensure_ascii=False, default=str)}"
        notes.append(f"(a person had this run in place of {asked})")
        call, problem = replace(result.instead, id=call.id, agent=call.agent), result.instead.problem
    if result is not None and not result.ran:
        problem = f"a person refused this call, which never ran: {result.value}"
    if call.id is not None and call.id in edited:
        problem = "a person changed this call before it ran, and the log does not keep what ran"
    return LoggedCall(
        tool=call.tool,
        arguments=dict(call.arguments),
        id=call.id,
        agent=call.agent,
        problem=problem,
        why=" ".join(filter(None, notes)) or None,
        answered=result is not None,
        failed=result is not None and (_reads_failed(result.value) if result.failed is None else result.failed),
        value=None if result is None else result.value,
    )


def _reads_failed(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value.get("error")) or value.get("is_error") is True or value.get("isError") is True
    return isinstance(value, str) and bool(_FAILURE.match(value))


def _with_mended(calls: Sequence[LoggedCall]) -> tuple[LoggedCall, ...]:
    """The calls; of each that failed, where it was put right, if it was."""
    done: dict[str, list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        if call.answered and not call.failed and not call.problem:
            done[call.tool].append(index)
    return tuple(
        replace(call, mended=_put_right(index, calls, done[call.tool])) if call.answered and call.failed else call
        for index, call in enumerate(calls)
    )


def _put_right(index: int, calls: Sequence[LoggedCall], done: Sequence[int]) -> int | None:
    """Where a call that failed was put right, among the first later ones of its tool that did not fail."""
    start = bisect(done, index)
    return next((later for later in done[start : start + _TRIES] if _is_as_meant(calls[later], calls[index])), None)


def _is_as_meant(later: LoggedCall, call: LoggedCall) -> bool:
    """Whether a later call of the same tool is what a failed one was for: it has most of the arguments, or all of them
    as if mistyped before, or the error was about their form. What differs in its digits alone names two things.
    """
    if call.problem or not call.arguments:
        return True
    same = sum(name in later.arguments and later.arguments[name] == value for name, value in call.arguments.items())
    if 2 * same > len(call.arguments):
        return True
    tried, done = _values(call), _values(later)
    if tried != done and _DIGIT.sub("0", tried) == _DIGIT.sub("0", done):
        return False
    if _OF_FORM.search(call.error):
        return True
    return difflib.SequenceMatcher(None, tried, done).ratio() >= _NEAR


def _values(call: LoggedCall) -> str:
    """The values alone: the names are alike in all calls of one tool."""
    return " ".join(value if isinstance(value, str) else json.dumps(value, default=str)
                    for value in call.arguments.values())  # fmt: skip
