"""A trajectory that was run and measured."""

from __future__ import annotations

from typing import Any

from pivot_dspy.execution import ExecutedRun
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.phases.verify import Judgement
from pivot_dspy.trajectory import Trajectory


class Candidate:
    """An inspected trajectory with the run it came from."""

    def __init__(self, run: ExecutedRun, inspection: Inspection, judgement: Judgement | None = None) -> None:
        self.run = run
        self.inspection = inspection
        self.judgement = judgement

    @property
    def trajectory(self) -> Trajectory:
        return self.inspection.trajectory

    @property
    def loss(self) -> Any:
        return self.inspection.loss
