"""The contract of an environment: typed tools with declared effects, read-only checks, and what may run when."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeVar, cast, overload

from typing_extensions import Self

from pivot_dspy.environment.ownership import Grant, begin_life, committing, permitted_on
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.leaf_paths import checked
from pivot_dspy.plain_json import plain

Effect = Literal["read", "write", "irreversible"]
"""What a tool does: `read` nothing changes, `write` undone by dropping the fork, `irreversible` never undone."""

EFFECTS: tuple[str, ...] = ("read", "write", "irreversible")
Function = TypeVar("Function", bound=Callable[..., Any])

TOOL_MARK = "__pivot_tool__"
CHECK_MARK = "__pivot_check__"


Approval = bool | Callable[..., bool]
"""Whether calls of a tool wait for a person's approval, or a function of their arguments that says so."""


class ToolMark(NamedTuple):
    """What `@tool` leaves on a method."""

    effect: Effect
    preview: str | None
    timeout: float | None
    returns: Any = None
    undo: str | None = None
    idempotency_key: str | None = None
    volatile: tuple[str, ...] = ()
    draft: bool = False
    parallel: bool = False
    pure: bool = False
    approval: Approval = False


class CheckMark(NamedTuple):
    """What `@check` leaves on a method."""

    fits: Any = None
    listed: bool = True


class Permission(NamedTuple):
    """What code that belongs to an environment may do at this moment."""

    effects: frozenset[str] | None = None
    """Effects of the tools that may run; None for all."""
    unchanged: object = None
    """The environment whose attributes may not be set: the one that a check looks at."""


_permission: ContextVar[Permission | None] = ContextVar("pivot_dspy_permission", default=None)
"""None outside of any session, and in threads that were started without the context of the call."""


class allowing:  # written out, since it is entered several times for each call of a tool
    """Let only tools of these effects run inside, and leave the attributes of `unchanged` as they are.

    With the instance that the code is run for as `inside`, this holds in the threads that it starts too. Where all may
    run, which is in commits alone, what is changed counts as a commit's.
    """

    __slots__ = ("_grant", "_making_real", "_permission", "_token")

    def __init__(self, effects: frozenset[str] | None, unchanged: object = None, *, inside: object = None) -> None:
        self._permission = Permission(effects, unchanged)
        self._grant = None if inside is None else Grant(inside, effects)
        self._making_real = committing(inside) if effects is None else None

    def __enter__(self) -> None:
        self._token = _permission.set(self._permission)
        if self._grant is not None:
            self._grant.begin()
        if self._making_real is not None:
            self._making_real.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._making_real is not None:
            self._making_real.__exit__(*error)
        if self._grant is not None:
            self._grant.end()
        _permission.reset(self._token)


READ_ONLY: frozenset[str] = frozenset({"read"})
UNDOABLE: frozenset[str] = frozenset({"read", "write"})
"""What is undone by dropping the instance."""


def _allowed_on(instance: object) -> frozenset[str] | None:
    permission = _permission.get()
    return permitted_on(instance) if permission is None else permission.effects


def may_change(instance: object) -> bool:
    """Whether what runs now may change `instance`: not in a check, nor in a trial in a tool that only reads."""
    allowed = _allowed_on(instance)
    return allowed is None or "write" in allowed


def _enforce(function: Callable[..., Any], effect: str) -> Callable[..., Any]:
    """`function`, which raises PermissionError where a tool of `effect` may not run.

    A thread that does not have the context of the call that started it, and what runs when no call is under way (a
    generator that is closed late, say), may do in an instance what the calls under way in that instance may.
    """

    def require(instance: object) -> None:
        allowed = _allowed_on(instance)
        if allowed is not None and effect not in allowed:
            raise PermissionError(
                f"{function.__name__} is {effect}, and was called by what may not call it; declare the caller {effect} "
                "too, or move what they share to a method of its own"
            )

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            require(args[0] if args else None)
            return await function(*args, **kwargs)

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        require(args[0] if args else None)
        return function(*args, **kwargs)

    return called


UNCHECKABLE = "cannot be checked: "
"""How the evidence of a check begins that raised instead of answering."""


