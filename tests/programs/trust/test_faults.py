"""The faults of `programs.trust.faults`: a slice of the series, and that it finds what it looks for."""

from __future__ import annotations

import logging

import pytest

from pivot_dspy import Refiner
from programs.trust import faults
from programs.trust.faulty import MODEL_FAULTS, Faults

SLICE = 100


@pytest.fixture(autouse=True)
def _quiet():
    levels = {name: logging.getLogger(name).level for name in ("pivot_dspy", "dspy")}
    faults.quietly(levels)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_whatever_fails_nothing_escapes_and_nothing_is_lost():
    report = faults.measure(SLICE, seed=11)
    assert [outcome for outcome in report.outcomes if not outcome.is_right] == []
    figures = report.figures
    assert figures["runs"] == SLICE and figures["runs with a fault"] > SLICE / 2
    assert sum(row["runs"] for row in report.rows) > SLICE


class Careless(Refiner):
    """Loses what it has where the model fails."""

    def search(self, episode, start):
        first = episode.decide(None, (yield from episode.inspect((yield from episode.plan()))))
        raise KeyError(f"lost {first}")


def test_what_is_lost_and_what_escapes_is_seen(monkeypatch):
    monkeypatch.setattr(faults, "REFINERS", {"careless": Careless})
    report = faults.measure(12, seed=1)
    lost = [outcome for outcome in report.outcomes if outcome.lost]
    assert lost and all(outcome.error == "KeyError" and "lost" in outcome.trace for outcome in lost)
    assert report.figures["undocumented exceptions"] == report.figures["best so far lost"] == len(lost)


def test_the_same_number_draws_the_same_faults():
    sources = [Faults(7, {"model": 0.5}, None, can_hang=False) for _ in range(2)]
    drawn = [[source.of_model() for _ in range(20)] for source in sources]
    assert drawn[0] == drawn[1] and set(drawn[0]) - {None} <= set(MODEL_FAULTS)
