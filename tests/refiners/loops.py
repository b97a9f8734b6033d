"""A small shopping task for Pivot's loop: plans that are right and wrong, and one call on them."""

import itertools
from typing import Any

import dspy

from pivot_dspy import Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from programs.comparison.ablations import PivotWithoutPatches
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store

REQUEST = "Buy the cheapest red thing of size L."
CART = "Put the cheapest red thing of size L in the cart."
"""A request whose words ask for the call itself, where no requirement does."""
LARGE = {"id": "R1", "check": "item", "args": {"color": "red", "size": "L"}}
ONE = {"id": "R2", "check": "only", "args": {"count": 1}}
NICE = {"id": "R3", "text": "It is nice."}
RIGHT = [
    step("a", "find", color="red", size="L"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="min_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
WRONG = [step("a", "find", color="red", size="M"), *RIGHT[1:]]
UNCHANGED = rewrite([{"keep": ["a", "b", "c", "submit"]}])
MENDED = rewrite([RIGHT[0], {"keep": ["b", "c", "submit"]}], "It looked for size M.")


def run(
    environment: Any = None, request: str = REQUEST, call: dict[str, Any] | None = None, pivot: Any = None, **scripts
):
    """The result of one call, the engine, and the tool calls that were really made. The model makes all repairs."""
    calls = Calls()
    lm = scripted(**{"audit": {"changes": []}, **scripts})
    made = PivotWithoutPatches(
        "request -> answer", environment or (lambda: Store(calls)), timeout=None, **(pivot or {})
    )
    with dspy.context(lm=lm):
        return made(request=request, **(call or {})), lm.engine, calls


def getting_worse(**options: Any):
    """`run` with a wrong plan, whose every rewrite adds one more step that calls no tool."""
    worse = itertools.count()
    return run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot=options,
    )


def from_scratch(trajectory: Trajectory) -> ExecutedRun:
    """The trajectory, run in a fresh store."""
    return run_sync(execute(trajectory, SessionFactory(Store, timeout=None).open(None), outputs={"answer": str}))


def kinds(result) -> list[str]:
    return [event.kind for event in result.history]
