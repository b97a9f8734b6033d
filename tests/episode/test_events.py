import json
from typing import get_args

import pytest
from hypothesis import given

from pivot_dspy.episode.events import (
    AcceptEvent,
    AmendEvent,
    Event,
    FailureEvent,
    GradientEvent,
    InspectEvent,
    RejectEvent,
    accepted_losses,
    first_suspect_right,
    parse_event,
)
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Execution, Trajectory
from tests.episode.drawing import any_event

NOTHING = Trajectory()
INSPECTED = InspectEvent(trajectory=NOTHING, execution=Execution(trajectory=NOTHING), loss=Loss(total=0.9))
AMENDED = AmendEvent(message="R1: x", requirements=Requirements())


def accept(total: float) -> Event:
    return AcceptEvent(trajectory=NOTHING, loss=Loss(total=total))


def reject(total: float | None) -> Event:
    return RejectEvent(trajectory=NOTHING, loss=None if total is None else Loss(total=total))


def blame(step: str | None = "a", kind: str = "wrong_value") -> Event:
    return GradientEvent(trajectory=NOTHING, gradient=Gradient(locus=0, step=step, kind=kind, diagnosis="x"))


def test_accepted_losses_are_those_of_accept_events_in_order():
    events = (INSPECTED, accept(0.5), reject(0.7), accept(0.25))
    assert accepted_losses(events) == [0.5, 0.25]
    assert accepted_losses(()) == []


def test_where_requirements_were_amended_the_losses_begin_anew():
    assert accepted_losses((accept(0.1), AMENDED, accept(0.6), accept(0.2))) == [0.6, 0.2]


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
    assert first_suspect_right((accept(0.5), blame(), FailureEvent(message="x"), blame(), accept(0.2))) is True
    assert first_suspect_right((accept(0.5), blame(), reject(None), blame("b"), accept(0.2))) is False


def test_going_on_after_seeing_results_blames_nobody():
    stopped = (accept(0.5), blame(None, "missing_submit"), accept(0.3))
    assert first_suspect_right(stopped) is None
    assert first_suspect_right((*stopped, blame(), accept(0.1))) is True
    assert first_suspect_right((accept(0.0), blame("a", "not_reproducible"), accept(0.0))) is None


@given(event=any_event())
def test_events_go_to_json_and_back(event: Event) -> None:
    assert parse_event(json.loads(event.model_dump_json())) == event
    assert isinstance(event, Event)


def test_every_kind_has_a_record_of_its_own() -> None:
    kinds = [get_args(record.model_fields["kind"].annotation) for record in get_args(Event)]
    assert len(kinds) == len(set(kinds)) and all(len(kind) == 1 for kind in kinds)


def test_a_kind_that_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="'wander' found using 'kind' does not match any of the expected tags"):
        parse_event({"kind": "wander"})
