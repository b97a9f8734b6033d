import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.report import (
    KEPT_CAP,
    OBSERVATIONS_CAP,
    OPEN_CAP,
    REPORT_CAP,
    RESULT_CAP,
    UNMET_CAP,
    render_kept_steps,
    render_observations,
    render_open_steps,
    render_outcome,
    render_report,
    render_unmet,
    summarise,
)
from pivot_dspy.prompts.truncation import fair_cap, truncate
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution, Fault, Observation, Step, Trajectory
from tests.scripted import Store

PLACE = Environment()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=6),
    max_leaves=20,
)


def execution_of(*pairs: tuple[Step, Observation], state: str = "") -> Execution:
    steps, seen = zip(*pairs, strict=True) if pairs else ((), ())
    return Execution(trajectory=Trajectory(steps=tuple(steps)), observations=tuple(seen), state=state)


def ran(name: str, value: object, tool: str = "look", **args: object) -> tuple[Step, Observation]:
    return Step(id=name, tool=tool, args=args), Observation(step=name, value=value, args=args)


# ------------------------------------------------------------------------------------------------------------- cutting


@given(st.text(max_size=500), st.integers(24, 600))
def test_what_is_cut_keeps_its_beginning_and_its_cap(text, cap):
    short = truncate(text, cap)
    assert len(short) <= cap
    assert short == text if len(text) <= cap else short.startswith(text[: cap - 24])


def test_it_tells_how_much_is_left_out():
    assert truncate("x" * 300, 100) == "x" * 76 + "… (+224 characters)"


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 5000))
def test_the_room_is_shared_fairly(lengths, cap):
    level = fair_cap(lengths, cap)
    used = sum(min(length, level) for length in lengths)
    assert used <= max(cap, 24 * len(lengths))
    if lengths and level < max(lengths):
        assert used > cap - len(lengths)  # no room is left unused


# ------------------------------------------------------------------------------------------------------- one execution


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"ids": ["a", "b", "c", "d"], "total": 4}, "ids: 4 [a, b, c, …], total: 4"),
        ([], "0 []"),
        ({}, "{}"),
        ("two\nlines", "two lines"),
        ([{"id": "a", "price": 3.5}, {"id": "b", "price": 9}], "2 (price 3.5×1, 9×1; id)"),
        ([{"n": k} for k in range(6)], "6 (n 0..5)"),
        ([{"id": "a", "name": "x"}], "1 (id, name)"),
        ([{"item": 1, "result": {"days": 1}}, {"item": 2, "result": {"days": 1}}], "2 calls; (days 1×2)"),
        ([{"item": 1, "result": {"days": 1}}, {"item": 2}], "2 (item 1×1, 2×1; result)"),
        ([True, None, 2], "3 [true, null, 2]"),
    ],
)
def test_a_result_in_one_line(value, line):
    assert summarise(value) == line


@given(JSON)
def test_any_result_fits_one_line(value):
    line = summarise(value)
    assert len(line) <= RESULT_CAP and len(line.splitlines()) <= 1


def test_what_became_of_a_step():
    step, submit = Step(id="a", tool="look"), Step(id="submit", tool="submit")
    fault = Fault(kind="bad_arguments", message="day:\nmissing", expected="look(day: str)")
    blocked = Observation(step="a", status="blocked")
    assert render_outcome(step, blocked, PLACE) == "not run: it needs a step that failed"
    assert render_outcome(step, Observation(step="a", status="withheld"), PLACE) == "waits for commit"
    assert render_outcome(submit, Observation(step="submit", value={"x": 1}), PLACE) == "submitted"
    failed = Observation(step="a", status="error", fault=fault)
    assert render_outcome(step, failed, PLACE) == "FAILED bad_arguments: day: missing; expected look(day: str)"
    partly = Observation(step="a", value=[1], fault=Fault(kind="tool_error", message="1 of 2 calls failed: no"))
    assert render_outcome(step, partly, PLACE) == "1 [1] (1 of 2 calls failed: no)"


def test_the_environments_own_words_come_first_and_a_broken_one_does_no_harm(caplog):
    class Talkative(Environment):
        def summarise(self, tool, value):
            if tool == "break":
                raise RuntimeError("oh")
            return None if tool == "other" else f"all\nabout {value}" * 100

    said = render_outcome(Step(id="a", tool="look"), Observation(step="a", value=7), Talkative())
    assert said.startswith("all about 7") and len(said) <= RESULT_CAP
    assert render_outcome(Step(id="a", tool="other"), Observation(step="a", value=7), Talkative()) == "7"
    with caplog.at_level(logging.WARNING):
        assert render_outcome(Step(id="a", tool="break"), Observation(step="a", value=7), Talkative()) == "7"
    assert "summarise of Talkative failed: RuntimeError: oh" in caplog.text


def test_kept_steps_are_brief_and_the_latest_ones_stay():
    execution = execution_of(ran("a", [1], day="Monday"), ran("b", {"x": 2}), ran("c", "z"))
    assert render_kept_steps(execution, 2, PLACE) == "a look -> 1 [1]\nb look -> x: 2"
    assert render_kept_steps(execution, 0, PLACE) == ""
    many = execution_of(*(ran(f"s{n}", "x" * 150) for n in range(60)))
    text = render_kept_steps(many, 60, PLACE)
    assert len(text) <= KEPT_CAP + 40 and text.splitlines()[-1].startswith("s59 ")
    hidden = 60 - (len(text.splitlines()) - 1)
    assert text.splitlines()[0] == f"… {hidden} earlier steps"


