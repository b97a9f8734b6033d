"""Reviews that are answered later, by somebody else."""

from __future__ import annotations

import threading

import dspy
import pytest

from pivot_dspy import ConfigurationError, Environment, Pivot, Review, check, tool
from pivot_dspy.human.feedback import Approve, Edit, HumanFeedback, Reject
from pivot_dspy.human.files import FileReviewer
from tests.scripted import plan, scripted, step, submit


class Bank(Environment):
    """Pays what is owed; each payment needs an approval."""

    owed = 500

    def __init__(self):
        self.paid: list[int] = []

    @tool(effect="read")
    def debt(self) -> int:
        return self.owed

    @tool(effect="write", approval=True)
    def pay(self, amount: int) -> int:
        self.paid.append(amount)
        return amount

    @check
    def is_paid(self) -> bool:
        return self.paid == [self.owed]


SCRIPT = {
    "plan": plan([step("a", "debt"), step("b", "pay", amount="$a"), submit(answer="$b")],
                 [{"id": "R1", "check": "is_paid", "args": {}}]),
    "evolve": {"diagnosis": "", "requirements": [], "steps": [{"keep": ["a", "b", "submit"]}]},
}  # fmt: skip


@pytest.fixture
def bank():
    return Bank()


@pytest.fixture
def paying(tmp_path, bank):
    """A refiner that asks by files, and goes on in what might be another process; its model is asked once."""
    lm, inbox = scripted(**SCRIPT), FileReviewer(tmp_path / "reviews")

    def go_on(inbox=inbox, **options):
        made = Pivot("request -> answer: int", bank, journal=tmp_path / "runs", reviewer=inbox, timeout=None)
        with dspy.context(lm=lm):
            return made.resume(**options) if (tmp_path / "runs").exists() else made(request="Pay what is owed.")

    go_on.lm, go_on.inbox = lm, inbox
    return go_on


def test_a_review_is_answered_in_its_folder(paying, bank):
    result = paying()
    (waiting,) = paying.inbox.reviews()
    assert result.awaiting == (waiting.review,) and not result.verified and bank.paid == []
    assert [call.args for call in waiting.review.pending] == [{"amount": 500}]
    assert paying().awaiting == result.awaiting  # nobody has answered: nothing changes
    paying.inbox.answer(waiting.review.id, Approve())
    assert paying.inbox.reviews() == []
    result = paying(commit=True)
    assert result.verified and bank.paid == [500] and paying.lm.engine.count() == 1


def test_an_answer_is_validated_before_it_is_written(paying):
    review = paying().awaiting[0]
    for wrong, told in [
        (Edit(step="b", args={"amount": "much"}), "amount: 'much' is not of type 'integer'"),
        (HumanFeedback(review="other", actions=(Approve(),)), "it answers the review other"),
        ("nonsense", "no feedback"),
    ]:
        with pytest.raises(ConfigurationError, match=told):
            paying.inbox.answer(review.id, wrong)
    with pytest.raises(ConfigurationError, match=f"has no review 'q'; those that wait: {review.id}"):
        paying.inbox.answer("q", Approve())
    with pytest.raises(ConfigurationError, match="has no review"):
        paying.inbox.answer(f"../{paying.inbox.folder.name}/{review.id}", Approve())
    assert paying.inbox.reviews()[0].review == review


def test_the_same_answer_twice_is_harmless_and_another_is_refused(paying):
    review = paying().awaiting[0]
    assert paying.inbox.answer(review.id, Approve()) == paying.inbox.answer(review.id, Approve())
    with pytest.raises(ConfigurationError, match="was answered otherwise"):
        paying.inbox.answer(review.id, Reject(message="Too much."))


def test_an_old_answer_is_not_applied_to_other_arguments(paying, bank):
    old = paying().awaiting[0]
    bank.owed = 900  # the world has changed meanwhile
    paying.inbox.answer(old.id, Approve())
    result = paying(commit=True)
    (new,) = result.awaiting
    assert new.id != old.id and bank.paid == [] and [call.args for call in new.pending] == [{"amount": 900}]
    assert f"since this was asked before ({old.id}): step a gave 500 and gives 900" in new.note
    paying.inbox.answer(new.id, Approve())
    assert paying(commit=True).verified and bank.paid == [900]


def test_a_question_that_is_not_asked_any_more_cannot_be_answered(paying, bank):
    old = paying().awaiting[0]
    bank.owed = 900
    new = paying().awaiting[0]
    with pytest.raises(ConfigurationError, match=f"answer {new.id}"):
        paying.inbox.answer(old.id, Approve())
    assert [one.review.id for one in paying.inbox.reviews()] == [new.id]


def test_an_expired_review_is_asked_anew(paying):
    hasty = FileReviewer(paying.inbox.folder, expires=0.01)
    review = paying(hasty).awaiting[0]
    threading.Event().wait(0.02)
    assert hasty.reviews() == []
    with pytest.raises(ConfigurationError, match="expired at .*; resume the run to be asked anew"):
        hasty.answer(review.id, Approve())
    again = paying().awaiting[0]
    assert again.id == review.id
    paying.inbox.answer(review.id, Approve())
    assert paying().verified


@pytest.mark.parametrize(
    ("text", "told"), [("{", "is damaged"), ('{"format": 9}', "has the format 9"), ("[]", "is damaged")]
)
def test_files_that_cannot_be_read_are_named(paying, text, told):
    review: Review = paying().awaiting[0]
    (paying.inbox.folder / f"{review.id}.review.json").write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        paying.inbox.answer(review.id, Approve())


def test_a_time_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="above 0"):
        FileReviewer(tmp_path, expires=0)
