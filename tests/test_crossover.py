"""Crossover: what holds for any two parents, and what it does on runs of real sessions."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pivot_dspy import Requirements, Step, Trajectory, bindings
from pivot_dspy.crossover import Grade, Parent, _align, _align_differing, _parts, contents, crossover, distance
from pivot_dspy.phases.inspect import inspect, parent
from pivot_dspy.requirements import Requirement
from tests.refiners.loops import LARGE, RIGHT, WRONG
from tests.scripted import step, submit
from tests.stores import Calendar, executed

BIG = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
TEXTS = ["plain", "pays $5", "$$a", "join('', [${0}.x, '$b'])", "${0}.ids", "{0}", "${0}.a[?b=='${0}'].c"]


@st.composite
def trajectories(draw, prefix="", marks=False):
    """A trajectory whose bindings all read an earlier step; `marks` gives every step an argument of its own."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "d5", "5", "x_2"]), unique=True, max_size=6))
    steps = []
    for place, name in enumerate(names):
        args = {"x": _text(draw, names[:place], prefix)}
        if marks:
            args["mark"] = f"{prefix or 'first'}{place}"
        reads = draw(st.sampled_from([None, *names[:place]]))
        each = draw(st.booleans()) and reads is not None
        steps.append(
            Step(
                id=prefix + name,
                tool=draw(st.sampled_from(["find", "add", "look"])),
                args=args,
                for_each=f"${prefix}{reads}.ids" if each else None,
                expects=f"${prefix}{reads}.n > `1`" if reads and draw(st.booleans()) else None,
            )
        )
    if draw(st.booleans()):
        steps.append(Step(id="submit", tool="submit", args={"answer": _text(draw, names, prefix)}))
    return Trajectory(steps=tuple(steps))


def _text(draw, names, prefix):
    text = draw(st.sampled_from(TEXTS))
    if "{0}" not in text:
        return text
    return text.replace("{0}", prefix + draw(st.sampled_from(names))) if names else "plain"


@st.composite
def parents(draw, **shape):
    trajectory = draw(trajectories(**shape))
    ids = [one.id for one in trajectory.steps if not one.is_submit]
    some = st.sampled_from(ids) if ids else st.nothing()
    return Parent(
        trajectory=trajectory,
        grades=draw(st.dictionaries(some, st.sampled_from(Grade))),
        purposes=draw(st.dictionaries(some, st.sampled_from(["R1", "R2"]))),
        writes=draw(st.dictionaries(some, st.sampled_from(["", "add p1", "add p2"]))),
        needs={
            name: tuple(draw(st.sets(st.sampled_from(ids[:place])))) for place, name in enumerate(ids) if place
        },
    )


def outline(one: Step) -> str:
    """A step without names: its own, and those that its bindings read."""
    return re.sub(r"\$\w+", "$_", json.dumps(one.content() | {"id": ""}, sort_keys=True))


def reads(one: Step, before) -> list[str]:
    named = bindings.dependencies([one.for_each, one.args, one.expects], before)
    return [name for name in named if not name.isdigit() or name in before]


@BIG
@given(first=parents(), second=parents())
def test_whatever_the_parents_the_child_is_sound(first, second):
    child = crossover(first, second)
    ends = [place for place, one in enumerate(child.steps) if one.is_submit]
    assert ends == ([len(child) - 1] if first.trajectory.submit or second.trajectory.submit else [])
    for place, one in enumerate(child.steps):
        before = frozenset(child.ids[:place])
        assert all(name in before for name in reads(one, before)), (one, before)
    known = [outline(one) for one in (*first.trajectory.steps, *second.trajectory.steps)]
    escaped = [text.replace("pays $_", "pays $$_") for text in known]
    assert all(outline(one) in {*known, *escaped} for one in child.steps)
    assert child.id == first.trajectory.id or (child.parent == first.trajectory.id and child.operator == "crossover")


@BIG
@given(first=parents(marks=True), second=parents(prefix="s", marks=True))
def test_steps_keep_the_order_of_their_parents_and_no_change_is_made_by_both(first, second):
    child = crossover(first, second)
    marks = [one.args["mark"] for one in child.steps if not one.is_submit]
    for prefix in ("first", "s"):
        own = [mark for mark in marks if mark.startswith(prefix)]
        assert own == sorted(own)
    made = {
        one.args["mark"]: parent.writes.get(one.id, "")
        for parent in (first, second)
        for one in parent.trajectory.steps
        if not one.is_submit
    }
    sides: dict[str, set[str]] = {}
    for mark in marks:
        sides.setdefault(made[mark], set()).add(mark.rstrip("0123456789"))
    assert all(len(who) == 1 for change, who in sides.items() if change)


