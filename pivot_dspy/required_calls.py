"""Requirements that name the call they ask for: whether it was made, and whether a quote stands where it is said to.

A call that no requirement asks for, or that is made twice, and a requirement whose call was not made are told by rule:

>>> asked = {"R1": RequiredCall(tool="pay", args={"to": "Ann", "amount": 10})}
>>> made = [MadeCall("a", "pay", {"to": "Ann", "amount": 12}, waits=True)]
>>> assign(asked, made)
CallAssignment(serves={}, missing=('R1',), extra=(0,))
>>> nearest(asked["R1"], made)[1]
'pay was called with amount 12 instead of 10'
"""

from __future__ import annotations

import calendar
import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import jsonschema
from pydantic import Field
from pydantic_core import to_jsonable_python

from pivot_dspy import bindings
from pivot_dspy.blame import standing
from pivot_dspy.environment.render import schema_text
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.errors import cap_text, did_you_mean
from pivot_dspy.plain_json import JsonObject, scalars
from pivot_dspy.trajectory import Execution, Frozen, Observation, Step

OPEN = "?"
"""Stands in a required call for a value that must be read first."""
WORDING = frozenset(
    {"answer", "body", "comment", "content", "description", "message", "note", "reason", "subject", "summary", "text"}
    | {"title"}
)
"""Names of arguments whose text is wording, however short."""

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%B %d %Y", "%b %d %Y", "%d %B %Y", "%d %b %Y")
_DATES = tuple(map("".join, product(_DAYS, ("", " %H:%M", " %H:%M:%S"))))
_LONGEST_DATE = 40
_MONTHS = "|".join(filter(None, (*calendar.month_name, *calendar.month_abbr)))
_LIKE_DATE = re.compile(rf"(?=.*\d{{4}})(?:[\d\s,:/-]|T(?=\d)|st|nd|rd|th|{_MONTHS})+", re.IGNORECASE)
_DATE_NOISE = re.compile(r",|(?<=\d)(?:st|nd|rd|th)\b")

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FENCE = re.compile(r"^(?:\| ?)+", re.MULTILINE)
_LETTER = r"[^\W\u0e00-\U0010ffff]"
"""A letter or digit of a script that sets its words apart by spaces; from Thai on few do."""
_EDGE = rf"(?:(?<!{_LETTER})|(?!{_LETTER}))"
_BEGINS = re.compile(rf"{_EDGE}(?!(?<=\d[.,])\d)")
"""Where a quote may begin: it cuts no word, no decimal and no group of thousands."""
_ENDS = re.compile(rf"{_EDGE}(?!(?<=\d)(?:\.\d|,\d{{3}}(?!\d)))")
_LEAST = 3
"""Letters and digits from which on a quote may be a part of a text."""


class RequiredCall(Frozen):
    """The call that a requirement asks for."""

    tool: str
    args: JsonObject = Field(default_factory=dict)
    """What the requirement fixes, `?` for what must be read first; an argument that is not named is free."""

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the arguments that are `?`, or have one inside."""
        return tuple(name for name, value in self.args.items() if _is_open(value))

    @property
    def without_wording(self) -> RequiredCall:
        """What it fixes but for wordings, which may be one's own."""
        args = {name: value for name, value in self.args.items() if name not in WORDING}
        return self.model_copy(update={"args": args})

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Those of the open ones that something read has to settle: a wording is free."""
        return tuple(name for name in self.open if name not in WORDING)

    def problem(self, toolbox: Toolbox) -> str:
        """Why no call of these tools can meet it, in words; empty where one can."""
        spec = toolbox.tools.get(self.tool)
        if spec is None:
            return f"no tool is called {self.tool!r}{did_you_mean(self.tool, toolbox.tools)}"
        if spec.effect == "read":
            return f"{self.tool} only reads; a requirement names a call that changes something"
        problems = []
        for name, value in self.args.items():
            schema = spec.parameters.get(name)
            if schema is None and not spec.open_ended:
                problems.append(f"{self.tool} takes no {name!r}{did_you_mean(name, spec.parameters)}")
            elif schema is not None and not _is_open(value) and not _is_valid(value, schema):
                problems.append(f"{name} is {_show(value)}, expected {schema_text(schema)}")
        return "; ".join(problems)


class MadeCall(NamedTuple):
    """A call that changes something."""

    step: str
    """Id of the step that makes it."""
    tool: str
    args: Mapping[str, Any]
    """With the tool's defaults; what cannot be known before commit stands as the binding that was written."""
    waits: bool
    """Whether it is made, or made in earnest after a preview, only at commit."""


class CallAssignment(NamedTuple):
    """Which call serves which requirement."""

    serves: dict[int, str]
    """From the index of a call to the requirement that it serves."""
    missing: tuple[str, ...]
    """Requirements that no call serves."""
    extra: tuple[int, ...]
    """Indices of the calls that serve none."""


