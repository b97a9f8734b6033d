"""The ways in which a written step can go wrong."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from pydantic import Field

from pivot_dspy import bindings
from pivot_dspy.simulator.prompt import json_or_text
from pivot_dspy.trajectory import SUBMIT, Frozen

Item = TypeVar("Item")


class Rates(Frozen):
    """How often the offline model errs; what each rate means stands at `pivot_dspy.simulator.engine.OfflineEngine`."""

    slip: float = Field(default=0.2, ge=0, le=1)
    systematic: float = Field(default=0.0, ge=0, le=1)
    heed: float = Field(default=0.85, ge=0, le=1)
    relapse: float = Field(default=0.05, ge=0, le=1)
    judge_error: float = Field(default=0.0, ge=0, le=1)
    latency: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = 0

    @property
    def name(self) -> str:
        """All of them in one line, for the name of the model."""
        return ",".join(f"{name}={getattr(self, name):g}" for name in type(self).model_fields)

    def habits(self) -> Dice:
        """Dice for systematic errors, the same for every prompt; the rates do not matter, so that a larger
        `systematic` errs wherever a smaller one does."""
        return Dice("habits", str(self.seed))


class Dice:
    """Chance without state: the same key and the same labels always fall the same way.

    >>> Dice("x").fraction("a") == Dice("x").fraction("a") != Dice("x").fraction("b")
    True
    """

    def __init__(self, *key: str) -> None:
        self._key = hashlib.sha256("\x1f".join(key).encode()).digest()

    def fraction(self, *labels: object) -> float:
        """A number in [0, 1)."""
        digest = hashlib.sha256(self._key + "\x1f".join(map(str, labels)).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def falls(self, chance: float, *labels: object) -> bool:
        """True with probability `chance`."""
        return self.fraction(*labels) < chance

    def number(self, below: int, *labels: object) -> int:
        """A whole number from 0 to `below` - 1."""
        return int(self.fraction(*labels) * below)

    def pick(self, options: Sequence[Item], *labels: object) -> Item:
        """One of `options`, each as likely as the others."""
        return options[self.number(len(options), *labels)]


WrittenStep = dict[str, Any]
Path = tuple[str | int, ...]

_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`")
_CONDITION = re.compile(r"\[\?((?:[^\[\]]|\[[^\[\]]*\])*)")
_SORTED_BY = re.compile(r"&(?:\w+\.)*([A-Za-z_]\w*)")
_FIELD = re.compile(r"(?<![\w$])(?:\w+\.)*([A-Za-z_]\w*)(?![\w(.])")
_TOOL = re.compile(r"^- (\w+)\(", re.MULTILINE)
_RECORD = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z_]\w*")


class Span(NamedTuple):
    """A piece of the text at `path` of a step: a literal or the name of a field."""

    path: Path
    start: int
    end: int
    text: str


class Surroundings:
    """What the choice of a wrong value draws on: the reference's steps, as far as their values are `told`, and the
    tools that the prompt names."""

    def __init__(
        self, steps: Sequence[Mapping[str, Any]], tools: str, told: Callable[[Any], bool] = lambda value: True
    ) -> None:
        self._told = told
        self.ids = [str(step["id"]) for step in steps]
        self.tools = [name for name in _TOOL.findall(tools) if name != SUBMIT]
        self._steps = steps
        self._catalogue = tools

    def earlier(self, step_id: str) -> list[str]:
        """Ids of the steps before `step_id`."""
        return self.ids[: self.ids.index(step_id)] if step_id in self.ids else self.ids

    @cached_property
    def literals(self) -> list[Any]:
        """Every text and number written in the reference's arguments and conditions, once each."""
        values: list[Any] = []
        for step in self._steps:
            values += [value for _, value in literal_arguments(step, self.ids)]
            values += [value_of(span.text) for span in literal_spans(step, self.ids)]
        return _once(value for value in values if not isinstance(value, (dict, list)) and self._told(value))

    def fields_beside(self, name: str) -> list[str]:
        """Fields of the records that have a field `name`, and all that conditions compare."""
        fields = [span.text for step in self._steps for span in field_spans(step, self.ids)]
        records = [_WORD.findall(re.sub(r":[^,]*", "", record)) for record in _RECORD.findall(self._catalogue)]
        fields += [field for record in records if name in record for field in record]
        return [field for field in _once(fields) if field != name]


