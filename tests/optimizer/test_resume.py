"""Killed at random moments, a run goes on from its journal and DSPy's cache: the same end, no LM call made twice."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import dspy
from diskcache import FanoutCache
from dspy.utils.callback import BaseCallback

from pivot_dspy import Pivot
from pivot_dspy.journal import Journal
from pivot_dspy.parallel.running import run_all
from tests.habits.tasks import VARIED, examples, pivot, simulated
from tests.optimizer.processes import start

THREADS = 4


def refine(program: Pivot, numbered: tuple[int, dspy.Example]) -> dict[str, Any]:
    result = program(**numbered[1].inputs())
    events = [event.kind for event in result.history]
    return {"trajectory": result.trajectory.id, "loss": result.loss.total, "events": events}


class Count(BaseCallback):  # type: ignore[misc]
    """Tells another process how many LM calls have begun."""

    def __init__(self, begun: Any) -> None:
        self.begun = begun

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.begun.value += 1


def run(folder: Path, begun: Any) -> None:
    """What a compile does with a `log_dir`: what the journal has is not done again."""
    dspy.configure_cache(enable_disk_cache=True, enable_memory_cache=True, disk_cache_dir=str(folder / "cache"))
    lm = simulated(cache=True, latency=0.02, **VARIED)
    with Journal(folder / "journal") as journal:
        tasks = [item for item in enumerate(examples()) if journal.get("task", str(item[0])) is None]

        def on_done(position: int, result: dict[str, Any]) -> None:
            journal.append("task", str(tasks[position][0]), result)

        with dspy.context(callbacks=[Count(begun)]):
            run_all(None, tasks, partial(refine, pivot(lm, candidates=2)), on_done=on_done, num_threads=THREADS)
        journal.append("end", "calls", {"made": lm.engine.calls.lm_calls})


def stored(folder: Path) -> int:
    """LM calls that had finished, and so are in the cache."""
    if not (folder / "cache").exists():
        return 0
    with FanoutCache(str(folder / "cache"), shards=16) as cache:
        return len(cache)


def ends(folder: Path) -> tuple[dict[str, Any], int]:
    """The journal's results, and the LM calls that the last process made."""
    journal = Journal(folder / "journal")
    last = journal.get("end", "calls")
    assert last is not None
    return dict(sorted(journal.items("task"))), last["made"]


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    start(run, whole)[0].join()
    expected, calls = ends(whole)
    assert len(expected) == len(examples()) and calls == stored(whole) > 20
    rng = random.Random(7)
    killed = tmp_path / "killed"
    finished = [0]
    while len(finished) <= 4:
        process, begun = start(run, killed)
        later = finished[-1] + rng.randint(0, 8)  # the cache answers those that had finished
        while process.is_alive() and begun.value < later:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.03))
        process.kill()
        process.join()
        if process.exitcode == 0:  # through before it could be killed: another run, then
            assert ends(killed) == (expected, calls - finished[-1])
            killed, finished[-1] = tmp_path / f"killed{rng.random()}", 0
        else:
            finished.append(stored(killed))
            assert finished[-1] >= finished[-2]
    start(run, killed)[0].join()
    assert ends(killed) == (expected, calls - finished[-1]) and stored(killed) == calls
