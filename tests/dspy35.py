"""DSPy 3.5 as far as it is announced, on top of 3.4: `python -m pytest -p tests.dspy35 PATHS`.

- `dspy.ReAct` is what `dspy.ReActV2` is.
- The adapter of whoever sets none is `XMLAdapter(use_native_function_calling=True)`.
- LiteLLM cannot be imported.
- What is deprecated raises: `lm(messages=...)`, language models that implement `forward`, the legacy engines.

Left out are tests that compare a prompt with a snapshot, for snapshots are in the form of 3.4's default adapter, and
those named in `OF_DSPY_34`, each with its reason. `.ci/run` names the folders that run so. The others do not, since

- `tests/simulator` asks in the form of each adapter anyway, and with the loop of 3.4's `dspy.ReAct`;
- `tests/blame`, `tests/calibration`, `tests/learning`, `tests/prompts` and `pivot_dspy` itself do not come near DSPy;
- `tests/environment/mcp` starts dozens of servers, whose tools reach DSPy as those of any environment do;
- `tests/optimizer`, `tests/programs` and `tests/notebooks` take minutes, and reach DSPy through what runs here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

import dspy
from dspy.clients import _deprecation
from dspy.dsp.utils.settings import DEFAULT_CONFIG, main_thread_config

OF_DSPY_34 = {
    "test_messages.py::test_the_history_of_a_react_v2_run_becomes_its_trajectory": "it answers as ChatAdapter reads",
    "test_messages.py::test_an_async_react_v2_run_gives_the_same_history": "it answers as ChatAdapter reads",
    "test_single_flight.py::test_calls_from_an_event_loop_do_not_wait": "it answers as ChatAdapter reads",
    "test_code_acting.py::test_a_prompt_begins_with_the_one_before_it": "it looks for ChatAdapter's headers",
    "test_single_flight.py::test_nothing_is_left_of_calls_that_ended": "it answers as ChatAdapter reads",
}
"""The end of a test's id, and why it does not run here."""


class WithoutLiteLLM(PathFinder):
    """Finds every module but LiteLLM."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if fullname.partition(".")[0] == "litellm" else super().find_spec(fullname, path, target)


def _refuse(message: str) -> NoReturn:
    raise TypeError(f"gone in DSPy 3.5: {message}")


def pytest_configure() -> None:
    """Take hold. Whoever only imports this module, as the collection of doctests does, has DSPy as it is."""
    sys.meta_path[:] = [WithoutLiteLLM if finder is PathFinder else finder for finder in sys.meta_path]
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
