"""Reading travel tasks: what a solver sees, what it must not, and what an incomplete folder is message."""

from __future__ import annotations

import json
import logging
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import pytest

from programs.deepplanning.travel.database import FILES
from programs.deepplanning.travel.loader import load_gold, load_tasks
from programs.options import DataError
from tests.programs.travel.cities import META, NO_DATA, TRAVEL, write_database, write_tasks


@pytest.mark.parametrize("published", [False, True])
def test_tasks_come_by_number_without_the_gold(tmp_path: Path, published: bool) -> None:
    tasks = load_tasks(write_tasks(tmp_path, 10, 9, published=published))
    assert [(task.id, task.number, task.request) for task in tasks] == [
        ("en-9", 9, "request 9"), ("en-10", 10, "request 10"),
    ]  # fmt: skip
    assert "s3cret" not in repr(asdict(tasks[0])) and "s3cret" not in repr(vars(tasks[0].database))
    assert tasks[0].database is tasks[0].database and tasks[0].database.language == "en"
    with pytest.raises(FrozenInstanceError):
        tasks[0].request = "another"  # type: ignore[misc]
    assert load_gold(tmp_path) == {"en-10": META, "en-9": META}


def test_languages_are_apart(tmp_path: Path) -> None:
    write_tasks(tmp_path, 1, language="zh")
    assert [task.id for task in load_tasks(tmp_path, language="zh")] == ["zh-1"]
    assert load_gold(tmp_path, language="zh") == {"zh-1": META}
    with pytest.raises(DataError, match="neither queries_en.jsonl nor travelplanning_query_en.json; expected"):
        load_tasks(tmp_path)


def test_tasks_without_roads_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tasks(tmp_path, 1, 2, 3)
    for number in (1, 3):
        (tmp_path / "database_en" / f"id_{number}" / FILES["roads"]).unlink()
    with caplog.at_level(logging.WARNING):
        assert [task.id for task in load_tasks(tmp_path)] == ["en-2"]
    (message,) = caplog.messages
    assert message.endswith("database_en: left out for want of transportation/distance_matrix.csv: id_1, id_3")
    (tmp_path / "database_en" / "id_2" / FILES["roads"]).unlink()
    with pytest.raises(DataError, match=r"no task has transportation/distance_matrix.csv"):
        load_tasks(tmp_path)


def test_one_error_names_what_each_task_lacks(tmp_path: Path) -> None:
    write_tasks(tmp_path, 1, 2, 3, 4)
    root = tmp_path / "database_en"
    for number, table in ((1, "hotels"), (2, "roads"), (3, "roads"), (3, "locations"), (4, "flights")):
        (root / f"id_{number}" / FILES[table]).unlink()
    with pytest.raises(DataError) as raised:
        load_tasks(tmp_path)
    assert str(raised.value) == (
        f"{root}: id_1 lacks hotels/hotels.csv; id_3 lacks locations/locations_coords.csv, "
        "transportation/distance_matrix.csv; unpack database_en.zip again"
    )


def test_a_task_without_trains_and_flights_is_legal(tmp_path: Path) -> None:
    write_tasks(tmp_path, 1)
    for table in ("flights", "trains"):
        (tmp_path / "database_en" / "id_1" / FILES[table]).unlink()
    (task,) = load_tasks(tmp_path)
    assert task.database.flights is None and task.database.trains is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("queries_en.jsonl", '{"id": 1, "query": "q"}\n\n{oh', r"queries_en.jsonl, line 3: expected JSON, but"),
        ("queries_en.jsonl", "[]", r"queries_en.jsonl, line 1: expected a JSON object, found list"),
        ("queries_en.jsonl", '{"id": 1}', r"line 1: expected 'query' to be of type str"),
        ("queries_en.jsonl", '{"id": "x", "query": "q"}', r"line 1: expected 'id' to be a whole number"),
        ("gold_en.jsonl", '{"id": 1, "meta_info": []}', r"gold_en.jsonl, .* 'meta_info' to be .* dict"),
        ("gold_en.jsonl", json.dumps({"id": 1, "meta_info": {**META, "days": "2"}}), r"expected 'days' .*int"),
        ("travelplanning_query_en.json", "{}", r"query_en.json: expected a list of tasks"),
        ("travelplanning_query_en.json", "{oh", r"query_en.json: cannot be read as JSON"),
        ("travelplanning_query_en.json", "[3]", r"query_en.json, task 1: expected a JSON object, found int"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    write_database(tmp_path / "database_en" / "id_1")
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        (load_gold if name.startswith("gold") else load_tasks)(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder; expected database_"):
        load_tasks(tmp_path / "nowhere")


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_real_tasks(language: str) -> None:
    tasks, gold = load_tasks(TRAVEL, language=language), load_gold(TRAVEL, language=language)  # type: ignore[arg-type]
    assert len(tasks) == 46 and [task.id for task in tasks] == list(gold)
    assert [task.number for task in tasks] == sorted(task.number for task in tasks)
    assert tasks[0].database.trains and tasks[0].database.language == language
