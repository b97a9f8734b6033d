#!/usr/bin/env bash
# smolagents 1.26.0: where one tool of a step raises, the step's `tool_calls` are empty in agent.memory, those of its
# other tools that ran at the same time included, and so are its `observations`. So agent.memory.get_full_steps(), and
# whatever counts or replays calls by `tool_calls`, shows a run in which a call that failed, or one beside it that may
# have changed something, was never made. The message of the model in `model_output_message` still holds them, as long
# as it is kept; `error` names the one that raised. What the others gave is kept nowhere.
# Output seen:
#   called: [('count', 'flour'), ('count', 'eggs')] | tool_calls: 2 | in the model's message: 2 | error: None
#   called: [('count', 'flour'), ('count', 'bad')] | tool_calls: 0 | in the model's message: 2 | error: AgentToolExecutionError
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "smolagents==1.26.0"
cd "$folder"
# A tool's source is read from its file, so that this has to be one.
cat > run.py <<'PYTHON'
from smolagents import ToolCallingAgent, tool
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, Model

ran = []


@tool
def count(item: str) -> int:
    """Count.

    Args:
        item: what to count.
    """
    ran.append(("count", item))
    if item == "bad":
        raise ValueError("no such item")
    return 3


class Scripted(Model):
    turns = iter([["flour", "eggs"], ["flour", "bad"], None])

    def generate(self, messages, **options):
        items = next(self.turns)
        calls = [("final_answer", {"answer": 3})] if items is None else [("count", {"item": item}) for item in items]
        made = [
            ChatMessageToolCall(id=f"i{n}", type="function", function=ChatMessageToolCallFunction(name=name, arguments=args))
            for n, (name, args) in enumerate(calls)
        ]
        return ChatMessage(role="assistant", content="I look.", tool_calls=made)


agent = ToolCallingAgent([count], Scripted(model_id="scripted"), max_tool_threads=1, verbosity_level=0)
agent.run("How many?")
seen = []
for step, called in zip(agent.memory.get_full_steps()[1:3], (ran[:2], ran[2:]), strict=True):
    message, error = step["model_output_message"]["tool_calls"], step["error"]
    seen.append((len(called), len(step["tool_calls"]), len(message), step["observations"] is None))
    print("called:", called, "| tool_calls:", len(step["tool_calls"]), "| in the model's message:", len(message),
          "| error:", error and error["type"])
if seen != [(2, 2, 2, False), (2, 0, 2, True)]:
    raise SystemExit(f"changed: {seen}")
PYTHON
"$folder/venv/bin/python" run.py
echo "as stated"
