"""What a model is shown of an execution: one line a step, what is unmet and why, never the observations themselves.

The words that others look for in a report are declared here, with functions that read them back; nothing else spells
them out. Lengths are capped in characters; a token is about four of them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pivot_dspy.environment.base import READ_ONLY, Environment, allowing
from pivot_dspy.gradient import Gradient
from pivot_dspy.prompts.truncation import MIN_SHARE, SUFFIX_ROOM, compact_json, fair_cap, truncate
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Observation, Step

logger = logging.getLogger(__name__)

RESULT_CAP = 200
FAULT_CAP = 700
STATE_CAP = 1200
KEPT_CAP = 1200
OPEN_CAP = 4800
UNMET_CAP = 3400
BLAME_CAP = 1600
REPORT_CAP = 4800
"""About 1,200 tokens."""
OBSERVATIONS_CAP = 9600

FAILED = "FAILED"
"""Before the fault of a step that failed."""
NOT_RUN = "not run"
"""Of a step that could not run because of another."""
WAITS_FOR_COMMIT = "waits for commit"
"""Of a step that changes something for good."""
SUBMITTED = "submitted"
"""Of a submit that ran."""
NOT_MET = "NOT MET"
"""Before the evidence against a requirement."""
NOT_JUDGED_YET = "not judged yet"
"""Of requirements that only the verification judges."""

_STATUS_WORDS = {"error": FAILED, "blocked": NOT_RUN, "withheld": WAITS_FOR_COMMIT}
_UNMET = re.compile(rf"^(\w+): .*{re.escape(NOT_MET)}(?:: (.*))?.*(?:\n  (.*))?$", re.MULTILINE)


class UnmetRequirement(NamedTuple):
    """A requirement that a report says is not met."""

    id: str
    evidence: str
    hint: str

    def to_text(self) -> str:
        """The same without what is required, the hint on a line of its own."""
        return f"{_against(self.evidence)}\n  {self.hint}" if self.hint else _against(self.evidence)


def _against(evidence: str) -> str:
    return f"{NOT_MET}: {evidence}" if evidence else NOT_MET


def unmet_in(text: str) -> list[UnmetRequirement]:
    """The requirements that a text says are not met, as `render_unmet` writes them or with the id right before."""
    return [UnmetRequirement(*match.groups("")) for match in _UNMET.finditer(text)]


def status_of(outcome: str) -> str:
    """The status of the observation whose outcome `render_outcome` wrote; a result that begins like a fault is taken
    for one."""
    return next((status for status, word in _STATUS_WORDS.items() if outcome.startswith(word)), "ok")


def summarise(value: Any) -> str:
    """The shape and a few values of a result, in one line of at most `RESULT_CAP` characters.

    >>> summarise({"ids": ["a", "b", "c", "d"], "total": 4})
    'ids: 4 [a, b, c, …], total: 4'
    """
    return truncate(_one_line(_summary(value)), RESULT_CAP)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _summary(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_part(item)}" for key, item in value.items()) or "{}"
    return _part(value)


def _part(value: Any) -> str:
    if isinstance(value, list):
        return _list(value)
    return truncate(value if isinstance(value, str) else compact_json(value), 100)


def _list(values: list[Any]) -> str:
    if not values:
        return "0 []"
    if all(isinstance(value, Mapping) for value in values):
        if all(set(value) == {"item", "result"} for value in values):
            results = [value["result"] for value in values]
            return f"{len(values)} calls; {_list(results).split(' ', 1)[-1]}"
        return f"{len(values)} {_fields(values)}"
    shown = ", ".join(truncate(value if isinstance(value, str) else compact_json(value), 30) for value in values[:3])
    return f"{len(values)} [{shown}{', …' if len(values) > 3 else ''}]"


def _fields(records: Sequence[Mapping[str, Any]]) -> str:
    """Ranges of numbers, or counts where there are few of them, and the names of the other fields of `records`."""
    numbers, others = [], []
    for key in records[0]:
        column: list[Any] = [record.get(key) for record in records]
        if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in column):
            counts = Counter(column)
            if len(counts) <= 4:
                numbers.append(f"{key} {', '.join(f'{v}×{n}' for v, n in sorted(counts.items()))}")
            else:
                numbers.append(f"{key} {min(column)}..{max(column)}")
        else:
            others.append(str(key))
    return f"({'; '.join([*numbers[:3], *([', '.join(others[:6])] if others else [])])})"


def environment_summary(tool: str, value: Any, environment: Environment) -> str | None:
    """The environment's own account of a result, or None; a warning in the log, if it raises."""
    try:
        with allowing(READ_ONLY):
            summary = environment.summarise(tool, value)
    except Exception as error:
        logger.warning("summarise of %s failed: %s: %s", type(environment).__name__, type(error).__name__, error)
        return None
    return str(summary) if summary else None


