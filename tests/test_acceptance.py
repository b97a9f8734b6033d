import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Budget, Execution, Pivot, Step, Trajectory
from pivot_dspy.acceptance import Acceptance, NonDecreasing, StrictImprovement, WithMargin
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import ExecutedRun
from pivot_dspy.loss import EPSILON, Loss
from pivot_dspy.phases.inspect import Inspection
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Store

totals = st.floats(0, 1, allow_nan=False)
policies = st.one_of(
    st.builds(StrictImprovement),
    st.builds(NonDecreasing),
    st.builds(WithMargin, margin=st.floats(0, 1), repeats=st.integers(1, 5)),
)


def accepts(policy, candidate: float, incumbent: float, steps: int = 1, before: int = 1) -> bool:
    return policy.accepts(measured(candidate, steps), measured(incumbent, before))


def measured(total: float, steps: int = 1) -> Candidate:
    trajectory = Trajectory(steps=tuple(Step(id=f"s{number}", tool="look") for number in range(steps)))
    execution = Execution(trajectory=trajectory)
    return Candidate(ExecutedRun(execution, None, {}), Inspection(execution=execution, loss=Loss(total=total)))


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


class Halving(Acceptance):
    def accepts(self, candidate, incumbent):
        return candidate.loss.total <= incumbent.loss.total / 2


class Generating(Halving):
    def accepts(self, candidate, incumbent):
        yield True


class TakesLosses:
    repeats = 1

    def accepts(self, candidate):
        return True


class RepeatsOften(Halving):
    repeats = "often"


def refiner(**options):
    return Pivot("request -> answer", Store, **options)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (StrictImprovement, r"takes an object, not the class StrictImprovement; write StrictImprovement\(\)"),
        ("strict", r"a method accepts\(candidate, incumbent\) -> bool, such as StrictImprovement\(\), not 'strict'"),
        (lambda candidate, incumbent: True, r"a method accepts\(candidate, incumbent\)"),
        (object(), r"a method accepts\(candidate, incumbent\)"),
        (TakesLosses(), r"TakesLosses.accepts takes \(self, candidate, incumbent\): too many positional"),
        (Generating(), "Generating.accepts is an ordinary method"),
        (RepeatsOften(), "RepeatsOften.repeats is a number of executions, at least 1, not 'often'"),
    ],
)
def test_what_is_no_acceptance_is_refused_when_the_refiner_is_made(wrong, remedy):
    with pytest.raises(ConfigurationError, match=remedy):
        refiner(acceptance=wrong)


def test_one_of_ones_own_is_given_the_candidates_themselves():
    seen = []

    class Watching(Acceptance):
        def accepts(self, candidate, incumbent):
            seen.append((candidate, incumbent))
            return candidate.loss.better_than(incumbent.loss)

    falls_short = plan([submit(answer="$a")])
    good = [step("a", "find", color="red"), submit(answer="$a.ids[0]")]
    with dspy.context(lm=scripted(plan=falls_short, evolve=rewrite(good))):
        refiner(acceptance=Watching())(request="Find something red.")
    assert seen and all(isinstance(one, Candidate) for pair in seen for one in pair)


def test_one_that_forgets_to_answer_is_named():
    class Silent(Acceptance):
        def accepts(self, candidate, incumbent):
            candidate.loss.better_than(incumbent.loss)

    good = [step("a", "find", color="red"), submit(answer="$a.ids[0]")]
    with (
        dspy.context(lm=scripted(plan=plan([submit(answer="$a")]), evolve=rewrite(good))),
        pytest.raises(ConfigurationError, match=r"Silent.accepts returns a bool, not None; does it lack a `return`\?"),
    ):
        refiner(acceptance=Silent())(request="Find something red.")


@given(totals, totals, st.sampled_from(["latest", "first"]), st.booleans())
def test_no_decision_takes_a_larger_loss_whatever_the_acceptance_says(candidate, incumbent, ties, extensions):
    class Anything(Acceptance):
        def accepts(self, candidate, incumbent):
            return True

    context = TaskContext.open(SessionFactory(Store), dspy.Signature("request -> answer"), {"request": "x"})
    episode = Episode(context, RunRecord(Budget()), refiner(), Anything())
    before = measured(incumbent)
    kept = episode.decide(before, measured(candidate, 2), ties=ties, extensions=extensions)
    context.close()
    assert kept.loss.total <= incumbent + EPSILON
    assert [event.kind for event in episode.record.history] == ["reject" if kept is before else "accept"]