@BIG
@given(first=parents(), second=parents(prefix="s"))
def test_names_do_not_matter(first, second):
    assume("5" not in first.trajectory.ids)  # there text may read like a binding
    names = {name: f"other{place}" for place, name in enumerate(second.trajectory.ids)}

    def renamed(mapping):
        return {names[name]: value for name, value in mapping.items()}

    def text(value):
        return bindings.rename(value, names) if isinstance(value, str) else value

    steps = [
        one.model_copy(
            update={
                "id": names[one.id],
                "args": {key: text(value) for key, value in one.args.items()},
                "for_each": text(one.for_each),
                "expects": text(one.expects),
            }
        )
        for one in second.trajectory.steps
    ]
    other = Parent(
        trajectory=Trajectory(steps=tuple(steps)),
        grades=renamed(second.grades),
        purposes=renamed(second.purposes),
        writes=renamed(second.writes),
        needs={names[name]: tuple(names[one] for one in needed) for name, needed in second.needs.items()},
    )
    if not any("$$" in json.dumps(one.args) for one in second.trajectory.steps):
        assert distance(second.trajectory, other.trajectory) == 0
        child, same = crossover(first, second), crossover(first, other)
        assert list(contents(child).values()) == list(contents(same).values())


def test_the_names_of_two_readers_do_not_decide_what_they_read():
    plain, join = {"x": "plain"}, {"x": "join('', [$sa.x, '$b'])"}
    own = [step("a", "add", **plain), step("b", "find", **plain)]
    children = []
    for reader in ("s5", "z5"):  # one that ran keeps the step it reads, which the untried one then reads as well
        theirs = [step("sa", "find", **plain), step("sb", "find", **plain), step("sc", "find", **join),
                  step("sd", "find", **plain), step(reader, "find", **join), step("sx", "find", **plain)]  # fmt: skip
        second = Parent(
            trajectory=Trajectory(steps=tuple(Step(**one) for one in theirs)),
            grades={"sa": Grade.BLAMED, "sc": Grade.UNTRIED},
            purposes={"sa": "R1", "sb": "R1", "sc": "R1", reader: "R2"},
        )
        child = crossover(Parent(trajectory=Trajectory(steps=tuple(Step(**one) for one in own))), second)
        children.append(list(contents(child).values()))
    assert children[0] == children[1]


@BIG
@given(one=parents())
def test_a_trajectory_crossed_with_itself_is_itself(one):
    better = one.model_copy(update={"grades": dict.fromkeys(one.trajectory.ids, Grade.SERVES)})
    assert crossover(one, better) == one.trajectory


@BIG
@given(one=trajectories(), two=trajectories(), three=trajectories())
def test_distance_is_a_metric(one, two, three):
    assert distance(one, one) == 0 and distance(one, two) == distance(two, one) and 0 <= distance(one, two) <= 1
    longest = max(map(len, (one, two, three)))
    edits = [distance(a, b) * max(len(a), len(b)) for a, b in ((one, three), (one, two), (two, three))]
    assert longest == 0 or edits[0] <= edits[1] + edits[2] + 1e-9
    assert (distance(one, two) == 0) == (list(contents(one).values()) == list(contents(two).values()))


# ------------------------------------------------------------------------------------------------------- on real runs

SETTLED = Requirements(items=(Requirement(**LARGE), Requirement(id="R2", check="item", args={"color": "blue"}),
                              Requirement(id="R3", check="total", args={"max": 65})))  # fmt: skip
BLUE = [step("a", "find", color="blue"), step("e", "add", product_id="$a.ids[0]")]


def graded(steps, settled=SETTLED, environment=None):
    run = executed(steps, *([environment] if environment else []))
    return parent(inspect(run, settled, {}), settled, run.session.toolbox)


def holding(trajectory, settled=SETTLED):
    run = executed([one.content() for one in trajectory.steps])
    return run.execution, {one.requirement for one in inspect(run, settled, {}).findings if one.holds}


