"""A requirement that the model wrote and that its check cannot read: no rewrite mends it, so the audit comes first."""

from __future__ import annotations

import dspy

from pivot_dspy import Environment, Pivot, check, tool
from tests.scripted import GARBAGE, plan, rewrite, scripted, step, submit


class Shelf(Environment):
    """Things on a shelf, counted by a check that reads a small language of its own."""

    def __init__(self) -> None:
        self.things: list[str] = []

    @tool(effect="write")
    def put(self, name: str) -> list[str]:
        """Put a thing on the shelf."""
        self.things.append(name)
        return self.things

    @check
    def count(self, where: str) -> tuple[bool, str]:
        """The number of things meets `where`."""
        op, _, number = where.partition(" ")
        if op not in ("==", ">="):
            raise ValueError(f"{where!r} begins with neither == nor >=")
        held = len(self.things)
        return (held == int(number) if op == "==" else held >= int(number)), f"{held} on the shelf"


STEPS = [step("a", "put", name="cup"), submit(answer="$a[0]")]
BAD = {"id": "R1", "check": "count", "args": {"where": "at least 1"}}
# That its check fails bears its correction out, without a quote.
GOOD = {"id": "R1", "check": "count", "args": {"where": ">= 1"}, "reason": "the check could not read it"}


def run(audit: object, **options: object):
    lm = scripted(plan=plan(STEPS, options.pop("drafts", [BAD])), audit=audit, evolve=rewrite(STEPS[1:]))
    pivot = Pivot("request -> answer", Shelf, **options)
    with dspy.context(lm=lm):
        result = pivot(request="Put a cup on the shelf.")
    return result, [prompt.phase for prompt in lm.engine.prompts], lm.engine.prompts


def test_it_is_audited_at_once_with_the_reason_and_measured_again():
    result, phases, prompts = run({"changes": [GOOD]})
    assert phases == ["plan", "audit", "judge"] and result.verified
    assert [line[:2] for line in prompts[2].section("questions").splitlines()] == ["a:"]  # not what the check bears out
    said = "cannot be checked: ValueError: 'at least 1' begins with neither == nor >="
    assert said in prompts[1].section("requirements")
    assert [change.reason for change in result.requirements.amendments] == [GOOD["reason"]]


def test_an_audit_that_does_not_mend_it_is_repeated_once_before_giving_up():
    for answer in ({"changes": []}, GARBAGE):
        result, phases, _ = run(answer)
        once = 1 if answer is not GARBAGE else 2  # garbage is asked for once more by the adapter
        assert not result.verified and phases.count("audit") == 2 * once
        assert "cannot be checked" in result.verdict.reasons[0]


def test_a_requirement_of_the_user_is_no_misreading():
    asked = {"check": "count", "args": {"where": "at least 1"}}
    result, phases, _ = run({"changes": []}, requirements=[asked], drafts=[])
    assert not result.verified and phases[:2] != ["plan", "audit"]
