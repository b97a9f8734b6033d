"""What a reviewer's answers do to a run, in Pivot and in every other refiner."""

from __future__ import annotations

import asyncio
import threading
import time

import dspy
import pytest

from pivot_dspy import (
    CommitError,
    ConfigurationError,
    Environment,
    Pivot,
    Review,
    ReviewAwaited,
    check,
    from_functions,
    tool,
)
from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Pin, Reject, Require, Respond, Stop
from tests.refiners.loops import LARGE, MENDED, ONE, REQUEST, RIGHT, UNCHANGED, WRONG, kinds, run
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Store


class Reviewer:
    """Answers reviews in turn from a script, then has nothing to say; keeps what it was shown."""

    def __init__(self, *answers):
        self.answers, self.shown = list(answers), []

    def __call__(self, review: Review):
        self.shown.append(review)
        answer = self.answers.pop(0) if self.answers else None
        return answer(review) if callable(answer) else answer


def reviewed(*answers, review="before_commit", environment=None, request=REQUEST, timeout=None, **scripts):
    """The result of a run with a reviewer that answers so, the model's engine, and the reviewer."""
    reviewer = Reviewer(*answers)
    options = {"reviewer": reviewer, "review": review, "review_timeout": timeout}
    result, engine, _ = run(environment, request, pivot=options, **scripts)
    return result, engine, reviewer


