"""Directories and repositories that the tests act on, and how they stand."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy.environments.files.sandbox import bubblewrap

FILES = {
    "README.md": "# Tools\n\nTwo tools.\n",
    "src/tools/hammer.py": "WEIGHT = 3\n\n\ndef hit():\n    return WEIGHT\n",
    "src/tools/saw.py": "TEETH = 30\n",
    "docs/a.txt": "first\r\nsecond\r\n",
    "run.sh": "#!/bin/sh\necho run\n",
    ".gitignore": "build/\n*.log\n",
}
SECRET = "k-7f3a-secret"
HIDDEN_FILES = {
    ".env": SECRET, "config/.env.local": SECRET, "keys/id_rsa": SECRET, "server.pem": SECRET, "build/out.txt": SECRET,
    "src/debug.log": SECRET, ".git/config": SECRET, ".aws/credentials": SECRET, "x/.NETRC": SECRET,
}  # fmt: skip

needs_sandbox = pytest.mark.skipif(bubblewrap() is None, reason="bubblewrap does not work here")


def fill(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    if (root / "run.sh").exists():
        (root / "run.sh").chmod(0o755)
    return root


def state(root: Path, *, times: bool = True) -> dict[str, Any]:
    """All of a directory: contents, modes, links, and with `times` when each was last changed."""
    seen: dict[str, Any] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            status = path.lstat()
            is_file = stat.S_ISREG(status.st_mode)
            content = path.read_bytes() if is_file else os.readlink(path) if path.is_symlink() else None
            when = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns) if times else ()
            seen[path.relative_to(root).as_posix()] = (content, status.st_mode, *when)
    return seen


def texts(root: Path) -> dict[str, str]:
    """The files of a directory that no rule hides, by path."""
    paths = (path for path in root.rglob("*") if path.is_file() and not {".git", ".pivot-commit"} & {*path.parts})
    return {path.relative_to(root).as_posix(): path.read_bytes().decode() for path in paths}


def git(root: Path, *words: str) -> str:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(["git", *words], cwd=root, env=settings, capture_output=True, text=True, check=True)
    return done.stdout


def repository(root: Path, files: dict[str, str] = FILES) -> Path:
    """A repository with one commit, on the branch `main`."""
    fill(root, files)
    git(root, "init", "-q", "-b", "main")
    for setting, value in (("user.email", "a@example.org"), ("user.name", "A"), ("commit.gpgsign", "false")):
        git(root, "config", setting, value)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return root
