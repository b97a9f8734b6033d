import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.evolve import Evolve
from pivot_dspy.prompts.catalogue import render
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution, Fault, Observation, Step, Trajectory
from tests.phases.showing import CATALOGUE, INPUTS, STEPS, TASK, asked, shown
from tests.scripted import rewrite, step, submit
from tests.stores import Calendar, Store, executed

BLAME = Gradient(
    locus=2, step="c", kind="wrong_selection", diagnosis="It takes the dearest.", correction="Take the cheapest.",
    evidence=("total 90",),
)  # fmt: skip


def evolved(answer, gradient=BLAME, run=None):
    return asked(Evolve(TASK), {"evolve": answer}, view=shown(run or executed(STEPS)), gradient=gradient)


def test_the_child_keeps_the_prefix_and_knows_its_parent():
    parent = executed(STEPS).execution.trajectory
    said, engine = evolved(
        rewrite([step("c", "add", product_id="min_by($b, &price).id"), {"keep": "submit"}], "Too dear.")
    )
    child = said.trajectory
    assert child.common_prefix(parent) == 2 and child.ids == parent.ids
    assert (child.parent, child.operator, said.diagnosis) == (parent.id, "evolve", "Too dear.")
    assert engine.count() == 1


def test_the_prompt(snapshot):
    _, engine = evolved(rewrite([]))
    snapshot("phases/evolve.txt", engine.prompts[0].text)


def test_the_prompt_after_a_refusal(snapshot):
    run = executed([step("a", "search", day="Monday"), step("b", "book", hour="$a[0]"), submit(answer="$b")], Calendar)
    gradient = Gradient(locus=0, step="a", kind="tool_error", diagnosis="It needs a scope.")
    task = dspy.Signature("request -> answer", "Book what is asked for.")
    catalogue = render(toolbox_of(Calendar), task, policy="", vocabulary="", known="")
    told = shown(run, Requirements(), {"request": "Book an hour on Monday."}, catalogue)
    _, engine = asked(Evolve(task), {"evolve": rewrite([])}, view=told, gradient=gradient)
    prompt = engine.prompts[0]
    assert "kept" not in prompt.sections and "FAILED tool_error\n| PermissionError: 403" in prompt.section("open_steps")
    snapshot("phases/evolve_refused.txt", prompt.text)


def test_the_kept_steps_are_brief_and_the_open_ones_as_written():
    _, engine = evolved(rewrite([]))
    sections = engine.prompts[0].sections
    assert list(sections) == ["tools", "policy", "known", "request", "settled", "kept", "open_steps", "report", "blame"]
    headers = [line for line in sections["kept"].splitlines() if not line.startswith("| ")]
    assert headers == ["a find ->", "b details ->"]
    assert [line.rpartition(" ->")[2] or line for line in sections["open_steps"].splitlines()] == [
        '{"id": "c", "tool": "add", "args": {"product_id": "max_by($b, &price).id"}} ->',
        '| {"items": ["p4"], "price": 90}',
        " submitted",
    ]
    assert (
        "R1" not in sections["report"] and "R2: total" in sections["report"] and "not judged yet" in sections["report"]
    )


def test_at_the_end_there_is_nothing_open():
    stopped = executed(STEPS[:2])
    gradient = Gradient(locus=2, step=None, kind="missing_submit", diagnosis="No step is a submit.")
    said, engine = evolved(rewrite(STEPS[2:]), gradient, stopped)
    prompt = engine.prompts[0]  # nothing was changed yet: it only goes on, with what the checks say
    assert "open_steps" not in prompt.sections and "blame" not in prompt.sections and "R1" in prompt.section("report")
    assert said.trajectory.operator == "extend" and said.trajectory.ids == ("a", "b", "c", "submit")


@pytest.mark.parametrize(
    ("suffix", "ids"),
    [
        ([{"keep": ["a", "b", "c", "submit"]}], ["a", "b", "c", "submit"]),
        ([{"keep": "submit"}], ["a", "b", "submit"]),
        ([step("b2", "details", ids="$a.ids"), {"keep": ["c", "submit"]}], ["a", "b", "b2", "c", "submit"]),
        ([step("a", "find", color="blue"), {"keep": "submit"}], ["a", "b", "a_2", "submit"]),
        ([], ["a", "b"]),
    ],
)
def test_what_is_kept_written_and_left_out(suffix, ids):
    said, _ = evolved(rewrite(suffix))
    assert list(said.trajectory.ids) == ids


def test_what_the_prompt_shows_is_capped_however_large_the_run():
    texts = [Step(id=f"s{n}", tool="find", args={"color": "w" * 3000, "ids": ["x" * 9] * 300}) for n in range(60)]
    fault = Fault(kind="tool_error", message="m" * 1000, expected="e" * 3000)
    seen = [
        Observation(step=s.id, status="error", fault=fault)
        if n % 2
        else Observation(step=s.id, value=["v" * 99] * 10_000)
        for n, s in enumerate(texts)
    ]
    run = Execution(trajectory=Trajectory(steps=tuple(texts)), observations=tuple(seen), state="s" * 100_000)
    settled = Requirements(items=tuple(Requirement(id=f"R{n}", text="t" * 500) for n in range(40)))
    findings = tuple(
        Finding(requirement=item.id, status="violated", evidence="e" * 9000, hint="h" * 9000) for item in settled.items
    )
    gradient = Gradient(
        locus=30, step="s30", kind="tool_error", diagnosis="d" * 9000, correction="c" * 9000, evidence=("e" * 9000,) * 9
    )
    told = RunView(INPUTS, CATALOGUE, run, Store(), settled, findings)
    for locus in (0, 30):
        placed = gradient.model_copy(update={"locus": locus})
        _, engine = asked(Evolve(TASK), {"evolve": rewrite([])}, view=told, gradient=placed)
        [prompt] = engine.prompts
        tokens = {name: len(prompt.section(name)) / 4 for name in ("kept", "open_steps", "report", "blame")}
        assert tokens["report"] < 1250 and tokens["blame"] < 420
        results, written, headers = 6000 * 1.1, 3000, 60 * 20
        assert tokens["kept"] + tokens["open_steps"] < results + written + headers
        assert all(f"R{n}: " in prompt.section("report") for n in range(40))


written = st.lists(
    st.sampled_from(["a", "b", "c", "submit", "zz"]).flatmap(
        lambda name: st.sampled_from(
            [{"keep": name}, {"keep": [name]}, name, {"id": name, "tool": "find", "args": {}}, {"id": name}, 7]
        )
    ),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(written.map(lambda steps: [s for s in steps if isinstance(s, dict)]), st.integers(0, 4))
def test_any_suffix_makes_a_child_that_shares_the_kept_prefix(steps, locus):
    parent = executed(STEPS)
    gradient = BLAME.model_copy(update={"locus": locus})
    said, _ = evolved(rewrite(steps), gradient, parent)
    assert said.trajectory.common_prefix(parent.execution.trajectory) >= locus
