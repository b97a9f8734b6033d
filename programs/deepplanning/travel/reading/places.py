"""What a request says of meals and visits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.reading.lexemes import PLACE, Clause, Lexeme, once
from programs.deepplanning.travel.reading.phrases import CHEAPEST, HIGHEST
from programs.deepplanning.travel.reading.problem import ReadingError

Args = dict[str, Any]
"""The arguments of a wish's check."""
_TURN = re.compile(
    r"\W*(?:(?:and|oh|but|哦)\W+)*(?:(?:first|second|third|last|another|the other|also|additionally|by the way|oh|"
    r"finally|besides|in addition|moreover|regarding|as for|one (?:is|should|meal|more|small|last)|"
    r"for (?:dining|sightseeing|attractions|meals|our first meal))\b|(?:哦?对了?|啊)?"
    r"(?:另外|另一|还有|哦对|对了|顺便|此外|首先|其次|最后|第[一二三]|一个|一顿是|接下来|景点|吃饭|说到|至于|关于))",
    re.IGNORECASE,
)
"""How a clause begins that speaks of another wish."""
_NEAR_BEFORE = re.compile(r"(?:near|around|closest to|nearest|close to|restaurants? to|离)\W*(?:the )?$", re.IGNORECASE)
_NEAR_AFTER = re.compile(r"\W?(?:附近|那边|周边|一带|那一带|那附近)")
_SIGHTS = ("type", "free", "top")
"""Kinds of phrases that say which attractions are meant, by what they are."""
_BEST_MEAL = {CHEAPEST: ("min", "price"), HIGHEST: ("max", "rating"), "closest": ("min", "metres")}


@dataclass
class _Group:
    """What is said of one meal, or of some visits."""

    clauses: list[Clause] = field(default_factory=list)

    @property
    def mentions(self) -> list[str]:
        return once(lexeme.value for lexeme in self.of("mention"))

    def of(self, *kinds: str) -> list[Lexeme]:
        """Phrases of these kinds; what is best of anything counts only where the clause is about places."""
        return [
            lexeme
            for clause in self.clauses
            for lexeme in clause.of(*kinds)
            if lexeme.topic == PLACE or lexeme.kind not in (CHEAPEST, HIGHEST) or clause.topic == PLACE
        ]

    def has(self, *kinds: str) -> bool:
        return bool(self.of(*kinds))

    def values(self, kind: str) -> list[Any]:
        return once(lexeme.value for lexeme in self.of(kind))

    @property
    def is_meal(self) -> bool:
        named = any(mention.startswith("R") for mention in self.mentions)
        return named or self.has("tag", "cuisine", "closest") or (self.has("meal") and self.has("near", *_BEST_MEAL))

    def is_left_by(self, clause: Clause) -> bool:
        """Whether a clause speaks of another place, or of another kind of choice."""
        named = {lexeme.value for lexeme in clause.of("mention")}
        if self.is_meal:
            return clause.has(*_SIGHTS) or bool(named and self.mentions and named.isdisjoint(self.mentions))
        return bool(named) and (self.has(*_SIGHTS) or bool(self.mentions) and named.isdisjoint(self.mentions))

    @property
    def text(self) -> str:
        return ",".join(clause.text for clause in self.clauses).strip()


def read_places(text: str, clauses: Sequence[Clause], atlas: Atlas) -> tuple[list[Args], list[Args]]:
    """The arguments of the wishes of meals, and of those of visits.

    Raises:
        ReadingError: what is said of a place is not understood.
    """
    meals: list[Args] = []
    visits: list[Args] = []
    visited: list[str] = []
    last: str | None = None
    wished = False
    for group in _groups(clauses):
        if group.is_meal:
            meals += _meal(group, text, last, atlas)
            visited += _visited_beside_a_meal(group, text, last)
            wished = False
        else:
            wished = wished or group.has("visit", "include")  # also of "two places: one is A, the other is B"
            visited += _visited(group, wished)
            visits += _visits(group)
        last = next(reversed(group.mentions), last)
    if visited:
        names = [atlas.find(place)["name"] for place in once(visited)]
        visits.insert(0, {"where": [["name", "in", names]]})
    return once(meals), once(visits)