def test_an_approved_result_is_as_it_was():
    result, engine, reviewer = reviewed(Approve(), plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified and engine.count() == 1
    (review,) = reviewer.shown
    assert review.occasion == "before_commit" and review.verdict.verified and review.outputs == {"answer": "p2"}
    assert [standing.status for standing in review.requirements] == ["holds", "holds"]
    assert kinds(result)[-2:] == ["review", "feedback"]


def test_an_edit_is_taken_and_pinned():
    result, engine, reviewer = reviewed(
        Edit(step="a", args={"size": "L"}), Approve(),
        review="each_round", plan=plan(WRONG, [LARGE, ONE]), evolve=UNCHANGED,
    )  # fmt: skip
    assert result.verified and result.answer == "p2"
    assert engine.count("evolve") == 0
    assert reviewer.shown[0].occasion == "each_round" and reviewer.shown[0].gradient.step == "a"
    assert reviewer.shown[-1].pinned == ("a",) and reviewer.shown[-1].changes.changed[0].after.args["size"] == "L"


def test_a_rejected_result_is_not_committed():
    result, _, _ = reviewed(Reject(message="Not red."), plan=plan(RIGHT, [LARGE, ONE]), evolve=UNCHANGED)
    assert result.verdict.status == "unverified"
    assert result.verdict.reasons[0] == "a person rejected it: Not red."
    with pytest.raises(CommitError, match="Not red"):
        result.commit()


def test_a_comment_is_a_gradient_in_the_models_own_channel():
    dearer = rewrite([step("c", "add", product_id="max_by($b, &price).id"), {"keep": ["submit"]}])
    result, engine, _ = reviewed(
        Comment(message="Take the dearer one.", step="c"), Approve(), plan=plan(RIGHT, [LARGE, ONE]), evolve=dearer
    )
    assert "Take the dearer one." in engine.last("evolve").section("blame")
    gradient = next(event.gradient for event in result.history if event.kind == "gradient")
    assert gradient.by == "person" and gradient.step == "c"
    assert result.verified and result.answer == "p4"


def test_what_is_pinned_stays_whoever_writes_the_rest():
    result, engine, reviewer = reviewed(
        [Pin(steps=("b",)), Comment(message="Look for blue things.")], Approve(),
        plan=plan(RIGHT, [ONE]), evolve=rewrite([step("a", "find", color="blue"), step("d", "add", product_id="p3"),
                                                 submit(answer="p3")]),
    )  # fmt: skip
    assert result.trajectory.ids == ("a", "b", "d", "submit")
    assert result.trajectory.steps[1].content() == reviewer.shown[0].step("b").content()
    assert "b: fixed by the user, and stays as it is." in engine.last("evolve").section("report")


def test_a_pinned_step_is_not_blamed():
    result, engine, reviewer = reviewed(
        Pin(steps=("a",)), review="each_round", plan=plan(WRONG, [LARGE, ONE]), evolve=MENDED
    )
    assert result.trajectory.steps[0].args == {"color": "red", "size": "M"} and not result.verified
    blamed = [event.gradient.step for event in result.history if event.kind == "gradient"]
    assert blamed[0] == "a" and "a" not in blamed[1:]
    assert reviewer.shown[-1].pinned == ("a",) and reviewer.shown[-1].occasion == "plateau"


def test_a_result_in_the_place_of_a_call():
    known = ["p2", "p4"]
    result, _, reviewer = reviewed(
        Respond(step="a", value={"ids": known}), Approve(), review="each_round", plan=plan(WRONG, [LARGE, ONE]),
        evolve=UNCHANGED,
    )  # fmt: skip
    assert result.verified and result.answer == "p2"
    assert result.execution.by_step["a"].value == {"ids": known} and result.execution.by_step["a"].calls == 0
    done = result.commit()
    assert done.by_step["a"].calls == 0 and done.outputs == {"answer": "p2"}


def test_a_persons_requirement_counts_and_is_altered_by_no_model():
    result, _, _ = reviewed(
        Require(requirement={"check": "total", "args": {"max": 30}}), plan=plan(RIGHT, [LARGE, ONE]), evolve=UNCHANGED
    )
    added = result.requirements.items[-1]
    assert added.origin == "person" and added.check == "total"
    assert not result.verified and any("total 40" in reason for reason in result.verdict.reasons)
    (amendment,) = result.requirements.amendments
    assert amendment.by == "person"


def test_stop_ends_the_search_with_the_best_so_far():
    result, engine, _ = reviewed(Stop(), review="each_round", plan=plan(WRONG, [LARGE, ONE]), evolve=MENDED)
    assert not result.verified and engine.count("evolve") == 0
    assert result.trajectory.steps[0].args["size"] == "M"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Edit(step="z", args={}), "no step is called 'z'; the steps are a, b, c, submit"),
        (Edit(step="a", args={"colour": "red"}), "has colour, which it does not take; the tool is find(color?, size?)"),
        (Edit(step="a", tool="fnd"), "no tool is called 'fnd'; did you mean 'find'?"),
        (Edit(step="b", args={"ids": 7}), "ids: 7 is not of type 'array'"),
        (Edit(step="b", dropped=("ids",)), "it lacks ids"),
        (Approve(steps=("c",)), "step c waits for no approval; those that do: none"),
        (Respond(step="submit", value=1), "edit its arguments instead"),
        (Require(requirement={"check": "colour"}), "no check is called 'colour'"),
        (Pin(steps=("q",)), "no step is called 'q'"),
        ([Approve(), Reject(message="no")], "it approves and has reject too"),
        (42, "a reviewer returns a HumanFeedback"),
        (HumanFeedback(review="x", actions=(Approve(),)), "it answers the review x"),
    ],
)
def test_an_answer_that_does_not_fit_is_asked_for_again(wrong, told):
    result, _, reviewer = reviewed(wrong, Approve(), plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified and len(reviewer.shown) == 2
    assert told in reviewer.shown[1].note
    assert reviewer.shown[0].id != reviewer.shown[1].id


def test_who_only_answers_nonsense_is_not_asked_for_ever():
    result, _, reviewer = reviewed(*[42] * 5, plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified and len(reviewer.shown) == 2
    assert any("was not taken" in event.message for event in result.history if event.kind == "note")


def test_a_reviewer_that_fails_loses_nothing():
    def fails(review):
        raise RuntimeError("out for lunch")

    result, _, _ = reviewed(fails, plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified
    assert "the reviewer failed: RuntimeError: out for lunch" in [
        event.message for event in result.history if event.kind == "note"
    ]


def test_a_reviewer_that_never_answers_is_not_waited_for():
    release = threading.Event()
    result, _, _ = reviewed(lambda review: release.wait(30) and None, timeout=0.05, plan=plan(RIGHT, [LARGE, ONE]))
    release.set()
    assert result.verified
    assert "the reviewer did not answer in 0.05 s" in [
        event.message for event in result.history if event.kind == "note"
    ]


async def approving(review):
    await asyncio.sleep(0)
    return Approve()


@pytest.mark.parametrize("timeout", [None, 5])
def test_a_coroutine_reviews_a_sync_call(timeout):
    result = run(plan=plan(RIGHT, [LARGE, ONE]), pivot={"reviewer": approving, "review_timeout": timeout})[0]
    assert result.verdict.approved == () and kinds(result)[-1] == "feedback"


@pytest.mark.parametrize("reviewer", [approving, lambda review: time.sleep(0.01) or Approve()])
async def test_reviews_of_an_async_call(reviewer):
    made = Pivot("request -> answer", Store, timeout=None, reviewer=reviewer)
    with dspy.context(lm=scripted(plan=plan(RIGHT, [LARGE, ONE]))):
        result = await made.acall(request=REQUEST)
    assert result.verified and kinds(result)[-1] == "feedback"


def test_a_reviewer_that_answers_later_ends_the_run_cleanly():
    def later(review):
        raise ReviewAwaited(review)

    result, _, _ = reviewed(later, plan=plan(RIGHT, [LARGE, ONE]))
    (review,) = result.awaiting
    assert not result.verified and result.answer == "p2" and result.verdict.reasons == (
        f"the review {review.id} waits for an answer",
    )  # fmt: skip


def test_a_function_decides_when_a_person_is_asked():
    result, _, reviewer = reviewed(
        Approve(), review=lambda review: review.outputs.get("answer") == "p4", plan=plan(RIGHT, [LARGE, ONE])
    )
    assert result.verified and not reviewer.shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reviewer": 7}, "takes a function from a Review"),
        ({"reviewer": Reviewer}, "write Reviewer\\(...\\)"),
        ({"review": "often"}, "never, plateau, before_commit, each_round"),
        ({"review_timeout": 0}, "above 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, told):
    with pytest.raises(ConfigurationError, match=told):
        Pivot("request -> answer", Store, **options)


# ----------------------------------------------------------------------------------------------------------- approvals


class Bank(Environment):
    """Payments, of which large ones need an approval."""

    def __init__(self):
        self.paid: list[tuple[str, int]] = []

    @tool(effect="write", approval=lambda args: args["amount"] > 100)
    def pay(self, to: str, amount: int) -> int:
        self.paid.append((to, amount))
        return amount

    @check
    def is_paid(self, to: str, amount: int) -> bool:
        return (to, amount) in self.paid


def paying(amount, *answers, environment=None):
    bank = environment or Bank()
    asked = {"id": "R1", "check": "is_paid", "args": {"to": "Ann", "amount": amount}}
    steps = [step("a", "pay", to="Ann", amount=amount), submit(answer="$a")]
    script = plan(steps, [asked])
    result, _, reviewer = reviewed(*answers, environment=bank, request=f"Pay Ann {amount}.", plan=script)
    return bank, result, reviewer


def test_a_call_that_needs_an_approval_waits_for_it():
    bank, result, _ = paying(500)
    assert result.verdict.status == "provisional" and result.verdict.unapproved == ("a",)
    assert result.verdict.reasons == ("step a, pay, waits for a person's approval",)
    with pytest.raises(CommitError, match="waits for a person's approval"):
        result.commit()
    assert bank.paid == []
    result.commit(allow=["a"])
    assert bank.paid == [("Ann", 500)]


def test_an_approval_by_the_reviewer_is_enough():
    bank, result, reviewer = paying(500, Approve())
    assert reviewer.shown[0].pending[0].approval
    assert result.verified and result.verdict.status == "checked" and result.verdict.approved == ("a",)
    assert ("step a", "person") in [(entry.about, entry.by) for entry in result.verdict.established]
    result.commit()
    assert bank.paid == [("Ann", 500)]


def test_small_payments_need_none():
    bank, result, _ = paying(50)
    assert result.verified
    result.commit()
    assert bank.paid == [("Ann", 50)]


def test_an_approval_is_asked_once_and_fails_closed():
    asked = []

    class Strict(Bank):
        @tool(effect="write", approval=lambda args: asked.append(args) or args["nobody"])
        def pay(self, to: str, amount: int) -> int:
            return super().pay(to, amount)

    _, result, _ = paying(5, environment=Strict())
    assert result.verdict.status == "provisional" and len(asked) == 1
    assert any("its predicate failed: KeyError" in event.message for event in result.history if event.kind == "note")


def test_an_approval_is_of_the_call_that_was_shown_alone():
    edited = Edit(step="a", args={"amount": 501})
    bank, result, reviewer = paying(500, Approve(), edited)
    assert result.verdict.approved == ("a",)  # the second answer was not asked for
    bank, result, reviewer = paying(500, edited, None)
    assert result.verdict.approved == () and result.verdict.status == "unverified"


def test_a_read_needs_no_approval():
    with pytest.raises(ConfigurationError, match='declare effect="irreversible"'):

        class Reading(Environment):
            @tool(effect="read", approval=True)
            def look(self) -> int:
                return 1

    def send(to: str) -> str:
        return to

    asked = from_functions([send], effects="irreversible", approval={"send": True}).toolbox
    assert asked.tools["send"].approval is True
    with pytest.raises(ConfigurationError, match="approval names sned"):
        from_functions([send], approval={"sned": True})
