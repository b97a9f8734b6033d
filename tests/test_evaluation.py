"""How requirements stand after a run."""


import pytest

from pivot_dspy import requirements as module
from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.evaluation import evaluate
from pivot_dspy.required_calls import RequiredCall
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution, Trajectory
from tests.scripted import step
from tests.stores import Store, executed

TOOLBOX = toolbox_of(Store)
NOTHING = Execution(trajectory=Trajectory())
RED = {"id": "R1", "check": "item", "args": {"color": "red"}}


def given_by_user(*entries):
    return module.normalize_requirements(entries, TOOLBOX)


def open_session(environment=Store):
    return SessionFactory(environment, timeout=None).open(None)


def settled(*items):
    return Requirements(items=given_by_user(*items))


def test_checks_tests_and_texts():
    session = open_session()
    session.environment.add("p2")
    found = evaluate(
        settled(
            RED,
            {"id": "R2", "check": "total", "args": {"max": 30}},
            {"id": "R3", "text": "It is nice."},
            Requirement(id="R4", test=lambda e: e is NOTHING),
            Requirement(id="R5", test=lambda e: (False, "because")),
        ),
        NOTHING,
        session,
    )
    assert [(f.requirement, f.status) for f in found] == [
        ("R1", "holds"), ("R2", "violated"), ("R3", "unjudged"), ("R4", "holds"), ("R5", "violated"),
    ]  # fmt: skip
    assert found[1].evidence == "total 40" and found[4].evidence == "because"
    assert [f.holds for f in found] == [True, False, False, True, False]
    assert Finding.model_validate_json(found[0].model_dump_json()).status == "holds"


def call_of(name, tool="add", **args):
    return Requirement(id=name, text="It is done.", call=RequiredCall(tool=tool, args=args))


