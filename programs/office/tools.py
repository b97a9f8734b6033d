"""The functions of AgentDojo's suites as tools, and what each of them does to the world."""

from __future__ import annotations

from functools import cache
from typing import Any

from pivot_dspy.environment.base import Effect
from pivot_dspy.environment.toolbox import EMPTY, Toolbox, ToolSpec, arguments_adapter, inline
from programs.office.package import suites

_HELD = """
    send_email create_calendar_event cancel_calendar_event reschedule_calendar_event add_calendar_event_participants
    share_file
    reserve_hotel reserve_restaurant reserve_car_rental
    send_money schedule_transaction
    send_direct_message send_channel_message invite_user_to_slack add_user_to_channel remove_user_from_slack
    post_webpage
"""
HELD = frozenset(_HELD.split())
"""Functions that reach somebody else: what they have done is not undone by a second call."""

_WRITES = """
    get_unread_emails delete_email append_to_file create_file delete_file
    update_scheduled_transaction update_password update_user_info
    get_webpage
"""
WRITES = frozenset(_WRITES.split())
"""Functions that change what is the user's own: `get_unread_emails` marks mail as read, `get_webpage` leaves a record
of the request. All that are in neither set only read."""


@cache
def toolbox(suite: str) -> Toolbox:
    """The tools of a suite. Raises MissingPackage."""
    return Toolbox([_spec(function) for function in suites()[suite].tools])


def effect_of(function: str) -> Effect:
    if function in HELD:
        return "irreversible"
    return "write" if function in WRITES else "read"


def _spec(function: Any) -> ToolSpec:
    fields = function.parameters.model_fields

    def invoke(environment: Any, /, **args: Any) -> Any:
        return environment.run(function, args)

    types = {name: field.annotation for name, field in fields.items()}
    required = tuple(name for name, field in fields.items() if field.is_required())
    return ToolSpec(
        name=function.name,
        description=" ".join(function.description.split()),
        invoke=invoke,
        parameters=inline(function.parameters.model_json_schema()),
        required=required,
        annotations=types,
        defaults={name: field.default for name, field in fields.items() if name not in required},
        returns=EMPTY if function.return_type is None else function.return_type,
        adapter=arguments_adapter(function.name, types, required),
        effect=effect_of(function.name),
    )
