"""What memories are made of: counts, lessons that are borne out, and abstracted examples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Demonstration, Entries, Lesson, Step, Trajectory
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.optimizer.candidates import LearnedMaterial, abstract, recount
from pivot_dspy.optimizer.rollout import CallRecord, RolloutResult, TrainingSignal


def lesson(avoid: str, tool: str = "find") -> Lesson:
    return Lesson(environment="Shop", trigger="a size is given", mistake="it was wrong", avoid=avoid, tools=(tool,))


def example(**args: object) -> Demonstration:
    steps = ({"id": "a", "tool": "find", "args": args}, {"id": "b", "tool": "add", "args": {"id": "$a.ids[0]"}})
    return Demonstration(environment="Shop", task="Buy it.", steps=steps)


@given(runs=st.lists(st.tuples(st.sets(st.sampled_from("xyz")), st.booleans()), max_size=8))
def test_each_run_counts_once_for_what_it_was_told(runs: list[tuple[set[str], bool]]) -> None:
    made = {name: lesson(name).model_copy(update={"id": name, "retrieved": 2, "helped": 1}) for name in "xy"}
    before = Entries(lessons=tuple(made.values()))
    after = recount(before, before, [(frozenset(ids), helped) for ids, helped in runs])
    for one in after.lessons:
        assert one.retrieved == 2 + sum(one.id in ids for ids, _ in runs)
        assert one.helped == 1 + sum(one.id in ids and helped for ids, helped in runs)


def test_a_lesson_that_would_change_what_verified_is_none() -> None:
    capitals = lesson("write it in capitals").model_copy(update={"fix": Fix(tool="find", kind="upper", place="size")})
    pool = LearnedMaterial("self")

    def learn(task: int, size: str, demonstration: Demonstration | None) -> None:
        found = TrainingSignal(
            lessons=(capitals,), demonstration=demonstration,
            trajectory=Trajectory(steps=(Step(id="a", tool="find", args={"size": size}),)),
        )  # fmt: skip
        call = CallRecord(refiner="self", verified=True, loss=0.0, first_loss=0.0, taught=found)
        pool.take(task, RolloutResult(score=1.0, calls=(call,)))

    learn(0, "XL", example(size="<size>"))
    learn(1, "one size", None)  # it did not verify, and says nothing
    (told,) = pool.lessons()
    assert told.fix is None and told.avoid == capitals.avoid and pool.fixes == ()  # one size could be chance
    learn(2, "M", example(size="<size>"))
    learn(3, "42", example(size="<size>"))  # a number has no case
    assert pool.lessons() == pool.fixes == (capitals,) and pool.lessons(5) == ()
    learn(4, "one size", example(size="<size>"))
    assert pool.lessons() == pool.fixes == ()


def test_examples_of_one_outline_become_one_with_slots() -> None:
    (one,) = abstract([example(size="L", color="red"), example(size="M", color="red")])
    assert one.steps[0]["args"] == {"size": "<size>", "color": "red"} and one.steps[1] == example().steps[1]
    assert len(abstract([example(size="L"), example(color="red"), example(size="$a.x")])) == 3
