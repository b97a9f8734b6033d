"""Events of every kind, drawn at random."""

from typing import Any, get_args

from hypothesis import strategies as st

from pivot_dspy.episode.events import Event
from pivot_dspy.gradient import Gradient
from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Require, Respond
from pivot_dspy.human.review import Occasion
from pivot_dspy.loss import Loss
from pivot_dspy.requirements import Requirement, Requirements
from pivot_dspy.trajectory import Execution, Fault, Observation, Step, Trajectory
from pivot_dspy.verdict import Status, Verdict

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
names = st.sampled_from(["a", "b", "c"])
steps = st.builds(Step, id=names, tool=st.sampled_from(["look", "submit"]), args=st.dictionaries(names, words))
trajectories = st.builds(
    Trajectory,
    steps=st.lists(steps, max_size=3, unique_by=lambda step: step.id).map(tuple),
    parent=st.none() | names,
    operator=st.sampled_from(["plan", "evolve", "extend"]),
)
losses = st.builds(Loss, total=st.floats(0, 1))
gradients = st.builds(
    Gradient,
    locus=st.integers(0, 3),
    step=st.none() | names,
    kind=names,
    diagnosis=words,
    correction=words,
    evidence=st.lists(words, max_size=3).map(tuple),
)
settled = st.lists(st.builds(Requirement, id=names, text=words), max_size=2).map(
    lambda items: Requirements(items=tuple(items))
)


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    trajectory = draw(trajectories)
    observations = []
    for step in trajectory.steps:
        status: Any = draw(st.sampled_from(["ok", "error", "blocked", "withheld"]))
        fault = Fault(kind="tool_error", message=draw(words)) if status == "error" else None
        observations.append(Observation(step=step.id, status=status, value=draw(words), fault=fault))
    tier: Any = draw(st.sampled_from(["fork", "replay", "live"]))
    return Execution(trajectory=trajectory, observations=tuple(observations), tier=tier)


actions = st.one_of(
    st.builds(Approve, steps=st.lists(names, max_size=2).map(tuple)),
    st.builds(Edit, step=names, args=st.dictionaries(names, words, max_size=2)),
    st.builds(Respond, step=names, value=words),
    st.builds(Comment, message=words, step=st.none() | names),
    st.builds(Require, requirement=words | st.builds(Requirement, id=names, text=words)),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "trajectory": trajectories,
    "execution": executions(),
    "loss": losses,
    "gradient": gradients,
    "requirements": settled,
    "verdict": st.builds(Verdict, status=st.sampled_from(get_args(Status))),
    "message": words,
    "diagnosis": words,
    "tokens": st.integers(0, 10**6),
    "review": names,
    "occasion": st.sampled_from(get_args(Occasion)),
    "feedback": st.lists(actions, max_size=3).map(HumanFeedback.of),
}


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    record = draw(st.sampled_from(get_args(Event)))
    event: Event = record(**{name: draw(FIELDS[name]) for name in record.model_fields if name != "kind"})
    return event
