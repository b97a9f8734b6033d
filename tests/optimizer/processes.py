"""New processes that need not import everything again, where the system can fork."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
CONTEXT = get_context(METHOD)
if METHOD == "forkserver":
    CONTEXT.set_forkserver_preload(["pivot_dspy.parallel.running", "tests.habits.tasks"])


def start(target: Callable[[Path, Any], None], folder: Path) -> tuple[BaseProcess, Any]:
    """A process that runs `target` in a folder, and the number of LM calls that it says have begun."""
    folder.mkdir(exist_ok=True)
    begun = CONTEXT.RawValue("i", 0)
    process = CONTEXT.Process(target=target, args=(folder, begun))
    process.start()
    return process, begun
