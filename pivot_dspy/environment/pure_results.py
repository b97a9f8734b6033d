"""Results of reads that hang on their arguments alone, kept for one task: an equal call need not be made again."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from pivot_dspy.environment.toolbox import ToolSpec


class PureCall(NamedTuple):
    """A call by what tells it from others: the tool, and the arguments as JSON and as they are."""

    key: str
    """JSON tells 1 from 1.0 and from true, which are equal in Python."""
    arguments: Mapping[str, Any]
    """A copy. They are compared too, since not all of a value need be in its JSON form (a secret's text, say)."""

    @classmethod
    def of(cls, spec: ToolSpec, arguments: Mapping[str, Any]) -> PureCall | None:
        """The call of a tool that was declared pure; None for another tool, and where arguments cannot be compared."""
        if not spec.pure:
            return None
        try:
            data = from_json(to_json(arguments, inf_nan_mode="constants"))
            return cls(f"{spec.name} {json.dumps(data, sort_keys=True)}", copy.deepcopy(dict(arguments)))
        except Exception:  # of a type of the user's: such a call is made every time
            return None


class PureResults:
    """The results of one task.

    >>> def double(n: int) -> list[int]:
    ...     return [n, n]
    >>> from dataclasses import replace
    >>> from pivot_dspy.environment.toolbox import describe
    >>> spec = replace(describe(double, name="double", effect="read"), pure=True)
    >>> results, call = PureResults(), PureCall.of(spec, {"n": 2})
    >>> results.keep(call, [2, 2])
    >>> results.get(PureCall.of(spec, {"n": 2})), results.get(PureCall.of(spec, {"n": 3}))
    (([2, 2],), None)
    """

    def __init__(self) -> None:
        self._results: dict[str, list[tuple[Mapping[str, Any], bytes]]] = {}

    def get(self, call: PureCall) -> tuple[Any] | None:
        """A copy of what an equal call gave, alone in a tuple; None where none was made."""
        for arguments, value in self._results.get(call.key, ()):
            if arguments == call.arguments:
                return (from_json(value),)
        return None

    def keep(self, call: PureCall, value: Any) -> None:
        """Note what `call` gave, as plain JSON data."""
        self._results.setdefault(call.key, []).append((call.arguments, to_json(value)))