def made_calls(execution: Execution, toolbox: Toolbox) -> tuple[MadeCall, ...]:
    """Every call that changes something and ran without error or waits for commit, in order.

    A step with `for_each` makes one for each element; one whose elements are not known before commit counts as one.
    """
    calls: list[MadeCall] = []
    results: dict[str, Any] = {}
    for position, step in enumerate(execution.trajectory.steps):
        spec, observation = toolbox.spec(step.tool), execution.by_step.get(step.id)
        if observation is None or observation.status not in ("ok", "withheld"):
            continue
        if step.result is None and spec is not None and spec.effect != "read":
            waits = observation.status == "withheld" or spec.effect == "irreversible"
            repeats = _arguments(step, observation, results, execution.trajectory.ids[:position])
            defaults = defaults_of(spec)
            calls += [MadeCall(step.id, step.tool, {**defaults, **args}, waits) for args in repeats]
        if observation.ok:
            results[step.id] = observation.value
    return tuple(calls)


def matches(required: RequiredCall, call: MadeCall) -> bool:
    """Whether `call` is what `required` asks for; what the requirement leaves free may be anything.

    Numbers are equal by value, texts exactly (but for Unicode composition and white space at the ends), dates in
    whatever form, lists in whatever order. A plain value is a list of just that, and null an empty one.
    """
    return required.tool == call.tool and not _differences(required, call)


def assign(required: Mapping[str, RequiredCall], calls: Sequence[MadeCall]) -> CallAssignment:
    """As many requirements as possible with a call each, no call serving two; the earlier ones where not all can be."""
    ids = list(required)
    fitting = [[index for index, call in enumerate(calls) if matches(asked, call)] for asked in required.values()]
    serves = {index: ids[row] for index, row in sorted(_pair(fitting).items())}
    return CallAssignment(
        serves=serves,
        missing=tuple(name for name in ids if name not in serves.values()),
        extra=tuple(index for index in range(len(calls)) if index not in serves),
    )


def nearest(required: RequiredCall, calls: Sequence[MadeCall]) -> tuple[MadeCall, str] | None:
    """The call of the required tool that fails by the fewest arguments, and how it fails, in words."""
    same_tool = [call for call in calls if call.tool == required.tool]
    failed = [(call, differences) for call in same_tool if (differences := _differences(required, call))]
    if not failed:
        return None
    call, differences = min(failed, key=lambda pair: len(pair[1]))
    return call, f"{call.tool} was called {', '.join(differences)}"


def fill(required: RequiredCall, call: Mapping[str, Any]) -> RequiredCall | str:
    """`required` with what a later turn's `{"tool"?, "args"}` says of open and free arguments; or why it may not.

    Whatever meets the filled call meets `required` too.
    """
    tool, args = call.get("tool") or required.tool, call.get("args") or {}
    if tool != required.tool:
        return f"the call is one of {required.tool} and stays so; {tool} is another"
    if not isinstance(args, Mapping):
        return f"args is an object of arguments, not {_show(args)}"
    filled = dict(required.args)
    for name, value in args.items():
        if name in required.args and not _fits(required.args[name], value):
            return f"{name} is {_show(required.args[name])} and cannot become {_show(value)}"
        if _is_open(required.args.get(name, OPEN)):
            filled[name] = value
    return RequiredCall(tool=required.tool, args=filled)


def stands_in(quote: str, value: Any) -> bool:
    r"""Whether `quote` stands in a result: in one of its texts, or in its JSON, a record a line.

    It begins and ends with whole words and numbers. White space, escapes and the bars that fence a line do not count.
    One of less than three letters or digits must be a whole value.

    >>> rows = [{"id_": "24", "day": "2024-05-15", "body": "Pay Ann:\n12.50"}]
    >>> [stands_in(quote, rows) for quote in ["24", '| "day": "2024', r"Pay Ann:\n12.50", "Pay Ann: 12", "15"]]
    [True, True, True, False, False]
    """
    sought = words_of(quote)
    texts = [words_of(text) for text in _leaves(value)]
    if sum(map(str.isalnum, sought)) < _LEAST:
        return sought != "" and sought in texts
    rows = value if isinstance(value, list) else [value]
    texts.append(words_of("\n".join(map(_json, rows))))
    return any(_stands_whole(sought, text) for text in texts)


def not_told(call: RequiredCall, told: standing.Tokens) -> str:
    """The first value that a required call fixes and that stands in nothing that was told, in words; else empty."""
    for name, value in call.args.items():
        unknown = [leaf for leaf in scalars(value) if leaf != OPEN and not standing.holds(told, leaf)]
        if unknown:
            return f"{name} {unknown[0]!r:.80}"
    return ""


