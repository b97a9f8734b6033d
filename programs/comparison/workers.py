"""The processes, of this machine or of a cluster, that a comparison runs in."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from pivot_dspy import ConfigurationError


@contextmanager
def workers(processes: int | None, dask: str | None) -> Iterator[Executor | None]:
    """An executor of so many processes, or of the Dask scheduler at an address; None without either.

    Raises:
        ConfigurationError: Dask is not installed, or nothing answers at the address.
    """
    if dask is not None:
        try:
            from distributed import Client

            client = Client(dask, timeout="10s")
        except ImportError as error:
            raise ConfigurationError("--dask takes Dask: pip install 'pivot-dspy[dask]'") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"--dask {dask}: {error}; name the address of a scheduler that runs") from error
        with client:
            yield client.get_executor()
    elif processes is not None:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as executor:
            yield executor
    else:
        yield None
