"""The package agentdojo (MIT): its suites, imported without the clients of model providers that it also holds."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

INSTALL = "pip install --no-deps agentdojo && pip install deepdiff docstring-parser email-validator"
"""How to get it without the model providers' clients that it pins: its suites import no more than these."""

VERSION = "v1.2.2"
"""Of the suites."""

_PIPELINE = "agentdojo.agent_pipeline"
_lock = threading.Lock()


class MissingPackage(RuntimeError):
    """The package cannot be imported, or its suites are not where this program knows them to be."""


@cache
def suites() -> dict[str, Any]:
    """The suites by name. Raises MissingPackage, with the line that installs the package."""
    try:
        with _lock, _without_clients():
            found: dict[str, Any] = importlib.import_module("agentdojo.task_suite.load_suites").get_suites(VERSION)
    except (ImportError, AttributeError) as error:
        raise MissingPackage(
            f"AgentDojo's tasks, tools and judges come from the package agentdojo, which cannot be imported ({error}); "
            f"get it with: {INSTALL}"
        ) from error
    if not found:
        raise MissingPackage(f"agentdojo {version()} has no suites {VERSION}; get a release that has them: {INSTALL}")
    return found


def call_type() -> Any:
    """The package's record of a call, as its judges take them. Raises MissingPackage."""
    suites()
    return importlib.import_module("agentdojo.functions_runtime").FunctionCall


def attack_type(name: str) -> Any:
    """The package's attack of that name. Raises MissingPackage."""
    try:
        with _lock, _without_clients():
            importlib.import_module("agentdojo.attacks")
            return importlib.import_module("agentdojo.attacks.attack_registry").ATTACKS[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise MissingPackage(
            f"agentdojo {version()} has no attack {name!r} ({error}); get a release that has it: {INSTALL}"
        ) from error


def version() -> str:
    """The version that is installed; empty where that is not known."""
    try:
        return importlib.metadata.version("agentdojo")
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextmanager
def _without_clients() -> Iterator[None]:
    """Let the suites and the attacks be imported where the providers' clients are not installed.

    Their modules import two classes of the package's pipeline, whose `__init__` imports every client. So the pipeline
    stands there without its `__init__` in the meantime, and a placeholder for the one class that needs a client: only
    `TaskSuite.check` and an attack's search for the places that a task reads use it, which nothing here calls.
    """
    if _PIPELINE in sys.modules:
        yield
        return
    home = importlib.import_module("agentdojo").__file__
    pipeline, gold = ModuleType(_PIPELINE), ModuleType(f"{_PIPELINE}.ground_truth_pipeline")
    vars(pipeline)["__path__"] = [str(Path(str(home)).parent / "agent_pipeline")]
    vars(gold)["GroundTruthPipeline"] = None
    sys.modules.update({module.__name__: module for module in (pipeline, gold)})
    try:
        yield
    finally:
        for module in (pipeline, gold):  # whoever wants the real ones gets them
            sys.modules.pop(module.__name__, None)
