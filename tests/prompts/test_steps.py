"""The steps of a run stand in a prompt as they were written, or in brief, each with what it gave."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.report import FENCE, STATE_CAP
from pivot_dspy.prompts.shown import ShownResults
from pivot_dspy.prompts.steps import (
    WRITTEN_CAP,
    render_looks,
    render_observations,
    render_readings,
    render_steps,
    values_of,
)
from pivot_dspy.prompts.truncation import MIN_SHARE
from pivot_dspy.prompts.written import CHARACTERS
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

PLACE = Environment()
BUDGET = ObservationBudget()


def execution_of(*pairs: tuple[Step, Observation], state: str = "") -> Execution:
    steps, seen = zip(*pairs, strict=True) if pairs else ((), ())
    return Execution(trajectory=Trajectory(steps=tuple(steps)), observations=tuple(seen), state=state)


def ran(name: str, value: object, tool: str = "look", **args: object) -> tuple[Step, Observation]:
    return Step(id=name, tool=tool, args=args), Observation(step=name, value=value, args=args)


def headers(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(FENCE)]


# --------------------------------------------------------------------------------------------------------------- steps


RUN = execution_of(ran("a", [1], day="Monday"), ran("b", {"x": 2}, day="$a[0]"), ran("c", "z"))


def test_steps_stand_as_they_were_written_or_in_brief():
    assert render_steps(RUN, "abc", PLACE, BUDGET, in_full="b") == (
        'a look ->\n| [1]\n{"id": "b", "tool": "look", "args": {"day": "$a[0]"}} ->\n| {"x": 2}\nc look ->\n| z'
    )
    assert headers(render_steps(RUN, "ac", PLACE, BUDGET)) == [
        '{"id": "a", "tool": "look", "args": {"day": "Monday"}} ->', '{"id": "c", "tool": "look"} ->'
    ]  # fmt: skip
    assert render_steps(RUN, (), PLACE, BUDGET) == ""


def test_what_the_conversation_has_shown_is_not_shown_again():
    long, shown = execution_of(ran("a", "word " * 50)), ShownResults()
    first = render_steps(long, "a", PLACE, BUDGET, shown=shown)
    assert "word word" in first
    assert render_steps(long, "a", PLACE, BUDGET, in_full=(), shown=shown) == "a look -> as shown before"


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 3000))
def test_many_and_long_ones_are_capped_and_stay_one_json_object_a_line(count, written, seen):
    pairs = [ran(f"s{n}", "r" * seen, text="w" * written, ids=[f"id{k}" for k in range(written // 10)], n=n)
             for n in range(count)]  # fmt: skip
    execution = execution_of(*pairs)
    text = render_steps(execution, execution.trajectory.ids, PLACE, BUDGET)
    lines = headers(text)
    assert len(lines) == count
    for number, line in enumerate(lines):
        step, end = json.JSONDecoder().raw_decode(line)
        assert (step["id"], step["tool"], step["args"]["n"]) == (f"s{number}", "look", number)
        assert line[end:] == " ->"
    assert sum(map(len, lines)) <= max(1.05 * WRITTEN_CAP, count * 200)  # ids, names and some of each value
    seen_text = [line for line in text.splitlines() if line.startswith(FENCE)]
    assert sum(map(len, seen_text)) <= max(CHARACTERS * BUDGET.turn, count * 200)


def test_a_long_condition_of_a_repeated_step_is_cut_inside_of_its_json():
    step = Step(id="a", tool="look", args={"text": "$item"}, for_each="$b[?x]" + "x" * 9000, expects="e" * 9000)
    text = render_steps(execution_of(*[ran(f"s{n}", 1, text="w" * 4000) for n in range(3)],
                                     (step, Observation(step="a", value=[]))), "a", PLACE, BUDGET)  # fmt: skip
    shown = json.loads(text.splitlines()[0].removesuffix(" ->"))
    assert shown["for_each"].startswith("$b[?x]xxx") and "characters)" in shown["for_each"]
    assert shown["expects"].startswith("eee") and len(text) < WRITTEN_CAP + 200


def test_a_short_trajectory_is_shown_whole():
    long = "$a[?" + " && ".join(f"field{n} == 'value {n}'" for n in range(40)) + "]"
    assert long in render_steps(execution_of(ran("a", [1]), ran("b", 1, x=long)), "ab", PLACE, BUDGET)


def test_what_other_runs_read_is_named_by_its_call_as_it_was_made():
    step, seen = ran("a", ["Ritz"], city="Paris")
    bound = step.model_copy(update={"args": {"city": "$z.city"}})
    assert render_readings([(bound, seen)], PLACE, BUDGET, ShownResults()) == 'look {"city": "Paris"} ->\n| ["Ritz"]'


# --------------------------------------------------------------------------------------------------------------- looks


MAILS = [{"id": n, "subject": f"Subject {n}", "body": f"{n} words " * 40} for n in range(100)]
FEW = MAILS[:2]


def test_what_only_picks_from_results_that_are_shown_in_full_is_not_repeated():
    run, shown = execution_of(ran("a", FEW)), ShownResults()
    render_steps(run, "a", PLACE, BUDGET, shown=shown)
    for look in ("$a", "$a[*].body", "$a[*].{who: id, what: body}", "$a[0]"):
        assert render_looks([look], values_of(run), BUDGET, shown).startswith(f"look {look} -> as shown of a"), look
    assert render_looks(["$a[?id > `0`].id"], values_of(run), BUDGET, shown) == "look $a[?id > `0`].id ->\n| [1]"
    chosen = render_looks(["$a[?id > `0`]"], values_of(run), BUDGET, shown)
    assert chosen.splitlines()[1:] == ["| 1 record", '| "<all of a[1]>"'] or "<all of a[1]" in chosen
    assert "1 words" in render_looks(["$a[*].body"], values_of(run), BUDGET)  # of a prompt that does not show it


def test_of_a_long_result_little_but_what_is_asked_for_is_shown():
    run, shown = execution_of(ran("a", MAILS), ran("b", FEW)), ShownResults()
    whole = render_steps(run, "ab", PLACE, BUDGET)
    picked = render_steps(run, "ab", PLACE, BUDGET, shown=shown, looks=["$a[*].subject", "$b[0].subject"])
    assert len(picked) < len(whole) / 3 and '{"look": "$a[' in picked
    assert "1 words " * 40 in picked.partition('"id": "b"')[2]  # what fits stays whole
    assert shown.picked == {"a"}
    assert render_steps(run, "ab", PLACE, BUDGET, looks=["$a[4:]"]) == whole  # what goes on where it was cut


def test_a_result_that_is_shown_again_in_full_is_picked_no_more():
    shown = ShownResults()
    for looks, picked in ((["$a[*].id"], {"a"}), ([], set())):
        run = execution_of(ran("a", [*MAILS, len(looks)]))
        render_steps(run, "a", PLACE, BUDGET, shown=shown, looks=looks)
        assert shown.picked == shown.copy().picked == picked


# -------------------------------------------------------------------------------------------------------- observations


def test_observations_show_what_was_looked_at_and_what_was_given_up():
    gone = ran("g", MAILS, city="Rome")
    looks = ["$g[?id == `7`].subject", "$a", "$z.name"]
    text = render_observations(execution_of(ran("a", FEW)), BUDGET, looks, [gone], {"g"})
    assert "Read before, by steps that were given up:\nlook {\"city\": \"Rome\"} ->\n| 100 records" in text
    assert text.endswith('\nlook $g[?id == `7`].subject ->\n| ["Subject 7"]\nlook $a -> as shown of a')
    full = render_observations(execution_of(ran("a", FEW)), BUDGET, looks, [gone])
    assert len(text) < len(full) / 2


def test_observations_hold_the_calls_the_results_and_the_state():
    each = Step(id="d", tool="look", args={"day": "$item"}, for_each="$a.days")
    execution = execution_of(
        ran("a", {"x": 1}, day="Monday"), ran("b", "words\nand more"),
        (Step(id="c", tool="look", args={"day": "$a.y"}), Observation(step="c", status="error")),
        (each, Observation(step="d", value=[{"item": "Tuesday", "result": 3}])),
        (Step(id="submit", tool="submit"), Observation(step="submit")), state="Cart: p1\nMoney: 5",
    )  # fmt: skip
    assert render_observations(execution, BUDGET) == """\
