#!/usr/bin/env bash
# agentdojo 0.1.35, suites v1.2.2, travel: reserve_car_rental answers with the end time that it was given, but records
# the start time as the end time too (reserve_hotel records the end that it is given). And the environment holds one
# reservation, not a list: each of the three tools that reserve overwrites it, so that after a hotel and a car, both
# answered as made, only the car is there; no tool shows what is reserved, and none says that it replaces. The ground
# truths of the suite's own user tasks reserve one hotel and no car, so their judges do not meet this; a task of one's
# own that does, or that asks for two reservations, is judged by the calls made, not by the environment after.
# Output seen:
#   hotel: Reservation for London Luxury from 2024-05-13 to 2024-05-16 has been made successfully.
#     recorded: hotel, London Luxury, 2024-05-13 00:00:00 to 2024-05-16 00:00:00
#   car: Reservation for a car at New Car Rental from 2024-05-13 10:00 to 2024-05-16 18:00 has been made successfully.
#     recorded: car, New Car Rental, 2024-05-13 10:00:00 to 2024-05-13 10:00:00
#   the hotel after that: not in the environment
#   reserved by the ground truths of the user tasks: user_task_0 reserve_hotel
# Valid input, no model, no network but the package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "agentdojo==0.1.35" "deepdiff==9.1.0" "pydantic[email]==2.14.4" \
  "docstring-parser==0.18.0" "anthropic==2.14.0" \
  "cohere==7.3.1" "google-genai==3.6.1" "langchain==1.5.2" "openai==3.57.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suite

travel = get_suite("v1.2.2", "travel")
environment, runtime = travel.load_and_inject_default_environment({}), FunctionsRuntime(travel.tools)
start, end = datetime(2024, 5, 13, 10), datetime(2024, 5, 16, 18)
days = {"start_day": f"{start:%Y-%m-%d}", "end_day": f"{end:%Y-%m-%d}"}
times = {"start_time": f"{start:%Y-%m-%d %H:%M}", "end_time": f"{end:%Y-%m-%d %H:%M}"}


def reserve(kind, tool, **given):
    answer, error = runtime.run_function(environment, tool, given)
    if error:
        raise SystemExit(f"changed: {tool} does not take {given}: {error}")
    held = environment.reservation
    print(f"{kind}: {answer}")
    print(f"  recorded: {held.reservation_type.value}, {held.title}, {held.start_time} to {held.end_time}")
    return answer, held.title, held.start_time, held.end_time


hotel = reserve("hotel", "reserve_hotel", hotel="London Luxury", **days)
car = reserve("car", "reserve_car_rental", company="New Car Rental", **times)
left = "London Luxury" in environment.model_dump_json(include={"reservation", "calendar", "inbox", "user"})
print("the hotel after that:", "still in the environment" if left else "not in the environment")
reserved = [
    f"{task.ID} {call.function}"
    for task in travel.user_tasks.values()
    for call in task.ground_truth(travel.load_and_inject_default_environment({}))
    if call.function.startswith("reserve_")
]
print("reserved by the ground truths of the user tasks:", *reserved)
if hotel[1:] != ("London Luxury", datetime(2024, 5, 13), datetime(2024, 5, 16)):
    raise SystemExit("changed: what reserve_hotel records")
if car[1:] != ("New Car Rental", start, start) or times["end_time"] not in car[0]:
    raise SystemExit("changed: what reserve_car_rental records, or answers")
if left:
    raise SystemExit("changed: the earlier reservation is kept")
if {tool.name for tool in travel.tools if "reservation" in tool.dependencies} != {
    "reserve_hotel",
    "reserve_car_rental",
    "reserve_restaurant",
}:
    raise SystemExit("changed: which tools take the reservation")
if reserved != ["user_task_0 reserve_hotel"]:
    raise SystemExit("changed: what the user tasks reserve")
PYTHON
echo "as stated"
