"""What Python tells of a callable of any kind: function, method, object or `functools.partial`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from typing_extensions import NotRequired, Required, Unpack, get_type_hints


def unwrapped(function: Any) -> Any:
    """What a `functools.partial` calls in the end; anything else as it is."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def annotated(function: Any) -> Any:
    """The function that carries the annotations of a callable."""
    function = unwrapped(function)
    return function if inspect.isroutine(function) else type(function).__call__


def documentation(function: Callable[..., Any]) -> str:
    """The docstring of a callable, in one line: of an object that of its `__call__`, or else of its class.

    >>> class Search:
    ...     "An index of documents."
    ...     def __call__(self, query: str) -> list[str]:
    ...         return []
    >>> documentation(Search())
    'An index of documents.'
    """
    function = unwrapped(function)
    if inspect.isroutine(function):
        text = inspect.getdoc(function)
    else:  # `getdoc` of a method without a docstring gives "Call self as a function."
        text = type(function).__call__.__doc__ or type(function).__doc__
    return " ".join((text or "").split())


class Keywords(NamedTuple):
    """What a callable takes by any name: `**name: kind`."""

    name: str
    kind: Any


class Parameters(NamedTuple):
    """What a callable takes, all by name: `*rest: int` as an optional list, `**more: Unpack[Record]` as its fields."""

    types: Mapping[str, Any]
    required: tuple[str, ...]
    defaults: Mapping[str, Any]
    keywords: Keywords | None = None

    @classmethod
    def of(cls, parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]) -> Parameters:
        """Read a signature.

        Raises:
            TypeError: a parameter can be given by position only.

        >>> def total(unit: str = "g", *parts: int, **by_name: int) -> int: ...
        >>> taken = Parameters.of(list(inspect.signature(total).parameters.values()), get_type_hints(total))
        >>> taken.types, taken.required, taken.keywords
        ({'unit': <class 'str'>, 'parts': list[int]}, (), Keywords(name='by_name', kind=<class 'int'>))
        """
        types: dict[str, Any] = {}
        required: list[str] = []
        keywords = None
        for parameter in parameters:
            kind = hints.get(parameter.name, Any)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError("it takes parameters by position only; wrap it in a function with named parameters")
            if parameter.kind is parameter.VAR_POSITIONAL:
                types[parameter.name] = list[kind]  # type: ignore[valid-type]
            elif parameter.kind is parameter.VAR_KEYWORD and get_origin(kind) is Unpack:
                record = get_args(kind)[0]
                for name, field in get_type_hints(record, include_extras=True).items():
                    mark: Any = get_origin(field)
                    types[name] = get_args(field)[0] if mark in (Required, NotRequired) else field
                    # A mark in an annotation that is a string is not among the required keys.
                    is_required = mark is Required or (mark is not NotRequired and name in record.__required_keys__)
                    required += [name] if is_required else []
            elif parameter.kind is parameter.VAR_KEYWORD:
                keywords = Keywords(parameter.name, kind)
            else:
                types[parameter.name] = kind
                required += [parameter.name] if parameter.default is parameter.empty else []
        named = (p for p in parameters if p.name in types and p.default is not p.empty)
        return cls(types, tuple(required), {p.name: p.default for p in named}, keywords)


def by_name(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """A callable that takes everything by name, a list for what `*rest` stands for.

    >>> def total(unit: str = "g", *parts: int) -> str:
    ...     return f"{sum(parts)} {unit}"
    >>> by_name(total, list(inspect.signature(total).parameters.values()))(parts=[1, 2])
    '3 g'
    """
    position = next((at for at, parameter in enumerate(parameters) if parameter.kind is parameter.VAR_POSITIONAL), None)
    if position is None:
        return function

    def call(**args: Any) -> Any:
        rest = args.pop(parameters[position].name, ())
        before = parameters[:position] if rest else ()
        return function(*(args.pop(each.name, each.default) for each in before), *rest, **args)

    return call

