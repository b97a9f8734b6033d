import inspect as python_inspect

import dspy
import pytest
from dspy.teleprompt.bootstrap_trace import FailedPrediction

from pivot_dspy import trajectory_metric
from pivot_dspy.errors import ConfigurationError
from programs.comparison.ablations import PivotWithoutPatches
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Store

LARGE = {"id": "R1", "check": "item", "args": {"size": "L"}}
STEPS = [step("a", "find", size="L"), step("b", "add", product_id="$a.ids[0]"), submit(answer="$b.items[0]")]
WRONG = [step("a", "find", size="M"), *STEPS[1:]]


def refined(question="Buy something large", **scripts):
    with dspy.context(lm=scripted(**scripts)):
        return PivotWithoutPatches("question -> answer", Store, audit="never")(question=question)


@pytest.fixture(scope="module")
def good():
    return refined(plan=plan(STEPS, [LARGE]))


@pytest.fixture(scope="module")
def bad():
    return refined(plan=plan(WRONG, [LARGE]), evolve=rewrite([{"keep": ["a", "b", "submit"]}]))


def test_a_verified_result_scores_one(good):
    found = trajectory_metric(None, good)
    assert found.score == 1.0 and found.feedback == "Verified: every requirement holds." and found


def test_an_unverified_one_scores_by_its_loss_and_tells_the_last_gradient(bad):
    found = trajectory_metric(dspy.Example(), bad)
    assert found.score == pytest.approx(1 - bad.loss.total) and 0 < found.score < 1 and not found
    assert found.feedback.startswith("Not verified: requirement R1 is not met: p1 is red, M")
    assert "Blame: step" in found.feedback


def test_what_could_not_be_verified_though_its_loss_is_zero_scores_nothing(good):
    verdict = good.verdict.model_copy(update={"verified": False, "reasons": ("it went another way",)})
    changed = type(good)(base=good, verified=False, verdict=verdict)
    found = trajectory_metric(None, changed)
    assert found.score == 0.0 and "it went another way" in found.feedback


@pytest.mark.parametrize(
    ("pred", "said"),
    [(None, "failed"), (dspy.Prediction(), "failed"), (FailedPrediction(completion_text="blah"), "blah")],
)
def test_a_failed_run_scores_nothing_and_raises_nothing(pred, said):
    found = trajectory_metric(None, pred, None, "plan.predict", [])
    assert found.score == 0.0 and said in found.feedback


@pytest.mark.parametrize("pred", [dspy.Prediction(answer="x"), dspy.Prediction(answer="x", loss=0.5)])
def test_the_prediction_of_another_program_is_an_error_with_its_remedy(pred):
    with pytest.raises(ConfigurationError, match="evaluate the refiner itself"):
        trajectory_metric(None, pred)


def test_it_takes_the_five_arguments_of_gepa():
    python_inspect.signature(trajectory_metric).bind(None, None, None, None, None)
    dspy.GEPA(metric=trajectory_metric, max_metric_calls=1, reflection_lm=scripted(plan="x"))


def test_in_evaluate_scores_add_up_and_a_failing_run_counts_as_nothing():
    def plans(prompt):
        return plan(STEPS if "right" in prompt.section("question") else WRONG, [LARGE]) if (
            "fail" not in prompt.section("question")
        ) else "no plan"  # fmt: skip

    lm = scripted(plan=plans, evolve=rewrite([{"keep": ["a", "b", "submit"]}]))
    refiner = PivotWithoutPatches("question -> answer", Store, audit="never")
    examples = [dspy.Example(question=q).with_inputs("question") for q in ("right", "wrong", "fail", "right")]
    evaluate = dspy.Evaluate(
        devset=examples, metric=trajectory_metric, num_threads=4, display_progress=False, max_errors=10
    )
    with dspy.context(lm=lm):
        result = evaluate(refiner)
        wrong = trajectory_metric(None, refiner(question="wrong")).score
    assert result.score == pytest.approx(100 * (2 + wrong) / 4, abs=0.01)
    assert [float(score) for *_, score in result.results] == pytest.approx([1.0, wrong, 0.0, 1.0])


def test_bootstrapping_takes_what_was_verified_only():
    lm = scripted(
        plan=lambda prompt: plan(STEPS if "right" in prompt.section("question") else WRONG, [LARGE]),
        evolve=rewrite([{"keep": ["a", "b", "submit"]}]),
    )
    refiner = PivotWithoutPatches("question -> answer", Store, audit="never")
    train = [dspy.Example(question=q).with_inputs("question") for q in ("right one", "wrong one")]
    with dspy.context(lm=lm):
        compiled = dspy.BootstrapFewShot(metric=trajectory_metric, max_labeled_demos=0).compile(refiner, trainset=train)
    shown = [demo["question"] for demo in compiled.plan.predict.demos]
    assert shown == ["right one"]


def test_gepa_reads_the_feedback(bad):
    lm = scripted(
        plan=lambda prompt: plan(WRONG, [LARGE]),
        evolve=rewrite([{"keep": ["a", "b", "submit"]}]),
        compose="```\nPlan well.\n```",
    )
    refiner = PivotWithoutPatches("question -> answer", Store, audit="never", max_iters=1)
    data = [dspy.Example(question=q).with_inputs("question") for q in ("one", "two")]
    gepa = dspy.GEPA(metric=trajectory_metric, max_metric_calls=8, reflection_lm=lm, num_threads=2)
    with dspy.context(lm=lm):
        compiled = gepa.compile(refiner, trainset=data, valset=data)
    assert isinstance(compiled, PivotWithoutPatches)
    reflected = [prompt.text for prompt in lm.engine.prompts if prompt.phase == "compose"]
    assert any("Not verified: requirement R1" in text for text in reflected)
