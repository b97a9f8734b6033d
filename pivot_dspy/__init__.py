"""PIVOT for DSPy: plan, inspect, evolve and verify an agent's trajectory before it becomes real."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pivot_dspy.acceptance import Acceptance, NonDecreasing, StrictImprovement, WithMargin
    from pivot_dspy.budget import Budget, BudgetExhausted, Ledger, LedgerReport, Usage
    from pivot_dspy.calibration.calibration import Calibration
    from pivot_dspy.environment.base import CheckResult, Environment, check, tool
    from pivot_dspy.environment.from_functions import from_functions
    from pivot_dspy.environment.mcp.build import from_mcp
    from pivot_dspy.environment.ownership import real_instance_lock
    from pivot_dspy.environments.http.build import from_openapi
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
        ReviewAwaited,
        ToolError,
        TooManyErrors,
        TrajectoryError,
    )
    from pivot_dspy.gradient import Gradient, Suspect
    from pivot_dspy.human.feedback import HumanFeedback
    from pivot_dspy.human.review import Review
    from pivot_dspy.loss import Loss, Weights
    from pivot_dspy.memory.fixes import Fix
    from pivot_dspy.memory.memory import TrajectoryMemory
    from pivot_dspy.memory.records import Demonstration, Entries, Lesson, ToolNote
    from pivot_dspy.metric import trajectory_metric
    from pivot_dspy.optimizer.optimizer import PivotOptimizer
    from pivot_dspy.optimizer.scheduler import CompileProgress
    from pivot_dspy.parallel.refine_many import FailedTask, RefinedMany, refine_many
    from pivot_dspy.prompts.observations import ObservationBudget
    from pivot_dspy.refiners.base import Refiner
    from pivot_dspy.refiners.best_of_n import BestOfN
    from pivot_dspy.refiners.code_acting import CodeActing
    from pivot_dspy.refiners.confidence_gate import ConfidenceGate
    from pivot_dspy.refiners.dspy_refine import DspyRefine
    from pivot_dspy.refiners.majority_of_n import MajorityOfN
    from pivot_dspy.refiners.pivot import Pivot
    from pivot_dspy.refiners.plan_execute import PlanExecute
    from pivot_dspy.refiners.react import ReAct
    from pivot_dspy.refiners.reflexion import Reflexion
    from pivot_dspy.refiners.reward_rising import RewardRising
    from pivot_dspy.refiners.self_evolution import SelfEvolution
    from pivot_dspy.refiners.self_refine import SelfRefine
    from pivot_dspy.refiners.tree_search import TreeSearch
    from pivot_dspy.requirements import Amendment, Finding, Requirement, Requirements
    from pivot_dspy.synthesis.synthesize import synthesize
    from pivot_dspy.trajectory import Discrepancy, Execution, Observation, Step, Trajectory
    from pivot_dspy.verdict import Established, PendingCall, Verdict

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
    "CompileProgress",
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
    "HumanFeedback",
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
    "Review",
    "ReviewAwaited",
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

_MODULES = {
    "acceptance": "Acceptance NonDecreasing StrictImprovement WithMargin",
    "budget": "Budget BudgetExhausted Ledger LedgerReport Usage",
    "calibration.calibration": "Calibration",
    "environment.base": "CheckResult Environment check tool",
    "environment.from_functions": "from_functions",
    "environment.mcp.build": "from_mcp",
    "environment.ownership": "real_instance_lock",
    "environments.http.build": "from_openapi",
    "episode.candidate": "Candidate",
    "episode.episode": "Episode",
    "episode.events": "Event",
    "episode.result": "Refined",
    "errors": "CommitError ConfigurationError EnvironmentFailed IsolationError OutcomeUnknown PivotError "
              "PlanningFailed ReviewAwaited ToolError TooManyErrors TrajectoryError",
    "gradient": "Gradient Suspect",
    "human.feedback": "HumanFeedback",
    "human.review": "Review",
    "loss": "Loss Weights",
    "memory.fixes": "Fix",
    "memory.memory": "TrajectoryMemory",
    "memory.records": "Demonstration Entries Lesson ToolNote",
    "metric": "trajectory_metric",
    "optimizer.optimizer": "PivotOptimizer",
    "optimizer.scheduler": "CompileProgress",
    "parallel.refine_many": "FailedTask RefinedMany refine_many",
    "prompts.observations": "ObservationBudget",
    "refiners.base": "Refiner",
    "refiners.best_of_n": "BestOfN",
    "refiners.code_acting": "CodeActing",
    "refiners.confidence_gate": "ConfidenceGate",
    "refiners.dspy_refine": "DspyRefine",
    "refiners.majority_of_n": "MajorityOfN",
    "refiners.pivot": "Pivot",
    "refiners.plan_execute": "PlanExecute",
    "refiners.react": "ReAct",
    "refiners.reflexion": "Reflexion",
    "refiners.reward_rising": "RewardRising",
    "refiners.self_evolution": "SelfEvolution",
    "refiners.self_refine": "SelfRefine",
    "refiners.tree_search": "TreeSearch",
    "requirements": "Amendment Finding Requirement Requirements",
    "synthesis.synthesize": "synthesize",
    "trajectory": "Discrepancy Execution Observation Step Trajectory",
    "verdict": "Established PendingCall Verdict",
}
"""The names of each module. They are imported when they are first asked for (PEP 562): a program pays for what it uses,
and one that reads logs or writes a metric loads neither refiners nor the optimizer."""

_ROOMS = ("human", "recorded")
"""Modules whose names are asked for there, as in `pivot_dspy.human.Approve`."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_ROOMS})
