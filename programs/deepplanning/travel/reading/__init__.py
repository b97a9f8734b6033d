"""Reads a travel request by rule, with no model: its people, rooms and days, and its wishes as checks say them.

It stands in for a capable model's reading of a request, and never sees the gold. A request is refused, not half read,
where it names, counts, compares or demands anything that no rule reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from programs.deepplanning.travel import wishes
from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.reading import hotels, party, place_words, places, trips
from programs.deepplanning.travel.reading.lexemes import Clause, Entry, blanked, clauses, lex
from programs.deepplanning.travel.reading.names import with_mentions
from programs.deepplanning.travel.reading.phrases import ANYWHERE, CHEAPEST, HIGHEST, MOODS, REASONS
from programs.deepplanning.travel.reading.problem import ReadingError
from programs.deepplanning.travel.request import Journey, read_journey

__all__ = ["Reading", "ReadingError", "read"]

Wish = dict[str, Any]
"""A requirement as a planner writes it: `{"id", "check", "args"}`."""
_UNREAD = re.compile(
    r"\d|\b(?:cheapest|highest|lowest|earliest|latest|shortest|longest|closest|nearest|newest|oldest|fastest|largest|"
    r"biggest|most (?:expensive|luxurious|central)|breakfast|balcony|kitchen|sea view|pets?|wheelchair|vegetarian|"
    r"vegan|refundable|stars?|yuan)\b|最(?:便宜|贵|低|高|早|晚|短|长|新|旧|大|小|近|快)|早餐|阳台|海景|宠物|轮椅|素食|元|星级",
    re.IGNORECASE,
)
"""What no sentence says without a wish."""
_DEMANDS = re.compile(
    r"\b(?:must|should|ha(?:s|ve) to|needs? to)(?: ideally| also)? (?:have|offer|provide|support|come with)\b"
    r"(?! an? (?:good|great|nice|pleasant|relaxed))"
    r"|(?:必须|一定要|得)(?:有|带|能|提供)",
    re.IGNORECASE,
)
"""What demands something that a phrase of the same clause must name."""
_TOPICS = frozenset(
    ("hotel", "meal", "sight", "trip", "near", "visit", "include", "all", "one", "date", "length", "reason", "mood")
)
"""Kinds of phrases that only say what a clause is about."""


@dataclass(frozen=True)
class Reading:
    """What a request asks for."""

    journey: Journey
    people: int
    rooms: int
    wishes: tuple[Wish, ...]

    @property
    def frame(self) -> Frame:
        depart, back = map(date.fromisoformat, (self.journey.depart, self.journey.return_))
        return Frame(self.journey.origin, self.journey.destination, depart, back, self.people, self.rooms)


def read(request: str, world: World) -> Reading:
    """What a request in the language of the tables asks for.

    Raises:
        ReadingError: it says something that no rule reads; the message quotes it.
    """
    atlas, language = world.atlas, world.database.language
    plain = _plain(request)
    journey = read_journey(plain, atlas)
    if journey is None:
        raise ReadingError("no one journey between two cities of the tables is named with its days")
    vocabulary = _vocabulary(atlas, language, journey)
    ends = re.escape(f"{journey.origin} to "), re.escape(journey.destination)
    # A city may be called by one of its sights: "from Hefei to 'Zhengzhou Shang Dynasty Ruins'".
    plain = re.sub(rf"({ends[0]})(['\"])({ends[1]})\b.*?\2", r"\1\3", plain)
    text = with_mentions(plain, atlas, lambda name: not re.search(r"\w", blanked(name, lex(name, vocabulary))))
    lexemes = lex(text, vocabulary)
    listed = clauses(text, lexemes)
    for clause in listed:
        if unread := _UNREAD.search(clause.rest):
            raise ReadingError(f"no rule reads {unread[0]!r} in {clause.text.strip()!r}")
        if clause.topic is None and clause.has(CHEAPEST, HIGHEST):
            raise ReadingError(f"{clause.text.strip()!r}: the best of what?")
        if _DEMANDS.search(clause.text) and all(lexeme.kind in _TOPICS for lexeme in clause.lexemes):
            raise ReadingError(f"no rule reads what is demanded: {clause.text.strip()!r}")
    people, rooms, budget = party.read_party(lexemes)
    reading = Reading(journey, people, rooms, tuple(_wishes(text, listed, budget, atlas, language)))
    _check(reading, atlas)
    return reading


def _plain(request: str) -> str:
    """In one line, with straight quotes and letters without accents, as the tables write cities."""
    for curly, straight in (("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"')):
        request = request.replace(curly, straight)
    return " ".join(request.replace("Ü", "U").replace("ü", "u").split())


def _vocabulary(atlas: Atlas, language: Language, journey: Journey) -> list[Entry]:
    """By precedence: who travels and when, then what is said of what, then words that may be said of anything."""
    there = atlas.trips(journey.origin, journey.destination, journey.depart)
    back = atlas.trips(journey.destination, journey.origin, journey.return_)
    airlines = {trip["airline"] for trip in (*there, *back) if trip["direct"] and "airline" in trip}
    cuisines = {cuisine for place in atlas.restaurants.values() for cuisine in place["cuisine"]}
    return [
        *REASONS,
        *hotels.vocabulary(language),
        *party.VOCABULARY,
        *trips.vocabulary(language, airlines, journey.origin, journey.destination),
        *place_words.vocabulary(language, sorted(cuisines, key=lambda cuisine: (-len(cuisine), cuisine))),
        *ANYWHERE,
        *MOODS,
    ]


def _wishes(
    text: str, listed: list[Clause], budget: float | None, atlas: Atlas, language: Language
) -> Iterator[Wish]:
    meals, visits = places.read_places(text, listed, atlas)
    hotel = hotels.read_hotel(listed)
    drafts: Iterable[tuple[str, dict[str, Any]]] = [
        *(("trip", args) for args in trips.read_trips(listed, language)),
        *([("hotel", hotel)] if hotel else []),
        *(("meal", args) for args in meals),
        *(("visit", args) for args in visits),
        *([("budget", {"max": budget})] if budget else []),
    ]
    for number, (check, args) in enumerate(drafts, start=1):
        yield {"id": f"R{number}", "check": check, "args": args}


def _check(reading: Reading, atlas: Atlas) -> None:
    """Whether something fits each wish: a wish that nothing fits was misread, or cannot be met.

    Raises:
        ReadingError: nothing does.
    """
    for wish in reading.wishes:
        if wish["check"] == "budget":
            continue
        try:
            fitting = fits(wish, reading.frame, atlas)
        except (ValueError, LookupError) as error:
            raise ReadingError(f"{wish}: {error}") from error
        if not fitting.choices:
            raise ReadingError(f"{wish}: nothing fits")


def fits(wish: Wish, frame: Frame, atlas: Atlas) -> wishes.Fitting[Any]:
    """What fits a wish other than a budget."""
    args = wish["args"]
    match wish["check"]:
        case "trip":
            return wishes.trip(atlas, frame, **args)
        case "hotel":
            return wishes.hotel(atlas, **args)
        case "meal":
            return wishes.meal(atlas, **args)
    return wishes.visit(atlas, **args)
