"""The gate's threshold: calibrated, saved, of stated confidences or of log-probabilities."""

from __future__ import annotations

import json
import statistics

import dspy
import pytest

from pivot_dspy import ConfidenceGate, ConfigurationError, MajorityOfN, Pivot, PlanExecute
from pivot_dspy.refiners.confidence_gate import STATED_FORM
from pivot_dspy.simulator import OfflineEngine, Rates
from tests.habits.tasks import examples, request, simulated
from tests.openai_server import OpenAIServer
from tests.refiners.loops import REQUEST, RIGHT, WRONG
from tests.refiners.test_base import state_of
from tests.refiners.test_confidence_gate import SURE, planned, rated
from tests.scripted import GARBAGE, plan, rewrite, scripted
from tests.simulator.rooms import REQUEST as ROOM
from tests.simulator.rooms import Book, Rooms
from tests.simulator.rooms import reference as room_reference
from tests.stores import Store

# ---------------------------------------------------------------------------------------------------------- calibration


def lows(gate, tasks):
    """The lowest stated confidence of each plan, in the order in which the wrapped refiner makes them."""
    found = []
    for task in tasks:
        for event in ConfidenceGate(gate.refiner, 0.0, stated=False)(**task).history:
            if event.kind == "plan":
                found.append(min(one.confidence.value for one in event.trajectory.steps))
    return found


def test_the_threshold_is_a_percentile_of_the_warm_up_traces():
    tasks = [{"request": f"{REQUEST} {n}"} for n in range(9)]

    def answer(prompt):  # two plans a task: one that is wrong and unsure, one that is right
        number = int(prompt.section("request").split()[-1])
        return planned(0.9, 0.9 - number / 20, 0.95, 1.0, steps=RIGHT if prompt.temperature == 1.0 else WRONG)

    made = MajorityOfN("request -> answer", Store, timeout=None, N=2)
    gate = ConfidenceGate(made, warmup=16)
    assert gate.threshold is None
    with dspy.context(lm=scripted(plan=answer)):
        found = gate.calibrate(dspy.Example(**task, gold=1).with_inputs("request") for task in tasks)
        expected = lows(gate, tasks)[:16]
    deciles = statistics.quantiles(expected, n=10, method="inclusive")
    assert len(expected) == 16 and found == gate.threshold == pytest.approx(deciles[0])
    assert gate.calibrated.source == "stated"


async def test_calibration_may_be_awaited_and_gates_what_follows():
    gate = ConfidenceGate(PlanExecute("request -> answer", Store, timeout=None), warmup=3, percentile=50)
    with dspy.context(lm=scripted(plan=[planned(0.9, value, 0.9, 0.9) for value in (0.2, 0.6, 0.8, 0.59, 0.6)])):
        assert await gate.acalibrate([{"request": REQUEST}] * 3) == 0.6
        assert not gate(request=REQUEST).verified and gate(request=REQUEST).verified


def test_a_task_without_a_plan_does_not_end_calibration(caplog):
    gate = ConfidenceGate(PlanExecute("request -> answer", Store, timeout=None), warmup=1)
    with dspy.context(lm=scripted(plan=[*[GARBAGE] * 2, planned(0.9, 0.7, 0.9, 0.9)])):
        assert gate.calibrate([{"request": REQUEST}] * 2) == 0.7
    assert "no trace of a task" in caplog.text


def test_rewrites_are_no_traces():
    gate = ConfidenceGate(Pivot("request -> answer", Store, timeout=None), warmup=2)
    said = {"plan": planned(0.7, 0.9, 0.9, 0.9, steps=WRONG), "evolve": rewrite(rated(RIGHT, (0.1, 0.9, 0.9, 0.9)))}
    with dspy.context(lm=scripted(**said)):
        assert gate.calibrate([{"request": REQUEST}] * 2) == 0.7


def test_it_is_saved_and_loaded(tmp_path):
    def made():
        return ConfidenceGate(PlanExecute("request -> answer", Store, timeout=None), warmup=1)

    gate = made()
    with dspy.context(lm=scripted(plan=planned(0.9, 0.7, 0.9, 0.9))):
        gate.calibrate([{"request": REQUEST}])
    gate.save(tmp_path / "gate.json")
    fresh = made()
    fresh.load(tmp_path / "gate.json")
    assert fresh.threshold == 0.7 and fresh.calibrated.source == "stated" and fresh.dump_state() == gate.dump_state()
    assert gate.deepcopy().threshold == 0.7 and gate.reset_copy().threshold is None
    with dspy.context(lm=scripted(plan=[planned(0.9, 0.69, 0.9, 0.9), planned(0.9, 0.7, 0.9, 0.9)])):
        assert not fresh(request=REQUEST).verified and fresh(request=REQUEST).verified


def test_a_whole_program_is_saved_and_loaded(tmp_path):
    gate = ConfidenceGate(PlanExecute(Book, Rooms), 0.61)
    gate.set_lm(simulated(slip=0.5))
    gate.save(tmp_path / "program", save_program=True)
    loaded = dspy.load(tmp_path / "program", allow_pickle=True)
    days = [task.request for task in examples()]
    assert [loaded(request=day).trajectory for day in days] == [gate(request=day).trajectory for day in days]


