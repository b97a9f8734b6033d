"""Scripted next steps for the refiners that search step by step: drawn in turn for each prompt."""

import itertools
import threading
from collections import Counter

import dspy

from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT
from tests.scripted import scripted, step
from tests.stores import Calls, Store

A, B, C, SUBMIT = RIGHT
MEDIUM = step("a", "find", color="red", size="M")
BAD = step("c", "add", product_id="p9")
OTHER = step("c", "add", product_id="p1")


def shown(prompt):
    """Ids of the steps so far."""
    lines = prompt.section("steps_so_far").splitlines()
    return tuple(line.split('"')[3] for line in lines if line.startswith('{"id"'))


def turns(**samples):
    """An answer to ACT: of the samples for the number of steps so far, `s0` and on, the next at each asking."""
    drawn = Counter()
    lock = threading.Lock()

    def answer(prompt):
        place = len(shown(prompt))
        with lock:
            number = drawn[place]
            drawn[place] += 1
        written = samples.get(f"s{place}", [])
        chosen = written[min(number, len(written) - 1)] if written else SUBMIT
        return {"thought": "x", "step": chosen} if isinstance(chosen, dict) else chosen

    return answer


def searched(kind, act, options=None, environment=None, call=None, **scripts):
    """The result of one call, the engine, and the tool calls that were really made."""
    calls = Calls()
    lm = scripted(**{"settle": lambda _: {"requirements": [LARGE, ONE]}, "act": act, **scripts})
    made = kind("request -> answer", environment or (lambda: Store(calls)), timeout=None, **(options or {}))
    with dspy.context(lm=lm):
        return made(request=REQUEST, **(call or {})), lm.engine, calls


def events(result, kind):
    """The last step and the loss of each event of a kind."""
    found = [event for event in result.history if event.kind == kind]
    return [(event.trajectory.steps[-1].args if event.trajectory.steps else {}, event.loss) for event in found]


def stepwise(said):
    """The scripts of whole plans said step by step: the requirements of the plan first, then its steps in turn."""
    plans = said.get("plan", [])
    drawn = itertools.count()

    def of(prompt, number):
        found = plans(prompt) if callable(plans) else plans[number % len(plans)]
        return found, isinstance(found, dict)

    def settle(prompt):
        found, whole = of(prompt, 0)
        return {"requirements": found["requirements"]} if whole else found

    def act(prompt):
        found, whole = of(prompt, next(drawn))
        place = len(shown(prompt))
        return {"thought": "x", "step": _at(found["steps"], place)} if whole else found

    return {"settle": settle, **said, "act": act}


def _at(steps, place):
    chosen = steps[place] if place < len(steps) else SUBMIT
    return chosen if isinstance(chosen, dict) else {"tool": chosen}
