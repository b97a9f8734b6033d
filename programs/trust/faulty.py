"""Models, environments, adapters and listeners that fail at random, by one seeded source of faults."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

import dspy
from dspy import lm15
from dspy.lm15 import Request, Response, Usage
from dspy.utils import exceptions as dspy_errors

from pivot_dspy import Environment, Event
from pivot_dspy.acceptance import NonDecreasing
from pivot_dspy.simulator.engine import OfflineEngine, events, response_to
from programs.benchmarks.overhead import NoOp
from programs.meeting_room import Workspace

HANG = 5.0
"""Seconds that something hangs: longer than any run is given."""


class Heartbeat(AbstractContextManager["Heartbeat"]):
    """Measures how long the machine, busy with something else, lets this process not run at all.

    A thread that wants to run every few milliseconds notes how late it is, less the processor time that this process
    took meanwhile: what is slow by itself does not count as the machine's fault.
    """

    BEAT = 0.02

    def __init__(self) -> None:
        self.stalled = 0.0
        """Seconds so far."""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.is_set():
            wall, used = time.monotonic(), time.process_time()
            self._ends.wait(self.BEAT)
            late = time.monotonic() - wall - self.BEAT - (time.process_time() - used)
            self.stalled += late if late > self.BEAT else 0.0


class Fault(Exception):
    """What a part of the user's raises: of no type that anybody knows."""


class Faults:
    """Where faults come from: each seam asks whether it is to fail now.

    Args:
        rates: the chance of a fault by seam; others never fail.
        lasting_from: the model call from which on every one fails in the same way; None where it may recover.
    """

    def __init__(self, seed: int, rates: dict[str, float], lasting_from: int | None, can_hang: bool) -> None:
        self.random = random.Random(seed)
        self.rates = rates
        self.lasting_from = lasting_from
        self.can_hang = can_hang
        self.struck: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._calls = 0
        self._lasting: str | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Faults:
        return self  # one source for a run and all its copies

    def strikes(self, seam: str) -> bool:
        with self._lock:
            struck = self.random.random() < self.rates.get(seam, 0.0)
            self.struck[seam] += struck
            return struck

    def of_model(self) -> str | None:
        """The fault of the next call of the model; None where it answers."""
        with self._lock:
            self._calls += 1
            lasting = self.lasting_from is not None and self._calls >= self.lasting_from
            if self._lasting is None and (lasting or self.random.random() < self.rates.get("model", 0.0)):
                kinds = [kind for kind in MODEL_FAULTS if self.can_hang or kind not in ("hangs", "is slow")]
                kind = self.random.choice(kinds)
                self._lasting = kind if lasting else None
            else:
                kind = self._lasting or ""
            if kind:
                self.struck[f"model {kind}"] += 1
            return kind or None

    def raise_at(self, seam: str) -> None:
        if self.strikes(seam):
            raise self._error(f"the {seam} broke")

    def _error(self, message: str) -> Exception:
        kinds = [Fault, KeyError, ValueError, RecursionError, RuntimeError, StopIteration, OSError, MemoryError]
        return self.random.choice(kinds)(message)


# -------------------------------------------------------------------------------------------------------- the model


def _errors() -> Iterator[tuple[str, Exception]]:
    """Every error of DSPy's that can be made from a message, and some that no model should raise."""
    for place in (lm15, dspy_errors):
        for name, kind in vars(place).items():
            if isinstance(kind, type) and issubclass(kind, (lm15.LM15Error, dspy_errors.LMError)):
                with contextlib.suppress(TypeError):  # it takes more than a message
                    yield f"raises {name}", kind(message="no")
    for python in (KeyError, ValueError, TypeError, RecursionError, MemoryError, OSError, StopIteration):
        yield f"raises {python.__name__}", python("no")


