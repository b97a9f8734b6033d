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
