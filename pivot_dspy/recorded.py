"""Blame of a run that is known from its log alone: nothing can be run again, no check can be asked.

What is wrong with it is told by its failed calls, by a person's words, or by requirements in words that a judge reads
it for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import dspy

from pivot_dspy.blame import ranking
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.errors import ToolError
from pivot_dspy.gradient import Suspect
from pivot_dspy.phases.judge import JudgeAnswer, Question, QuoteSources, read_answers
from pivot_dspy.plain_json import scalars
from pivot_dspy.requirements import Finding, Requirement, Requirements, normalize_requirements
from pivot_dspy.trajectory import SUBMIT, Execution, Observation

__all__ = ["judge", "suspects", "toolbox_of"]


def toolbox_of(execution: Execution, reads: Collection[str] = ()) -> Toolbox:
    """The tools that a log shows, by name alone; none can be called.

    Args:
        reads: names of those that only read, `*` standing for any letters; what is not among them counts as a write.
    """
    names = dict.fromkeys(step.tool for step in execution.trajectory.steps if step.tool != SUBMIT)
    return Toolbox(_spec(name, any(fnmatchcase(name, pattern) for pattern in reads)) for name in names)


def _spec(name: str, is_read: bool) -> ToolSpec:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ToolError(f"{name} is only known from a log, and cannot be called")

    effect: Any = "read" if is_read else "write"
    return ToolSpec(name, "", refuse, parameters={}, required=(), open_ended=True, effect=effect)


def suspects(
    execution: Execution, requirements: Iterable[Requirement | str] = (), *, wrong: Sequence[str] = (),
    reads: Collection[str] = (), task: str = "", known: str = "",
) -> tuple[Suspect, ...]:  # fmt: skip
    """The steps that may have caused what went wrong, likeliest first; empty where nothing did.

    Args:
        execution: what `Execution.from_messages` reads.
        requirements: in words; the configured language model judges, in one call, which of them are met. One that
            names a `call` alone is decided by rule.
        wrong: what a person knows to be wrong with the run, in words. Words in quotes are looked for in the steps.
        reads: names of the tools that only read; the fewer steps may have changed something, the sharper the blame.
        task: what was asked.
        known: what else the agent was told. Without both, values that stand nowhere in the log are not suspected.

    Raises:
        ConfigurationError: a requirement says nothing, or has a check, which only an environment can be asked.

    >>> log = [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "buy", "arguments": '{"n": 2}'}}]},
    ...        {"role": "tool", "tool_call_id": "1", "content": "bought"}, {"role": "assistant", "content": "Done."}]
    >>> [first] = suspects(Execution.from_messages(log), wrong=["It should buy 3, not 2."])[:1]
    >>> first.step, first.kind
    ('c1', 'wrong_value')
    """
    toolbox = toolbox_of(execution, reads)
    asked = normalize_requirements(requirements, toolbox)
    told = tuple(Requirement(id=f"W{number}", text=text, origin="person") for number, text in enumerate(wrong, start=1))
    findings = [Finding(requirement=item.id, status="violated", evidence=item.text.rstrip(" .")) for item in told]
    findings += judge(execution, asked, task=task) if asked else []
    return ranking.rank(execution, Requirements(items=(*told, *asked)), findings, toolbox, task=task, known=known)


def judge(execution: Execution, requirements: Sequence[Requirement], *, task: str = "") -> list[Finding]:
    """Which requirements in words a recorded run meets, by one call of the configured language model.

    What the judge finds met counts as met only with a quote that stands in the log; without one it is `unjudged`.
    """
    questions = [Question(item.id, "requirement", item.describe()) for item in requirements]
    steps = [step for step in execution.trajectory.steps if not step.is_submit]
    calls = [f"{step.id}: {step.tool} {_json(execution.by_step[step.id].args or step.args)}" for step in steps]
    results = [_result(execution.by_step[step.id]) for step in steps]
    submitted = _json(execution.outputs)
    answered = dspy.Predict(JudgeAnswer)(
        policy="",
        requirements="\n".join(item.to_prompt() for item in requirements),
        observations="\n".join(f"{call} -> {result}" for call, result in zip(calls, results, strict=True)),
        calls="\n".join(calls),
        submitted=submitted,
        questions="\n".join(item.id for item in requirements),
    )
    shown = [value for step in steps for value in scalars([execution.by_step[step.id].value])]
    sources = QuoteSources((*shown, *results, *calls), (task,), submitted)
    answers = read_answers(answered.verdicts, questions, sources)
    return [_finding(answer.question.id, answer.holds, answer.evidence) for answer in answers]


def _result(observation: Observation) -> str:
    return _json(observation.value) if observation.fault is None else f"failed: {observation.fault.message}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _finding(requirement: str, holds: bool | None, evidence: str) -> Finding:
    status: Any = "unjudged" if holds is None else "holds" if holds else "violated"
    return Finding(requirement=requirement, status=status, evidence=evidence)
