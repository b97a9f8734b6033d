"""The adapter of `constrained=True`: each answer is JSON of a schema that is sent with the question."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.adapter import BriefChatAdapter
from pivot_dspy.prompts.plan_schema import PLANNED, AnswerSchema, PlanSchema
from pivot_dspy.prompts.truncation import compact_json

SERVERS = ("ollama", "ollama_chat", "vllm", "hosted_vllm", "sglang", "llamafile", "lm_studio")
"""Prefixes of DSPy's model names that stand for a server which turns a schema into a grammar."""
SERVICES = ("azure", "anthropic", "gemini", "vertex_ai", "bedrock")
"""Those of services that take a subset, wherever they are reached."""


class ConstrainedAdapter(BriefChatAdapter, dspy.JSONAdapter):  # type: ignore[misc]
    """`dspy.JSONAdapter` with the schema of a plan, which is sent as it is or not at all.

    DSPy's own sends `json_object` instead for every field that may hold anything, as the steps of a plan do.

    Args:
        schema: of the toolbox and the task.
        asks: the signature of the phase that asks.
    """

    def __init__(self, schema: PlanSchema, asks: type[dspy.Signature]) -> None:
        super().__init__()
        self.schema, self.asks = schema, asks

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[Any], inputs: dict[str, Any]
    ) -> Any:
        lm_kwargs = {**lm_kwargs, **self.response_format(lm, signature)}
        return super(dspy.JSONAdapter, self).__call__(lm, lm_kwargs, signature, demos, inputs)

    async def acall(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[Any], inputs: dict[str, Any]
    ) -> Any:
        lm_kwargs = {**lm_kwargs, **self.response_format(lm, signature)}
        return await super(dspy.JSONAdapter, self).acall(lm, lm_kwargs, signature, demos, inputs)

    def response_format(self, lm: Any, signature: Any) -> dict[str, Any]:
        """What a call sends beside its messages; nothing where a service takes closed schemas only and this is none of
        a plan's."""
        strict = not is_own_server(lm)
        told = f"{self.asks.instructions}\n{signature.instructions}"
        answer: AnswerSchema = self.schema.of(self.asks.output_fields, signature.output_fields, told, strict=strict)
        if strict and not answer.is_closed and not any(name in self.asks.output_fields for name in PLANNED):
            return {}
        inner = {"name": "answer", "strict": strict and answer.is_closed, "schema": answer.schema}
        return {"response_format": {"type": "json_schema", "json_schema": inner}}

    def format_field_structure(self, signature: Any) -> str:
        return "All interactions will be inputs under headers `[[ ## name ## ]]`, and one JSON object in answer."

    def user_message_output_requirements(self, signature: Any) -> str:
        return f"Respond with a JSON object: {', '.join(f'`{name}`' for name in signature.output_fields)}."

    def format_assistant_message_content(
        self, signature: Any, outputs: Mapping[str, Any], missing_field_message: Any = None
    ) -> str:
        return compact_json({name: plain(outputs.get(name, missing_field_message)) for name in signature.output_fields})

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        # Not by super(): DSPy gives each subclass of its adapters a `parse` of its own, here one of ChatAdapter.
        fields: dict[str, Any] = dspy.JSONAdapter.parse(self, signature, completion)
        for name in PLANNED:
            if name in self.asks.output_fields and name in fields:
                entries = fields[name] if isinstance(fields[name], list) else [fields[name]]
                kept = [self._without_nulls(entry) for entry in entries]
                fields[name] = kept if isinstance(fields[name], list) else kept[0]
        return fields

    def _without_nulls(self, entry: Any) -> Any:
        """An entry without what a strict schema made the model write as null instead of leaving it out."""
        if not isinstance(entry, Mapping):
            return entry
        entry = {key: value for key, value in entry.items() if value is not None}
        if isinstance(entry.get("call"), Mapping):
            entry["call"] = self._without_nulls(entry["call"])
        if isinstance(entry.get("args"), Mapping):
            spec = self.schema.toolbox.spec(str(entry.get("tool"))) or self.schema.toolbox.checks.get(
                str(entry.get("check"))
            )
            required = spec.required if spec is not None else ()
            entry["args"] = {key: value for key, value in entry["args"].items() if value is not None or key in required}
        return entry


def is_own_server(lm: Any) -> bool:
    """Whether a model is reached at an address of one's own, or by the name of a server that people run themselves."""
    provider = str(lm.model).partition("/")[0]
    if provider in SERVERS or provider in SERVICES:
        return provider in SERVERS
    kwargs = getattr(lm, "kwargs", {})
    addressed = [kwargs.get("api_base"), kwargs.get("base_url")]
    return any([*addressed, *(os.environ.get(f"{provider.upper()}_{name}") for name in ("API_BASE", "BASE_URL"))])
