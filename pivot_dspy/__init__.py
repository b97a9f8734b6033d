"""PIVOT for DSPy: plan, inspect, evolve and verify an agent's trajectory before it becomes real."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pivot_dspy.acceptance import Acceptance, NonDecreasing, StrictImprovement, WithMargin
from pivot_dspy.budget import Budget, BudgetExhausted, Ledger, LedgerReport, Usage
from pivot_dspy.calibration.calibration import Calibration
from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.environment.mcp.build import from_mcp
from pivot_dspy.environment.ownership import real_instance_lock
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.events import Event
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import (
    CommitError,
    ConfigurationError,
    EnvironmentFailed,
    IsolationError,
    OutcomeUnknown,
    PivotError,
    PlanningFailed,
    ToolError,
    TooManyErrors,
    TrajectoryError,
)
from pivot_dspy.gradient import Gradient, Suspect
from pivot_dspy.loss import Loss, Weights
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.memory.records import Demonstration, Entries, Lesson, ToolNote
from pivot_dspy.metric import trajectory_metric
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.pivot import Pivot
from pivot_dspy.requirements import Amendment, Finding, Requirement, Requirements
from pivot_dspy.trajectory import Discrepancy, Execution, Observation, Step, Trajectory
from pivot_dspy.verdict import Established, PendingCall, Verdict

if TYPE_CHECKING:
    from pivot_dspy.environments.http.build import from_openapi
    from pivot_dspy.optimizer.optimizer import PivotOptimizer
    from pivot_dspy.parallel.refine_many import FailedTask, RefinedMany, refine_many
    from pivot_dspy.refiners.best_of_n import BestOfN
    from pivot_dspy.refiners.code_acting import CodeActing
    from pivot_dspy.refiners.confidence_gate import ConfidenceGate
    from pivot_dspy.refiners.dspy_refine import DspyRefine
    from pivot_dspy.refiners.majority_of_n import MajorityOfN
    from pivot_dspy.refiners.plan_execute import PlanExecute
    from pivot_dspy.refiners.react import ReAct
    from pivot_dspy.refiners.reflexion import Reflexion
    from pivot_dspy.refiners.reward_rising import RewardRising
    from pivot_dspy.refiners.self_evolution import SelfEvolution
    from pivot_dspy.refiners.self_refine import SelfRefine
    from pivot_dspy.refiners.tree_search import TreeSearch
    from pivot_dspy.synthesis.synthesize import synthesize

__version__ = "0.1.0"

__all__ = [
    "Acceptance",
    "Amendment",
    "BestOfN",
    "Budget",
    "BudgetExhausted",
    "Calibration",
    "Candidate",
    "CheckResult",
    "CodeActing",
    "CommitError",
    "ConfidenceGate",
    "ConfigurationError",
    "Demonstration",
    "Discrepancy",
    "DspyRefine",
    "Entries",
    "Environment",
    "EnvironmentFailed",
    "Episode",
    "Established",
    "Event",
    "Execution",
    "FailedTask",
    "Finding",
    "Fix",
    "Gradient",
    "IsolationError",
    "Ledger",
    "LedgerReport",
    "Lesson",
    "Loss",
    "MajorityOfN",
    "NonDecreasing",
    "Observation",
    "ObservationBudget",
    "OutcomeUnknown",
    "PendingCall",
    "Pivot",
    "PivotError",
    "PivotOptimizer",
    "PlanExecute",
    "PlanningFailed",
    "ReAct",
    "Refined",
    "RefinedMany",
    "Refiner",
    "Reflexion",
    "Requirement",
    "Requirements",
    "RewardRising",
    "SelfEvolution",
    "SelfRefine",
    "Step",
    "StrictImprovement",
    "Suspect",
    "TooManyErrors",
    "ToolError",
    "ToolNote",
    "Trajectory",
    "TrajectoryError",
    "TrajectoryMemory",
    "TreeSearch",
    "Usage",
    "Verdict",
    "Weights",
    "WithMargin",
    "check",
    "from_functions",
    "from_mcp",
    "from_openapi",
    "real_instance_lock",
    "refine_many",
    "synthesize",
    "tool",
    "trajectory_metric",
]


_LATER = {
    "BestOfN": "refiners.best_of_n",
    "ConfidenceGate": "refiners.confidence_gate",
    "DspyRefine": "refiners.dspy_refine",
    "FailedTask": "parallel.refine_many",
    "MajorityOfN": "refiners.majority_of_n",
    "PivotOptimizer": "optimizer.optimizer",
    "PlanExecute": "refiners.plan_execute",
    "CodeActing": "refiners.code_acting",
    "ReAct": "refiners.react",
    "RefinedMany": "parallel.refine_many",
    "Reflexion": "refiners.reflexion",
    "RewardRising": "refiners.reward_rising",
    "SelfEvolution": "refiners.self_evolution",
    "SelfRefine": "refiners.self_refine",
    "refine_many": "parallel.refine_many",
    "from_openapi": "environments.http.build",
    "synthesize": "synthesis.synthesize",
    "TreeSearch": "refiners.tree_search",
}
"""Names that are imported when they are first asked for, with their modules: a program that runs nothing but Pivot need
not load its rivals and the optimizer."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
