"""Calls that DSPy announces to callbacks, made without that where none wants to hear of them."""

import asyncio
from typing import Any

import dspy
import pytest

from pivot_dspy.dspy_internals import BaseCallback, LMCallback, call_of, unannounced


class Echo(dspy.Module):  # type: ignore[misc]
    def forward(self, text: str) -> str:
        return text

    async def aforward(self, text: str) -> str:
        return text


class Hearing(BaseCallback):  # type: ignore[misc]
    """Notes what it is told of."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.heard.append(type(instance).__name__)

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.heard.append(type(instance).__name__)


class HearingModelsAlone(LMCallback, Hearing):
    """Would note more if it were told."""


@pytest.mark.parametrize("way", ["context", "own"])
@pytest.mark.parametrize(("kind", "heard"), [(Hearing, ["Echo", "Echo"]), (HearingModelsAlone, [])])
def test_callbacks_are_told_of_modules_where_one_wants_to_hear(kind: Any, heard: list[str], way: str) -> None:
    callback = kind()
    module = Echo(callbacks=[callback] if way == "own" else None)
    with dspy.context(callbacks=[callback] if way == "context" else []):
        assert call_of(module)(text="a") == "a"
        assert asyncio.run(call_of(module, "acall")(text="b")) == "b"
    assert callback.heard == heard


def test_one_that_hears_all_is_told_beside_one_that_hears_models_alone() -> None:
    callback = Hearing()
    signature = dspy.Signature("question -> answer")
    with dspy.context(callbacks=[HearingModelsAlone(), callback]):
        unannounced(dspy.ChatAdapter().format)(signature, [], {"question": "Who?"})
    assert callback.heard == ["ChatAdapter"]


def test_predictors_are_called_as_ever_and_keep_their_place_among_the_callers() -> None:
    class Asked(dspy.Predict):  # type: ignore[misc]
        def forward(self, **inputs: Any) -> Any:
            return dspy.settings.caller_modules[-1], inputs

    predict = Asked("question -> answer")
    assert call_of(predict)(question="Who?") == (predict, {"question": "Who?"})


def test_what_instruments_put_around_a_method_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[str] = []
    whole = dspy.Module.__call__

    def tracing(self: Any, *args: Any, **kwargs: Any) -> Any:
        traced.append(type(self).__name__)
        return whole(self, *args, **kwargs)

    tracing.__wrapped__ = whole  # type: ignore[attr-defined]
    monkeypatch.setattr(dspy.Module, "__call__", tracing)
    assert call_of(Echo())(text="a") == "a"
    assert traced == ["Echo"]
