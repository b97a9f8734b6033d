"""Programs that a model wrote, run where they reach nothing but the functions they are given: `pydantic-monty`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from typing_extensions import Self

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import Await, Flow

SECONDS = 5.0
"""What one program may take of the processor; the time of the functions that it calls does not count."""
MEMORY = 64_000_000
"""Bytes that its values may take."""
PRINTED = 1_000_000
"""Bytes that it may print."""
CALLS = 10_000
"""Calls, and look-ups of names, that the programs of one sandbox may make."""

_FRAMES = 5
"""Lines that are told of what a program raised; a recursion has no end of them."""


@dataclass(frozen=True)
class Reply:
    """What a call of a function gives to the program."""

    value: Any = None
    """Plain JSON data."""
    error: str | None = None
    """The message of the RuntimeError that is raised instead."""
    ends: bool = False
    """Whether the program is not to go on."""


@dataclass(frozen=True)
class Output:
    """What came of a program."""

    printed: str
    error: str = ""
    """What it raised, or why it was stopped, after the lines where it stood, the outermost first: `line 3: KeyError:
    'id'`. Empty where it ran to its end."""
    ended: bool = False
    """Whether a call ended it."""


Function = Callable[[str, tuple[Any, ...], Mapping[str, Any]], Flow[Reply]]
"""A call, by the name of the function and the arguments; unknown names get an error for a reply."""


class Sandbox:
    """A Python session without files, network, environment variables or threads, in a process of its own.

    A program sees the variables of those before it; one that is over its limits takes them along. To be used in a
    `with` statement, by one thread at a time.

    Raises:
        ConfigurationError: `pydantic-monty` is not installed.

    >>> from pivot_dspy.flow import run_sync
    >>> def double(name, args, kwargs):
    ...     yield from ()
    ...     return Reply(2 * args[0]) if name == "double" else Reply(error=f"no function {name}")
    >>> with Sandbox() as sandbox:
    ...     run_sync(sandbox.run("x = double(4)", double))
    ...     run_sync(sandbox.run("print(x + 1)", double))
    Output(printed='', error='', ended=False)
    Output(printed='9\\n', error='', ended=False)
    """

    def __init__(self) -> None:
        try:
            import pydantic_monty
        except ImportError as error:
            raise ConfigurationError(
                "programs run in pydantic-monty, which is not installed; pip install 'pivot_dspy[code]'"
            ) from error
        self._monty = pydantic_monty
        self._pool = pydantic_monty.Monty(max_processes=1)
        self._open = ExitStack()
        self._session: pydantic_monty.MontySession | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def run(self, program: str, function: Function) -> Flow[Output]:
        """Run a program, whose calls of names that it does not define itself go to `function`."""
        printed = self._monty.CollectString(max_bytes=PRINTED)
        try:
            state = yield _aside(partial(self._start, program, printed))
            while not isinstance(state, self._monty.MontyComplete):
                if not isinstance(state, self._monty.FunctionSnapshot):
                    state = yield _aside(state.resume)  # a name that nothing defines
                    continue
                if state.is_os_function:
                    state = yield _aside(state.resume_not_handled)
                    continue
                reply = yield from function(str(state.function_name), state.args, state.kwargs)
                if reply.ends:
                    self._close()
                    return Output(printed.output, ended=True)
                state = yield _aside(partial(state.resume, self._result(reply)))
        except self._monty.MontyError as error:
            return Output(printed.output, self._failure(error))
        return Output(printed.output)

    def _start(self, program: str, printed: Any) -> Any:
        if self._session is None:
            pool = self._open.enter_context(self._pool)
            limits = self._monty.ResourceLimits(
                max_feed_duration_secs=SECONDS, max_memory=MEMORY, max_suspensions=CALLS, max_total_sleep_secs=0.0
            )
            self._session = self._open.enter_context(pool.checkout(limits=limits, script_name="program.py"))
        return self._session.feed_start(program, print_callback=printed)

    def _result(self, reply: Reply) -> Any:
        if reply.error is not None:
            return self._monty.ExternalExceptionData(exc_type="RuntimeError", message=reply.error)
        return self._monty.ExternalReturnValue(return_value=reply.value)

    def _failure(self, error: Any) -> str:
        """What is told of an error; what broke the session, so that the next program gets a new one, too."""
        text = str(error.display("type-msg") if hasattr(error, "traceback") else error)
        if frames := error.traceback() if hasattr(error, "traceback") else ():
            text = f"{', '.join(f'line {frame.line}' for frame in frames[:_FRAMES])}: {text}"
        over_limits = isinstance(error.exception(), (TimeoutError, MemoryError))
        if not over_limits and isinstance(error, (self._monty.MontyRuntimeError, self._monty.MontySyntaxError)):
            return text
        self._close()
        return f"{text}\nThe variables are gone."

    def _close(self) -> None:
        """End the process; the next program gets a new one."""
        self._session = None
        self._open.close()
        self._pool = self._monty.Monty(max_processes=1)


def _aside(call: Callable[[], Any]) -> Await:
    """A call that may take as long as a program may; where it is awaited, the event loop goes on."""
    return Await(call, lambda: asyncio.to_thread(call))
