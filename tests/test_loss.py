from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy.loss import EPSILON, Loss, Weights, measure
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Discrepancy, Execution, Fault, Observation, Step, Trajectory

WEIGHTS = st.builds(
    Weights,
    **{name: st.floats(0, 10) for name in Weights.model_fields if name != "lexicographic"},
    lexicographic=st.booleans(),
)


@st.composite
def situations(draw, hard=None):
    """What `measure` takes: an execution of any shape, requirements and how they stand."""
    count = draw(st.integers(0, 6))
    statuses = draw(st.lists(st.sampled_from(["ok", "error", "blocked", "withheld"]), min_size=count, max_size=count))
    submits = draw(st.booleans())
    steps = [Step(id=f"s{n}", tool="submit" if submits and n == count - 1 else "look") for n in range(count)]
    fault = Fault(kind="tool_error", message="no")
    seen = [
        Observation(step=step.id, status=status, fault=fault if status == "error" or draw(st.booleans()) else None)
        for step, status in zip(steps, statuses, strict=True)
    ]
    unmet = [
        Discrepancy(kind="unmet_expectation", step=o.step, message="no") for o in seen if o.ok and draw(st.booleans())
    ]
    outputs = {f"o{n}": 1 for n in range(draw(st.integers(0, 2)))}
    missing = tuple(f"m{n}" for n in range(draw(st.integers(0, 2))))
    execution = Execution(
        trajectory=Trajectory(steps=tuple(steps)),
        observations=tuple(seen),
        outputs=outputs,
        missing_outputs=missing,
        discrepancies=tuple(unmet),
    )
    sort = st.just(hard) if hard is not None else st.booleans()
    items = tuple(
        Requirement(id=f"R{n}", text="x", hard=draw(sort), weight=draw(st.floats(0.1, 5)))
        for n in range(draw(st.integers(0, 4)))
    )
    status = st.sampled_from(["holds", "violated", "unjudged"])
    findings = tuple(Finding(requirement=item.id, status=draw(status)) for item in items)
    claims = draw(st.integers(0, 4))
    unsupported = tuple(Discrepancy(kind="unsupported_claim", message="x") for _ in range(draw(st.integers(0, claims))))
    return SimpleNamespace(
        execution=execution, requirements=Requirements(items=items), findings=findings, claims=claims,
        unsupported=unsupported,
    )  # fmt: skip


def loss_of(situation, **options) -> Loss:
    return measure(
        situation.execution, situation.requirements, situation.findings, unsupported=situation.unsupported,
        claims=situation.claims, **options,
    )  # fmt: skip


PARTS = ("validity", "discrepancy", "requirements", "completeness", "claims")


@given(situations(), WEIGHTS, st.none() | st.floats(-1, 2))
def test_every_part_and_the_total_lie_in_the_unit_interval(situation, weights, outcome):
    loss = loss_of(situation, weights=weights, outcome=outcome)
    for name in (*PARTS, "total"):
        assert 0 <= getattr(loss, name) <= 1 + EPSILON
    assert (loss.outcome is None) == (outcome is None)
    assert Loss.model_validate_json(loss.model_dump_json()) == loss
    assert Weights.model_validate_json(weights.model_dump_json()) == weights


@given(situations(), st.none() | st.floats(0, 1))
def test_the_total_is_zero_only_where_every_part_is(situation, outcome):
    loss = loss_of(situation, outcome=outcome)
    nothing = all(getattr(loss, name) == 0 for name in PARTS) and not loss.outcome and not loss.hard_violations
    assert loss.perfect == nothing or loss.total < 10 * EPSILON


@given(situations(), situations())
def test_totals_order_by_violated_hard_requirements_and_then_by_the_mean(one, other):
    first, second = loss_of(one), loss_of(other)
    assume(first.hard_count == second.hard_count)

    def key(loss: Loss) -> tuple[int, float]:
        return loss.hard_violations, loss.total * (loss.hard_count + 1) - loss.hard_violations

    if first.hard_violations != second.hard_violations:
        assert (first.total < second.total) == (first.hard_violations < second.hard_violations)
    else:
        means = [loss_of(situation, weights=Weights(lexicographic=False)).total for situation in (one, other)]
        assert key(first)[1] == pytest.approx(means[0]) and key(second)[1] == pytest.approx(means[1])
        if abs(means[0] - means[1]) > 1e-6:
            assert (first.total < second.total) == (means[0] < means[1])


@given(situations(hard=False))
def test_without_hard_requirements_the_total_is_the_weighted_mean(situation):
    assert loss_of(situation).total == pytest.approx(loss_of(situation, weights=Weights(lexicographic=False)).total)


def run_of(*statuses: str, missing: tuple[str, ...] = ()) -> Execution:
    steps = [Step(id=f"s{n}", tool="look") for n in range(len(statuses) - 1)] + [Step(id="submit", tool="submit")]
    observations = tuple(Observation(step=s.id, status=status) for s, status in zip(steps, statuses, strict=True))
    return Execution(
        trajectory=Trajectory(steps=tuple(steps)), observations=observations, outputs={"a": 1}, missing_outputs=missing
    )


def test_what_each_part_says():
    settled = Requirements(
        items=(Requirement(id="R1", text="x", weight=3), Requirement(id="R2", text="y", weight=1, hard=False))
    )
    loss = measure(
        run_of("ok", "error", "blocked", "ok", missing=("b",)),
        settled,
        (Finding(requirement="R1", status="holds"), Finding(requirement="R2", status="unjudged")),
        unsupported=(Discrepancy(kind="unsupported_claim", message="x"),),
        claims=4,
        outcome=0.25,
    )
    assert (loss.validity, loss.requirements, loss.completeness, loss.claims, loss.outcome) == (
        0.375,  # a step that failed counts whole, one that was blocked by it half
        0.25,
        0.5,
        0.25,
        0.75,
    )
    assert (loss.hard_violations, loss.hard_count) == (0, 1)


def test_steps_that_wait_for_commit_are_no_failures():
    assert measure(run_of("withheld", "ok"), Requirements(), ()).perfect


def test_an_expectation_that_is_not_met_and_a_partly_failed_repetition_count_once_for_a_step():
    execution = run_of("ok", "ok")
    fault = Fault(kind="tool_error", message="1 of 2 calls failed")
    seen = (execution.observations[0].model_copy(update={"fault": fault}), execution.observations[1])
    found = (
        Discrepancy(kind="tool_error", step="s0", message="x"),
        Discrepancy(kind="unmet_expectation", step="s0", message="y"),
    )
    execution = execution.model_copy(update={"observations": seen, "discrepancies": found})
    assert measure(execution, Requirements(), ()).discrepancy == 0.5


def test_a_trajectory_without_submit_or_without_steps_is_incomplete():
    nothing = Execution(trajectory=Trajectory(), missing_outputs=("a",))
    loss = measure(nothing, Requirements(), ())
    assert (loss.validity, loss.completeness) == (1.0, 1.0)


def test_a_weight_of_zero_takes_a_part_out():
    weights = Weights(validity=0, completeness=0, lexicographic=False)
    assert measure(run_of("error", "ok", missing=("b",)), Requirements(), (), weights=weights).perfect


@pytest.mark.parametrize("bad", [{"validity": -0.5}, {"total": 1.5}, {"outcome": 2.0}])
def test_a_part_outside_the_unit_interval_is_refused(bad):
    with pytest.raises(ValidationError, match="should be (less|greater) than or equal to"):
        Loss(**bad)


def test_records_never_change():
    with pytest.raises(ValidationError):
        Loss().total = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Weights(validity=-1)