_ERRORS = dict(_errors())
_TEXTS: dict[str, Callable[[str, random.Random], str]] = {
    "says nothing": lambda text, draw: "",
    "says garbage": lambda text, draw: "I would rather talk about the weather.",
    "says another garbage": lambda text, draw: f"No. {draw.random()}",
    "is cut off": lambda text, draw: text[: draw.randrange(len(text) + 1)],
    "nests deep": lambda text, draw: _filled(text, "[" * 4000 + "]" * 4000),
    "nests deep and ends": lambda text, draw: _filled(text, '{"a":' * 4000),
    "nests": lambda text, draw: _filled(text, "[" * 40 + "]" * 40),
    "writes a number": lambda text, draw: _filled(text, "42"),
    "writes null": lambda text, draw: _filled(text, "null"),
    "writes an object": lambda text, draw: _filled(text, '{"id": 1, "tool": 2, "args": 3}'),
    "writes strings": lambda text, draw: _filled(text, '["a", "$a", "$", ""]'),
    "is wrong somewhere": lambda text, draw: _mutated(text, draw),
    "writes half a character": lambda text, draw: f"{text}\ud800",
    "says it thrice": lambda text, draw: text * 3,
}
MODEL_FAULTS = ["hangs", "is slow", *_ERRORS, *_TEXTS, *["is wrong somewhere", "is cut off"] * 4]
"""What may go wrong with a call of the model."""

_SECTION = re.compile(r"(^\[\[ ## (?!completed)\w+ ## \]\]\n)(.*?)(?=\n\n\[\[ ## |\Z)", re.DOTALL | re.MULTILINE)
_TAGGED = re.compile(r"^(<(\w+)>)(.*?)(</\2>)$", re.DOTALL | re.MULTILINE)


def _changed(text: str, change: Callable[[str], str]) -> str:
    """An answer, in whichever form it is, with each field's text changed."""
    if "[[ ## " in text:
        return _SECTION.sub(lambda found: found[1] + change(found[2]), text)
    if text.startswith("<"):
        return _TAGGED.sub(lambda found: found[1] + change(found[3]) + found[4], text)
    try:
        fields = json.loads(text)
    except ValueError:
        return change(text)
    written = (f"{json.dumps(name)}: {change(json.dumps(value))}" for name, value in fields.items())
    return f"{{{', '.join(written)}}}"


def _filled(text: str, value: str) -> str:
    return _changed(text, lambda old: value)


_ODD: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, "", "$", "$$", "$a[", "$a." + "(" * 3000, "$" + "a." * 3000 + "a", "\x00", [], {},
    [[[[]]]], {"calc": "(" * 3000}, {"calc": "9 ** 9 ** 9"}, {"look": "$a["}, {"keep": ["a", "b"]}, "x" * 100_000,
    "[?" * 500,
)  # fmt: skip


def _mutated(text: str, draw: random.Random) -> str:
    """One value somewhere in an answer replaced by something odd."""

    def change(old: str) -> str:
        try:
            value = json.loads(old)
        except ValueError:
            return old
        return json.dumps(_with_odd_leaf(value, draw))

    return _changed(text, change)


def _with_odd_leaf(value: Any, draw: random.Random) -> Any:
    if draw.random() < 0.2 or not isinstance(value, (list, dict)) or not value:
        return draw.choice(_ODD)
    value = copy.deepcopy(value)
    place = draw.choice(sorted(value)) if isinstance(value, dict) else draw.randrange(len(value))
    value[place] = _with_odd_leaf(value[place], draw)
    return value


