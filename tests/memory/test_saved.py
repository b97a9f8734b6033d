"""The saved form of a memory, and what becomes of one that cannot be read."""

from __future__ import annotations

import copy
import json
import pickle

import dspy
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import ConfidenceGate, Entries, Pivot, TrajectoryMemory
from pivot_dspy.errors import ConfigurationError
from tests.memory.entries import ENTRIES, SIZES, collections
from tests.stores import Store

OFTEN = settings(max_examples=20, deadline=None)


SETTINGS = TrajectoryMemory().settings
NONE = Entries().model_dump()


def pivot() -> Pivot:
    return Pivot("request -> answer", Store)


@OFTEN
@given(entries=collections, sizes=st.tuples(*[st.integers(0, 99)] * 4))
def test_what_is_saved_is_what_is_loaded(entries, sizes):
    limits = dict(zip(("demonstrations", "lessons", "notes", "max_tokens"), sizes, strict=True))
    state = orjson.loads(orjson.dumps(TrajectoryMemory(entries, **limits).dump_state()))
    loaded = TrajectoryMemory()
    loaded.load_state(state)
    assert loaded.entries == entries and loaded.settings == limits and loaded.dump_state() == state


def test_it_is_part_of_a_refiner_in_json_and_as_a_whole_program(tmp_path):
    made = pivot()
    made.memory.entries, made.memory.lessons = ENTRIES, 3
    made.save(tmp_path / "pivot.json")
    text = (tmp_path / "pivot.json").read_text()
    assert json.loads(text)["memory"]["format"] == 3 and '"mistake": "it was written small"' in text
    loaded = pivot()
    loaded.load(tmp_path / "pivot.json")
    made.save(tmp_path / "program", save_program=True)
    for again in (loaded, dspy.load(tmp_path / "program", allow_pickle=True), pickle.loads(pickle.dumps(made.memory))):
        memory = again if isinstance(again, TrajectoryMemory) else again.memory
        assert memory.entries == ENTRIES and memory.lessons == 3
        assert memory.retrieve("x", "Store").ids == made.memory.retrieve("x", "Store").ids


def test_it_is_found_inside_a_larger_program(tmp_path):
    class Larger(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = ConfidenceGate(pivot(), 0.5)

    made, loaded = Larger(), Larger()
    made.inner.refiner.memory.entries = ENTRIES
    made.save(tmp_path / "larger.json")
    loaded.load(tmp_path / "larger.json")
    assert loaded.inner.refiner.memory.entries == ENTRIES


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path):
    made = pivot()
    made.memory.entries = ENTRIES
    made.save(tmp_path / "pivot.json")
    state = json.loads((tmp_path / "pivot.json").read_text())
    state["memory"]["entries"]["lessons"][1]["avoid"] = 7
    (tmp_path / "pivot.json").write_text(json.dumps(state))
    loaded = pivot()
    with pytest.raises(ConfigurationError, match=r"damaged at memory\.entries\.lessons\[1\]\.avoid: .*string, got 7"):
        loaded.load(tmp_path / "pivot.json")
    assert loaded.memory.entries == Entries()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 4}, "in format 4, .*reads format 3; load it with the version that saved it"),
        ({"format": 2}, "in format 2.*compile the refiner again"),
        ({"format": None}, "damaged at memory.format"),
        ({"format": True}, "damaged at memory.format"),
        ({"settings": {"lessons": 3}}, "damaged at memory.settings.demonstrations: Field required"),
        ({"settings": {**SETTINGS, "x": 1}}, "damaged at memory.settings.x: Extra inputs are not permitted"),
        (
            {"settings": {**SETTINGS, "max_tokens": "all"}},
            "damaged at memory.settings.max_tokens: Input should be a valid integer, got 'all'",
        ),
        ({"settings": {**SETTINGS, "notes": -1}}, "damaged at memory.settings.notes: .*greater than or equal to 0"),
        ({"settings": {**SETTINGS, "notes": True}}, "damaged at memory.settings.notes: .*valid integer, got True"),
        ({"entries": None}, "damaged at memory.entries: Input should be a valid dictionary"),
        ({"entries": {**NONE, "steps": []}}, "damaged at memory.entries.steps: "),
        ({"entries": {**NONE, "lessons": {}}}, "damaged at memory.entries.lessons: "),
        ({"entries": {**NONE, "lessons": [{}]}}, r"at memory.entries.lessons\[0\].environment: Field required.*3 more"),
        ({"extra": 1}, "damaged at memory.extra: Extra inputs are not permitted, got 1; correct it there, or"),
    ],
)
def test_the_message_says_where_and_what_to_do(change, said):
    memory = TrajectoryMemory(ENTRIES)
    with pytest.raises(ConfigurationError, match=said):
        TrajectoryMemory().load_state({**memory.dump_state(), **change})


def places(value, path=()):
    """Every place in a JSON value, by its path."""
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in found:
        yield (*path, key)
        yield from places(inner, (*path, key))


STATE = TrajectoryMemory(ENTRIES).dump_state()


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(list(places(STATE))), junk=st.none() | st.integers() | st.text(max_size=3) | st.just([{}]),
       drop=st.booleans())  # fmt: skip
def test_a_damaged_place_is_loaded_whole_or_named(path, junk, drop):
    state = copy.deepcopy(STATE)
    parent = state
    for key in path[:-1]:
        parent = parent[key]
    if drop:
        del parent[path[-1]]
    else:
        parent[path[-1]] = junk
    loaded = TrajectoryMemory(Entries().add(SIZES))
    try:
        loaded.load_state(state)
    except ConfigurationError as error:
        # A step or draft is checked as a whole, so what is named may stand above what was damaged.
        assert "damaged at memory" in str(error) or "format" in str(error)
        assert loaded.entries == Entries().add(SIZES) and loaded.lessons == 6
    else:
        assert TrajectoryMemory(loaded.entries, **loaded.settings).dump_state() == loaded.dump_state()


def test_a_state_that_is_no_object_is_named():
    with pytest.raises(ConfigurationError, match="damaged at memory: Input should be a valid dictionary"):
        TrajectoryMemory().load_state([])
