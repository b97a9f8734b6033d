"""The offline model: programs and tests run with no key and no network, on a simulator that says so."""

from pivot_dspy.offline.engine import AsyncOfflineEngine, OfflineEngine, is_simulated, offline_lm
from pivot_dspy.offline.noise import Rates
from pivot_dspy.offline.reference import Reference

__all__ = ["AsyncOfflineEngine", "OfflineEngine", "Rates", "Reference", "is_simulated", "offline_lm"]
