import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import run_sync
from pivot_dspy.phases.base import Phase, ask, with_task, without
from pivot_dspy.phases.written_steps import read_steps, unused
from pivot_dspy.trajectory import Step, Trajectory
from tests.scripted import scripted


class Inner(dspy.Signature):
    """Do the inner thing."""

    tools: str = dspy.InputField(desc="what there is")
    report: str = dspy.InputField()
    words: str = dspy.OutputField()


TASK = dspy.Signature("question, context -> answer: int", "Answer briefly.")


# --------------------------------------------------------------------------------------------------------- signatures


def test_the_task_is_put_into_a_phases_signature():
    made = with_task(Inner, TASK, after="tools")
    assert list(made.input_fields) == ["tools", "question", "context", "report"]
    assert list(made.output_fields) == ["words"]
    assert made.instructions == "Do the inner thing.\n\nThe task: Answer briefly."
    assert list(Inner.input_fields) == ["tools", "report"] and Inner.instructions == "Do the inner thing."
    assert list(with_task(Inner, TASK, outputs=True).fields) == [
        "question",
        "context",
        "tools",
        "report",
        "words",
        "answer",
    ]


def test_types_and_descriptions_of_the_task_come_along():
    class Typed(dspy.Signature):
        """Count."""

        images: list[dspy.Image] = dspy.InputField(desc="what to count on")
        count: int = dspy.OutputField(desc="how many")

    made = with_task(Inner, Typed, after="tools", outputs=True)
    assert made.input_fields["images"].annotation == list[dspy.Image]
    assert made.input_fields["images"].json_schema_extra["desc"] == "what to count on"
    assert made.output_fields["count"].annotation is int


@given(st.frozensets(st.sampled_from(["task_known", "goal", "people", "steps", "nothing"])))
def test_fields_are_left_out_as_dspy_deletes_them(names):
    whole = dspy.Signature("task_known: list[str], goal: str, people: int -> steps: list[int], answer", "Plan it.")
    expected = whole
    for name in sorted(names):
        expected = expected.delete(name)
    shorter = without(whole, names)
    assert list(shorter.fields) == list(expected.fields) and shorter.equals(expected)
    assert shorter.instructions == "Plan it." and (shorter is whole) is (names <= {"nothing"})


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("report", ["tools", "report", "pivot_report", "words"]),
        ("tools", ["pivot_tools", "tools", "report", "words"]),
        ("words", ["tools", "task_words", "report", "words"]),  # by which the instructions call it
        *((name, ["tools", f"task_{name}", "report", "words"]) for name in ("config", "demos", "lm")),
    ],
)
def test_a_field_of_the_task_and_one_of_the_phase_have_different_names_in_the_prompt(name, fields):
    task = dspy.Signature(f"{name} -> answer", "Do it.")
    made = with_task(Inner, task, after="tools")
    assert list(made.fields) == fields
    phase = Asking(task)
    phase.predict.signature = made
    lm = scripted(compose={"words": "hello"})
    with dspy.context(lm=lm):
        inputs = phase.prompt({name: "of the task"}, tools="own tools", report="own report")
        assert run_sync(ask(phase.predict, **inputs)).words == "hello"
    seen = lm.engine.prompts[0].sections
    assert "of the task" in seen.values() and {"own tools", "own report"} <= {*seen.values()}


def test_instructions_and_descriptions_follow_a_field_that_is_renamed():
    made = with_task(Inner.with_instructions("Read `report` and `tools`."), dspy.Signature("report -> answer"))
    assert made.instructions.startswith("Read `pivot_report` and `tools`.")
    assert made.input_fields["pivot_report"].json_schema_extra["desc"] == "${pivot_report}"
    assert made.input_fields["tools"].json_schema_extra["desc"] == "what there is"


def test_an_output_field_matters_only_where_it_is_asked_for():
    task = dspy.Signature("question -> report")
    assert list(with_task(Inner, task, after="tools").fields) == ["tools", "question", "report", "words"]
    both = with_task(Inner, task, after="tools", outputs=True)
    assert list(both.fields) == ["tools", "question", "pivot_report", "words", "report"]


@pytest.mark.parametrize("task", ["report, pivot_report -> answer", "words, task_words -> answer"])
def test_a_task_that_has_the_other_name_too_is_refused(task):
    with pytest.raises(ConfigurationError, match="has a name .* rename it"):
        with_task(Inner, dspy.Signature(task), after="tools")


# ------------------------------------------------------------------------------------------------------------- asking


class Asking(Phase):
    asks = Inner

    def run(self, **inputs):
        return (yield from ask(self.predict, **inputs))


async def test_forward_and_aforward_ask_the_same():
    lm = scripted(compose={"words": "hello"})
    with dspy.context(lm=lm):
        assert Asking()(tools="t", report="r").words == "hello"
        assert (await Asking().acall(tools="t", report="r")).words == "hello"
    first, second = lm.engine.prompts
    assert first.text == second.text and first.sections == {"tools": "t", "report": "r"}


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_input_is_left_out_of_the_prompt(empty):
    lm = scripted(compose={"words": "hello"})
    phase = Asking()
    with dspy.context(lm=lm):
        phase(tools=empty, report="r")
    assert lm.engine.prompts[0].sections == {"report": "r"} and "tools" not in lm.engine.prompts[0].text
    assert list(phase.predict.signature.input_fields) == ["tools", "report"]


