"""Conditions on trips and places, `[field, operator, value]`, and orders by a field, `["min", field]`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from programs.deepplanning.travel.atlas import nearest
from programs.deepplanning.travel.clock import DAY, read_clock
from programs.deepplanning.travel.records import ALWAYS_OPEN

Record = Mapping[str, Any]
Condition = Sequence[Any]  # [field, operator, value]
Best = Sequence[str]  # ["min" or "max", field]
R = TypeVar("R", bound=Record)

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_SIGNS = {"min": 1, "max": -1}
_LISTED = 12
"""Values of a field up to which an error lists them all."""


@dataclass(frozen=True)
class Kind:
    """What the values of a field are.

    Args:
        value: what a condition compares with, as errors call it.
        read: such a value as it is compared; None for anything else.
        operators: that a condition may use.
        many: whether a record has a list of them.
        checked: whether a value has to occur in some record.
    """

    value: str
    read: Callable[[Any], Any]
    operators: tuple[str, ...] = (*_ORDER, "in")
    many: bool = False
    checked: bool = False

    @property
    def ordered(self) -> bool:
        return "<" in self.operators


def _read_number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _read_time(value: Any) -> int | None:
    return read_clock(value) if isinstance(value, str) else None


def _read_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _read_word(value: Any) -> str | None:
    return value.casefold() if isinstance(value, str) else None


def _read_flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


NUMBER = Kind("a number", _read_number)
TIME = Kind("a time 'HH:MM'", _read_time)
TEXT = Kind("a text", _read_text, ("==", "!=", "contains", "in"), checked=True)
FLAG = Kind("true or false", _read_flag, ("==", "!="))
TEXTS = Kind("a text", _read_word, ("contains", "in"), many=True, checked=True)
NUMBERS = Kind("a number", _read_number, ("contains", "in"), many=True)


@dataclass(frozen=True)
class Vocabulary:
    """What can be said of one type of records.

    Args:
        what: the type's name in errors.
        fields: that conditions and orders may name.
        known: records whose texts are the ones that occur: another text in a condition is a slip of the pen.
    """

    what: str
    fields: Mapping[str, Kind]
    known: Sequence[Record]

    def matching(self, records: Iterable[R], where: Sequence[Condition]) -> list[R]:
        """The records that meet all conditions.

        Raises:
            ValueError: a condition is malformed; the message names the fields, operators or values that there are.
        """
        if not isinstance(where, (list, tuple)):
            raise ValueError(f"where {where!r} is no list of [field, operator, value]")
        tests = [self._test(condition) for condition in where]
        return [record for record in records if all(test(record) for test in tests)]

    def order(self, best: Best) -> Callable[[Record], float]:
        """What to sort by so that the best records come first; those without a value come last.

        Raises:
            ValueError: it is no ["min" or "max", field of numbers or times].
        """
        fields = [field for field, kind in self.fields.items() if kind.ordered]
        if not isinstance(best, (list, tuple)) or len(best) != 2 or best[0] not in _SIGNS or best[1] not in fields:
            raise ValueError(f"best {best!r} is no ['min' or 'max', field]; fields of a {self.what}: {fields}")
        sign, field = _SIGNS[best[0]], best[1]

        def key(record: Record) -> float:
            value = self._value(record, field)
            return math.inf if value is None else sign * value

        return key

    def _value(self, record: Record, field: str) -> Any:
        """The value as it is compared; None where the record has none."""
        value, kind = record.get(field), self.fields[field]
        if kind is TIME:
            return _minutes(record, field)
        if kind is NUMBER and isinstance(value, str):
            return math.inf  # of seats, where a text means enough
        return value

    def _test(self, condition: Condition) -> Callable[[Record], bool]:
        field, symbol, value = self._read(condition)
        if self.fields[field].many:
            read, wanted = self.fields[field].read, value if symbol == "in" else [value]
            return lambda record: any(read(item) in wanted for item in record[field])
        if symbol == "in":
            return lambda record: self._value(record, field) in value
        if symbol == "contains":
            return lambda record: value.casefold() in record.get(field, "").casefold()
        compare = _ORDER[symbol]
        return lambda record: (actual := self._value(record, field)) is not None and compare(actual, value)

    def _read(self, condition: Condition) -> tuple[str, str, Any]:
        """The field, the operator and the value as they are compared."""
        if not isinstance(condition, (list, tuple)) or len(condition) != 3:
            raise ValueError(f"condition {condition!r} is not [field, operator, value]")
        field, symbol, value = condition
        kind = self.fields.get(field) if isinstance(field, str) else None
        if kind is None:
            raise ValueError(f"condition {condition!r}: no field {field!r} of a {self.what}; fields: {[*self.fields]}")
        if symbol not in kind.operators:
            raise ValueError(f"condition {condition!r}: {field} takes {' '.join(kind.operators)}, not {symbol!r}")
        if symbol != "in":
            return field, symbol, self._operand(condition, value)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"condition {condition!r}: in takes a list, each {kind.value}")
        return field, symbol, [self._operand(condition, item) for item in value]

    def _operand(self, condition: Condition, value: Any) -> Any:
        field, symbol, _ = condition
        kind = self.fields[field]
        operand = kind.read(value)
        if operand is None:
            raise ValueError(f"condition {condition!r}: {field} {symbol} takes {kind.value}, not {value!r}")
        if kind.checked and operand:
            self._check_occurs(condition, value)
        return operand

    def _check_occurs(self, condition: Condition, value: str) -> None:
        field, symbol, _ = condition
        values = (record.get(field) for record in self.known)
        if self.fields[field].many:
            texts = dict.fromkeys(text for listed in values for text in listed or ())
            occurs = value.casefold() in {text.casefold() for text in texts}
        else:
            texts = dict.fromkeys(text for text in values if text)
            contained = symbol == "contains" and any(value.casefold() in text.casefold() for text in texts)
            occurs = contained or value in texts
        if not occurs:
            others = f"values: {[*texts]}" if len(texts) <= _LISTED else f"nearest values: {nearest(value, texts)}"
            raise ValueError(f"condition {condition!r}: no {self.what} has {field} {value!r}; {others}")


def _minutes(record: Record, field: str) -> int | None:
    """Since midnight; beyond 1,440 where the time lies on a later day than the departure, or than the opening."""
    if record[field] in ALWAYS_OPEN:
        return DAY if field == "close" else 0
    minutes = read_clock(record[field])
    if minutes is None:
        return None
    if field == "arr":
        return minutes + DAY * int(record["arr_day"])
    if field == "close" and minutes < (read_clock(record["open"]) or 0):
        return minutes + DAY
    return minutes
