"""A bank whose payments wait for commit: what may run for real, where it stops, and how it goes on."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import CommitError, Environment, Refined, Requirement, Step, Trajectory, check, tool
from pivot_dspy.departures import Difference
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.ownership import commits_on
from pivot_dspy.episode.commit import UndoCall
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from tests.episode.committing import refined
from tests.scripted import step, submit


class Bank(Environment):
    """Pays what is due. `faults` says which of the calls to come raise, in the real world alone."""

    def __init__(self) -> None:
        self.due: list[dict[str, Any]] = [{"to": "Ann", "amount": 10}, {"to": "Bob", "amount": 20}]
        self.balance = 100
        self.paid: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self.keys: list[str] = []
        self.faults: list[bool] = []
        self.said = "paid"
        self.slow = 0.0

    def _begin(self) -> None:
        if self.faults and self.faults.pop(0):
            raise ConnectionError("the bank is closed")

    @tool(effect="read")
    def bills(self) -> list[dict[str, Any]]:
        self._begin()
        return self.due

    @tool(effect="read")
    def account(self) -> dict[str, int]:
        return {"balance": self.balance}

    @tool(effect="write", undo="forget")
    def note(self, text: str) -> dict[str, Any]:
        self._begin()
        self.notes.append(text)
        return {"note": len(self.notes), "text": text}

    def forget(self, text: str, result: dict[str, Any]) -> None:
        self.notes.remove(text)

    @tool(effect="irreversible", undo="take_back")
    def pay(self, to: str, amount: int) -> dict[str, Any]:
        self._begin()
        self.balance -= amount
        self.paid.append((to, amount))
        time.sleep(self.slow)
        return {"id": f"k{len(self.paid)}", "state": self.said}

    @tool(effect="irreversible")
    def take_back(self, result: dict[str, Any]) -> str:
        return f"took {result['id']} back"

    @tool(effect="irreversible")
    def receipt(self, payment: str) -> str:
        self._begin()
        return f"receipt of {payment}"

    @check
    def covered(self, least: int) -> tuple[bool, str]:
        return self.balance >= least, f"balance {self.balance}"

    @check
    def settled(self, count: int) -> tuple[bool, str]:
        return len(self.paid) == count, f"{len(self.paid)} paid"


PAY = step("p", "pay", to="Ann", amount=10)
PLAN = [
    step("a", "bills"),
    step("n", "note", text="first"),
    PAY,
    step("c", "account"),
    step("q", "pay", to="$a[1].to", amount="$a[1].amount"),
    submit(answer="Both are paid."),
]
SETTLED = Requirement(id="R1", check="settled", args={"count": 2})


def covered(least: int) -> Requirement:
    return Requirement(id="R2", check="covered", args={"least": least})


def values(result: Refined) -> dict[str, Any]:
    return {seen.step: seen.value for seen in result.committed.observations if seen.ok}


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


# ------------------------------------------------------------------------------------------------------- how it goes on


def test_it_goes_on_in_the_world_that_a_factory_made_for_it() -> None:
    opened: list[Bank] = []

    def factory() -> Bank:
        opened.append(Bank())
        return opened[-1]

    result = refined(factory, PLAN, SETTLED)
    before = len(opened)
    original = SessionFactory.open_real

    def failing(self: SessionFactory, *args: Any) -> Any:
        session = original(self, *args)
        session.environment.faults = [False, False, False, True]  # type: ignore[attr-defined]
        return session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionFactory, "open_real", failing)
        with pytest.raises(CommitError):
            result.commit(allow="all")
    assert commits_on(None) is not None  # no commit is at work while this one waits to go on
    result.resume_commit()
    assert commits_on(None) is not None
    assert len(opened) == before + 1 and opened[-1].paid == [("Ann", 10), ("Bob", 20)]


CALLS = [
    step("a", "bills"),
    step("n", "note", text="one"),
    step("each", "pay", for_each="$a", to="$item.to", amount="$item.amount"),
    step("c", "account"),
    step("m", "note", text="two"),
    step("p", "pay", to="Eve", amount="$a[0].amount"),
    step("r", "receipt", payment="$p.id"),
    submit(answer="Done."),
]


@given(st.lists(st.booleans(), max_size=30), st.booleans())
def test_every_write_happens_exactly_once_over_any_sequence_of_failures(faults: list[bool], checked: bool) -> None:
    real = Bank()
    result = refined(real, CALLS, *([Requirement(id="R1", check="settled", args={"count": 3})] if checked else []))
    real.faults = list(faults)
    attempt, attempts = (lambda: result.commit(allow="all")), 0
    while True:
        attempts += 1
        before = (list(real.paid), list(real.notes))
        try:
            execution = attempt()
            break
        except CommitError as error:
            assert isinstance(error.cause, ConnectionError) and error.execution is result.committed
            assert before[0] == real.paid[: len(before[0])] and before[1] == real.notes[: len(before[1])]
            seen = {o.step: o for o in result.committed.observations}
            assert len(seen["each"].value or []) == min(2, len(real.paid)) if "each" in seen else real.paid == []
            assert len(error.undo) == len(real.paid) + len(real.notes)
            attempt = result.resume_commit
    assert attempts == 1 + sum(faults[: len(faults) - len(real.faults)])
    assert real.paid == [("Ann", 10), ("Bob", 20), ("Eve", 10)] and real.notes == ["one", "two"]
    assert [seen.status for seen in execution.observations] == ["ok"] * len(CALLS) and execution is result.committed
    assert values(result)["r"] == "receipt of k3" and [pair["result"]["id"] for pair in values(result)["each"]] == [
        "k1",
        "k2",
    ]


WORLDS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([20, 21, 10]), st.booleans()), max_size=8)


@given(WORLDS)
def test_whatever_the_world_does_meanwhile_only_what_was_verified_is_done_and_once(worlds: list[Any]) -> None:
    real = Bank()
    result = refined(real, CALLS)
    original, expected = copy.deepcopy(real.due), [("Ann", 10), ("Bob", 20), ("Eve", 10)]
    attempt: Any = lambda: result.commit(allow="all")  # noqa: E731
    # What was misread is read again once that has shown: then it is done.
    for row, amount, fails in [*worlds, (0, 10, False), (0, 10, False)]:
        real.due = copy.deepcopy(original)
        real.due[row]["amount"], real.faults = amount, [False, fails]
        try:
            attempt()
            break
        except CommitError as error:
            assert error.execution is result.committed
            assert real.paid == expected[: len(real.paid)] and real.notes == ["one", "two"][: len(real.notes)]
            attempt = result.resume_commit
    assert real.paid == expected and real.notes == ["one", "two"]


async def test_it_goes_on_awaited_and_a_cancelled_one_is_known() -> None:
    class Slow(Bank):
        @tool(effect="irreversible")
        async def wire(self, to: str) -> str:
            started.set()
            await asyncio.sleep(5 if len(self.notes) == 1 else 0)
            return f"wired to {to}"

    started = asyncio.Event()
    real = Slow()
    result = refined(real, [step("n", "note", text="x"), step("w", "wire", to="Ann"), submit(answer="$w")])
    waiting = asyncio.ensure_future(result.acommit(allow="all"))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert values(result) == {"n": {"note": 1, "text": "x"}}
    with pytest.raises(CommitError, match="nobody knows whether the last call of step w"):
        await result.aresume_commit()
    real.notes.append("so that it is quick")
    assert (await result.aresume_commit(repeat="w")).outputs == {"answer": "wired to Ann"}
    assert real.notes == ["x", "so that it is quick"]


def test_a_call_that_took_too_long_is_not_made_again_unasked() -> None:
    real = Bank()
    result = refined(real, [PAY, submit(answer="x")], timeout=0.2)
    real.slow = 1.0
    with pytest.raises(CommitError, match="step p failed: pay took longer than 0.2 s"):
        result.commit(allow="all")
    with pytest.raises(CommitError, match=r'nobody knows .* step p .* go on with resume_commit\(repeat="p"\)'):
        result.resume_commit()
    assert real.paid == [("Ann", 10)]  # it did
    real.slow, real.paid = 0.0, []  # had it not
    result.resume_commit(repeat="p")
    assert real.paid == [("Ann", 10)]


class Keyed(Environment):
    """A bank that knows a payment that is made again by its key."""

    def __init__(self) -> None:
        self.paid: dict[str, int] = {}
        self.keys: list[str] = []
        self.answers = True

    @tool(effect="read")
    def due(self) -> list[int]:
        return [1, 2]

    @tool(effect="irreversible", preview="as_if", idempotency_key="request_id", undo="cancel")
    def pay(self, amount: int, request_id: str) -> str:
        self.keys.append(request_id)
        self.paid.setdefault(request_id, amount)
        if not self.answers:
            raise TimeoutError("no answer")
        return "paid"

    def as_if(self, amount: int, request_id: str) -> str:
        KEYS_IN_COPIES.append(request_id)
        return "paid"

    def cancel(self, request_id: str, amount: int) -> None:
        """Takes it back."""


KEYS_IN_COPIES: list[str] = []


def test_a_call_that_is_made_again_has_the_key_that_it_had() -> None:
    KEYS_IN_COPIES.clear()
    real = Keyed()
    paying = step("b", "pay", for_each="$d", amount="$item")
    steps = [step("a", "pay", amount=5), step("d", "due"), paying, submit(answer="x")]
    result = refined(real, steps, status="judged")
    assert KEYS_IN_COPIES[0] not in result.execution.model_dump_json()
    real.answers = False
    for attempt in (result.commit, result.resume_commit):
        with pytest.raises(CommitError, match="TimeoutError: no answer"):
            attempt()
    real.answers = True
    result.resume_commit()
    assert list(real.paid.values()) == [5, 1, 2] and len(real.keys) == 5 and len(set(real.keys[:3])) == 1
    assert list(dict.fromkeys(real.keys)) == KEYS_IN_COPIES
    other = Keyed()
    refined(other, steps, status="judged").commit()
    assert not other.paid.keys() & real.paid.keys()  # another result asks for other payments


def test_an_undo_is_given_the_key_of_the_call() -> None:
    real = Keyed()
    result = refined(
        real, [step("a", "pay", amount=5), step("b", "pay", amount=6), submit(answer="x")], status="judged"
    )

    class Broken(list[str]):
        def append(self, key: str) -> None:
            if len(self) == 1:
                raise OSError("gone")
            super().append(key)

    real.keys = Broken()
    with pytest.raises(CommitError) as caught:
        result.commit()
    assert caught.value.undo == (UndoCall(step="a", tool="cancel", args={"request_id": real.keys[0], "amount": 5}),)


def test_an_interrupt_loses_nothing_and_leaves_open_what_may_have_been_done() -> None:
    real = Bank()
    result = refined(real, PLAN)
    stop = threading.Event()

    def interrupt(self: Bank, to: str, amount: int) -> Any:
        stop.set()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bank, "pay", interrupt)
        with pytest.raises(KeyboardInterrupt):
            result.commit(allow="all")
    assert stop.is_set() and values(result)["n"] == {"note": 1, "text": "first"}
    with pytest.raises(CommitError, match="nobody knows whether the last call of step p did what it does"):
        result.resume_commit()
    result.resume_commit(repeat="p")
    assert real.paid == [("Ann", 10), ("Bob", 20)] and real.notes == ["first"]


def test_only_one_of_many_threads_commits_or_goes_on() -> None:
    real = Bank()
    result = refined(real, PLAN)
    real.faults = [False] * 3 + [True]

    def attempt(number: int) -> bool:
        try:
            return (result.commit(allow="all") if number % 2 else result.resume_commit()) is not None
        except CommitError:
            return False

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(attempt, range(64)))
    done += 0 if done else attempt(0)
    assert done == 1 and real.paid == [("Ann", 10), ("Bob", 20)]


# --------------------------------------------------------------------------------------------------------------- clocks


class Desk(Environment):
    """Sends mail; each result says when, by a clock that only the real world moves."""

    def __init__(self) -> None:
        self.clock = "Mon 30 Nov, 11:58 AM"
        self.later = ["Mon 30 Nov, 11:59 AM", "Tue 1 Dec, 12:00 AM", "Tue 1 Dec, 12:01 AM"]
        self.sent: list[str] = []
        self.moves = False

    @tool(effect="irreversible", preview="as_if")
    def send(self, to: str) -> dict[str, str]:
        self.sent.append(to)
        if self.moves:
            self.clock = self.later[len(self.sent) - 1]
        return {"at": self.clock, "state": "sent"}

    def as_if(self, to: str) -> dict[str, str]:
        return {"at": self.clock, "state": "sent"}

    @tool(effect="read")
    def told(self, of: str) -> str:
        return of


def test_a_clock_that_nothing_uses_stops_no_mail() -> None:
    real = Desk()
    mails = [step(name, "send", to=name) for name in ("Ann", "Bob", "Cat")]
    result = refined(real, [*mails, submit(answer="Three mails are sent.")], status="judged")
    real.moves = True
    result.commit()
    assert real.sent == ["Ann", "Bob", "Cat"]
    used = refined(real := Desk(), [*mails, submit(answer="$Ann.at")], status="judged")
    real.moves = True
    with pytest.raises(CommitError, match=r'step Ann gave at = "Mon 30 Nov, 11:58 AM" and now "Mon 30 Nov, 11:59 AM"'):
        used.commit()


# ------------------------------------------------------------------------------------------------------------ staleness


def test_what_is_read_after_a_step_that_waits_is_stale() -> None:
    result = refined(Bank(), PLAN)
    assert {seen.step for seen in result.execution.observations if seen.stale} == {"c"}
    assert not any(seen.stale for seen in result.commit(allow="all").observations)
    session = SessionFactory(Bank).open(None)
    first = Trajectory(steps=(Step(id="p", tool="pay", args={"to": "Ann", "amount": 1}), Step(id="c", tool="account")))
    base = run_sync(execute(first, session))
    again = run_sync(execute(first, base.after(2).fork(), base=base)).execution
    assert again.by_step["c"].reused and again.by_step["c"].stale


def test_a_stale_read_may_give_anything_and_yet_binds_no_payment_to_it() -> None:
    real = Bank()
    steps = [PAY, step("c", "account"), step("q", "pay", to="Bob", amount="$c.balance"), submit(answer="x")]
    result = refined(real, steps)
    with pytest.raises(CommitError, match="step q would be called with amount = 100 and now 90") as caught:
        result.commit(allow="all")
    assert real.paid == [("Ann", 10)] and caught.value.execution is not None
    assert caught.value.execution.by_step["p"].value == {"id": "k1", "state": "paid"}  # what it returned is not lost


def test_a_result_can_be_deep_copied_with_its_committer() -> None:
    result = refined(Bank(), PLAN)
    assert copy.deepcopy(result._committer) is result._committer
