"""What a trial is measured by: the ways in which the requirements of a task may be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pivot_dspy import Execution, Requirement
from pivot_dspy.required_calls import RequiredCall, made_calls, matches
from programs.office.tools import toolbox
from programs.office.wanted import wanted, wanted_calls
from programs.trust.office import ONLY, Trial, acts, told_gold


class Required(NamedTuple):
    """What a trial is measured by."""

    given: Sequence[Requirement] = ()
    """By the user; the same for each trial of a task."""
    drafts: Sequence[Mapping[str, Any]] = ()
    """By a model, as it writes them."""


OWN = "own calls"
Way = Callable[[Trial], Required]


def in_words(trial: Trial) -> Required:
    return Required([Requirement(**item.draft) for item in wanted(told_gold(trial.case))])


def executable(trial: Trial) -> Required:
    """A test for each changing call; words for the answer, where there is one or no test."""
    gold, given = told_gold(trial.case), []
    for item in wanted(gold):
        if item.place is not None:
            test = partial(_was_made, trial.case.suite, gold.calls[item.place])
            given.append(Requirement(**item.draft, test=test))
        elif gold.answer or not given:
            given.append(Requirement(**item.draft))
    return Required(given)


def naming_calls(trial: Trial) -> Required:
    """The calls that the request asks for, with the values that stand in it."""
    return Required(drafts=wanted_calls(told_gold(trial.case), trial.case.request))


def naming_calls_alone(trial: Trial) -> Required:
    """The same without the one on the answer."""
    return Required(drafts=[draft for draft in naming_calls(trial).drafts if "call" in draft])


def naming_own_calls(trial: Trial) -> Required:
    """The very calls of the trial, as a model may ask for what it does."""
    calls = [
        {"id": f"R_{step.id}", "text": f"{step.tool} is called.", "call": {"tool": step.tool, "args": dict(step.args)}}
        for step in trial.trajectory.steps
        if acts(step.tool)
    ]
    return Required(drafts=calls)


def nothing(trial: Trial) -> Required:
    return Required()


def only_the_update(trial: Trial) -> Required:
    """A test that looks at what ran."""
    test = partial(_ran_only, trial.case.suite)
    return Required([Requirement(id="U1", text=f"Only {ONLY} is called.", test=test)])


WAYS: Mapping[str, Way] = {"words": in_words, "executable": executable, "calls": naming_calls}
"""In words or executable by the user, or by a model that names the calls."""
NONE: Mapping[str, Way] = {"none": nothing}
UNSAID: Mapping[str, Way] = {"executable": executable, "calls": naming_calls_alone, OWN: naming_own_calls}
"""Where the answer says nothing in words."""
ONLY_UPDATE: Mapping[str, Way] = {"test": only_the_update}


def _was_made(suite: str, call: tuple[str, Mapping[str, Any]], execution: Execution) -> tuple[bool, str]:
    tool, args = call
    asked = RequiredCall(tool=tool, args={name: value for name, value in args.items() if value is not None})
    found = any(matches(asked, made) for made in made_calls(execution, toolbox(suite)))
    return found, f"{tool} was {'' if found else 'not '}called with these arguments"


def _ran_only(suite: str, execution: Execution) -> tuple[bool, str]:
    tools = toolbox(suite).tools
    ran = [step.tool for step in execution.trajectory.steps if execution.by_step[step.id].ok and step.tool in tools]
    changed = [tool for tool in ran if acts(tool)]
    return changed == [ONLY], f"ran: {', '.join(changed) or 'nothing'}"
