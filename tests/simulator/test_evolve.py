"""Rewrites mend what the feedback names and nothing else; composing reads only what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.prompts.report import FAILED, NOT_MET, NOT_RUN
from pivot_dspy.simulator import offline_lm
from pivot_dspy.simulator.prompt import names, results_in, steps_in
from pivot_dspy.simulator.slips import Dice, Surroundings, spoil
from pivot_dspy.trajectory import Step
from tests.simulator.asking import (
    ADAPTERS,
    COMPOSE,
    EVOLVE,
    LOCALISE,
    OBSERVED,
    REWRITE,
    TOOLS,
    changed,
    lines,
    said,
    within,
)
from tests.simulator.rooms import REQUEST, STEPS, reference

A, B, C, SUBMIT = STEPS
WRONG_B = {**B, "tool": "list_floors"}
WRONG_C = {**C, "args": {**C["args"], "day": "2026-03-13"}}
REPORT = "2 of 4 steps ran.\nBooked: nothing.\n0 of 2 requirements hold.\n"
UNMET = REPORT + f'R1: booked {{"seats": 8}} - {NOT_MET}: booked: []'
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]


def model(tasks: list[str] | None = None, **options: Any) -> dspy.LM:
    changes = options.pop("changes", {})
    rates = {"slip": 0.0, "heed": 1.0, "relapse": 0.0, **options}
    return offline_lm([reference(task, **changes) for task in tasks or [REQUEST]], cache=False, **rates)


def evolved(lm: dspy.LM, open_steps: list[dict[str, Any]], *, task: str = REQUEST, **shown: Any) -> list[Any]:
    outcomes = shown.pop("outcomes", {})
    told = lines(open_steps, outcomes) or "none: add what is missing"
    found: list[Any] = said(
        EVOLVE, lm, task, **{"open_steps": told, "report": REPORT, "blame": "Blame.", **shown}
    ).steps
    return found


def carried_out(written: list[Any], open_steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The steps as the EVOLVE phase reads them."""
    base = {step["id"]: Step.model_validate(step) for step in open_steps}
    return [step.content() for step in read_steps(written, base=base)]


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), broken=st.sets(st.sampled_from("abc")))
def test_all_that_failed_is_mended_and_the_rest_is_kept(adapter: Any, seed: int, broken: set[str]) -> None:
    around = Surroundings(STEPS, TOOLS)
    slipped = [spoil(step, around, Dice(str(seed)), step["id"]) if step["id"] in broken else step for step in STEPS]
    shown = [step for step in slipped if step is not None]
    missing = [step["id"] for step, found in zip(STEPS, slipped, strict=True) if found is None]
    with dspy.context(adapter=adapter()):
        written = evolved(
            model(relapse=1.0, seed=seed),
            shown,
            outcomes={step["id"]: f"{FAILED} tool_error: no" for step in shown if step["id"] in broken},
            blame="Blame: step submit (missing_step). " + "; ".join(f"${name} is read" for name in missing),
        )
    assert carried_out(written, shown) == carried_out(STEPS, [])
    assert not any(step.get("id") in {"a", "b", "c", "submit"} - broken for step in written)


def test_what_nothing_names_stays_as_it_is() -> None:
    assert evolved(model(), [A, WRONG_B, C, SUBMIT]) == [{"keep": ["a", "b", "c", "submit"]}]
    assert evolved(model(), [A, C, SUBMIT]) == [{"keep": ["a", "c", "submit"]}]


@pytest.mark.parametrize(
    "shown",
    [
        {"blame": "Blame: step b (wrong_value). It selects by something else."},
        {"blame": "Blame: step a (narrow_result). Its result is empty, and $b needs it."},
        {"outcomes": {"b": f"{NOT_RUN}: it needs a step that failed"}},
        {"outcomes": {"c": f"{FAILED} unresolved_binding: min_by($b, &price) gives nothing"}},
        {"report": UNMET},
        {"report": UNMET.replace("R1:", "R1_:")},
    ],
)
def test_ways_of_naming_a_step(shown: dict[str, Any]) -> None:
    assert B in evolved(model(), [A, WRONG_B, C, SUBMIT], **shown)


@pytest.mark.parametrize(
    ("text", "step_id", "found"),
    [
        ("a step is missing", "a", False),
        ("Blame: step a (unexplained).", "a", True),
        ("Step b: it gives nothing", "b", True),
        ("$s.rooms gives nothing", "s", True),
        ("3 rooms are free", "rooms", False),
        ("step ab", "a", False),
    ],
)
def test_names_are_told_from_words(text: str, step_id: str, found: bool) -> None:
    assert names(text, step_id) is found


def test_a_dropped_step_goes_where_the_reference_has_it_or_as_early_as_possible() -> None:
    blame = "Blame: step c (missing_step). $b is read, and no step is called b."
    assert evolved(model(), [A, C, SUBMIT], blame=blame) == [{"keep": ["a"]}, B, {"keep": ["c", "submit"]}]
    assert evolved(model(), [SUBMIT], kept="a list_rooms -> 4\nc book_room -> r1", blame=blame)[0] == B
    assert evolved(model(), [A, C], report=UNMET) == [{"keep": ["a"]}, B, {"keep": ["c"]}, SUBMIT]


