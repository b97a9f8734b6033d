"""What a fork of a directory and of a git repository costs, beside copies of the same state made otherwise.

`python -m programs.benchmarks.forks_of_files [--json PATH] [--files 1000] [--megabytes 50]`. Each figure comes from a
process of its own: seconds of the processor, children included, the best of five; seconds by the clock; and the memory
that 20 copies take when all are held, each with one changed file, as the growth of the process's peak.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files.copies import laid_out
from pivot_dspy.environments.git_repository import GitEnvironment

FILES, MEGABYTES = 1000, 50.0
HELD = 20
TIMES = 5
FIRST = "package0/module0.txt"


class Copying(NamedTuple):
    """A way to copy a state."""

    make: Callable[[Path], Any]
    """What is copied, made of a directory."""
    copy: Callable[[Any], Any]
    change: Callable[[Any], None]
    """Changes one file of a copy."""


def _trial(environment: Any) -> Any:
    trial = environment.fork()
    for number in range(HELD):
        trial.write_file(f"package0/new{number}.txt", "new\n" * 100)
    return trial


def _contents(kind: type, root: Path) -> dict[str, Any]:
    return {str(path): kind(path.read_bytes()) for path in root.rglob("*.txt")}


def _file_tree(root: Path) -> Path:
    target = Path(tempfile.mkdtemp(dir=root.parent), "copy")
    shutil.copytree(root, target)
    return target


def _shared_clone(root: Path) -> Path:
    """The other way to fork a repository: a clone that shares objects, with the uncommitted changes as a diff."""
    target = Path(tempfile.mkdtemp(dir=root.parent), "clone")
    _git(root.parent, "clone", "-q", "--shared", "-c", "core.hooksPath=/dev/null", str(root), str(target))
    difference = _git(root, "diff", "--binary", "HEAD")
    if difference:
        subprocess.run(["git", "apply"], cwd=target, input=difference, check=True)
    return target


def _lay_out(environment: Any) -> int:
    with laid_out(environment.fork()._seen()) as (_, there):
        return len(there)


def _git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True).stdout


def _write(environment: Any) -> None:
    environment.write_file(FIRST, "changed\n")


def _write_file(root: Path) -> None:
    (root / FIRST).write_text("changed\n")


def _write_bytes(contents: dict[str, Any]) -> None:
    contents[next(iter(contents))] = b"changed\n"


def _nothing(made: Any) -> None:
    """It is over when it is made."""


def _open(kind: Any) -> Callable[[Path], Any]:
    return lambda root: kind(root, commands="none")


WAYS: dict[str, Copying] = {
    "directory: fork of the real one": Copying(_open(DirectoryEnvironment), lambda real: real.fork(), _write),
    "directory: fork of a trial": Copying(
        lambda root: _trial(_open(DirectoryEnvironment)(root)), lambda trial: trial.fork(), _write
    ),
    "directory: laid out for a command": Copying(_open(DirectoryEnvironment), _lay_out, _nothing),
    "directory: shutil.copytree": Copying(lambda root: root, _file_tree, _write_file),
    "memory: deepcopy of bytes": Copying(lambda root: _contents(bytes, root), copy.deepcopy, _write_bytes),
    "memory: deepcopy of bytearrays": Copying(lambda root: _contents(bytearray, root), copy.deepcopy, _write_bytes),
    "git: fork of the real one": Copying(_open(GitEnvironment), lambda real: real.fork(), _write),
    "git: fork of a trial": Copying(
        lambda root: _trial(_open(GitEnvironment)(root)), lambda trial: trial.fork(), _write
    ),
    "git: git clone --shared": Copying(lambda root: root, _shared_clone, _write_file),
}


def fill(root: Path, files: int, megabytes: float, *, repository: bool) -> None:
    """A directory of text files in 20 folders, of the same size each, that no compression makes small."""
    size = int(megabytes * 1_000_000 / files)
    for number in range(files):
        path = root / f"package{number % 20}" / f"module{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size // 2 + 1).hex().encode()[:size])
    if repository:
        _git(root, "init", "-q")
        for setting, value in (("user.email", "a@example.org"), ("user.name", "A"), ("gc.auto", "0")):
            _git(root, "config", setting, value)
        _git(root, "add", "-A")
        _git(root, "commit", "-q", "-m", "First")
        (root / FIRST).write_text("uncommitted\n")


def make_directory(folder: Path, scale: float) -> DirectoryEnvironment:
    """1,000 files of 50 MB in all, or this part of them, and the environment on them."""
    fill(folder / "state", max(1, round(FILES * scale)), MEGABYTES * scale, repository=False)
    return DirectoryEnvironment(folder / "state", commands="none")


def make_repository(folder: Path, scale: float) -> GitEnvironment:
    """The same, in a repository with one commit and one uncommitted change."""
    fill(folder / "state", max(1, round(FILES * scale)), MEGABYTES * scale, repository=True)
    return GitEnvironment(folder / "state", commands="none")


def read_files(environment: Any) -> dict[str, bytearray]:
    """The content of all files, as objects that can be changed: a deep copy would share those that cannot."""
    tree = environment.fork()._seen()
    return {path: bytearray(tree.read(path)) for path in tree.paths()}


def write_file(fork: Any, number: int) -> Any:
    """Make one small file in a fork."""
    return fork.write_file(f"package0/new{number}.txt", "new\n")


def measure(name: str, files: int, megabytes: float) -> dict[str, Any]:
    """Time and memory of one way to copy, in this process."""
    way = WAYS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "state")
        fill(root, files, megabytes, repository=name.startswith("git"))
        made = way.make(root)
        way.copy(made)  # what is imported and cached once
        times = [_timed(lambda: way.copy(made)) for _ in range(TIMES)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held = []
        for _ in range(HELD):
            held.append(way.copy(made))
            way.change(held[-1])
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        disk = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if root not in (path, *path.parents))
    return {
        "processor_ms": min(processor for processor, _ in times) * 1000,
        "clock_ms": min(clock for _, clock in times) * 1000,
        "held_mb": grown / 1024,
        "disk_mb": disk / 1e6,
    }


def _timed(function: Callable[[], Any]) -> tuple[float, float]:
    def processor() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))

    before, started = processor(), time.perf_counter()
    function()
    return processor() - before, time.perf_counter() - started


def figures(files: int, megabytes: float) -> dict[str, dict[str, Any]]:
    """The figures of every way, each measured in a process of its own."""
    measured = {}
    for name in WAYS:
        words = ["--measure", name, "--files", str(files), "--megabytes", str(megabytes)]
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, *words], capture_output=True, text=True, check=True
        )  # fmt: skip
        measured[name] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where the figures are written, too")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--measure", choices=list(WAYS), help="measure one of them in this process")
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(json.dumps(measure(options.measure, options.files, options.megabytes)) + "\n")
        return
    measured = figures(options.files, options.megabytes)
    for name, row in measured.items():
        sys.stdout.write(
            f"{name:36}{row['processor_ms']:10.2f} ms of the processor{row['clock_ms']:10.2f} ms"
            f"{row['held_mb']:8.1f} MB in memory{row['disk_mb']:8.1f} MB on disk with {HELD} held\n"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(measured, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
