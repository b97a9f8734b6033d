"""What holds of every call, whatever the model says."""

import itertools
from collections import Counter

import dspy
import pytest
from dspy.lm15 import ServerError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import Pivot, PlanningFailed, Trajectory
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.evaluation import evaluate
from pivot_dspy.loss import EPSILON
from tests.refiners.loops import LARGE, MENDED, NICE, ONE, REQUEST, RIGHT, WRONG, from_scratch
from tests.scripted import GARBAGE, accept, plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store

PIECES = [
    *(step("a", "find", **args) for args in ({"color": "red"}, {"color": "red", "size": "L"}, {"hue": 1}, {})),
    *(step("b", "details", ids=ids) for ids in ("$a.ids", "$zz.ids", ["p1", "p2"], [])),
    *(step("c", "add", product_id=p) for p in ("min_by($b, &price).id", "$b[0].id", "p3", "p9", "$c")),
    step("d", "add", for_each="$a.ids", product_id="$item"),
    step("e", "fly"),
    step("f", "order"),
    step("g", "add", product_id="p1"),
    submit(answer="$c.items[0]"),
    submit(answer="It costs 99."),
    submit(),
    {"id": "h", "tool": "find", "args": 7},
    {"nothing": True},
    {"keep": ["a", "b", "c", "submit"]},
    {"keep": "c"},
    {"keep": "zz"},
]  # fmt: skip
BROKEN = st.sampled_from([GARBAGE, "", ServerError("500")])
WHOLE = [RIGHT, WRONG, RIGHT[:2], [*RIGHT[:3], submit()], MENDED["steps"], [*RIGHT[:2], {"keep": ["c", "submit"]}]]
pieces = st.sampled_from(WHOLE) | st.lists(st.sampled_from(PIECES), max_size=7)
asked = st.lists(
    st.sampled_from(
        [LARGE, ONE, NICE, {"id": "R5", "check": "total", "args": {"max": 45}}, {"id": "R6", "check": "nope"}]
    ),
    max_size=3,
    unique_by=lambda item: item["id"],
)
verdict = st.fixed_dictionaries(
    {
        "about": st.sampled_from(["R3", "R6", "S1", "c", ["R3", "R6", "S1", "S2", "c", "d", "g"]]),
        "holds": st.booleans(),
        "quote": st.sampled_from(["p2", '"ids"', "Buy the cheapest", "nowhere"]),
        "calc": st.sampled_from(["", "40 + 59"]),
    }
)
changes = st.lists(
    st.sampled_from(
        [
            {**ONE, "reason": "x", "quote": "thing"},
            {"id": "R1", "reason": "x", "quote": '"ids"', "drop": True},
            {"id": "R1", "reason": "w", "drop": True},
            {"id": "R1", "reason": "y", "quote": "red thing", "text": "Soft."},
            {"id": "U1", "reason": "z", "quote": '"ids"', "drop": True},
        ]
    ),
    max_size=3,
)
conversations = st.fixed_dictionaries(
    {
        "plan": st.lists(
            st.builds(plan, pieces, asked) | st.builds(plan, pieces, asked) | BROKEN, min_size=2, max_size=3
        ),
        "evolve": st.lists(st.builds(rewrite, pieces) | BROKEN, max_size=6),
        "judge": st.lists(
            st.fixed_dictionaries({"verdicts": st.lists(verdict, max_size=3)}) | st.just(accept) | BROKEN,
            max_size=4,
        ),
        "compose": st.lists(st.just({"considerations": "x", "answer": "p2 it is"}) | BROKEN, max_size=3),
        "audit": st.lists(st.builds(lambda found: {"changes": found}, changes) | BROKEN, max_size=2),
        "localise": st.lists(
            st.builds(
                lambda name: {"diagnosis": "x", "step": name, "correction": "y"},
                st.sampled_from(["a", "c", "end", "?"]),
            )
            | BROKEN,
            max_size=2,
        ),
    }
)
ways = st.fixed_dictionaries(
    {
        "candidates": st.integers(1, 2),
        "restarts": st.integers(0, 2),
        "max_iters": st.integers(0, 5),
        "patience": st.integers(1, 3),
        "audit": st.sampled_from(["never", "stuck", "always"]),
        "requirements": st.sampled_from([[], [{"id": "U1", "check": "only", "args": {"count": 1}}]]),
    }
)
AGAIN = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def attempt(scripts, options, calls):
    made = Pivot("request -> answer", lambda: Store(calls), timeout=None, **options)
    return made, scripted(**scripts)


