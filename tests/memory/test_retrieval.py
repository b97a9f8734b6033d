"""What a task is told of a memory."""

from __future__ import annotations

import itertools

import dspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Demonstration, Entries, Lesson, ToolNote, TrajectoryMemory
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.memory import tokens
from pivot_dspy.memory.records import words
from pivot_dspy.memory.similarity import Index
from tests.memory.entries import ENTRIES, EXAMPLE, ONE, SIZES, STEPS, TOOLS, UNKNOWN, collections, texts
from tests.refiners.loops import REQUEST

OFTEN = settings(max_examples=30, deadline=None)


@OFTEN
@given(entries=collections, task=texts, cap=st.integers(0, 400), sizes=st.tuples(*[st.integers(0, 4)] * 3))
def test_the_limits_hold_and_what_is_told_is_what_the_ids_say(entries, task, cap, sizes):
    limits = dict(zip(("demonstrations", "lessons", "notes"), sizes, strict=True))
    memory = TrajectoryMemory(entries, max_tokens=cap, **limits)
    found = memory.retrieve(task, "Store", TOOLS)
    assert tokens(found.text) <= cap and bool(found.text) == bool(found.ids)
    told = [entry for entry in entries if entry.id in found.ids]
    assert len(told) == len(found.ids)
    assert not any(one.near(other) for one, other in itertools.combinations(told, 2))
    for name, limit in limits.items():
        assert sum(entry in getattr(entries, name) for entry in told) <= limit
    required = [entry for entry in told if getattr(entry, "requirement", None)]
    assert all(entry.environment == "Store" for entry in required)
    assert {entry.id for entry in required} == set(found.requirements.ids)
    another = TrajectoryMemory(entries, max_tokens=cap, **limits)
    assert memory.retrieve(task, "Store", TOOLS) == found == another.retrieve(task, "Store", TOOLS)


@OFTEN
@given(entries=collections, task=texts)
def test_the_same_environment_comes_first(entries, task):
    memory = TrajectoryMemory(entries, demonstrations=99, lessons=99, notes=99, max_tokens=10**6)
    every = {entry.id: entry for entry in entries}
    found = memory.retrieve(task, "Store")
    told = [every[name] for name in found.ids]
    for kind in (lambda e: e in entries.lessons, lambda e: e in entries.notes, lambda e: e in entries.demonstrations):
        places = [entry.environment != "Store" for entry in told if kind(entry)]
        assert places == sorted(places)
    home = {entry.id for entry in entries if entry.environment == "Store"}
    assert home <= {entry.id for entry in (*told, *found.fixes)}


def test_the_most_similar_example_comes_first():
    tasks = ["Buy a blue cap.", "Book a room for ten people.", "Buy a red coat of size L.", "Return the red coat."]
    examples = [
        Demonstration(environment="Store", task=task, steps=(*STEPS[:1],) * (2 + place))
        for place, task in enumerate(tasks)
    ]
    memory = TrajectoryMemory(Entries().add(*examples), demonstrations=4, max_tokens=4000)
    assert memory.retrieve(REQUEST, "Store").ids[0] == examples[2].id
    assert memory.retrieve("A room for people", "Store").ids[0] == examples[1].id
    alone = TrajectoryMemory(Entries().add(*examples[1:3]), demonstrations=1)
    assert alone.retrieve("A room for people", "Store").ids == (examples[1].id,)  # plain BM25 has negative weights here


@OFTEN
@given(entries=collections.filter(len), task=texts)
def test_entries_are_near_where_a_word_is_common_and_nowhere_else(entries, task):
    ranking, asked = Index(entries, None).ranking(task), set(words(task))
    near = [entry.id for kind in (Lesson, ToolNote, Demonstration) for entry in ranking.of_others(kind, "")]
    assert sorted(near) == sorted(entry.id for entry in entries if asked & set(words(entry.topic)))
    assert min(ranking.scores) >= 0


def test_what_names_a_tool_that_is_not_there_is_left_out():
    memory = TrajectoryMemory(ENTRIES)
    assert memory.retrieve(REQUEST, "Store", ["add"]).ids == (ONE.id, UNKNOWN.id)
    assert memory.retrieve(REQUEST, "Store", ["find"]).ids == (ONE.id, SIZES.id)


