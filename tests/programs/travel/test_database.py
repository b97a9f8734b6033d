"""The database of one task: what is read, what is shared, what broken files are message, and its size."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.deepplanning.travel.database import COLUMNS, FILES, Road, RoadMatrix, TravelDatabase
from programs.options import DataError
from tests.programs.travel.cities import INN, MUSEUM, NO_DATA, STATION, TRAVEL, city, write_database, write_table

PLACE = st.sampled_from("abcd")
LEG = st.tuples(PLACE, PLACE, st.builds(Road, *[st.integers(0, 10**6)] * 3))


@given(st.lists(LEG))
def test_the_first_road_of_a_pair_counts(legs: list[tuple[str, str, Road]]) -> None:
    first = {(origin, destination): road for origin, destination, road in reversed(legs)}
    roads = RoadMatrix(legs)
    for origin in "abcdx":
        assert roads.knows(origin) == any(origin in pair for pair in first)
        for destination in "abcdx":
            assert roads.leg(origin, destination) == first.get((origin, destination))


@pytest.mark.parametrize("packed", [False, True])
def test_a_read_database_is_the_one_of_its_rows(tmp_path: Path, packed: bool) -> None:
    read, made = TravelDatabase.read(write_database(tmp_path, packed=packed), "en"), city()
    for table in ("hotels", "attractions", "restaurants", "locations", "flights", "trains"):
        rows = [{name: row[name] for name in COLUMNS[table]} for row in getattr(made, table)]
        assert list(getattr(read, table)) == rows
    assert read.hotels[1]["services"] == "" and read.attractions[0]["latitude"] == "30.100000"
    assert read.roads.leg(STATION, MUSEUM) == Road(9000, 20, 30) and read.roads.leg(STATION, INN) is None


def test_columns_that_no_row_needs_may_be_absent(tmp_path: Path) -> None:
    folder = write_database(tmp_path)
    write_table(folder / FILES["hotels"], COLUMNS["hotels"][:-1], [{"name": "Inn"}])
    assert TravelDatabase.read(folder, "en").hotels[0]["services"] == ""


def test_trains_and_flights_may_be_absent_altogether(tmp_path: Path) -> None:
    read = TravelDatabase.read(write_database(tmp_path, "flights", "trains"), "zh")
    assert read.flights is None and read.trains is None and read.language == "zh"


def test_forks_share_the_database() -> None:
    database = city()
    assert copy.deepcopy({"database": database})["database"] is database and copy.copy(database) is database
    assert pickle.loads(pickle.dumps(database)).hotels == database.hotels
    with pytest.raises(AttributeError):
        database.language = "zh"  # type: ignore[misc]


def test_all_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_database(tmp_path / "id_7", "hotels", "roads", "flights")
    with pytest.raises(DataError, match=r"id_7: no hotels/hotels.csv, transportation/distance_matrix.csv; unpack"):
        TravelDatabase.read(folder, "en")


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("hotels", b"", r"hotels.csv: empty; expected a header"),
        ("hotels", b"name,price\nInn,3\n", r"hotels.csv: no column address, latitude"),
        ("locations", b"poi_name,latitude,longitude\na,1,2\nb,1\n", r"csv, line 3: 2 cells, but the header has 3"),
        ("locations", b"poi_name,latitude,longitude\n\xff,1,2\n", r"coords.csv: cannot be read \(.*utf-8"),
        ("roads", b"origin,destination,distance_meters,duration_minutes,cost\na,b,1,2.5,3\n", r"line 2: .*'2.5'"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, table: str, content: bytes, message: str) -> None:
    folder = write_database(tmp_path)
    (folder / FILES[table]).write_bytes(content)
    with pytest.raises(DataError, match=message):
        TravelDatabase.read(folder, "en")


def test_a_packed_file_that_is_cut_is_named(tmp_path: Path) -> None:
    folder = write_database(tmp_path, packed=True)
    file = folder / f"{FILES['roads']}.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"distance_matrix.csv.gz: cannot be read"):
        TravelDatabase.read(folder, "en")


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_a_real_database_is_small() -> None:
    tracemalloc.start()
    try:
        database = TravelDatabase.read(TRAVEL / "database_zh" / "id_0", "zh")
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < peak < 10e6
    assert database.hotels[0]["name"] and database.roads.leg("32.054508,118.854097", "32.040802,118.825064")
