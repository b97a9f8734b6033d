"""A cache of one's own in the place of DSPy's: nothing is read from or left on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dspy


@contextmanager
def own_cache(folder: Path | None = None) -> Iterator[None]:
    """In memory, and on disk too where there is a folder for it."""
    before = vars(dspy).get("cache")
    if folder is None:
        dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    else:
        dspy.configure_cache(enable_disk_cache=True, enable_memory_cache=True, disk_cache_dir=str(folder))
    try:
        yield
    finally:
        if folder is not None:
            dspy.cache.disk_cache.close()
        if before is None:
            del dspy.cache
        else:
            dspy.cache = before
