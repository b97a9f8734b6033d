from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.episode.events import Event, accepted_losses, first_suspect_right
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory


def accept(total: float) -> Event:
    return Event(kind="accept", loss=Loss(total=total))


def reject(total: float | None) -> Event:
    return Event(kind="reject", loss=None if total is None else Loss(total=total))


def blame(step: str | None = "a", kind: str = "wrong_value") -> Event:
    return Event(kind="gradient", gradient=Gradient(locus=0, step=step, kind=kind, diagnosis="x"))


def test_accepted_losses_are_those_of_accept_events_in_order():
    events = (Event(kind="inspect", loss=Loss(total=0.9)), accept(0.5), reject(0.7), accept(0.25))
    assert accepted_losses(events) == [0.5, 0.25]
    assert accepted_losses(()) == []


def test_where_requirements_were_amended_the_losses_begin_anew():
    assert accepted_losses((accept(0.1), Event(kind="amend", message="R1: x"), accept(0.6), accept(0.2))) == [0.6, 0.2]


def test_the_first_suspect_is_right_where_the_rewrite_from_it_lowers_the_loss():
    assert first_suspect_right((accept(0.5), blame(), accept(0.2))) is True
    assert first_suspect_right((accept(0.5), blame(), accept(0.5))) is False
    assert first_suspect_right((accept(0.5), blame(), reject(0.7), blame("b"), accept(0.0))) is False
    assert first_suspect_right((accept(0.5), blame(), blame("b"), accept(0.0))) is False
    assert first_suspect_right((accept(0.5), blame())) is False


def test_nothing_to_repair_has_no_first_suspect():
    assert first_suspect_right((accept(0.0),)) is None
    assert first_suspect_right(()) is None


def test_a_suspect_that_the_model_did_not_test_is_asked_about_again():
    assert first_suspect_right((accept(0.5), blame(), reject(None), blame(), accept(0.2))) is True
    assert first_suspect_right((accept(0.5), blame(), Event(kind="failure"), blame(), accept(0.2))) is True
    assert first_suspect_right((accept(0.5), blame(), reject(None), blame("b"), accept(0.2))) is False


def test_going_on_after_seeing_results_blames_nobody():
    stopped = (accept(0.5), blame(None, "missing_submit"), accept(0.3))
    assert first_suspect_right(stopped) is None
    assert first_suspect_right((*stopped, blame(), accept(0.1))) is True
    assert first_suspect_right((accept(0.0), blame("a", "not_reproducible"), accept(0.0))) is None


@given(st.sampled_from(["plan", "evolve", "accept", "verify", "stop"]), st.text(), st.floats(0, 1))
def test_events_go_to_json_and_back(kind, message, total):
    trajectory = Trajectory(steps=(Step(id="a", tool="look", args={"n": 1}),), parent="0", operator="evolve")
    event = Event(
        kind=kind,
        message=message,
        trajectory=trajectory,
        execution=Execution(trajectory=trajectory, observations=(Observation(step="a", value={"x": [1, None]}),)),
        loss=Loss(total=total),
        gradient=Gradient(locus=0, step="a", kind="wrong_value", diagnosis="x"),
    )
    assert Event.model_validate_json(event.model_dump_json()) == event
