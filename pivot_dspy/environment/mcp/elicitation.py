"""What a server asks in the midst of a call (MCP's elicitation, in form mode), and who answers it: never a model."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jsonschema import Draft202012Validator

from pivot_dspy.environment.mcp import results
from pivot_dspy.errors import ConfigurationError, error_text
from pivot_dspy.plain_json import JsonObject
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.trajectory import Frozen

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerQuestion:
    """What a server wants to know before it ends a call."""

    message: str
    schema: Mapping[str, Any]
    """JSON schema of the form: one level of texts, numbers, truth values and choices."""
    real: bool
    """Whether something real comes of the answer, and not only a trial."""


Handler = Callable[[ServerQuestion], Any | Awaitable[Any]]
"""Gives data of an `ElicitResult`, `{"action": "accept", "content": {...}}`, or None to decline."""


class ElicitedAnswer(Frozen):
    """An `ElicitResult` as data."""

    action: Literal["accept", "decline", "cancel"]
    content: JsonObject | None = None
    """What was filled in, where it is accepted."""


@dataclass(frozen=True)
class Answering:
    """Answers what one kind of server asks, as the `elicitation_callback` of a client.

    Where the handler fails, or what it gives does not fit the form, the question is cancelled, with a warning. The same
    question has one answer in all trials, for their calls are made again in copies of a sandbox.
    """

    handler: Handler
    real: bool
    _trial_answers: dict[str, ElicitedAnswer] = field(default_factory=dict)

    async def __call__(self, context: Any, params: Any) -> Any:
        from mcp.types import ElicitResult

        answer = await self._answer(params)
        return ElicitResult(action=answer.action, content=answer.content)

    async def _answer(self, params: Any) -> ElicitedAnswer:
        schema = results.field(params, "requested_schema", "requestedSchema")
        if schema is None:
            logger.warning("the MCP server asks to open an address, which is cancelled: %s", params.message)
            return ElicitedAnswer(action="cancel")
        question = ServerQuestion(params.message, schema, self.real)
        key = compact_json([question.message, schema])
        if key in self._trial_answers:
            return self._trial_answers[key]
        try:
            answer = await self._asked(question)
        except Exception as error:
            logger.warning("the question of the MCP server is cancelled, %r: %s", question.message, error_text(error))
            return ElicitedAnswer(action="cancel")
        logger.info("the MCP server asked %r, and the answer was: %s", question.message, answer.action)
        if not self.real:
            self._trial_answers[key] = answer
        return answer

    async def _asked(self, question: ServerQuestion) -> ElicitedAnswer:
        given = await asyncio.to_thread(self.handler, question)  # it may block, and other calls go on in this loop
        given = await given if inspect.isawaitable(given) else given
        answer = ElicitedAnswer(action="decline") if given is None else ElicitedAnswer.model_validate(given)
        if answer.action != "accept":
            return ElicitedAnswer(action=answer.action)
        answer = ElicitedAnswer(action="accept", content=answer.content or {})
        for error in Draft202012Validator(dict(question.schema)).iter_errors(answer.content):
            raise ConfigurationError(f"the answer does not fit the form: {error.message:.200}")
        return answer


def answer_by(source: Any, answering: Answering) -> None:
    """Let a client that is not connected answer so what its server asks, in the place of a callback of its own.

    Raises:
        ConfigurationError: it is no such client.
    """
    if hasattr(source, "set_elicitation_callback"):  # fastmcp

        async def asked(message: str, response_type: Any, params: Any, context: Any) -> Any:
            return await answering(context, params)

        source.set_elicitation_callback(asked)
    elif hasattr(source, "elicitation_callback"):  # MCP 2
        source.elicitation_callback = answering
    else:
        raise ConfigurationError(
            f"a {type(source).__name__} keeps the elicitation_callback that it was made with; leave elicitation= out, "
            "or give from_mcp a client that is not connected, StdioServerParameters or an address"
        )
