"""New processes that need not import everything again, where the system can fork."""

from __future__ import annotations

from multiprocessing import get_all_start_methods, get_context

METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
CONTEXT = get_context(METHOD)
if METHOD == "forkserver":
    CONTEXT.set_forkserver_preload(["pivot_dspy.optimizer.parallel", "tests.habits.tasks"])
