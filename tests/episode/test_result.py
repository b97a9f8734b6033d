import copy
import gc
import itertools
import json
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

from pivot_dspy import CommitError, Environment, Pivot, Requirement, check, tool, trajectory_metric
from tests.scripted import plan, scripted, step, submit
from tests.stores import Calls, Store

ONE = {"id": "R1", "check": "only", "args": {"count": 1}}
ORDER = {"id": "R2", "call": {"tool": "order", "args": {}}}
ORDERED = {"id": "R2", "text": "It is ordered.", "call": {"tool": "order", "args": {}}}
BUY = [
    step("a", "find", color="red", size="L"),
    step("b", "add", product_id="$a.ids[0]"),
    step("c", "order"),
    submit(answer="$b.items[0]"),
]


def bought(environment, steps=BUY, **options):
    with dspy.context(lm=scripted(plan=plan(steps, [ONE, ORDERED]))):
        return Pivot("question -> answer", environment, audit="never")(question="Buy p2", **options)


def test_what_was_verified_is_made_real_once():
    real = Store(Calls())
    result = bought(real)
    assert result.verified and result.committed is None and real.cart == [] and "order" not in real.calls
    assert result.verdict.withheld == ("c",)
    real.calls.clear()
    execution = result.commit()
    assert real.calls == ["find", "add p2", "order"] and real.cart == ["p2"]
    assert result.committed is execution and execution.by_step["c"].value == "ordered p2"
    with pytest.raises(CommitError, match="already committed"):
        result.commit()
    assert real.calls.count("order") == 1


def test_a_call_may_commit():
    real = Store(Calls())
    result = bought(real, commit=True)
    assert result.committed is not None and real.calls.count("order") == 1
    with pytest.raises(CommitError):
        result.commit()


async def test_it_can_be_awaited():
    real = Store(Calls())
    with dspy.context(lm=scripted(plan=plan(BUY, [ONE, ORDERED]))):
        result = await Pivot("question -> answer", real, audit="never").acall(question="Buy p2")
    await result.acommit()
    assert real.calls.count("order") == 1
    with pytest.raises(CommitError):
        await result.acommit()
    with dspy.context(lm=scripted(plan=plan(BUY[:2] + BUY[3:], [ONE]))):
        result = await Pivot("question -> answer", Store).acall(question="Buy p2", commit=True)
    assert result.committed is not None


def test_what_was_not_verified_is_not_made_real():
    real = Store(Calls())
    steps = [
        step("a", "add", product_id="p1"),
        step("b", "add", product_id="p2"),
        step("c", "order"),
        submit(answer="x"),
    ]
    result = bought(real, steps, commit=True)
    assert not result.verified and result.committed is None
    with pytest.raises(CommitError, match="not verified, so not committed: .*R1 is not met"):
        result.commit()
    assert real.cart == [] and "order" not in real.calls


def test_only_one_of_many_threads_commits():
    real = Store(Calls())
    result = bought(real)

    def attempt(_):
        try:
            return result.commit() is not None
        except CommitError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1
    assert real.calls.count("order") == 1


class Moving(Store):
    """Finds something else once it is real."""

    @tool(effect="read")
    def find(self, color: str | None = None, size: str | None = None) -> dict[str, list[str]]:
        """Ids of the products that match."""
        self.calls.append("find")
        return {"ids": ["p4" if self.moved else "p2"]}

    moved = False


def test_it_stops_at_the_first_step_that_departs():
    real = Moving(Calls())
    result = bought(real)
    real.moved = True
    real.calls.clear()
    with pytest.raises(CommitError, match=r"step [ab] .*p2\" and now \"p4\"; steps run for real: a.*; nothing"):
        result.commit()
    assert real.calls == ["find"] and real.cart == [] and result.committed.by_step["a"].value == {"ids": ["p4"]}
    with pytest.raises(CommitError, match="already tried to commit, which failed; steps run for real: a; when"):
        result.commit()


class Refusing(Store):
    @tool(effect="irreversible")
    def order(self) -> str:
        """Order what is in the cart."""
        raise RuntimeError("card declined")


def test_a_withheld_step_that_fails_stops_it():
    with pytest.raises(CommitError, match="step c failed: RuntimeError: card declined; steps run for real: a, b, c"):
        bought(Refusing).commit()


def test_a_session_of_a_factory_is_opened_afresh_for_commit():
    opened = []

    def factory(task):
        opened.append(Store())
        assert task.question == "Buy p2" and task.inputs().keys() == ["question"]
        return opened[-1]

    result = bought(factory)
    before = len(opened)
    result.commit()
    assert len(opened) == before + 1 and opened[-1].cart == ["p2"] and "order" in opened[-1].calls