def render_outcome(step: Step, observation: Observation, environment: Environment) -> str:
    """What became of a step, after its arrow, in one line."""
    if observation.status == "blocked":
        return f"{NOT_RUN}: it needs a step that failed"
    if observation.status == "withheld":
        return WAITS_FOR_COMMIT
    if observation.fault is not None and observation.status == "error":
        fault = observation.fault
        expected = f"; expected {fault.expected}" if fault.expected else ""
        return truncate(_one_line(f"{FAILED} {fault.kind}: {fault.message}{expected}"), FAULT_CAP)
    if step.is_submit:
        return SUBMITTED
    summary = environment_summary(step.tool, observation.value, environment) if step.for_each is None else None
    text = truncate(_one_line(summary), RESULT_CAP) if summary else summarise(observation.value)
    partial = f" ({truncate(_one_line(observation.fault.message), RESULT_CAP)})" if observation.fault else ""
    return text + partial


def render_kept_steps(execution: Execution, count: int, environment: Environment) -> str:
    """The first `count` steps in brief: id, tool and result."""
    lines = [
        f"{_brief(step)} -> {render_outcome(step, observation, environment)}"
        for step, observation in zip(execution.trajectory.steps[:count], execution.observations, strict=False)
    ]
    shown: list[str] = []
    for line in reversed(lines):  # the latest steps are the ones that the suffix reads
        if shown and sum(map(len, shown)) + len(line) > KEPT_CAP:
            shown.append(f"… {len(lines) - len(shown)} earlier steps")
            break
        shown.append(line)
    return "\n".join(reversed(shown))


def render_open_steps(execution: Execution, start: int, environment: Environment, written: Collection[str] = ()) -> str:
    """The steps from `start` on, as `steps` gives them."""
    return render_steps(execution, execution.trajectory.ids[start:], environment, written)


