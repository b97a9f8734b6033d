from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.mcp.aliases import Aliases

ids = st.lists(st.uuids().map(str), min_size=2, max_size=6, unique=True)


@given(ids, st.data())
def test_a_value_of_the_other_life_is_told_in_the_words_that_were_seen(drawn: list[str], data: Any) -> None:
    seen, now = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 : len(drawn) // 2 * 2]

    def told(names: list[str]) -> dict[str, Any]:
        return {"ids": names, "by": {name: {"text": f"({name}), n={n}"} for n, name in enumerate(names)}, "n": 3}

    aliases = Aliases()
    aliases.learn(told(seen), told(now))
    order = data.draw(st.permutations(range(len(seen))))
    there, here = told([now[n] for n in order]), told([seen[n] for n in order])
    assert aliases.there(here) == there and aliases.here(there) == here


@given(st.text(), st.text(), st.integers(-999, 999), st.integers(-999, 999), st.booleans())
def test_what_is_no_id_is_not_translated(said: str, now: str, count: int, later: int, flag: bool) -> None:
    aliases = Aliases()
    without_digits = "".join(letter for letter in said if not letter.isdigit())
    aliases.learn([without_digits, count, flag, 0.5], [now, later, not flag, 1.5])
    value = [without_digits, count, flag, None, 0.5]
    if abs(count) < 100 or abs(later) < 100:
        assert aliases.there(value) == value
