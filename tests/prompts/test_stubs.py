"""Tools as Python functions in a prompt."""

from typing import Any

from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.prompts.stubs import render_stubs


def test_a_stub_tells_types_defaults_effect_and_what_the_tool_does() -> None:
    def find(words: str, limit: int = 3, color: str | None = None, **more: Any) -> list[str]:
        """Looks for things."""
        return []

    def pay(amount: float) -> None:
        """Settles the bill."""

    toolbox = from_functions([find, pay], effects={"find": "read", "pay": "irreversible"}).toolbox
    assert render_stubs(toolbox, {"answer": str, "count": int}).splitlines() == [
        "def find(words, limit: int=3, color=None, **more) -> [str]  # Looks for things.",
        "def pay(amount: float) -> null  # [held] Settles the bill.",
        "def submit(answer, count: int)  # ends the task with its answer",
    ]
