"""A report says where a run stands, what is unmet and what is open, within its length; the state of the world in it is
fenced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.gradient import Gradient
from pivot_dspy.prompts.report import (
    BLAME_CAP,
    FENCE,
    REPORT_CAP,
    STATE_CAP,
    UNMET_CAP,
    render_gradient,
    render_open_requirements,
    render_report,
    render_requirements,
    render_unmet,
    without_forms,
)
from pivot_dspy.required_calls import RequiredCall
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

SETTLED = Requirements(
    items=(
        Requirement(id="R1", check="only", args={"count": 1}),
        Requirement(id="R2", text="Be nice."),
        Requirement(id="R3", text="Be quick."),
    )
)
FINDINGS = (
    Finding(requirement="R1", status="violated", evidence="0 in the cart", hint="add p1"),
    Finding(requirement="R2", status="holds"),
    Finding(requirement="R3", status="unjudged"),
)


def run_of(*statuses: str, state: str = "") -> Execution:
    """A run with a step of each status."""
    names = [f"s{number}" for number in range(len(statuses))]
    return Execution(
        trajectory=Trajectory(steps=tuple(Step(id=name, tool="look") for name in names)),
        observations=tuple(
            Observation(step=name, status=status) for name, status in zip(names, statuses, strict=True)
        ),
        state=state,
    )  # fmt: skip


def test_a_report_says_where_it_stands_and_what_is_unmet():
    assert render_report(run_of("ok", "blocked", state="Cart: empty\nMoney: 5"), SETTLED, FINDINGS) == (
        "1 of 2 steps ran, 1 blocked.\n| Cart: empty\n| Money: 5\n1 of 3 requirements hold.\n"
        'R1: only {"count": 1} - NOT MET: 0 in the cart\n  add p1\nR3: not judged yet'
    )


def test_it_counts_what_did_not_run():
    text = render_report(run_of("ok", "error", "error", "blocked", "withheld"), Requirements(), ())
    assert text == "1 of 5 steps ran, 2 error, 1 blocked, 1 withheld."


@given(st.integers(0, 40), st.integers(0, 3000), st.integers(0, 3000))
def test_it_is_capped_and_names_every_unmet_requirement(count, evidence, hint):
    settled = Requirements(items=tuple(Requirement(id=f"R{n}", text="w" * 90) for n in range(count)))
    findings = tuple(
        Finding(requirement=item.id, status="violated", evidence="e" * evidence, hint="h" * hint)
        for item in settled.items
    )
    text = render_report(run_of(*["ok"] * 60, state="s" * 5000), settled, findings)
    assert len(text) <= REPORT_CAP
    assert all(f"\nR{n}: " in text for n in range(count))
    assert len(render_unmet(settled, findings)) <= UNMET_CAP


LINES = st.lists(st.sampled_from(["\n", "\r", "\x85", "\u2028", "x", "R9: "])).map("".join)


@given(st.text(max_size=2 * STATE_CAP) | LINES)
def test_what_the_world_says_of_itself_begins_no_line_of_the_report(state):
    first, *lines = render_report(run_of("ok", state=state), SETTLED, FINDINGS).split("\n")
    assert first == "1 of 1 steps ran."
    fenced = [line for line in lines if line.startswith(FENCE)]
    assert lines == [*fenced, *render_report(run_of("ok"), SETTLED, FINDINGS).split("\n")[1:]]
    assert all(len(line.splitlines()) == 1 for line in fenced)


def test_short_evidence_is_not_cut_for_the_sake_of_long():
    settled = Requirements(items=(Requirement(id="R1", text="a"), Requirement(id="R2", text="b")))
    findings = (
        Finding(requirement="R1", status="violated", evidence="short " * 20),
        Finding(requirement="R2", status="violated", evidence="x" * 9000),
    )
    assert ("short " * 20).strip() in render_unmet(settled, findings)
    assert ("short " * 20).strip() in render_requirements(settled.items, findings)


# -------------------------------------------------------------------------------------------------------- requirements


def test_each_requirement_stands_in_a_line_with_how_it_does():
    assert render_requirements(SETTLED.items, FINDINGS) == (
        'R1: only {"count": 1} - NOT MET: 0 in the cart\nR2: Be nice. - holds\nR3: Be quick. - not judged yet'
    )
    assert render_requirements(SETTLED.items, ()).count("not judged yet") == 3
    assert render_requirements((), ()) == ""


@given(st.integers(1, 40), st.text("w\n|", max_size=3000), st.text("e\n|", max_size=3000))
def test_however_long_each_of_them_has_its_line_with_how_it_does(count, text, evidence):
    settled = Requirements(items=tuple(Requirement(id=f"R{n}", text=f"x{text}") for n in range(count)))
    findings = [Finding(requirement=item.id, status="violated", evidence=evidence) for item in settled.items]
    lines = render_requirements(settled.items, findings).split("\n")
    assert [line.partition(": x")[0] for line in lines] == [f"R{n}" for n in range(count)]
    assert all(" - NOT MET" in line for line in lines)
    assert sum(map(len, lines)) + count - 1 <= REPORT_CAP


OPEN = Requirement(id="R1", text="Ann is paid", call=RequiredCall(tool="pay", args={"to": "Ann", "amount": "?"}))
DELEGATING = Requirement(id="R2", text="what the mail says is done", delegates="$b[0].body")


def test_what_is_open_is_said_with_how_it_is_settled():
    again = OPEN.model_copy(update={"id": "R4"})
    settled = Requirements(items=(OPEN, DELEGATING, Requirement(id="R3", text="Be nice."), again))
    assert render_open_requirements(settled).splitlines() == [
        "R1 leaves open amount of pay. R4 leaves open amount of pay. Once it is read, put into `requirements` "
        '{"id": ID, "call": {"args": {...}}, "from": STEP, "quote": "words of that result that say so"}, '
        'for several calls "call": [{"args": {...}}, ...], or {"id": ID, "void": "why", "from": STEP, "quote": "..."} '
        "if it is not needed. What is free, such as a wording, stays open.",
        'R2 delegates to $b[0].body. Each thing that such words ask for is {"id": "ID_1", "under": "ID", "text": '
        '"...", "call": {"tool": NAME, "args": {...}}, "quote": "its words"} in `requirements`.',
    ]
    assert render_report(run_of("ok"), settled, ()).endswith(render_open_requirements(settled))


def test_how_it_is_settled_is_not_said_again():
    said = render_open_requirements(Requirements(items=(OPEN, DELEGATING)))
    assert without_forms(said, told="") == said
    assert without_forms(said, told=said) == "R1 leaves open amount of pay.\nR2 delegates to $b[0].body."
    only_open = render_open_requirements(Requirements(items=(OPEN,)))
    rest = without_forms(said, told=only_open)
    assert rest.startswith("R1 leaves open amount of pay.\nR2 delegates to $b[0].body. Each")


def test_nothing_is_open_where_every_argument_is_fixed():
    fixed = OPEN.model_copy(update={"call": RequiredCall(tool="pay", args={"to": "Ann", "amount": 5})})
    assert render_open_requirements(Requirements(items=(fixed, Requirement(id="R3", text="Be nice.")))) == ""


# --------------------------------------------------------------------------------------------------------------- blame


@pytest.mark.parametrize(("told", "said"), [("", True), ("R1: x\n  take p2", False)])
def test_a_correction_that_the_report_has_is_not_said_again(told, said):
    gradient = Gradient(locus=0, step="a", kind="wrong_selection", diagnosis="It is dear.", correction="Take p2.")
    assert ("Take p2" in render_gradient(gradient, told)) == said
    assert "It is dear." in render_gradient(gradient, told)


@given(st.integers(0, 9000), st.lists(st.integers(0, 9000), max_size=9))
def test_blame_is_capped(length, evidence):
    gradient = Gradient(
        locus=0, step="a", kind="tool_error", diagnosis="d" * length, evidence=tuple("e" * size for size in evidence)
    )
    assert len(render_gradient(gradient)) <= BLAME_CAP
