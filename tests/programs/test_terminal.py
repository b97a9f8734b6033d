"""What a person sees of a run: real events of real runs, and events made at random, as text."""

from __future__ import annotations

import io
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from pivot_dspy import (
    Budget,
    Environment,
    Event,
    Gradient,
    LedgerReport,
    Loss,
    Pivot,
    Step,
    Trajectory,
    Usage,
    check,
    tool,
)
from pivot_dspy.simulator import Reference, is_simulated
from pivot_dspy.verdict import Established, PendingCall, Verdict
from programs.terminal import Narrator, choose_lm, console, established_lines, model_line, spending, status_word
from tests.episode.drawing import any_event


class Shelf(Environment):
    """Books by number; taking one is final."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    @tool(effect="read")
    def find(self, title: str, most: int) -> list[int]:
        """Numbers of the books with a title that cost at most so much."""
        return [number for number, price in enumerate([30, 20, 10]) if price <= most]

    @tool(effect="irreversible", preview="reserve")
    def take(self, number: int) -> int:
        """Take a book."""
        return self.reserve(number)

    def reserve(self, number: int) -> int:
        self.taken.append(number)
        return number

    @check
    def has_taken(self, number: int) -> tuple[bool, str]:
        """The book is taken."""
        return number in self.taken, f"taken: {self.taken}"


REQUEST = "Take the dearest copy of Emma for at most 20."
REFERENCE = Reference(
    match=REQUEST,
    requirements=({"id": "R1", "check": "has_taken", "args": {"number": 1}},),
    steps=(
        {"id": "f", "tool": "find", "args": {"title": "Emma", "most": 20}},
        {"id": "t", "tool": "take", "args": {"number": "$f[0]"}},
        {"id": "submit", "tool": "submit", "args": {"number": "$t"}},
    ),
    serves={"f": "R1", "t": "R1"},
)


def told(steps: list[dict[str, Any]] | None = None, *, width: int = 100, terminal: bool = False, **options: Any) -> str:
    """What is printed of a run that begins with a trajectory, by a model that heeds everything."""
    printed = io.StringIO()
    shelf = Shelf()
    colour = "truecolor" if terminal else None
    screen = Console(file=printed, width=width, highlight=False, force_terminal=terminal, color_system=colour)  # type: ignore[arg-type]
    narrator = Narrator(screen, shelf)
    given_ = {} if steps is None else {"trajectory": Trajectory(steps=tuple(map(Step.model_validate, steps)))}
    with dspy.context(lm=choose_lm(None, [REFERENCE], slip=0.0, heed=1.0)):
        result = Pivot("request -> number: int", shelf, on_event=narrator, **options)(request=REQUEST, **given_)
    if result.verified:
        narrator.committed(result.commit())
    return printed.getvalue()


WRONG = [
    {"id": "f", "tool": "find", "args": {"title": "Emma", "most": 30}},
    {"id": "t", "tool": "take", "args": {"number": "$f[0]"}},
    {"id": "submit", "tool": "submit", "args": {"number": "$t"}},
]


def headings(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.endswith("─")]


def test_a_right_plan_is_short_to_tell() -> None:
    text = told()
    assert headings(text) == ["PLAN", "INSPECT", "VERIFY", "COMMIT"]
    assert 'R1  has_taken {"number": 1}' in text
    assert "f       find    title=Emma  most=20" in text
    assert "t       take    preview: 1" in text and "t       take    1" in text.partition("COMMIT")[2]


def test_a_given_trajectory_is_repaired_before_the_eyes() -> None:
    text = told(WRONG)
    assert headings(text) == ["PLAN", "INSPECT", "GRADIENT", "EVOLVE", "INSPECT", "VERIFY", "COMMIT"]
    lines = text.splitlines()
    assert "  -  f  find  title=Emma  most=30" in lines and "  +  f  find  title=Emma  most=20" in lines
    assert "  =  t, submit kept" in lines
    assert "1 of 1 hard requirements violated" in text
    assert any(line.split()[:2] == ["blame", "step"] for line in lines)
    assert any(line.split()[:1] == ["accepted"] and line.endswith("→ 0.000") for line in lines)


def test_failures_blocks_and_missing_parents_are_told() -> None:
    text = told([{"id": "f", "tool": "seek", "args": {}}, {"id": "t", "tool": "take", "args": {"number": "$f[0]"}}])
    assert "FAILED unknown_tool: no tool is called 'seek'" in text
    assert "not run: it needs a step that failed" in text


def test_a_spent_budget_is_told() -> None:
    text = told(WRONG, budget=Budget(lm_calls=1))
    assert "stop  budget spent: lm_calls: 1 of 1" in text
    assert "not verified" in text and "COMMIT" not in text


def test_further_candidates_do_not_repeat_the_requirements() -> None:
    printed = io.StringIO()
    shelf = Shelf()
    narrator = Narrator(Console(file=printed, width=100), shelf)
    cheapest = {"id": "t", "tool": "take", "args": {"number": "$f[-1]"}}  # of values that the request tells, no guess
    steps = (REFERENCE.steps[0], cheapest, REFERENCE.steps[2])
    misread = Reference(match=REQUEST, requirements=REFERENCE.requirements, steps=steps)
    with dspy.context(lm=choose_lm(None, [misread], slip=0.0)):
        Pivot("request -> number: int", shelf, on_event=narrator, candidates=3, max_iters=0)(request=REQUEST)
    assert printed.getvalue().count("PLAN  another candidate") == 2
    assert printed.getvalue().count("has_taken {") == 1


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_console(width: int) -> None:
    assert max(map(cell_len, told(WRONG, width=width).splitlines())) <= width


def test_colour_only_on_a_terminal() -> None:
    assert "\x1b" not in told(WRONG)
    assert "\x1b[" in told(WRONG, terminal=True)
    assert not console().is_terminal and console().width == 100


# ---------------------------------------------------------------------------------------------------- any event at all

words = st.text(max_size=40) | st.sampled_from(
    ["[red]x[/red]", "a\nb", "\x1b[31mred", "会议室" * 20, "👍" * 60, "$a.b"]
)
shares = st.floats(0, 1)
names = st.from_regex(r"[a-h]{1,6}", fullmatch=True)
steps = st.builds(
    Step, id=names, tool=words.filter(bool), args=st.dictionaries(words, words, max_size=3),
    for_each=st.none() | words, problem=st.none() | words,
)  # fmt: skip
trajectories = st.builds(
    Trajectory, steps=st.lists(steps, max_size=4, unique_by=lambda step: step.id).map(tuple)
)  # fmt: skip
losses = st.builds(
    Loss, validity=shares, requirements=shares, outcome=st.none() | shares, total=shares,
    hard_violations=st.integers(0, 3), hard_count=st.just(3),
)  # fmt: skip
gradients = st.builds(
    Gradient, locus=st.integers(0, 4), step=st.none() | names, kind=words, diagnosis=words, correction=words,
    evidence=st.lists(words, max_size=3).map(tuple),
)  # fmt: skip


@settings(deadline=None)
@given(found=st.lists(any_event(), max_size=5), width=st.integers(40, 120))
def test_any_event_can_be_told(found: list[Event], width: int) -> None:
    printed = io.StringIO()
    narrator = Narrator(Console(file=printed, width=width, highlight=False))
    for event in found:
        narrator(event)
    text = printed.getvalue()
    assert "\x1b" not in text
    assert all(cell_len(line) <= width and line == line.rstrip() for line in text.split("\n"))


# ------------------------------------------------------------------------------------------------------------- helpers


def test_the_model_is_the_offline_one_unless_named() -> None:
    offline = choose_lm(None, [REFERENCE], seed=7, slip=0.1)
    assert is_simulated(offline) and "seed=7" in offline.model and "slip=0.1" in offline.model
    assert model_line(offline).startswith("offline/slip=0.1, ")
    assert model_line(offline).endswith(", simulated: says nothing of any real model")
    named = choose_lm("openai/gpt-4.1-mini", [REFERENCE], seed=7, slip=0.1)
    assert not is_simulated(named) and model_line(named) == "openai/gpt-4.1-mini"


def test_spending_is_one_line() -> None:
    phases = {
        "plan": Usage(lm_calls=1, prompt_tokens=1200, completion_tokens=34),
        "inspect": Usage(tool_calls=5, tool_calls_reused=2),
        "evolve": Usage(lm_calls=1, cache_hits=1, prompt_tokens=60),
    }
    assert spending(LedgerReport(phases=phases, seconds=1.26)) == (
        "2 LM calls and 1 from DSPy's cache · 1,294 tokens (plan 1,234, evolve 60) · 5 tool calls run, 2 reused · 1.3 s"
    )
    assert spending(LedgerReport()) == "0 LM calls · 0 tokens (none) · 0 tool calls run, 0 reused · 0.0 s"


def test_how_everything_was_established_is_told_and_what_waits() -> None:
    verdict = Verdict(
        status="provisional",
        established=(
            Established(about="R1", kind="requirement", by="check", evidence="two\nbooked"),
            Established(about="step b", kind="call", by="rule", evidence="R1 names it"),
            Established(about="All is booked.", kind="claim", by="nobody"),
        ),
        pending=(PendingCall(step="b", tool="book", args={"room": "r3"}),),
    )
    assert list(established_lines(verdict)) == [
        ("R1", "check: two booked"), ("step b", "rule: R1 names it"), ("claim", '"All is booked." nobody'),
        ("pending", 'b book {"room": "r3"}'),
    ]  # fmt: skip
    assert [status_word(status) for status in ("checked", "provisional", "unverified")] == [
        "checked", "provisional", "no"
    ]  # fmt: skip