class FaultyEngine:
    """An offline model whose calls fail, each as `faults` has it."""

    supported_params = OfflineEngine.supported_params

    def __init__(self, engine: OfflineEngine, faults: Faults) -> None:
        self.engine = engine
        self.faults = faults

    def complete(self, request: Request) -> Response:
        fault = self.faults.of_model()
        if fault == "hangs":
            time.sleep(HANG)
        return self._answer(request, fault)

    def _answer(self, request: Request, fault: str | None) -> Response:
        if fault == "is slow":
            raise lm15.RateLimitError("slow down", retry_after=60)
        if fault in _ERRORS:
            raise _ERRORS[fault].with_traceback(None)
        response = self.engine.answer(request)
        if fault not in _TEXTS:
            return response
        text = _TEXTS[fault](response.message.text or "", self.faults.random)
        return response_to(request, text, Usage(input_tokens=1, output_tokens=1))

    def stream(self, request: Request) -> Iterator[Any]:
        yield from events(self.complete(request))

    def close(self) -> None:
        """Nothing is held."""

    def dump_state(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> FaultyEngine:
        return self


class AsyncFaultyEngine:
    """A `FaultyEngine` awaited."""

    supported_params = OfflineEngine.supported_params

    def __init__(self, engine: FaultyEngine) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        fault = self.engine.faults.of_model()
        if fault == "hangs":
            await asyncio.sleep(HANG)
        return self.engine._answer(request, fault)

    async def stream(self, request: Request) -> Any:
        for event in events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Nothing is held."""

    def dump_state(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncFaultyEngine:
        return self


class FaultyAdapter(dspy.ChatAdapter):  # type: ignore[misc]
    """A chat adapter that fails to write or to read."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    def format(self, signature: Any, demos: list[dict[str, Any]], inputs: dict[str, Any]) -> Any:
        self.faults.raise_at("adapter writes")
        return super().format(signature, demos, inputs)

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        self.faults.raise_at("adapter reads")
        parsed: dict[str, Any] = super().parse(signature, completion)
        return parsed


# -------------------------------------------------------------------------------------------------- the user's parts


class Unserialisable:
    """Has no JSON form, and no text either."""

    def __repr__(self) -> str:
        raise Fault("it cannot be shown")


def _odd_result() -> Any:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    return nested


def _failing(function: Callable[..., Any], seam: str) -> Callable[..., Any]:
    """A tool or check that fails now and then; it keeps its marks."""

    @wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        faults: Faults = self.faults
        if faults.strikes(f"{seam} raises"):
            raise faults._error("the tool broke")
        if faults.strikes(f"{seam} hangs"):
            time.sleep(HANG)
        value = function(self, *args, **kwargs)
        if faults.strikes(f"{seam} returns what cannot be shown"):
            return faults.random.choice([Unserialisable, _odd_result, object, lambda: float("nan"), lambda: b"\xff"])()
        return value

    return call


def faulty(environment: type[Environment], tools: list[str], checks: list[str]) -> type[Environment]:
    """A subclass whose tools, checks and hooks fail now and then."""

    class Faulty(environment):  # type: ignore[misc, valid-type]
        shared = ("faults",)

        def __init__(self, faults: Faults) -> None:
            super().__init__()
            self.faults = faults

        def fork(self) -> Any:
            self.faults.raise_at("fork")
            copied = copy.copy(self)
            for name, value in vars(self).items():
                setattr(copied, name, value if name == "faults" else copy.deepcopy(value))
            return copied

        def close(self) -> None:
            self.faults.raise_at("close")

        def describe(self) -> str:
            self.faults.raise_at("describe")
            return str(super().describe())

        def summarise(self, tool: str, value: Any) -> str | None:
            self.faults.raise_at("summarise")
            return super().summarise(tool, value)  # type: ignore[no-any-return]

        def begin_checks(self, checks: Any) -> None:
            self.faults.raise_at("begin_checks")
            super().begin_checks(checks)

    for name in tools:
        setattr(Faulty, name, _failing(vars(environment)[name], "tool"))
    for name in checks:
        setattr(Faulty, name, _failing(vars(environment)[name], "check"))
    return Faulty


FaultyWorkspace = faulty(
    Workspace,
    ["address_book", "search_calendar", "find_rooms", "book_room", "send_invitation", "request_scope"],
    ["invited", "all_free", "room_is_booked_and_fits"],
)
FaultySum = faulty(NoOp, ["look", "add"], ["sum_is"])


class FaultyAcceptance(NonDecreasing):
    """Decides as the default one does, where it does not fail."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def accepts(self, candidate: Any, incumbent: Any) -> bool:
        self.faults.raise_at("acceptance")
        return super().accepts(candidate, incumbent)


class FaultyListener:
    """Keeps the events, and fails to put one on record."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.faults.raise_at("on_event")