def test_open_steps_show_each_step_as_it_was_written():
    execution = execution_of(ran("a", [1]), ran("b", {"x": 2}, day="$a[0]"))
    assert render_open_steps(execution, 1, PLACE) == '{"id": "b", "tool": "look", "args": {"day": "$a[0]"}} -> x: 2'
    assert render_open_steps(execution, 2, PLACE) == ""


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 3000))
def test_open_steps_are_capped_and_stay_one_json_object_a_line(count, written, seen):
    pairs = [ran(f"s{n}", "r" * seen, text="w" * written, ids=[f"id{k}" for k in range(written // 10)], n=n)
             for n in range(count)]  # fmt: skip
    text = render_open_steps(execution_of(*pairs), 0, PLACE)
    lines = text.splitlines()
    assert len(lines) == count
    for number, line in enumerate(lines):
        step, end = json.JSONDecoder().raw_decode(line)
        assert (step["id"], step["tool"], step["args"]["n"]) == (f"s{number}", "look", number)
        assert line[end:].startswith(" -> ")
    least = count * 200  # ids, names and some of each value
    assert len(text) <= max(1.05 * OPEN_CAP, least)


def test_a_short_trajectory_is_shown_whole():
    long = "$a[?" + " && ".join(f"field{n} == 'value {n}'" for n in range(40)) + "]"
    execution = execution_of(ran("a", [1]), ran("b", 1, x=long))
    assert long in render_open_steps(execution, 0, PLACE)


# ------------------------------------------------------------------------------------------------------------- reports


def test_a_report_says_where_it_stands_and_what_is_unmet():
    execution = execution_of(
        ran("a", 1), (Step(id="b", tool="look"), Observation(step="b", status="blocked")), state="Cart: empty"
    )
    settled = Requirements(
        items=(
            Requirement(id="R1", check="only", args={"count": 1}),
            Requirement(id="R2", text="Be nice."),
            Requirement(id="R3", text="Be quick."),
        )
    )
    findings = (
        Finding(requirement="R1", status="violated", evidence="0 in the cart", hint="add p1"),
        Finding(requirement="R2", status="holds"),
        Finding(requirement="R3", status="unjudged"),
    )
    assert render_report(execution, settled, findings) == (
        "1 of 2 steps ran, 1 blocked.\nCart: empty\n1 of 3 requirements hold.\n"
        'R1: only {"count": 1} - NOT MET: 0 in the cart\n  add p1\nR3: not judged yet'
    )


@given(st.integers(0, 40), st.integers(0, 3000), st.integers(0, 3000))
def test_a_report_is_capped_and_names_every_unmet_requirement(count, evidence, hint):
    settled = Requirements(items=tuple(Requirement(id=f"R{n}", text="w" * 90) for n in range(count)))
    findings = tuple(
        Finding(requirement=item.id, status="violated", evidence="e" * evidence, hint="h" * hint)
        for item in settled.items
    )
    execution = execution_of(*(ran(f"s{n}", "x" * 10_000) for n in range(60)), state="s" * 5000)
    text = render_report(execution, settled, findings)
    assert len(text) <= REPORT_CAP
    assert all(f"\nR{n}: " in text for n in range(count))
    assert len(render_unmet(settled, findings)) <= UNMET_CAP


def test_short_evidence_is_not_cut_for_the_sake_of_long():
    settled = Requirements(items=(Requirement(id="R1", text="a"), Requirement(id="R2", text="b")))
    findings = (
        Finding(requirement="R1", status="violated", evidence="short " * 20),
        Finding(requirement="R2", status="violated", evidence="x" * 9000),
    )
    assert ("short " * 20).strip() in render_unmet(settled, findings)


def test_observations_for_composing_hold_the_results_and_the_state():
    execution = execution_of(
        ran("a", {"x": 1}, day="Monday"), ran("b", "words"),
        (Step(id="c", tool="look"), Observation(step="c", status="error")),
        (Step(id="submit", tool="submit"), Observation(step="submit")), state="Cart: p1",
    )  # fmt: skip
    assert render_observations(execution) == (
        'a look {"day": "Monday"} -> {"x": 1}\nb look -> words\nc look -> error\nState: Cart: p1'
    )
    assert render_observations(execution_of()) == ""


@given(st.integers(1, 60), st.integers(0, 50_000))
def test_observations_are_capped(count, size):
    pairs = [ran(f"s{n}", ["x" * 10] * (size // 14), ids=["y" * 10] * 50) for n in range(count)]
    assert len(render_observations(execution_of(*pairs))) <= max(OBSERVATIONS_CAP, count * 300) + 10


def test_a_long_result_takes_the_room_that_short_ones_leave():
    text = render_observations(execution_of(*(ran(f"s{n}", n) for n in range(30)), ran("big", "x" * 20_000)))
    assert len(text) > 0.9 * OBSERVATIONS_CAP


def test_the_store_as_an_environment_says_where_it_stands():
    assert Store().describe() == "Cart: empty"
