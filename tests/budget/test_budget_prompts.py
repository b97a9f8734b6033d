"""What a ledger knows of prompts themselves: how much was sent before, and how much shows what steps gave."""

import os

import dspy
import pytest
from dspy.lm15 import Message, Request

from pivot_dspy.budget import BLOCK, Ledger, Usage
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


def repeated(*prompts: list[Message]) -> int:
    """What the last prompt has in common with the beginning of one before it, in whole blocks."""
    *before, last = ["".join(f"{message.role}\n{message.text}\n" for message in prompt) for prompt in prompts]
    return max(len(os.path.commonprefix([last, other])) // BLOCK * BLOCK for other in before) // 4


LONG, LONGER = Message.developer("s" * 3 * BLOCK), Message.user("u" * 5000 + "other words")
PROMPTS = {
    "the same messages first": ([LONG, FIRST], [LONG, FIRST, ANSWER, RESULTS]),
    "one message that ends otherwise": ([LONG, LONGER], [LONG, Message.user("u" * 5000 + "words")]),
    "another beginning": ([LONG, FIRST], [FIRST, LONG]),
    "less than a block": ([SYSTEM], [SYSTEM]),
    "the one before the last": ([LONG, LONGER], [ANSWER], [LONG, LONGER, ANSWER]),
}


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_prompt_counts_as_repeated_by_the_blocks_that_an_earlier_one_began_with(lm, kind):
    prompts = PROMPTS[kind]
    usage = usage_of(lm, *prompts)
    assert usage.repeated_prompt_tokens == repeated(*prompts)
    assert (usage.repeated_prompt_tokens == 0) is (kind in ("another beginning", "less than a block"))
    assert usage.unserved_prompt_tokens == usage.prompt_tokens - usage.repeated_prompt_tokens


def test_each_ledger_knows_its_own_prompts(lm):
    usage = usage_of(lm, [LONG, FIRST], [LONG, FIRST], ledgers=[Ledger(), Ledger()])
    assert usage.repeated_prompt_tokens == 0


def test_what_a_provider_says_of_its_cache_counts_where_it_is_more():
    told = Usage(prompt_tokens=1000, cached_prompt_tokens=700, repeated_prompt_tokens=512)
    assert told.unserved_prompt_tokens == 300 and Usage(repeated_prompt_tokens=512).unserved_prompt_tokens == 0


def test_results_are_counted_once_and_by_their_fence(lm):
    usage = usage_of(lm, [SYSTEM, FIRST, RESULTS], [SYSTEM, FIRST, RESULTS, ANSWER])
    assert usage.observation_tokens == 40 // 4
