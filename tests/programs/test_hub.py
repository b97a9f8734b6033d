"""Fetching into the cache: the real download manager of `datasets`, on files that lie here."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.deepplanning.hub import fetched
from programs.options import DataError


@pytest.mark.parametrize(("revision", "again"), [("0" * 40, "first"), ("v1", "second")])
def test_a_commit_is_kept_and_a_tag_asked_for_again(
    revision: str, again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "requests.json"
    for text, kept in (("first", "first"), ("second", again)):
        file.write_text(text, encoding="utf-8")
        folder = fetched("made", revision, [str(file)], "requests.json")
        assert (folder / "requests.json").read_text(encoding="utf-8") == kept
    assert file.is_file() and [path.name for path in folder.parent.iterdir()] == [f"made-{revision}"]


def test_what_cannot_be_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match="nowhere.zip: check the network and the revision, or load from .* LAYOUT"):
        fetched("made", "v1", [str(tmp_path / "nowhere.zip")], "LAYOUT")
