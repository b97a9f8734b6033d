"""What a model server refuses, called alike whichever of DSPy's engines asked: they name one answer differently."""

from __future__ import annotations

import re

from pivot_dspy.dspy_internals import (
    AdapterParseError,
    ContextWindowExceededError,
    LMError,
    LMInvalidRequestError,
    LMTransportError,
    LMUnexpectedError,
)

CUT_SHORT = "cut off before its end"
"""What is said of an answer that was."""
_TOO_LONG = re.compile(
    r"exceeds the available context size|exceed_context_size"  # llama.cpp
    r"|maximum (?:model |context |input )*length"  # vLLM, OpenAI, TGI
    r"|exceed\w* (?:the |maximum |model'?s? |context |input )*(?:length|window|limit)"  # Ollama, Anthropic
    r"|(?:longer|greater) than the (?:model'?s? )?context length"  # LM Studio, SGLang
    r"|prompt is too long|too many (?:input )?tokens",
    re.IGNORECASE,
)


def is_too_long(error: BaseException | None) -> bool:
    """Whether a server refused a prompt because it does not fit the model's context window.

    DSPy's LiteLLM engine goes by the words of such an answer, its own engine by a code that OpenAI alone sends.

    >>> said = "request (9031 tokens) exceeds the available context size (8192 tokens), try increasing it"
    >>> is_too_long(LMInvalidRequestError(said, status=400)), is_too_long(LMInvalidRequestError("no such field"))
    (True, False)
    """
    if isinstance(error, ContextWindowExceededError):
        return True
    return isinstance(error, LMInvalidRequestError) and _TOO_LONG.search(str(error)) is not None


def named_alike(error: LMError) -> LMError:
    """`error`, or a ContextWindowExceededError with what it says, where it is one by another name."""
    if isinstance(error, ContextWindowExceededError) or not is_too_long(error):
        return error
    details = {name: getattr(error, name) for name in ("model", "provider", "provider_code", "status", "request_id")}
    return ContextWindowExceededError(message=error.message, **details)


def remedy(error: Exception, *, constrained: bool = False) -> str:
    """What may be done about an error of a model's server; empty where it says so itself.

    Args:
        constrained: whether a schema was sent with the request.

    >>> remedy(LMInvalidRequestError("Invalid schema"), constrained=True)
    'if it is the schema that the server refuses, pass constrained=False'
    """
    if is_too_long(error):
        return "give the server a larger context, or show less: observations=ObservationBudget(result=..., turn=...)"
    if isinstance(error, LMInvalidRequestError) and constrained:
        return "if it is the schema that the server refuses, pass constrained=False"
    if isinstance(error, (LMTransportError, LMUnexpectedError)):
        return "see that a server for this model runs at its api_base, which mostly ends in /v1"
    if isinstance(error, AdapterParseError) and CUT_SHORT in str(error):
        return "if it is the model's limit that cut it off, raise max_tokens"
    return ""
