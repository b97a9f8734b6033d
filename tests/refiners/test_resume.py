"""A run that was killed goes on from its journal, and ends as it would have."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dspy
import pytest

from pivot_dspy import ConfigurationError, HumanFeedback, ReviewAwaited, Weights
from pivot_dspy.human.feedback import Approve
from programs.comparison.ablations import PivotWithoutPatches
from tests.refiners.loops import LARGE, MENDED, ONE, REQUEST, RIGHT, WRONG
from tests.refiners.test_pivot_properties import told
from tests.scripted import plan, scripted
from tests.stores import Calls, Store

STEPS = {"plan": plan(WRONG, [LARGE, ONE]), "evolve": MENDED}


def refine(path, model=None, inputs=None, **options):
    """One call with a journal, and how often the model was asked."""
    lm = model or scripted(**STEPS)
    world = options.pop("environment", Store)
    made = PivotWithoutPatches("request -> answer", world, timeout=None, journal=path, **options)
    with dspy.context(lm=lm):
        return made(**(inputs or {"request": REQUEST})), lm.engine.count()


def outcome(result):
    """All that is to be equal: not how long tools took."""
    history = json.dumps([event.model_dump(mode="json") for event in result.history])
    return told(result), result.ledger.phases, re.sub(r'"seconds": [\d.e-]+', "", history)


def test_a_finished_run_asks_nothing_again(tmp_path):
    first, calls = refine(tmp_path)
    again, none = refine(tmp_path)
    assert calls > 0 and none == 0 and outcome(again) == outcome(first)


async def test_what_was_begun_in_one_way_goes_on_in_the_other(tmp_path):
    first, _ = refine(tmp_path)
    lm = scripted()
    with dspy.context(lm=lm):
        made = PivotWithoutPatches("request -> answer", Store, timeout=None, journal=tmp_path)
        again = await made.acall(request=REQUEST)
    assert lm.engine.count() == 0 and outcome(again) == outcome(first)


class Killed(BaseException):
    """As if the process had been killed."""


@pytest.mark.parametrize("after", range(1, 9))
def test_whatever_had_been_answered_is_not_asked_again(tmp_path, after):
    whole, calls = refine(tmp_path / "whole")
    seen = []

    def stop(event):
        seen.append(event)
        if len(seen) == after:
            raise Killed

    killed = scripted(**STEPS)
    with pytest.raises(Killed):
        refine(tmp_path / "killed", killed, on_event=stop)
    resumed, more = refine(tmp_path / "killed", scripted(**{**STEPS, "evolve": [MENDED]}))
    assert killed.engine.count() + more == calls
    assert outcome(resumed) == outcome(whole)


def test_no_read_is_made_again(tmp_path):
    """What changes a trial is: its copies died with the process."""
    made = Calls()
    first, _ = refine(tmp_path, environment=lambda: Store(made))
    reads = [call for call in made if not call.startswith("add")]
    again = Calls()
    result, _ = refine(tmp_path, environment=lambda: Store(again))
    assert len(reads) > 4 and outcome(result) == outcome(first)
    assert all(call.startswith("add") for call in again)


def test_another_task_is_another_run(tmp_path):
    refine(tmp_path)
    _, calls = refine(tmp_path, inputs={"request": "Something else."})
    assert calls > 0 and len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"requirements": ["It is nice."]}, "requirements was none and is It is nice."),
        ({"patience": 7}, "refiner was Pivot"),
        ({"weights": Weights(validity=9.0)}, "weights was"),
    ],
)
def test_other_settings_are_refused_with_the_difference(tmp_path, changed, told):
    refine(tmp_path)
    with pytest.raises(ConfigurationError, match=told):
        refine(tmp_path, **changed)


def test_another_temperature_is_refused(tmp_path):
    refine(tmp_path)
    hotter = scripted(**STEPS).copy(temperature=0.7)
    with pytest.raises(ConfigurationError, match="language models was scripted.* and is scripted"):
        refine(tmp_path, hotter)


def test_two_at_once_on_one_run_are_refused(tmp_path):
    refused = []

    def meanwhile(event):
        if not refused:
            with pytest.raises(ConfigurationError, match="under way in another process or thread") as error:
                refine(tmp_path)
            refused.append(error)

    refine(tmp_path, on_event=meanwhile)
    assert refused


def test_who_answers_later_answers_in_another_process(tmp_path):
    answers = {}

    def later(review):
        if review.id not in answers:
            raise ReviewAwaited(review)
        return answers[review.id]

    first, calls = refine(tmp_path, reviewer=later)
    (review,) = first.awaiting
    answers[review.id] = HumanFeedback.of(Approve())
    lm = scripted()
    made = PivotWithoutPatches("request -> answer", Store, timeout=None, journal=tmp_path, reviewer=later)
    with dspy.context(lm=lm):
        result = made.resume()
    assert result.verified and not result.awaiting and lm.engine.count() == 0
    with pytest.raises(ConfigurationError, match="nothing is left"), dspy.context(lm=lm):
        made.resume()


def test_which_run_goes_on_has_to_be_said_where_several_are_left(tmp_path):
    def later(review):
        raise ReviewAwaited(review)

    for text in (REQUEST, "Another one."):
        refine(tmp_path, inputs={"request": text}, reviewer=later)
    made = PivotWithoutPatches("request -> answer", Store, timeout=None, journal=tmp_path, reviewer=later)
    with pytest.raises(ConfigurationError, match="name one of these by run=.*Another one"):
        made.resume()
    with dspy.context(lm=scripted()):
        assert made.resume(next(tmp_path.iterdir()).name).awaiting
    with pytest.raises(ConfigurationError, match="journal=PATH"):
        PivotWithoutPatches("request -> answer", Store).resume()


KILLABLE = """
import sys, dspy
from tests.refiners.test_resume import REQUEST, STEPS, Slow
from tests.scripted import scripted
from tests.stores import Calls, Store
from programs.comparison.ablations import PivotWithoutPatches
lm = scripted(**STEPS)
lm.engine.complete = Slow(lm.engine.complete, sys.argv[2])
with dspy.context(lm=lm):
    result = PivotWithoutPatches("request -> answer", Store, timeout=None, journal=sys.argv[1])(request=REQUEST)
