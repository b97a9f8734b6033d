import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import claims
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory


def unsupported(answer, *values, args=None, bound=False, inputs=None) -> list[str]:
    """The figures of `answer` that no observed value supports."""
    steps = [Step(id=f"s{n}", tool="look", args=args or {}) for n, _ in enumerate(values)]
    submit = Step(id="submit", tool="submit", args={"answer": "$s0" if bound else "literal"})
    observations = [Observation(step=s.id, value=v, args=args) for s, v in zip(steps, values, strict=True)]
    execution = Execution(
        trajectory=Trajectory(steps=(*steps, submit)),
        observations=(*observations, Observation(step="submit", value={"answer": answer})),
        outputs={"answer": answer},
    )
    return [
        found.message.split(" says ")[1].split(",")[0] for found in claims.check(execution, inputs or {}).unsupported
    ]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("It costs 3495.90 yuan.", {"price": 3495.9}),
        ("It costs 3,495.90.", {"price": 3495.9}),
        ("That makes 3 items.", {"ids": ["x", "y", "z"]}),
        ("In all 60.5.", {"prices": [10, 20.5, 30]}),
        ("In all 0.3.", {"prices": [0.1, 0.2]}),
        ("In all 60.", {"items": [{"name": "a", "price": 20}, {"name": "b", "price": 40}]}),
        ("Mail to ana@example.org.", [{"mail": "ana@example.org"}]),
        ("See https://example.org/a?b=1", "it is at https://example.org/a?b=1"),
        ("The id is r3x9.", {"r3x9": True}),
        ({"hour": 10, "room": ["Oak", {"floor": 2}]}, {"hour": 10, "floor": 2}),
        ("Order 10000000000000000001", {"order": "10000000000000000001"}),
        ("It is warm.", "cold"),
        (True, 0),
    ],
)
def test_what_was_observed_supports_a_claim(answer, value):
    assert unsupported(answer, value) == []


@pytest.mark.parametrize(
    ("answer", "value", "wrong"),
    [
        ("It costs 30.", {"price": 31}, ["30"]),
        ("It costs 123456.78.", {"price": 123456.79}, ["123456.78"]),
        ("Order 10000000000000000001", {"order": "10000000000000000002"}, ["10000000000000000001"]),
        ("Order 10000001", {"order": 10000002}, ["10000001"]),
        ("Mail to ana@example.org", "ben@example.org", ["ana@example.org"]),
        ("abc123 and abc124", ["abc123"], ["abc124"]),
        (42, {"price": 41}, ["42"]),
        (["7", {"a": "8"}], [7], ["8"]),
        ("It is on since 2024.", True, ["2024"]),
    ],
)
def test_what_nothing_shows_is_reported_with_its_field(answer, value, wrong):
    assert unsupported(answer, value) == wrong


def test_the_task_and_the_arguments_of_calls_that_worked_support_a_claim_too():
    assert unsupported("Room 12 at 9", "free", args={"hour": 9}, inputs={"question": "Is room 12 free?"}) == []


def test_a_bound_field_claims_nothing():
    assert unsupported("It costs 999.", {"price": 1}, bound=True) == []


def test_failed_steps_support_nothing():
    step, submit = Step(id="a", tool="look"), Step(id="submit", tool="submit", args={"answer": "x"})
    execution = Execution(
        trajectory=Trajectory(steps=(step, submit)),
        observations=(Observation(step="a", status="error", value=77), Observation(step="submit")),
        outputs={"answer": "77"},
    )
    found = claims.check(execution, {})
    assert (found.count, len(found.unsupported), found.written) == (1, 1, ("answer",))
    assert found.unsupported[0].step == "submit" and found.unsupported[0].kind == "unsupported_claim"


def test_without_a_submit_or_outputs_there_is_nothing_to_support():
    assert claims.check(Execution(trajectory=Trajectory()), {}) == claims.Claims()


def test_numbers_that_have_no_sum_are_looked_through_all_the_same():
    assert unsupported("It costs 0.5 or 7.", [10**400, 0.5]) == ["7"]


def answered(written, **outputs):
    """The statements of an answer, after a step `a` that gave 40, and what the rule says of its figures."""
    steps = (Step(id="a", tool="look"), Step(id="submit", tool="submit", args=written))
    seen = (Observation(step="a", value={"price": 40}), Observation(step="submit"))
    execution = Execution(trajectory=Trajectory(steps=steps), observations=seen, outputs=outputs or written)
    found = claims.check(execution, {})
    return claims.statements(execution, found), found


def test_each_sentence_that_was_written_is_a_statement():
    said, _ = answered({"answer": "It costs 40. I paid!\n1. Told Bob\n\n", "done": True, "note": None, "sure": ""})
    assert [(each.id, each.output, each.text) for each in said] == [
        ("S1", "answer", "It costs 40."), ("S2", "answer", "I paid!"), ("S3", "answer", "1. Told Bob"),
        ("S4", "done", "true"), ("S5", "sure", '""'),
    ]  # fmt: skip


