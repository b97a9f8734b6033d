#!/usr/bin/env bash
# langchain 1.5.2 with langgraph 1.2.24: HumanInTheLoopMiddleware in its default mode saves a decision before it looks at
# it. An edit to a tool that does not exist raises, nothing is open any more, and whatever is sent afterwards raises the
# same again: the thread is lost. With interrupt_mode="per_call" the answer is refused and can be given again. In both
# modes an argument that an edit leaves out takes the tool's default, not the value that the person was shown.
# Output seen:
#   batched, a wrong name: ValueError | open: 0 | then approved: ValueError | ran: []
#   per_call, a wrong name: ValidationError | open: 1 | then approved: done | ran: [('ann', 500)]
#   batched, only `to` edited: done | ran: [('bob', 1)]
#   per_call, only `to` edited: done | ran: [('bob', 1)]
# No model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "langchain==1.5.2" "langgraph==1.2.24"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

THREAD = {"configurable": {"thread_id": "1"}}
ran = []


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **options):
        return self


@tool
def pay(to: str, amount: int = 1) -> str:
    """Pay."""
    ran.append((to, amount))
    return "paid"


def asked(mode):
    """An agent that waits for a decision on paying Ann 500."""
    ran.clear()
    call = {"name": "pay", "args": {"to": "ann", "amount": 500}, "id": "k"}
    model = Scripted(messages=iter([AIMessage(content="", tool_calls=[call]), AIMessage(content="Done.")]))
    review = HumanInTheLoopMiddleware(interrupt_on={"pay": True}, interrupt_mode=mode)
    agent = create_agent(model, [pay], middleware=[review], checkpointer=InMemorySaver())
    agent.invoke({"messages": [("user", "Pay.")]}, THREAD)
    return agent, agent.get_state(THREAD).interrupts[0].id


def decide(agent, key, mode, decision):
    try:
        agent.invoke(Command(resume={"decisions": [decision]} if mode == "batched" else {key: decision}), THREAD)
    except Exception as error:
        return type(error).__name__
    return "done"


def edit(name, **args):
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


seen = []
for mode in ("batched", "per_call"):
    agent, key = asked(mode)
    first = decide(agent, key, mode, edit("pya", to="bob", amount=2))
    still = len(agent.get_state(THREAD).interrupts)
    then = decide(agent, key, mode, {"type": "approve"})
    print(f"{mode}, a wrong name: {first} | open: {still} | then approved: {then} | ran: {ran}")
    seen.append((still, then, [*ran]))
for mode in ("batched", "per_call"):
    agent, key = asked(mode)
    print(f"{mode}, only `to` edited: {decide(agent, key, mode, edit('pay', to='bob'))} | ran: {ran}")
    seen.append([*ran])
if seen != [(0, "ValueError", []), (1, "done", [("ann", 500)]), [("bob", 1)], [("bob", 1)]]:
    raise SystemExit("changed: what a wrong edit comes to")
PYTHON
echo "as stated"