class CheckResult(NamedTuple):
    """What a check found. A check may return one, a plain bool, or a pair of bool and evidence."""

    holds: bool
    evidence: str = ""
    """What was found, in a few words."""
    hint: str = ""
    """What would meet the requirement: the candidates that the steps have seen, the condition that fails."""
    about: tuple[Any, ...] = ()
    """Values that the evidence is about (ids of the offending or missing things), by which the steps that brought them
    in can be found."""
    fits: Sequence[Any] | None = None
    """All that meets what is asked for, best first, to which steps can be bound; None where that is no question."""
    tied: int = 1
    """How many of these, from the first on, are equally good by what is asked for."""
    instead: tuple[tuple[Any, Any], ...] = ()
    """What it proposes, as pairs of a value that a step was given and the one to give it instead: tried without a model
    where a result has shown all of these."""

    @classmethod
    def of(cls, answer: Any) -> CheckResult:
        """What a check returned, as a `CheckResult` of plain values.

        Raises:
            TypeError: it is neither a `CheckResult`, a bool nor a pair of bool and evidence, or what fits is no list.
        """
        result = cls(*answer) if isinstance(answer, tuple) and 1 <= len(answer) <= len(cls._fields) else cls(answer)
        holds: Any = result.holds
        if holds is None or isinstance(holds, (str, bytes, tuple, list, dict)):
            raise TypeError(f"a check returns a bool, (bool, evidence) or a CheckResult, not {type(answer).__name__}")
        if not isinstance(result.fits, (list, tuple, type(None))) or not isinstance(result.tied, int):
            raise TypeError("a check returns what fits as a list, best first, and `tied` as a number")
        if not isinstance(result.instead, (list, tuple)) or any(len(pair) != 2 for pair in result.instead):
            raise TypeError("a check returns what it proposes as pairs: the value that was given, and the one instead")
        about = result.about if isinstance(result.about, (list, tuple, set, frozenset)) else (result.about,)
        fits: Any = None if result.fits is None else plain(list(result.fits))
        instead = tuple((before, after) for before, after in plain(list(result.instead)))
        return cls(
            bool(holds), str(result.evidence), str(result.hint), tuple(plain(list(about))), fits, result.tied, instead
        )


def tool(
    *,
    effect: Effect = "write",
    preview: str | None = None,
    timeout: float | None = None,
    returns: Any = None,
    undo: str | None = None,
    idempotency_key: str | None = None,
    volatile: Iterable[str] = (),
    draft: bool = False,
    parallel: bool = False,
    pure: bool = False,
    approval: Approval = False,
) -> Callable[[Function], Function]:
    """Mark a method of an `Environment` as a tool.

    Args:
        effect: `read`, `write` (the default) or `irreversible`.
        preview: name of a method with the same parameters that stands in for an irreversible tool until commit: it
            must change nothing outside the session, and returns what the tool is expected to return.
        timeout: seconds that one call may take, instead of the session's default.
        returns: the type of a result that is no error, where the annotation also names errors: planners see this one.
        undo: name of a method that undoes a call: it takes the same parameters, or what the call gave as `result`. It
            is offered where a commit fails (`CommitError.undo`), and never run unasked.
        idempotency_key: the parameter that takes a text by which the outside world knows a call that is made again.
            No model sees it; it is the same for the same call of a result, also where `resume_commit` repeats it.
        volatile: paths of what may differ between the results of two calls that are the same, such as `took_ms` or
            `items[*].took_ms` (see `pivot_dspy.leaf_paths`).
        draft: whether a `write` only puts together what is submitted, such as the stops of a day: what is asked of that
            says what is wanted, and nobody has to have asked for the call.
        parallel: whether calls of a `read` may be made at once, a plain method's in threads, with those of other such
            tools and its own: it, and `error_of`, must bear that. Then steps that do not wait for each other's results,
            and the calls of a repeated step, take as long as the slowest.
        pure: whether the result of a `read` hangs on its arguments alone, and never on the environment's state: an
            equal call is then not made again in the same task, in whatever copy, its verification included.
        approval: whether a call that changes something waits for a person's approval before it is made real, or a
            function from its arguments, a mapping by name, to that; where this raises, the call waits.

    Raises:
        ConfigurationError: one of these is of the wrong form; whether names fit the class is seen where it is used.

    >>> class Rooms(Environment):
    ...     @tool(effect="irreversible", undo="cancel", idempotency_key="request_id", volatile=("took_ms",))
    ...     def book(self, room: str, request_id: str) -> dict[str, int]:
    ...         return {"booking": 7, "took_ms": 12}
    ...     @tool(effect="irreversible")
    ...     def cancel(self, result: dict[str, int]) -> None:
    ...         "Take back what `book` gave."
    >>> class Weather(Environment):
    ...     @tool(effect="read", parallel=True, pure=True)
    ...     def forecast(self, city: str) -> str:
    ...         return f"rain in {city}"
    >>> Weather().forecast("Bern")
    'rain in Bern'
    """
    if effect not in EFFECTS:
        raise ConfigurationError(f"effect must be one of {', '.join(EFFECTS)}; got {effect!r}")
    if draft and effect != "write":
        raise ConfigurationError(f"a draft is a tool that writes, and can be undone; this one is {effect}")
    for option, declared in (("parallel", parallel), ("pure", pure)):
        if declared:
            require_read(option, effect)
    if approval:
        refuse_approval(effect)
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"timeout is in seconds and above 0; got {timeout!r}")
    paths = checked(volatile)

    def marking(function: Function) -> Function:
        changes = effect != "read" and inspect.isfunction(function)
        marked = cast(Function, _enforce(function, effect)) if changes else function
        mark = ToolMark(
            effect, preview, timeout, returns, undo, idempotency_key, paths, draft, parallel, pure, approval
        )  # fmt: skip
        setattr(marked, TOOL_MARK, mark)
        return marked

    return marking


