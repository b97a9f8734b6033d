"""Fetches the DeepPlanning travel data: the databases from the Hugging Face hub, the requests from GitHub."""

from __future__ import annotations

from pathlib import Path

from programs.deepplanning.hub import PINNED, REPOSITORY, fetched
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.loader import LAYOUT

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
        revision: a commit or a tag of the data set; a commit is kept, and not asked for again.
        archive: where the database lies; the library `datasets` fetches and unpacks it.
        requests: where the requests, with the gold, lie.

    Raises:
        DataError: they cannot be fetched or unpacked.
    """
    urls = [url.format(repository=REPOSITORY, revision=revision, language=language) for url in (archive, requests)]
    return fetched(f"travel-{language}", revision, urls, LAYOUT)
