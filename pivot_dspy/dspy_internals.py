"""Every name of DSPy's that this package takes from somewhere else than `dspy` itself, in one place.

DSPy moves such names between releases; what has to follow then is this module alone. `dspy.lm15` and `dspy.teleprompt`,
the documented ways to write an engine and an optimizer, are imported where they are used.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import FrameType, FunctionType, MethodType
from typing import Any, Literal, NamedTuple

import dspy
from dspy.adapters.types.base_type import CUSTOM_TYPE_END_IDENTIFIER, CUSTOM_TYPE_START_IDENTIFIER
from dspy.adapters.utils import format_field_value
from dspy.dsp.utils.settings import DEFAULT_CONFIG, settings
from dspy.predict.parameter import Parameter
from dspy.predict.react import ReAct as TextReAct
from dspy.predict.refine import OfferFeedback, inspect_modules
from dspy.signatures.signature import ensure_signature
from dspy.streaming.messages import StatusMessageProvider, StatusStreamingCallback
from dspy.utils.callback import BaseCallback, with_callbacks
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMTimeoutError,
    LMTransportError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
)
from dspy.utils.parallelizer import ParallelExecutor
from dspy.utils.usage_tracker import UsageTracker

from pivot_dspy.flow import Await

__all__ = [
    "CUSTOM_TYPE_END_IDENTIFIER",
    "CUSTOM_TYPE_START_IDENTIFIER",
    "DEFAULT_CONFIG",
    "AdapterParseError",
    "BaseCallback",
    "ContextWindowExceededError",
    "LMAuthError",
    "LMBillingError",
    "LMCallback",
    "LMConfigurationError",
    "LMError",
    "LMInvalidRequestError",
    "LMTimeoutError",
    "LMTransportError",
    "LMUnexpectedError",
    "LMUnsupportedFeatureError",
    "LMUnsupportedModelError",
    "OfferFeedback",
    "Parameter",
    "TextReAct",
    "UsageTracker",
    "call_of",
    "count_tokens",
    "current_adapter",
    "ensure_signature",
    "format_field_value",
    "inspect_modules",
    "is_compiled",
    "is_listened_to",
    "mark_compiled",
    "settings",
    "unannounced",
    "with_callbacks",
    "with_fallback",
    "with_tool_callbacks",
]


class WorkerTask(NamedTuple):
    """What a thread of `dspy.Evaluate` or `dspy.Parallel` is at work on."""

    executor: ParallelExecutor
    attempt: int
    """Alike for no two attempts, also at the same task."""
    position: int
    """Of the task."""


def worker_tasks() -> tuple[WorkerTask, ...]:
    """The tasks of DSPy's own executors that this code is run for, from the outermost on; empty where there is none.

    An executor that a task of another one waits for is inside that task, though its threads are others.
    """
    tasks: list[WorkerTask] = []
    frame = inspect.currentframe()
    while (worker := _frame_of("worker", frame)) is not None:
        held = worker.f_locals
        tasks.insert(0, WorkerTask(held["self"], held["submission_id"], held["index"]))
        frames = (_frame_of("_execute_parallel", other) for other in sys._current_frames().values())
        frame = next((other for other in frames if other and other.f_locals.get("self") is held["self"]), None)
    return tuple(tasks)


def _frame_of(function: str, frame: FrameType | None) -> FrameType | None:
    """The innermost frame, from one on, of a function of DSPy's executor."""
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") == ParallelExecutor.__module__:
            return frame
        frame = frame.f_back
    return None


CHARACTERS_A_TOKEN = 4
"""What a token of English text comes to, where no tokenizer is at hand."""


def current_adapter(otherwise: Callable[[], Any] = dspy.ChatAdapter) -> Any:
    """The adapter that is set here and now; by default that which DSPy's predictors use where none is."""
    return dspy.settings.adapter or otherwise()


def with_fallback(adapter: Any, change: Callable[[Any], Any]) -> None:
    """Let `adapter`, where it falls back to another one for what it cannot read, fall back to a changed one."""
    make = getattr(adapter, "_make_json_adapter_fallback", None)
    if make is not None:
        adapter._make_json_adapter_fallback = lambda: change(make())


def is_compiled(module: dspy.Module) -> bool:
    """Whether optimizers leave `module` as it is."""
    return bool(module._compiled)


def mark_compiled(module: dspy.Module) -> None:
    """Let optimizers leave `module` as it is."""
    module._compiled = True