a look {"day": "Monday"} ->
| {"x": 1}
b look {} ->
| words
| and more
{"id": "c", "tool": "look", "args": {"day": "$a.y"}} -> FAILED
{"id": "d", "tool": "look", "args": {"day": "$item"}, "for_each": "$a.days"} ->
| item "Tuesday" ->
| | 3
State:
| Cart: p1
| Money: 5"""
    assert render_observations(execution_of(), BUDGET) == ""


def test_a_held_call_stands_with_the_arguments_that_it_will_have():
    step = Step(id="a", tool="pay", args={"to": "$z.name"})
    seen = Observation(step="a", status="withheld", args={"to": "Ann"})
    assert render_observations(execution_of((step, seen)), BUDGET) == 'a pay {"to": "Ann"} -> waits for commit'


@given(st.integers(1, 60), st.integers(0, 50_000), st.integers(0, 9000))
def test_observations_are_capped(count, size, state):
    execution = execution_of(*(ran(f"s{n}", ["x" * 10] * (size // 14)) for n in range(count)), state="s" * state)
    room = max(CHARACTERS * BUDGET.turn, count * 3 * MIN_SHARE)
    assert len(render_observations(execution, BUDGET)) <= room + count * len("s99 look {} ->\n") + STATE_CAP + 20


def test_a_long_result_takes_the_room_that_short_ones_leave():
    execution = execution_of(*(ran(f"s{n}", n) for n in range(30)), ran("big", "x" * 20_000))
    assert len(render_observations(execution, BUDGET)) > 0.9 * CHARACTERS * BUDGET.result


@given(st.integers(0, 400), st.integers(0, 300))
def test_steps_stay_within_their_cap_and_those_left_out_are_named(count, size):
    steps = [Step(id=f"s{n}", tool="look", args={"text": "x" * size}) for n in range(count)]
    pairs = [(step, Observation(step=step.id)) for step in steps]
    execution = execution_of(*pairs)
    lines = render_steps(execution, execution.trajectory.ids, Environment(), ObservationBudget()).splitlines()
    written = [line.removesuffix(" ->") for line in lines if line.startswith("{")]
    assert sum(map(len, written)) + sum(len(line) for line in lines if line.startswith("…")) <= WRITTEN_CAP
    assert [json.loads(line)["id"] for line in written] == [f"s{n}" for n in range(len(written))]
    left = count - len(written)
    named = f"… {left:,} steps are not shown, s{len(written)} to s{count - 1}"
    assert (lines[-1:] == [named]) if left > 1 else left == 0
