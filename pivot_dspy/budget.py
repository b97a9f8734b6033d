"""One budget and one ledger over every language model call and tool call of a refiner's run.

A `Ledger` sees an LM call through two documented doors of DSPy, both set by `dspy.context`, which DSPy carries into
`dspy.Parallel`, `dspy.Evaluate`, `dspy.asyncify` and asyncio tasks: a callback tells that a call begins and ends, and
for its duration a usage tracker (a cache hit reports to none) and a place among the `caller_modules` (whose histories
get the entry with the cost) tell what it used. Trackers and callbacks of the user stay in force.

What DSPy does not tell cannot be counted:
- Its own retries inside one LM call count as one call; failed attempts report no tokens.
- A call that fails before it reaches the provider (no key, bad text) counts as a failed call, like any other failure.
- `lm.forward(...)`, embedders, other SDKs, and a `BaseLM` subclass whose own `__call__` runs no callbacks are unseen.
- Of a call that is given up at the deadline nothing is known but that it was made; what it uses later is not booked.
- A thread started by hand sees no phase unless it runs in `contextvars.copy_context()`.
- Of code inside a phase that replaces `settings.callbacks` (a `dspy.streamify` built outside, say) requests and tokens
  are booked, not cache hits, failures and cost; if it brings its own usage tracker too, nothing is.
- Cost is 0.0 where DSPy estimates none, and with `disable_history=True` or `max_history_size=0`, which drop it. With
  either of these, several candidates by one call (`n=3`) count as one.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import dspy
from dspy.lm15 import Request
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pivot_dspy.deadline import DEADLINE, Attempt, current_attempt
from pivot_dspy.dspy_internals import CHARACTERS_A_TOKEN, LMCallback, UsageTracker, settings
from pivot_dspy.errors import ConfigurationError, PivotError
from pivot_dspy.prompts.truncation import FENCE

BLOCK = 128 * CHARACTERS_A_TOKEN
"""Characters by which prefix caches keep prompts, about."""
_FENCED = re.compile(rf"^{re.escape(FENCE)}.*", re.MULTILINE)
OUTSIDE = "other"
"""The phase to which a tool call outside of any phase is booked."""

# Keys in `dspy.settings`, which follow DSPy into its threads: the innermost phase, and by ledger its innermost's name.
_INNERMOST, _NAMES = "pivot_dspy_phase", "pivot_dspy_phases"


class BudgetExhausted(PivotError, RuntimeError):
    """A budget's limit was reached; `limit` is its name, such as "tokens"."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(limit, message)
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[1])


