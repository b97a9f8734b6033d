"""The package bfcl-eval (Apache-2.0): its modules, one by one, since few of them need the dependencies it pins."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import threading
from pathlib import Path
from typing import Any

INSTALL = "pip install --no-deps bfcl-eval mpmath"
"""How to get it without the dependencies that it pins."""

BACKEND = "eval_checker.multi_turn_eval"

LOCK = threading.RLock()
"""Held around the package's functions in `SHARING`, and around its checker, which may run them."""

SHARING = frozenset({"logarithm", "get_outside_temperature_from_google"})
"""Functions that write to what all instances share: the precision of mpmath, a table of their module."""


class MissingPackage(RuntimeError):
    """The package cannot be imported, or its data is not where this program knows it to be."""


def module(name: str) -> Any:
    """The module `bfcl_eval.{name}`. Raises MissingPackage, with the line that installs it."""
    try:
        return importlib.import_module(f"bfcl_eval.{name}")
    except ImportError as error:
        raise MissingPackage(
            f"BFCL's tools, data and checker come from the package bfcl-eval, which cannot be imported ({error}); "
            f"get it with: {INSTALL}"
        ) from error


def version() -> str:
    """The version that is installed; empty where that is not known."""
    try:
        return importlib.metadata.version("bfcl-eval")
    except importlib.metadata.PackageNotFoundError:
        return ""


def records(path: str) -> list[dict[str, Any]]:
    """The JSON lines of a file of the package's data. Raises MissingPackage."""
    file = Path(module("eval_checker").__file__).parents[1] / "data" / path
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise MissingPackage(
            f"bfcl-eval {version()} has no readable data/{path} ({error}); get a release that has it: {INSTALL}"
        ) from error
