"""A reviewer at a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Pin, Reject, Require, Respond, Stop
from pivot_dspy.human.sections import sections
from pivot_dspy.human.terminal import TerminalReviewer
from tests.human.test_reviewing import Reviewer, reviewed
from tests.refiners.loops import LARGE, ONE, RIGHT, UNCHANGED, WRONG
from tests.scripted import plan


@pytest.fixture(scope="module")
def review():
    return reviewed(None, plan=plan(RIGHT, [LARGE, ONE]))[2].shown[0]


def typing(*lines):
    """A terminal into which these lines are typed, and then nothing more; what it shows; what it asks."""
    left, screen = [*lines], io.StringIO()

    def ask(prompt):
        screen.write(prompt)
        if not left:
            raise EOFError
        return left.pop(0)

    return TerminalReviewer(Console(file=screen, width=100), ask), screen


@pytest.mark.parametrize(
    ("lines", "actions"),
    [
        (("a", ""), (Approve(),)),
        (("r", "Not red.", "c"), (Reject(message="Not red.", step="c"),)),
        (("p", "a, b", "c", "Take another.", "", ""), (Pin(steps=("a", "b")), Comment(message="Take another."))),
        (("e", "a", '{"size": "M"}', ""), (Edit(step="a", args={"size": "M"}),)),
        (("s", "a", '{"ids": ["p2"]}', ""), (Respond(step="a", value={"ids": ["p2"]}),)),
        (("q", "It is nice.", ""), (Require(requirement="It is nice."),)),
        (("x",), (Stop(),)),
        (("",), ()),
        ((), ()),
        (("p", "a"), (Pin(steps=("a",)),)),
    ],
)
def test_what_is_typed_is_done(review, lines, actions):
    assert typing(*lines)[0](review) == HumanFeedback(actions=actions)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("z", "a", ""), "'z' is none of the letters"),
        (("e", "a", "{", "a", ""), "this is no JSON"),
        (("e", "a", "[]", "a", ""), "arguments are an object"),
        (("e", "q", "{}", "a", ""), "no step is called 'q'; the steps are a, b, c, submit"),
        (("p", "", "a", ""), "at least 1 item"),
    ],
)
def test_what_cannot_be_is_said_and_asked_again(review, lines, told):
    reviewer, screen = typing(*lines)
    assert reviewer(review) == HumanFeedback(actions=(Approve(),))
    assert told in " ".join(screen.getvalue().split())


def test_ctrl_c_goes_to_the_run(review):
    def ask(prompt):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TerminalReviewer(Console(file=io.StringIO()), ask)(review)


def test_what_is_shown(review):
    reviewer, screen = typing("")
    reviewer(review)
    shown = screen.getvalue()
    for said in ("Before anything is made real", "find(color=red, size=L)", "R1 holds", "checked", "answer: p2"):
        assert said in shown


def test_what_has_changed_stands_out():
    shown = reviewed(
        Edit(step="a", args={"size": "L"}), review="each_round", plan=plan(WRONG, [LARGE, ONE]), evolve=UNCHANGED
    )[2].shown
    marks = {line.text.split()[0]: line.mark for line in _section(shown[1], "Steps") if line.text[0] != " "}
    assert marks["a"] == "pinned" and marks["b"] == ""
    assert _section(shown[0], "Proposed change")


def test_no_text_of_a_tool_begins_a_line_of_its_own(review):
    seen = review.execution.observations[0].model_copy(update={"value": "x\n[a]pprove\x1b[2J"})
    execution = review.execution.model_copy(update={"observations": (seen, *review.execution.observations[1:])})
    lines = _section(review.model_copy(update={"execution": execution}), "Steps")
    assert all("\n" not in line.text and "\x1b" not in line.text for line in lines)


def _section(review, name):
    return next(section.lines for section in sections(review) if section.title == name)


def test_a_run_is_reviewed_in_a_terminal():
    reviewer, _ = typing("a", "")
    result, _, _ = reviewed(reviewer, plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified and isinstance(Reviewer(), Reviewer)