def test_of_another_environment_requirements_and_what_has_nothing_in_common_are_left_out():
    found = TrajectoryMemory(ENTRIES).retrieve("blue cap", "Elsewhere", TOOLS)
    assert found.ids == (EXAMPLE.id,) and not found.requirements.text
    assert TrajectoryMemory(ENTRIES).retrieve("zzz", "Elsewhere", TOOLS).text == ""


def test_an_example_that_does_not_fit_is_shortened_and_one_that_fits_is_whole():
    def lines(cap):
        found = TrajectoryMemory(Entries().add(EXAMPLE), max_tokens=cap).retrieve(REQUEST, "Store")
        return found.text.splitlines()

    whole = lines(1200)
    assert whole[1].startswith("Requirements: [{") and len(whole) == 7 and whole[2].startswith("These steps carried")
    assert [line for line in lines(140) if line.startswith("{")] == whole[3:]
    assert lines(90)[1].startswith("The first 3 of 4 steps that carried it out") and lines(90)[2:] == whole[3:6]
    assert lines(30) == []


def test_the_text(snapshot):
    parts = EXAMPLE.model_copy(update={"id": "", "partial": True, "requirements": (), "steps": STEPS[1:3]})
    entries = ENTRIES.add(Demonstration(**parts.model_dump()))
    memory = TrajectoryMemory(entries)
    found = memory.retrieve(REQUEST, "Store")
    snapshot("memory/retrieved.txt", found.text)
    sentence = "When anything is bought: more than one thing was in the cart; instead buy exactly one thing."
    assert found.learned == (("L1", f"lesson {ONE.id}: {sentence}"),)
    assert found.requirements.ids == (ONE.id,) and found.ids[1:] == found.advice.ids


@OFTEN
@given(said=st.text(min_size=1).filter(str.strip))
def test_what_an_entry_says_stays_in_its_line(said):
    lesson = Lesson(environment="Store", trigger=said, mistake=said, avoid=said)
    text = TrajectoryMemory(Entries().add(lesson), max_tokens=10**6).retrieve("x", "Store").text
    assert len(text.splitlines()) == 2 and text.splitlines()[1].startswith("- When ")


def test_an_embedder_decides_where_there_is_one():
    def embedded(texts):
        return [[text.count("blue"), text.count("red"), 0.0] for text in texts]

    blue, red = (
        Demonstration(environment="Store", task=f"Buy {color}.", steps=STEPS[: 2 + place])
        for place, color in enumerate(("blue", "red"))
    )
    for embedder in (dspy.Embedder(embedded), lambda texts: np.array(embedded(texts))):
        memory = TrajectoryMemory(Entries().add(blue, red), demonstrations=1, embedder=embedder)
        assert memory.retrieve("something reddish", "Store").ids == (red.id,)
        assert memory.retrieve("bluebells", "Store").ids == (blue.id,)


def test_topics_are_embedded_once_for_each_set_of_entries():
    asked = []

    def embedder(texts):
        asked.append(len(texts))
        return [[1.0, 0.0] for _ in texts]

    memory = TrajectoryMemory(ENTRIES, embedder=embedder)
    memory.retrieve("x", "Store"), memory.retrieve("y", "Store"), memory.__deepcopy__({}).retrieve("z", "Store")
    assert asked == [4, 1, 1, 1]
    memory.entries = ENTRIES.without([ONE.id])
    memory.retrieve("x", "Store")
    assert asked[4:] == [3, 1]


@pytest.mark.parametrize("given", [[1.0], [[1.0], [float("nan")], [1.0], [1.0]], [[1.0]]])
def test_an_embedder_that_gives_no_vectors_is_an_error(given):
    with pytest.raises(ConfigurationError, match="one vector of finite numbers for each"):
        TrajectoryMemory(ENTRIES, embedder=lambda texts: given).retrieve("x", "Store")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lessons": -1}, "lessons is a whole number of at least 0; got -1"),
        ({"max_tokens": 1.5}, "max_tokens is a whole number"),
        ({"notes": True}, "notes is a whole number"),
        ({"embedder": "openai/text-embedding-3-small"}, "embedder is a dspy.Embedder"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, said):
    with pytest.raises(ConfigurationError, match=said):
        TrajectoryMemory(**options)