def require_read(option: str, effect: str, name: str = "") -> None:
    """Raises ConfigurationError where what only a read can be is declared of a tool of another effect."""
    if effect != "read":
        which = f"the tool {name!r}" if name else "this one"
        raise ConfigurationError(
            f'{option} is for tools that only read, and {which} is {effect}; declare effect="read" if it changes '
            f"nothing, or leave {option} out"
        )


def refuse_approval(effect: str, name: str = "") -> None:
    """Raises ConfigurationError where a tool that only reads is declared to need an approval."""
    if effect == "read":
        which = f"the tool {name!r}" if name else "this one"
        raise ConfigurationError(
            f"approval is for tools that change something, and {which} only reads, which it does in every trial; "
            'declare effect="irreversible" for a read that nobody may make unasked'
        )


@overload
def check(function: Function) -> Function: ...


@overload
def check(*, fits: Any = None, listed: bool = True) -> Callable[[Function], Function]: ...


def check(
    function: Function | None = None, *, fits: Any = None, listed: bool = True
) -> Function | Callable[[Function], Function]:
    """Mark a read-only method of an `Environment` as a check that requirements may use.

    It returns a bool, `(bool, evidence)` or a `CheckResult`.

    Args:
        fits: the type of an element of `CheckResult.fits`, where the check returns all that meets what is asked for,
            best first. Steps can then be bound to a requirement by its id, as in `$R2[0].id`.
        listed: False for a check that callers' requirements use, and that no planner is told of: the policy says it.

    >>> class Hotels(Environment):
    ...     rates = {"Palace": 90, "Inn": 40}
    ...     @check(fits=str)
    ...     def hotel(self, most: int) -> CheckResult:
    ...         fits = sorted((name for name, rate in self.rates.items() if rate <= most), key=self.rates.get)
    ...         return CheckResult(bool(fits), f"{len(fits)} fit", fits=fits)
    >>> Hotels().hotel(50).fits
    ['Inn']
    """

    def mark(marked: Function) -> Function:
        setattr(marked, CHECK_MARK, CheckMark(fits, listed))
        return marked

    return mark if function is None else mark(function)


