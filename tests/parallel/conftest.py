"""Executors of other processes, which all tests of this room share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

import pytest

from tests.optimizer.processes import CONTEXT, METHOD


@pytest.fixture(scope="session")
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=CONTEXT) as executor:
        yield executor


@pytest.fixture(scope="session")
def dask() -> Iterator[Executor]:
    distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
    config = pytest.importorskip("dask.config")
    with (
        config.set({"distributed.worker.multiprocessing-method": METHOD}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs="ERROR"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.fixture(params=["processes", "dask"])
def elsewhere(request: pytest.FixtureRequest) -> Executor:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def ray_pool() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    pools = pytest.importorskip("ray.util.multiprocessing")
    path = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", runtime_env=path)
    except Exception as error:  # it begins servers of its own, which not every machine allows
        pytest.skip(f"Ray does not start here: {type(error).__name__}: {error}")
    pool = pools.Pool(2)
    yield pool
    pool.terminate()
    ray.shutdown()
