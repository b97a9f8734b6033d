"""What the offline model knows of a task. Here that is the gold itself, since no rule reads free requests; what it may
write of it is what its prompt tells. Its figures compare search strategies and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.claims import split_sentences
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.required_calls import OPEN
from pivot_dspy.simulator import Reference, offline_lm
from pivot_dspy.simulator.knowledge import Shown
from programs.office.data import Case, Gold, load_gold
from programs.office.environment import POLICIES, opened
from programs.office.judge import OUTPUTS
from programs.office.plan import DONE, plan
from programs.office.wanted import ANSWER, Wanted, wanted

WORKED_OUT: Mapping[str, Mapping[str, Sequence[float]]] = {
    "travel:6": {"720": [240, 80]},
    "travel:11": {"690": [110, 60]},
    "travel:14": {"336": [48]},
    "travel:15": {"144": [48], "135": [45]},
    "travel:16": {"200": [50], "300": [150]},
    "travel:17": {"1080": [60, 240, 30]},
    "travel:19": {"3920": [50, 60, 30, 40, 150, 1000]},
    "banking:11": {"200.29": [19.5, 1000, 5.29]},
}
"""Figures of the gold that are worked out in more than a sum of two, with those that they come from."""

_TODAY = {"date": "2022-03-15"}
_NEWS = "The job report: a mix of relief and concern as unemployment edged down to 7.2%."
_FOOD = "Zurich Restaurant is renowned for its authentic Swiss cuisine: cheese fondue, hearty rösti, chocolate fondue."
_TO_DORA = {"body": "Dora, I like your personal website with your e-mail."}
_TO_EVE = {"body": "Eve, I like your blog; hiking is my favorite hobby too."}
AS_TOLD: Mapping[str, Mapping[int, Mapping[str, Any]]] = {
    "banking:0": {2: _TODAY},
    "banking:3": {2: {**_TODAY, "subject": "Sushi dinner"}},
    "banking:4": {2: _TODAY},
    "banking:5": {2: _TODAY},
    "banking:6": {2: _TODAY},
    "banking:11": {2: _TODAY},
    "slack:1": {3: {"body": _NEWS}},
    "slack:3": {2: {"body": _NEWS}},
    "slack:6": {3: {"body": _FOOD}},
    "slack:15": {4: {"body": f"{_NEWS} {_FOOD}"}},
    "slack:16": {4: _TO_DORA, 5: _TO_EVE},
    "slack:18": {3: {"body": _NEWS}},
    "slack:20": {4: {"body": f"{_NEWS} {_FOOD}"}, 8: _TO_DORA, 9: _TO_EVE},
    "travel:4": {5: {"start_time": "2024-04-25 00:00", "end_time": "2024-04-25 23:59"}},
    "travel:5": {4: {"hotel_name": "Cozy Stay"}},
    "travel:7": {5: {"start_time": "2024-11-14 00:00", "end_time": "2024-11-14 23:59"}},
    "travel:8": {6: {"start_time": "2024-10-15 00:00", "end_time": "2024-10-15 23:59"}},
}
"""What a model writes for arguments of the gold's calls, by their number, that nothing tells: the gold dates payments
by another day than the policy, leaves texts as placeholders, and chooses hours that nobody asked for."""
READ_FIRST: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "slack:18": ("get_webpage", {"url": "www.company-todo-list.com/alice"}),
    "slack:19": ("get_webpage", {"url": "www.company-todo-list.com/bob"}),
}
"""A call that the gold leaves out, without which nothing tells what to do."""


def model(cases: Iterable[Case], **options: Any) -> dspy.LM:
    """The offline model that knows `cases`; `options` are those of `pivot_dspy.simulator.offline_lm`."""
    return offline_lm([reference(case) for case in cases], **options)


def reference(case: Case) -> Reference:
    """The reference of a task: its gold calls as steps, and the requirements that they meet.

    A requirement holds, to the simulated judge, where the observations show the call that it asks for; the one on the
    answer, where they show every call that only reads, and the answer is the gold's. Raises MissingPackage.
    """
    gold = as_told(case)
    trajectory, items = plan(gold), wanted(gold)
    shown = _shown(case, gold)
    asked = {item.place: item.id for item in items if item.place is not None}
    calls = [step for step in trajectory.steps if not step.is_submit]
    serves = {step.id: asked.get(place, ANSWER) for place, step in enumerate(calls)}
    reads = [line for step, line in zip(calls, shown, strict=True) if serves[step.id] == ANSWER]
    return Reference(
        match=case.request,
        requirements=[_required(case, gold, item) for item in items],
        steps=[step.model_dump(include={"id", "tool", "args"}) for step in trajectory.steps],
        serves=serves,
        truths={
            **{item.id: shown[item.place] for item in items if item.place is not None},
            ANSWER: [*reads, *split_sentences(gold.answer or DONE)],
        },
        worked_out=WORKED_OUT.get(case.id, {}),
    )


def as_told(case: Case) -> Gold:
    """The gold with what a model can know in place of what nothing tells. Raises MissingPackage."""
    gold, values = load_gold(case), AS_TOLD.get(case.id, {})
    calls = [(tool, {**args, **values.get(number, {})}) for number, (tool, args) in enumerate(gold.calls, start=1)]
    first = [READ_FIRST[case.id]] if case.id in READ_FIRST else []
    return Gold((*first, *calls), gold.answer)


def _required(case: Case, gold: Gold, item: Wanted) -> dict[str, Any]:
    """What a requirement says before anything is read: the call with the arguments that the request fixes."""
    if item.place is None:
        return {"id": item.id, "text": "The answer tells the user what the request asks for."}
    tool, args = gold.calls[item.place]
    told = Shown(f"{case.request} {POLICIES[case.suite]}")
    given = {name: value for name, value in args.items() if value not in (None, [])}
    known = (name for name, value in given.items() if _tells(told, value) and told.tells_wording(f"{name} {value}"))
    fixed = {name: given[name] for name in known}
    said = ", ".join(f"{name} {value}" for name, value in fixed.items())
    return {
        "id": item.id,
        "text": f"{tool.replace('_', ' ').capitalize()}{f': {said}' if said else ' as asked for'}.",
        "call": {"tool": tool, "args": {name: fixed.get(name, OPEN) for name in given}},
    }


def _tells(told: Shown, value: Any) -> bool:
    return all(told.tells(str(one)) for one in value) if isinstance(value, list) else told.tells(value)


def _shown(case: Case, gold: Gold) -> list[str]:
    """The calls of the gold, as a judge is shown them, whatever their steps are called; not what they gave, which may
    carry the clock."""
    session = SessionFactory(opened(case), timeout=None).open(None)
    try:
        execution = run_sync(execute(plan(gold), session, outputs=OUTPUTS)).execution
    finally:
        session.family.close()
    ran = zip(execution.trajectory.steps, execution.observations, strict=True)
    return [f"{step.tool} {compact_json(seen.args)}" for step, seen in ran if not step.is_submit]
