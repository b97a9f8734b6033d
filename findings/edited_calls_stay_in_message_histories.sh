#!/usr/bin/env bash
# langchain 1.5.2 and pydantic-ai-slim 2.68.0: a person may change a call before it runs. Both keep in the history the
# call that the model asked for, which never ran. LangChain's HumanInTheLoopMiddleware names the one that did in the text
# of the tool's message, before the result ("Executed instead: send with arguments {...}"); with edit_notice=None, not
# at all. Pydantic AI's ToolApproved(override_args=...) leaves no trace in all_messages(). So whoever reads a history for
# what an agent did, to replay it, to audit it or to train on it, reads another address than the one that was written to.
# Output seen:
#   langchain: ran with ['bob'] | tool_calls say ann | the result's text names bob: True
#   langchain, edit_notice=None: ran with ['bob'] | tool_calls say ann | the result's text names bob: False
#   pydantic-ai: ran with ['bob'] | the ToolCallPart says ann | bob is anywhere in the messages: False
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "langchain==1.5.2" "pydantic-ai-slim==2.68.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ToolApproved
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

ran = []


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **options):
        return self


@tool
def send(to: str) -> str:
    """Send it."""
    ran.append(to)
    return "sent"


def edited(**options):
    ran.clear()
    call = {"name": "send", "args": {"to": "ann"}, "id": "k"}
    model = Scripted(messages=iter([AIMessage(content="", tool_calls=[call]), AIMessage(content="Done.")]))
    review = HumanInTheLoopMiddleware(interrupt_on={"send": True}, **options)
    agent = create_agent(model, [send], middleware=[review], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    agent.invoke({"messages": [HumanMessage("Send it.")]}, thread)
    decision = {"type": "edit", "edited_action": {"name": "send", "args": {"to": "bob"}}}
    log = agent.invoke(Command(resume={"decisions": [decision]}), thread)["messages"]
    kept, told = log[1].tool_calls[0]["args"]["to"], "bob" in log[2].content
    name = "langchain" + "".join(f", {key}={value}" for key, value in options.items())
    print(f"{name}: ran with {ran} | tool_calls say {kept} | the result's text names bob: {told}")
    return [*ran], kept, told


seen = [edited(), edited(edit_notice=None)]

replies = iter([[ToolCallPart("send", {"to": "ann"}, "k")], [TextPart("Done.")]])
agent = Agent(
    FunctionModel(lambda *_: ModelResponse(parts=next(replies))), output_type=[str, DeferredToolRequests]
)


@agent.tool_plain(requires_approval=True, name="send")
def send_plainly(to: str) -> str:
    ran.append(to)
    return "sent"


ran.clear()
asked = agent.run_sync("Send it.")
approved = DeferredToolResults(approvals={"k": ToolApproved(override_args={"to": "bob"})})
log = agent.run_sync(message_history=asked.all_messages(), deferred_tool_results=approved).all_messages()
kept = next(part.args["to"] for message in log for part in message.parts if isinstance(part, ToolCallPart))
told = b"bob" in ModelMessagesTypeAdapter.dump_json(log)
print(f"pydantic-ai: ran with {ran} | the ToolCallPart says {kept} | bob is anywhere in the messages: {told}")
seen.append(([*ran], kept, told))
if seen != [(["bob"], "ann", True), (["bob"], "ann", False), (["bob"], "ann", False)]:
    raise SystemExit(f"changed: {seen}")
PYTHON
echo "as stated"
