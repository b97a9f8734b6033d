"""Single random faults put into a correct trajectory, drawn from the store and the tools and not to suit any rule."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pivot_dspy import Step, Trajectory
from pivot_dspy.environment.toolbox import Toolbox
from programs.deepplanning import conditions
from programs.deepplanning.conditions import DELIVERY, NUMBERS, TEXTS, Record
from programs.deepplanning.coupons import NAMES
from programs.deepplanning.loader import Case
from programs.deepplanning.shop import RangeKey

KINDS = ("wrong tool", "wrong value", "wrong field", "dropped step", "swapped binding", "wrong id")
_PATH = r'[A-Za-z_"][\w."]*'
_TEXT = r"'(?:\\'|[^'])*'"
_COMPARED = re.compile(rf"(?P<path>{_PATH}) ?(?P<op>[=<>!]=|[<>]) ?(?P<literal>{_TEXT}|`[^`]*`)")
_CONTAINED = re.compile(rf"contains\((?P<path>{_PATH}), (?P<literal>{_TEXT})\)")
_KEYED = re.compile(rf"&(?P<path>{_PATH})")
_TAKEN = re.compile(r"(?<=[)\w])\.(?P<path>(?:item\.)?\w+)$")
_LISTED = {"sizes": "size", "brand_names": "brand", "colors": "color"}
_DAYS = "result.estimated_delivery_days"


@dataclass(frozen=True)
class Mutant:
    """A trajectory with one fault."""

    kind: str
    """One of `KINDS`."""
    trajectory: Trajectory
    step: str
    """Id of the step that was changed or dropped."""
    position: int
    """Where it stands, or stood."""
    change: str
    """What was done, in words."""


class Mutator:
    """Makes mutants of the correct trajectory of one case; what it draws depends on `rng` only."""

    def __init__(self, case: Case, toolbox: Toolbox, trajectory: Trajectory, rng: random.Random) -> None:
        self._case, self._toolbox, self._trajectory, self._rng = case, toolbox, trajectory, rng
        self._fields = [field for field in (*TEXTS, *NUMBERS) if field != DELIVERY]
        self._result_fields = ("filtered_products_ids", "sorted_product_ids", "product_ids", "products", "items")

    def mutants(self, each: int) -> Iterator[Mutant]:
        """At most `each` different mutants of each kind."""
        makers: Mapping[str, Callable[[Step], tuple[Step | None, str] | None]] = {
            "wrong tool": self._wrong_tool, "wrong value": self._wrong_value, "wrong field": self._wrong_field,
            "dropped step": self._dropped, "swapped binding": self._swapped, "wrong id": self._wrong_id,
        }  # fmt: skip
        for kind, make in makers.items():
            seen = {self._trajectory.id}
            for _ in range(each * 20):
                if len(seen) > each:
                    break
                position = self._rng.randrange(len(self._trajectory))
                step = self._trajectory.steps[position]
                made = make(step)
                if made is None:
                    continue
                after, change = made
                rest = () if after is None else (after,)
                steps = (*self._trajectory.steps[:position], *rest, *self._trajectory.steps[position + 1 :])
                mutant = Trajectory(steps=steps)
                if mutant.id not in seen:
                    seen.add(mutant.id)
                    yield Mutant(kind, mutant, step.id, position, f"{step.id}: {change}")

    # -- the kinds: a changed step (None: no step) and what was done, or None where the kind does not apply

    def _wrong_tool(self, step: Step) -> tuple[Step, str] | None:
        if step.is_submit:
            return None
        tool = self._rng.choice([name for name in self._toolbox.tools if name != step.tool])
        return step.model_copy(update={"tool": tool}), f"{tool} instead of {step.tool}"

    def _dropped(self, step: Step) -> tuple[None, str]:
        return None, "dropped"

    def _swapped(self, step: Step) -> tuple[Step, str] | None:
        places = [(key, text) for key, text in _texts(step) if re.search(r"\$(?!item)\w", text)]
        if not places:
            return None
        key, text = self._rng.choice(places)
        name = re.findall(r"\$(\w+)", text)[0]
        other = self._rng.choice([other for other in self._trajectory.ids if other not in (name, step.id)])
        return _with(step, key, re.sub(rf"\${name}\b", f"${other}", text)), f"${other} instead of ${name}"

    def _wrong_id(self, step: Step) -> tuple[Step, str] | None:
        if "product_id" not in step.args:
            return None
        wrong = self._rng.choice(self._case.products)["product_id"]
        return _with(step, "product_id", wrong), f"product {wrong}"

    def _wrong_field(self, step: Step) -> tuple[Step, str] | None:
        places = [
            (key, text, match)
            for key, text in _texts(step) if "$" in text
            for pattern in (_COMPARED, _CONTAINED, _KEYED, _TAKEN) for match in pattern.finditer(text)
        ]  # fmt: skip
        if "condition_key" in step.args and (not places or self._rng.random() < 0.5):
            old = step.args["condition_key"]
            new = self._rng.choice([key for key in get_args(RangeKey) if key != old])
            return _with(step, "condition_key", new), f"{new} for {old}"
        if not places:
            return None
        key, text, match = self._rng.choice(places)
        old = match["path"]
        prefix = "item." if old.startswith(("item.", "result.")) else ""
        if match.re is _TAKEN and prefix == "" and not step.args.get("product_id"):
            choices = [name for name in self._result_fields if name != old]
        else:
            choices = [prefix + _quoted(field) for field in self._fields if prefix + _quoted(field) != old]
        new = self._rng.choice(choices)
        return _with(step, key, text[: match.start("path")] + new + text[match.end("path") :]), f"{new} for {old}"

    def _wrong_value(self, step: Step) -> tuple[Step, str] | None:
        choices: list[tuple[str, Any, str]] = []
        for key, text in _texts(step):
            if "$" in text:
                for pattern in (_COMPARED, _CONTAINED):
                    choices += [(key, (text, match), match["path"]) for match in pattern.finditer(text)]
            elif key in ("destination_address", "coupon_name"):
                choices.append((key, text, key))
        choices += [(key, value, _LISTED[key]) for key, value in step.args.items() if key in _LISTED]
        if "condition_key" in step.args:
            choices.append(("value", step.args["value"], step.args["condition_key"]))
        if not choices:
            return None
        key, target, field = self._rng.choice(choices)
        if isinstance(target, list):
            index = self._rng.randrange(len(target))
            new = self._other(field, target)
            return _with(step, key, [*target[:index], new, *target[index + 1 :]]), f"{new} instead of {target[index]}"
        if not isinstance(target, tuple):
            new = self._other(field, [target])
            return _with(step, key, new), f"{new} instead of {target}"
        text, match = target
        inner = match["literal"][1:-1]
        old = json.loads(inner) if match["literal"][0] == "`" else inner.replace("\\'", "'")
        new = self._other(field, [old], part=match.re is _CONTAINED)
        literal = f"`{json.dumps(new)}`" if match["literal"][0] == "`" else "'" + str(new).replace("'", "\\'") + "'"
        changed = text[: match.start("literal")] + literal + text[match.end("literal") :]
        return _with(step, key, changed), f"{new} instead of {old} for {field}"

    def _other(self, field: str, not_these: Sequence[Any], *, part: bool = False) -> Any:
        """Another value that the store has for a field; with `part`, two neighbouring words of it."""
        if field == "coupon_name":
            values: list[Any] = list(NAMES)
        elif field == "destination_address":
            values = [re.sub(r"\W", "", p["shipping_info"]["origin"].lower()) for p in self._case.products]
        elif field == _DAYS:
            values = [conditions.delivery_days(product, self._case.user) for product in self._case.products]
        else:
            path = field.removeprefix("item.").replace('"', "").split(".")
            values = [_at(product, path) for product in self._case.products]
        if part:
            values = [self._part(value) for value in values if isinstance(value, str)]
        return self._rng.choice(sorted({v for v in values if v is not None and v not in not_these}))

    def _part(self, text: str) -> str:
        words = text.split()
        start = self._rng.randrange(max(1, len(words) - 1))
        return " ".join(words[start : start + 2])


def _texts(step: Step) -> list[tuple[str, str]]:
    found = [("for_each", step.for_each)] if step.for_each else []
    return [*found, *((key, value) for key, value in step.args.items() if isinstance(value, str))]


def _with(step: Step, key: str, value: Any) -> Step:
    if key == "for_each":
        return step.model_copy(update={"for_each": value})
    return step.model_copy(update={"args": {**step.args, key: value}})


def _quoted(field: str) -> str:
    return ".".join(f'"{part}"' if part[0].isdigit() else part for part in field.split("."))


def _at(record: Record, path: Sequence[str]) -> Any:
    value: Any = record
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
