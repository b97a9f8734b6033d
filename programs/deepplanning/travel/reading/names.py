"""Places that a request names, put in the form `⟦id⟧`, so that no word of a name is read as anything else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.reading.problem import ReadingError

MENTION = r"⟦(\w+)⟧"
_QUOTED = re.compile(r"""(?<!\w)(['"])([^\s'"](?:.*?\S)?)\1(?![a-z])""")
_CHINESE_QUOTED = re.compile(r"""(['"])(\S(?:.*?\S)?)\1""")
_KINDS = re.compile(
    r"\b(?:restaurants?|hotel|street|road|square|plaza|park|museum|lake|river|scenic|area|spot|branch|store|shop|new|old|"
    r"the|of|and|city|mountain|temple|hall|bridge|town|village|garden|center|site|station|airport)\b"
)
"""Words that many names have, so that they say nothing of which place is meant."""
_ALIKE, _AHEAD = 0.7, 0.1
"""How alike two names must be, and by how much more than any other, to be taken for one (shares of equal letters)."""
_SHARED = 2
"""Words of its own that a name translated otherwise must share with the one that is meant, and with no other."""


def with_mentions(text: str, atlas: Atlas, is_word: Callable[[str], bool]) -> str:
    """The text with its places as mentions. What is quoted and is no place must be a word of the vocabulary.

    Raises:
        ReadingError: what is quoted is neither.
    """
    quoted = _CHINESE_QUOTED if re.search(r"[\u4e00-\u9fff]{4}", text) else _QUOTED

    def mention(match: re.Match[str]) -> str:
        name = match[2].rstrip(" .,")
        if is_word(name) or name in atlas.cities:
            return match[2]
        return f"⟦{place_named(name, atlas)}⟧"

    text = quoted.sub(mention, text)
    for place in sorted(atlas.attractions.values(), key=lambda place: -len(place["name"])):
        text = text.replace(place["name"], f"⟦{place['id']}⟧")
    return text


def place_named(name: str, atlas: Atlas) -> str:
    """The id of the place that a request calls so: by its very name, or by one that comes so near to it, and so much
    nearer than any other, that no other can be meant.

    Raises:
        ReadingError: there is none, or there are several; the message names the nearest.
    """
    try:
        return atlas.find(name)["id"]
    except LookupError:
        pass
    places = [*atlas.attractions.values(), *atlas.restaurants.values()]
    ranked = sorted(((_alike(name, place["name"]), place["id"]) for place in places), reverse=True)
    (best, key), (second, _) = (*ranked, (0.0, ""), (0.0, ""))[:2]
    if best >= _ALIKE and best - second >= _AHEAD:
        return key
    sharing = [place for place in places if len(_own_words(name) & _own_words(place["name"])) >= _SHARED]
    if len(sharing) == 1:
        return sharing[0]["id"]
    nearest = ", ".join(atlas.find(other)["name"] for _, other in ranked[:3])
    raise ReadingError(f"no place is called {name!r}; the nearest names are {nearest}")


def _alike(name: str, other: str) -> float:
    """The share of equal letters in what is the names' own; of whole names if that is less."""
    whole = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
    own, others = (_KINDS.sub("", text.lower()).strip() for text in (name, other))
    return min(whole, difflib.SequenceMatcher(None, own, others).ratio()) if own else whole


def _own_words(name: str) -> set[str]:
    return set(re.findall(r"\w{4,}", _KINDS.sub("", name.lower())))
