"""What is declared of a tool: its undo, its idempotency key, what may differ; and what does not fit is named."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from pivot_dspy import ConfigurationError, Environment, Pivot, ReAct, from_functions, tool
from pivot_dspy.environment.base import Environment as Base
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.environment.toolbox import ToolSpec, Undo
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory
from tests.scripted import plan, scripted, step, submit


class Bank(Environment):
    @tool(effect="irreversible", idempotency_key="request_id", undo="cancel", volatile=("took_ms", "steps[*].at"))
    def pay(self, amount: int, request_id: str, to: str = "Ann") -> dict[str, Any]:
        """Pay somebody.

        Args:
            amount: in cents.
            request_id: makes a payment that is repeated harmless.
            to: by name.
        """
        return {"key": request_id, "amount": amount}

    def cancel(self, request_id: str, amount: int, to: str, why: str = "") -> None:
        """Takes it back."""


def send(amount: int, request_id: str) -> str:
    """Send money. One request_id makes one payment."""
    return request_id


def unsend(amount: int, result: str = "") -> None:
    """Take it back."""


class Sender:
    """Called as a function, it takes what it is given."""

    __name__ = "give"

    def __call__(self, amount: int, **more: Any) -> Any:
        return more


def spec_of(*tools: Any, **declared: Any) -> ToolSpec:
    return next(iter(from_functions(tools, **declared).toolbox.tools.values()))


def ran(environment: Base, *steps: Step) -> Execution:
    return run_sync(execute(Trajectory(steps=steps), SessionFactory(environment).open_real(None))).execution


def test_what_is_declared_of_a_method_stands_in_its_spec() -> None:
    spec = toolbox_of(Bank).tools["pay"]
    assert spec.idempotency_key == "request_id" and spec.volatile == ("took_ms", "steps[*].at")
    assert spec.undo == Undo("cancel", frozenset({"request_id", "amount", "to", "why"}))
    assert (spec.required, spec.defaults) == (("amount",), {"to": "Ann"})


def test_the_same_may_be_declared_of_functions_and_of_dspy_tools() -> None:
    declared: dict[str, Any] = {
        "undo": {"send": "unsend"}, "idempotency_key": {"send": "request_id"}, "volatile": {"send": ["at"]},
    }  # fmt: skip
    for function in (send, dspy.Tool(send)):
        spec = spec_of(function, unsend, **declared)
        assert spec.signature == "send(amount: int) -> str" and spec.volatile == ("at",)
        assert spec.undo == Undo("unsend", frozenset({"amount", "result"}))
        environment = from_functions([function, unsend], **declared)
        assert (
            uuid.UUID(ran(environment, Step(id="a", tool="send", args={"amount": 1})).by_step["a"].value).version == 5
        )


@pytest.mark.parametrize("refiner", [Pivot, ReAct])
def test_no_model_sees_an_idempotency_key_or_gives_one(refiner: Callable[..., Any]) -> None:
    paid = [step("a", "pay", amount=5), submit(answer="x")]
    acting = {"next_thought": "", "next_tool_name": "pay", "next_tool_args": {"amount": 5}}
    finishing = {"next_thought": "", "next_tool_name": "finish", "next_tool_args": {}}
    lm = scripted(
        plan=plan(paid),
        settle={"requirements": []},
        audit={"changes": []},
        judge={"verdicts": [], "unsupported": []},
        react=[acting, finishing],
        extract={"reasoning": "", "answer": "x"},
    )
    with dspy.context(lm=lm):
        result = refiner("question -> answer", Bank)(question="Pay 5.")
    assert any("amount" in prompt.text for prompt in lm.engine.prompts)
    assert not any("request_id" in prompt.text for prompt in lm.engine.prompts)
    assert "request_id" not in result.trajectory.to_json()


def test_a_step_that_gives_the_key_itself_is_at_fault() -> None:
    given = Step(id="a", tool="pay", args={"amount": 5, "request_id": "mine"})
    assert "request_id: not a parameter" in ran(Bank(), given).discrepancies[0].message
    open_ended = from_functions([Sender()], idempotency_key={"give": "request_id"})
    given = Step(id="a", tool="give", args={"amount": 5, "request_id": "mine"})
    assert "request_id: not a parameter" in ran(open_ended, given).discrepancies[0].message
    execution = ran(open_ended, Step(id="a", tool="give", args={"amount": 5, "note": "x"}))
    assert execution.by_step["a"].value.keys() == {"note", "request_id"}


def test_each_call_of_a_run_has_its_own_key_and_has_it_again() -> None:
    source = SessionFactory(Bank)
    calls = Trajectory(
        steps=(Step(id="a", tool="pay", args={"amount": 1}), Step(id="b", tool="pay", args={"amount": 1}))
    )
    run_id = uuid.uuid4()

    def keys(which: uuid.UUID | None) -> list[str]:
        execution = run_sync(execute(calls, source.open_real(None, which))).execution
        return [seen.value["key"] for seen in execution.observations]

    assert keys(run_id) == keys(run_id) and len({*keys(run_id), *keys(None), *keys(None)}) == 6


def test_a_description_loses_what_it_says_of_the_key_alone() -> None:
    assert toolbox_of(Bank).tools["pay"].description == "Pay somebody. Args: amount: in cents. to: by name."
    assert spec_of(send, idempotency_key={"send": "request_id"}).description == "Send money."


def reads(amount: int) -> int:
    """Reads."""
    return amount


def less() -> None:
    """Takes too little."""


def other(amount: int, day: str) -> None:
    """Takes what it cannot be given."""


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"undo": {"send": "unsent"}}, "tool 'send' names the undo 'unsent', which is no tool; did you mean 'unsend'"),
        ({"undo": {"sent": "unsend"}}, "undo names sent, which is no tool; tools: send, unsend"),
        (
            {"undo": {"send": "less"}},
            "'less', which undoes 'send', does not take amount, request_id; it takes the para",
        ),
        ({"undo": {"send": "other"}}, "'other', which undoes 'send', cannot be given day and does not take request_id"),
        ({"undo": {"reads": "unsend"}}, "the tool 'reads' only reads; there is nothing for 'unsend' to undo"),
        (
            {"idempotency_key": {"send": "request"}},
            "takes no 'request', which idempotency_key names; did you mean 'requ",
        ),
        ({"idempotency_key": {"less": "key"}}, "takes no 'key', which idempotency_key names; there are none"),
        ({"idempotency_key": {"x": "key"}}, "idempotency_key names x, which is no tool"),
        ({"volatile": {"x": ["a"]}}, "volatile names x, which is no tool"),
        ({"volatile": {"send": "took_ms"}}, r"volatile is a tuple of paths; write \('took_ms',\)"),
        (
            {"volatile": {"send": ["a..b"]}},
            "volatile names 'a..b', which is no path to leaves of a result; write it as",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        from_functions([send, unsend, less, other, reads], effects={"reads": "read"}, **declared)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"undo": "gone"}, "names the undo 'gone', which is no method of its class"),
        ({"undo": "policy"}, "names the undo 'policy', which is no method of its class"),
        ({"undo": "unfit"}, "'unfit', which undoes 'act', does not take what"),
        ({"idempotency_key": "key"}, "the tool 'act' takes no 'key'"),
    ],
)
def test_what_does_not_fit_a_method_is_seen_with_its_class(options: dict[str, Any], said: str) -> None:
    class Acting(Environment):
        @tool(**options)
        def act(self, what: str) -> None:
            """Act."""

        def unfit(self) -> None:
            """Takes nothing."""

    with pytest.raises(ConfigurationError, match=said):
        SessionFactory(Acting)


@pytest.mark.parametrize("volatile", ["took_ms", ("",), ("a[",), ("a b",), (3,)])
def test_a_wrong_path_is_refused_where_it_is_declared(volatile: Any) -> None:
    with pytest.raises(ConfigurationError, match="volatile"):
        tool(volatile=volatile)


def test_an_undo_may_take_anything() -> None:
    class Acting(Environment):
        @tool(undo="back")
        def act(self, what: str) -> str:
            """Act."""
            return what

        def back(self, **call: Any) -> None:
            """Takes it back."""

    assert toolbox_of(Acting).tools["act"].undo == Undo("back", None)