def test_steps_that_the_reference_does_not_know() -> None:
    extra = {"id": "x9", "tool": "list_floors", "args": {}}
    assert evolved(model(), [A, extra, B, C, SUBMIT]) == [{"keep": ["a", "x9", "b", "c", "submit"]}]
    dropped = evolved(model(), [A, extra, B, C, SUBMIT], outcomes={"x9": f"{FAILED} bad_arguments: day: missing"})
    assert dropped == [{"keep": ["a", "b", "c", "submit"]}]


def test_heed_and_relapse_come_at_their_rates() -> None:
    lm = model(TASKS, heed=0.7, relapse=0.2)
    shown: dict[str, Any] = {"tools": TOOLS, "report": UNMET}
    kept = [evolved(lm, [WRONG_B, C, SUBMIT], task=task, kept="a list_rooms -> 4", report=UNMET) for task in TASKS]
    again = [said(REWRITE, lm, task, open_steps=lines([A, B, WRONG_C, SUBMIT]), **shown).steps for task in TASKS]
    assert within(sum(step == B for steps in kept for step in steps), len(TASKS), 0.7)
    assert {frozenset(changed(steps) & {"c"}) for steps in kept} == {frozenset("c")}  # kept, and so never broken
    assert not any("keep" in step for steps in again for step in steps)
    assert within(sum(len(changed(steps) & {"a", "b"}) for steps in again), 2 * len(TASKS), 0.2)
    assert within(sum(C in steps for steps in again), len(TASKS), 0.7)
    assert all(steps[-1] == SUBMIT for steps in again)


def test_a_domains_own_reasoning_sees_the_sections_and_names_what_it_changes() -> None:
    seen: list[Mapping[str, str]] = []

    def take_r4(sections: Mapping[str, str], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen.append(sections)
        if "r4 would do" in sections.get("report", ""):
            steps[2]["args"]["room_id"] = "r4"
        return steps

    lm = model(changes={"revise": take_r4})
    assert evolved(lm, [C, SUBMIT], kept="a list_rooms -> 4\nb quote -> 2") == [{"keep": ["c", "submit"]}]
    written = evolved(lm, [C, SUBMIT], kept="a list_rooms -> 4\nb quote -> 2", report=f"{REPORT}r4 would do")
    assert written == [{**C, "args": {**C["args"], "room_id": "r4"}}, {"keep": ["submit"]}]
    assert reference().steps == STEPS and set(seen[0]) == {"tools", "request", "kept", "open_steps", "report", "blame"}


def test_an_unknown_task_is_left_as_it_is() -> None:
    assert evolved(model(), [A, B], task="Something else.", report=UNMET)[0] == {"keep": ["a", "b"]}


def test_the_first_wrong_suspect_is_blamed_at_the_rate_of_heed() -> None:
    suspects = lines([A, WRONG_B, WRONG_C, SUBMIT])
    lm = model(TASKS, heed=0.6)
    picked = [said(LOCALISE, lm, task, suspects=suspects, report=UNMET).step for task in TASKS]
    assert within(picked.count("b"), len(TASKS), 0.6 + 0.4 / 4)
    assert said(LOCALISE, model(), REQUEST, suspects=lines([SUBMIT]), report=UNMET).step == "end"  # one is missing
    assert said(LOCALISE, model(), REQUEST, suspects=lines([A]), report=REPORT).step == "a"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_answers_are_composed_from_what_is_shown(adapter: Any) -> None:
    with dspy.context(adapter=adapter()):
        assert said(COMPOSE, model(), REQUEST, observations=OBSERVED).message == "Booked r3."
        blind = said(COMPOSE, model(), REQUEST, observations="c book_room {} -> FAILED tool_error")
    assert "r3" not in blind.message and blind.considerations


def test_what_is_shown_is_parsed() -> None:
    told = {"a": f"{FAILED} tool_error\n| first\n| second"}
    first, second, third = steps_in(f"{lines([A], told)}\n{lines([SUBMIT])}\nc book_room ->\n| x y ->")
    assert (first.outcome, first.failed, second.written) == (f"{FAILED} tool_error\n| first\n| second", True, SUBMIT)
    assert (third.id, third.written["tool"], third.brief, third.outcome) == ("c", "book_room", True, "\n| x y ->")
    assert steps_in("none: add what is missing") == [] and steps_in('{"id": 3}\n[1] -> x') == []


def test_results_are_read_from_their_fenced_lines() -> None:
    more = """
d note {} ->
| plain
| words
e look {} -> not run: it needs a step that failed
f look {} ->
| [1, 2, "… (+9 more)"]
g list {} ->
| 2 records; in all {"day": "Monday"}
| {"room": "Blue"}
| {"room": "Green"}
h list {} ->
| {"room": "Blue"}
| … 4 of 5 elements are not shown: {"look": "$h[1:]"}"""
    shown = results_in(OBSERVED + more)
    assert shown["a"][0]["id"] == "r3" and shown["b"]["price"] == 100.0 and shown["d"] == "plain\nwords"
    assert shown["g"] == [{"day": "Monday", "room": "Blue"}, {"day": "Monday", "room": "Green"}]
    assert set(shown) == set("abcdg")
