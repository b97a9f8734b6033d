"""Killed ten times at random moments, a compilation ends as if it had not been, and makes no LM call twice."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import dspy

from tests.habits.tasks import simulated
from tests.optimizer.compiling import HABITS, compiled, told
from tests.optimizer.processes import start
from tests.optimizer.test_resume import Count, stored

KILLS = 10


def compile_in(folder: Path, begun: Any) -> None:
    dspy.configure_cache(enable_disk_cache=True, enable_memory_cache=True, disk_cache_dir=str(folder / "cache"))
    lm = simulated(cache=True, latency=0.01, **HABITS)
    with dspy.context(callbacks=[Count(begun)]):
        program = compiled(lm=lm, log_dir=folder / "log", max_tasks=24)
    end = {"told": told(program), "made": lm.engine.calls.lm_calls}
    (folder / "end.json").write_text(json.dumps(end, default=str), encoding="utf-8")


def ends(folder: Path) -> tuple[Any, int]:
    end = json.loads((folder / "end.json").read_text(encoding="utf-8"))
    return end["told"], end["made"]


def test_ten_kills_change_nothing_and_cost_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    start(compile_in, whole)[0].join()
    expected, calls = ends(whole)
    assert calls == stored(whole) > 30
    rng = random.Random(11)
    folder = tmp_path / "killed"
    for kill in range(1, KILLS + 1):
        process, begun = start(compile_in, folder)
        later = rng.randint(1, 1 + calls // KILLS)  # what the cache answers is counted too
        while process.is_alive() and begun.value < later and stored(folder) < calls * kill // (KILLS + 1):
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode != 0 and not (folder / "end.json").exists()
    before = stored(folder)
    assert 0 < before < calls
    start(compile_in, folder)[0].join()
    assert ends(folder) == (expected, calls - before) and stored(folder) == calls
