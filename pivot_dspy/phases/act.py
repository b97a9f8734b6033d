"""ACT: the next step of a trajectory, from the steps so far and what came of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import STEP_FORM, Phase, RunView, ask
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.prompts.catalogue import TOOLS_ARE
from pivot_dspy.trajectory import Step


class NextStep(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Carry out the task by tool calls, one at a time: write the next one.

`steps_so_far` have run in a safe copy of the environment; each is shown with what came of it. `report` says where \
things stand and what is not met yet, `holding` what is met and must stay so. {STEP_FORM}
Bind every id or value that only a tool can tell; one that stands in a result or in `report` may be written as it is. \
What an earlier step did wrong is mended by a further step. The last step is {{"id": "submit", "tool": "submit", \
"args": {{...}}}} with the answer's fields; leave a field out if it has to be worded from the results.

First say in `thought`, in one sentence, what has to come next; then write `step`: one step, with an id not yet \
used."""

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    lessons: str = dspy.InputField(desc="from earlier attempts")
    steps_so_far: str = dspy.InputField(desc="one a line: step -> what came of it")
    holding: str = dspy.InputField(desc="requirements that are met so far")
    report: str = dspy.InputField()
    siblings: str = dspy.InputField(desc="next steps that were tried here and brought nothing; write another one")
    thought: str = dspy.OutputField()
    step: dict[str, Any] = dspy.OutputField()


class Act(Phase):
    """Proposes the next step; the acting of ReAct and LATS (arXiv 2310.04406), with bindings instead of copied values.

    Called with `view` (of the steps so far) and optionally `lessons` and `siblings` (what was shown of runs that end
    with next steps tried in vain); returns a Prediction with `trajectory`, the steps so far and the new one, whose
    `why` is the model's thought.
    """

    asks = NextStep
    task_after = "known"

    def run(
        self,
        *,
        view: RunView,
        lessons: str = "",
        siblings: Sequence[RunView] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        prefix = view.execution.trajectory
        met = {finding.requirement for finding in view.findings if finding.status not in ("violated", "unjudged")}
        written = yield from ask(
            self.predict,
            config,
            **self.prompt(
                view.inputs,
                tools=view.catalogue.tools_brief,
                policy=view.catalogue.policy,
                known=view.catalogue.known,
                lessons=lessons,
                steps_so_far=view.steps() or "none yet",
                holding="\n".join(item.to_prompt() for item in view.requirements.items if item.id in met),
                report=view.report(),
                siblings="\n".join(tried.steps(len(prefix)) for tried in siblings),
            ),
        )
        step = _one(written.step, prefix.ids, str(written.thought or "").strip())
        return dspy.Prediction(trajectory=prefix.replace_from(len(prefix), [step], operator="extend"))


def _one(written: Mapping[str, Any], taken: tuple[str, ...], thought: str) -> Step:
    # Nothing is offered for keeping or looking at: what stands, stands.
    written = {name: value for name, value in written.items() if name not in ("keep", "look")}
    step = read_steps([written], taken=taken)[0]
    return step if step.why or not thought else Step(**{**step.model_dump(), "why": thought})
