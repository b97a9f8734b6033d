import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.acceptance import NonDecreasing, StrictImprovement, WithMargin
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.loss import EPSILON, Loss

totals = st.floats(0, 1, allow_nan=False)
policies = st.one_of(
    st.builds(StrictImprovement),
    st.builds(NonDecreasing),
    st.builds(WithMargin, margin=st.floats(0, 1), repeats=st.integers(1, 5)),
)


def accepts(policy, candidate: float, incumbent: float, steps: int = 1, before: int = 1) -> bool:
    return policy.accepts(Loss(total=candidate), Loss(total=incumbent), candidate_steps=steps, incumbent_steps=before)


@given(policies, totals, totals, st.integers(0, 9), st.integers(0, 9))
def test_none_accepts_a_larger_loss(policy, candidate, incumbent, steps, before):
    if accepts(policy, candidate, incumbent, steps, before):
        assert candidate <= incumbent + EPSILON


@given(policies, totals, st.integers(0, 9), st.integers(0, 9))
def test_every_one_accepts_what_is_perfect_in_place_of_what_is_far_from_it(policy, incumbent, steps, before):
    if incumbent > 10 * EPSILON:
        assert accepts(policy, 0.0, incumbent, steps, before)


@given(totals, st.integers(0, 9), st.integers(0, 9))
def test_a_tie_goes_to_no_more_steps(total, steps, before):
    assert accepts(NonDecreasing(), total, total, steps, before) is (steps <= before)
    assert not accepts(StrictImprovement(), total, total, steps, before)


@given(totals, totals, st.floats(0.01, 0.5))
def test_a_margin_must_be_won(candidate, incumbent, margin):
    taken = accepts(WithMargin(margin=margin, repeats=1), candidate, incumbent)
    if incumbent > margin:
        assert taken == (candidate <= incumbent - margin + EPSILON)
    else:
        assert taken == (candidate <= EPSILON)


@pytest.mark.parametrize("bad", [{"margin": -0.1}, {"margin": 1.1}, {"repeats": 0}])
def test_a_margin_that_cannot_be_is_refused(bad):
    with pytest.raises(ConfigurationError, match="margin lies in"):
        WithMargin(**bad)
