"""How settled requirements grow with what is read: each change carries its quote, and a rule looks the quotes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError
from pivot_dspy.blame import standing
from pivot_dspy.environment.base import Environment
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.phases.written_steps import unused
from pivot_dspy.plain_json import scalars
from pivot_dspy.prompts.observations import ObservationBudget, render_results
from pivot_dspy.prompts.truncation import FENCE, truncate
from pivot_dspy.provenance import WORDS
from pivot_dspy.required_calls import fill, not_told, stands_in
from pivot_dspy.requirements import BINDING_ORIGINS, MISREAD, Requirement, Requirements, compile_drafts, misfit
from pivot_dspy.trajectory import Execution

LEAST_TO_VOID = 12
"""Letters and digits in the quotes that make a requirement needless."""


class Concretised(NamedTuple):
    """Requirements after the changes that a model wrote."""

    requirements: Requirements
    refused: tuple[str, ...]
    """The changes that were not made, each with the reason, in a line."""


class _Known:
    """What was told before anything was read, and what was read."""

    def __init__(self, told: str, results: Sequence[Any]) -> None:
        self.told = told
        self.asked = standing.tokens(told)
        self.read = standing.tokens([told, *results])


class _Refused(Exception):
    """Why a change is not made."""


def concretise(
    requirements: Requirements, changes: Any, execution: Execution, toolbox: Toolbox, told: str = "",
    doubts: Mapping[str, str] | None = None,
) -> Concretised:  # fmt: skip
    """`requirements` with what was read put in: never loosened, and never added to, without evidence.

    A change is `{"id", "call", "from", "quote"}` (what was left open in the call, filled in; in several ways, where
    `call` is a list: then it becomes as many requirements), `{"id", "void", "from", "quote"}` (not needed, as that
    result says), or `{"id", "under", "text", "call", "quote"}` (new, asked for by the words of a result that the
    requirement `under` delegates to). A requirement in words is given its call by `{"id", "call", "from": "request",
    "quote"}`, with values that stand in the request or are left open. One that a check decides is put right by `{"id",
    "check", "args", "quote"}`, with words of the request. `from` and `quote` may be lists. Each change is a recorded
    amendment.

    Args:
        changes: what the model wrote; anything but a list of records changes nothing.
        execution: what was read.
        told: what was known before anything was read: the request, the policy.
        doubts: signs that requirements were misread, by their ids.
    """
    doubts = doubts or {}
    known = _Known(told, [seen.value for seen in execution.observations if seen.ok])
    refused = []
    for change in changes if isinstance(changes, list) else []:
        if not isinstance(change, Mapping):
            continue
        name = str(change.get("id") or "?")
        try:
            if change.get("check"):
                requirements = _read_again(requirements, name, change, toolbox, known, doubts.get(name, ""))
            else:
                requirements = _change(requirements, name, change, execution, toolbox, known)
        except _Refused as reason:
            refused.append(f"{name}: {reason}")
    return Concretised(requirements, tuple(refused))


def _change(
    requirements: Requirements, name: str, change: Mapping[str, Any], execution: Execution, toolbox: Toolbox,
    known: _Known,
) -> Requirements:  # fmt: skip
    before = next((item for item in requirements.items if item.id == name), None)
    if before is not None and change.get("under") and change.get("text", before.text) != before.text:
        name, before = unused(name, {item.id for item in requirements.items}), None  # another one of the same name
    if before is not None and before.origin in BINDING_ORIGINS:
        raise _Refused("it was given, and stays as it is")
    if before is None and not change.get("under"):
        raise _Refused('nothing new is taken unless it is "under" one that delegates')
    if before is not None and _restates(before, change):
        return requirements
    names = before is not None and before.call is None and "request" in _texts(change.get("from"))
    if isinstance(change.get("call"), list) and any(item.id == f"{name}_2" for item in requirements.items):
        raise _Refused("it has been made into several already; change each of these")
    quotes = _quotes(change, [known.told] if names else _sources(change, execution, requirements))
    if change.get("void") and sum(map(str.isalnum, "".join(quotes))) < LEAST_TO_VOID:
        raise _Refused("what makes it needless takes more than a word: quote the whole of it")
    reason = f"{change.get('void') or 'as read'}: {'; '.join(quotes)}"
    after: list[Requirement | None]
    if before is None:
        after = [_added(name, change, requirements, toolbox)]
    elif change.get("void"):
        after = [None]
    else:
        calls = change["call"] if isinstance(change.get("call"), list) else [change.get("call")]
        put_in = _named if names else _filled
        after = [put_in(before, call, toolbox, known) for call in calls]
    for number, item in enumerate(after, start=1):
        taken = {item.id for item in requirements.items}
        place = name if number == 1 else unused(f"{name}_{number}", taken)
        if item is not None:
            item = item.model_copy(update={"id": place, "text": item.text if number == 1 else f"as {name}"})
        if item != before:
            requirements = requirements.amend(place, item, reason=reason, by="evolve", evidence="; ".join(quotes))
    return requirements


def _read_again(
    requirements: Requirements, name: str, change: Mapping[str, Any], toolbox: Toolbox, known: _Known, doubt: str
) -> Requirements:
    """`requirements` with another check for one that was misread, as words of the request say."""
    before = next((item for item in requirements.items if item.id == name), None)
    if before is None or before.check is None or before.origin in BINDING_ORIGINS:
        raise _Refused("only a requirement of your own that a check decides is given another check")
    check, args = str(change["check"]), change.get("args") or {}
    if not isinstance(args, Mapping):
        raise _Refused("args is an object of named arguments")
    if problem := misfit(check, args, toolbox):
        raise _Refused(problem)
    after = before.model_copy(update={"check": check, "args": dict(args), "traced": True})
    if (after.check, after.args) == (before.check, before.args):
        return requirements
    if not _texts(change.get("quote")):
        raise _Refused('it needs "quote", words of the request that say so')
    quotes = "; ".join(_quotes(change, [known.told]))
    evidence = f"{MISREAD}{doubt}: {quotes}" if doubt else quotes
    return requirements.amend(name, after, reason=f"read again: {quotes}", by="evolve", evidence=evidence)


def _restates(before: Requirement, change: Mapping[str, Any]) -> bool:
    """Whether a change says nothing new of a requirement."""
    if change.get("void") or isinstance(change.get("call"), list):
        return False
    call = change.get("call") or {}
    if before.call is None or not isinstance(call, Mapping):
        return not call
    args = call.get("args") or {}
    same = isinstance(args, Mapping) and {**before.call.args, **args} == before.call.args
    return same and call.get("tool", before.call.tool) == before.call.tool


def _named(before: Requirement, call: Any, toolbox: Toolbox, known: _Known) -> Requirement:
    """`before`, which is in words, with the call that it asks for: what it fixes stands in the request."""
    compiled = compile_drafts([{"id": before.id, "text": before.text, "call": call}], toolbox)[0]
    if before.executable or before.delegates is not None or compiled.call is None:
        raise _Refused('a requirement in words is given the "call" that it asks for, of a tool that changes something')
    if unknown := not_told(compiled.call, known.asked):
        raise _Refused(f'{unknown} does not stand in the request; "?" leaves it open')
    return before.model_copy(update={"call": compiled.call})


def _filled(before: Requirement, call: Any, toolbox: Toolbox, known: _Known) -> Requirement:
    """`before` with its open arguments filled in by values that were read or told, or are worked out of two such."""
    if not isinstance(call, Mapping) or before.call is None:
        raise _Refused('a change fills in the "call" of a requirement that has one, or is "void"')
    asked, args = before.open_call or before.call, call.get("args") or {}
    if isinstance(args, Mapping):  # what was filled in before stands unless it is put right
        args = {**{name: before.call.args[name] for name in asked.open if name in before.call.args}, **args}
    filled = fill(asked, {**call, "args": args})
    if isinstance(filled, str):
        raise _Refused(filled)
    if problem := filled.problem(toolbox):
        raise _Refused(problem)
    for name, value in filled.args.items():
        unknown = [leaf for leaf in scalars(value) if not _is_worded(leaf) and not standing.holds(known.read, leaf)]
        if value != before.call.args.get(name) and unknown:
            raise _Refused(f"{name} {unknown[0]!r:.80} stands in nothing that was read")
    return before.model_copy(update={"call": filled, "open_call": asked})


def _is_worded(leaf: Any) -> bool:
    """Whether a value is a text of one's own words rather than something that was read."""
    return isinstance(leaf, str) and len(leaf.split()) > WORDS


