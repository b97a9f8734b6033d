"""Times of day as minutes from a day's midnight; from 1,440 on they lie on a later day."""

from __future__ import annotations

import re

DAY = 24 * 60


def read_clock(text: str) -> int | None:
    """The minutes of 'H:MM', up to '24:00'; None where the text is no time of day, such as 'Open 24 Hours'.

    >>> read_clock("09:30"), read_clock("24:00"), read_clock("Open 24 Hours")
    (570, 1440, None)
    """
    match = re.fullmatch(r"([0-9]{1,2}):([0-5][0-9])", text.strip())
    minutes = int(match[1]) * 60 + int(match[2]) if match else DAY + 1
    return minutes if minutes <= DAY else None


def clock(minutes: int) -> str:
    """The time of day as 'HH:MM'; which day is not told.

    >>> clock(570), clock(1450)
    ('09:30', '00:10')
    """
    return f"{minutes % DAY // 60:02}:{minutes % 60:02}"


def late_clock(minutes: int) -> str:
    """The same, with the days that lie between after it.

    >>> late_clock(570), late_clock(1450)
    ('09:30', '00:10+1')
    """
    later = minutes // DAY
    return clock(minutes) + (f"+{later}" if later else "")
