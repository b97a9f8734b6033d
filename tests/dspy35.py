"""DSPy 3.5 as far as it is announced, on top of 3.4: `python -m pytest -p tests.dspy35 PATHS`.

- `dspy.ReAct` is what `dspy.ReActV2` is.
- The adapter of whoever sets none is `XMLAdapter(use_native_function_calling=True)`.
- LiteLLM cannot be imported.
- What is deprecated raises: `lm(messages=...)`, language models that implement `forward`, the legacy engines.

Some tests say something of 3.4 alone, and are left out:

- those that compare a prompt with a snapshot, for snapshots are in the form of 3.4's default adapter;
- those named in `OF_DSPY_34`, each with its reason.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import dspy
from dspy.clients import _deprecation
from dspy.dsp.utils.settings import DEFAULT_CONFIG, main_thread_config

OF_DSPY_34: dict[str, str] = {}
"""The end of a test's id, and why it does not run here."""


def _refuse(message: str) -> NoReturn:
    raise TypeError(f"gone in DSPy 3.5: {message}")


sys.modules["litellm"] = None  # type: ignore[assignment]  # to Python, a module that is not installed
dspy.ReAct = dspy.predict.ReAct = dspy.ReActV2
_deprecation._warn = _refuse
DEFAULT_CONFIG["adapter"] = main_thread_config["adapter"] = dspy.XMLAdapter(use_native_function_calling=True)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    left_out = [item for item in items if _of_dspy_34(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _of_dspy_34(item: Any) -> bool:
    test = item.nodeid.partition("[")[0]
    return "snapshot" in getattr(item, "fixturenames", ()) or test.endswith(tuple(OF_DSPY_34))
