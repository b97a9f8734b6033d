"""Criticises a trajectory that was run: everything that is wrong with it, before it is written again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, RunView, ask
from pivot_dspy.prompts.catalogue import TOOLS_ARE


class CritiqueTrajectory(dspy.Signature):  # type: ignore[misc]
    """A planned trajectory of tool calls was run in a safe copy of the environment. Criticise it.

    `faults` has one entry, a sentence or two, for each thing that is wrong or missing: the step by its id, what is
    wrong with it, and what to change. Empty if nothing has to change.
    """

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    open_steps: str = dspy.InputField(desc="one a line: step -> what came of it")
    report: str = dspy.InputField()
    faults: list[str] = dspy.OutputField()


class Critique(Phase):
    """The feedback step of Self-Refine (arXiv 2303.17651).

    Called with the `view` of a run; returns a Prediction with `faults`, a tuple of texts.
    """

    asks = CritiqueTrajectory
    task_after = "known"

    def run(self, *, view: RunView, config: Mapping[str, Any] | None = None) -> Flow[dspy.Prediction]:
        prediction = yield from ask(
            self.predict,
            config,
            **self.prompt(
                view.inputs,
                tools=view.catalogue.tools_brief,
                policy=view.catalogue.policy,
                known=view.catalogue.known,
                open_steps=view.steps() or "none",
                report=view.report(),
            ),
        )
        faults = prediction.faults if isinstance(prediction.faults, list) else [prediction.faults]
        return dspy.Prediction(faults=tuple(text for fault in faults if (text := str(fault or "").strip())))
