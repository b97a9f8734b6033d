"""The engine behind `dspy.LM`: every way of calling it, saving, caching, counting, waiting and failing."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.clients.cache import Cache
from dspy.streaming import StreamListener, StreamResponse

from pivot_dspy import ConfigurationError, Pivot, Step, Trajectory
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.simulator import AsyncOfflineEngine, OfflineEngine, Rates, Reference, is_simulated, offline_lm
from pivot_dspy.simulator.engine import tokens
from tests.simulator.asking import ADAPTERS, PLAN, TOOLS, asaid, said
from tests.simulator.rooms import DAY, REQUEST, STEPS, Book, Rooms, reference


def model(**options: Any) -> dspy.LM:
    return offline_lm([reference()], **{"slip": 0.0, "cache": False, **options})


async def streamed(predict: dspy.Predict, field: str) -> tuple[str, Any]:
    """What a listener hears of `field`, and the prediction at the end."""
    program = dspy.streamify(predict, stream_listeners=[StreamListener(signature_field_name=field)])
    heard, prediction = "", None
    inputs = dict.fromkeys(predict.signature.input_fields, "-")
    async for piece in program(**{**inputs, "tools": TOOLS, "request": REQUEST}):
        if isinstance(piece, StreamResponse):
            heard += piece.chunk
        elif isinstance(piece, dspy.Prediction):
            prediction = piece
    return heard, prediction


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_sync_async_and_streamed_answers_are_one(adapter: Any) -> None:
    lm = model(slip=0.4)
    with dspy.context(lm=lm, adapter=adapter()):
        plain = said(PLAN, lm, REQUEST)
        awaited = await asaid(PLAN, lm, REQUEST)
        heard, final = await streamed(dspy.Predict(PLAN.append("note", dspy.OutputField(), str)), "note")
    assert plain.toDict() == awaited.toDict()
    assert final.requirements and heard.strip().strip('"') == final.note
    assert lm.engine.calls.lm_calls == 3  # no fallback was needed


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_refiner_runs_on_it_and_its_ledger_agrees(adapter: Any) -> None:
    lm = model(slip=0.3, seed=4)
    pivot = Pivot(Book, Rooms)
    with dspy.context(lm=lm, adapter=adapter()):
        result = pivot(request=REQUEST)
        assert result.ledger.usage.lm_calls == lm.engine.calls.lm_calls
        again = await pivot.acall(request=REQUEST)
    both = result.ledger.usage + again.ledger.usage
    spent = lm.engine.calls
    assert (both.lm_calls, both.prompt_tokens, both.completion_tokens) == (
        spent.lm_calls, spent.prompt_tokens, spent.completion_tokens,
    )  # fmt: skip
    assert result.trajectory.id == again.trajectory.id and result.loss == again.loss


LITERAL = [STEPS[0], {**STEPS[2], "args": {"room_id": "r3", "day": DAY}}, {**STEPS[3], "args": {"room": "r3"}}]
"""The steps with the room by its id, which only a result tells."""
IN_WORDS: dict[str, Any] = {"requirements": [{"id": "R8", "text": "It is a room of the list."}], "truths": {"R8": "r3"}}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("tokens_shown, looks", [(1500, False), (56, True)])
def test_it_goes_on_from_what_it_reads_or_asks_to_see(adapter: Any, tokens_shown: int, looks: bool) -> None:
    lm = offline_lm([reference(steps=LITERAL, serves={}, **IN_WORDS)], slip=0, relapse=0, heed=1, cache=False)
    shown = ObservationBudget(result=tokens_shown, turn=tokens_shown)
    with dspy.context(lm=lm, adapter=adapter()):
        result = Pivot(Book, Rooms, timeout=None, observations=shown)(request=REQUEST)
    assert result.verified and result.room == "r3"
    first, *middle, last = [str(call["outputs"]) for call in lm.history if "steps" in str(call["outputs"])]
    assert not any("r3" in text for text in (first, *middle)) and "r3" in last
    assert ["$a[" in text for text in middle] == [True] * looks


def test_what_no_look_shows_is_made_up() -> None:
    lm = offline_lm([reference(steps=LITERAL, serves={}, requirements=[])], slip=0, relapse=0, heed=1, cache=False)
    blind = ObservationBudget(result=1, turn=1)
    with dspy.context(lm=lm):
        result = Pivot(Book, Rooms, timeout=None, observations=blind, audit="never", restarts=0)(request=REQUEST)
    assert result.room.startswith("room-")


def test_without_noise_the_task_is_done() -> None:
    with dspy.context(lm=model()):
        result = Pivot(Book, Rooms)(request=REQUEST)
    assert result.verified and (result.room, result.message) == ("r3", "Booked r3.")
    assert result.ledger.usage.lm_calls == 3  # a plan, the message composed, and what it says judged
    by = {entry.about: entry.by for entry in result.verdict.established}
    assert by == {"R1": "check", "R2": "check", "step c": "check", "Booked r3.": "judge"}


def test_it_says_that_it_simulates_and_the_name_holds_all_settings() -> None:
    lm = model(slip=0.25, latency=0.5, seed=7)
    assert is_simulated(lm) and is_simulated(lm.copy(temperature=1.0)) and is_simulated(copy.deepcopy(lm))
    assert not is_simulated(dspy.LM("openai/gpt-4o")) and not is_simulated(None)
    shown = "offline/slip=0.25,systematic=0,heed=0.85,relapse=0.05,judge_error=0,latency=0.5,seed=7,refs="
    assert lm.model.startswith(shown)
    changes: list[dict[str, Any]] = [{}, {"steps": STEPS[:3]}, {"truths": {}}]
    names = {offline_lm([reference(**change)]).model for change in changes}
    names.add(offline_lm([reference(revise=lambda sections, steps: steps[::-1])]).model)
    names.add(offline_lm([reference(revise=lambda sections, steps: steps)]).model)
    assert len(names) == 5


def test_a_program_is_saved_and_loaded_with_it(tmp_path: Path) -> None:
    program = dspy.Predict(PLAN)
    program.set_lm(model(slip=0.4, seed=3, temperature=0.0))
    before = program(tools=TOOLS, request=REQUEST)
    program.save(tmp_path / "program.json")
    loaded = dspy.Predict(PLAN)
    with pytest.raises(ValueError, match="allow_unsafe_lm_state"):
        loaded.load(tmp_path / "program.json")
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert is_simulated(loaded.lm) and loaded.lm.model == program.lm.model
    assert loaded(tools=TOOLS, request=REQUEST).toDict() == before.toDict()
    assert asyncio.run(loaded.acall(tools=TOOLS, request=REQUEST)).toDict() == before.toDict()


def test_code_in_a_reference_cannot_be_saved(tmp_path: Path) -> None:
    program = dspy.Predict(PLAN)
    program.set_lm(offline_lm([reference(revise=lambda sections, steps: steps)]))
    with pytest.raises(ConfigurationError, match="set it again after loading"):
        program.save(tmp_path / "program.json")


def test_dspys_cache_answers_a_repeated_call_unless_a_setting_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dspy, "cache", Cache(False, True, "", 0, 100))
    first, twin, other = (model(cache=True, seed=seed) for seed in (0, 0, 1))
    for lm in (first, twin, other):
        said(PLAN, lm, REQUEST)
        said(PLAN, lm, REQUEST)
    assert [lm.engine.calls.lm_calls for lm in (first, twin, other)] == [1, 0, 1]
    said(PLAN, first, REQUEST, config={"temperature": 1.0, "rollout_id": 1})
    said(PLAN, first, REQUEST, config={"temperature": 1.0, "rollout_id": 2})
    assert first.engine.calls.lm_calls == 3


def test_a_sample_is_known_by_its_rollout_id_whatever_was_asked_before() -> None:
    def drawn(*ids: int, lm: dspy.LM) -> dict[int, Any]:
        return {n: said(PLAN, lm, REQUEST, config={"temperature": 1.0, "rollout_id": n}).steps for n in ids}

    first = drawn(1, 2, 3, 4, 5, lm=model(slip=0.5))
    assert len({str(steps) for steps in first.values()}) > 2
    for order in ((5, 3, 1), (2,), (4, 5)):  # as after a restart, where the cache answers for the others
        assert drawn(*order, lm=model(slip=0.5)) == {n: first[n] for n in order}
    fixed = model(slip=0.5).copy(temperature=1.0, rollout_id=4)  # as DSPy's own BestOfN and Refine set it
    assert said(PLAN, fixed, REQUEST).steps == first[4]
    assert asyncio.run(asaid(PLAN, fixed.copy(rollout_id=5), REQUEST)).steps == first[5]
    assert said(PLAN, pickle.loads(pickle.dumps(fixed)), REQUEST).steps == first[4]
    again = model(slip=0.5)
    assert drawn(1, lm=again) == drawn(1, lm=again) == {1: first[1]}  # without a cache as with one


def test_copies_share_the_counters() -> None:
    lm = model()
    for one in (lm, lm.copy(), copy.deepcopy(lm), dspy.Predict(PLAN).deepcopy() and lm):
        said(PLAN, one, REQUEST)
    assert lm.engine.calls.lm_calls == 4
    assert pickle.loads(pickle.dumps(lm.engine)).name == lm.engine.name


def test_counting_is_right_under_threads_and_tokens_are_characters() -> None:
    lm = model()
    [text] = lm("What now?")
    assert lm.engine.calls.prompt_tokens == tokens("What now?") == 3
    assert lm.engine.calls.completion_tokens == tokens(text) == -(-len(text) // 4)
    threads = [threading.Thread(target=lambda: [lm("What now?") for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lm.engine.calls.lm_calls == 161 and lm.engine.calls.prompt_tokens == 161 * 3


async def test_waiting_overlaps_when_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = model(latency=0.2)
    waits: list[float] = []
    together = asyncio.Event()

    async def until_five_wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 5:
            together.set()
        await together.wait()

    monkeypatch.setattr("pivot_dspy.simulator.engine.asyncio", SimpleNamespace(sleep=until_five_wait))
    monkeypatch.setattr("pivot_dspy.simulator.engine.time", SimpleNamespace(sleep=waits.append))
    await asyncio.wait_for(asyncio.gather(*(asaid(PLAN, lm, REQUEST) for _ in range(5))), 20)
    said(PLAN, lm, REQUEST)
    assert waits == [0.2] * 6


def test_an_answer_over_max_tokens_is_cut_off() -> None:
    lm = model(max_tokens=20)
    [text] = lm("```\n" + "word " * 100 + "\n```")
    assert tokens(text) == 20 == lm.engine.calls.completion_tokens
    assert lm.history[-1]["response"].finish_reason == "length"
    with pytest.raises(dspy.utils.exceptions.AdapterParseError):
        said(PLAN, lm, REQUEST)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(dspy.LMInvalidRequestError, match="empty"):
        model()(" ")


@pytest.mark.parametrize(
    "options", [{"slip": 1.5}, {"heed": -0.1}, {"latency": -1}, {"seed": "x"}, {"judge_error": None}]
)
def test_rates_out_of_range_are_refused(options: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        offline_lm([], **options)


def test_references_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="Reference"):
        offline_lm([{"match": "x"}])  # type: ignore[list-item]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"match": " "}, "match is empty"),
        ({"steps": [{"tool": "x"}]}, "a step needs"),
        ({"steps": [STEPS[0], STEPS[0]], "serves": {}}, "two steps"),
        ({"serves": {"zz": "R1"}}, "serves names 'zz'"),
        ({"requirements": [{"text": "x"}]}, "every requirement"),
        ({"outputs": {"x": {1, 2}}}, "plain JSON"),
    ]
    for change, told in wrong:
        with pytest.raises(ValueError, match=told):
            reference(**change)


def test_state_goes_to_json_and_back() -> None:
    engine = OfflineEngine([reference()], Rates(slip=0.3, seed=5))
    loaded = AsyncOfflineEngine.load_state(AsyncOfflineEngine(engine).dump_state()).engine
    assert loaded.name == engine.name and loaded.rates == engine.rates
    assert isinstance(loaded.references[0], Reference) and loaded.references[0].requirements_of("a") == ("R1", "R2")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_was_read_amiss_is_read_again_under_another_id(adapter: Any) -> None:
    wrong = Trajectory(steps=(Step(id="a", tool="list_floors", args={"day": DAY}),))
    lm = offline_lm([reference(steps=LITERAL, serves={}, requirements=[])], slip=0, relapse=0, heed=1, cache=False)
    with dspy.context(lm=lm, adapter=adapter()):
        result = Pivot(Book, Rooms, timeout=None)(request=REQUEST, trajectory=wrong)
    assert result.room == "r3" and {"a", "a_again"} <= {*result.trajectory.ids}
