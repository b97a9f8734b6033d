"""What fits a requirement, as a read that steps can be bound to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pivot_dspy.environment.base import CheckMark, CheckResult
from pivot_dspy.environment.toolbox import ToolSpec


def lookup(check: ToolSpec, mark: object) -> list[ToolSpec]:
    """The read of all that fits `check`, best first, where its `mark` says that it tells this; else nothing."""
    if not isinstance(mark, CheckMark) or mark.fits is None:
        return []

    def invoke(environment: Any, /, **args: Any) -> Any:
        fits = CheckResult.of(check.invoke(environment, **args)).fits
        if fits is None:
            raise TypeError(f"the check {check.name} has not told what fits; give its CheckResult `fits`")
        return list(fits)

    kind: Any = mark.fits
    return [replace(check, invoke=invoke, returns=list[kind])]
