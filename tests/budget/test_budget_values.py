"""Budgets, usage, reports, limits, and calls of tools."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy.budget import OUTSIDE, Budget, BudgetExhausted, Ledger, LedgerReport, Usage, _tokens
from pivot_dspy.errors import ConfigurationError, PivotError

# ---- budget, usage, report ------------------------------------------------------------------------------------------

LIMITS = ("lm_calls", "tokens", "cost", "tool_calls", "seconds")
counts = st.integers(0, 10**6)
usages = st.builds(Usage, **dict.fromkeys(Usage.model_fields, counts))


@given(st.sampled_from(LIMITS), st.integers(max_value=0))
def test_a_limit_must_be_above_zero(name: str, limit: int) -> None:
    with pytest.raises(ValueError, match="finite number above 0; leave it out"):
        Budget(**{name: limit})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_limit_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Budget(cost=bad)


def test_a_misspelled_limit_is_refused_and_a_budget_is_frozen() -> None:
    with pytest.raises(ValueError, match="lm_call"):
        Budget(lm_call=3)
    with pytest.raises(ValidationError):
        Budget(lm_calls=3).lm_calls = 4


@given(usages, usages, usages)
def test_usage_adds_up(a: Usage, b: Usage, c: Usage) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a
    assert (a + b).total_tokens == a.total_tokens + b.total_tokens


@given(st.dictionaries(st.text(min_size=1), usages), st.floats(0, 1e9))
def test_a_report_goes_to_json_and_back(phases: dict[str, Usage], seconds: float) -> None:
    report = LedgerReport(phases=phases, seconds=seconds)
    assert LedgerReport.model_validate_json(report.model_dump_json()) == report
    assert report.usage == sum(phases.values(), Usage())


@pytest.mark.parametrize(("prompt", "completion"), [("prompt", "completion"), ("input", "output")])
@pytest.mark.parametrize("wrap", [dict, SimpleNamespace])
def test_tokens_are_read_in_every_naming(prompt: str, completion: str, wrap: Callable[..., Any]) -> None:
    entry = {
        f"{prompt}_tokens": 10,
        f"{completion}_tokens": 5,
        f"{prompt}_tokens_details": wrap(cached_tokens=4),
        f"{completion}_tokens_details": wrap(reasoning_tokens=2),
    }
    expected = Usage(prompt_tokens=10, completion_tokens=5, cached_prompt_tokens=4, reasoning_tokens=2)
    assert _tokens(entry) == expected


odd = st.none() | st.floats() | st.integers(max_value=0) | st.text() | st.dictionaries(st.text(), st.none())


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "output_tokens", "prompt_tokens_details"]), odd))
def test_odd_usage_never_raises(entry: dict[str, Any]) -> None:
    assert _tokens(entry).total_tokens >= 0


# ---- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_named_with_its_numbers(name: str) -> None:
    used = Usage(lm_calls=3, prompt_tokens=2, completion_tokens=1, cost=3.0, tool_calls=3, tool_calls_reused=9)
    ledger = Ledger(LedgerReport(phases={"plan": used}, seconds=3.0))
    assert ledger.spent(Budget()) is None
    assert ledger.spent(Budget(**{name: 5})) is None
    ledger.check(Budget(**{name: 5}))
    spent = ledger.spent(Budget(**{name: 3}))
    assert spent is not None and spent.startswith(f"{name}: 3") and spent.endswith("of 3")
    with pytest.raises(BudgetExhausted, match=re.escape(name)) as caught:
        ledger.check(Budget(**{name: 2}))
    assert caught.value.limit == name
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, PivotError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.limit == name and str(again) == str(caught.value)


def test_time_passes_and_a_resumed_ledger_goes_on() -> None:
    first = Ledger()
    first.tool_call()
    resumed = Ledger(LedgerReport(phases=first.by_phase, seconds=100.0))
    resumed.tool_call()
    assert 0 <= first.elapsed < 100 <= resumed.elapsed < 200
    assert resumed.usage.tool_calls == 2 and first.usage.tool_calls == 1
    assert resumed.spent(Budget(seconds=50)) == "seconds: 100 of 50"


def test_a_phase_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="name"), Ledger().phase(""):
        pass


# ---- tool calls -----------------------------------------------------------------------------------------------------


def test_tool_calls_go_to_the_innermost_phase_of_their_ledger() -> None:
    outer, inner = Ledger(), Ledger()
    with outer.phase("inspect"):
        outer.tool_call()
        with inner.phase("plan"):
            outer.tool_call(reused=True)
            inner.tool_call()
    outer.tool_call()
    assert outer.by_phase == {"inspect": Usage(tool_calls=1, tool_calls_reused=1), OUTSIDE: Usage(tool_calls=1)}
    assert inner.by_phase == {"plan": Usage(tool_calls=1)}


def test_tool_calls_are_counted_under_threads() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.tool_call(reused=i % 2 == 0), range(2000)))
    assert ledger.usage == Usage(tool_calls=1000, tool_calls_reused=1000)
