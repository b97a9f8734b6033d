"""Where each value of a call that changes something comes from: by rule, without a model.

What was asked for, what was bound, and what stands as a whole value in a result that came before needs no judge. What
stands only in the middle of a longer text does: an injected instruction brings its addressee in exactly so. Each rule
finds too little rather than too much.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from pivot_dspy import bindings, calc, claims
from pivot_dspy.bindings import BindingError
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.expressions import TOKEN, Content, content, is_quoted
from pivot_dspy.grounds import Grounds, RunGrounds, is_empty, is_id, name_of
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import WORDING, MadeCall, RequiredCall, defaults_of
from pivot_dspy.result_index import leaves, member
from pivot_dspy.told import figure_of, moment_of
from pivot_dspy.trajectory import Execution, Frozen, Step

Label = Literal["asked", "read", "bound", "worked out", "own words", "unknown"]

WORDS = 6
"""A text of more words than these is one's own wording, which need not have been read."""



class Origin(Frozen):
    """Where one value in the arguments of a call comes from."""

    path: str
    """Where it stands in the arguments: `recipients[0]`; with what it is of a longer text: `body: '12.50'`."""
    value: Any
    label: Label
    """`own words`: wording and choices of the one who planned, which are judged as content; `unknown`: an addressee,
    id, figure or date that stands nowhere."""
    source: str = ""
    """Of what was asked: the name of the text that tells it, `quote` or `requirement`. Of what was read: the path in
    the results, or the step alone where it is a part of a longer text. Of what was bound: the expression. Of what was
    worked out: the formula, with the origin of each number."""
    stale: bool = False
    """Whether it was read after a call that waits for commit, and may read differently then."""
    partial: bool = False
    """Whether it is only a part of a longer text where it was read."""
    settled: bool = False
    """Whether no judge need be asked where it comes from."""

    def to_prompt(self) -> str:
        """The label as it stands behind the value in a prompt.

        >>> Origin(path="file_id", value="3", label="read", source="c[0].id_", settled=True).to_prompt()
        '[read c[0].id_]'
        """
        told_so = self.label == "asked" and self.source == "request"
        joints = {"asked": ": ", "worked out": ": ", "own words": " around ", "unknown": " around "}
        joint = joints.get(self.label, " in " if self.partial else " ")
        source = f"{joint}{self.source}" if self.source and not told_so else ""
        return f"[{self.label}{source}{', stale' if self.stale else ''}]"


def origins(
    call: MadeCall, execution: Execution, toolbox: Toolbox, *, told: Mapping[str, str],
    requirement: RequiredCall | None = None, quotes: Sequence[str] = (), run: RunGrounds | None = None,
) -> tuple[Origin, ...]:  # fmt: skip
    """The origin of every value that was written into a call; what is empty, or the tool's default, is left out.

    Args:
        told: trusted texts by name, such as `request` and `policy`.
        requirement: what a requirement fixes of the call: as a person gave it, or as it was before anything was read.
            Values that a model filled in later are no evidence for themselves.
        quotes: words of results that settle what is asked for, or whose instructions count. They count as told.
        run: what was gathered of the same execution for the calls before this one, so as not to do it again.

    Raises:
        TrajectoryError: the call is of no step of the execution.
    """
    grounds = (run or RunGrounds(execution, toolbox)).of(call, told, requirement, quotes)
    step, spec = execution.trajectory.steps[execution.trajectory.index(call.step)], toolbox.tools[call.tool]
    known, defaults = frozenset(grounds.steps), defaults_of(spec)
    found = [
        origin
        for name, written in step.args.items()
        if name not in defaults or call.args.get(name) != defaults[name]
        for origin in _Argument(grounds, step, known, spec.parameters.get(name, {})).origins(
            name, written, call.args.get(name)
        )
    ]
    durations = grounds.durations
    return tuple(found if not durations else [_lasting(origin, found, durations) for origin in found])


