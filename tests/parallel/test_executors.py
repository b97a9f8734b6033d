"""How tasks are spread over the processes of an executor."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.pool import ThreadPool

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.parallel.executors import FEWEST, check_executor, load_of

counts = st.integers(1, 300)


class Workers(Executor):
    """So many, each of one slot, as a process pool has them."""

    def __init__(self, count: int) -> None:
        self._max_workers = count


@given(tasks=counts, workers=st.integers(1, 64), threads=st.integers(1, 64))
def test_batches_are_no_larger_than_keeps_all_busy(tasks: int, workers: int, threads: int) -> None:
    load = load_of(Workers(workers), tasks, threads)
    assert load.threads == threads and 1 <= load.batch <= 2 * threads
    batches = -(-tasks // load.batch)
    assert batches >= min(workers, tasks)  # no worker is left without


def test_the_threads_are_those_of_dspy_or_what_dask_has(dask: Executor) -> None:
    with ProcessPoolExecutor(2) as pool, dspy.context(num_threads=5):
        assert load_of(pool, 100, None) == (5, 10)
    with dspy.context(num_threads=1):
        assert load_of(dask, 100, None) == (2, FEWEST) and load_of(dask, 4, 16) == (16, 1)


def test_a_pool_whose_tasks_are_lost_with_a_process_is_refused() -> None:
    with ThreadPool(1) as pool, pytest.raises(ConfigurationError, match=r"a ray.util.multiprocessing.Pool, not Thread"):
        check_executor(pool)