@pytest.mark.parametrize(
    ("steps", "required", "found"),
    [
        ([step("a", "add", product_id="p2")], [call_of("R1", product_id="p2")], ["unjudged"]),
        ([step("a", "order")], [call_of("R1", "order")], ["unjudged"]),  # it waits for commit
        ([step("a", "add", product_id="p2")], [call_of("R1", product_id="?")], ["unjudged"]),
        ([], [call_of("R1", product_id="p2")], ["add was not called; calls that change something: none"]),
        (
            [step("a", "order"), step("b", "order")], [call_of("R1", product_id="p2")],
            ["add was not called; calls that change something: order"],
        ),
        (
            [step("a", "add", product_id="p9")], [call_of("R1", product_id="p9")],
            ["add was not called; calls that change something: none"],  # it failed
        ),
        (
            [step("a", "add", product_id="p1"), step("b", "order")], [call_of("R1", product_id="p2")],
            ['add was called with product_id "p1" instead of "p2"'],
        ),
        (
            [step("a", "add", product_id="p2")], [call_of("R1", product_id="p2"), call_of("R2", product_id="p2")],
            ["unjudged", "add was not called again; calls that change something: add"],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("checked", [False, True])
def test_without_its_call_a_requirement_is_violated_and_with_it_left_to_a_judge(steps, required, found, checked):
    run = executed(steps)
    others = settled({"id": "C", "check": "total", "args": {"max": 999}}).items if checked else ()
    findings = evaluate(Requirements(items=(*others, *required)), run.execution, run.session)
    assert [finding.requirement for finding in findings] == [item.id for item in (*others, *required)]
    said = [finding.evidence or finding.status for finding in findings[len(others) :]]
    assert said == found
    assert all((finding.status == "violated") == (finding.evidence != "") for finding in findings[len(others) :])


def test_a_hint_and_what_it_is_about_come_along_where_a_check_fails():
    session = open_session()
    session.environment.add("p3")
    [found] = evaluate(settled(RED), NOTHING, session)
    assert found.hint == "it is met by p1, p2, p4" and found.about == ("p3",)
    session.environment.add("p1")
    [found] = evaluate(settled(RED), NOTHING, session)
    assert found.hint == ""


def test_checks_are_told_of_all_checks_and_run_on_a_fork():
    told = []

    class Nosy(Environment):
        def __init__(self):
            self.touched = []

        @tool(effect="read")
        def look(self) -> list[str]:
            return self.touched

        def begin_checks(self, checks):
            told.append((id(self), list(checks)))

        @check
        def sneaky(self) -> bool:
            self.touched.append("x")  # it writes all the same
            return len(self.touched) == 1

    session = open_session(Nosy)
    requirement = Requirement(id="R1", check="sneaky")
    for _ in range(2):
        [found] = evaluate(Requirements(items=(requirement,)), NOTHING, session)
        assert found.holds
    assert session.environment.touched == []
    assert all(instance != id(session.environment) for instance, _ in told)
    assert [checks for _, checks in told] == [[("R1", "sneaky", {})]] * 2


class Broken(Environment):
    @tool(effect="read")
    def look(self) -> int:
        return 1

    @check
    def loud(self) -> bool:
        raise RuntimeError("no luck")

    @check
    def silent(self) -> bool:
        return None  # type: ignore[return-value]


class BrokenFrom(Broken):
    def begin_checks(self, checks):
        raise RuntimeError("cannot begin")


@pytest.mark.parametrize(
    ("environment", "name", "said"),
    [(Broken, "loud", "no luck"), (Broken, "silent", "a check returns"), (BrokenFrom, "silent", "cannot begin")],
)
def test_a_check_that_breaks_is_not_met_and_says_why(environment, name, said):
    [found] = evaluate(Requirements(items=(Requirement(id="R1", check=name),)), NOTHING, open_session(environment))
    assert found.status == "violated" and said in found.evidence


@pytest.mark.parametrize("result", [None, "yes", (), (True, "a", "b", (), "e")])
def test_a_test_that_says_nothing_clear_is_not_met(result):
    [found] = evaluate(Requirements(items=(Requirement(id="R1", test=lambda e: result),)), NOTHING, open_session())
    assert found.status == "violated" and "a check returns" in found.evidence


def test_a_test_may_return_a_check_result():
    requirement = Requirement(id="R1", test=lambda e: CheckResult(False, "e", "h", ("p1",)))
    [found] = evaluate(Requirements(items=(requirement,)), NOTHING, open_session())
    assert (found.evidence, found.hint, found.about) == ("e", "h", ("p1",))


# ----------------------------------------------------------------------------------------------- what waits for commit


class Mailing(Store):
    """A message that cannot be taken back, and a check that it was sent."""

    sent: tuple[str, ...] = ()

    @tool(effect="irreversible")
    def send(self, to: str, text: str = "") -> str:
        self.sent = (*self.sent, to)
        return to

    @check
    def is_sent(self, to: str) -> tuple[bool, str]:
        if to == "nobody":
            raise ValueError("nobody is no address")
        return to in self.sent, f"sent: {len(self.sent)}"


SEND = [step("a", "send", to="ann@x.org")]


@pytest.mark.parametrize(
    ("steps", "to", "status"),
    [
        (SEND, "ann@x.org", "pending"),
        (SEND, "bob@x.org", "violated"),  # no call that waits is about it
        ([], "ann@x.org", "violated"),
        ([step("a", "find"), step("b", "send", to="bob@x.org", text="ann@x.org")], "ann@x.org", "pending"),
        ([step("a", "send", to="nobody")], "nobody", "violated"),  # it cannot be checked, now or later
    ],
)
def test_a_check_on_what_a_held_call_will_do_is_pending_and_speaks_neither_way(steps, to, status):
    run = executed(steps, Mailing)
    item = Requirement(id="R1", check="is_sent", args={"to": to})
    (finding,) = evaluate(Requirements(items=(item,)), run.execution, run.session)
    assert finding.status == status and not finding.holds and finding.may_hold == (status == "pending")
    assert finding.evidence.startswith("cannot be checked" if to == "nobody" else "sent: 0")


def test_a_test_of_the_users_own_is_never_taken_to_wait():
    run = executed(SEND, Mailing)
    item = Requirement(id="R1", args={"to": "ann@x.org"}, test=lambda e: False)
    assert evaluate(Requirements(items=(item,)), run.execution, run.session)[0].status == "violated"


def test_a_requirement_that_says_only_its_call_is_decided_by_rule():
    item = Requirement(id="R1", call=RequiredCall(tool="send", args={"to": "ann@x.org"}))
    run = executed(SEND, Mailing)
    (finding,) = evaluate(Requirements(items=(item,)), run.execution, run.session)
    assert (finding.status, finding.evidence) == ("holds", "the call was made") and item.says_only_its_call


DONE: list[str] = []


def spend(to: str, amount: int, note: str = "") -> str:
    DONE.append(to)
    return to


def counted(least: int) -> bool:
    return len(DONE) >= least


def both(first: str, second: str) -> bool:
    return {first, second} <= {*DONE}


def got(to: str, amount: int) -> bool:
    return False


PAID = [step("a", "spend", to="Ann", amount=10), step("b", "spend", to="Bob", amount=20)]


@pytest.mark.parametrize(
    ("check", "args", "status"),
    [
        ("counted", {"least": 2}, "pending"),  # a figure that no call has by name measures
        ("both", {"first": "Ann", "second": "Bob"}, "pending"),
        ("both", {"first": "Ann", "second": "Eve"}, "violated"),
        ("got", {"to": "Ann", "amount": 10}, "pending"),
        ("got", {"to": "Ann", "amount": 20}, "violated"),
    ],
)
def test_where_nothing_may_be_changed_yet_a_check_may_be_of_several_calls_or_measure_them(check, args, status):
    environment = from_functions([spend], checks=[counted, both, got])
    item = Requirement(id="R1", check=check, args=args)
    for steps, expected in ((PAID, status), ([], "violated")):
        run = executed(steps, environment)
        assert run.execution.tier == "live"
        (finding,) = evaluate(Requirements(items=(item,)), run.execution, run.session)
        assert finding.status == expected


def test_a_test_of_an_answer_that_waits_is_pending():
    steps = [*PAID[:1], step("submit", "submit", answer="$a")]
    item = Requirement(id="R1", test=lambda execution: execution.outputs.get("answer") == "Ann")
    for effect, expected in (("write", "pending"), ("read", "holds")):
        run = executed(steps, from_functions([spend], effects=effect))
        (finding,) = evaluate(Requirements(items=(item,)), run.execution, run.session)
        assert finding.status == expected