def _added(name: str, change: Mapping[str, Any], requirements: Requirements, toolbox: Toolbox) -> Requirement:
    draft = {key: change[key] for key in ("id", "text", "call") if key in change}
    compiled = compile_drafts([draft], toolbox, taken=requirements.items)
    if not compiled:
        raise _Refused("it says nothing; give a text")
    return compiled[0].model_copy(update={"id": name, "under": str(change["under"])})


def _quotes(change: Mapping[str, Any], sources: Sequence[Any]) -> list[str]:
    """The quotes of a change, each of which stands where it is said to."""
    quotes = _texts(change.get("quote"))
    if not quotes:
        raise _Refused('it needs "from" and "quote", the words of a result that say so')
    for quote in quotes:
        if not any(stands_in(quote, value) for value in sources):
            raise _Refused(f"the quote {truncate(quote, 80)!r} does not stand there")
    return quotes


def _sources(change: Mapping[str, Any], execution: Execution, requirements: Requirements) -> list[Any]:
    """The values in which a change's quotes must stand."""
    results = {name: seen.value for name, seen in execution.by_step.items() if seen.ok}
    if not change.get("under"):
        named = {name.lstrip("$") for name in _texts(change.get("from"))}
        return [source for name in named & results.keys() for source in (results[name], _as_shown(execution, name))]
    above = next((item for item in requirements.items if item.id == change["under"]), None)
    if above is None or above.delegates is None:
        raise _Refused(f"{change['under']} delegates to nothing that was read")
    try:
        return [bindings.evaluate(above.delegates, results)]
    except BindingError as error:
        raise _Refused(f"what {above.id} delegates to cannot be read: {error}") from error


def _as_shown(execution: Execution, name: str) -> list[str]:
    """The records of a step's result as a prompt shows them, without what all of them have in common."""
    step = execution.trajectory.steps[execution.trajectory.index(name)]
    shown = render_results([(step, execution.by_step[name])], Environment(), ObservationBudget())
    return [line for line in shown.splitlines() if line.startswith(f"{FENCE}{{")]


def _texts(written: Any) -> list[str]:
    entries = written if isinstance(written, list) else [written]
    return [str(entry) for entry in entries if entry]
