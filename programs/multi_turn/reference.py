"""What the offline model knows of a task. Here that is the gold itself, since no rule reads free conversation: without
slips it passes by construction, and its figures compare search strategies and nothing else.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import dspy

from pivot_dspy import Execution, Step, Trajectory, bindings
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.steps import render_observations
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.simulator import Reference, offline_lm
from pivot_dspy.simulator.knowledge import Shown, unknown
from pivot_dspy.trajectory import SUBMIT
from programs.multi_turn.data import Case, Gold
from programs.multi_turn.environment import Conversation, Conversations
from programs.multi_turn.tools import END_TURN, class_of, toolbox

WORDS = 160
"""Characters of a turn that a requirement repeats."""

REPORT = "Every turn is served."


def model(cases: Iterable[Case], gold: Mapping[str, Gold], **options: Any) -> dspy.LM:
    """The offline model that knows `cases`; `options` are those of `pivot_dspy.simulator.offline_lm`."""
    return offline_lm([reference(case, gold[case.id]) for case in cases], **options)


def reference(case: Case, gold: Gold) -> Reference:
    """The reference of a task: its gold calls as steps, and one requirement for each turn.

    A requirement holds, to the simulated judge, where the observations show the turn's calls with their results.
    """
    trajectory = plan(case, gold)
    execution = run(case, trajectory)
    return Reference(
        match=case.conversation,
        requirements=[{"id": f"R{n}", "text": _wanted(n, case, gold)} for n in range(1, len(gold) + 1)],
        steps=[step.model_dump(include={"id", "tool", "args"}) for step in trajectory.steps],
        serves={step.id: _served(step, len(gold)) for step in trajectory.steps if not step.is_submit},
        truths=_truths(execution),
        worked_out=dict.fromkeys(_known_to_all(case, execution), ()),
    )


def _known_to_all(case: Case, execution: Execution) -> Iterator[str]:
    """What the gold writes and neither the conversation nor any result before tells, such as an airport's code."""
    told = f"{case.conversation}\n{toolbox(case).render_tools()}"
    for step, seen in zip(execution.trajectory.steps, execution.observations, strict=True):
        literals = unknown(step.model_dump(include={"id", "tool", "args"}), Shown(told), ())
        yield from (str(literal.value) for literal in literals)
        told = f"{told}\n{compact_json(seen.value)}"


def _served(step: Step, turns: int) -> list[str]:
    """A call serves its turn, the end of a turn all that come after it as well."""
    turn = int(step.id.partition("_")[0].removeprefix("t"))
    return [f"R{number}" for number in range(turn, turns + 1 if step.tool == END_TURN else turn + 1)]


def plan(case: Case, gold: Gold, *, without_last: bool = False) -> Trajectory:
    """The gold calls as a trajectory, `end_turn` after each turn; with `without_last`, the last call is left out."""
    last = max((turn for turn, written in enumerate(gold) if written), default=None)
    steps = []
    for turn, written in enumerate(gold):
        kept = written[:-1] if without_last and turn == last else written
        for number, text in enumerate(kept, start=1):
            tool, args = read_call(case, text)
            steps.append(Step(id=f"t{turn + 1}_{number}", tool=tool, args=bindings.literal(args)))
        steps.append(Step(id=f"t{turn + 1}_end", tool=END_TURN))
    steps.append(Step(id=SUBMIT, tool=SUBMIT, args={"report": REPORT}))
    return Trajectory(steps=tuple(steps))


def read_call(case: Case, text: str) -> tuple[str, dict[str, Any]]:
    """The function and the named arguments of a call in Python source. Raises ValueError where it is no such call.

    >>> read_call(Case("x", ("",), ()), "add(a=1, b=-2.5)")
    ('add', {'a': 1, 'b': -2.5})
    """
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("expected a call of a function by its name")
        args = dict(zip(_positions(case.classes, call.func.id), map(ast.literal_eval, call.args), strict=False))
        args |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{case.id}: {text!r:.120} cannot be read: {error}") from error
    return call.func.id, args


def run(case: Case, trajectory: Trajectory) -> Execution:
    """The execution of a trajectory in a fresh environment of the task. Raises MissingPackage."""
    outputs = {name: field.annotation for name, field in Conversation.output_fields.items()}
    session = SessionFactory(Conversations([case]).open).open(dspy.Example(**case.inputs).with_inputs(*case.inputs))
    try:
        execution: Execution = run_sync(execute(trajectory, session, outputs=outputs)).execution
    finally:
        session.family.close()
    return execution


@cache
def _positions(classes: tuple[str, ...], function: str) -> tuple[str, ...]:
    """The parameters of a function in its order, by which the gold may give arguments."""
    for name in classes:
        method = getattr(class_of(name), function, None)
        if method is not None:
            return tuple(inspect.signature(method).parameters)[1:]
    return ()


def _wanted(turn: int, case: Case, gold: Gold) -> str:
    said = textwrap.shorten(case.turns[turn - 1], WORDS, placeholder=" …")
    if gold[turn - 1]:
        return f"Turn {turn} is served: {said}"
    return f"Turn {turn} is closed without calls, as it cannot be served yet: {said}"


def _truths(execution: Execution) -> dict[str, str]:
    """For each turn its calls with their results, as a judge is shown them, up to its end_turn; for one without calls,
    from the end_turn before."""
    shown = f"\n{render_observations(execution, ObservationBudget())}\nState:"
    steps = [step for step in execution.trajectory.steps if not step.is_submit]
    begins: list[int] = []
    for step in steps:
        begins.append(shown.index(f"\n{step.id} {step.tool}", begins[-1] if begins else 0) + 1)
    begins.append(shown.index("\nState:", begins[-1]) + 1)
    closing = [place for place, step in enumerate(steps) if step.tool == END_TURN]
    truths = {}
    for number, (before, place) in enumerate(zip([-1, *closing], closing, strict=False), start=1):
        first = before + 1 if before + 1 < place else max(before, 0)
        truths[f"R{number}"] = shown[begins[first] : begins[place + 1] - 1]
    return truths
