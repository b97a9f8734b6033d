"""What a tool, a hook, a check or a preview may call: nothing that could not be called in its place."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.from_class import of_class
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.prompts.observations import ObservationBudget, render_results
from pivot_dspy.trajectory import Step
from tests.environment.payments import DONE, Bank, made, pay, run


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


def refused(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        of_class(type("Made", (Environment,), members))


@tool(effect="write")
def note(self: Any, amount: int = 1) -> int:
    DONE.append("noted")
    return amount


def test_a_tool_that_calls_a_stronger_one_is_refused() -> None:
    @tool(effect="read")
    def look(self: Any) -> int:
        return int(self.note())

    @tool(effect="write")
    def order(self: Any) -> int:
        return int(self.pay())

    @tool(effect="read")
    def inner(self: Any) -> list[int]:
        return [self.pay(n) for n in range(3)]

    @tool(effect="read")
    def later(self: Any) -> Any:
        return (self.pay(n) for n in range(3))  # runs when the result becomes plain data

    def helper(self: Any) -> int:
        return int(self.other)

    @tool(effect="read")
    def through(self: Any) -> int:
        return int(self.helper())

    session = made(
        note=note, pay=pay, look=look, order=order, inner=inner, later=later, through=through, helper=helper,
        other=property(lambda self: self.pay()),
    )  # fmt: skip
    names = ("look", "order", "inner", "later", "through")
    execution = run(session, *(Step(id=name, tool=name) for name in names))
    faults = {seen.step: seen.fault.message for seen in execution.observations if seen.fault}
    assert "note is write, and was called by what may not call it; declare the caller write too" in faults["look"]
    for name in ("order", "inner", "later", "through"):
        assert "PermissionError: pay is irreversible, and was called by what may not" in faults[name]
    assert DONE == []


def test_a_hook_that_calls_a_tool_that_writes_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    def calls_pay(self: Any, *args: Any) -> str:
        return str(self.pay())

    @tool(effect="write")
    def work(self: Any) -> int:
        return 1

    look = check(lambda self: True)
    for hook in ("describe", "error_of", "begin_checks", "summarise"):
        session = made(pay=pay, work=work, look=look, **{hook: calls_pay})
        step = Step(id="a", tool="work")
        execution = run(session, step)
        if hook == "begin_checks":
            with pytest.raises(PermissionError):
                session.begin_checks([])
        elif hook == "error_of":
            assert "PermissionError: pay is irreversible" in execution.discrepancies[0].message
        else:
            render_results([(step, execution.observations[0])], session.environment, ObservationBudget())
            assert f"{hook} of Made failed: PermissionError: pay is irreversible" in caplog.text
    assert DONE == []


def test_a_check_that_writes_is_refused() -> None:
    @check
    def sets(self: Any) -> bool:
        self.seen = True
        return True

    @check
    def adds(self: Any) -> bool:
        self.seen += 1
        return True

    @check
    def deletes(self: Any) -> bool:
        del self.seen
        return True

    @check
    def by_alias(self: Any) -> bool:
        for name in ("seen",):
            setattr(self, name, True)
        return True

    @check
    def calls(self: Any) -> bool:
        return any(self.note(n) for n in range(2))

    @check
    def harmless(self: Any) -> bool:
        other = Bank()
        other.drafts = [1]
        return bool(other.drafts and self.sum)

    checks = {function.__name__: function for function in (sets, adds, deletes, by_alias, calls, harmless)}
    total = cached_property(lambda self: 7)
    total.__set_name__(Environment, "sum")
    for forkable in (True, False):
        session = made(note=note, seen=0, sum=total, forkable=forkable, **checks)
        for name in ("sets", "adds", "deletes", "by_alias"):
            result = session.check(session.toolbox.checks[name], {})
            assert not result.holds
            assert "PermissionError: a check sets the attribute 'seen'; a check only reads" in result.evidence
        assert "note is write" in session.check(session.toolbox.checks["calls"], {}).evidence
        assert session.check(session.toolbox.checks["harmless"], {}).holds
        assert session.environment.seen == 0
        session.environment.seen = 1  # outside of a check nobody stands between


def test_a_preview_that_writes_fails_at_its_first_call() -> None:
    @tool(effect="irreversible", preview="plan")
    def act(self: Any, amount: int) -> int:
        return amount

    for name, preview in (("pay", lambda self, amount: self.pay(amount)), ("note", lambda self, amount: self.note())):
        session = made(act=act, pay=pay, note=note, plan=preview)
        execution = run(session, Step(id="a", tool="act", args={"amount": 1}))
        assert f"PermissionError: {name} is " in execution.discrepancies[0].message
    assert DONE == []


def test_a_preview_that_does_not_fit_is_refused() -> None:
    @tool(effect="irreversible", preview="plan")
    def act(self: Any, amount: int) -> int:
        return amount

    def other_name(self: Any, price: int) -> int:
        return price

    async def later(self: Any, amount: int) -> int:
        return amount

    refused({"act": act}, "names the preview 'plan', which is no method of its class")
    refused({"act": act, "plan": 7}, "names the preview 'plan', which is no method of its class")
    refused({"act": act, "plan": other_name}, "preview 'plan' must take the same parameters as the tool 'act'")
    refused({"act": act, "plan": later}, "preview 'plan' and the tool 'act' must both be async, or neither")
    refused({"act": act, "plan": note}, "preview 'plan' of 'act' is a tool that writes; name one that only reads")
