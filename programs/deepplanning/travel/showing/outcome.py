"""One refined task to show: its request, its plan, what holds of it and why not, its scores and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pivot_dspy import Refined, Requirement
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import standing_rules
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.scoring.official import DIMENSIONS
from programs.deepplanning.travel.scoring.tables import Tables
from programs.deepplanning.travel.showing.view import ShownPlan, shown_plan
from programs.deepplanning.travel.strict import StrictScore

RULES = frozenset(rule.check for rule in standing_rules())
"""The checks behind the rules that any plan must keep."""
_OPERATORS = {"==": "is", "!=": "is not", "contains": "has", "in": "is one of", "<=": "≤", ">=": "≥"}
_WAYS = {"out": "out", "back": "back", "both": "both ways"}
_LONGEST = 240
_SHOWN_REASONS = 3


@dataclass(frozen=True)
class Checked:
    """Something that a plan should meet, and how it stands; None where nobody can tell."""

    label: str
    holds: bool | None
    text: str = ""


@dataclass(frozen=True)
class ShownTrip:
    """A task to show.

    Args:
        rules: what any plan must keep, and `wishes` what the request asks for, as the run itself saw them; empty where
            it checked nothing.
        scored: the benchmark's dimensions and hard constraints, and what the strict score looks at beside them.
        row: the task's entry in the record of the run: scores, status, calls and tokens.
    """

    id: str
    language: Language
    request: str
    plan: ShownPlan
    rules: tuple[Checked, ...]
    wishes: tuple[Checked, ...]
    scored: tuple[Checked, ...]
    row: Mapping[str, Any]


def shown_trip(
    task: TravelTask,
    gold: Mapping[str, Any],
    tables: Tables,
    *,
    plan: Any,
    score: StrictScore,
    result: Refined | None,
    row: Mapping[str, Any],
) -> ShownTrip:
    """A task with what came of it.

    Args:
        plan: of any shape; None where there is none.
        result: None where nothing was refined.
    """
    rules, wishes = _checked(result) if result is not None else ((), ())
    return ShownTrip(
        id=task.id,
        language=task.language,
        request=task.request,
        plan=shown_plan(plan, gold, tables),
        rules=rules,
        wishes=wishes,
        scored=tuple(_scored(score)),
        row=row,
    )


def wish_words(requirement: Requirement) -> str:
    """What a requirement asks for, in words.

    >>> wish_words(Requirement(id="R2", check="hotel", args={"where": [["star", "==", 4]], "best": ["min", "price"]}))
    'hotel: star is 4, lowest price'
    """
    args = requirement.args
    if requirement.check == "budget":
        return f"budget: at most {args.get('max')}"
    if requirement.check not in ("trip", "hotel", "meal", "visit"):
        return requirement.describe()
    head = [requirement.check, _WAYS.get(str(args.get("way")), ""), f"near {args['near']}" if args.get("near") else ""]
    parts = [f"by {args['mode']}"] if args.get("mode") else []
    parts += [_condition(condition) for condition in args.get("where") or ()]
    best = args.get("best")
    if isinstance(best, list) and len(best) == 2:
        top = f"the {args['top']} with the " if args.get("top") else ""
        parts.append(f"{top}{'lowest' if best[0] == 'min' else 'highest'} {best[1]}")
    return ": ".join(filter(None, (" ".join(filter(None, head)), ", ".join(parts))))


def _condition(condition: Any) -> str:
    if not isinstance(condition, list) or len(condition) != 3:
        return f"{condition}"
    field, operator, value = condition
    shown = ", ".join(map(str, value)) if isinstance(value, list) else f"{value}"
    return f"{field} {_OPERATORS.get(operator, operator)} {shown}"


def _checked(result: Refined) -> tuple[tuple[Checked, ...], tuple[Checked, ...]]:
    """The rules and the wishes. What shows that a rule holds is the whole plan, and left out."""
    findings = {finding.requirement: finding for finding in result.findings}
    rules, wishes = [], []
    for requirement in result.requirements.items:
        finding = findings.get(requirement.id)
        holds = None if finding is None or finding.status in ("unjudged", "pending") else finding.holds
        evidence = "" if finding is None else "; ".join(filter(None, (finding.evidence, finding.doubt)))
        if requirement.check in RULES:
            rules.append(Checked(requirement.id, holds, "" if holds else _cut(evidence)))
        else:
            wishes.append(Checked(f"{requirement.id} {wish_words(requirement)}", holds, _cut(evidence)))
    return tuple(rules), tuple(wishes)


def _scored(score: StrictScore) -> Iterator[Checked]:
    for dimension, members in DIMENSIONS.items():
        names = [member.__name__ for member in members]
        yield Checked(dimension, score.official.dimensions[dimension] == 1.0, _reasons(score, names))
    for name, holds in score.official.hard_constraints.items():
        yield Checked(name.replace("_", " "), holds, _reasons(score, [name]))
    failed = [name for name, holds in score.checks.items() if not holds]
    yield Checked("Strict: true to the database", not failed, _reasons(score, failed))


def _reasons(score: StrictScore, names: Sequence[str]) -> str:
    reasons = list(dict.fromkeys(reason for name in names for reason in score.reasons.get(name, ())))
    more = f"; and {len(reasons) - _SHOWN_REASONS} more" if len(reasons) > _SHOWN_REASONS else ""
    return _cut("; ".join(reasons[:_SHOWN_REASONS])) + more


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