def _groups(clauses: Sequence[Clause]) -> list[_Group]:
    """Clauses that speak of the same place or the same choice: up to one that turns to another."""
    groups: list[_Group] = []
    within = False
    for clause in clauses:
        about = clause.topic == PLACE or any(lexeme.topic == PLACE for lexeme in clause.lexemes)
        if about:
            if not within or _TURN.match(clause.text) or groups[-1].is_left_by(clause):
                groups.append(_Group())
            groups[-1].clauses.append(clause)
        within = about
    return groups


def _meal(group: _Group, text: str, last: str | None, atlas: Atlas) -> Iterator[Args]:
    """The wish of a meal; none where the clauses only praise, or leave the choice."""
    if other := group.of(*_SIGHTS):
        raise ReadingError(f"{group.text!r}: a meal or {text[other[0].start : other[0].end]!r}?")
    where = [["tags", "contains", tag] for tag in group.values("tag")]
    where += [["cuisine", "contains", cuisine] for cuisine in group.values("cuisine")]
    best = once(_BEST_MEAL[lexeme.kind] for lexeme in group.of(*_BEST_MEAL))
    if len(best) > 1:
        raise ReadingError(f"{group.text!r}: the best restaurant in {len(best)} ways")
    if len(group.mentions) > 1:
        raise ReadingError(f"{group.text!r}: which of the places?")
    mention = next(iter(group.of("mention")), None)
    if mention is not None and mention.value.startswith("R") and not _is_near(mention, text):
        if where or best:
            raise ReadingError(f"{group.text!r}: more is said than the restaurant's name")
        yield {"where": [["name", "==", atlas.find(mention.value)["name"]]]}
        return
    near = mention.value if mention else last if group.has("near") and (where or best) else None
    if near is None and not (where or best):
        return
    # Of several that fit, the policy has the best rated; but who says no more than near means near.
    order = best[0] if best else _BEST_MEAL[HIGHEST if where else "closest"]
    yield {
        **({"near": atlas.find(near)["name"]} if near else {}),
        **({"where": where} if where else {}),
        "best": list(order),
    }


def _is_near(mention: Lexeme, text: str) -> bool:
    return bool(_NEAR_BEFORE.search(text[: mention.start]) or _NEAR_AFTER.match(text[mention.end :]))


def _visited_beside_a_meal(group: _Group, text: str, last: str | None) -> Iterator[str]:
    """What is to be visited beside a meal near it: "after visiting A, find a restaurant nearby"."""
    for clause in group.clauses:
        for mention in clause.of("mention"):
            if clause.has("visit") and mention.value.startswith("A") and not _is_near(mention, text):
                yield mention.value
        if clause.has("visit it"):
            yield from filter(None, [next(reversed(group.mentions), last)])


def _visited(group: _Group, wished: bool) -> list[str]:
    """What is to be visited by its name."""
    if group.mentions and not (wished and all(key.startswith("A") for key in group.mentions)):
        raise ReadingError(f"{group.text!r}: what is wished of the place?")
    return group.mentions


def _visits(group: _Group) -> Iterator[Args]:
    """What is to be visited by what it is."""
    best = {"best": ["max", "rating"]}
    where = [{"where": [["type", "==", kind]]} for kind in group.values("type")]
    tops = group.values("top")
    if group.has(CHEAPEST) or len(tops) > 1 or (tops and len(where) > 1):
        raise ReadingError(f"{group.text!r}: which attractions?")
    one = group.has("one") or tops == [1]
    if tops and tops != [1]:
        yield {**(where[0] if where else {}), **best, "top": tops[0]}
    elif group.has(HIGHEST) and not where and not one:
        raise ReadingError(f"{group.text!r}: how many attractions?")
    elif tops or group.has(HIGHEST) or (where and one and not group.has("all")):
        yield from ({**condition, **best} for condition in where or [{}])
    elif where and not group.has("all"):
        raise ReadingError(f"{group.text!r}: all of them, or one?")
    else:
        yield from where
    if group.has("free"):
        yield {"where": [["ticket", "==", 0]]}
