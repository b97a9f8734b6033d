#!/usr/bin/env bash
# dspy 3.4.1: a tool that returns a list of numbers ends a dspy.ReAct run: the observation is shown to the model as text
# of a field annotated str, whose lists are taken for lists of texts, and `"\n" not in 1` raises TypeError. It escapes
# from the program, after the tool has run, and the trajectory until then is lost with it. A list of texts or of records
# works, and so does a number alone; a tool that returns json.dumps(...) of its list is safe.
# Output seen:
#   [1, 2] TypeError: argument of type 'int' is not iterable (the tool had run)
#   [None] TypeError: argument of type 'NoneType' is not iterable (the tool had run)
#   ['1', '2'] answered
#   [{'n': 1}] answered
#   3 answered
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dspy==3.4.1"
cd "$folder"
DSPY_CACHEDIR="$folder/cache" "$folder/venv/bin/python" - <<'PYTHON'
import dspy
from dspy.utils import DummyLM

TURNS = [
    {"next_thought": "t", "next_tool_name": "find", "next_tool_args": {}},
    {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}},
    {"reasoning": "r", "answer": "a"},
]
seen = []
for given in ([1, 2], [None], ["1", "2"], [{"n": 1}], 3):
    ran = []

    def find():
        """Find something."""
        ran.append(given)
        return given

    try:
        with dspy.context(lm=DummyLM([dict(turn) for turn in TURNS])):
            dspy.ReAct("question -> answer", tools=[find])(question="?")
        seen.append("answered")
        print(given, "answered")
    except TypeError as error:
        seen.append(type(error).__name__)
        print(given, f"TypeError: {error}", "(the tool had run)" if ran else "(before the tool ran)")
if seen != ["TypeError", "TypeError", "answered", "answered", "answered"]:
    raise SystemExit(f"changed: {seen}")
PYTHON
echo "as stated"
