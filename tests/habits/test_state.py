"""State: saved and loaded, copied, with its model set and read; and nothing of a call stays on the module."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest

from pivot_dspy import CommitError, ConfidenceGate, ConfigurationError, Pivot, Refined
from tests.habits.tasks import pivot, simulated
from tests.simulator.rooms import REQUEST, Book, Rooms


def test_state_goes_to_json_and_into_a_fresh_program(tmp_path: Path) -> None:
    lm = simulated()
    program = pivot()
    program.plan.predict.signature = program.plan.predict.signature.with_instructions("Plan with care.")
    program.evolve.predict.demos = [dspy.Example(request="x", diagnosis="y", steps=[])]
    program.save(tmp_path / "state.json")
    text = (tmp_path / "state.json").read_text(encoding="utf-8")
    assert "list_rooms" not in text and "Rooms" not in text  # the environment is not part of it

    fresh = pivot()
    fresh.load(tmp_path / "state.json")
    assert fresh.dump_state() == program.dump_state()
    with dspy.context(lm=lm):
        assert fresh(request=REQUEST).trajectory == program(request=REQUEST).trajectory


def test_state_with_a_model_is_loaded_only_where_it_is_trusted(tmp_path: Path) -> None:
    program = pivot(simulated())
    program.save(tmp_path / "state.json")
    fresh = pivot()
    with pytest.raises(ValueError, match="allow_unsafe_lm_state=True"):
        fresh.load(tmp_path / "state.json")
    fresh.load(tmp_path / "state.json", allow_unsafe_lm_state=True)
    assert fresh(request=REQUEST).trajectory == program(request=REQUEST).trajectory


def test_state_of_another_signature_is_refused(tmp_path: Path) -> None:
    state = pivot().dump_state()
    del state["plan.predict"]
    with pytest.raises(ConfigurationError, match=r"not that of this Pivot: it has no plan.predict, only tuned, .*"):
        pivot().load_state(state)
    dspy.Predict("question -> answer").save(tmp_path / "state.json")
    for program in (pivot(), ConfidenceGate(pivot(), 0.5)):
        before = program.dump_state()
        with pytest.raises(ConfigurationError, match="it has no .*plan.predict.*, only traces, train, demos"):
            program.load(tmp_path / "state.json")
        assert program.dump_state() == before


def test_a_whole_program_is_saved_and_loaded(tmp_path: Path) -> None:
    program = pivot(simulated(), max_iters=5)
    before = program(request=REQUEST)
    program.save(tmp_path / "program", save_program=True)
    loaded = dspy.load(tmp_path / "program", allow_pickle=True)
    assert isinstance(loaded, Pivot) and loaded.max_iters == 5
    assert loaded(request=REQUEST).trajectory == before.trajectory


@pytest.mark.parametrize("copied", [copy.deepcopy, Pivot.deepcopy])
def test_a_copy_is_independent_and_gives_the_same(copied: Any) -> None:
    program = pivot(simulated(), candidates=2, max_iters=5)
    twin = copied(program)
    assert (twin.candidates, twin.max_iters) == (2, 5)
    assert twin(request=REQUEST).trajectory == program(request=REQUEST).trajectory
    twin.plan.predict.demos = [dspy.Example(request="x", requirements=[], steps=[])]
    twin.plan.predict.signature = twin.plan.predict.signature.with_instructions("Other words.")
    assert not program.plan.predict.demos and program.dump_state() != twin.dump_state()


def test_reset_copy_forgets_what_was_learnt() -> None:
    program = pivot(simulated())
    program.plan.predict.demos = [dspy.Example(request="x", requirements=[], steps=[])]
    blank = program.reset_copy()
    assert not blank.plan.predict.demos and blank.get_lm() is None
    assert program.plan.predict.demos and program.get_lm() is not None


def test_the_model_is_set_read_and_taken_from_the_context() -> None:
    first, second = simulated(), simulated(slip=0.0)
    program = pivot()
    with dspy.context(lm=first):
        assert program(request=REQUEST).verified
    assert first.engine.calls.lm_calls == 4
    program.set_lm(second)
    assert program.get_lm() is second
    with dspy.context(lm=first):
        assert program(request=REQUEST).verified  # its own comes before that of the context
    assert (first.engine.calls.lm_calls, second.engine.calls.lm_calls) == (4, 3)
    program.evolve.predict.lm = first
    with pytest.raises(ValueError, match="Multiple LMs"):
        program.get_lm()


def test_nothing_of_a_call_stays_on_the_module() -> None:
    made: weakref.WeakSet[Rooms] = weakref.WeakSet()
    others = set(threading.enumerate())  # what other tests have left hanging

    class Watched(Rooms):
        def __init__(self) -> None:
            super().__init__()
            made.add(self)

    program = Pivot(Book, Watched)
    program.set_lm(simulated())
    program(request=REQUEST)  # what is looked up once, like the tier, is known from now on
    before = _attributes(program)
    result = program(request=REQUEST)
    assert _attributes(program) == before
    reference = weakref.ref(result)
    program.history.clear()
    del result
    gc.collect()
    assert reference() is None and not made
    for thread in set(threading.enumerate()) - others:
        if thread.name == "pivot-environment":
            thread.join(timeout=2.0)
            assert not thread.is_alive()


def _attributes(program: dspy.Module) -> dict[str, int]:
    """The identity of everything on a program and its parts, but for DSPy's own history."""
    return {
        f"{path}.{name}": id(value)
        for path, module in program.named_sub_modules()
        for name, value in vars(module).items()
        if name != "history"
    }


def test_records_go_to_json_and_to_other_processes() -> None:
    result = pivot(simulated())(request=REQUEST)
    records = [
        *(result[name] for name in ("trajectory", "execution", "loss", "verdict", "requirements", "ledger")),
        *result.findings,
        *result.history,
    ]
    for record in records:
        assert type(record).model_validate_json(record.model_dump_json()) == record
        assert pickle.loads(pickle.dumps(record)) == record
    assert cloudpickle.loads(cloudpickle.dumps(result.history)) == result.history


def test_a_pickled_result_is_a_record_that_cannot_be_committed() -> None:
    result = pivot(simulated())(request=REQUEST)
    for module in (pickle, cloudpickle):
        twin: Refined = module.loads(module.dumps(result))
        assert isinstance(twin, Refined) and twin.toDict() == result.toDict()
        with pytest.raises(CommitError, match="a copy of a result"):
            twin.commit()
    assert result.commit().outputs["room"] == "r3"
