"""Fetching the travel data once: the real download manager of `datasets`, on files that lie here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from programs.deepplanning.travel.hub import hub_directory
from programs.deepplanning.travel.loader import load_gold, load_tasks
from programs.options import DataError
from tests.programs.travel.cities import META, write_tasks


def test_the_data_is_fetched_once_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = write_tasks(tmp_path / "made", 4, language="zh", published=True)
    archive = Path(shutil.make_archive(str(tmp_path / "database_zh"), "zip", made, "database_zh"))
    requests = made / "travelplanning_query_zh.json"
    sources = {"archive": str(tmp_path / "database_{language}.zip"), "requests": str(requests)}
    folder = hub_directory("zh", **sources)
    assert [task.request for task in load_tasks(folder, language="zh")] == ["request 4"]
    assert load_tasks(folder, language="zh")[0].database.hotels and load_gold(folder, language="zh") == {"zh-4": META}
    archive.unlink()
    requests.unlink()
    assert hub_directory("zh", **sources) == folder
    with pytest.raises(DataError, match="database_en.zip and .*: check the network and the revision, or load from"):
        hub_directory("en", **sources)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