class Counter(Environment):
    """A thing outside that no copy can undo."""

    forkable = reopenable = False
    total = itertools.count()

    def __init__(self):
        self.count = 0

    @tool(effect="write")
    def add_one(self) -> str:
        """Add one."""
        self.count += 1
        return "added"

    @check
    def never(self) -> bool:
        """Nothing was added."""
        return self.count == 0


def test_in_the_live_tier_nothing_is_written_before_commit():
    real = Counter()
    steps = [step("a", "add_one"), submit(answer="done")]
    adding = {"id": "R2", "call": {"tool": "add_one", "args": {}}}
    lm = scripted(plan=plan(steps, [{"id": "R1", "check": "never"}, adding]))
    with dspy.context(lm=lm):
        result = Pivot("question -> answer", real)(question="Add one.")
    assert result.verified and result.tier == "live" and result.verdict.withheld == ("a",) and real.count == 0
    result.commit()
    assert real.count == 1


def test_a_copy_or_a_pickle_is_a_record_only():
    result = bought(Store)
    for copied in (result.copy(), pickle.loads(pickle.dumps(result))):
        assert copied.answer == result.answer and copied.trajectory == result.trajectory
        with pytest.raises(CommitError, match="a copy of a result cannot be committed"):
            copied.commit()


def test_it_is_a_prediction_with_the_outputs_first():
    result = bought(Store)
    assert result.keys()[0] == "answer" and result["answer"] == "p2"
    assert repr(result) == "Refined(answer='p2'; judged, loss 0.000, 4 steps)"


class Till(Environment):
    """Pays what a bill asks for; the bill may change after it was read."""

    def __init__(self) -> None:
        self.bill: dict[str, Any] = {"amount": 100, "to": "Ann 1"}
        self.paid: list[tuple[str, int]] = []

    @tool(effect="read")
    def read_bill(self) -> dict[str, Any]:
        return self.bill

    @tool(effect="irreversible")
    def pay(self, to: str, amount: int) -> str:
        self.paid.append((to, amount))
        return "paid"


def billed(quote, repeated=False):
    """The result of paying a bill, of which the judge says that it is paid, and quotes so; and the environment."""
    args = {"to": "$item.to", "amount": "$item.amount"} if repeated else {"to": "$a.to", "amount": "$a.amount"}
    paying = step("p", "pay", for_each="[$a]" if repeated else None, **args)
    real = Till()
    wanted = {"id": "R1", "text": "The bill is paid.", "call": {"tool": "pay", "args": {}}}
    planned = plan([step("a", "read_bill"), paying, submit(answer="done")], [wanted])
    judge = {"verdicts": [{"about": ["R1", "S1"], "holds": True, "quote": quote}]}
    lm = scripted(plan=planned, judge=judge)
    with dspy.context(lm=lm):
        return Pivot("request -> answer", real)(request="Pay the bill."), real


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount": 99_999}, r"(a gave|p would be called with) amount = 100 and now 99999"),
        ({"to": "Eve 9"}, r"(a gave|p would be called with) to = \"Ann 1\" and now \"Eve 9\""),
        ({"to": "Ann 9"}, r"(a gave|p would be called with) to = \"Ann 1\" and now \"Ann 9\""),
    ],
)
@pytest.mark.parametrize("repeated", [False, True])
def test_a_call_with_other_arguments_than_were_verified_is_never_made(change, said, repeated):
    result, real = billed('"amount": 100', repeated)
    assert result.verdict.status == "judged" and real.paid == []
    real.bill |= change
    with pytest.raises(CommitError, match=said):
        result.commit()
    assert real.paid == []


class PaidTill(Till):
    @check
    def is_paid(self, to: str, amount: int) -> bool:
        return (to, amount) in self.paid


def test_what_only_commit_can_show_is_provisional_until_it_is_allowed():
    real = PaidTill()
    asked = [
        {"id": "R1", "check": "is_paid", "args": {"to": "Ann 1", "amount": 100}},
        {"id": "R2", "call": {"tool": "pay", "args": {"to": "Ann 1", "amount": 100}}},
    ]
    paying = step("p", "pay", to="$a.to", amount="$a.amount")
    planned = plan([step("a", "read_bill"), paying, submit(answer="$a.to")], asked)
    with dspy.context(lm=scripted(plan=planned)):
        result = Pivot("request -> answer", real, audit="never")(request="Pay Ann 1 the 100.", commit=True)
    assert result.verdict.status == "provisional" and result.committed is None and real.paid == []
    with pytest.raises(CommitError, match=r"R1 can only be checked when p has run.* p pay {.*100}. Run it with"):
        result.commit()
    result.commit(allow=["p"])
    assert real.paid == [("Ann 1", 100)]


