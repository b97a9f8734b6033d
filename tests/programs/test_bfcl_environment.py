"""BFCL's tasks as an environment: gold calls pass, forks are independent, reads read, withheld functions fail."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Step, bindings
from programs.multi_turn.checker import score
from programs.multi_turn.data import SETS
from programs.multi_turn.environment import ConversationEnvironment, Conversations
from programs.multi_turn.reference import plan, run
from programs.multi_turn.tools import END_TURN, READS, toolbox
from tests.programs.conversations import need_package, opened, ran, task, tasks

need_package()

IDS = [task_id for name in SETS for task_id in tasks(name)]


def called(environment: ConversationEnvironment, step: Step) -> Any:
    """What the step's call gives, or the error that it raises, as text."""
    try:
        args = bindings.resolve(step.args, {}, ())
        return environment.toolbox.tools[step.tool].invoke(environment, **args)
    except LookupError as error:
        return repr(error)


def state(value: Any) -> Any:
    """All that an instance holds, private parts included, as plain values that can be compared."""
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, dict):
        return {repr(key): state(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [state(item) for item in value]
    if hasattr(value, "__dict__"):  # but what a file system refers to upwards, and the hour of the day
        held = {name: item for name, item in vars(value).items() if name not in ("parent", "_last_modified")}
        place = held.pop("_current_dir", None)
        return {**{name: state(item) for name, item in held.items()}, "at": getattr(place, "name", None)}
    return repr(value)


def test_four_sets_of_two_hundred_tasks_with_up_to_eight_turns() -> None:
    assert len(IDS) == len(set(IDS)) == 800
    for name in SETS:
        found = tasks(name)
        assert len(found) == len({case.conversation for case, _ in found.values()}) == 200
        assert all(len(case.turns) == len(gold) for case, gold in found.values())
        assert max(len(case.turns) for case, _ in found.values()) == (8 if name.startswith("miss_") else 7)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(IDS))
def test_gold_calls_pass_and_without_the_last_they_do_not(task_id: str) -> None:
    case, gold = task(task_id)
    assert score(run(case, plan(case, gold)), case, gold) == (True, True)
    assert score(run(case, plan(case, gold, without_last=True)), case, gold) == (False, False)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(IDS), st.data())
def test_forks_are_independent_and_go_on_alike(task_id: str, data: st.DataObject) -> None:
    case, gold = task(task_id)
    steps = [step for step in plan(case, gold).steps if not step.is_submit]
    place = data.draw(st.integers(0, len(steps)))
    whole = opened(case)
    expected = [called(whole, step) for step in steps]
    first = opened(case)
    assert [called(first, step) for step in steps[:place]] == expected[:place]
    before = state(first.instances)
    second = first.fork()
    assert [called(second, step) for step in steps[place:]] == expected[place:]
    assert state(first.instances) == before
    assert [called(first, step) for step in steps[place:]] == expected[place:]
    assert state(first.instances) == state(second.instances) == state(whole.instances)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(IDS))
def test_what_reads_changes_nothing(task_id: str) -> None:
    case, gold = task(task_id)
    environment = opened(case)
    for step in plan(case, gold).steps[:-1]:
        before = state(environment.instances) if step.tool in READS else None
        called(environment, step)
        assert before is None or state(environment.instances) == before, step.tool


def test_every_read_is_a_tool_and_drawing_a_number_is_a_write() -> None:
    classes = {name: case for task_id in IDS[:200] for case in [task(task_id)[0]] for name in case.classes}
    assert len(classes) == 8
    effects = {name: spec.effect for case in classes.values() for name, spec in toolbox(case).tools.items()}
    assert effects.keys() >= READS and {effects[name] for name in READS} == {"read"}
    assert effects["get_current_speed"] == effects["get_outside_temperature_from_google"] == "write"
    assert effects[END_TURN] == "write"


def test_every_read_leaves_its_instance_as_it_was() -> None:
    """With arguments that fit by type only, so that errors are covered too."""
    values = {"string": "x", "number": 1.5, "integer": 2, "boolean": True, "array": ["x"], "object": {}}
    cases = {(name, owner): case for name in ("base", "long_context") for case, _ in tasks(name).values()
             for owner in case.classes}  # fmt: skip
    for case in cases.values():
        environment = opened(case)
        before = state(environment.instances)
        for spec in environment.toolbox.tools.values():
            if spec.name in READS:
                args = {key: values[spec.parameters[key]["type"]] for key in spec.required}
                with suppress(Exception):  # of the package itself
                    spec.invoke(environment, **args)
                assert state(environment.instances) == before, spec.name


def test_a_withheld_function_fails_before_its_turn() -> None:
    case, _ = task("multi_turn_miss_func_0")
    assert case.withheld == {"sort": 4}
    assert case.turns[3] == (
        "I have updated some more functions you can choose from. What about now? (New: sort.)"
    )
    assert "# (Not available before turn 4: called earlier, it fails.) Sort the" in toolbox(case).render_tools()
    sort = ("sort", {"args": {"file_name": "final_report.pdf"}})
    end: tuple[str, dict[str, Any]] = (END_TURN, {})
    seen = ran(case, ("cd", {"args": {"folder": "document"}}), sort, end, end, end, sort).observations
    assert [observation.status for observation in seen] == ["ok", "error", "ok", "ok", "ok", "ok"]
    assert seen[1].fault is not None and "sort comes in turn 4; turn 1 is open" in seen[1].fault.message


def test_turns_end_and_no_call_comes_after_the_last() -> None:
    case, _ = task("multi_turn_base_0")
    environment = opened(case)
    assert environment.describe() == "Turn 1 of 4 is open."
    assert [environment.end_turn()["closed"] for _ in case.turns] == [1, 2, 3, 4]
    assert environment.describe() == "All 4 turns are closed."
    with pytest.raises(LookupError, match="all 4 turns are closed"):
        environment.end_turn()
    with pytest.raises(LookupError, match="all 4 turns are closed"):
        environment.toolbox.tools["ls"].invoke(environment)


def test_an_error_that_is_returned_is_a_typed_error() -> None:
    case, _ = task("multi_turn_base_0")
    seen = ran(
        case, ("cd", {"args": {"folder": "nowhere"}}), ("list_all_following", {}), ("cd", {"args": {"path": "x"}})
    ).observations
    faults = [(observation.fault.kind, observation.fault.message) for observation in seen if observation.fault]
    assert faults[0] == ("tool_error", "cd: 'nowhere': No such file or directory")
    assert faults[2][0] == "bad_arguments" and "path: not a parameter" in faults[2][1]
    assert opened(case).error_of("get_watchlist", ["Error: User not authenticated."])
    assert opened(case).error_of("get_user_tickets", [{"error": "User not authenticated."}])
    assert opened(case).error_of("grep", {"matching_lines": ["error"]}) is None


def test_arguments_are_taken_as_they_are_where_documents_and_data_disagree() -> None:
    case, gold = task("multi_turn_base_173")
    assert gold[-1] == ("close_ticket(ticket_id='ticket_001')",)  # the document says integer
    assert all(observation.ok for observation in run(case, plan(case, gold)).observations)


def test_what_is_known_before_planning() -> None:
    assert opened(task("multi_turn_base_0")[0]).orientation == ("find",)
    assert opened(task("multi_turn_miss_func_3")[0]).orientation == ()  # find comes later


def test_an_unknown_conversation() -> None:
    case, _ = task("multi_turn_base_0")
    other, _ = task("multi_turn_base_1")
    with pytest.raises(LookupError, match="load it first"):
        Conversations([case]).open(dspy.Example(**other.inputs))
