"""What a refiner has learned from earlier tasks: example trajectories, lessons, notes on tools; and its retrieval."""

from pivot_dspy.memory.fixes import Fix, fixed
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.memory.records import (
    Demonstration,
    Entries,
    Entry,
    Lesson,
    ToolNote,
    environment_name,
    task_text,
)
from pivot_dspy.memory.wording import PromptSection, Retrieved

__all__ = [
    "Demonstration",
    "Entries",
    "Entry",
    "Fix",
    "Lesson",
    "PromptSection",
    "Retrieved",
    "ToolNote",
    "TrajectoryMemory",
    "environment_name",
    "fixed",
    "task_text",
]
