"""How requirements stand after a run: by their checks, and by the calls that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pivot_dspy.environment.base import UNCHECKABLE, CheckResult
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import error_text
from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import MadeCall, assign, comparable, made_calls, matches, nearest
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution

NOTHING_FITS = "nothing fits it"
FIT_EQUALLY = "fit it equally well"


def evaluate(
    requirements: Requirements, execution: Execution, session: Session, *, tentative: bool = False
) -> tuple[Finding, ...]:
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
        findings = _run_checks(requirements, execution, session, tentative)
    waiting = [leaves_of(call.args) for call in calls if call.waits]
    return tuple(
        lacking.get(finding.requirement) or _as_it_stands(requirements[finding.requirement], finding, waiting)
        for finding in findings
    )


def _as_it_stands(requirement: Requirement, finding: Finding, waiting: Sequence[frozenset[str]]) -> Finding:
    """`finding`; that a call which was made is all that is asked for where that is so, and that a check may yet hold
    where all that it asks about stands in a call that waits for commit.
    """
    if finding.status == "unjudged" and requirement.says_only_its_call:
        return finding.model_copy(update={"status": "holds", "evidence": "the call was made"})
    waits = requirement.check is not None and any(leaves_of(requirement.args) <= given for given in waiting)
    if finding.status == "violated" and waits and not finding.uncheckable:
        return finding.model_copy(update={"status": "pending"})
    return finding


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
) -> tuple[Finding, ...]:
    family = session.family
    limit = None if family.timeout is None else family.timeout * (len(requirements.items) + 1)
    try:
        # All in one visit to the environment's thread: a visit costs more than most checks.
        return family.inside(lambda: _evaluate(requirements, execution, session, tentative), limit)
    except TimeoutError:
        return _evaluate(
            requirements, execution, session, tentative
        )  # one by one: only what hangs is lost


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
