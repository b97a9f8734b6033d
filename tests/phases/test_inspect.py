import dspy
import pytest

from pivot_dspy.claims import Claims
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.flow import run_sync
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.inspect import Inspect, Inspection, gradient_by_rule, inspect
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Trajectory
from tests.phases.showing import shown
from tests.scripted import scripted, step, submit
from tests.stores import Calls, Store, executed

TASK = dspy.Signature("request -> answer", "Buy what is asked for.")
INPUTS = {"request": "Buy something red."}
STEPS = [
    step("a", "find", color="red", size="L"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="min_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
NICE = Requirement(id="R2", text="It is nice.")
SETTLED = Requirements(items=(Requirement(id="R1", check="item", args={"color": "blue"}), NICE))
GRADIENT = Gradient(
    locus=0, step="a", kind="unexplained", diagnosis="?", evidence=("p2 is red",), slice=("a", "b", "c")
)


def inspected(steps=STEPS, requirements=SETTLED, **told) -> tuple[Inspection, object]:
    run = executed(steps)
    return inspect(run, requirements, INPUTS, **told), run.session


def test_it_executes_measures_and_asks_no_model():
    calls = Calls()
    session = SessionFactory(lambda: Store(calls), timeout=None).open(None)
    trajectory = executed(STEPS).execution.trajectory
    with dspy.context(lm=None):
        said = Inspect(TASK)(
            trajectory=trajectory, session=session, requirements=SETTLED, inputs=INPUTS, outputs={"answer": str}
        )
    assert calls == ["find", "details", "add p2"]
    assert said.inspection.execution is said.run.execution
    assert [(f.requirement, f.status) for f in said.inspection.findings] == [("R1", "violated"), ("R2", "unjudged")]
    assert said.inspection.loss.hard_violations == 2 and said.inspection.unjudged == ("R2",)
    assert said.inspection.trajectory == trajectory


def test_a_shared_prefix_is_not_run_again():
    calls = Calls()
    source = SessionFactory(lambda: Store(calls), timeout=None)
    phase = Inspect(TASK)
    asked = {"requirements": Requirements(), "inputs": INPUTS, "outputs": {"answer": str}}
    first = executed(STEPS).execution.trajectory
    base = phase(trajectory=first, session=source.open(None), **asked).run
    child = first.replace_from(
        3, [first.steps[3].model_copy(update={"args": {"answer": "$c.price"}})], operator="evolve"
    )
    calls.clear()
    said = phase(trajectory=child, session=base.after(3).fork(), base=base, **asked)
    assert calls == [] and said.run.execution.outputs == {"answer": "40"}


def test_a_judges_word_takes_the_place_of_what_is_open():
    holds = Finding(requirement="R2", status="holds", evidence="so it is")
    inspection, _ = inspected(judged=(holds,))
    assert inspection.findings[1] == holds and inspection.unjudged == ()
    lie = Finding(requirement="R1", status="holds")  # a check has spoken already
    assert inspected(judged=(lie,))[0].findings[0].status == "violated"


def test_a_judge_clears_or_names_claims():
    steps = [*STEPS[:3], submit(answer="It weighs 77 kg.")]
    assert len(inspected(steps)[0].claims.unsupported) == 1
    assert inspected(steps, cleared=True)[0].claims.unsupported == ()
    named = inspected(steps, cleared=True, unsupported=["77 kg", "kg"])[0]
    assert len(named.claims.unsupported) == 2 and named.loss.claims == 1.0


def test_an_inspection_goes_to_json_and_back():
    inspection, _ = inspected()
    assert Inspection.model_validate_json(inspection.model_dump_json()) == inspection


@pytest.mark.parametrize(
    ("steps", "items", "needs"),
    [
        ([*STEPS[:3], submit()], (), True),
        ([*STEPS[:3], submit()], (NICE,), True),
        (STEPS[:3], (), True),
        (STEPS, (), False),
        ([*STEPS[:3], submit()], SETTLED.items, False),
        ([step("x", "fly"), submit()], (), False),
        ([*STEPS[:3], step("o", "order"), submit()], (), True),
    ],
)
def test_when_only_the_outputs_are_missing(steps, items, needs):
    assert inspected(steps, Requirements(items=items))[0].needs_only_outputs is needs


# --------------------------------------------------------------------------------------------------------------- blame


def by_rule(inspection, session, settled=SETTLED, refuted=frozenset()):
    return gradient_by_rule(
        inspection, settled, session, task="Buy something red.", known="", refuted=frozenset(refuted)
    )


def test_rules_name_a_suspect_and_then_the_next():
    inspection, session = inspected()
    seen: set[tuple[str | None, str]] = set()
    while (found := by_rule(inspection, session, refuted=seen)) is not None:
        assert found.key not in seen
        seen.add(found.key)
    assert seen


def test_where_nothing_is_wrong_nothing_is_blamed():
    inspection, session = inspected(requirements=Requirements())
    assert by_rule(inspection, session, Requirements()) is None


def test_an_answer_without_support_is_for_its_submit_to_mend():
    inspection, session = inspected([*STEPS[:3], submit(answer="It weighs 77 kg.")], Requirements())
    found = by_rule(inspection, session, Requirements())
    assert (found.step, found.kind, found.locus) == ("submit", "unsupported_claim", 3)
    assert "77" in found.evidence[0]
    assert by_rule(inspection, session, Requirements(), {found.key}) is None


def test_an_answer_alone_lacks_the_steps_that_it_tells_of():
    inspection, session = inspected([submit(answer="It is order 77.")], Requirements())
    found = by_rule(inspection, session, Requirements())
    assert (found.step, found.kind, found.locus) == ("submit", "missing_step", 0)
    assert by_rule(inspection, session, Requirements(), {found.key}) is None


def localised(answer, refuted=(), steps=STEPS):
    told = shown(executed(steps), SETTLED, INPUTS)
    lm = scripted(localise=answer)
    with dspy.context(lm=lm):
        return run_sync(Inspect(TASK).localise(told, GRADIENT, refuted)), lm.engine


def said(step):
    return {"diagnosis": "It asks for red.", "step": step, "correction": "Ask for blue."}


def test_the_model_chooses_within_the_slice():
    found, engine = localised(said("b"))
    assert (found.locus, found.step, found.by) == (1, "b", "model")
    assert (found.diagnosis, found.correction, found.evidence) == ("It asks for red.", "Ask for blue.", ("p2 is red",))
    suspects = engine.prompts[0].section("suspects")
    assert [line.split('"')[3] for line in suspects.splitlines() if not line.startswith("| ")] == ["a", "b", "c"]


def test_the_prompt(snapshot):
    _, engine = localised(said("b"))
    snapshot("phases/localise.txt", engine.prompts[0].text)
    assert list(engine.prompts[0].sections) == ["policy", "request", "suspects", "report"]


@pytest.mark.parametrize(
    ("answer", "step", "locus"),
    [("$b", "b", 1), ("`c`", "c", 2), ("end", "submit", 3), ("submit", "a", 0), ("zz", "a", 0), ("", "a", 0)],
)
def test_what_it_may_name(answer, step, locus):
    found, _ = localised(said(answer))
    assert (found.step, found.locus) == (step, locus)


def test_without_a_submit_the_end_is_after_all_steps():
    found, _ = localised(said("end"), steps=STEPS[:3])
    assert (found.step, found.locus) == (None, 3)


def test_what_was_refuted_is_not_shown_and_cannot_be_named():
    found, engine = localised(said("b"), refuted={("b", "unexplained"), ("submit", "unexplained")})
    assert found.step == "a" and '"id": "b"' not in engine.prompts[0].section("suspects")
    assert localised(said("end"), refuted={("submit", "unexplained")})[0].step == "a"


def test_an_empty_trajectory_can_be_inspected():
    run = executed([])
    inspection = inspect(run, SETTLED, INPUTS)
    assert inspection.claims == Claims() and inspection.loss.validity == 1.0
    assert by_rule(inspection, run.session) is not None
    assert isinstance(inspection.trajectory, Trajectory)
