"""What DSPy lets one see of a run: callbacks, usage, trace, history, and what its cache answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dspy
import pytest
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback

from pivot_dspy import Refined, Step, Trajectory
from tests.habits.tasks import DAYS, VARIED, pivot, request, simulated
from tests.simulator.rooms import REQUEST


class Witness(BaseCallback):
    """Notes what started and ended, by kind and name, and within which call."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[str, str]] = {}
        self.parents: dict[str, str | None] = {}
        self.ended: dict[str, Any] = {}

    def start(self, kind: str, name: str, call_id: str) -> None:
        self.started[call_id] = (kind, name)
        self.parents[call_id] = ACTIVE_CALL_ID.get()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.start("module", type(instance).__name__, call_id)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.start("lm", instance.model, call_id)

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.start("tool", instance.name, call_id)

    def end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        assert call_id not in self.ended
        self.ended[call_id] = exception or outputs

    on_module_end = on_lm_end = on_tool_end = end

    def count(self, kind: str) -> Counter[str]:
        return Counter(name for found, name in self.started.values() if found == kind)

    def within(self, call_id: str) -> list[str]:
        """Names of the calls around a call, innermost first."""
        names = []
        parent = self.parents[call_id]
        while parent is not None:
            names.append(self.started[parent][1])
            parent = self.parents[parent]
        return names


def watched(witness: Witness, asked: dspy.LM) -> Refined:
    with dspy.context(callbacks=[witness]):
        result: Refined = pivot(asked)(request=REQUEST)
    return result


def test_callbacks_see_phases_models_and_tools() -> None:
    witness = Witness()
    result = watched(witness, simulated())
    assert witness.started.keys() == witness.ended.keys()
    modules = witness.count("module")
    assert modules == {"Pivot": 1, "Plan": 1, "Inspect": 3, "Evolve": 1, "Compose": 1, "Verify": 1, "Predict": 4}
    assert witness.count("lm").total() == result.ledger.usage.lm_calls == 4
    assert witness.count("tool").total() == result.ledger.usage.tool_calls
    assert set(witness.count("tool")) == {"list_rooms", "quote", "book_room"}
    for call_id, (kind, name) in witness.started.items():
        around = witness.within(call_id)
        assert (around[-1:] or [name]) == ["Pivot"]
        assert kind != "tool" or around[0] in ("Inspect", "Verify")
        assert kind != "lm" or around[0] == "Predict"


def test_a_failed_tool_call_is_told_to_callbacks() -> None:
    witness = Witness()
    step = Step(id="a", tool="book_room", args={"room_id": "r9", "day": "2026-03-12"})
    with dspy.context(callbacks=[witness]):
        pivot(simulated(), max_iters=0)(request=REQUEST, trajectory=Trajectory(steps=(step,)))
    failed = [value for call, value in witness.ended.items() if witness.started[call] == ("tool", "book_room")]
    assert failed and all(isinstance(value, LookupError) for value in failed)


async def test_callbacks_see_the_same_of_an_awaited_run() -> None:
    before, after = Witness(), Witness()
    watched(before, simulated(**VARIED))
    with dspy.context(callbacks=[after]):
        await pivot(simulated(**VARIED)).acall(request=REQUEST)
    assert after.started.keys() == after.ended.keys()
    for kind in ("module", "lm", "tool"):
        assert after.count(kind) == before.count(kind)


def test_usage_is_tracked_as_of_any_module() -> None:
    lm = simulated(**VARIED)
    with dspy.track_usage() as tracker:
        first = pivot(lm)(request=REQUEST)
    with dspy.context(track_usage=True):
        second = pivot(lm)(request=REQUEST)
    for result, told in ((first, tracker.get_total_tokens()), (second, second.get_lm_usage())):
        booked = result.ledger.usage
        assert told.keys() == {lm.model}
        assert told[lm.model]["prompt_tokens"] == booked.prompt_tokens
        assert told[lm.model]["completion_tokens"] == booked.completion_tokens
    assert lm.engine.calls.prompt_tokens == 2 * first.ledger.usage.prompt_tokens


def test_the_trace_and_the_histories_hold_every_call_of_the_phases() -> None:
    lm = simulated(**VARIED)
    program = pivot(lm)
    names = {id(predictor): name.split(".")[0] for name, predictor in program.named_predictors()}
    with dspy.context(trace=[]):
        results = [program(request=request(day)) for day in DAYS]
        traced = [names[id(predictor)] for predictor, _, _ in dspy.settings.trace]
        inputs = [inputs for _, inputs, _ in dspy.settings.trace]
    assert len(traced) == sum(result.ledger.usage.lm_calls for result in results)
    planned = sum(event.kind == "plan" for result in results for event in result.history)
    assert traced.count("plan") == planned and {"evolve", "compose"} < set(traced)
    plans = [given for name, given in zip(traced, inputs, strict=True) if name == "plan"]
    # A restart goes on after prompts that have told of the request.
    assert [given["request"] for given in plans if "request" in given] == [request(day) for day in DAYS]
    assert len(program.history) == len(lm.history) == len(traced)
    for name in set(traced):
        assert len(getattr(program, name).predict.history) == traced.count(name)
    assert [entry["messages"] for entry in program.history] == [entry["messages"] for entry in lm.history]


@pytest.mark.parametrize("options", [{}, {"candidates": 3}])
def test_a_second_run_is_answered_by_the_cache(options: dict[str, Any]) -> None:
    lm = simulated(cache=True, **VARIED)
    first = pivot(lm, **options)(request=REQUEST)
    asked = lm.engine.calls
    assert asked.lm_calls == first.ledger.usage.lm_calls > 0
    again = pivot(lm, **options)(request=REQUEST)
    assert lm.engine.calls == asked
    assert again.ledger.usage.lm_calls == again.ledger.usage.total_tokens == 0
    assert again.ledger.usage.cache_hits == first.ledger.usage.lm_calls + first.ledger.usage.cache_hits
    for name in ("trajectory", "loss", "verdict", "requirements", "room", "message"):
        assert again[name] == first[name]


def test_inspect_history_shows_the_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    program = pivot(simulated())
    program(request=REQUEST)
    program.inspect_history(n=3)
    shown = capsys.readouterr().out
    assert REQUEST in shown and "open_steps" in shown
