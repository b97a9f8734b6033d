"""What a ledger knows of prompts themselves: how much was sent before, and how much shows what steps gave."""

import dspy
import pytest
from dspy.lm15 import Message, Request

from pivot_dspy.budget import Ledger
from tests.scripted import scripted

SYSTEM = Message.developer("s" * 400)
FIRST = Message.user("u" * 200)
ANSWER = Message.assistant("a" * 40)
RESULTS = Message.user("a look ->\n| " + "r" * 38 + "\nno | result")


@pytest.fixture(name="lm")
def speaking():
    return scripted(compose={"answer": "x"})


def usage_of(lm, *prompts, ledgers=None):
    """The usage of each ledger, by default one, after it has seen the prompts in turn."""
    ledgers = ledgers or [Ledger()] * len(prompts)
    for ledger, messages in zip(ledgers, prompts, strict=True):
        with ledger.phase("plan"), dspy.context(lm=lm):
            lm(Request(model="scripted/model", messages=tuple(messages)))
    return ledgers[-1].usage


def test_messages_that_an_earlier_prompt_began_with_are_told_apart(lm):
    usage = usage_of(lm, [SYSTEM, FIRST], [SYSTEM, FIRST, ANSWER, RESULTS])
    assert usage.repeated_prompt_tokens == (400 + 200) // 4


def test_a_message_counts_only_where_all_before_it_are_the_same(lm):
    usage = usage_of(lm, [SYSTEM, FIRST], [FIRST, SYSTEM], [SYSTEM, ANSWER, FIRST])
    assert usage.repeated_prompt_tokens == 400 // 4


def test_each_ledger_knows_its_own_prompts(lm):
    usage = usage_of(lm, [SYSTEM, FIRST], [SYSTEM, FIRST], ledgers=[Ledger(), Ledger()])
    assert usage.repeated_prompt_tokens == 0


def test_results_are_counted_once_and_by_their_fence(lm):
    usage = usage_of(lm, [SYSTEM, FIRST, RESULTS], [SYSTEM, FIRST, RESULTS, ANSWER])
    assert usage.observation_tokens == 40 // 4
