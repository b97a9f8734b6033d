"""What a model is shown of an execution: one line a step, what is unmet and why, never the observations themselves.

The words that others look for in a report are declared here, with functions that read them back; nothing else spells
them out. Lengths are capped in characters; a token is about four of them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pivot_dspy.environment.base import READ_ONLY, Environment, allowing
from pivot_dspy.gradient import Gradient
from pivot_dspy.prompts.truncation import FENCE as FENCE
from pivot_dspy.prompts.truncation import fair_cap, truncate
from pivot_dspy.requirements import BINDING_ORIGINS, Finding, Requirement, Requirements
from pivot_dspy.trajectory import Execution

logger = logging.getLogger(__name__)

RESULT_CAP = 200
FAULT_CAP = 700
STATE_CAP = 1200
UNMET_CAP = 3400
BLAME_CAP = 1600
REPORT_CAP = 4800
"""About 1,200 tokens."""

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
HOLDS = "holds"
"""Of a requirement that is met."""

SETTLE_FORM = """\
Once it is read, put into `requirements` {"id": ID, "call": {"args": {...}}, "from": STEP, "quote": "words of that \
result that say so"}, for several calls "call": [{"args": {...}}, ...], or {"id": ID, "void": "why", "from": STEP, \
"quote": "..."} if it is not needed. What is free, such as a wording, stays open."""
"""How an open requirement is settled."""
DELEGATED_FORM = """\
Each thing that such words ask for is {"id": "ID_1", "under": "ID", "text": "...", "call": {"tool": NAME, "args": \
{...}}, "quote": "its words"} in `requirements`."""
"""How what a delegated text asks for becomes a requirement."""

MISREAD_FORM = """\
Such a requirement may be misread: compare it with the request. If it is, put {"id": ID, "check": NAME, "args": {...}, \
"quote": "words of the request that say so"} into `requirements`; if not, it stands."""
"""How a requirement is put right that nothing, or too much, fits."""

READ_TOO_EARLY = "read before what waits for commit has run: it shows nothing"
"""What is said of a result that a call which waits may change."""
UNNAMED = "no requirement names it; quote the words of the request that ask for it"
"""What a judge is told of a call that changes something and that no requirement names."""
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
    """The status of a step behind whose name `render_results` wrote `outcome`."""
    return next((status for status, word in _STATUS_WORDS.items() if outcome.startswith(word)), "ok")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def environment_summary(tool: str, value: Any, environment: Environment) -> str | None:
    """The environment's own account of a result, or None; a warning in the log, if it raises."""
    if type(environment).summarise is Environment.summarise:
        return None
    try:
        with allowing(READ_ONLY):
            summary = environment.summarise(tool, value)
    except Exception as error:
        logger.warning("summarise of %s failed: %s: %s", type(environment).__name__, type(error).__name__, error)
        return None
    return str(summary) if summary else None


def render_unmet(requirements: Requirements, findings: Iterable[Finding]) -> str:
    """The requirements that do not hold, each with its evidence and hint, capped as a whole."""
    violations: list[tuple[str, str, str]] = []
    unjudged: list[str] = []
    for finding in findings:
        if finding.status == "violated":
            requirement = requirements[finding.requirement]
            evidence = "; ".join(filter(None, (finding.evidence, finding.doubt)))
            violations.append((requirement.to_prompt(), _against(evidence), finding.hint))
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
    """Counts, where the environment stands, and how the requirements do: at most `REPORT_CAP` characters."""
    states = Counter(observation.status for observation in execution.observations)
    parts = [f"{states['ok']} of {len(execution.observations)} steps ran"]
    parts += [f"{states[name]} {name}" for name in ("error", "blocked", "withheld") if states[name]]
    lines = [", ".join(parts) + "."]
    if execution.state:
        lines += [f"{FENCE}{line}" for line in truncate(execution.state, STATE_CAP).splitlines()]
    if requirements.items:
        holding = sum(1 for finding in findings if finding.holds)
        lines.append(f"{holding} of {len(requirements.items)} requirements hold.")
    doubts, unmet = render_doubts(requirements, findings), render_unmet(requirements, findings)
    parts = [*lines, unmet, doubts, render_open_requirements(requirements)]
    return truncate("\n".join(part for part in parts if part), REPORT_CAP)


