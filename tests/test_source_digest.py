"""What tells two metrics, requirements or environments apart when a compilation goes on."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

import pytest

from pivot_dspy import Environment, NonDecreasing, Pivot, Requirement, StrictImprovement, WithMargin, tool
from pivot_dspy.optimizer.program_fingerprint import program_fingerprint
from pivot_dspy.source_digest import source_digest


def scaled(factor: float) -> Any:
    return lambda gold, pred: factor * len(pred)


class Rated:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, gold: Any, pred: Any) -> float:
        return self.weight

    def method(self, gold: Any, pred: Any) -> float:
        return 2 * self.weight


def by_default(gold: Any, pred: Any, exact: bool = True) -> float:
    return float(exact)


class Halved(Rated):
    def __call__(self, gold: Any, pred: Any) -> float:
        return self.weight / 2


DIFFERENT = {
    "closure": (scaled(1.0), scaled(2.0)),
    "attribute": (Rated(1.0), Rated(2.0)),
    "class": (Rated(1.0), Halved(1.0)),
    "method": (Rated(1.0).method, Rated(1.0)),
    "partial": (functools.partial(by_default, exact=True), functools.partial(by_default, exact=False)),
    "constant": (lambda gold, pred: 1.0, lambda gold, pred: 0.0),
    "set": (lambda gold, pred: pred in {"a", "b"}, lambda gold, pred: pred in {"a", "c"}),
    "called": (lambda gold, pred: pred.upper(), lambda gold, pred: pred.lower()),
    "acceptance": (StrictImprovement(), NonDecreasing()),
    "margin": (WithMargin(0.1), WithMargin(0.2)),
    "requirement": (Requirement(id="R", text="one"), Requirement(id="R", text="two")),
    "test": (Requirement(id="R", test=lambda run: True), Requirement(id="R", test=lambda run: False)),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_does_something_else_has_another_digest(kind: str) -> None:
    first, second = map(source_digest, DIFFERENT[kind])
    assert first != second and first == source_digest(DIFFERENT[kind][0])


def made(source: str) -> Any:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(source, names)
    return names["metric"]


def test_helpers_count_and_comments_and_lines_do_not() -> None:
    source = "def helper(x):\n    return x + 1\n\ndef metric(gold, pred):\n    return helper(pred)\n"
    moved = "# a remark\n\n" + source.replace("return helper", "# why\n    return helper")
    assert source_digest(made(source)) == source_digest(made(moved))
    assert source_digest(made(source)) != source_digest(made(source.replace("+ 1", "+ 2")))


def test_what_a_metric_counts_or_keeps_while_it_is_used_makes_no_other_of_it() -> None:
    def counting() -> Any:
        calls: list[Any] = []
        return lambda gold, pred: calls.append(pred) or 1.0

    metric = counting()
    before = source_digest(metric)
    metric(1, 2)
    assert source_digest(metric) == before


def test_functions_that_call_each_other_and_themselves_end() -> None:
    source = "def other(x):\n    return metric(x, x)\n\ndef metric(gold, pred):\n    return other(1) or metric(1, 2)\n"
    assert source_digest(made(source)) == source_digest(made(source))


def test_it_is_the_same_in_another_process() -> None:
    code = (
        "from pivot_dspy.source_digest import source_digest\n"
        "words = {'a', 'b', 'c', 'd'}\n"
        "print(source_digest(lambda gold, pred, known=words: pred in {'x', 'y', 'z'} and pred in known))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def read(item: str) -> int:
    """Units in stock."""
    return 3


def other(item: str) -> int:
    """Units in stock."""
    return 4


other.__name__ = "read"


class Shop(Environment):
    @tool(effect="read")
    def count(self) -> int:
        """All that is there."""
        return 1


class Changed(Shop):
    @tool(effect="read")
    def count(self) -> int:
        """All that is there."""
        return 2


Changed.__name__ = "Shop"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"tools": [read], "effects": "read"}, {"tools": [other], "effects": "read"}),
        ({"environment": Shop}, {"environment": Changed}),
        ({"environment": Shop}, {"environment": Shop, "requirements": ["Be polite."]}),
        ({"environment": Shop}, {"environment": Shop, "acceptance": StrictImprovement()}),
    ],
)
def test_a_program_of_other_code_or_rules_is_another(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, two = (program_fingerprint(Pivot("q -> answer", **options)) for options in (first, second))
    assert one != two and one == program_fingerprint(Pivot("q -> answer", **first))
