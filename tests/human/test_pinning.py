"""Pinned steps stay as they are, whoever writes the rest."""

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Step, Trajectory
from pivot_dspy.human.pinning import PinnedStep, with_pinned

names = st.sampled_from("abcdef")


@st.composite
def trajectories(draw):
    ids = draw(st.lists(names, unique=True, max_size=6))
    steps = [Step(id=name, tool=draw(st.sampled_from(["find", "book"])), args=_args(draw, ids[:i]))
             for i, name in enumerate(ids)]  # fmt: skip
    if draw(st.booleans()):
        steps.append(Step(id=draw(st.sampled_from(["submit", "end"])), tool="submit", args={"answer": "1"}))
    return Trajectory(steps=tuple(steps))


def _args(draw, earlier):
    return {"x": f"${draw(st.sampled_from(earlier))}"} if earlier and draw(st.booleans()) else {"x": draw(names)}


@given(trajectories(), trajectories(), st.data())
def test_every_pinned_step_stands_as_it_was_fixed(shown, written, data):
    chosen = data.draw(st.lists(st.sampled_from(shown.ids), unique=True)) if shown.ids else []
    pinned = {name: PinnedStep.of(shown, name) for name in chosen}
    kept = with_pinned(written, pinned)
    for name in chosen:
        assert kept.steps[kept.index(name)] == shown.steps[shown.index(name)]
    others = [step for step in written.steps if step.id not in chosen]
    assert [step for step in kept.steps if step.id not in chosen] == [
        step for step in others if not (step.is_submit and any(pinned[name].step.is_submit for name in chosen))
    ]
    assert with_pinned(kept, pinned) is kept
    assert sum(step.is_submit for step in kept.steps) <= 1


@given(trajectories())
def test_what_is_put_back_stands_where_it_stood(shown):
    pinned = {name: PinnedStep.of(shown, name) for name in shown.ids}
    assert with_pinned(Trajectory(), pinned).steps == shown.steps
