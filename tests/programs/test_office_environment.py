"""AgentDojo's suites as environments: the gold passes, forks are independent, reads read, and what the judges see."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Step, Trajectory, bindings
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from programs.office.data import SUITES, load_gold
from programs.office.environment import OfficeEnvironment, opened
from programs.office.judge import OUTPUTS, must_act, score, useful
from programs.office.package import suites
from programs.office.tools import HELD, WRITES, effect_of, toolbox
from tests.programs.office import gold_plan, need_package, tasks, utility, with_steps

need_package()

IDS = list(tasks())
ANSWER = Trajectory(steps=(Step(id="submit", tool="submit", args={"answer": "Done."}),))


def state(environment: OfficeEnvironment) -> dict[str, Any]:
    """All that the world holds, but the clock."""
    return without_clock(environment.world.model_dump())


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clock(item) for key, item in value.items() if key not in ("timestamp", "last_modified")}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def called(environment: OfficeEnvironment, step: Step) -> Any:
    """What the step's call gives."""
    spec = environment.toolbox.tools[step.tool]
    return without_clock(spec.invoke(environment, **spec.validate(bindings.resolve(step.args, {}, ()))))


def calls_of(task_id: str) -> list[Step]:
    return [step for step in gold_plan(task_id).steps if not step.is_submit]


def test_four_suites_with_ninety_seven_tasks() -> None:
    counts = {name: sum(task_id.startswith(f"{name}:") for task_id in IDS) for name in SUITES}
    assert counts == {"workspace": 40, "travel": 20, "banking": 16, "slack": 21}
    assert len({case.request for case in tasks().values()}) == 97


def test_every_gold_passes_and_fifty_nine_must_act() -> None:
    failed = [task_id for task_id in IDS if not utility(task_id, gold_plan(task_id))]
    acting = [task_id for task_id in IDS if must_act(tasks()[task_id])]
    assert not failed and len(acting) == 59
    assert {name: sum(task_id.startswith(name) for task_id in acting) for name in SUITES} == {
        "workspace": 23, "travel": 6, "banking": 9, "slack": 21,
    }  # fmt: skip


def test_who_looks_at_the_mail_first_has_changed_something() -> None:
    """The suite compares all that the mailbox holds: a look marks as read what nobody asked to read."""
    office = [task_id for task_id in IDS if task_id.startswith("workspace:")]
    looked = {task_id: with_steps(gold_plan(task_id), ("get_unread_emails", {})) for task_id in office}
    assert sum(not utility(task_id, trajectory) for task_id, trajectory in looked.items()) == 37


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(IDS), st.data())
def test_forks_are_independent_and_go_on_alike(task_id: str, data: st.DataObject) -> None:
    steps = calls_of(task_id)
    place = data.draw(st.integers(0, len(steps)))
    whole = opened(tasks()[task_id])
    expected = [called(whole, step) for step in steps]
    first = opened(tasks()[task_id])
    assert [called(first, step) for step in steps[:place]] == expected[:place]
    before = state(first)
    second = first.fork()
    assert [called(second, step) for step in steps[place:]] == expected[place:]
    assert state(first) == before and len(first.calls) == place
    assert [called(first, step) for step in steps[place:]] == expected[place:]
    assert state(first) == state(second) == state(whole) and first.calls == second.calls == whole.calls


def test_of_the_gold_calls_those_that_read_change_nothing_and_the_others_do() -> None:
    changed: set[str] = set()
    made: set[str] = set()
    for task_id in IDS:
        environment = opened(tasks()[task_id])
        for step in calls_of(task_id):
            before = state(environment)
            called(environment, step)
            if state(environment) != before:
                changed.add(step.tool)
            made.add(step.tool)
    assert changed <= HELD | WRITES
    assert made - changed == {tool for tool in made if effect_of(tool) == "read"}


def test_every_read_leaves_the_world_as_it_was() -> None:
    """With arguments that fit by type only, so that errors are covered too."""
    values = {"string": "x", "number": 1.5, "integer": 2, "boolean": True, "array": ["x"]}
    for name in SUITES:
        environment = opened(tasks()[f"{name}:0"])
        before = state(environment)
        for spec in environment.toolbox.tools.values():
            if spec.effect == "read":
                with suppress(Exception):  # of the package itself
                    spec.invoke(environment, **{key: values[spec.parameters[key]["type"]] for key in spec.required})
                assert state(environment) == before, spec.name


def test_every_declared_effect_is_that_of_a_tool() -> None:
    effects = {tool: spec.effect for name in SUITES for tool, spec in toolbox(name).tools.items()}
    assert effects.keys() >= HELD | WRITES and not HELD & WRITES
    assert {effects[tool] for tool in HELD} == {"irreversible"} and {effects[tool] for tool in WRITES} == {"write"}
    assert effects["get_unread_emails"] == effects["get_webpage"] == "write"


@pytest.mark.parametrize("name", SUITES)
def test_tools_take_and_say_what_the_package_says(name: str) -> None:
    for function in suites()[name].tools:
        spec = toolbox(name).tools[function.name]
        schema = function.parameters.model_json_schema()
        assert list(spec.parameters) == list(schema.get("properties", {}))
        assert list(spec.required) == schema.get("required", [])
    shown = toolbox("workspace").render_tools()
    assert "search_emails(query, sender?) -> [Email]" in shown and "Email = {id_, sender" in shown


def test_held_calls_wait_and_are_made_for_the_judge() -> None:
    case = tasks()["banking:3"]
    environment = opened(case)
    session = SessionFactory(environment, timeout=None).open(None)
    execution = run_sync(execute(gold_plan(case.id), session, outputs=OUTPUTS)).execution
    session.family.close()
    assert [observation.status for observation in execution.observations] == ["ok", "withheld", "ok"]
    assert not environment.calls and not useful(case, "Done.", environment)
    assert score(execution, case) == (True, True) and score(None, case) == (False, False)


def test_what_is_asked_of_the_calls_themselves_is_judged_too() -> None:
    """In one task of the chat the suite looks at what was called."""
    trajectory = gold_plan("slack:11")
    invited = [step for step in trajectory.steps if step.tool == "invite_user_to_slack"]
    other = [step.model_copy(update={"args": {**step.args, "user_email": "x@y.z"}}) for step in invited]
    steps = tuple(other[0] if step.tool == "invite_user_to_slack" else step for step in trajectory.steps)
    assert utility("slack:11", trajectory) and not utility("slack:11", Trajectory(steps=steps))


def test_a_rule_that_does_not_find_what_it_looks_for_does_not_pass() -> None:
    gone = with_steps(gold_plan("slack:1"), ("remove_user_from_slack", {"user": "Alice"}))
    assert not utility("slack:1", gone)


def test_results_are_plain_and_changed_files_carry_the_clock() -> None:
    case = tasks()["workspace:13"]
    [append] = [step for step in calls_of(case.id) if step.tool == "append_to_file"]
    environments = [opened(case), opened(case)]
    results = [
        environment.toolbox.tools[append.tool].invoke(environment, **append.args) for environment in environments
    ]
    assert {key for key in results[0] if results[0][key] != results[1][key]} == {"last_modified"}
    assert load_gold(case).calls[-1][0] == "send_email" and effect_of("send_email") == "irreversible"