def test_a_call_leaves_nothing_on_the_module():
    gate = ConfidenceGate(MajorityOfN(Book, Rooms), 0.6)
    with dspy.context(lm=simulated(slip=0.4)):
        gate(request=request("2026-03-13"))
        before = state_of(gate)
        gate(request=request("2026-03-12"))
    assert state_of(gate) == before


# ---------------------------------------------------------------------------------------------------- log-probabilities


@pytest.fixture
def server():
    with OpenAIServer(OfflineEngine([room_reference()], Rates(slip=0.0))) as running:
        yield running


def model(server, **options):
    options = {"logprobs": True, "top_logprobs": 20, **options}
    return dspy.LM("openai/loopback", api_base=server.url, api_key="x", cache=False, num_retries=0, **options)


def blurred(piece):
    """A clarity that is low inside the first occurrence of `piece` in an answer."""

    def clarity(text, place):
        start = text.find(piece)
        return 2.0 if 0 <= start <= place < start + len(piece) else 10.0

    return clarity


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter])
async def test_log_probabilities_come_through_dspy(server, adapter):
    server.clarity = blurred('"tool": "quote"')
    gate = ConfidenceGate(PlanExecute(Book, Rooms), 8.0, window=4, stated=False)
    with dspy.context(lm=model(server), adapter=adapter()):
        results = [gate(request=ROOM), await gate.acall(request=ROOM)]
    body = server.requests[0]
    assert body["logprobs"] is True and body["top_logprobs"] == 20 and STATED_FORM not in json.dumps(body)
    for result in results:
        rated_steps = {one.tool: one.confidence for one in result.trajectory.steps}
        assert all(one.source == "tokens" for one in rated_steps.values())
        assert rated_steps["list_rooms"].value == 10.0 and rated_steps["quote"].value < 8.0
        assert not result.verified
        first, *others = result.execution.observations
        assert first.ok and others[0].status == "error" and all(o.calls == 0 for o in others)


def test_log_probabilities_count_before_what_is_stated_and_are_calibrated(server):
    gate = ConfidenceGate(PlanExecute(Book, Rooms), warmup=2)
    with dspy.context(lm=model(server)):
        assert gate.calibrate([{"request": ROOM}] * 2) == pytest.approx(10.0) and gate.calibrated.source == "tokens"
        assert gate(request=ROOM).verified
        server.clarity = blurred('"args"')
        assert not gate(request=ROOM).verified
    other = ConfidenceGate(PlanExecute(Book, Rooms))
    other.load_state(gate.dump_state())
    with (
        dspy.context(lm=model(server, logprobs=None, top_logprobs=None)),
        pytest.raises(ConfigurationError, match="of its log-probabilities, and those of this model are stated by"),
    ):
        other(request=ROOM)


def test_log_probabilities_without_alternatives_tell_nothing(server):
    gate = ConfidenceGate(PlanExecute(Book, Rooms), 5.0)
    with (
        dspy.context(lm=model(server, top_logprobs=None)),
        pytest.raises(ConfigurationError, match=r"ask for alternatives: dspy.LM\(.*top_logprobs=20"),
    ):
        gate(request=ROOM)


# --------------------------------------------------------------------------------------------------------------- errors


def test_without_a_threshold_a_call_is_refused():
    gate = ConfidenceGate(PlanExecute("request -> answer", Store))
    lm = scripted(plan=planned(*SURE))
    with dspy.context(lm=lm), pytest.raises(ConfigurationError, match=r"no threshold yet; call calibrate\(tasks\)"):
        gate(request=REQUEST)
    assert lm.engine.count() == 0


def test_too_few_traces_are_refused():
    gate = ConfidenceGate(PlanExecute("request -> answer", Store, timeout=None), stated=False)
    with (
        dspy.context(lm=scripted(plan=plan(RIGHT))),
        pytest.raises(ConfigurationError, match=r"found 0 traces with a confidence, and takes 16; pass more tasks"),
    ):
        gate.calibrate([{"request": REQUEST}] * 3)
    assert gate.threshold is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"threshold": -0.1}, "threshold is at least 0"),
        ({"threshold": float("nan")}, "threshold is at least 0"),
        ({"top_k": 1}, "top_k is at least 2"),
        ({"window": 0}, "window is at least 1"),
        ({"warmup": 0}, "warmup is at least 1"),
        ({"percentile": 101}, r"percentile lies in \[0, 100\]"),
    ],
)
def test_arguments_that_cannot_work(options, problem):
    refiner = PlanExecute("request -> answer", Store)
    with pytest.raises(ConfigurationError, match=problem):
        ConfidenceGate(refiner, **options)


def test_only_a_refiner_is_wrapped():
    gate = ConfidenceGate(PlanExecute("request -> answer", Store), 0.5)
    for wrong in (gate, dspy.Predict("q -> a"), PlanExecute):
        with pytest.raises(ConfigurationError, match="wraps a refiner"):
            ConfidenceGate(wrong)