def open_values(found: Iterable[Origin]) -> tuple[Origin, ...]:
    """Those that a judge must be asked about: addressees, ids, figures and dates that are not settled. Wording is
    judged as content."""
    return tuple(
        it for it in found if not it.settled and it.label != "own words" and not _is_wording(it.path, it.value)
    )


def figures_from_nowhere(
    text: str, call: MadeCall, execution: Execution, *, told: Mapping[str, str], quotes: Sequence[str] = ()
) -> tuple[str, ...]:
    """The figures, ids and addresses in a text that stand neither in what was told nor in a result before the call."""
    before = execution.trajectory.ids[: execution.trajectory.index(call.step)]
    results = [seen.value for name in before if (seen := execution.by_step.get(name)) is not None and seen.ok]
    return claims.figures_beyond(text, [*told.values(), *quotes, *results])


@dataclass(frozen=True)
class _Argument:
    """One argument of a step."""

    grounds: Grounds
    step: Step
    known: frozenset[str]
    """Ids of the steps that it may bind."""
    schema: Mapping[str, Any]

    def origins(self, path: str, written: Any, value: Any) -> Iterator[Origin]:
        """The origin of each leaf of `value`, which is what `written` gave."""
        if bindings.is_calc(written) and not is_quoted(written[bindings.CALC]):
            yield self._worked_out(path, written[bindings.CALC], value)
        elif isinstance(written, str) and bindings.is_binding(written, {*self.known, bindings.ITEM}):
            for leaf in leaves(value, path):
                if not is_empty(leaf.value):
                    yield from self._bound(leaf.path, written, leaf.value)
        elif isinstance(written, Mapping) and isinstance(value, Mapping):
            for key, item in written.items():
                yield from () if key.isidentifier() else self._literal(f"keys({path})", key)
                yield from self.origins(member(path, key), item, value.get(key))
        elif isinstance(written, list) and isinstance(value, list):
            for index, (item, given) in enumerate(zip(written, value, strict=False)):
                yield from self.origins(f"{path}[{index}]", item, given)
        elif not is_empty(value):
            yield from self._literal(path, value)

    def _literal(self, path: str, value: Any, around: str = "") -> Iterator[Origin]:
        """The origin of what was written out, or put together `around` a binding."""
        name, grounds = name_of(path), self.grounds
        if source := grounds.asked(path, value):
            yield Origin(path=path, value=value, label="asked", source=source, settled=True)
        elif isinstance(value, bool) or value in _choices(self.schema):
            yield Origin(path=path, value=value, label="own words", source=around)
        elif place := grounds.whole(name, value):
            settled = not place.stale and (is_id(name) or not _recurs(value)) and grounds.names(place, value)
            yield Origin(path=path, value=value, label="read", source=place.path, stale=place.stale, settled=settled)
        elif text := grounds.within(value):
            yield Origin(path=path, value=value, label="read", source=text.step, stale=text.stale, partial=True)
        elif _is_wording(path, value):
            yield Origin(path=path, value=value, label="own words", source=around)
            shown = [*grounds.told.values(), *grounds.quotes, *grounds.results.values()]
            for figure in claims.figures_beyond(value, shown):
                yield Origin(path=f"{path}: {figure!r}", value=figure, label="unknown")
        else:
            yield Origin(path=path, value=value, label="unknown", source=around)

    def _bound(self, path: str, written: str, value: Any) -> Iterator[Origin]:
        expression, source, stale = self._content(written), self._show(written), self._is_stale(written)
        settled = not (expression.cuts or stale)
        if expression.literals or self.grounds.is_own(value):
            yield from self._literal(path, value, around=source)
        elif settled or not self._is_settled(path, value):
            yield Origin(path=path, value=value, label="bound", source=source, stale=stale, settled=settled)
        else:
            yield from self._literal(path, value)

    def _is_settled(self, path: str, value: Any) -> bool:
        return all(origin.settled for origin in self._literal(path, value))

    def _worked_out(self, path: str, formula: str, value: Any) -> Origin:
        read = calc.read(formula)
        counts = _decimals(read.tree)
        parts = [self._part(operand) for operand in read.operands]
        settled = all(part.settled or place in counts for place, part in enumerate(parts))
        if len(parts) == 1:  # nothing is worked out
            settled = parts[0].settled and parts[0].label != "read"
        source = self._show(calc.annotate(formula, [part.to_prompt()[1:-1] for part in parts]))
        stale = any(part.stale for part in parts)
        return Origin(path=path, value=value, label="worked out", source=source, stale=stale, settled=settled)

    def _part(self, operand: calc.Operand) -> Origin:
        """The origin of one number of a calc."""
        if operand.bound:
            return self._bound_part(operand.text)
        number = float(operand.text) if "." in operand.text else int(operand.text)
        origin = next(self._literal("", number))
        if origin.label == "read":  # a figure that is worked with may have been copied, unlike one that is the result
            return origin.model_copy(update={"settled": not (origin.stale or origin.partial)})
        return origin if origin.settled else origin.model_copy(update={"label": "own words"})

    def _bound_part(self, text: str) -> Origin:
        expression, stale = self._content(text), self._is_stale(text)
        try:
            value = bindings.evaluate(text, self.grounds.results)
            source, own = str(calc.number(value)), any(map(self.grounds.is_own, scalars(value)))
        except (BindingError, ValueError):  # known only at commit, or the element of a repeated step
            value, source, own = text, "", False
        settled = not (expression.cuts or expression.literals or stale or own)
        return Origin(path="", value=value, label="bound", source=source, stale=stale, settled=settled)

    def _content(self, text: str) -> Content:
        """What a binding may give; `$item` may be whatever the step repeats over."""
        own, items = content(text), content(self._items(text) or "@")
        return Content(own.literals + items.literals, own.cuts or items.cuts)

    def _items(self, text: str) -> str | None:
        """What a step repeats over, where an expression reads its element."""
        return self.step.for_each if bindings.ITEM in bindings.references(text) else None

    def _is_stale(self, text: str) -> bool:
        return not self.grounds.stale.isdisjoint(bindings.dependencies([text, self._items(text)], self.known))

    def _show(self, text: str) -> str:
        """An expression without dollars, and with what its element is one of."""
        shown = TOKEN.sub(lambda match: match[1] or match[0], text)
        items = self._items(text)
        return f"{shown} of {self._show(items)}" if items else shown


