#!/usr/bin/env bash
# dspy 3.4.1: every subclass of dspy.Module shows `(*args, **kwargs)` to inspect.signature, help() and whatever completes
# by it, since its metaclass defines __call__(cls, *args, **kwargs); the constructor's own parameters are hidden.
# An explicit __signature__ on the class brings them back. Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dspy==3.4.1"
cd "$folder"
DSPY_CACHEDIR="$folder/cache" "$folder/venv/bin/python" - <<'PYTHON'
import inspect
import pydoc

import dspy

seen = str(inspect.signature(dspy.ReAct))
constructor = list(inspect.signature(dspy.ReAct.__init__).parameters)
shown = pydoc.plain(pydoc.render_doc(dspy.ReAct))
print("dspy", dspy.__version__, "| inspect.signature(dspy.ReAct):", seen, "| its __init__ takes:", constructor)


class Declared(dspy.Module):
    __signature__ = inspect.Signature([inspect.Parameter("tools", inspect.Parameter.KEYWORD_ONLY)])


print("with __signature__ declared:", inspect.signature(Declared))
if (seen, constructor) != ("(*args, **kwargs)", ["self", "signature", "tools", "max_iters"]):
    raise SystemExit("changed: the signature of dspy.ReAct is no longer hidden, or its constructor is another")
if "ReAct(*args, **kwargs)" not in shown or str(inspect.signature(Declared)) != "(*, tools)":
    raise SystemExit("changed: what help() shows")
PYTHON
echo "as stated"
