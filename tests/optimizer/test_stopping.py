"""A compilation that is ended early: by a function, by the clock, by a kill; and what it had reached."""

from __future__ import annotations

import dspy
import pytest

from pivot_dspy import ConfigurationError, PivotOptimizer
from tests.habits.tasks import pivot, simulated
from tests.optimizer.compiling import HABITS, TRAIN, VAL, compiled, told


def test_it_ends_where_a_function_says_so_with_what_was_reached():
    seen = []

    def stop(progress):
        seen.append(progress)
        return progress.runs >= len(VAL) + 1

    program = compiled(stop=stop)
    assert program.detailed_results.stopped == "stopped" and seen[-1].runs == program.detailed_results.runs
    assert program.detailed_results.runs < compiled().detailed_results.runs


def test_it_ends_by_the_clock():
    assert compiled(max_seconds=1e-6).detailed_results.stopped == "stopped"


def test_it_tells_how_far_it_is():
    seen = []
    program = compiled(on_progress=seen.append)
    assert max(progress.runs for progress in seen) == program.detailed_results.runs
    assert all(progress.title for progress in seen)


def best(folder, **options):
    optimizer = PivotOptimizer(track_stats=True, num_threads=4, display_progress=False, log_dir=folder, **options)
    lm = simulated(cache=True, **HABITS)
    with dspy.context(lm=lm):
        program = optimizer.best_from(pivot(), trainset=TRAIN, valset=VAL)
    return program, lm.engine.calls.lm_calls


def test_the_best_of_an_unfinished_compilation_costs_nothing(tmp_path):
    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.runs > len(VAL) + len(TRAIN) + 2:
            raise Killed

    with pytest.raises(Killed):
        compiled(log_dir=tmp_path, stop=kill)
    program, calls = best(tmp_path)
    assert calls == 0 and program.detailed_results.runs > len(VAL)
    assert program.detailed_results.stopped == "not run further"


def test_the_best_of_a_finished_one_is_what_was_compiled(tmp_path):
    whole = compiled(log_dir=tmp_path)
    program, calls = best(tmp_path)
    assert calls == 0 and told(program)[1] == told(whole)[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"stop": 3}, "stop is a function"), ({"max_seconds": 0}, "above 0"), ({"on_progress": "x"}, "on_progress is a")],
)
def test_what_cannot_work_is_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        PivotOptimizer(**options)
    with pytest.raises(ConfigurationError, match="no compilation"):
        best(None)


def test_nobody_is_asked_in_compiling_and_no_journal_is_kept(tmp_path):
    asked = []
    watched = compiled(student=pivot(reviewer=asked.append, journal=tmp_path / "runs"))
    assert asked == [] and not (tmp_path / "runs").exists()
    assert watched.detailed_results.after == compiled().detailed_results.after