def spoil(step: WrittenStep, around: Surroundings, dice: Dice, *labels: object) -> WrittenStep | None:
    """The step with one slip, of a kind drawn evenly from those that fit it; None where it is left out altogether."""
    options = {kind: places for kind, places in _places(step, around).items() if places}
    kind = dice.pick([*options], *labels, "kind")
    place = dice.pick(options[kind], *labels, "place")
    broken = _slipped(step, kind, place, around, dice, (*labels, "value"))
    return broken if broken != step else None


def habit(step: WrittenStep, name: str, around: Surroundings, habits: Dice) -> WrittenStep:
    """The step with the mistake that this model always makes with the argument or field `name` of its tool."""
    for path, value in literal_arguments(step, around.ids):
        if path[1] == name:
            return put(step, path, _bent(value, habits, step["tool"], name))
    first, *rest = name.split("_")
    camel = first + "".join(map(str.capitalize, rest)) if rest else f"{name}s"
    wrong = habits.pick([camel, f"{name}_value"], "style", step["tool"], name)
    for span in sorted(field_spans(step, around.ids), key=lambda span: -span.start):
        step = splice(step, span, wrong) if span.text == name else step
    return step


def situations(step: Mapping[str, Any], ids: Iterable[str]) -> list[str]:
    """The arguments with a literal value and the fields in conditions, by name: where a habit can show."""
    known = list(ids)
    arguments = [str(path[1]) for path, _ in literal_arguments(step, known)]
    return list(dict.fromkeys([*arguments, *(span.text for span in field_spans(step, known))]))


def literal_arguments(step: Mapping[str, Any], ids: Iterable[str]) -> list[tuple[Path, Any]]:
    """Paths and values of the texts, numbers and truth values in `args` that are no bindings."""
    known = {*ids, bindings.ITEM}
    leaves = _leaves(step.get("args") or {}, ("args",))
    return [(path, value) for path, value in leaves if value not in (None, "") and not _binds(value, known)]


def literal_spans(step: Mapping[str, Any], ids: Iterable[str]) -> list[Span]:
    """The literals in a step's bindings."""
    return [
        Span(path, match.start(), match.end(), match[0])
        for path, text in _expressions(step, ids)
        for match in _LITERAL.finditer(text)
    ]


def field_spans(step: Mapping[str, Any], ids: Iterable[str]) -> list[Span]:
    """The fields that a step's bindings compare or sort by."""
    spans = []
    for path, text in _expressions(step, ids):
        masked = _QUOTED.sub(lambda match: " " * len(match[0]), text)
        matches = [*_SORTED_BY.finditer(masked)]
        for condition in _CONDITION.finditer(masked):
            matches += _FIELD.finditer(masked, *condition.span(1))
        spans += [Span(path, match.start(1), match.end(1), match[1]) for match in matches]
    return list(dict.fromkeys(spans))


def in_condition(step: Mapping[str, Any], span: Span) -> bool:
    """Whether a literal stands in a condition, and so is a value that something is compared with."""
    conditions = _CONDITION.finditer(get(step, span.path))
    return any(condition.start() < span.start < condition.end() for condition in conditions)


def value_of(literal: str) -> Any:
    """The value of a JMESPath literal as written: `'text'`, or JSON between backticks."""
    content = literal[1:-1]
    return content.replace("\\'", "'") if literal.startswith("'") else json_or_text(content)


# ------------------------------------------------------------------------------------------------ kinds of slips


def _places(step: WrittenStep, around: Surroundings) -> dict[str, list[Any]]:
    """Where each kind of slip can happen in a step."""
    expressions = _expressions(step, around.ids)
    return {
        "wrong_tool": [name for name in around.tools if name != step["tool"]],
        "wrong_value": [*literal_arguments(step, around.ids), *literal_spans(step, around.ids)],
        "wrong_field": field_spans(step, around.ids),
        "swapped_binding": [
            (path, name, other)
            for path, text in expressions
            for name in bindings.references(text)
            for other in around.earlier(step["id"])
            if bindings.ITEM != name != other
        ],
        "invented_value": [path for path, _ in expressions if path[0] == "args"],
        "dropped_element": [*_elements(step.get("args") or {}, ("args",))],
        "dropped": [None],
    }


