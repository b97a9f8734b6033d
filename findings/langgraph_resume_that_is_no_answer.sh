#!/usr/bin/env bash
# langgraph 1.2.24: Command(resume=...) takes any value for an answer to interrupt(), but None raises UnboundLocalError
# inside LangGraph, {} is taken for no answer, and a mapping is the answer itself unless each key has the form of an id:
# {"answer": "yes"} resumes with the whole mapping, an id with a typo asks again and says nothing. {id: value} with the
# id of the open interrupt takes each of these values, None included.
# Output seen:
#   None: UnboundLocalError | {}: asked again | {'answer': 'yes'}: {'answer': 'yes'} | a wrong id: asked again
#   {id: None}: None | {id: {}}: {}
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "langgraph==1.2.24"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

THREAD = {"configurable": {"thread_id": "1"}}


class State(TypedDict, total=False):
    answer: object


def resumed(with_id):
    """What a node gets that has asked, where the thread is resumed so."""
    builder = StateGraph(State).add_node("ask", lambda state: {"answer": interrupt("Sure?")}).add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({}, THREAD)
    (opened,) = graph.get_state(THREAD).interrupts
    try:
        state = graph.invoke(Command(resume=with_id(opened.id)), THREAD)
    except Exception as error:
        return type(error).__name__
    return state.get("answer") if "__interrupt__" not in state else "asked again"


seen = [resumed(lambda key: value) for value in (None, {}, {"answer": "yes"}, {"0" * 32: "yes"})]
print("None: {} | {{}}: {} | {{'answer': 'yes'}}: {} | a wrong id: {}".format(*seen))
right = [resumed(lambda key: {key: value}) for value in (None, {})]
print("{{id: None}}: {} | {{id: {{}}}}: {}".format(*right))
if [seen, right] != [["UnboundLocalError", "asked again", {"answer": "yes"}, "asked again"], [None, {}]]:
    raise SystemExit("changed: what resumes a thread")
PYTHON
echo "as stated"
