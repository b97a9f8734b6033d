"""The options by which every program is told which model to ask, and how much of it: `--lm`, its server, its limits."""

from __future__ import annotations

import argparse
import os
from typing import Any

import dspy

from pivot_dspy import Budget
from programs.options import DataError, positive

MODEL_OPTIONS = ("lm", "api_base", "max_tokens", "timeout", "budget_tokens", "budget_seconds")
"""Those of `add_model_options` that take a value."""
OFFLINE = "a model for dspy.LM (default: the offline model, a simulator)"


def add_model_options(parser: argparse.ArgumentParser, lm_help: str = OFFLINE) -> None:
    """`--lm`, and what goes with it: where it is, how long an answer may be and take, what one task may spend."""
    add = parser.add_argument
    add("--lm", metavar="NAME", help=lm_help)
    add("--api-base", metavar="URL", help="of the server that has it, such as http://127.0.0.1:8080/v1")
    add("--max-tokens", type=positive, metavar="N", help="of one answer")
    add("--timeout", type=positive, metavar="SECONDS", help="that one answer may take")
    add("--constrained", action="store_true", help="ask for answers by a JSON schema made from the tools")
    add("--budget-tokens", type=positive, metavar="N", help="prompt and completion tokens for each task")
    add("--budget-seconds", type=positive, metavar="N", help="for each task")


def named_lm(options: argparse.Namespace, **more: Any) -> dspy.LM:
    """The model that `--lm` names.

    Raises:
        DataError: DSPy knows no such name; the message says what it takes.
    """
    given = {name: getattr(options, name) for name in ("api_base", "max_tokens", "timeout")}
    settings = {name: value for name, value in given.items() if value is not None}
    provider = str(options.lm).partition("/")[0].upper()
    if options.api_base and not os.environ.get(f"{provider}_API_KEY"):
        settings["api_key"] = "none"  # clients ask for one, and servers that people run themselves do not
    try:
        return dspy.LM(options.lm, **settings, **more)
    except ValueError as error:
        raise DataError(f"--lm {options.lm}: {error}") from error


def budget_of(options: argparse.Namespace) -> Budget:
    """What one task may spend.

    >>> budget_of(argparse.Namespace(budget_tokens=5000, budget_seconds=None)).tokens
    5000
    """
    return Budget(tokens=options.budget_tokens, seconds=options.budget_seconds)


def refuse_orphans(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program where options of a model are given without one."""
    orphans = [name for name in ("api_base", "max_tokens", "timeout") if getattr(options, name) is not None]
    if orphans and not options.lm:
        parser.error(f"--{orphans[0].replace('_', '-')} is of the model that --lm names; name one")
