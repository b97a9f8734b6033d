"""What a model may write under a schema of its tools, and what is sent to which server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dspy
import jsonschema
import pytest
from dspy.utils.exceptions import LMInvalidRequestError

from pivot_dspy import Pivot, PlanningFailed
from pivot_dspy.prompts.constrained import is_own_server
from pivot_dspy.prompts.plan_schema import PlanSchema
from pivot_dspy.simulator import OfflineEngine, Rates
from tests.openai_server import OpenAIServer
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

PIVOT = Pivot(Book, Rooms)
OUTPUTS = {name: field.annotation for name, field in Book.output_fields.items()}
PLAN = {
    "requirements": [{"id": "R1", "check": "cheapest", "args": {}}, {"id": "R2", "text": "A room is booked."}],
    "steps": [
        {"id": "a", "tool": "list_rooms", "args": {"day": "2026-03-12"}},
        {"id": "b", "tool": "book_room", "args": {"room_id": "$a[0].id", "day": "2026-03-12"}},
        {"id": "submit", "tool": "submit", "args": {"room": "$b.room_id"}},
    ],
}


def schema(phase: Any = PIVOT.plan, *, strict: bool = False) -> dict[str, Any]:
    fields = phase.asks.output_fields
    made = PlanSchema(PIVOT.session_factory.toolbox, OUTPUTS).of(fields, fields, phase.asks.instructions, strict=strict)
    jsonschema.Draft202012Validator.check_schema(made.schema)
    return made.schema


def fits(value: Any, made: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(made).is_valid(value))


def test_a_plan_fits() -> None:
    assert fits(PLAN, schema())


@pytest.mark.parametrize(
    "step",
    [
        {"id": "a", "tool": "no_such_tool", "args": {}},
        {"id": "a", "tool": "list_rooms", "args": {"dya": "2026-03-12"}},
        {"id": "a", "tool": "list_rooms", "args": {}},
        {"id": "a", "tool": "book_room", "args": {"room_id": 1, "day": "x"}},
        {"id": "a", "tool": "list_rooms"},
        {"keep": ["a"]},
        "list_rooms",
    ],
)
def test_what_no_tool_takes_does_not(step: Any) -> None:
    assert not fits({"requirements": [], "steps": [step]}, schema())


def test_only_a_rewrite_keeps_steps() -> None:
    assert fits({"diagnosis": "d", "requirements": [], "steps": [{"keep": ["a"]}]}, schema(PIVOT.evolve))


def objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield part
        for inner in part.values():
            yield from objects(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from objects(inner)


@pytest.mark.parametrize("phase", [PIVOT.plan, PIVOT.evolve])
def test_a_strict_schema_is_in_the_subset_that_services_take(phase: Any) -> None:
    made = schema(phase, strict=True)
    assert all(part["additionalProperties"] is False for part in objects(made))
    assert all(part["required"] == [*part["properties"]] for part in objects(made))
    assert not {"maxLength", "maxItems", "pattern"} & set(str(made).replace("'", " ").split())


def test_which_servers_are_ones_own() -> None:
    own = [dspy.LM("openai/x", api_base="http://127.0.0.1:1/v1"), dspy.LM("ollama_chat/x"), dspy.LM("hosted_vllm/x")]
    assert all(map(is_own_server, own))
    assert not any(is_own_server(dspy.LM(name)) for name in ("openai/gpt-4.1", "anthropic/claude-x", "gemini/x"))


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(OfflineEngine([reference()], Rates(slip=0.0))) as running:
        yield running


def model(server: OpenAIServer) -> dspy.LM:
    return dspy.LM("openai/x", api_base=server.url, api_key="x", engine="lm15", cache=False, num_retries=0)


def test_the_schema_is_sent_and_nothing_weaker(server: OpenAIServer) -> None:
    with dspy.context(lm=model(server)):
        result = Pivot(Book, Rooms, constrained=True)(request=REQUEST)
    assert result.verified
    kinds = [body.get("response_format", {}).get("type") for body in server.requests]
    assert set(kinds) == {"json_schema"} and len(kinds) > 1  # the judge's question too


def test_a_server_that_refuses_the_schema(server: OpenAIServer) -> None:
    server.fail("schema")
    with dspy.context(lm=model(server)), pytest.raises(PlanningFailed, match="constrained=False") as failed:
        Pivot(Book, Rooms, constrained=True)(request=REQUEST)
    assert isinstance(failed.value.__cause__, LMInvalidRequestError)
    assert failed.value.ledger.usage.lm_calls == 1