def render_doubts(requirements: Requirements, findings: Iterable[Finding]) -> str:
    """The requirements that hold, and that several things fit equally well, and how one that is misread is put right;
    empty where there is no sign that one is."""
    doubtful = [finding for finding in findings if finding.doubt]
    lines = [
        f"{_one_line(requirements[finding.requirement].to_prompt())} - {HOLDS}, but {finding.doubt}: "
        f"{_one_line(finding.evidence)}"
        for finding in doubtful
        if finding.holds
    ]
    level = fair_cap([*map(len, lines)], UNMET_CAP)
    return "\n".join([*(truncate(line, level) for line in lines), MISREAD_FORM]) if doubtful else ""


def render_pinned(steps: Sequence[str]) -> str:
    """Which steps a person has fixed; empty where none are."""
    stays = "stays as it is" if len(steps) == 1 else "stay as they are"
    return f"{', '.join(steps)}: fixed by the user, and {stays}." if steps else ""


def render_open_requirements(requirements: Requirements) -> str:
    """What the settled requirements still leave open, and how that is settled; empty where nothing is open."""
    opened = [
        f"{item.id} leaves open {', '.join(item.call.unsettled)} of {item.call.tool}."
        for item in requirements.items
        if item.call is not None and item.call.unsettled and item.origin not in BINDING_ORIGINS
    ]
    delegating = [
        f"{item.id} delegates to {item.delegates}."
        for item in requirements.items
        if item.delegates is not None and all(other.under != item.id for other in requirements.items)
    ]
    forms = [(opened, SETTLE_FORM), (delegating, DELEGATED_FORM)]
    return "\n".join(f"{' '.join(lines)} {form}" for lines, form in forms if lines)


def without_forms(report: str, told: str) -> str:
    """`report` without how requirements are settled, where that stands in what was `told`."""
    for form in (SETTLE_FORM, DELEGATED_FORM, MISREAD_FORM):
        if form in told:
            report = report.replace(f" {form}", "").replace(f"\n{form}", "")
    return report


def render_questions(questions: Iterable[tuple[str, str]]) -> str:
    """The ids of what a judge is asked about: a line for those without a note, then one for each note.

    >>> render_questions([("R1", ""), ("e", UNNAMED), ("S1", ""), ("g", UNNAMED)]).splitlines()
    ['R1, S1', 'e, g: no requirement names it; quote the words of the request that ask for it']
    """
    by_note: dict[str, list[str]] = {"": []}
    for name, note in questions:
        by_note.setdefault(_one_line(note), []).append(name)
    return "\n".join(", ".join(names) + (f": {note}" if note else "") for note, names in by_note.items() if names)


def questions_in(text: str) -> list[tuple[str, str]]:
    """What `render_questions` was given, in the order of its lines."""
    parted = (line.partition(": ") for line in text.splitlines())
    return [(name, note) for names, _, note in parted for name in names.split(", ")]


def render_requirements(requirements: Sequence[Requirement], findings: Iterable[Finding]) -> str:
    """Each requirement in a line, with how it stands: at most `REPORT_CAP` characters."""
    standing = {finding.requirement: finding for finding in findings}
    texts = [_one_line(item.to_prompt()) for item in requirements]
    words = [_standing(standing.get(item.id)) for item in requirements]
    level = fair_cap([*map(len, texts), *map(len, words)], REPORT_CAP - 4 * len(texts))
    pairs = zip(texts, words, strict=True)
    return truncate("\n".join(f"{truncate(text, level)} - {truncate(word, level)}" for text, word in pairs), REPORT_CAP)


def _standing(finding: Finding | None) -> str:
    if finding is None or finding.status == "unjudged":
        return NOT_JUDGED_YET
    return HOLDS if finding.holds else truncate(_one_line(_against(finding.evidence)), FAULT_CAP)


def render_gradient(gradient: Gradient, told: str = "") -> str:
    """The gradient in a few lines, each of them capped, and all together; a correction that was `told` is left out."""
    correction = gradient.correction.rstrip(".")
    if correction and correction[1:] in told:
        gradient = gradient.model_copy(update={"correction": ""})
    lines = gradient.to_text().splitlines()
    return truncate("\n".join(truncate(line, BLAME_CAP // 3) for line in lines), BLAME_CAP)
