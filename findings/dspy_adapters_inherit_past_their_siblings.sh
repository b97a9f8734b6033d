#!/usr/bin/env bash
# dspy 3.4.1: Adapter.__init_subclass__ sets `parse` and `format`, wrapped for callbacks, on each subclass anew, also
# where the subclass defines neither. So the attribute of an empty class hides that of its sibling: with
# class Brief(ChatAdapter) and class Mixed(Brief, JSONAdapter), Python's method resolution order has JSONAdapter before
# ChatAdapter, and JSONAdapter overrides `parse`, yet Mixed().parse is ChatAdapter's. In plain Python the same classes
# give JSONAdapter's. An adapter that combines two has to name the `parse` it wants.
# Output seen:
#   order: Mixed, Brief, JSONAdapter, ChatAdapter, Adapter | plain classes: JSON | dspy: AdapterParseError of ChatAdapter
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dspy==3.4.1"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import dspy
from dspy.utils.exceptions import AdapterParseError


class Brief(dspy.ChatAdapter):
    pass


class Mixed(Brief, dspy.JSONAdapter):
    pass


class Base:
    def parse(self):
        return "Chat"


class Plain(Base):
    pass


class Json(Base):
    def parse(self):
        return "JSON"


class PlainMixed(Plain, Json):
    pass


order = [kind.__name__ for kind in Mixed.__mro__[:-1]]
try:
    seen = str(Mixed().parse(dspy.Signature("question -> answer"), '{"answer": "1"}'))
except AdapterParseError as error:
    seen = f"AdapterParseError of {'ChatAdapter' if 'ChatAdapter' in str(error) or 'Mixed' in str(error) else error}"
print(f"order: {', '.join(order)} | plain classes: {PlainMixed().parse()} | dspy: {seen}")
if order.index("JSONAdapter") > order.index("ChatAdapter") or PlainMixed().parse() != "JSON":
    raise SystemExit("changed: the order of the classes")
if not seen.startswith("AdapterParseError"):
    raise SystemExit("changed: an empty subclass hides its sibling's parse no more")
PYTHON
echo "as stated"
