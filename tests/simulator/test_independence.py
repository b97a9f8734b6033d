"""The simulator and what it tests know nothing of each other but plain records and the report's words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pivot_dspy

PACKAGE = Path(pivot_dspy.__file__).parent
SIMULATOR = PACKAGE / "simulator"
ALLOWED = {
    "pivot_dspy.bindings",
    "pivot_dspy.dspy_internals",
    "pivot_dspy.errors",
    "pivot_dspy.prompts.report",
    "pivot_dspy.trajectory",
}


def imported(file: Path) -> Iterator[str]:
    """The names that a file imports, wherever it does; of `from x import y` both `x` and `x.y`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def test_the_simulator_imports_plain_records_and_the_words_of_the_report_alone() -> None:
    others = {
        (file.name, name)
        for file in SIMULATOR.rglob("*.py")
        for name in imported(file)
        if is_within(name, "pivot_dspy") and not any(is_within(name, m) for m in {*ALLOWED, "pivot_dspy.simulator"})
    }
    assert not others


def test_nothing_of_the_package_imports_the_simulator() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if SIMULATOR not in file.parents]
    assert len(files) > 50
    assert not [file for file in files for name in imported(file) if is_within(name, "pivot_dspy.simulator")]