def count_tokens(model: str, text: str) -> int:
    """The tokens of `text`: by LiteLLM's tokenizer for `model` if LiteLLM is installed, else from its length."""
    try:
        from litellm import token_counter  # slow to load, and hardly ever needed
    except ImportError:
        return -(-len(text) // CHARACTERS_A_TOKEN)
    return int(token_counter(model=model, text=text))


class LMCallback(BaseCallback):  # type: ignore[misc]
    """A callback that hears of the calls of language models, and of nothing else."""


_PREDICT_CALLS = {name: vars(dspy.Predict)[name] for name in ("__call__", "acall")}
_ANNOUNCING = {vars(dspy.Module)[name].__code__ for name in ("__call__", "acall")}
"""Of the functions that `with_callbacks` puts around others."""


def unannounced(method: Any) -> Any:
    """A bound method, without telling callbacks of its calls where none of those in force wants to hear of them.

    DSPy binds the arguments of each call anew to tell it, which costs more than most of these calls themselves.
    """
    function: Any = getattr(method, "__func__", None)
    instance = getattr(method, "__self__", None)
    if type(function) is not FunctionType or function.__code__ not in _ANNOUNCING:
        return method
    callbacks = (*(settings.callbacks or ()), *(getattr(instance, "callbacks", None) or ()))
    if not all(isinstance(callback, LMCallback) for callback in callbacks):
        return method
    return MethodType(inspect.unwrap(function, stop=lambda inner: inner.__code__ not in _ANNOUNCING), instance)


def call_of(module: dspy.Module, name: Literal["__call__", "acall"] = "__call__") -> Any:
    """How a module is called, `unannounced`."""
    if vars(type(module)).get(name) is _PREDICT_CALLS[name]:  # which only passes on what is passed by keyword
        return unannounced(getattr(super(dspy.Predict, module), name))
    return unannounced(getattr(module, name))


def is_listened_to(tool: dspy.Tool | None) -> bool:
    """Whether a callback in force, or one of `tool` itself, wants to hear of calls of tools."""
    callbacks = [*(settings.callbacks or ()), *(getattr(tool, "callbacks", None) or ())]
    return any(
        getattr(getattr(callback, name, None), "__func__", None) is not getattr(BaseCallback, name)
        for callback in callbacks
        if not isinstance(callback, LMCallback)
        for name in ("on_tool_start", "on_tool_end")
    )


class TryingStatus(StatusMessageProvider):  # type: ignore[misc]
    """What `dspy.streamify` says of a call that changes nothing real."""

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str:
        return f"Trying tool {instance.name} on a copy..."

    def tool_end_status_message(self, outputs: Any) -> str:
        return "Tried; nothing is real before commit."


def _saying_trying(callbacks: Sequence[Any]) -> list[Any]:
    """Callbacks of which those that stream DSPy's own status messages say that a call is a trial."""
    own = StatusMessageProvider
    return [
        type(callback)(TryingStatus())
        if isinstance(callback, StatusStreamingCallback) and type(callback.status_message_provider) is own
        else callback
        for callback in callbacks
    ]


def with_tool_callbacks(tool: dspy.Tool, arguments: dict[str, Any], made: Await, *, trial: bool = False) -> Await:
    """`made`, one call of `tool`, with `on_tool_start` before it and `on_tool_end` after it in the caller's thread.

    What it gives has a `value`, or the `error` that callbacks are told of.

    Args:
        trial: whether nothing real is changed, which the status messages of `dspy.streamify` then say.
    """

    def told() -> Any:
        callbacks = settings.callbacks or ()
        return settings.context(callbacks=_saying_trying(callbacks)) if trial and callbacks else nullcontext()

    def call() -> Any:
        results: list[Any] = []

        def announced(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
            results.append(made.call())
            return _unwrap(results[0])

        try:
            with told():
                with_callbacks(announced)(tool, arguments)
        except Exception:
            if not results:
                raise
        return results[0]

    async def acall() -> Any:
        results: list[Any] = []

        async def announced(instance: dspy.Tool, kwargs: dict[str, Any]) -> Any:
            results.append(await made.acall())
            return _unwrap(results[0])

        try:
            with told():
                await with_callbacks(announced)(tool, arguments)
        except Exception:
            if not results:
                raise
        return results[0]

    return Await(call, acall)


def _unwrap(result: Any) -> Any:
    if result.error is not None:
        raise result.error
    return result.value