print(result.toDict()["trajectory"], result.verified)
"""


class Slow:
    """A model that takes its time, and counts its answers in a file before it gives them."""

    def __init__(self, complete, log):
        self.complete, self.log = complete, log

    def __call__(self, request):
        time.sleep(0.1)
        response = self.complete(request)
        with open(self.log, "a") as log:
            log.write("x")
        return response


def run_killable(path: Path, log: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLABLE, str(path), str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_loses_no_answer(tmp_path):
    whole = run_killable(tmp_path / "whole", tmp_path / "whole.log")
    expected, _ = whole.communicate(timeout=60)
    calls = len((tmp_path / "whole.log").read_text())
    assert expected.endswith("True\n")
    rng, log, lost = random.Random(0), tmp_path / "log", 0
    for _ in range(4):
        process = run_killable(tmp_path / "run", log)
        before = log.read_text() if log.exists() else ""
        while process.poll() is None and (log.read_text() if log.exists() else "") == before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
        lost += 1
    resumed = run_killable(tmp_path / "run", log)
    assert resumed.communicate(timeout=60)[0] == expected
    assert len(log.read_text()) <= calls + lost  # an answer that came as the process was killed may not be kept


def test_a_line_that_was_torn_is_passed_over(tmp_path):
    first, calls = refine(tmp_path)
    (folder,) = tmp_path.iterdir()
    (lines,) = folder.glob("*.jsonl")
    written = lines.read_bytes()
    for cut in random.Random(1).sample(range(len(written)), 6):
        lines.write_bytes(written[:cut])
        for other in folder.glob("*.jsonl"):
            if other != lines:
                other.unlink()
        again, more = refine(tmp_path)
        assert told(again) == told(first) and more <= calls


def test_no_key_of_a_model_reaches_the_journal(tmp_path):
    lm = scripted(**STEPS)
    lm.kwargs["api_key"] = "sk-secret"
    refine(tmp_path, lm)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*.jsonl"))
    assert b"sk-secret" not in written and json.loads(written.splitlines()[1])["kind"] == "run"
    assert os.listdir(tmp_path)


def test_right_plans_are_not_asked_for_twice(tmp_path):
    _, calls = refine(tmp_path, scripted(plan=plan(RIGHT, [LARGE, ONE])))
    assert calls == 1
