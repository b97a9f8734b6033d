"""What a model is shown of an execution: one line a step, what is unmet and why, never the observations themselves.

Lengths are capped in characters; a token is about four of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pivot_dspy.environment.base import Environment
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Observation, Step

RESULT_CAP = 200
EVIDENCE_CAP = 700
KEPT_CAP = 1200
REPORT_CAP = 4800
"""About 1,200 tokens."""


def cut(text: str, cap: int) -> str:
    """`text`, or its first `cap` characters and the number of those left out."""
    return text if len(text) <= cap else f"{text[:cap]}… (+{len(text) - cap} characters)"


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def summarise(value: Any) -> str:
    """The shape and a few values of a result, in one line of at most `RESULT_CAP` characters.

    >>> summarise({"ids": ["a", "b", "c", "d"], "total": 4})
    'ids: 4 [a, b, c, …], total: 4'
    """
    return cut(_summary(value), RESULT_CAP)


def _summary(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_part(item)}" for key, item in value.items()) or "{}"
    return _part(value)


def _part(value: Any) -> str:
    if isinstance(value, list):
        return _list(value)
    if isinstance(value, Mapping):
        return cut(compact(value), 80)
    return cut(value if isinstance(value, str) else compact(value), 80)


def _list(values: list[Any]) -> str:
    if not values:
        return "0 []"
    if all(isinstance(value, Mapping) for value in values):
        if set(values[0]) == {"item", "result"}:
            results = [value["result"] for value in values]
            return f"{len(values)} calls; {_list(results).split(' ', 1)[-1]}"
        return f"{len(values)} {_fields(values)}"
    shown = ", ".join(cut(value if isinstance(value, str) else compact(value), 30) for value in values[:3])
    return f"{len(values)} [{shown}{', …' if len(values) > 3 else ''}]"


def _fields(records: Sequence[Mapping[str, Any]]) -> str:
    """Ranges of numbers and counts of the few-valued fields over `records`, else the names of the fields."""
    said = []
    for key in records[0]:
        column: list[Any] = [record.get(key) for record in records]
        if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in column):
            counts = Counter(column)
            if len(counts) <= 4:
                said.append(f"{key} {', '.join(f'{v}×{n}' for v, n in sorted(counts.items()))}")
            else:
                said.append(f"{key} {min(column)}..{max(column)}")
    return f"({'; '.join(said[:3])})" if said else f"({', '.join(list(records[0])[:6])})"


def outcome(step: Step, observation: Observation, environment: Environment) -> str:
    """What became of a step, after its arrow."""
    if observation.status == "blocked":
        return "not run: it needs a step that failed"
    if observation.status == "withheld":
        return "waits for commit"
    if observation.fault is not None and observation.status == "error":
        expected = f"; expected {observation.fault.expected}" if observation.fault.expected else ""
        return cut(f"FAILED {observation.fault.kind}: {observation.fault.message}{expected}", EVIDENCE_CAP)
    if step.is_submit:
        return "submitted"
    said = None
    if step.for_each is None:
        said = environment.summarise(step.tool, observation.value)
    text = cut(said, RESULT_CAP) if said else summarise(observation.value)
    partial = f" ({observation.fault.message})" if observation.fault else ""
    return text + partial


def kept_steps(execution: Execution, count: int, environment: Environment) -> str:
    """The first `count` steps in brief: id, tool and result."""
    lines = [
        f"{step.id} {step.tool} -> {outcome(step, observation, environment)}"
        for step, observation in zip(execution.trajectory.steps[:count], execution.observations, strict=False)
    ]
    shown: list[str] = []
    for line in reversed(lines):  # the latest steps are the ones that the suffix reads
        if shown and sum(map(len, shown)) + len(line) > KEPT_CAP:
            shown.append(f"… {len(lines) - len(shown)} earlier steps")
            break
        shown.append(line)
    return "\n".join(reversed(shown))


def open_steps(execution: Execution, start: int, environment: Environment) -> str:
    """The steps from `start` on, each as it was written and with what became of it."""
    pairs = list(zip(execution.trajectory.steps, execution.observations, strict=True))[start:]
    return "\n".join(f"{step.to_prompt()} -> {outcome(step, o, environment)}" for step, o in pairs)


def unmet(requirements: Requirements, findings: Iterable[Finding]) -> str:
    """The requirements that do not hold, with the evidence, capped as a whole."""
    lines = []
    for finding in findings:
        if finding.status == "violated":
            line = f"{requirements[finding.requirement].to_prompt()} - NOT MET: {cut(finding.evidence, EVIDENCE_CAP)}"
            lines.append(line + (f"\n  {cut(finding.hint, EVIDENCE_CAP)}" if finding.hint else ""))
        elif finding.status == "unjudged":
            lines.append(f"{requirements[finding.requirement].to_prompt()} - not judged yet")
    return cut("\n".join(lines), REPORT_CAP // 2)


def report(execution: Execution, requirements: Requirements, findings: Sequence[Finding]) -> str:
    """Counts, where the environment stands, and what is unmet: at most `REPORT_CAP` characters."""
    states = Counter(observation.status for observation in execution.observations)
    parts = [f"{states['ok']} of {len(execution.observations)} steps ran"]
    parts += [f"{states[name]} {name}" for name in ("error", "blocked", "withheld") if states[name]]
    lines = [", ".join(parts) + "."]
    if execution.state:
        lines.append(cut(execution.state, EVIDENCE_CAP))
    if requirements.items:
        holding = sum(1 for finding in findings if finding.holds)
        lines.append(f"{holding} of {len(requirements.items)} requirements hold.")
    text = unmet(requirements, findings)
    return cut("\n".join([*lines, text]).strip(), REPORT_CAP)


def observations(execution: Execution, cap: int = REPORT_CAP * 2) -> str:
    """The results themselves, shortened evenly, for composing an answer or judging one."""
    pairs = [
        (step, observation)
        for step, observation in zip(execution.trajectory.steps, execution.observations, strict=True)
        if not step.is_submit
    ]
    share = cap // max(1, len(pairs))
    return "\n".join(
        f"{step.id} {step.tool} {compact(o.args) if o.args else ''} -> "
        + (cut(o.value if isinstance(o.value, str) else compact(o.value), share) if o.ok else o.status)
        for step, o in pairs
    )
