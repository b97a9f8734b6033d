"""What a run's journal keeps of a commit, so that another process knows what was done and does none of it again.

A line is written before a call that changes something, and one after it; so of a call that a kill cut off nobody knows
whether it was made, and it is treated as one that took too long. A transaction that was not about to be made durable is
undone with the process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from pivot_dspy.environment.calls import CallResult
from pivot_dspy.episode.commit_attempt import CommitProgress, RealCall
from pivot_dspy.plain_json import plain
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.trajectory import Execution

COMMIT = "commit"
"""Kind of the journal's lines."""


class Committed(NamedTuple):
    """How far a commit had got."""

    state: Literal["new", "failed", "done"]
    progress: CommitProgress
    in_doubt: bool = False
    """Whether nobody knows if its transaction was made durable."""


class CommitRecord:
    """The lines of one commit.

    Args:
        journal: of the run; it is opened again for a commit that is made later.
    """

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal
        self._lines = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """No other process commits inside the block, and what others did before it is known.

        Raises:
            ConfigurationError: another one has the run.
        """
        self._journal = self._journal.reopened()
        try:
            yield
        finally:
            self._journal.close()

    def read(self) -> Committed:
        """How far the commit had got when the journal was opened."""
        progress, state, begun = CommitProgress(), "new", False
        ending = transacted = in_doubt = unknown_lasts = False
        lines = [line for _, line in self._journal.items(COMMIT)]
        self._lines = len(lines)
        for line in lines:
            what = line["what"]
            if what == "start":
                if transacted:
                    _roll_back(progress, unknown_lasts)
                state, begun, ending, transacted = "failed", True, False, line["transaction"]
                progress.withheld = frozenset(line["withheld"])
            elif what == "call":
                progress.unknown, unknown_lasts = (line["step"], line["number"]), line["lasts"]
                progress.failed = line["step"]
            elif what == "made":
                progress.unknown = None
                progress.calls.append(_call(line))
            elif what == "refused":
                progress.unknown = None
            elif what == "ending":
                ending = True
            elif what == "rolled back":
                _roll_back(progress, unknown_lasts)
                transacted = False
            elif what == "in doubt":
                in_doubt = True
            elif what == "repeat":
                in_doubt = False
            elif what == "end":
                progress.execution = Execution.model_validate(line["execution"])
                progress.observed = {seen.step: seen for seen in progress.execution.observations}
                return Committed("done", progress)
        if begun and transacted:
            in_doubt |= ending
            _roll_back(progress, unknown_lasts)
        return Committed("failed" if state == "failed" else "new", progress, in_doubt)

    def starts(self, withheld: Collection[str], *, transaction: bool) -> None:
        """An attempt begins."""
        self._write("start", withheld=sorted(withheld), transaction=transaction)

    def calls(self, step: str, number: int, *, lasts: bool) -> None:
        """A call that changes something is about to be made.

        Args:
            lasts: whether no transaction undoes it.
        """
        self._write("call", step=step, number=number, lasts=lasts)

    def made(self, call: RealCall) -> None:
        """It was made."""
        self._write(
            "made", step=call.step, number=call.number, tool=call.tool, args=dict(call.args), value=call.result.value,
            lasts=call.lasts,
        )  # fmt: skip

    def refused(self, step: str, number: int) -> None:
        """It was not made, for the tool says so."""
        self._write("refused", step=step, number=number)

    def ending(self) -> None:
        """All was run, and a transaction is about to be made durable."""
        self._write("ending")

    def ended(self, outcome: str, execution: Execution | None) -> None:
        """An attempt is over.

        Args:
            outcome: `done`, or how its transaction ended where it failed.
            execution: all that was observed.
        """
        if outcome == "done" and execution is not None:
            self._write("end", execution=execution.model_dump(mode="json"))
        elif outcome == "rolled back":
            self._write("rolled back")
        elif outcome == "unknown":
            self._write("in doubt")

    def repeats(self) -> None:
        """A person has found that a transaction in doubt was not made durable."""
        self._write("repeat")

    def _write(self, what: str, **data: Any) -> None:
        self._lines += 1
        self._journal.set(COMMIT, f"{self._lines:06d}", plain({"what": what, **data}))


def _call(line: Mapping[str, Any]) -> RealCall:
    result = CallResult(line["value"], None, 0.0)
    return RealCall(line["step"], line["number"], line["tool"], line["args"], result, lasts=line["lasts"])


def _roll_back(progress: CommitProgress, unknown_lasts: bool) -> None:
    """Forget what a transaction has undone."""
    progress.calls = [call for call in progress.calls if call.lasts]
    if not unknown_lasts:
        progress.unknown = progress.failed = None
