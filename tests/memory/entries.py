"""Entries for the tests: one of each kind, and strategies for any."""

from __future__ import annotations

from hypothesis import strategies as st

from pivot_dspy import Demonstration, Entries, Lesson, ToolNote
from pivot_dspy.memory.fixes import Fix

STEPS = (
    {"id": "a", "tool": "find", "args": {"color": "<color>", "size": "<size>"}},
    {"id": "b", "tool": "details", "args": {"ids": "$a.ids"}},
    {"id": "c", "tool": "add", "args": {"product_id": "min_by($b, &price).id"}},
    {"id": "submit", "tool": "submit", "args": {"answer": "$c.items[0]"}},
)
EXAMPLE = Demonstration(
    environment="Store",
    task="Buy the cheapest blue cap of size M.",
    steps=STEPS,
    requirements=({"id": "R1", "check": "item", "args": {"color": "<color>", "size": "<size>"}},),
)
SIZES = Lesson(
    environment="Store",
    trigger="find takes a size",
    mistake="it was written small",
    avoid="write it in capitals",
    tools=("find",),
)
ONE = Lesson(
    environment="Store",
    trigger="anything is bought",
    mistake="more than one thing was in the cart",
    avoid="buy exactly one thing",
    requirement={"id": "X", "check": "only", "args": {"count": 1}},
    by="model",
)
UNKNOWN = ToolNote(
    environment="Store", tool="add", error="no product is called 'x'", meaning="the id was made up; bind it to find"
)
ENTRIES = Entries().add(EXAMPLE, SIZES, ONE, UNKNOWN)

TOOLS = ("find", "details", "add", "order")
WORDS = ("buy", "a", "red", "blue", "cap", "coat", "size", "L", "M", "cheap", "price", "when", "the_id", "x1")
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
texts = words | st.text(min_size=1, max_size=30).filter(str.strip)
environments = st.sampled_from(["Store", "Calendar"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=2),
    max_leaves=5,
)
args = st.dictionaries(st.sampled_from(["size", "color", "ids"]), values, max_size=2)
steps = st.builds(lambda tool, given: {"id": "a", "tool": tool, "args": given}, st.sampled_from(TOOLS), args)
drafts = st.builds(lambda given: {"check": "item", "args": given}, args) | st.builds(lambda said: {"text": said}, texts)


demonstrations = st.builds(
    Demonstration,
    environment=environments,
    task=texts,
    steps=st.lists(steps, min_size=1, max_size=6),
    requirements=st.lists(drafts, max_size=2),
    partial=st.booleans(),
)
names = st.sampled_from(["size", "cost", "rating.stars"])
styles = st.builds(
    Fix, tool=st.sampled_from(TOOLS), kind=st.sampled_from(["lower", "upper", "title", "strip"]), place=names
)
renames = st.builds(
    Fix, tool=st.sampled_from(TOOLS), kind=st.sampled_from(["argument", "field"]), place=names, wrong=st.just("costs")
)
fixes = styles | renames | st.builds(Fix, tool=st.sampled_from(TOOLS), kind=st.just("tool"), wrong=st.just("look"))
lessons = st.builds(
    Lesson,
    environment=environments,
    trigger=texts,
    mistake=texts,
    avoid=texts,
    requirement=st.none() | drafts,
    tools=st.lists(st.sampled_from(TOOLS), unique=True, max_size=2),
    fix=st.none() | fixes,
    by=st.sampled_from(["rule", "model", "person"]),
)
notes = st.builds(ToolNote, environment=environments, tool=st.sampled_from(TOOLS), error=texts, meaning=texts)
collections = st.lists(demonstrations | lessons | notes, max_size=12).map(lambda found: Entries().add(*found))
