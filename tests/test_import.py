"""What `import pivot_dspy` loads, what the package imports at all, and that it leaves DSPy's insides alone."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dspy
import pytest

import pivot_dspy

OWN = {"pivot_dspy", "jmespath"}
LATER = ("environment.mcp", "learning", "messages", "optimizer", "parallel", "report", "simulator", "synthesis")
"""Parts of the package that a program with a Pivot and tools of its own does not load."""

CODE = """
import json, sys, time

def loading(statement):
    before, start = set(sys.modules), time.process_time()
    exec(statement)
    return {"modules": sorted(set(sys.modules) - before), "seconds": time.process_time() - start}

print(json.dumps([
    loading(line)
    for line in ("import dspy", "import pivot_dspy", "from pivot_dspy import Environment, Pivot, check, tool")
]))
"""


@pytest.fixture(scope="module")
def loaded() -> list[dict[str, Any]]:
    """What each line of `CODE` loads, and the CPU seconds that it takes."""
    root = Path(pivot_dspy.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=True)
    assert not ran.stderr
    return json.loads(ran.stdout)


def foreign(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def test_the_import_loads_no_more_than_the_list_of_names(loaded: list[dict[str, Any]]) -> None:
    dspys, bare, _ = loaded
    assert "dspy" in dspys["modules"]
    assert [name for name in bare["modules"] if name.startswith("pivot_dspy")] == ["pivot_dspy"]
    assert foreign(bare["modules"]) == {"pivot_dspy"}
    assert bare["seconds"] < dspys["seconds"] / 4  # 0.01 of it; the margin is for loaded machines


def test_a_refiner_and_an_environment_add_nothing_heavy_to_dspy(loaded: list[dict[str, Any]]) -> None:
    dspys, _, used = loaded
    assert "pivot_dspy.refiners.pivot" in used["modules"]
    assert foreign(used["modules"]) == OWN
    assert not {name for name in used["modules"] if name.removeprefix("pivot_dspy.").startswith(LATER)}
    assert used["seconds"] < 2 * dspys["seconds"]  # 0.3 of it; 0.7 where Python keeps no bytecode


def test_every_public_name_is_there() -> None:
    assert all(getattr(pivot_dspy, name) is not None for name in pivot_dspy.__all__)
    assert list(pivot_dspy.__all__) == sorted(pivot_dspy.__all__)
    assert set(pivot_dspy.__all__) <= set(dir(pivot_dspy))
    assert (Path(pivot_dspy.__file__).parent / "py.typed").is_file()


def test_type_checkers_and_programs_find_each_name_in_the_same_module() -> None:
    tree = ast.parse(Path(pivot_dspy.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for block in tree.body if isinstance(block, ast.If)
        for node in block.body if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    assert typed == {name: f"pivot_dspy.{module}" for name, module in pivot_dspy._MODULE_OF.items()}
    assert set(typed) == set(pivot_dspy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Pivo'"):
        getattr(pivot_dspy, "Piv" + "o")


PACKAGE = Path(pivot_dspy.__file__).parent
INTERNALS = "dspy_internals.py"
DOCUMENTED = ("dspy.lm15", "dspy.teleprompt")
"""Modules of DSPy's, beside itself, that it documents for those who write an engine or an optimizer."""

DISTRIBUTIONS = {"yaml": "pyyaml", "sklearn": "scikit-learn", "pydantic-core": "pydantic"}
"""Where what is imported has another name than what is installed, or comes with it in one exact version."""


@cache
def parsed() -> dict[str, ast.Module]:
    """The files of the package by their path in it."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_only_one_module_imports_from_inside_of_dspy() -> None:
    strangers = {
        (file, name)
        for file, tree in parsed().items()
        for name in imported(tree)
        if file != INTERNALS and name.startswith("dspy.") and name not in DOCUMENTED
    }
    assert not strangers


def test_no_private_name_of_dspy_is_used_but_in_one_module() -> None:
    objects = (
        dspy, dspy.Predict("a -> b"), dspy.Module(), dspy.LM("openai/x"), dspy.settings, dspy.ChatAdapter(),
        dspy.Tool(len), dspy.Example(), dspy.Prediction(), dspy.Signature, dspy.Evaluate, dspy.cache, dspy.ReAct,
    )  # fmt: skip
    private = {name for item in objects for name in dir(item) if re.match(r"_[a-z]", name)}
    assert "_compiled" in private
    ours = {name.removesuffix(".py") for file in parsed() for name in Path(file).parts}
    strangers = {
        (file, node.attr)
        for file, tree in parsed().items()
        for node in ast.walk(tree)
        if file != INTERNALS and isinstance(node, ast.Attribute) and node.attr in private
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", *ours})
    }  # fmt: skip
    assert not strangers


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}

    core, extras = names(project["dependencies"]), project["optional-dependencies"]
    of_users = names([item for extra, items in extras.items() if extra not in ("test", "dev") for item in items])
    found = {name.partition(".")[0].lower().replace("_", "-") for tree in parsed().values() for name in imported(tree)}
    standard = {name.lower().replace("_", "-") for name in sys.stdlib_module_names}
    needed = {DISTRIBUTIONS.get(name, name) for name in found - standard - {"pivot-dspy"}}
    assert needed <= core | of_users
    assert core <= needed
    assert "dspy>=3.4,<3.5" in project["dependencies"]
