#!/usr/bin/env bash
# ag-ui-protocol 1.0.0: the Python models of a resume let through what is no answer. A payload of null is left out when
# the entry is written, though the field takes any JSON value; a misspelt "playload" is kept beside a payload of None; two
# entries that contradict each other on one interrupt are one valid resume; expiresAt takes "tomorrow". A server has to
# check each of these itself (their documentation leaves the check of the payload to the agent, and says of expiresAt that
# it is deliberately unconstrained).
# Output seen:
#   {'interruptId': 'a', 'status': 'resolved'} | payload: None | entries: 2 | expires: tomorrow
# No network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "ag-ui-protocol==1.0.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from ag_ui.core import Interrupt, ResumeEntry, RunAgentInput

entry = {"interruptId": "a", "status": "resolved"}
null = ResumeEntry.model_validate({**entry, "payload": None}).model_dump(by_alias=True)
misspelt = ResumeEntry.model_validate({**entry, "playload": {"approved": True}}).payload
two = [{**entry, "payload": {"approved": True}}, {**entry, "payload": {"approved": False}}]
entries = len(RunAgentInput.model_validate({"threadId": "t", "runId": "r", "messages": [], "resume": two}).resume)
expires = Interrupt(id="a", reason="tool_call", expires_at="tomorrow").expires_at
print(f"{null} | payload: {misspelt} | entries: {entries} | expires: {expires}")
if (null, misspelt, entries, expires) != (entry, None, 2, "tomorrow"):
    raise SystemExit("changed: what the models of a resume let through")
PYTHON
echo "as stated"
