"""How requirements stand after a run: by their checks, and by the calls that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pivot_dspy.environment.base import UNCHECKABLE, CheckResult
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import error_text
from pivot_dspy.flow import Flow, awaited_at_once, run_sync
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import MadeCall, assign, comparable, made_calls, matches, nearest
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution

NOTHING_FITS = "nothing fits it"
FIT_EQUALLY = "fit it equally well"


def evaluate(
    requirements: Requirements, execution: Execution, session: Session, *, tentative: bool = False
) -> tuple[Finding, ...]:
    """As `evaluating`, at once."""
    return run_sync(evaluating(requirements, execution, session, tentative=tentative))


def evaluating(
    requirements: Requirements, execution: Execution, session: Session, *, tentative: bool = False
) -> Flow[tuple[Finding, ...]]:
    """How each requirement stands after `execution`; `session` stands where it ended.

    Checks are run on a fork, where there are forks, so that one that writes all the same harms nothing.

    Args:
        tentative: whether the first one that is violated is all that is wanted, and those after it are left out; and
            nobody needs the session any more, so that it is not forked.
    """
    calls = made_calls(execution, session.toolbox)
    lacking = _lacking_calls(requirements, calls)
    if not any(item.executable for item in requirements.items):
        findings = tuple(Finding(requirement=item.id, status="unjudged") for item in requirements.items)
    else:
        findings = yield from _run_checks(requirements, execution, session, tentative)
    waits = _Waiting(execution, [call.args for call in calls if call.waits])
    return tuple(
        lacking.get(finding.requirement) or _as_it_stands(requirements[finding.requirement], finding, waits)
        for finding in findings
    )


def _as_it_stands(requirement: Requirement, finding: Finding, waits: _Waiting) -> Finding:
    """`finding`; that a call which was made is all that is asked for where that is so, and that it may yet hold where
    what would show it waits for commit: no rewrite can show more before.
    """
    if finding.status == "unjudged" and requirement.says_only_its_call:
        return finding.model_copy(update={"status": "holds", "evidence": "the call was made"})
    may_hold = waits.the_answer if requirement.check is None else waits.for_all_of(requirement.args)
    if finding.status == "violated" and may_hold and not finding.uncheckable:
        return finding.model_copy(update={"status": "pending"})
    return finding


class _Waiting:
    """What waits for commit in an execution: calls, by their arguments, and what is submitted."""

    def __init__(self, execution: Execution, calls: Sequence[Mapping[str, Any]]) -> None:
        self._calls = calls
        self._nothing_ran = execution.tier == "live"
        """Whether every change waits, so that no figure of a check can have been reached."""
        submit = execution.trajectory.submit
        self.the_answer = submit is not None and submit.id in execution.withheld

    def for_all_of(self, asked: Mapping[str, Any]) -> bool:
        """Whether all that a check asks about stands in a call that waits.

        Where nothing was changed yet, the check may also be of several calls, and its figures may measure what comes
        of them, as in `spent_at_least(total=100)`: then its texts count, and the arguments that a call has by name.
        """
        given = [leaves_of(call) for call in self._calls]
        if any(leaves_of(asked) <= leaves for leaves in given):
            return True
        names = {name for call in self._calls for name in call}
        named = leaves_of({name: value for name, value in asked.items() if name in names})
        texts = leaves_of({name: _texts(value) for name, value in asked.items()})
        in_one = any(named <= leaves for leaves in given)
        return self._nothing_ran and in_one and texts <= frozenset().union(*given)


def _texts(value: Any) -> list[str]:
    return [leaf for leaf in scalars(value) if isinstance(leaf, str)]


def leaves_of(args: Mapping[str, Any]) -> frozenset[str]:
    """The values in some arguments, such that what means the same is equal."""
    return frozenset(str(comparable(value)) for value in scalars(dict(args)) if value is not None)


def _lacking_calls(requirements: Requirements, calls: Sequence[MadeCall]) -> dict[str, Finding]:
    """The requirements whose call was not made, with what came nearest to it."""
    asked = {item.id: item.call for item in requirements.items if item.call is not None}
    if not asked:
        return {}
    assigned = assign(asked, calls)
    above = {item.id: item.under for item in requirements.items}
    findings = {}
    for name in assigned.missing:
        # One that the words of a delegate ask for and the one that delegates are served by the same call.
        related = {index for index, other in assigned.serves.items() if name == above[other] or above[name] == other}
        if any(matches(asked[name], calls[index]) for index in related):
            continue
        near, tool = nearest(asked[name], calls), asked[name].tool
        made = dict.fromkeys(call.tool for call in calls)
        again = " again" if tool in made else ""  # what was called serves another requirement
        none = f"{tool} was not called{again}; calls that change something: {', '.join(made) or 'none'}"
        evidence = near[1] if near else none
        findings[name] = Finding(requirement=name, status="violated", evidence=evidence)
    return findings


def _run_checks(
    requirements: Requirements, execution: Execution, session: Session, tentative: bool
) -> Flow[tuple[Finding, ...]]:
    family = session.family
    limit = None if family.timeout is None else family.timeout * (len(requirements.items) + 1)
    evaluate_all = partial(_evaluate, requirements, execution, session, tentative)
    try:
        # All in one visit to the environment's thread: a visit costs more than most checks.
        findings: tuple[Finding, ...] = yield from family.look(evaluate_all, limit)
    except TimeoutError:
        findings = yield awaited_at_once(evaluate_all)  # one by one: only what hangs is lost
    return findings


def _evaluate(
    requirements: Requirements, execution: Execution, session: Session, tentative: bool
) -> tuple[Finding, ...]:
    broken: CheckResult | None = None
    try:
        session = session.fork() if session.family.tier == "fork" and not tentative else session
        session.begin_checks([(item.id, item.check, item.args) for item in requirements.items if item.check])
    except Exception as error:  # the environment's own code
        broken = _uncheckable(error)
    findings: list[Finding] = []
    for item in requirements.items:
        findings.append(_check(item, execution, session, broken))
        if tentative and findings[-1].status == "violated":
            break
    return tuple(findings)


def _check(requirement: Requirement, execution: Execution, session: Session, broken: CheckResult | None) -> Finding:
    """What the requirement says of itself, or that the environment is `broken`; `unjudged` where a judge decides."""
    if not requirement.executable:
        return Finding(requirement=requirement.id, status="unjudged")
    try:
        result = broken or CheckResult.of(requirement.check_on(execution, session))
    except Exception as error:  # the user's own code
        result = _uncheckable(error)
    return Finding(
        requirement=requirement.id,
        status="holds" if result.holds else "violated",
        evidence=result.evidence,
        hint="" if result.holds else result.hint,
        about=tuple(result.about),
        instead=() if result.holds else result.instead,
        doubt=_doubt(result),
    )


def _doubt(result: CheckResult) -> str:
    if result.fits is None:
        return ""
    return f"{result.tied} {FIT_EQUALLY}" if result.fits and result.tied > 1 else "" if result.fits else NOTHING_FITS


def _uncheckable(error: Exception) -> CheckResult:
    return CheckResult(False, f"{UNCHECKABLE}{error_text(error)}")
