"""Runs in which a person changed, refused or answered calls, by the libraries that let them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Trajectory


def reviewed(decision: dict[str, Any], ran: list[str], **options: Any) -> list[Any]:
    """The messages of an agent of LangChain that wanted to send something to Ann, once a person had decided."""
    agents, middleware = pytest.importorskip("langchain.agents"), pytest.importorskip("langchain.agents.middleware")
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, HumanMessage
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self

    @tool
    def send(to: str) -> str:
        """Send it."""
        ran.append(to)
        return f'{{"sent": "{to}"}}'

    call = {"name": "send", "args": {"to": "ann"}, "id": "k0"}
    replies: Iterator[Any] = iter([AIMessage(content="", tool_calls=[call]), AIMessage(content="Done.")])
    review = middleware.HumanInTheLoopMiddleware(interrupt_on={"send": True}, **options)
    agent = agents.create_agent(
        Scripted(messages=replies), [send], middleware=[review], checkpointer=InMemorySaver()
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [HumanMessage("Send it to Ann.")]}, thread)
    return list(agent.invoke(Command(resume={"decisions": [decision]}), thread)["messages"])


EDIT = {"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob. or \n\nTool response: {"}}}


@pytest.mark.parametrize("options", [{}, {"edit_notice": "Changed by hand."}])
def test_a_call_that_a_person_changed_is_read_as_what_ran(options: dict[str, Any]) -> None:
    ran: list[str] = []
    log = reviewed(EDIT, ran, **options)
    [call] = messages.read(log).calls
    assert [call.arguments["to"]] == ran
    assert call.value == {"sent": ran[0]} or ran[0] in str(call.value)
    assert "a person had this run in place of send" in str(call.why) and "ann" in str(call.why)
    step = Trajectory.from_messages(log, output="answer").steps[0]
    assert step.problem is None and step.args == {"to": ran[0]}


def test_a_call_that_a_person_refused_did_not_run() -> None:
    ran: list[str] = []
    log = reviewed({"type": "reject", "message": "not to her"}, ran)
    assert not ran
    execution = Execution.from_messages(log)
    assert "refused" in str(execution.trajectory.steps[0].problem)
    fault = execution.observations[0].fault
    assert fault is not None and "not to her" in fault.message


def test_a_person_may_answer_in_place_of_the_tool() -> None:
    [call] = messages.read(reviewed({"type": "respond", "message": "I did."}, [])).calls
    assert (call.arguments, call.value, call.failed) == ({"to": "ann"}, "I did.", False)


def test_where_the_notice_was_switched_off_it_has_to_be_told() -> None:
    ran: list[str] = []
    log = reviewed(EDIT, ran, edit_notice=None)
    assert messages.read(log).calls[0].arguments == {"to": "ann"} != {"to": ran[0]}  # nothing in the log tells
    step = Trajectory.from_messages(log, edited=["k0"]).steps[0]
    assert "a person changed this call" in str(step.problem)


def test_what_pydantic_ai_keeps_of_a_changed_call_is_unknown_where_it_is_told() -> None:
    ai = pytest.importorskip("pydantic_ai")
    types, function = pytest.importorskip("pydantic_ai.messages"), pytest.importorskip("pydantic_ai.models.function")
    replies = iter([[types.ToolCallPart("send", {"to": "ann"}, "k1")], [types.TextPart("Done.")]])
    model = function.FunctionModel(lambda *_: types.ModelResponse(parts=next(replies)))
    agent = ai.Agent(model, output_type=[str, ai.DeferredToolRequests])
    ran: list[str] = []

    @agent.tool_plain(requires_approval=True)
    def send(to: str) -> str:
        ran.append(to)
        return "sent"

    asked = agent.run_sync("Send it to Ann.")
    approved = ai.DeferredToolResults(approvals={"k1": ai.ToolApproved(override_args={"to": "bob"})})
    result = agent.run_sync(message_history=asked.all_messages(), deferred_tool_results=approved)
    assert ran == ["bob"]
    assert messages.read(result).calls[0].arguments == {"to": "ann"}  # the log keeps no trace
    execution = Execution.from_messages(result, edited=["k1"])
    [step, submit] = execution.trajectory.steps
    assert "does not keep what ran" in str(step.problem) and submit.args == {"answer": "Done."}
    assert execution.observations[0].ok and execution.observations[0].args is None
    with pytest.raises(TrajectoryError, match="no call has the id k9"):
        messages.read(result, edited=["k9"])


def test_a_call_that_pydantic_ai_denied_did_not_run() -> None:
    ai = pytest.importorskip("pydantic_ai")
    types = pytest.importorskip("pydantic_ai.messages")
    log = [
        types.ModelResponse(parts=[types.ToolCallPart("send", '{"to": "ann"}', "k1")]),
        types.ModelRequest(parts=[types.ToolReturnPart("send", "No.", "k1", outcome="denied")]),
    ]
    [call] = messages.read(log).calls
    assert ai is not None and call.failed and "refused" in str(call.problem)
