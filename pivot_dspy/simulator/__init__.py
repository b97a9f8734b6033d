"""The offline model: programs and tests run with no key and no network, on a simulator that says so."""

from pivot_dspy.simulator.engine import AsyncOfflineEngine, OfflineEngine, is_simulated, offline_lm
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Rates

__all__ = ["AsyncOfflineEngine", "OfflineEngine", "Rates", "Reference", "is_simulated", "offline_lm"]
