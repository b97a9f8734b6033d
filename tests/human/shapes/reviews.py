"""Reviews to be put into the shapes of peers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pivot_dspy import Step, Trajectory
from pivot_dspy.human.review import Review, ToolForm
from pivot_dspy.loss import Loss
from pivot_dspy.trajectory import Execution
from pivot_dspy.verdict import PendingCall

PAY = ToolForm(
    signature="pay(to, amount, note?)",
    description="Pays at once.",
    parameters={"to": {"type": "string"}, "amount": {"type": "integer"}, "note": {"type": "string"}},
    required=("to", "amount"),
)
SEND = ToolForm(signature="send(...)", closed=False)
SUBMIT = ToolForm(signature="submit(answer)", parameters={"answer": {}}, required=("answer",))
TOOLS = {"pay": PAY, "send": SEND, "submit": SUBMIT}


def review(*steps: Step, pending: tuple[PendingCall, ...] = (), **fields: Any) -> Review:
    trajectory = Trajectory(steps=steps)
    return Review(
        id="r-1-ab", occasion="before_commit", task={"request": "Pay Ann."}, trajectory=trajectory,
        execution=Execution(trajectory=trajectory), loss=Loss(), pending=pending, tools=TOOLS, **fields,
    )  # fmt: skip


DEBT = Step(id="a", tool="pay", args={"to": "Bo", "amount": 7})
BOUND = Step(id="b", tool="pay", args={"to": "Ann", "amount": "$a", "note": "as agreed"})
ANSWER = Step(id="submit", tool="submit", args={"answer": "$b"})
WAITING = review(
    DEBT, BOUND, ANSWER,
    pending=(
        PendingCall(step="a", tool="pay", args={"to": "Bo", "amount": 7}, approval=True),
        PendingCall(step="b", tool="pay", args={"to": "Ann", "amount": "$a", "note": "as agreed"}),
    ),
)  # fmt: skip
"""Two payments, of which the second takes its amount from what the first gives."""
ANSWERED = review(DEBT, ANSWER, outputs={"answer": "paid"})
"""A review in which no call waits."""
REPEATED = review(
    Step(id="a", tool="pay", args={"to": "$item", "amount": 5}, for_each="$z"), ANSWER,
    pending=tuple(PendingCall(step="a", tool="pay", args={"to": name, "amount": 5}) for name in ("Ann", "Bo")),
)  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["$a", "$b.id", "costs $5", "$$", "$'x'", "{{a}}", "{{ b.id }}", "min_by($a, &x)"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "calc"]), inner, max_size=2),
    max_leaves=6,
)
arguments = st.dictionaries(st.sampled_from(["to", "amount", "note", "x"]), values, max_size=4)


@st.composite
def open_reviews(draw: st.DrawFn) -> Review:
    """Reviews of one to three calls of a tool that takes anything, with whatever arguments."""
    made = [draw(arguments) for _ in range(draw(st.integers(1, 3)))]
    steps = [Step(id=name, tool="send", args=args) for name, args in zip("abc", made, strict=False)]
    pending = tuple(PendingCall(step=step.id, tool="send", args=step.args) for step in steps)
    return review(*steps, ANSWER, pending=pending)
