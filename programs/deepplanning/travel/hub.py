"""Fetches the DeepPlanning travel data: the databases from the Hugging Face hub, the requests from GitHub."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from programs.deepplanning.loader import PINNED, REPOSITORY
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.loader import LAYOUT
from programs.options import DataError

ARCHIVE = "hf://datasets/{repository}@{revision}/database_{language}.zip"
REQUESTS = (
    "https://raw.githubusercontent.com/QwenLM/Qwen-Agent/31a4d36d123688581a9e9744427272b33ce940e0/"
    "benchmark/deepplanning/travelplanning/data/travelplanning_query_{language}.json"
)
"""The data set holds no requests: they are files of the benchmark's code, here at the commit that its users pin."""


def hub_directory(
    language: Language = "en", *, revision: str = PINNED, archive: str = ARCHIVE, requests: str = REQUESTS
) -> Path:
    """Downloads the travel data of one language once and returns the folder to load from.

    Args:
        revision: a commit of the data set; once fetched it is kept, and not asked for again.
        archive: where the database lies; the library `datasets` fetches and unpacks it.
        requests: where the requests, with the gold, lie.

    Raises:
        DataError: they cannot be fetched or unpacked.
    """
    from datasets import DownloadConfig, DownloadManager

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pivot_dspy" / "deepplanning"
    target = cache / f"travel-{language}-{revision}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    urls = [url.format(repository=REPOSITORY, revision=revision, language=language) for url in (archive, requests)]
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        manager = DownloadManager(download_config=DownloadConfig(cache_dir=Path(scratch) / "fetched", max_retries=2))
        try:
            unpacked, file = (Path(part) for part in manager.download_and_extract(urls))
        except Exception as error:  # the network, the hub, the archive: each has errors of its own
            raise DataError(
                f"cannot fetch {' and '.join(urls)}: check the network and the revision, or load from a folder that "
                f"holds {LAYOUT} ({type(error).__name__}: {error})"
            ) from error
        folder = Path(scratch) / "whole"
        folder.mkdir()
        shutil.move(unpacked / f"database_{language}", folder)
        shutil.copy(file, folder / f"travelplanning_query_{language}.json")
        try:
            folder.rename(target)  # in one move, so that no half-made folder is ever taken for a whole one
        except OSError:
            if not target.is_dir():  # another process may have been first
                raise
    return target
