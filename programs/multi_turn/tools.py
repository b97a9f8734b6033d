"""The functions of BFCL's classes as tools: schemas from the package's documents, and which of them only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from pivot_dspy.environment.toolbox import Toolbox, ToolSpec, arguments_adapter
from programs.multi_turn.data import Case
from programs.multi_turn.package import BACKEND, module, records

END_TURN = "end_turn"

_READS = """
    cat diff du find grep ls pwd sort tail wc
    absolute_value add divide imperial_si_conversion logarithm max_value mean min_value multiply percentage power
    round_number si_unit_conversion square_root standard_deviation subtract sum_values
    get_message_stats get_user_id list_users message_get_login_status search_messages view_messages_sent
    get_tweet get_tweet_comments get_user_stats get_user_tweets list_all_following posting_get_login_status
    search_tweets get_ticket get_user_tickets ticket_get_login_status
    filter_stocks_by_price get_account_info get_available_stocks get_current_time get_order_details get_order_history
    get_stock_info get_symbol_by_name get_transaction_history get_watchlist notify_price_change
    trading_get_login_status compute_exchange_rate get_all_credit_cards get_booking_history get_budget_fiscal_year
    get_credit_card_balance get_nearest_airport_by_city list_all_airports retrieve_invoice travel_get_login_status
    verify_traveler_information
    check_tire_pressure displayCarStatus display_log estimate_distance estimate_drive_feasibility_by_mileage
    find_nearest_tire_shop gallon_to_liter get_outside_temperature_from_weather_com get_zipcode_based_on_city
    liter_to_gallon
"""
READS = frozenset(_READS.split())
"""Functions that leave their instance as it was; one that only draws a random number writes, and so does the rest."""

_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
"""Names of types in the package's documents that JSON schema calls otherwise."""


def toolbox(case: Case) -> Toolbox:
    """The tools of a task: every function of its classes, and `end_turn`. Raises MissingPackage."""
    specs = [spec for name in case.classes for spec in _of_class(name)]
    told = [_coming(spec, case.withheld[spec.name]) if spec.name in case.withheld else spec for spec in specs]
    return Toolbox([*told, _END])


@lru_cache(maxsize=16)
def _of_class(owner: str) -> tuple[ToolSpec, ...]:
    files = module("constants.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
    return tuple(_spec(owner, document) for document in records(f"multi_turn_func_doc/{files[owner]}"))


def class_of(owner: str) -> Any:
    """The package's class of this name. Raises MissingPackage."""
    path = module("constants.executable_backend_config").CLASS_FILE_PATH_MAPPING[owner]
    return getattr(module(f"{BACKEND}.func_source_code.{path.rsplit('.', 1)[-1]}"), owner)


def _spec(owner: str, document: Mapping[str, Any]) -> ToolSpec:
    name = document["name"]
    parameters = _schema(document["parameters"])
    # Before each description stands the same sentence on the whole class, which is left out to spare tokens.
    about = document["description"].split("Tool description: ", 1)[-1].strip()
    properties = parameters["properties"]
    required = tuple(document["parameters"]["required"])

    def invoke(environment: Any, /, **args: Any) -> Any:
        return environment.run(owner, name, args)

    return ToolSpec(
        name=name,
        description=" ".join(about.split()),
        invoke=invoke,
        parameters=properties,
        required=required,
        returns_schema=_schema(document["response"], result=True),
        # Only names are looked at: the package's functions take what they are given, and some of its data has text
        # where its documents say integer.
        adapter=arguments_adapter(name, dict.fromkeys(properties, Any), required),
        effect="read" if name in READS else "write",
    )


def _coming(spec: ToolSpec, turn: int) -> ToolSpec:
    told = f"(Not available before turn {turn}: called earlier, it fails.) {spec.description}"
    return replace(spec, description=told)


def _end(environment: Any, /) -> Any:
    return environment.end_turn()


_END = ToolSpec(
    name=END_TURN,
    description="Close the user's present turn; calls after it belong to the next.",
    invoke=_end,
    parameters={},
    required=(),
    returns_schema={"type": "object", "properties": {"closed": {"type": "integer"}}, "required": ["closed"]},
    adapter=arguments_adapter(END_TURN, {}, ()),
    draft=True,  # it only says which turn the calls after it belong to
)


def _schema(document: Mapping[str, Any], *, result: bool = False) -> dict[str, Any]:
    """A schema of the package's documents as JSON schema; in a `result`, what is not called optional is required."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key == "type":
            found |= {} if value == "any" else {key: _TYPES.get(value, value)}
        elif key == "properties":
            found[key] = {name: _schema(inner, result=result) for name, inner in value.items()}
            if result:
                told = {name: inner.get("description", "") for name, inner in value.items()}
                found["required"] = [name for name, text in told.items() if "[Optional]" not in text]
        elif key == "items":
            found[key] = _schema(value, result=result)
        elif key == "description":
            found[key] = " ".join(str(value).split())
        elif value != "None":  # a default of "None" stands for there being none
            found[key] = value
    return found