class Budget(BaseModel):
    """Upper limits on what one run may spend; None means no limit, so `Budget()` is unlimited.

    A limit is compared between calls: a call in flight is not stopped, so it may be passed by what runs at once. Only
    `seconds` end the waiting itself: a language model that has not answered by then is given up, and a tool call gets
    what is left of them as its timeout.

    Raises:
        ValueError: a limit is not a finite number above 0, or its name is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lm_calls: int | None = None
    """Requests to language models; cache hits are free."""
    tokens: int | None = None
    """Prompt plus completion tokens."""
    cost: float | None = None
    """US dollars, as estimated by DSPy."""
    tool_calls: int | None = None
    """Tool calls that ran; reused observations are free."""
    seconds: float | None = None
    """Wall time since the ledger began, waiting for language models and tools included."""

    @field_validator("*")
    @classmethod
    def _above_zero(cls, limit: float | None) -> float | None:
        if limit is not None and not 0 < limit < math.inf:
            raise ValueError(f"a limit must be a finite number above 0; leave it out for no limit (got {limit})")
        return limit


class Usage(BaseModel):
    """What was used. Two add up with `+`."""

    model_config = ConfigDict(frozen=True)

    lm_calls: int = Field(default=0, ge=0)
    cache_hits: int = Field(default=0, ge=0)
    """Answers from DSPy's cache; not in `lm_calls`."""
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    cached_prompt_tokens: int = Field(default=0, ge=0)
    """Share of the prompt tokens that the provider read from its prefix cache, as far as it reports it."""
    repeated_prompt_tokens: int = Field(default=0, ge=0)
    """Share of the prompt in blocks of 128 with which an earlier prompt of the run begins too, so that a prefix cache
    could serve them; characters / 4."""
    observation_tokens: int = Field(default=0, ge=0)
    """Share of the new messages that shows what steps gave; characters / 4."""
    reasoning_tokens: int = Field(default=0, ge=0)
    """Share of the completion tokens, as far as the provider reports it."""
    cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """US dollars, as estimated by DSPy."""
    tool_calls: int = Field(default=0, ge=0)
    tool_calls_reused: int = Field(default=0, ge=0)
    """Calls whose recorded observation was reused; not in `tool_calls`."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def unserved_prompt_tokens(self) -> int:
        """Prompt tokens that no prefix cache serves: by the provider's own count, or else by how the prompts of the run
        begin; with several runs of one environment, a cache serves more."""
        return max(0, self.prompt_tokens - max(self.cached_prompt_tokens, self.repeated_prompt_tokens))

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: amount + getattr(other, name) for name, amount in self})

    def __sub__(self, other: Usage) -> Usage:
        return Usage(**{name: amount - getattr(other, name) for name, amount in self})


class LedgerReport(BaseModel):
    """A ledger at one moment: usage per phase and wall seconds since it began. Goes to JSON and back."""

    model_config = ConfigDict(frozen=True)

    phases: dict[str, Usage] = {}
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @property
    def usage(self) -> Usage:
        """The sum over all phases."""
        return sum(self.phases.values(), Usage())


class Ledger:
    """Counts what one refiner call spends, per phase; safe to share between threads and tasks.

    Args:
        start: a report to go on from, as when a run resumes from its journal: its usage and seconds count as spent.
        seconds: after so many, whoever waits in one of its phases for a language model gives it up.
    """

    def __init__(self, start: LedgerReport | None = None, seconds: float | None = None) -> None:
        start = start or LedgerReport()
        self._lock = threading.Lock()
        # By phase and field of `Usage`: tool calls are booked one by one, and a record for each would take longer.
        self._phases: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._total: Counter[str] = Counter()
        self._begun: set[int] = set()
        """Hashes of the messages, and of the blocks, with which prompts began."""
        for name, usage in start.phases.items():
            self._book(name, usage)
        self._began = time.monotonic() - start.seconds
        self._deadline = math.inf if seconds is None else self._began + seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book every DSPy LM call and every `tool_call` made inside the `with` block (sync or async) to phase `name`.

        The innermost phase wins, also over one of another ledger.

        Raises:
            ConfigurationError: the name is empty.
        """
        if not name:
            raise ConfigurationError('a phase needs a name, such as ledger.phase("plan")')
        phase = _PhaseScope(self, name)
        names = {**getattr(settings, _NAMES, {}), self: name}
        changes: dict[str, Any] = {_INNERMOST: phase, _NAMES: names, "callbacks": [*settings.callbacks, phase]}
        # Without a tracker, `track_usage` makes each module open its own, for `get_lm_usage`: then set none before it.
        if settings.usage_tracker is not None or not settings.track_usage:
            changes["usage_tracker"] = _Tracker(phase.book_unseen)
        if self._deadline < math.inf:  # of several ledgers, the first deadline counts
            changes[DEADLINE] = min(self._deadline, settings.get(DEADLINE) or math.inf)
        with dspy.context(**changes):
            yield

    def replay(self, phase: str, messages: Sequence[tuple[str, str]], usage: Usage, seconds: float) -> None:
        """Book a call that was made when this run was made before, as it was booked then.

        Args:
            messages: what was sent, each with its role.
        """
        self._compare(messages)
        self._book(phase, usage)
        self._began -= seconds
        self._deadline -= seconds

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """The time inside the `with` block is not spent, as when a person thinks."""
        began = time.monotonic()
        try:
            yield
        finally:
            waited = time.monotonic() - began
            self._began += waited
            self._deadline += waited

    def tool_call(self, reused: bool = False) -> None:
        """Book one tool call, or one whose recorded observation was reused, to this ledger's innermost phase."""
        phase = getattr(settings, _NAMES, {}).get(self, OUTSIDE)
        self._book(phase, {"tool_calls_reused" if reused else "tool_calls": 1})

    @property
    def by_phase(self) -> dict[str, Usage]:
        """Usage per phase, in the order in which the phases first spent something."""
        with self._lock:
            return {name: Usage(**counts) for name, counts in self._phases.items()}

    @property
    def usage(self) -> Usage:
        """The sum over all phases."""
        with self._lock:
            return Usage(**self._total)

    @property
    def tokens(self) -> int:
        """Prompt plus completion tokens so far."""
        with self._lock:
            return self._total["prompt_tokens"] + self._total["completion_tokens"]

    @property
    def elapsed(self) -> float:
        """Wall seconds since the ledger began, with those of the report it started from."""
        return time.monotonic() - self._began

    def spent(self, budget: Budget) -> str | None:
        """The first limit of `budget` that is reached, with its numbers ("tokens: 5120 of 5000"), or None."""
        reached = self._reached(budget)
        return reached and reached[1]

    def check(self, budget: Budget) -> None:
        """Raise `BudgetExhausted` if a limit of `budget` is reached."""
        if reached := self._reached(budget):
            limit, numbers = reached
            raise BudgetExhausted(limit, f"the budget is spent: {numbers}; raise Budget({limit}=...) to go on")

    def snapshot(self) -> LedgerReport:
        """The report of this moment."""
        return LedgerReport(phases=self.by_phase, seconds=self.elapsed)

    def _reached(self, budget: Budget) -> tuple[str, str] | None:
        limits = {name: limit for name, limit in budget if limit is not None}
        if not limits:
            return None
        used = {**dict(self.usage), "tokens": self.tokens, "seconds": self.elapsed}
        for name, limit in limits.items():
            if used[name] >= limit:
                return name, f"{name}: {_number(used[name])} of {_number(limit)}"
        return None

    def _compare(self, messages: Sequence[tuple[str, str]]) -> Usage:
        """How much of a prompt was sent before, and how much of the rest shows what steps gave."""
        new = messages[self._repeated(messages) :]
        observed = sum(len(fenced) for _, text in new for fenced in _FENCED.findall(text))
        whole = "".join(f"{role}\n{text}\n" for role, text in messages)
        ends = range(BLOCK, len(whole) + 1, BLOCK)
        repeated = BLOCK * self._repeated([whole[end - BLOCK : end] for end in ends])
        tokens = {"repeated_prompt_tokens": repeated, "observation_tokens": observed}
        return Usage(**{name: count // CHARACTERS_A_TOKEN for name, count in tokens.items()})

    def _repeated(self, parts: Sequence[Hashable]) -> int:
        """With how many of these parts an earlier prompt began; they are taken note of."""
        chains = [*accumulate((hash(part) for part in parts), lambda chain, part: hash((chain, part)))]
        with self._lock:
            new = next((count for count, chain in enumerate(chains) if chain not in self._begun), len(chains))
            self._begun.update(chains[new:])
        return new

    def _book(self, phase: str, usage: Usage | Mapping[str, Any]) -> None:
        with self._lock:
            for counts in (self._phases[phase], self._total):
                for name, amount in dict(usage).items():
                    counts[name] += amount


class _Tracker(UsageTracker):  # type: ignore[misc]
    """Passes usage to `book`, then on to the user's tracker; threads share it, where DSPy would copy the user's."""

    def __init__(self, book: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self.book = book
        outer = settings.usage_tracker or UsageTracker()
        self.users: UsageTracker = outer.users if isinstance(outer, _Tracker) else outer
        self.usage_data = self.users.usage_data  # a `dspy.track_usage()` inside rolls up into this

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        self.book(usage_entry)
        self.users.add_usage(lm, usage_entry)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Tracker:
        return self


@dataclass(eq=False)
class _Call:
    """One LM call in flight: the usage it reported, and as one of the `caller_modules` its history entry."""

    reported: list[Mapping[str, Any]] = field(default_factory=list)
    history: list[Mapping[str, Any]] = field(default_factory=list)
    shown: Usage = Usage()
    """What is known from its prompt alone."""


class _PhaseScope(LMCallback):
    """One open phase of one ledger, as DSPy's callbacks see it."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger = ledger
        self.name = name
        self._calls: dict[str, tuple[_Call, AbstractContextManager[None], Attempt]] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if getattr(settings, _INNERMOST, None) is not self:
            return  # of an outer phase, or of where a `dspy.streamify` was built, which keeps those callbacks
        call = _Call(shown=self.ledger._compare(_sent(inputs)))
        attempt = current_attempt() or Attempt()
        attempt.begin(call, lambda: self._book(call, failed=True))
        callers = [*(settings.caller_modules or ()), call]
        # Start and end are called by one frame in one context, so that this opens and closes there.
        scope = dspy.context(usage_tracker=_Tracker(call.reported.append), caller_modules=callers)
        scope.__enter__()
        self._calls[call_id] = call, scope, attempt

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        if call_id not in self._calls:
            return
        call, scope, attempt = self._calls.pop(call_id)
        try:
            if attempt.end(call):
                self._book(call, failed=exception is not None)
        finally:
            scope.__exit__(None, None, None)

    def book_unseen(self, entry: Mapping[str, Any]) -> None:
        """Book usage that was reported outside of any call that the callback saw, and was waited for."""
        attempt = current_attempt()
        if attempt is None or not attempt.given_up:
            self.ledger._book(self.name, _tokens(entry) + Usage(lm_calls=1))

    def _book(self, call: _Call, failed: bool) -> None:
        self.ledger._book(self.name, _usage(call, failed))


def current_phase() -> _PhaseScope | None:
    """The innermost phase that this code runs in, with its `ledger` and `name`; None outside of any."""
    return settings.get(_INNERMOST)  # type: ignore[no-any-return]


def _sent(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The messages of a call, each with its role: a request of DSPy's own, or as adapters passed them until 3.4."""
    request = inputs.get("prompt")
    if isinstance(request, Request):
        system = [("system", str(request.system))] if request.system else []
        return [*system, *((message.role, message.text or "") for message in request.messages)]
    return [(str(message.get("role")), str(message.get("content"))) for message in inputs.get("messages") or ()]


def _usage(call: _Call, failed: bool) -> Usage:
    if not call.reported and not failed:
        return Usage(cache_hits=1)
    # What stands before the last entry is of calls that the model itself made, and booked to those.
    entry = call.history[-1] if call.history and not failed else {}
    # Several candidates (`n=3`) are as many requests to most engines; the entry then holds a tuple of responses.
    responses = entry.get("response")
    candidates = len(responses) if isinstance(responses, tuple) else 1
    requests = Usage(lm_calls=max(candidates, len(call.reported)), cost=entry.get("cost") or 0.0)
    return sum(map(_tokens, call.reported), requests + call.shown)


_TOKEN_PATHS = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "cached_prompt_tokens": "prompt_tokens_details.cached_tokens",
    "reasoning_tokens": "completion_tokens_details.reasoning_tokens",
}


def _tokens(entry: Mapping[str, Any]) -> Usage:
    """The token counts of a provider's usage, in either of the two usual namings."""
    return Usage(**{name: _count(entry, path) for name, path in _TOKEN_PATHS.items()})


def _count(entry: Any, path: str) -> int:
    """The positive number at a dotted path into mappings and objects, or at the path in the other naming; else 0."""
    other = path.replace("prompt", "input").replace("completion", "output")
    for keys in (path.split("."), other.split(".")):
        value = entry
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        if isinstance(value, (int, float)) and 0 < value < math.inf:
            return int(value)
    return 0


def _number(amount: float) -> str:
    return str(amount) if isinstance(amount, int) else f"{amount:.4g}"