@pytest.mark.parametrize("swap", [False, True])
def test_each_parents_good_chain_is_taken_with_all_that_it_reads(swap):
    red = [*RIGHT[:3], step("x", "find", color="green"), step("e", "add", product_id="$x.ids[0]"), RIGHT[3]]
    blue = [*WRONG[:2], step("c", "add", product_id="max_by($b, &price).id"), step("y", "find", color="blue"),
            step("z", "add", product_id="$y.ids[0]"), submit(answer="$z.items[0]")]  # fmt: skip
    pair = [graded(red), graded(blue)]
    assert [holding(one.trajectory)[1] & {"R1", "R2"} for one in pair] == [{"R1"}, {"R2"}]
    execution, held = holding(crossover(*reversed(pair) if swap else pair))
    assert held == {"R1", "R2", "R3"} and all(seen.ok for seen in execution.observations)


def test_an_untried_step_reads_what_took_the_place_of_the_one_that_failed_it():
    broken = [step("a", "find", colour="red"), *RIGHT[1:]]
    other = [RIGHT[0], step("b", "details", ids="$nothing.ids"), *RIGHT[2:]]
    child = crossover(graded(broken), graded(other))
    assert [one.content() for one in child.steps] == [one | {} for one in RIGHT]


def test_writes_that_a_step_depends_on_come_with_it():
    asked = Requirements(items=(Requirement(id="R1", check="booked", args={"day": "Monday"}),))
    rest = [step("s", "search", day="Monday"), step("b", "book", hour="$s[0]"), submit(answer="$b")]
    forbidden = graded(rest, asked, Calendar)
    allowed = graded([step("g", "grant", scope="calendar.read"), *rest[:1], submit(answer="$s[0]")], asked, Calendar)
    child = crossover(forbidden, allowed)
    assert child.ids == ("g", "s", "b", "submit")
    assert executed([one.content() for one in child.steps], Calendar).execution.outputs == {"answer": "Monday 10:00"}


@st.composite
def runnable(draw):
    """Steps on the store: most of them run, whatever they find."""
    steps, found, records = [], [], []
    for place in range(draw(st.integers(1, 6))):
        name = f"{draw(st.sampled_from('abc'))}{place}"
        kind = draw(st.sampled_from(["find", *(["details"] * bool(found)), *(["add"] * 2 * bool(records))]))
        if kind == "find":
            color, size = draw(st.sampled_from([("red", "L"), ("red", "M"), ("blue", "L"), ("red", None)]))
            steps.append(step(name, "find", color=color, **({"size": size} if size else {})))
            found.append(name)
        elif kind == "details":
            steps.append(step(name, "details", ids=f"${draw(st.sampled_from(found))}.ids"))
            records.append(name)
        else:
            choice = draw(st.sampled_from(["min_by", "max_by"]))
            steps.append(step(name, "add", product_id=f"{choice}(${draw(st.sampled_from(records))}, &price).id"))
    last = next((one["id"] for one in reversed(steps) if one["tool"] == "add"), None)
    return [*steps, submit(answer=f"${last}.items[0]" if last else "none")]


@BIG
@given(first=runnable(), second=runnable())
def test_where_both_parents_run_their_child_runs(first, second):
    pair = [graded(first), graded(second)]
    for steps in (first, second):
        assert all(seen.ok for seen in executed(steps).execution.observations)
    for one, other in (pair, pair[::-1]):
        execution, _ = holding(crossover(one, other))
        assert all(seen.ok for seen in execution.observations), execution.discrepancies


@BIG
@given(parents(), parents(), st.integers(0, 6), st.integers(0, 6))
def test_what_both_begin_and_end_with_is_paired_as_if_all_were_compared(first, second, head, tail):
    steps = [one for one in first.trajectory.steps if not one.is_submit]
    mine = [Step(id=f"h{place}", tool="same", args={"x": place % 4}) for place in range(head)]
    theirs = [Step(id=f"t{place}", tool="same", args={"x": place % 5}) for place in range(tail)]
    others = [one for one in second.trajectory.steps if not one.is_submit]
    both = [
        [*_parts(Parent(trajectory=Trajectory(steps=(*mine, *middle, *theirs))), side).values()]
        for side, middle in enumerate((steps, others))
    ]
    assert _align(*both) == _align_differing(*both)
