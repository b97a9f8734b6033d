"""A trajectory that was run and measured."""

from __future__ import annotations

from dataclasses import dataclass

from pivot_dspy.execution import ExecutedRun
from pivot_dspy.loss import Loss
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.phases.judge import Judgement
from pivot_dspy.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Candidate:
    """An inspected trajectory with the run it came from."""

    run: ExecutedRun
    inspection: Inspection
    judgement: Judgement | None = None
    """What a judge said of it, where one was asked."""
    new: tuple[str, ...] = ()
    """Ids of the steps whose results no run before it had."""

    @property
    def trajectory(self) -> Trajectory:
        return self.inspection.trajectory

    @property
    def loss(self) -> Loss:
        return self.inspection.loss

    @property
    def stops_to_read(self) -> bool:
        """Whether it stops before the answer, with something new to go on from."""
        return self.trajectory.submit is None and bool(self.new)

    def extends(self, other: Candidate) -> bool:
        """Whether it goes on after all steps of the other."""
        length = len(other.trajectory)
        return len(self.trajectory) > length == self.trajectory.common_prefix(other.trajectory)
