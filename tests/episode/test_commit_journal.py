"""A commit that a kill cut off: what was done is not done again, in whatever process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import dspy
import pytest

from pivot_dspy import CommitError, Environment, Pivot, check, tool
from pivot_dspy.episode.commit_record import CommitRecord
from tests.scripted import plan, scripted, step, submit


class Killed(BaseException):
    """As if the process had been killed: nothing that comes after it is run."""


class Ledger(Environment):
    """Three entries are written; the world may be killed at any of them, before or after it is written."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.killed_at = ""

    @tool(effect="write")
    def write(self, text: str) -> str:
        if self.killed_at == f"before {text}":
            raise Killed
        self.entries.append(text)
        if self.killed_at == f"after {text}":
            raise Killed
        return text

    @check
    def has_all(self) -> bool:
        return self.entries == ["x", "y", "z"]


class Keyed(Ledger):
    """The world knows a call that is made again."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    @tool(effect="write", idempotency_key="key")
    def write(self, text: str, key: str = "") -> str:
        if self.killed_at == f"before {text}":
            raise Killed
        if key not in self.seen:
            self.entries.append(text)
            self.seen.add(key)
        if self.killed_at == f"after {text}":
            raise Killed
        return text


class Whole(Ledger):
    """All is written, or nothing."""

    @contextmanager
    def transaction(self) -> Any:
        before = list(self.entries)
        try:
            yield
        except BaseException:
            self.entries[:] = before
            raise
        if self.killed_at == "ending":
            raise Killed


STEPS = [step(name, "write", text=text) for name, text in zip("abc", "xyz", strict=True)]
SCRIPT = {"plan": plan([*STEPS, submit(answer="$c")], [{"id": "R1", "check": "has_all", "args": {}}])}


def go_on(world, path, **options):
    """The refiner as another process would make it, and its result."""
    made = Pivot("request -> answer", world, journal=path, timeout=None)
    with dspy.context(lm=scripted(**SCRIPT)):
        return made(request="Write x, y and z.", **options)


def killed(world, path, at):
    result = go_on(world, path)
    world.killed_at = at
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommitRecord, "ended", lambda *_: None)  # a process that was killed writes nothing more
        result.commit()
    world.killed_at = ""


MOMENTS = [f"{when} {text}" for text in "xyz" for when in ("before", "after")]


@pytest.mark.parametrize("at", MOMENTS)
def test_no_finished_write_is_made_again(tmp_path, at):
    world = Ledger()
    killed(world, tmp_path, at)
    done = list(world.entries)
    result = go_on(world, tmp_path)
    with pytest.raises(CommitError, match="already tried to commit"):
        result.commit()
    step_id = "abc"["xyz".index(at[-1])]
    with pytest.raises(CommitError, match=f"nobody knows whether the last call of step {step_id}"):
        result.resume_commit()
    assert world.entries == done
    if at.startswith("before"):
        assert result.resume_commit(repeat=step_id).outputs == {"answer": "z"}
        assert world.entries == ["x", "y", "z"] and go_on(world, tmp_path).committed is not None


@pytest.mark.parametrize("at", MOMENTS)
def test_with_an_idempotency_key_it_goes_on_by_itself(tmp_path, at):
    world = Keyed()
    killed(world, tmp_path, at)
    result = go_on(world, tmp_path, commit=True)
    assert world.entries == ["x", "y", "z"] and result.committed.outputs == {"answer": "z"}


@pytest.mark.parametrize("at", MOMENTS)
def test_a_transaction_is_begun_anew(tmp_path, at):
    world = Whole()
    killed(world, tmp_path, at)
    assert world.entries == []
    assert go_on(world, tmp_path, commit=True).committed is not None and world.entries == ["x", "y", "z"]


def test_a_transaction_that_may_have_been_made_durable_is_a_persons_to_judge(tmp_path):
    world = Whole()
    killed(world, tmp_path, "ending")
    result = go_on(world, tmp_path)
    with pytest.raises(CommitError, match="nobody knows whether its transaction was made durable"):
        result.resume_commit()
    world.entries.clear()
    result.resume_commit(repeat="all")
    assert world.entries == ["x", "y", "z"]


def test_what_is_committed_is_not_committed_again(tmp_path):
    world = Ledger()
    go_on(world, tmp_path, commit=True)
    again = go_on(world, tmp_path, commit=True)
    assert world.entries == ["x", "y", "z"] and again.committed.outputs == {"answer": "z"}
    with pytest.raises(CommitError, match="already committed"):
        again.commit()
