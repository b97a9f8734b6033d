"""Numbers as people write them in text, where they can mean one thing only."""

from __future__ import annotations

import re

# "1,234" may be 1234 or 1.234, "007" an identifier.
_WRITTEN = re.compile(
    r"(?P<sign>[+-]?)[$€£¥]?\s?(?P<digits>(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+(?=\.)|[1-9]\d{0,2}(?:,\d{3}){2,})(?:\.\d+)?)"
    r"\s?[$€£¥]?",
    re.ASCII,
)
_LONGEST = 100


def written_number(text: str) -> int | float | None:
    """The number that `text` is; None where it is clearly none, or not clearly one.

    >>> written_number("$1,234.50"), written_number(" 12 "), written_number("1,234"), written_number("007")
    (1234.5, 12, None, None)
    """
    match = _WRITTEN.fullmatch(text.strip()) if len(text) < _LONGEST else None
    if match is None:
        return None
    digits = match["sign"] + match["digits"].replace(",", "")
    return float(digits) if "." in digits else int(digits)


def to_number_of(path: str, sample: str) -> str:
    """The expression that makes a number of the text at `path`, of which `sample` is one.

    >>> to_number_of("price", "99"), to_number_of("price", "$99")
    ('to_number(price)', "to_number(replace(price, '$', ''))")
    """
    for sign in dict.fromkeys(re.findall(r"[$€£¥,\s]", sample)):
        path = f"replace({path}, '{sign}', '')"
    return f"to_number({path})"
