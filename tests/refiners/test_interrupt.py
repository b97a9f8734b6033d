"""Ctrl-C, and observers that fail: what was reached is not lost."""

from __future__ import annotations

import threading
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy import Pivot, Refined, Requirement
from tests.scripted import Script, plan, rewrite, scripted, step, submit

WRONG = [step("a", "double", number=3), submit(answer="$a")]
RIGHT = [step("a", "double", number=1), submit(answer="$a")]


def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


def interrupt(*_: Any) -> Any:
    raise KeyboardInterrupt


def refined(evolve: Script, on_event: Any = None, first: Any = None) -> Refined:
    with dspy.context(lm=scripted(plan=first or plan(WRONG), evolve=evolve)):
        two = Requirement(id="two", test=lambda execution: execution.outputs.get("answer") == 2)
        program = Pivot("q -> answer: int", tools=[double], effects="read", on_event=on_event, requirements=[two])
        result: Refined = program(q="?")
    return result


def test_ctrl_c_gives_the_best_so_far_with_its_ledger_and_history() -> None:
    seen: list[str] = []
    result = refined(interrupt, on_event=lambda event: seen.append(event.kind))
    assert not result.verified and "interrupted" in result.verdict.reasons
    assert result.trajectory.steps[0].args == {"number": 3} and result.ledger.usage.lm_calls == 2
    assert [event.kind for event in result.history] == seen and "accept" in seen and "stop" in seen


def test_ctrl_c_while_an_observer_is_told_of_the_first_version_gives_that() -> None:
    seen: list[str] = []

    def stop(event: Any) -> None:
        seen.append(event.kind)
        if event.kind == "accept" and seen.count("accept") == 1:
            raise KeyboardInterrupt

    result = refined(rewrite(RIGHT), on_event=stop)
    assert "interrupted" in result.verdict.reasons and result.trajectory.steps[0].args == {"number": 3}


def test_ctrl_c_in_a_tool_gives_what_was_planned_before() -> None:
    calls: list[int] = []

    def twice(number: int) -> int:
        """Twice as much."""
        calls.append(number)
        if len(calls) > 1:  # while it is run again from the start
            raise KeyboardInterrupt
        return 2 * number

    steps = [step("a", "twice", number=1), submit(answer="$a")]
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = Pivot("q -> answer: int", tools=[twice], effects="read", timeout=None)(q="?")
    assert not result.verified and result.answer == 2 and len(calls) == 2


def test_before_anything_was_run_it_comes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        refined(interrupt, first=interrupt)


def test_in_a_worker_thread_it_ends_the_program_that_works_there() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            refined(interrupt)
        except KeyboardInterrupt as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(raised) == 1


class Failing(BaseCallback):  # type: ignore[misc]
    def fail(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("the observer fails")

    on_module_start = on_module_end = on_lm_start = on_lm_end = on_tool_start = on_tool_end = fail
    on_adapter_format_start = on_adapter_format_end = on_adapter_parse_start = on_adapter_parse_end = fail


def test_observers_that_raise_do_not_end_the_run() -> None:
    def observer(event: Any) -> None:
        raise ValueError("no")

    with dspy.context(callbacks=[Failing()]):
        result = refined(rewrite(RIGHT), on_event=observer)
    assert result.verified and result.answer == 2
