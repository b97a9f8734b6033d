"""The journal: what was appended is there after any end of the process, and nothing else is."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import journal as module
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.journal import FORMAT, Journal

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

keys = st.text(max_size=8)
data = st.dictionaries(
    st.text(max_size=5),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)),
    max_size=4,
)
entries = st.lists(st.tuples(st.sampled_from(["task", "score"]), keys, data), max_size=12)


def contents(journal: Journal) -> dict[str, dict[str, dict]]:
    return {kind: dict(journal.items(kind)) for kind in ("task", "score")}


def lines(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("*.jsonl"))


def child(work: Callable[[], None]) -> int:
    """Runs `work` in a fork; nothing of pytest goes on there."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


@settings(max_examples=15, deadline=None)
@given(runs=st.lists(entries, min_size=1, max_size=3))
def test_what_was_appended_is_there_when_it_is_opened_again(runs):
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, dict[str, dict]] = {"task": {}, "score": {}}
        for appended in runs:
            with Journal(folder) as journal:
                assert contents(journal) == expected
                for kind, key, value in appended:
                    assert journal.get(kind, key) == expected[kind].get(key)
                    journal.append(kind, key, value)
                    expected[kind][key] = value
                    assert journal.get(kind, key) == value
                assert contents(journal) == expected
        again = Journal(folder)
        assert contents(again) == expected
        assert {kind: list(of_kind) for kind, of_kind in contents(again).items()} == {
            kind: list(of_kind) for kind, of_kind in expected.items()
        }


@settings(max_examples=25, deadline=None)
@given(appended=entries.filter(bool), share=st.floats(0, 1), garbage=st.binary(max_size=20))
def test_a_file_cut_off_anywhere_keeps_its_whole_lines(appended, share, garbage):
    with tempfile.TemporaryDirectory() as folder:
        with Journal(folder) as journal:
            for number, (_, _, value) in enumerate(appended):
                journal.append("task", str(number), value)
        [file] = lines(folder)
        whole = file.read_bytes()
        cut = int(share * len(whole))
        file.write_bytes(whole[:cut] + garbage.replace(b"\n", b""))
        finished = max(0, whole[:cut].count(b"\n") - 1)
        torn = Journal(folder)
        kept = dict(torn.items("task"))
        assert list(kept) == [str(number) for number in range(len(kept))]
        assert finished <= len(kept) <= finished + 1  # of a last line only its end may be missing
        assert all(kept[key] == appended[int(key)][2] for key in kept)
        torn.append("task", "next", {"after": "the tear"})
        assert dict(Journal(folder).items("task")) == {**kept, "next": {"after": "the tear"}}


@forks
def test_a_process_that_is_killed_at_any_moment_loses_nothing_that_it_finished(tmp_path):
    rng = random.Random(4)
    known = 0
    for again in range(12):
        read, write = os.pipe()

        def work(write: int = write, start: int = known) -> None:
            journal = Journal(tmp_path)
            for number in range(start, start + 10_000):
                journal.append("task", str(number), {"number": number, "text": "é" * (number % 3000)})
                os.write(write, b"%d\n" % number)

        pid = child(work)
        os.close(write)
        first = os.read(read, 1) if again % 2 else b""  # at any moment, or at any moment after the first line
        time.sleep(rng.uniform(0.001, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as said:
            acknowledged = [int(line) for line in (first + said.read()).split(b"\n")[:-1]]
        kept = dict(Journal(tmp_path).items("task"))
        assert list(kept) == [str(number) for number in range(len(kept))]
        assert all(kept[key] == {"number": int(key), "text": "é" * (int(key) % 3000)} for key in kept)
        finished = acknowledged[-1] + 1 if acknowledged else known
        assert finished <= len(kept) <= finished + 1  # it may have been killed between the line and its word of it
        known = len(kept)
    assert known >= 6


@forks
def test_threads_and_processes_append_at_once(tmp_path):
    journal = Journal(tmp_path)
    journal.append("task", "first", {})

    def some(name: str) -> None:
        for number in range(10):
            journal.append("task", f"{name}{number}", {"by": name, "text": "x" * 5000})

    pids = [child(lambda name=name: some(name)) for name in "ab"]  # each inherits the parent's open file
    threads = [threading.Thread(target=some, args=(name,)) for name in "cdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pid in pids:
        os.waitpid(pid, 0)
    expected = {"first": {}} | {f"{n}{i}": {"by": n, "text": "x" * 5000} for n in "abcdef" for i in range(10)}
    assert dict(Journal(tmp_path).items("task")) == expected
    assert set(dict(journal.items("task"))) == {key for key in expected if key[0] not in "ab"}
    assert len(lines(tmp_path)) == 3


def test_what_is_read_is_a_copy_and_what_others_append_is_seen_by_the_next_opening(tmp_path):
    journal = Journal(tmp_path)
    journal.append("task", "1", {"a": [1]})
    journal.get("task", "1")["a"].append(2)
    Journal(tmp_path).append("task", "2", {"b": 2})
    assert journal.get("task", "1") == {"a": [1]} and journal.get("task", "2") is None
    assert dict(Journal(tmp_path).items("task")) == {"1": {"a": [1]}, "2": {"b": 2}}


def test_a_write_that_fails_spoils_nothing(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append("task", "1", {})
    write = module._write

    def full(file, line):
        write(file, line[: len(line) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append("task", "2", {"a": "b"})
    monkeypatch.setattr(module, "_write", write)
    assert journal.get("task", "2") is None
    journal.append("task", "3", {})
    assert list(dict(Journal(tmp_path).items("task"))) == list(dict(journal.items("task"))) == ["1", "3"]


def test_nothing_is_written_of_data_without_a_json_form(tmp_path):
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ValueError, match="lock has no JSON form"):
        journal.append("task", "1", {"lock": threading.Lock()})
    assert not journal.path.exists()
    journal.append("task", "1", {"score": float("nan"), "text": "\ud800"})
    assert Journal(journal.path).get("task", "1") == {"score": None, "text": "?"}


def test_damage_is_told_with_its_place(tmp_path):
    with Journal(tmp_path) as journal:
        for number in range(3):
            journal.append("task", str(number), {})
    [file] = lines(tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"key":"1"', '"key":'), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=rf"{file.name}, line 3 is damaged.*delete the line"):
        Journal(tmp_path)
    file.write_text(text.replace(f'"format":{FORMAT}', f'"format":{FORMAT + 1}'), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"has the format {FORMAT + 1}, and this version .* reads format"):
        Journal(tmp_path)
    with pytest.raises(ConfigurationError, match="a journal is a folder"):
        Journal(file)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc")
def test_a_closed_journal_holds_no_file(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with Journal(tmp_path) as journal:
        journal.append("task", "1", {})
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before
    journal.append("task", "2", {})
    journal.close()
    assert list(dict(Journal(tmp_path).items("task"))) == ["1", "2"]