class Environment:
    """What tools act on. One instance is one life of it: subclass it, mark tools and checks, keep state on `self`.

    Each session also has its own copy of the lists, dicts and other mutable objects that the class holds. What is large
    and never changes belongs outside of it, in a module say, or in a tuple. Where a run changes what no copy holds (a
    counter of the class, a list in a module), it ends with an `IsolationError` that names it.

    >>> class Calendar(Environment):
    ...     def __init__(self) -> None:
    ...         self.bookings: list[str] = []
    ...     @tool(effect="write")
    ...     def book(self, room: str) -> int:
    ...         self.bookings.append(room)
    ...         return len(self.bookings)
    ...     @check
    ...     def booked(self, room: str) -> bool:
    ...         return room in self.bookings
    >>> original = Calendar()
    >>> original.fork().book("Blue"), original.bookings
    (1, [])
    """

    policy: str = ""
    """Standing instructions of the environment's operator, compiled into requirements like the task's own."""
    vocabulary: str = ""
    """What a planner needs to know to write the arguments of checks, beyond their types."""
    orientation: tuple[str | tuple[str, Mapping[str, Any]], ...] = ()
    """Read tools whose results the planner sees before planning: a name, or `(name, arguments)`. An instance may set
    its own, with arguments from the task that it was opened for."""
    forkable: bool = True
    """False where a copy is impossible; then the environment is opened again instead, or stays read-only."""
    reopenable: bool = True
    """False where a new instance acts on the same outside world as the last, so that what one does is not undone by
    dropping it; without a copy either, nothing is then written before commit."""
    shared: tuple[str, ...] = ()
    """Names of attributes, of classes and modules too, that are shared with copies on purpose, such as a cache or a
    recorder of calls: a run that changes one is not ended with an `IsolationError`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments")  # `object` leaves it to this method to say so
        instance = super().__new__(cls)
        begin_life(instance)
        return instance

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse_change(self, name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _refuse_change(self, name)
        super().__delattr__(name)

    def fork(self) -> Environment:
        """An independent copy: nothing done to one is seen by the other. The default is `copy.deepcopy`."""
        return copy.deepcopy(self)

    def close(self) -> None:
        """Release what this instance holds. Called once for each opened or forked instance."""
        return

    def transaction(self) -> AbstractContextManager[None] | None:
        """What a commit enters around its whole run on the real thing, so that it is done as a whole or not at all; the
        default None is for what cannot do that: there a commit that fails has done what it had done until then.

        Leaving it normally makes durable what the `write` tools did; leaving it with an exception (a step that departed
        from what was verified, a requirement that does not hold, an interrupt) undoes all of it. It is entered and left
        in the thread where tools run; requirements are looked at inside of it. Where entering or leaving it raises,
        nothing was done; it raises `OutcomeUnknown` where nobody knows. What it waits for needs a limit of its own, and
        a call that took too long may still be at work in another thread when it is left.

        >>> from collections.abc import Iterator
        >>> from contextlib import contextmanager
        >>> class Notes(Environment):
        ...     def __init__(self) -> None:
        ...         self.lines: list[str] = []
        ...     @contextmanager
        ...     def transaction(self) -> Iterator[None]:
        ...         before = list(self.lines)
        ...         try:
        ...             yield
        ...         except BaseException:
        ...             self.lines[:] = before
        ...             raise
        """
        return None

    def error_of(self, tool: str, value: Any) -> str | None:
        """The message, where the value that `tool` returned says that the call failed."""
        return None

    def describe(self) -> str:
        """Where the environment now stands, in one line for the model's report; empty where there is nothing to say."""
        return ""

    def begin_checks(self, checks: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
        """Told all executable requirements, as (id, check, args), before they are evaluated: for checks that look at
        the requirements as a whole, such as "nothing but what was asked for".
        """
        return

    def summarise(self, tool: str, value: Any) -> str | None:
        """A short account of a result for the report, or None for the generic one."""
        return None


def _refuse_change(environment: Environment, name: str) -> None:
    permission = _permission.get()
    if permission is not None and permission.unchanged is environment:
        raise PermissionError(
            f"a check sets the attribute {name!r}; a check only reads: make it a tool, or compute what it needs in "
            "begin_checks or a functools.cached_property"
        )