def test_what_the_judge_quoted_is_relied_on():
    result, real = billed('"amount": 100')
    real.bill["amount"] = 101
    with pytest.raises(CommitError, match="step a gave amount = 100 and now 101; steps run for real: a; nothing after"):
        result.commit()
    assert real.paid == []


def test_all_of_it_is_json_for_evaluate_and_for_json_dumps(tmp_path):
    devset = [dspy.Example(question="Buy p2", answer="p2").with_inputs("question")]
    asked = [{"check": "only", "args": {"count": 1}}, Requirement(id="mine", test=lambda execution: True)]
    file = tmp_path / "saved.json"
    with dspy.context(lm=scripted(plan=plan(BUY[:2] + BUY[3:], []))):
        program = Pivot("question -> answer", Store, requirements=asked)
        dspy.Evaluate(
            devset=devset, metric=trajectory_metric, num_threads=1, display_progress=False, save_as_json=str(file)
        )(program, metric=lambda gold, pred: trajectory_metric(gold, pred).score)
    saved = json.loads(file.read_text())[0]
    assert saved["pred_answer"] == "p2" and saved["verified"] and saved["trajectory"]["steps"][0]["tool"] == "find"
    assert saved["history"][0]["kind"] == "plan" and saved["requirements"]["items"][1]["id"] == "mine"


class Held:
    def __str__(self):
        return "held"


def test_outputs_of_any_kind_and_figures_that_json_has_not_are_written():
    result = bought(Store(Calls()))
    result["answer"] = {"shirt": Held(), "price": float("nan"), "sizes": {1}, "made": dspy.Prediction(a=1)}
    assert json.loads(json.dumps(result.toDict()))["answer"] == {
        "shirt": "held", "price": None, "sizes": [1], "made": {"a": 1}
    }  # fmt: skip


class Numbered(Environment):
    """Each booking has an id that none had before."""

    def __init__(self):
        self.booked = {}

    @tool(effect="write")
    def book(self, room: str) -> dict[str, str]:
        """Book a room; returns the booking."""
        key = uuid.uuid4().hex[:8]
        self.booked[key] = room
        return {"room": room, "booking_id": key}

    @check
    def has(self, room: str) -> bool:
        """The room is booked."""
        return room in self.booked.values()


def test_a_fresh_id_that_is_submitted_verifies_and_is_the_real_one_after_commit():
    real = Numbered()
    lm = scripted(plan=plan([step("b", "book", room="Blue"), submit(answer="$b.booking_id")]))
    with dspy.context(lm=lm):
        asked = [{"check": "has", "args": {"room": "Blue"}}]
        result = Pivot("request -> answer", real, requirements=asked)(request="Book the blue room.")
    assert result.verified and lm.engine.count() == 1 and real.booked == {}
    result.commit()
    assert real.booked == {result.answer: "Blue"}


class Kept(Store):
    shared = ("closed", "calls")
    closed: list[int] = []

    def close(self):
        Kept.closed.append(id(self))

    def size(self):
        return len(self.cart)

    def take(self):
        return self.order()


@pytest.mark.parametrize("environment", [Store, lambda: Kept(), Kept(Calls())])
def test_the_final_state_is_there_to_be_read(environment):
    Kept.closed.clear()
    result = bought(environment, BUY[:2] + BUY[3:])
    view = result.environment
    assert view.cart == ["p2"] and copy.deepcopy(result).environment is view
    view.cart.append("p3")
    assert view.cart == ["p2"] and id(vars(view)["_environment"]) not in Kept.closed
    with pytest.raises(AttributeError, match="to be read"):
        view.cart = []
    with pytest.raises(PermissionError):
        view.add(product_id="p1")
    if not isinstance(environment, type):
        assert view.size() == 1
        with pytest.raises(PermissionError):
            view.take()
    assert "environment" not in result.toDict() and pickle.loads(pickle.dumps(view)) is None


def test_it_is_closed_with_the_result():
    Kept.closed.clear()
    result = bought(Kept, BUY[:2] + BUY[3:])
    assert result.environment.size() == 1
    kept = id(vars(result.environment)["_environment"])
    assert kept not in Kept.closed
    del result
    gc.collect()
    assert kept in Kept.closed


def test_evaluate_gives_it_to_a_metric():
    devset = [dspy.Example(question="Buy p2").with_inputs("question")]
    with dspy.context(lm=scripted(plan=plan(BUY[:2] + BUY[3:], [ONE]))):
        program = Pivot("question -> answer", Store, audit="never")
        evaluate = dspy.Evaluate(devset=devset, metric=lambda gold, pred: float(pred.environment.cart == ["p2"]))
        assert evaluate(program).score == 100.0