def render_steps(
    execution: Execution, ids: Collection[str], environment: Environment, in_full: Collection[str] = ()
) -> str:
    """The steps called `ids`, each as it was written and with what became of it.

    Where all of them would take more than `OPEN_CAP` characters, long outcomes are cut first, then long arguments.

    Args:
        in_full: where it is not empty, the others go without their arguments.
    """
    every = zip(execution.trajectory.steps, execution.observations, strict=True)
    pairs = [(step, observation) for step, observation in every if step.id in ids]
    written = [_brief(step) if in_full and step.id not in in_full else step.to_prompt() for step, _ in pairs]
    outcomes = [render_outcome(step, observation, environment) for step, observation in pairs]
    room = OPEN_CAP - 5 * len(pairs)
    if sum(map(len, (*written, *outcomes))) > room:
        level = fair_cap([*map(len, outcomes)], max(room // 3, room - sum(map(len, written))))
        outcomes = [truncate(text, level) for text in outcomes]
        level = fair_cap([*map(len, written)], room - sum(map(len, outcomes)))
        written = [_shorten(step, text, level) for (step, _), text in zip(pairs, written, strict=True)]
    return "\n".join(f"{text} -> {outcome}" for text, outcome in zip(written, outcomes, strict=True))


def _brief(step: Step) -> str:
    return f"{step.id} {step.tool}"


def _shorten(step: Step, text: str, cap: int) -> str:
    """The step's JSON with long values cut inside it, so that it stays JSON, in about `cap` characters."""
    if len(text) <= cap:
        return text
    bare = {"id": step.id, "tool": step.tool, "args": dict.fromkeys(step.args, "")}
    room = max(MIN_SHARE, cap - len(compact_json(bare)))
    fields = step.content()
    leaves = [field for field in ("for_each", "expects", "problem") if field in fields]
    values = [*(fields[name] for name in leaves), *step.args.values()]
    level = fair_cap([len(compact_json(value)) for value in values], room)
    fields |= {name: truncate(fields[name], level) for name in leaves}
    if step.args:
        fields["args"] = {name: _cut_value(value, level) for name, value in step.args.items()}
    return compact_json(fields)


def _cut_value(value: Any, cap: int) -> Any:
    text = compact_json(value)
    if len(text) <= cap:
        return value
    if not isinstance(value, list):
        return truncate(value if isinstance(value, str) else text, cap)
    left, shown = cap - SUFFIX_ROOM, 0
    while shown < len(value) and (left := left - len(compact_json(value[shown])) - 2) >= 0:
        shown += 1
    return [*value[:shown], f"… (+{len(value) - shown} more)"]


def render_unmet(requirements: Requirements, findings: Iterable[Finding]) -> str:
    """The requirements that do not hold, each with its evidence and hint, capped as a whole."""
    violations: list[tuple[str, str, str]] = []
    unjudged: list[str] = []
    for finding in findings:
        if finding.status == "violated":
            requirement = requirements[finding.requirement]
            violations.append((requirement.to_prompt(), _against(finding.evidence), finding.hint))
        elif finding.status == "unjudged":
            unjudged.append(finding.requirement)
    texts = [part for parts in violations for part in parts if part]
    level = fair_cap([*map(len, texts)], UNMET_CAP - 8 * len(violations))
    lines = []
    for text, evidence, hint in violations:
        lines.append(f"{truncate(_one_line(text), level)} - {truncate(_one_line(evidence), level)}")
        if hint:
            lines.append(f"  {truncate(_one_line(hint), level)}")
    if unjudged:
        lines.append(f"{', '.join(unjudged)}: {NOT_JUDGED_YET}")
    return truncate("\n".join(lines), UNMET_CAP)


def render_report(execution: Execution, requirements: Requirements, findings: Sequence[Finding]) -> str:
    """Counts, where the environment stands, and what is unmet: at most `REPORT_CAP` characters."""
    states = Counter(observation.status for observation in execution.observations)
    parts = [f"{states['ok']} of {len(execution.observations)} steps ran"]
    parts += [f"{states[name]} {name}" for name in ("error", "blocked", "withheld") if states[name]]
    lines = [", ".join(parts) + "."]
    if execution.state:
        lines.append(truncate(execution.state, STATE_CAP))
    if requirements.items:
        holding = sum(1 for finding in findings if finding.holds)
        lines.append(f"{holding} of {len(requirements.items)} requirements hold.")
    text = render_unmet(requirements, findings)
    return truncate("\n".join([*lines, text]).strip(), REPORT_CAP)


def render_gradient(gradient: Gradient, told: str = "") -> str:
    """The gradient in a few lines, each of them capped, and all together; a correction that was `told` is left out."""
    correction = gradient.correction.rstrip(".")
    if correction and correction[1:] in told:
        gradient = gradient.model_copy(update={"correction": ""})
    lines = gradient.to_text().splitlines()
    return truncate("\n".join(truncate(line, BLAME_CAP // 3) for line in lines), BLAME_CAP)


def render_observations(execution: Execution, cap: int = OBSERVATIONS_CAP) -> str:
    """The results themselves and the final state, the longest cut to fit, for composing an answer or judging one."""
    pairs = [
        (step, observation)
        for step, observation in zip(execution.trajectory.steps, execution.observations, strict=True)
        if not step.is_submit
    ]
    calls = [
        f"{step.id} {step.tool} {truncate(compact_json(o.args), RESULT_CAP) if o.args else ''}".rstrip()
        for step, o in pairs
    ]
    values = [(o.value if isinstance(o.value, str) else compact_json(o.value)) if o.ok else o.status for _, o in pairs]
    level = max(3 * SUFFIX_ROOM, fair_cap([*map(len, values)], cap - sum(len(call) + 5 for call in calls)))
    lines = [f"{call} -> {truncate(value, level)}" for call, value in zip(calls, values, strict=True)]
    return "\n".join([*lines, f"State: {truncate(execution.state, STATE_CAP)}"] if execution.state else lines)