def _lasting(end: Origin, found: Iterable[Origin], durations: Mapping[float, str]) -> Origin:
    """The origin of a time that nothing tells, where it is another one in the same call and a duration that is told."""
    moment = moment_of(end.value) if end.label == "unknown" else None
    for start in found if moment else ():
        begins = moment_of(start.value) if start.label in ("asked", "read", "bound") else None
        if begins and moment and (lasts := durations.get((moment.at - begins.at) / timedelta(minutes=1))):
            source = f"{start.value} ({start.to_prompt()[1:-1]}) + {lasts} (asked)"
            changed = {"label": "worked out", "source": source, "stale": start.stale, "settled": start.settled}
            return end.model_copy(update=changed)
    return end


def _decimals(tree: ast.expr | None) -> set[int]:
    """The operands of a formula that say how many decimals a number is rounded to."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree is not None else []
    rounds = [node.args[1] for node in calls if ast.unparse(node.func) == "round" and len(node.args) > 1]
    return {int(place.id[1:]) for place in rounds if isinstance(place, ast.Name)}


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    """The values between which a schema leaves the choice, however deep in it."""
    parts = [part for item in schema.values() for part in (item if isinstance(item, list) else [item])]
    inner = [choice for part in parts if isinstance(part, Mapping) for choice in _choices(part)]
    return [*schema.get("enum", ()), *inner]


def _is_wording(path: str, value: Any) -> bool:
    return isinstance(value, str) and (len(value.split()) > WORDS or name_of(path) in WORDING)


def _recurs(value: Any) -> bool:
    """Whether a value stands in many places by chance, as figures and dates do."""
    return figure_of(value) is not None or moment_of(value) is not None