@AGAIN
@given(conversations, ways)
def test_whatever_the_model_says(scripts, options):
    calls = Calls()
    made, lm = attempt(scripts, options, calls)
    try:
        with dspy.context(lm=lm):
            result = made(request=REQUEST)
    except PlanningFailed as failure:
        assert failure.ledger.usage.lm_calls == lm.engine.count()
        return

    # Accepted losses never rise, from one amendment of the requirements to the next.
    series: list[list[float]] = [[]]
    for event in result.history:
        if event.kind == "amend":
            series.append([])
        elif event.kind == "accept":
            series[-1].append(event.loss.total)
    for losses in series:
        assert all(later <= earlier + EPSILON for earlier, later in itertools.pairwise(losses))
    assert accepted_losses(result.history)[-1:] == ([result.loss.total] if series[-1] else [])

    # The result is what running its trajectory from scratch gives.
    ran = from_scratch(result.trajectory)
    again = ran.execution
    assert [(o.status, o.value) for o in again.observations] == [
        (o.status, o.value) for o in result.execution.observations
    ]
    assert again.outputs == result.execution.outputs and result.answer == again.outputs.get("answer")

    # Every call is counted, and none of a kept prefix is made twice.
    usage = result.ledger.usage
    assert usage.tool_calls == len(calls) and usage.lm_calls == lm.engine.count()
    inspected = [event.execution for event in result.history if event.kind == "inspect"]
    booked = result.ledger.phases.get("inspect")
    assert (booked.tool_calls if booked else 0) == sum(execution.tool_calls for execution in inspected)
    incumbent: Trajectory | None = None
    for event in result.history:
        if event.kind == "inspect" and incumbent is not None and event.trajectory.operator != "plan":
            shared = event.trajectory.common_prefix(incumbent)
            assert all(o.reused for o in event.execution.observations[:shared])
        elif event.kind == "accept":
            incumbent = event.trajectory

    # Nothing irreversible ran, and a suspect is asked about once, or twice where the model gave no answer to it.
    assert "order" not in calls
    blamed: Counter[tuple[str | None, str]] = Counter()
    last = 2.0
    for event in result.history:
        # A version that read something new is gone on from, and nothing was blamed for it yet.
        if event.kind in ("amend", "look") or (event.kind == "accept" and event.trajectory.operator == "extend"):
            blamed.clear()
        elif event.kind == "accept":
            if event.loss.total < last - EPSILON:
                blamed.clear()
            last = event.loss.total
        elif event.kind == "gradient":
            blamed[event.gradient.key] += 1
            assert blamed[event.gradient.key] <= 2

    # A success has nothing against it.
    by_id = {finding.requirement: finding for finding in result.findings}
    checked = {f.requirement: f for f in evaluate(result.requirements, again, ran.session)}
    if result.verified:
        assert result.loss.perfect and not result.verdict.reasons and again.discrepancies == ()
        assert again.missing_outputs == () and again.trajectory.submit is not None
        assert all(finding.holds for finding in by_id.values()) and by_id.keys() == checked.keys()
        assert all(f.holds or f.status == "unjudged" for f in checked.values())
    else:
        assert result.verdict.reasons
    for requirement in made._required:
        assert any(item.id == requirement["id"] and item.origin == "user" for item in result.requirements.items)


def told(result):
    def plain(event):
        record = event.model_dump(mode="json")
        for observation in record.get("execution", {}).get("observations", ()):
            observation["seconds"] = 0
        return record

    return [plain(event) for event in result.history], result.answer, result.verdict, result.ledger.usage


@settings(AGAIN, max_examples=30)
@given(conversations, ways)
async def test_sync_and_async_are_the_same(scripts, options):
    made, lm = attempt(scripts, options, Calls())
    other, async_lm = attempt(scripts, options, Calls())
    try:
        with dspy.context(lm=lm):
            result = made(request=REQUEST)
    except PlanningFailed as failure:
        with dspy.context(lm=async_lm), pytest.raises(PlanningFailed, match=r"no plan|no requirements") as raised:
            await other.acall(request=REQUEST)
        assert str(raised.value) == str(failure)
        return
    with dspy.context(lm=async_lm):
        awaited = await other.acall(request=REQUEST)
    assert told(awaited) == told(result)