def _arguments(
    step: Step, observation: Observation, results: Mapping[str, Any], earlier: Collection[str]
) -> list[dict[str, Any]]:
    """The arguments of each call of a step, as far as `results` tell them."""

    def resolve(value: Any, known: Mapping[str, Any]) -> Any:
        def change(text: Any) -> Any:
            try:
                return bindings.resolve(text, known, {*earlier, *known})
            except bindings.BindingError:
                return text

        return bindings.map_strings(value, change, lambda formula: change({bindings.CALC: formula}))

    if observation.args is not None:
        return [observation.args]
    items = [pair["item"] for pair in observation.value] if observation.ok else resolve(step.for_each, results)
    repeats = [{**results, bindings.ITEM: item} for item in items] if isinstance(items, list) else [results]
    return [{name: resolve(value, known) for name, value in step.args.items()} for known in repeats]


def defaults_of(spec: ToolSpec) -> dict[str, Any]:
    """What the tool takes for arguments that are not given, null left out."""
    defaults = {name: spec.defaults.get(name, schema.get("default")) for name, schema in spec.parameters.items()}
    given = {name: value for name, value in defaults.items() if value is not None}
    plain: dict[str, Any] = to_jsonable_python(given, fallback=str)
    return plain


def _differences(required: RequiredCall, call: MadeCall) -> list[str]:
    """How the arguments of a call of the required tool differ from what is required, in words."""
    differences = []
    for name, wanted in required.args.items():
        given = call.args.get(name)
        if not _fits(wanted, given):
            beside = f"with {name} {_show(given)} instead of" if given is not None else f"without {name}"
            differences.append(f"{beside} {_show(wanted)}")
    return differences


def _fits(wanted: Any, given: Any) -> bool:
    if wanted == OPEN:
        return given not in (None, [])
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        return all(_fits(wanted.get(key), given.get(key)) for key in wanted.keys() | given.keys())
    if isinstance(wanted, list) or isinstance(given, list):
        several, found = _as_list(wanted), _as_list(given)
        fitting = [[index for index, item in enumerate(found) if _fits(one, item)] for one in several]
        return len(several) == len(found) == len(_pair(fitting))
    return bool(comparable(wanted) == comparable(given))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def comparable(value: Any) -> Any:
    """A value such that what means the same is equal; numbers are texts, for ids are written as either."""
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value.strip())
        return _date(text) if len(text) <= _LONGEST_DATE else text
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.12g}"  # beyond these digits calculations go astray
    return str(int(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@lru_cache(maxsize=4096)
def _date(text: str) -> str:
    """A date in ISO form, a day as its midnight; any other text as it is."""
    written = _DATE_NOISE.sub("", re.sub(r"(?<=\d)T(?=\d)", " ", text))
    for form in _DATES if _LIKE_DATE.fullmatch(text) else ():
        try:
            return datetime.strptime(written, form).isoformat()
        except ValueError:
            continue
    return text


def _pair(fitting: Sequence[Sequence[int]]) -> dict[int, int]:
    """A largest set of pairs of a row and a column that fits it, from column to row; each row lists its columns."""
    row_of: dict[int, int] = {}
    for row in range(len(fitting)):
        through: dict[int, tuple[int, int | None]] = {}  # for each column the row that asks for it, and that row's own
        asking: list[tuple[int, int | None]] = [(row, None)]
        for asker in asking:  # it grows meanwhile
            for column in fitting[asker[0]]:
                if column not in through:
                    through[column] = asker
                    if column in row_of:
                        asking.append((row_of[column], column))
                        continue
                    free: int | None = column
                    while free is not None:  # each row on the way moves to the column that it asked for
                        row_of[free], free = through[free]
                    asking.clear()
                    break
    return row_of


def _is_open(value: Any) -> bool:
    return OPEN in bindings.strings(value)


def _is_valid(value: Any, schema: Mapping[str, Any]) -> bool:
    try:
        return any(map(jsonschema.Draft202012Validator(schema).is_valid, (value, [value])))
    except Exception:  # a schema that refers to nothing says nothing against a value
        return True


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (Mapping, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value if isinstance(value, str) else _json(value)


def _stands_whole(words: str, text: str) -> bool:
    begin = text.find(words)
    while begin >= 0:
        if _BEGINS.match(text, begin) and _ENDS.match(text, begin + len(words)):
            return True
        begin = text.find(words, begin + 1)
    return False


def words_of(text: str) -> str:
    """A text without what depends on how it is shown: fences, escapes, and how its words are set apart."""
    unescaped = _ESCAPED.sub(lambda match: " " if match[1] in "nrt" else match[1], _FENCE.sub("", text))
    return unicodedata.normalize("NFC", " ".join(unescaped.split()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _show(value: Any) -> str:
    return cap_text(_json(value))
