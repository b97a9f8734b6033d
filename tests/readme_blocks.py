"""The snippets of the README, for the tests that follow one of them by itself."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def snippet(name: str) -> str:
    """The first Python snippet that has this word."""
    return next(code for language, code in BLOCKS if language == "python" and name in code)
