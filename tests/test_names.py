"""One class name stands for one thing."""

import ast
from collections import defaultdict
from pathlib import Path

import pivot_dspy


def test_no_two_classes_of_the_package_share_a_name() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    root = Path(pivot_dspy.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(str(file.relative_to(root)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
