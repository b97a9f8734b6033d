"""What becomes of each step: faults, expectations, repeated calls, outputs, watchers and speed."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator

from pivot_dspy import from_functions
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import StepRunner, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.supervision import Supervisor
from pivot_dspy.trajectory import Observation, Step, Trajectory
from tests.execution.shelf import Shelf, kinds, run, steps


def test_a_failed_step_stops_only_what_depends_on_it() -> None:
    execution = run(
        steps(
            ("a", "find", {"name": "sock"}),
            ("b", "put", {"name": "$a"}),
            ("c", "put", {"name": "$b[0]"}),
            ("d", "put", {"name": "hat"}),
            ("submit", "submit", {"answer": "$d[0]", "count": "$c"}),
        ),
        SessionFactory(Shelf),
    ).execution
    assert [o.status for o in execution.observations] == ["error", "blocked", "blocked", "ok", "blocked"]
    assert execution.state == "ball, cup, hat"
    assert (execution.outputs, execution.missing_outputs) == ({}, ("answer", "count"))


@pytest.mark.parametrize(
    ("step", "kind", "message"),
    [
        (Step(id="x", tool="lok"), "unknown_tool", "no tool is called 'lok'; did you mean 'look'?"),
        (Step(id="x", tool="find"), "bad_arguments", "find: name: missing"),
        (Step(id="x", tool="look", args={"all": 1}), "bad_arguments", "look: all: not a parameter"),
        (Step(id="x", tool="find", args={"name": [1]}), "bad_arguments", "find: name: Input should be a valid string"),
        (Step(id="x", tool="find", args={"name": "$z"}), "unresolved_binding", r"\$z: no earlier step is called 'z'"),
        (Step(id="x", tool="find", args={"name": "$y"}), "unresolved_binding", "no earlier step is called 'y'"),
        (Step(id="x", tool="find", args={"name": "$x"}), "unresolved_binding", "no earlier step is called 'x'"),
        (Step(id="x", tool="find", args={"name": "$a[9]"}), "unresolved_binding", "gives nothing"),
        (Step(id="x", tool="find", args={"name": "$a[?@=='q']"}), "unresolved_binding", "gives an empty list"),
        (Step(id="x", tool="find", args={"name": "$item"}, for_each="$a[0]"), "unresolved_binding", "gives str"),
        (Step(id="x", tool="find", args={"name": "$item"}, for_each="$a[?@=='q']"), "unresolved_binding", "empty list"),
        (Step(id="x", tool="find", args={"name": "$item.x"}, for_each="$a"), "unresolved_binding", "gives nothing"),
        (Step(id="x", tool="find", args={"name": "join(', ', a)"}), "unresolved_binding", r"written \$a"),
        (Step(id="x", tool="put", args={"name": "Dear {{a[0]}}"}), "unresolved_binding", r"\['...', \$a\[0\]"),
        (Step(id="x", tool="find", args={"name": "i"}, for_each="a"), "unresolved_binding", r"is written \$ID"),
        (Step(id="x", tool="find", args={"name": {"calc": "$a[0] + 1"}}), "unresolved_binding", "the text 'ball'"),
        (Step(id="x", tool="submit", args={"count": {"calc": "$z + 1"}}), "unresolved_binding", "is called 'z'"),
        (Step(id="x", tool="find", problem="not a call"), "malformed_step", "not a call"),
        (Step(id="x", tool="submit", for_each="$a"), "malformed_step", "submits once"),
        (Step(id="x", tool="submit", args={"reply": 1}), "bad_arguments", "reply: not an output field"),
        (Step(id="x", tool="submit", args={"count": "many"}), "bad_arguments", "count: .*valid integer"),
        (Step(id="x", tool="find", args={"name": "sock"}), "tool_error", "ValueError: 'sock' is not in list"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_and_stops_nothing_else(step: Step, kind: str, message: str) -> None:
    trajectory = Trajectory(steps=(Step(id="a", tool="look"), step, Step(id="y", tool="look")))
    execution = run(trajectory, SessionFactory(Shelf)).execution
    after = "error" if step.tool == "submit" else "ok"  # nothing stands after a submit
    assert [o.status for o in execution.observations] == ["ok", "error", after]
    discrepancy, *rest = execution.discrepancies
    assert [other.step for other in rest] == ["y"] * (after == "error")
    assert (discrepancy.step, discrepancy.kind) == ("x", kind)
    assert re.search(message, discrepancy.message)
    if kind == "bad_arguments":
        assert discrepancy.expected and "(" in discrepancy.expected
    if "gives" in message:
        assert discrepancy.reference == "a"


def test_a_calc_is_worked_out_in_a_call_and_in_submit_and_waits_for_what_it_reads() -> None:
    def reckon(calc: str) -> str:
        """The only argument is called like a calc, and is none."""
        return f"<{calc}>"

    def price(cents: int) -> dict[str, int]:
        return {"cents": cents}

    trajectory = steps(
        ("a", "price", {"cents": {"calc": "7 * 3"}}),
        ("b", "price", {"cents": {"calc": "{$a.cents} // 2"}}),
        ("c", "reckon", {"calc": "7 * 3"}),
        ("d", "price", {"cents": {"calc": "1 / 0"}}),
        ("e", "price", {"cents": {"calc": "$d.cents + 1"}}),
        ("submit", "submit", {"answer": "$c", "count": {"calc": "sum($a.cents, $b.cents)"}}),
    )
    ran = run_sync(
        execute(
            trajectory,
            SessionFactory(from_functions([reckon, price], effects="read")).open(None),
            outputs={"answer": str, "count": int},
        )
    ).execution
    assert [o.status for o in ran.observations] == ["ok", "ok", "ok", "error", "blocked", "ok"]
    assert [o.args for o in ran.observations][:3] == [{"cents": 21}, {"cents": 10}, {"calc": "7 * 3"}]
    assert ran.outputs == {"answer": "<7 * 3>", "count": 31}
    assert "divides by zero" in ran.discrepancies[0].message


def test_expectations_are_of_the_result_or_of_any_earlier_step() -> None:
    def unmet(expects: str) -> list[str]:
        trajectory = Trajectory(steps=(Step(id="a", tool="look"), Step(id="b", tool="look", expects=expects)))
        return [d.message for d in run(trajectory, SessionFactory(Shelf)).execution.discrepancies]

    assert unmet("length(@) == `2`") == unmet("$a == $b") == []
    assert unmet("length(@) > `2`") == ["expected length(@) > `2`"]
    assert "cannot be evaluated" in unmet("length(")[0]
    assert "cannot be evaluated" in unmet("@[::0]")[0]
    assert "no earlier step 'z'" in unmet("$z")[0]


def test_repeated_calls_pair_items_with_results_and_report_failures_among_them() -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="look"),
            Step(id="b", tool="put", args={"name": "hat"}),
            Step(id="c", tool="find", args={"name": "$item"}, for_each="[$a, ['sock']][]"),
            Step(id="d", tool="find", args={"name": "$item.item"}, for_each="$c"),
        )
    )
    execution = run(trajectory, SessionFactory(Shelf)).execution
    partial = execution.by_step["c"]
    assert partial.ok and partial.calls == 3 and partial.args is None
    assert partial.value == [{"item": "ball", "result": 0}, {"item": "cup", "result": 1}]
    assert partial.fault and partial.fault.message.startswith("1 of 3 calls failed: ValueError")
    assert [d.kind for d in execution.discrepancies] == ["tool_error"]
    assert execution.by_step["d"].value[1] == {"item": partial.value[1], "result": 1}


def test_outputs_are_typed_and_missing_ones_listed() -> None:
    trajectory = steps(("a", "find", {"name": "cup"}), ("submit", "submit", {"answer": "$a"}))
    execution = run(trajectory, SessionFactory(Shelf)).execution
    assert (execution.outputs, execution.missing_outputs) == ({"answer": "1"}, ("count",))
    assert run(steps(("a", "look", {})), SessionFactory(Shelf)).execution.missing_outputs == ("answer", "count")
    twice = steps(("submit", "submit", {"count": 1}), ("s", "submit", {"count": 2}))
    execution = run(twice, SessionFactory(Shelf)).execution
    assert kinds(execution) == ["ok", "malformed_step"] and execution.outputs == {"count": 1}


def test_an_output_whose_validator_breaks_is_a_bad_argument() -> None:
    def broken(value: Any) -> Any:
        raise KeyError("unit")

    trajectory = steps(("submit", "submit", {"answer": "x"}))
    outputs = {"answer": Annotated[str, BeforeValidator(broken)]}
    execution = run_sync(execute(trajectory, SessionFactory(Shelf).open(None), outputs=outputs)).execution
    assert kinds(execution) == ["bad_arguments"] and "KeyError: 'unit'" in execution.discrepancies[0].message


def test_what_a_supervisor_raises_ends_the_run() -> None:
    class Stopping(Supervisor):
        seen: list[str] = []

        def observed(self, observation: Observation) -> None:
            self.seen.append(observation.step)
            if observation.step == "b":
                raise KeyError("stop here")

    watcher, plan = Stopping(), steps(("a", "look", {}), ("b", "look", {}), ("c", "look", {}))
    with pytest.raises(KeyError, match="stop here"):
        run(plan, SessionFactory(Shelf), supervisor=watcher)
    assert watcher.seen == ["a", "b"]
    runner = StepRunner(plan, SessionFactory(Shelf).open(None), {}, supervisor=watcher)
    with pytest.raises(KeyError, match="stop here"):
        run_sync(runner.run())
    assert [seen.step for seen in runner.execution.observations] == ["a", "b"]  # nothing of it is lost
