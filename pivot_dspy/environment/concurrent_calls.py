"""Calls of tools that are made at once: plain functions in threads, coroutines in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent import futures
from concurrent.futures import FIRST_COMPLETED, Future
from dataclasses import dataclass

from pivot_dspy.environment.calls import GRACE, CallResult, ToolCall

AT_ONCE = 16
"""Calls that are made at once at most: each plain function takes a thread, and a server may refuse more."""


@dataclass(frozen=True)
class ConcurrentCalls:
    """Calls that wait for none of each other. Those of plain functions have a worker each; those of async ones share
    one, in whose event loop they run.
    """

    calls: Sequence[ToolCall]

    def results(self) -> list[CallResult]:
        """Make them from sync code; the results are in the order of the calls."""
        for call in self.calls:
            if call.spec.is_async:
                call.refuse_own_loop()
        results: dict[int, CallResult] = {}
        pending = self._submit()
        try:
            while pending:
                times = [self.calls[number].remaining(_grace(self.calls[number])) for number in pending.values()]
                wait = min((seconds for seconds in times if seconds is not None), default=None)
                done, _ = futures.wait(pending, wait, return_when=FIRST_COMPLETED)
                results |= {pending.pop(future): future.result() for future in done}
                self._give_up_overdue(pending, results)
        except KeyboardInterrupt:
            for future, number in pending.items():
                self.calls[number].worker.abandon(future)
            raise
        return [results[number] for number in range(len(self.calls))]

    async def aresults(self) -> list[CallResult]:
        """As `results`, from async code: coroutines run in its event loop."""
        return list(await asyncio.gather(*(call.aresult() for call in self.calls)))

    def _submit(self) -> dict[Future[CallResult], int]:
        """Begin all calls; their futures, with the number of each."""
        pending: dict[Future[CallResult], int] = {}
        awaited: list[tuple[ToolCall, Future[CallResult]]] = []
        for number, call in enumerate(self.calls):
            if call.spec.is_async:
                future: Future[CallResult] = Future()
                awaited.append((call, future))
            else:
                future = call.worker.submit(call.run_here)
            pending[future] = number
        if awaited:
            worker = awaited[0][0].worker
            worker.submit(lambda: worker.finish(_gathered(awaited)))
        return pending

    def _give_up_overdue(self, pending: dict[Future[CallResult], int], results: dict[int, CallResult]) -> None:
        blocked = False
        for future, number in list(pending.items()):
            call = self.calls[number]
            if not future.done() and call.is_overdue(_grace(call)):
                results[pending.pop(future)] = call.give_up()
                blocked |= call.spec.is_async
        if blocked:  # a coroutine that never awaits has stopped the loop: those that had not begun get another
            for future, number in list(pending.items()):
                call = self.calls[number]
                if call.spec.is_async and future.cancel():
                    del pending[future]
                    pending[_submit_alone(call)] = number


def _grace(call: ToolCall) -> float:
    return GRACE if call.spec.is_async else 0.0


def _submit_alone(call: ToolCall) -> Future[CallResult]:
    return call.worker.submit(lambda: call.worker.finish(call.await_here()))


async def _gathered(awaited: Sequence[tuple[ToolCall, Future[CallResult]]]) -> None:
    tasks = []
    for call, future in awaited:
        tasks.append(asyncio.ensure_future(_settled(call, future)))
        for _ in range(2):  # its task, and the one that makes the call: it has begun before the next is taken up
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def _settled(call: ToolCall, future: Future[CallResult]) -> None:
    """Make a call, unless it was taken back, and tell its result to who waits in another thread."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(await call.await_here())
    except BaseException as error:  # whoever waits must not wait for ever
        future.set_exception(error)
