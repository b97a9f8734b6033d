"""Writes a whole trajectory again, from its critique and the versions before it; no step is kept by reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import STEP_FORM, Phase, RunView, ask
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.prompts.catalogue import TOOLS_ARE
from pivot_dspy.trajectory import Trajectory


class RewriteWhole(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""A planned trajectory of tool calls was run in a safe copy of the environment and criticised. Write \
it again, better.

`earlier_versions` shows what was tried before, each version with its critique. `open_steps` is the present version, \
each step with what came of it. {STEP_FORM}
An id that stands in a result or in `report` may be written as it is. `steps` is the whole new version, from the first \
call up to submit."""

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    earlier_versions: str = dspy.InputField(desc="oldest first")
    open_steps: str = dspy.InputField(desc="one a line: step -> what came of it")
    report: str = dspy.InputField()
    critique: str = dspy.InputField()
    steps: list[Any] = dspy.OutputField()


class Rewrite(Phase):
    """The refine step of Self-Refine (arXiv 2303.17651).

    Called with the `view` of a run, its `faults` and `earlier_versions` (a text of `version` for each); returns a
    Prediction with `trajectory`.
    """

    asks = RewriteWhole
    task_after = "known"

    def run(
        self,
        *,
        view: RunView,
        faults: Sequence[str],
        earlier_versions: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        written = yield from ask(
            self.predict,
            config,
            **self.prompt(
                view.inputs,
                tools=view.catalogue.tools_brief,
                policy=view.catalogue.policy,
                known=view.catalogue.known,
                earlier_versions="\n\n".join(earlier_versions),
                open_steps=view.steps() or "none",
                report=view.report(),
                critique=_bullets(faults),
            ),
        )
        steps = tuple(read_steps(written.steps))
        parent = view.execution.trajectory.id
        return dspy.Prediction(trajectory=Trajectory(steps=steps, parent=parent, operator="rewrite"))


def version(number: int, view: RunView, faults: Sequence[str]) -> str:
    """One version and its critique, as later prompts show them."""
    return f"Version {number}:\n{view.steps()}\nCritique:\n{_bullets(faults)}"


def _bullets(faults: Sequence[str]) -> str:
    return "\n".join(f"- {fault}" for fault in faults)
