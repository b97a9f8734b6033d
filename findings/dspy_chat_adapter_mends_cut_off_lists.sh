#!/usr/bin/env bash
# dspy 3.4.1: dspy.ChatAdapter.parse mends JSON, so that an answer which ends in the middle of a list of records (a length
# limit, say) is read without an error, and the records that are missing are lost without a word: a list of three
# requirements comes back as two or one. Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dspy==3.4.1"
cd "$folder"
DSPY_CACHEDIR="$folder/cache" "$folder/venv/bin/python" - <<'PYTHON'
import dspy


class Write(dspy.Signature):
    """Write down what is asked for."""

    request: str = dspy.InputField()
    requirements: list[dict] = dspy.OutputField()


whole = '[[ ## requirements ## ]]\n[{"id": "R1"}, {"id": "R2"}, {"id": "R3"}]'
read = {}
for end in (len(whole), whole.index(', {"id": "R3"'), whole.index('"R2"')):
    read[end] = len(dspy.ChatAdapter().parse(Write, whole[:end])["requirements"])
print("dspy", dspy.__version__, "| characters of the answer -> requirements that are read:", read)
if list(read.values())[:2] != [3, 2]:
    raise SystemExit("changed: an answer that is cut off is no longer read as a whole one")
PYTHON
echo "as stated"