def test_an_input_that_cannot_be_compared_does_no_harm():
    class Odd(dspy.Type):
        def format(self):
            return "odd"

        def __eq__(self, other):
            raise TypeError("not comparable")

    class Takes(dspy.Signature):
        odd: Odd = dspy.InputField()
        words: str = dspy.OutputField()

    lm = scripted(compose={"words": "hello"})
    with dspy.context(lm=lm):
        assert run_sync(ask(dspy.Predict(Takes), odd=Odd())).words == "hello"


def test_another_sample_is_asked_for_by_config():
    lm = scripted(compose={"words": "hello"})
    with dspy.context(lm=lm):
        run_sync(ask(dspy.Predict(Inner), {"temperature": 0.7, "rollout_id": 3}, tools="t", report="r"))
    assert lm.engine.prompts[0].temperature == 0.7


# ------------------------------------------------------------------------------------------------------ reading steps


def test_a_step_is_read_as_it_is_written():
    [step] = read_steps([{"id": "a", "tool": "find", "args": {"n": 1}, "for_each": "$b", "expects": "x", "why": "y"}])
    assert step == Step(id="a", tool="find", args={"n": 1}, for_each="$b", expects="x", why="y")
    [step] = read_steps([{"id": "a", "tool": "find", "for_each": "", "expects": None}])
    assert step == Step(id="a", tool="find")
    [step] = read_steps([{"id": "a", "tool": "find", "for_each": ["x", "y"]}])
    assert step.problem == "for_each is an expression in a string, not ['x', 'y']"


@pytest.mark.parametrize(
    ("written", "id_", "tool"),
    [
        ({"id": "$a", "tool": "find"}, "a", "find"),
        ({"tool": "find"}, "s1", "find"),
        ({"name": "find", "arguments": {}}, "s1", "find"),
        ({"tool": "submit", "args": {}}, "submit", "submit"),
        ({"id": 7, "tool": "find", "args": None}, "7", "find"),
    ],
)
def test_small_liberties_are_taken_as_they_are_meant(written, id_, tool):
    [step] = read_steps([written])
    assert (step.id, step.tool, step.problem) == (id_, tool, None)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (7, "a step is an object"),
        ({}, "needs the name of its tool"),
        ({"id": "a", "tool": ["find"]}, "needs the name of its tool"),
        ({"id": "a", "tool": "find", "args": [1]}, "args is an object"),
        ({"id": "item", "tool": "find"}, "not 'item'"),
        ({"id": "a b", "tool": "find"}, "letters, digits"),
        ({"keep": "z"}, "keep names 'z'; the steps to keep are b"),
        ({"keep": {"x": 1}}, "keep names"),
        ("z", "keep names 'z'"),
    ],
)
def test_what_cannot_be_read_is_a_step_with_its_problem(written, said):
    [step] = read_steps([written], base={"b": Step(id="b", tool="find")})
    assert said in (step.problem or "")


BASE = {name: Step(id=name, tool="find", args={"of": name}) for name in ("b", "c", "d")}


@pytest.mark.parametrize(
    "written",
    [
        [{"keep": "b"}, {"keep": "c"}, {"keep": "d"}],
        [{"keep": ["b", "c"]}, {"keep": "d"}],
        {"keep": ["b", "c", "d"]},
        ["b", "c", "d"],
        [{"keep": ["a", "b"]}, {"keep": ["c", "d"]}],
    ],
)
def test_keeping_stands_for_the_steps_as_they_were(written):
    assert read_steps(written, base=BASE, taken=["a"]) == list(BASE.values())


def test_an_id_that_is_taken_is_a_problem_of_the_later_step():
    steps = read_steps(
        [{"id": "a", "tool": "find"}, {"id": "x", "tool": "find"}, {"keep": "b"}, {"id": "b", "tool": "find"}],
        base=BASE,
        taken=["a"],
    )
    assert [(step.id, step.problem is None) for step in steps] == [
        ("a_2", False),
        ("x", True),
        ("b", True),
        ("b_2", False),
    ]
    assert "already taken" in steps[0].problem


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "tool", "args", "keep", "for_each", "expects", "name", "b"]), inner, max_size=5
        )
    ),
    max_leaves=15,
)


@given(JSON, st.lists(st.sampled_from("abc"), unique=True))
def test_nothing_that_a_model_writes_raises(written, taken):
    steps = read_steps(written, base=BASE, taken=taken)
    prefix = [Step(id=name, tool="find") for name in taken]
    Trajectory(steps=(*prefix, *steps))  # ids are unique


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "b"]), unique=True))
def test_an_unused_name(used):
    name = unused("a", used)
    assert name not in used and name.startswith("a") and ("a" in used or name == "a")
