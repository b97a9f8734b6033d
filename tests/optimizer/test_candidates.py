"""What memories are made of: lessons that are borne out, and examples of different outlines."""

from __future__ import annotations

from pivot_dspy import Demonstration, Lesson, Step, Trajectory
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.optimizer.candidates import LearnedMaterial, of_one_outline_each
from pivot_dspy.optimizer.rollout import CallRecord, RolloutResult, TrainingSignal


def lesson(avoid: str, tool: str = "find") -> Lesson:
    return Lesson(environment="Shop", trigger="a size is given", mistake="it was wrong", avoid=avoid, tools=(tool,))


def example(**args: object) -> Demonstration:
    steps = ({"id": "a", "tool": "find", "args": args}, {"id": "b", "tool": "add", "args": {"id": "$a.ids[0]"}})
    return Demonstration(environment="Shop", task="Buy it.", steps=steps)


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
    learn(2, "42", example(size="<size>"))  # a number has no case
    assert pool.lessons() == pool.fixes == (capitals,) and pool.lessons(5) == ()
    learn(3, "one size", example(size="<size>"))
    assert pool.lessons() == pool.fixes == ()


def test_of_examples_that_differ_in_values_alone_the_first_stays() -> None:
    large, medium, red = example(size="L"), example(size="M"), example(color="red")
    assert of_one_outline_each([large, medium, red, red]) == (large, red)
