"""The simulated judge: a verdict on each question, with a quote, from what the prompt shows."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.episode.judging import NO_FIGURE
from pivot_dspy.prompts.report import UNNAMED
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import JUDGE, OBSERVED, said, within
from tests.simulator.rooms import REQUEST, reference

ASKED = "R9: The room has a projector.\nR8: The room has a view."
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]


def model(tasks: list[str] | None = None, judge_error: float = 0.0, **changes: Any) -> dspy.LM:
    return offline_lm([reference(task, **changes) for task in tasks or [REQUEST]], judge_error=judge_error, cache=False)


def holding(verdicts: list[dict[str, Any]]) -> dict[str, bool]:
    """What was said of each question; one verdict may be on several."""
    return {
        name: verdict["holds"]
        for verdict in verdicts
        for name in (verdict["about"] if isinstance(verdict["about"], list) else [verdict["about"]])
    }


def test_what_is_said_of_several_questions_alike_is_said_once() -> None:
    shown = {"observations": OBSERVED, "questions": f"c, c2: {UNNAMED}"}
    both = said(JUDGE, model(), REQUEST, **{**shown, "observations": f"{OBSERVED}\nc2 book_room {{}} ->\n| null"})
    assert both.verdicts == [{"about": ["c", "c2"], "holds": True, "quote": [REQUEST]}]


def test_a_requirement_holds_where_the_observations_show_its_truth() -> None:
    shown = {"requirements": ASKED, "observations": OBSERVED, "submitted": '{"room": "r3"}', "questions": "R9, R8"}
    got = said(JUDGE, model(), REQUEST, **shown)
    assert [(one["about"], one["holds"]) for one in got.verdicts] == [("R9", True), ("R8", False)]
    assert all(quote in OBSERVED for quote in got.verdicts[0]["quote"]) and "quote" not in got.verdicts[1]
    by_text = model(truths={"The room has a view.": '"r3"'})
    got = said(JUDGE, by_text, REQUEST, **shown)
    assert [one["holds"] for one in got.verdicts] == [False, True]


def test_claims_are_judged_by_what_is_shown() -> None:
    submitted = "S1 Room r3 costs 100 for 10 people on 2026-03-12.\nS2 Call 555-1234."
    shown = {"submitted": submitted, "questions": "S1, S2"}
    held, refused = said(JUDGE, model(), REQUEST, observations=OBSERVED, **shown).verdicts
    assert held["holds"] and held["quote"] and held["quote"][0] in [*OBSERVED.splitlines(), REQUEST]
    assert refused == {"about": "S2", "holds": False}
    cut = said(JUDGE, model(), REQUEST, observations=OBSERVED + "… (+40 characters)", **shown).verdicts
    assert [one["holds"] for one in cut] == [True, True]


def test_a_figure_that_stands_nowhere_comes_with_its_calc() -> None:
    priced = OBSERVED + '\nd quote {"room_id": "r4", "day": "2026-03-12"} ->\n| {"room_id": "r4", "price": 200.0}'
    asked = f"S1: 300 {NO_FIGURE}"
    shown = {"observations": priced, "submitted": "S1 Both cost 300.", "questions": asked}
    (verdict,) = said(JUDGE, model(outputs={"message": "'Both cost 300.'"}), REQUEST, **shown).verdicts
    assert verdict["holds"] and verdict["calc"] == ["100 + 200"]


def test_a_call_that_no_requirement_names_is_asked_for_where_the_task_has_one_like_it() -> None:
    more = OBSERVED + '\nd list_floors {"day": "2026-03-12"} ->\n| [1, 2, 3]'
    shown = {"observations": more, "questions": f"c: {UNNAMED}\nd: {UNNAMED}"}
    booked, floors = said(JUDGE, model(), REQUEST, **shown).verdicts
    assert booked == {"about": "c", "holds": True, "quote": [REQUEST]} and not floors["holds"]


def test_the_judge_errs_at_its_rate() -> None:
    lm = model(TASKS, judge_error=0.3)
    shown = {"requirements": ASKED, "observations": OBSERVED, "submitted": "{}", "questions": "R9, R8"}
    answers = [holding(said(JUDGE, lm, task, **shown).verdicts) for task in TASKS]
    assert all(set(one) == {"R9", "R8"} for one in answers)
    wrong = sum((not one["R9"]) + one["R8"] for one in answers)
    assert within(wrong, 2 * len(TASKS), 0.3)