def _slipped(
    step: WrittenStep, kind: str, place: Any, around: Surroundings, dice: Dice, labels: tuple[object, ...]
) -> WrittenStep | None:
    """The step with one slip at `place`, or None where it is dropped."""
    match kind:
        case "wrong_tool":
            return {**step, "tool": place}
        case "wrong_value" if isinstance(place, Span):
            value = _other(value_of(place.text), around, dice, labels)
            escaped = str(value).replace("'", "\\'")
            return splice(step, place, f"'{escaped}'" if place.text.startswith("'") else f"`{json.dumps(value)}`")
        case "wrong_value":
            path, value = place
            return put(step, path, _other(value, around, dice, labels))
        case "wrong_field":
            return splice(step, place, dice.pick(around.fields_beside(place.text) or [f"{place.text}s"], *labels))
        case "swapped_binding":
            path, name, other = place
            return put(step, path, re.sub(rf"\${name}\b", f"${other}", get(step, path), count=1))
        case "invented_value":
            return put(step, place, invented(place[1], dice, *labels))
        case "dropped_element":
            *path, position = place
            return put(step, tuple(path), [item for at, item in enumerate(get(step, path)) if at != position])
    return None


def invented(name: object, dice: Dice, *labels: object) -> str:
    """A value that is made up for an argument."""
    return f"{name}-{1000 + dice.number(9000, *labels)}"


def _other(value: Any, around: Surroundings, dice: Dice, labels: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        written = [other for other in around.literals if type(other) in (int, float)]
        near = [value + 1, value - 1, value * 2, value * 10, *written]
        return dice.pick([other for other in near if other != value], *labels)
    others = [other for other in around.literals if isinstance(other, str) and other != value]
    if others and dice.falls(0.5, *labels, "other"):
        return dice.pick(others, *labels)
    return _misspelt(str(value), dice, labels)


def _misspelt(text: str, dice: Dice, labels: Any) -> str:
    """`text` with one digit changed if it has any, else with a letter left out."""
    digits = [position for position, sign in enumerate(text) if sign.isdecimal()]
    if digits:
        position = dice.pick(digits, *labels, "digit")
        digit = (int(text[position]) + 1 + dice.number(9, *labels)) % 10
        return f"{text[:position]}{digit}{text[position + 1 :]}"
    if len(text) < 2:
        return text * 2 or "x"
    position = dice.number(len(text), *labels, "letter")
    return text[:position] + text[position + 1 :]


def _bent(value: Any, habits: Dice, tool: str, name: str) -> Any:
    """A literal as this model always miswrites it: in another case, ten times as large, or the opposite."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 10 if value and habits.falls(0.5, "number", tool, name) else value + 1
    swapped = str(value).swapcase()
    return swapped if swapped != value else f"{value} "


# ------------------------------------------------------------------------------------------------ places in a step


def _binds(value: Any, known: Iterable[str]) -> bool:
    return isinstance(value, str) and "$" in value and bindings.is_binding(value, {*known})


def _expressions(step: Mapping[str, Any], ids: Iterable[str]) -> list[tuple[Path, str]]:
    """Paths and texts of the bindings of a step."""
    known = {*ids, bindings.ITEM}
    leaves = [*_leaves(step.get("args") or {}, ("args",)), (("for_each",), step.get("for_each"))]
    return [(path, text) for path, text in leaves if _binds(text, known)]


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    entries = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in entries:
        if isinstance(item, (Mapping, list, tuple)):
            yield from _leaves(item, (*path, key))
        else:
            yield (*path, key), item


def _elements(value: Any, path: Path) -> Iterator[Path]:
    """The lists and records that stand in lists of several, such as the stops of a day: what one forgets one of."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in entries:
        if isinstance(item, (Mapping, list)):
            if isinstance(value, list) and len(value) > 1:
                yield (*path, key)
            yield from _elements(item, (*path, key))


def get(step: Mapping[str, Any], path: Sequence[str | int]) -> Any:
    value: Any = step
    for key in path:
        value = value[key]
    return value


def put(step: Mapping[str, Any], path: Path, value: Any) -> WrittenStep:
    changed = copy.deepcopy(dict(step))
    get(changed, path[:-1])[path[-1]] = value
    return changed


def splice(step: Mapping[str, Any], span: Span, text: str) -> WrittenStep:
    whole = get(step, span.path)
    return put(step, span.path, whole[: span.start] + text + whole[span.end :])


def _once(values: Iterable[Any]) -> list[Any]:
    """`values` without repetitions; 1 and True are two."""
    return list({(type(value), value): value for value in values}.values())
