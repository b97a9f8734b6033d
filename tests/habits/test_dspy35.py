"""The plugin `tests.dspy35` takes hold: what it says of DSPy 3.5 is so where it is loaded."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest

from pivot_dspy import ReAct
from pivot_dspy.dspy_internals import BaseCallback, count_tokens, current_adapter
from tests.scripted import scripted
from tests.stores import Calendar


def is_loaded(config: pytest.Config) -> bool:
    return config.pluginmanager.hasplugin("tests.dspy35")


@pytest.fixture
def in_force(request: pytest.FixtureRequest) -> None:
    if not is_loaded(request.config):
        pytest.skip("runs with -p tests.dspy35")


@pytest.mark.usefixtures("in_force")
def test_react_is_the_one_with_native_calls() -> None:
    assert dspy.ReAct is dspy.ReActV2 is dspy.predict.ReAct
    ours = ReAct("question -> answer", Calendar)
    assert "next_tool_name" in ours.react.signature.output_fields  # the loop in words is taken from where it still is


@pytest.mark.usefixtures("in_force")
def test_litellm_is_not_there_and_tokens_are_told_from_the_length() -> None:
    with pytest.raises(ImportError):
        import litellm  # noqa: F401
    with pytest.raises(ImportError):
        importlib.import_module("litellm.utils")
    assert count_tokens("openai/gpt-4.1-mini", "x" * 9) == 3


@pytest.mark.usefixtures("in_force")
def test_who_sets_no_adapter_has_the_one_for_xml_with_native_calls() -> None:
    used: list[Any] = []

    class Adapters(BaseCallback):  # type: ignore[misc]
        def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            used.append(instance)

    lm = scripted(compose={"answer": "a < b & c"})
    with dspy.context(lm=lm, callbacks=[Adapters()]):
        assert dspy.Predict("question -> answer")(question="x").answer == "a < b & c"
    (adapter,) = {id(adapter): adapter for adapter in used}.values()
    assert type(adapter) is dspy.XMLAdapter and adapter.use_native_function_calling
    assert current_adapter() is adapter
    assert "<question>\nx\n</question>" in lm.engine.last("compose").text


@pytest.mark.usefixtures("in_force")
def test_what_is_deprecated_is_gone() -> None:
    lm = scripted(compose="hello")
    with pytest.raises(TypeError, match=r"gone in DSPy 3.5: .*messages="):
        lm(messages=[{"role": "user", "content": "x"}])


def test_the_plugin_is_in_force_where_it_is_loaded_and_only_there(request: pytest.FixtureRequest) -> None:
    if is_loaded(request.config):
        pytest.skip("it would start itself")
    importlib.import_module("tests.dspy35")
    assert dspy.ReAct is not dspy.ReActV2 and type(current_adapter()) is dspy.ChatAdapter
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-p", "tests.dspy35", "-p", "no:cacheprovider", __file__]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "5 passed, 1 skipped" in ran.stdout, ran.stdout


def test_tokens_are_told_from_the_length_where_litellm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    assert [count_tokens("any", "x" * length) for length in (0, 1, 4, 5)] == [0, 1, 1, 2]
