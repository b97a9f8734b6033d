"""Blame of logs, where no environment is there."""

from __future__ import annotations

import json

import dspy
import pytest
from dspy.utils import DummyLM

from pivot_dspy.recorded import judge, suspects, toolbox_of
from pivot_dspy.requirements import Requirement
from pivot_dspy.trajectory import Execution
from tests.ordering import ORDER, call


def test_what_a_person_knows_to_be_wrong_points_to_its_step() -> None:
    execution = Execution.from_messages(ORDER)
    assert suspects(execution) == ()
    first = suspects(execution, wrong=['The order of flour is for 2 kg, not "3".'], reads=["find_*"])[0]
    assert (first.step, first.requirements) == ("c2", ("W1",))
    mail = suspects(execution, wrong=["The mail was sent to ann too early."], reads=["find_*"])[0]
    assert mail.step == "c3"


def test_a_call_that_failed_is_blamed_without_a_word() -> None:
    log = [*ORDER[:4], *call(2, "order", item="f9", kg=3, gives="Error: no item f9"), ORDER[-2]]
    first = suspects(Execution.from_messages(log), task="Order 3 kg of flour, and tell Ann.")[0]
    assert (first.step, first.kind) == ("c2", "tool_error") and "f9" in str(first.evidence)


def test_a_log_that_ends_with_a_tool_has_no_answer() -> None:
    assert "missing_submit" in [suspect.kind for suspect in suspects(Execution.from_messages(ORDER[:-2]))]


def test_requirements_in_words_are_judged_by_a_model_and_its_quotes_are_looked_up() -> None:
    requirements = [Requirement(id="R1", text="The order is for 3 kg."), Requirement(id="R2", text="Ann is told."),
                    Requirement(id="R3", text="Bob is told.")]  # fmt: skip
    verdicts = [
        {"about": "R1", "holds": False, "why": "it is for 2 kg"},
        {"about": "R2", "holds": True, "quote": "Flour is ordered."},
        {"about": "R3", "holds": True, "quote": "Bob has read it."},
    ]
    lm = DummyLM([{"verdicts": json.dumps(verdicts)}] * 2)
    execution = Execution.from_messages(ORDER)
    with dspy.context(lm=lm):
        statuses = [finding.status for finding in judge(execution, requirements)]
        assert statuses == ["violated", "holds", "unjudged"]
        ranked = suspects(execution, requirements, reads=["find_*"])
    assert ranked[0].step == "c2" and "R1" in ranked[0].requirements


def test_what_a_log_shows_of_tools_cannot_be_called() -> None:
    toolbox = toolbox_of(Execution.from_messages(ORDER), reads=["find_*"])
    assert {name: spec.effect for name, spec in toolbox.tools.items()} == {
        "find_items": "read", "order": "write", "send_mail": "write",
    }  # fmt: skip
    with pytest.raises(Exception, match="only known from a log"):
        toolbox.tools["order"].invoke(None)
