"""What `import pivot_dspy` loads, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pivot_dspy

HEAVY = (
    "bm25s", "datasets", "huggingface_hub", "jsonschema", "litellm", "mcp", "numpy", "pandas", "rank_bm25", "rich",
    "scipy", "torch", "transformers",
)  # fmt: skip
OWN = {"pivot_dspy", "jmespath"}
CODE = """
import json, sys
import dspy
before = set(sys.modules)
import pivot_dspy
print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))
"""


def test_the_import_adds_nothing_heavy_to_that_of_dspy() -> None:
    root = Path(pivot_dspy.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=True)
    before, added = json.loads(ran.stdout)
    assert "dspy" in before and "pivot_dspy" in added
    packages = {name.partition(".")[0] for name in added}
    assert not packages & set(HEAVY)
    assert {name for name in packages if name not in sys.stdlib_module_names} == OWN
    assert not ran.stderr


def test_every_public_name_is_there() -> None:
    assert all(getattr(pivot_dspy, name) is not None for name in pivot_dspy.__all__)
    assert list(pivot_dspy.__all__) == sorted(pivot_dspy.__all__)
    assert (Path(pivot_dspy.__file__).parent / "py.typed").is_file()
