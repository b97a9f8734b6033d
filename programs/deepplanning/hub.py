"""Fetches what DeepPlanning publishes, once, into a folder of the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from programs.options import DataError

REPOSITORY = "Qwen/DeepPlanning"
PINNED = "213876cce679f993a476d01042e13d111c0e3648"  # as pinned by public users of the data set; pass another to move


def fetched(name: str, revision: str, urls: Sequence[str], layout: str) -> Path:
    """Downloads files, unpacks the archives among them and returns the folder that holds all of it.

    Args:
        name: of the folder, before the revision.
        revision: a commit or a tag of the data set; what is of a commit is kept, and not asked for again.
        urls: what the library `datasets` fetches; what it cannot unpack is kept under its name.
        layout: what such a folder holds, for one who has it from elsewhere.

    Raises:
        DataError: they cannot be fetched or unpacked.
    """
    from datasets import DownloadConfig, DownloadManager

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pivot_dspy" / "deepplanning"
    target = cache / f"{name}-{revision}"
    settled = re.fullmatch("[0-9a-f]{40}", revision) is not None
    if settled and target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        manager = DownloadManager(download_config=DownloadConfig(cache_dir=Path(scratch) / "fetched", max_retries=2))
        try:
            parts = [Path(part) for part in manager.download_and_extract(list(urls))]
        except Exception as error:  # the network, the hub, the archive: each has errors of its own
            raise DataError(
                f"cannot fetch {' and '.join(urls)}: check the network and the revision, or load from a folder that "
                f"holds {layout} ({type(error).__name__}: {error})"
            ) from error
        folder = Path(scratch) / "whole"
        folder.mkdir()
        for url, part in zip(urls, parts, strict=True):
            if part.is_dir():
                shutil.copytree(part, folder, dirs_exist_ok=True, copy_function=shutil.move)
            else:
                shutil.copy(part, folder / Path(url).name)
        if not settled:
            shutil.rmtree(target, ignore_errors=True)
        try:
            folder.rename(target)  # in one move, so that no half-made folder is ever taken for a whole one
        except OSError:
            if not target.is_dir():  # another process may have been first
                raise
    return target
