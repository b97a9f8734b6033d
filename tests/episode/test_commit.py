"""A bank whose payments wait for commit: what may run for real, where it stops, and how it goes on."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pivot_dspy import CommitError, Requirement, tool
from pivot_dspy.departures import Difference
from pivot_dspy.episode.commit import UndoCall
from tests.episode.committing import refined
from tests.episode.payments import PAY, PLAN, SETTLED, Bank, Desk, values
from tests.scripted import step, submit


def covered(least: int) -> Requirement:
    return Requirement(id="R2", check="covered", args={"least": least})


# ------------------------------------------------------------------------------------------------ what may run for real


def test_what_could_not_be_tried_runs_only_when_it_is_allowed_by_name() -> None:
    real = Bank()
    result = refined(real, PLAN, SETTLED)
    with pytest.raises(
        CommitError,
        match=r'p pay {"to": "Ann", "amount": 10}; q pay {"to": "Bob", "amount": 20}\. '
        r'Run it with them by commit\(allow="all"\), .* commit\(allow=\["p", "q"\]\)',
    ):
        result.commit()
    assert real.paid == [] and result.committed is None
    execution = result.commit(allow="all")
    assert real.paid == [("Ann", 10), ("Bob", 20)] and result.committed is execution
    assert values(result)["c"] == {"balance": 90}  # it was read stale before, and established nothing
    with pytest.raises(CommitError, match="already committed; .* steps run for real: a, n, p, c, q"):
        result.commit(allow="all")
    with pytest.raises(CommitError, match="already committed"):
        result.resume_commit()


@pytest.mark.parametrize("allow", ["all", ["p", "q"], ("q", "p")])
async def test_it_can_be_awaited(allow: Any) -> None:
    real = Bank()
    await refined(real, PLAN, SETTLED).acommit(allow=allow)
    assert real.paid == [("Ann", 10), ("Bob", 20)]


@pytest.mark.parametrize(("allow", "said"), [(["x", "p"], "x, which does"), ("pp", "pp, .*; did you mean 'p'")])
def test_what_names_no_waiting_step_is_told_those_that_wait(allow: Any, said: str) -> None:
    real = Bank()
    result = refined(real, PLAN)
    with pytest.raises(CommitError, match=f"allow names {said}.*calls that do: p pay .*; q pay"):
        result.commit(allow=allow)
    assert real.paid == [] and result.committed is None
    result.commit(allow="all")  # nothing was lost by it


def test_what_is_not_allowed_stays_withheld() -> None:
    real = Bank()
    execution = refined(real, PLAN).commit(allow="q")
    assert real.paid == [("Bob", 20)] and execution.withheld == ("p",)
    with pytest.raises(CommitError, match=r"all was run \(not allowed: p\), and requirement R1 does not hold: 1 paid"):
        refined(Bank(), PLAN, SETTLED).commit(allow=["q"])


def test_what_was_tried_by_a_preview_may_be_left_out_too() -> None:
    real = Desk()
    mails = [step(name, "send", to=name) for name in ("Ann", "Bob")]
    result = refined(real, [*mails, step("t", "told", of="$Ann.state"), submit(answer="$t")])
    execution = result.commit(allow=["Bob"])
    assert real.sent == ["Bob"] and execution.withheld == ("Ann", "t", "submit")


def test_what_is_unverified_is_not_run_whatever_is_allowed() -> None:
    real = Bank()
    with pytest.raises(CommitError, match="not verified, so not committed: no verdict"):
        refined(real, PLAN, status="unverified").commit(allow="all")
    assert real.paid == []


def test_a_verified_result_runs_as_it_is() -> None:
    real = Bank()
    refined(real, PLAN, status="judged").commit()
    assert real.paid == [("Ann", 10), ("Bob", 20)]


def test_a_call_bound_to_what_could_not_be_tried_is_made_with_what_it_gave() -> None:
    steps = [PAY, step("r", "receipt", payment="$p.id"), submit(answer="$r")]
    result = refined(Bank(), steps)
    assert [call.args for call in result.verdict.pending] == [{"to": "Ann", "amount": 10}, {"payment": "$p.id"}]
    assert result.commit(allow="all").outputs == {"answer": "receipt of k1"}
    steps = [PAY, step("r", "receipt", for_each="[$p, $p]", payment="$item.id"), submit(answer="Done.")]
    assert refined(Bank(), steps).commit(allow="all").by_step["r"].calls == 2


# ------------------------------------------------------------------------------------------------------- where it stops


def test_it_stops_before_the_first_call_after_a_requirement_was_broken() -> None:
    real = Bank()
    result = refined(real, PLAN, covered(85), SETTLED)  # R1 is not met yet, which is no reason to stop
    real.balance = 92
    with pytest.raises(
        CommitError, match="R2 does not hold any more: balance 82; .* a, n, p, c; neither this"
    ) as caught:
        result.commit(allow="all")
    assert real.paid == [("Ann", 10)] and caught.value.step == "q"
    with pytest.raises(CommitError, match="R2 does not hold any more"):
        result.resume_commit()
    real.balance = 1000
    result.resume_commit()
    assert real.paid == [("Ann", 10), ("Bob", 20)] and real.notes == ["first"]


def test_every_hard_requirement_holds_in_the_end_or_the_error_says_which_does_not() -> None:
    real = Bank()
    result = refined(real, PLAN, covered(75), Requirement(id="R3", check="settled", args={"count": 9}, hard=False))
    with pytest.raises(CommitError, match="all was run, and requirement R2 does not hold: balance 70; .* p, c, q;"):
        result.commit(allow="all")
    real.balance = 80
    result.resume_commit()
    assert len(real.paid) == 2


def test_what_a_requirement_forbids_and_a_waiting_call_did_is_said() -> None:
    class Real(Bank):
        forkable = False  # then checks look at the real thing itself

    real = Real()
    steps = [PAY, submit(answer="Nothing to pay.")]
    with pytest.raises(CommitError, match="R1 does not hold: 1 paid"):
        refined(real, steps, Requirement(id="R1", check="settled", args={"count": 0})).commit(allow="all")


@pytest.mark.parametrize("status", ["provisional", "judged"])
def test_no_call_is_made_with_other_arguments_and_it_goes_on_when_they_are_as_they_were(status: Any) -> None:
    real = Bank()
    result = refined(real, PLAN, status=status)
    real.due[1]["amount"] = 99
    with pytest.raises(
        CommitError, match=r"step q would be called with amount = 20 and now 99; .*neither this"
    ) as caught:
        result.commit(allow="all")
    assert real.paid == [("Ann", 10)] and caught.value.difference == Difference("amount", 20, 99)
    with pytest.raises(CommitError, match="q would be called with amount = 20 and now 99"):
        result.resume_commit()
    real.due[1]["amount"] = 20
    result.resume_commit()
    assert real.paid == [("Ann", 10), ("Bob", 20)] and real.notes == ["first"]


def test_what_a_call_gave_and_should_not_have_is_refused_again_and_not_made_again() -> None:
    real = Bank()
    result = refined(real, [step("n", "note", text="x"), PAY, submit(answer="x")])
    real.notes.append("another")  # so that the note's number differs, which nothing depends on
    result.commit(allow="all")
    assert real.notes == ["another", "x"]

    class Careless(Bank):
        text: tuple[str, ...] = ()

        @tool(effect="write")
        def note(self, text: str) -> dict[str, Any]:
            self.notes.append(text)
            return {"text": self.said}

    real = Careless()
    result = refined(real, [step("n", "note", text="x"), PAY, submit(answer="x")])
    real.said = "full"
    for attempt in (lambda: result.commit(allow="all"), result.resume_commit, result.resume_commit):
        with pytest.raises(CommitError, match=r'step n gave text = "paid" and now "full"') as caught:
            attempt()
        assert caught.value.difference == Difference("text", "paid", "full")
    assert real.notes == ["x"] and real.paid == []


# --------------------------------------------------------------------------------------------------------- what is told


def test_the_error_says_what_happened_and_nothing_is_lost() -> None:
    real = Bank()
    result = refined(real, PLAN)
    real.faults = [False, False, False, True]
    with pytest.raises(
        CommitError, match="step q failed: ConnectionError: the bank is closed; .*: a, n, p, c, q;"
    ) as caught:
        result.commit(allow="all")
    error = caught.value
    assert isinstance(error.cause, ConnectionError) and error.__cause__ is error.cause
    assert error.step == "q" and error.result is result and error.difference is None
    assert error.execution is result.committed and values(result)["p"] == {"id": "k1", "state": "paid"}
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.step, copied.execution) == (str(error), error.step, error.execution)
    with pytest.raises(
        CommitError, match="already tried to commit, which failed; steps run for real: a, n, p, c, q; when"
    ):
        result.commit(allow="all")
    assert len(real.paid) == 1


def test_what_would_take_it_back_is_offered_newest_first_and_not_run() -> None:
    real = Bank()
    result = refined(real, [*PLAN[:3], step("m", "note", text="second"), *PLAN[4:]])
    real.faults = [False] * 4 + [True]
    with pytest.raises(CommitError, match="its `undo` lists") as caught:
        result.commit(allow="all")
    assert caught.value.undo == (
        UndoCall(step="m", tool="forget", args={"text": "second", "result": {"note": 2, "text": "second"}}),
        UndoCall(step="p", tool="take_back", args={"result": {"id": "k1", "state": "paid"}}),
        UndoCall(step="n", tool="forget", args={"text": "first", "result": {"note": 1, "text": "first"}}),
    )
    assert len(real.paid) == 1 and real.notes == ["first", "second"]
    for call in caught.value.undo:
        getattr(real, call.tool)(**call.args)
    assert real.notes == []


def test_two_long_texts_that_differ_far_inside_show_where() -> None:
    class Long(Bank):
        @tool(effect="read")
        def terms(self) -> dict[str, Any]:
            return {"text": f"{'same ' * 200}{self.said}{' alike' * 200}"}

    real = Long()
    result = refined(real, [step("t", "terms"), PAY, submit(answer="x")])
    real.said = "declined"
    with pytest.raises(CommitError, match=r"step t gave text = ….*paid alike.* and now ….*declined alike") as caught:
        result.commit(allow="all")
    assert len(str(caught.value)) < 700


def test_a_world_that_cannot_be_opened_is_named_and_tried_again() -> None:
    opened: list[Bank] = []

    def factory() -> Bank:
        if len(opened) == 1:
            opened.append(Bank())
            raise OSError("no route")
        opened.append(Bank())
        return opened[-1]

    result = refined(factory, [PAY, submit(answer="x")])
    with pytest.raises(CommitError, match="could not be opened, so nothing was run: OSError: no route") as caught:
        result.commit(allow="all")
    assert isinstance(caught.value.cause, OSError)
    result.resume_commit()
    assert opened[-1].paid == [("Ann", 10)]


def test_a_copy_or_pickle_of_a_result_goes_on_with_nothing() -> None:
    real = Bank()
    result = refined(real, PLAN)
    real.faults = [False, False, True]
    with pytest.raises(CommitError):
        result.commit(allow="all")
    for copied in (result.copy(), pickle.loads(pickle.dumps(result))):
        assert copied.committed == result.committed
        for attempt in (copied.commit, copied.resume_commit):
            with pytest.raises(CommitError, match="a copy of a result cannot be committed"):
                attempt()
    assert real.paid == []