def test_no_statement_has_the_name_of_a_step():
    steps = tuple(Step(id=name, tool="look") for name in ("S1", "SS2")) + (
        Step(id="submit", tool="submit", args={"answer": "It is so."}),
    )
    seen = tuple(Observation(step=step.id) for step in steps)
    execution = Execution(trajectory=Trajectory(steps=steps), observations=seen, outputs={"answer": "It is so."})
    assert [each.id for each in claims.statements(execution, claims.check(execution, {}))] == ["SSS1"]


def test_no_statement_begins_a_line_of_its_own_inside():
    said, _ = answered({"answer": "one\n[[ ## questions ## ]]\nS9 two"})
    assert all("\n" not in each.text for each in said)
    (record,), _ = answered({"answer": {"a": "one\nS9 two"}})
    assert record.text == '{"a": "one\\nS9 two"}'


def test_what_is_bound_to_results_claims_nothing_unless_words_are_put_around_it():
    assert answered({"answer": "$a.price"}, answer="40")[0] == ()
    worded = "$a | join('', ['I have paid all of it: ', to_string(price)])"
    (said,), _ = answered({"answer": worded}, answer="I have paid all of it: 40")
    assert said.text == "I have paid all of it: 40"
    assert answered({"answer": "$a | join('', ['EUR ', to_string(price)])"}, answer="EUR 40")[0] == ()


def test_each_statement_has_its_own_figures_from_nowhere_and_only_amounts_can_be_worked_out():
    said, found = answered({"answer": "It costs 40. With the fee 55. Mail eve9@x.org on 2026-03-12 at 17:45, to r2d2."})
    assert [each.figures for each in said][:2] == [(), ("55",)]
    assert said[1].amounts == ("55",) and "eve9@x.org" in said[2].figures
    assert said[2].amounts == ("r2d2",)  # no address, and no part of a date or a time
    assert {figure for figure, _ in found.nowhere} >= {"55", "eve9@x.org", "r2d2"}


def test_a_long_answer_is_cut_into_a_bounded_number_of_statements():
    text = " ".join(f"This is sentence number {number}." for number in range(103))
    said, _ = answered({"answer": text})
    assert len(said) <= claims.MOST_STATEMENTS and " ".join(each.text for each in said) == text


def test_what_was_read_too_early_supports_nothing():
    steps = (Step(id="a", tool="look"), Step(id="submit", tool="submit", args={"answer": "x"}))
    for stale in (False, True):
        seen = (Observation(step="a", value={"left": 77}, stale=stale), Observation(step="submit"))
        execution = Execution(trajectory=Trajectory(steps=steps), observations=seen, outputs={"answer": "77 left"})
        assert len(claims.check(execution, {}).unsupported) == stale


@pytest.mark.parametrize(
    "answer", ["on the 12th", "at 17:45", "at 5:45 pm", "at 5pm", "until 12 March", "see https://x.org/a."]
)
def test_times_and_addresses_may_be_told_in_other_forms(answer):
    assert unsupported(answer, {"at": "2026-03-12T17:45:00", "where": "https://x.org/a"}) == []


def test_a_judges_list_takes_the_place_of_the_rules():
    submit = Step(id="submit", tool="submit", args={"answer": "x 5"})
    execution = Execution(
        trajectory=Trajectory(steps=(submit,)), observations=(Observation(step="submit"),), outputs={"answer": "x 5"}
    )
    found = claims.check(execution, {})
    assert claims.with_unsupported(found, execution, []).unsupported == ()
    named = claims.with_unsupported(found, execution, ["x is not shown", "5 is not shown"])
    assert [item.message for item in named.unsupported] == ["x is not shown", "5 is not shown"] and named.count == 2
    assert claims.Claims.model_validate_json(named.model_dump_json()) == named


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_any_data_can_be_looked_through_and_supports_itself(answer, other):
    unsupported(answer, other)
    assert unsupported(answer, answer, other) == []


@pytest.mark.parametrize("piece", ["a", "a.b-", "1,", "ab1 ", "@", "http:"])
def test_megabytes_of_text_are_looked_through(piece):
    """What takes the square of their length would not end."""
    assert unsupported("It costs 7.", piece * (2_000_000 // len(piece))) == ["7"]


@pytest.mark.parametrize(
    ("written", "said", "own"),
    [
        ("$a.price", 40, False),
        ({"calc": "$a.price * $a.price"}, 1600, False),
        ({"calc": "$a.price + 5"}, 45, True),
        (["$a.price", "$a.price"], [40, 40], False),
        (["$a.price", "sent"], [40, "sent"], True),
        ({"cost": "$a.price", "done": True}, {"cost": 40, "done": True}, True),
        ([], [], True),
        ("", "", True),
        ("join(' ', ['Cost:', to_string($a.price)])", "Cost: 40", False),
        ("join(' ', ['Bob was told of', to_string($a.price)])", "Bob was told of 40", True),
        ("join(' ', ['支払済', to_string($a.price)])", "支払済 40", True),
    ],
)
def test_an_output_is_written_if_any_of_it_is_ones_own(written, said, own):
    statements, found = answered({"answer": written}, answer=said)
    assert (found.written, bool(statements)) == ((("answer",), True) if own else ((), False))
