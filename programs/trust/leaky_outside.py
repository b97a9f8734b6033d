"""Environments that leak into files, and that reach what waits for commit, each in a way of its own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pivot_dspy import tool
from programs.trust.leaky import Leaky, paid, way, writing

POOL = ThreadPoolExecutor(1)

# ------------------------------------------------------------------------------------------- files


def _append(self: Any) -> None:
    with open(self.path, "a", encoding="utf-8") as file:
        file.write("x")


def _insert(self: Any) -> None:
    with sqlite3.connect(self.path) as connection:
        connection.execute("insert into sold values (1)")
    connection.close()


def _database(folder: Path) -> Path:
    path = folder / "real.db"
    connection = sqlite3.connect(path)
    connection.execute("create table if not exists sold (id int)")
    connection.commit()
    connection.close()
    return path


def _text(folder: Path) -> Path:
    path = folder / "real.txt"
    path.write_text("as it was", encoding="utf-8")
    return path


def _of_file(name: str, make: Callable[[Path], Path], act: Callable[[Any], Any], kept: Callable[[Path], Any]) -> None:
    def instance(folder: Path) -> tuple[Any, Callable[[], Any]]:
        path = make(folder)
        return writing(act, lambda: {"path": kept(path)})(), path.read_bytes

    def factory(folder: Path) -> tuple[Any, Callable[[], Any]]:
        path = make(folder)
        text = str(path)
        kind = writing(act, lambda: {"path": kept(Path(text))})
        return kind, path.read_bytes

    way(name)(instance)
    way(f"{name}, of a class")(factory)


_of_file("a file by its path as text", _text, _append, str)
_of_file("a file by its Path", _text, _append, Path)
_of_file("a database by its path", _database, _insert, str)


@way("a folder by its Path")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    return (
        writing(lambda self: (self.root / f"new{time.time_ns()}").touch(), lambda: {"root": folder})(),
        lambda: sorted(os.listdir(folder)),
    )


@way("an open file that a fork shares")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    path = _text(folder)
    kind = writing(lambda self: self.file.write("x"), lambda: {"file": path.open("a")}, fork=copy.copy)
    real: Any = kind()
    return real, lambda: (real.file.flush(), path.read_bytes())[1]


@way("a connection that a fork shares")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    connection = sqlite3.connect(_database(folder), isolation_level=None, check_same_thread=False)
    kind = writing(
        lambda self: self.base.execute("insert into sold values (1)"), lambda: {"base": connection}, fork=copy.copy
    )
    return kind(), lambda: connection.execute("select count(*) from sold").fetchone()


@way("a fork's close that closes the real descriptor")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    path = _text(folder)
    real: Any = writing(
        lambda self: None, lambda: {"file": path.open()}, fork=copy.copy, close=lambda self: self.file.close()
    )()
    return real, lambda: real.file.closed


@way("a fork's close that closes the real connection")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    connection = sqlite3.connect(_database(folder), check_same_thread=False)
    real = writing(
        lambda self: None, lambda: {"base": connection}, fork=copy.copy, close=lambda self: self.base.close()
    )()

    def is_open() -> bool:
        try:
            connection.execute("select 1")
        except sqlite3.ProgrammingError:
            return False
        return True

    return real, is_open


# ------------------------------------------------------------------------------------------- what waits for commit


def _reaching(name: str, act: Callable[[Any], Any], **members: Any) -> None:
    """A way by which a tool that reads reaches the one that pays."""
    way(name)(lambda folder: (writing(act, effect="read", **members)(), paid))
    way(f"{name}, of a class")(lambda folder: (writing(act, effect="read", **members), paid))


def _refused(self: Any) -> None:
    """Pays in a thread, where nobody sees the refusal."""
    with contextlib.suppress(PermissionError):
        self.pay()


def _in_thread(self: Any) -> None:
    thread = threading.Thread(target=_refused, args=(self,))
    thread.start()
    thread.join()


def _later(self: Any) -> None:
    threading.Timer(0.02, _refused, (self,)).start()


async def _in_loop(self: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(None, self.pay)


def _close_late(self: Any) -> Iterator[int]:
    try:
        yield 1
    finally:
        _refused(self)


def _keep(self: Any) -> None:
    self.late = _close_late(self)
    next(self.late)


_reaching("a new thread", _in_thread)
_reaching("an executor", lambda self: POOL.submit(self.pay).exception())
_reaching("a timer that outlives the call", _later)
_reaching("asyncio.to_thread", lambda self: asyncio.run(asyncio.to_thread(self.pay)))
_reaching("run_in_executor", lambda self: asyncio.run(_in_loop(self)))
_reaching("the end of a generator", _keep)
_reaching("the end of an instance", lambda self: None, __del__=_refused)
_reaching("a fork that pays", lambda self: None, fork=lambda self: (self.pay(), copy.copy(self))[1])
_reaching("a close that pays", lambda self: None, close=lambda self: self.pay())


class Generating(Leaky):
    @tool(effect="read")
    def act(self) -> Iterator[int]:
        yield self.pay()


class PaysAtOnce(Leaky):
    def __init__(self) -> None:
        self.pay()

    @tool(effect="read")
    def act(self) -> int:
        return 1


class Previewing(Leaky):
    forkable = reopenable = False

    def __init__(self) -> None:
        self.orders: dict[str, int] = {}

    @tool(effect="irreversible", preview="as_if")
    def act(self) -> int:
        return 1

    def as_if(self) -> int:
        self.orders["o1"] = 1
        return 1


class Spending(Leaky):
    forkable = reopenable = False

    def __init__(self) -> None:
        self.balance = 10

    @tool(effect="read")
    def act(self) -> int:
        self.balance -= 1
        return self.balance


way("a read generator")(lambda folder: (Generating(), paid))
way("an __init__ that pays")(lambda folder: (PaysAtOnce, paid))


@way("a preview on the real thing")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    real = Previewing()
    return real, lambda: dict(real.orders)


@way("a read that spends, on the real thing")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    real = Spending()
    return real, lambda: real.balance


@way("a thread on the real thing")
def _(folder: Path) -> tuple[Any, Callable[[], Any]]:
    kind = writing(_in_thread, effect="read", forkable=False, reopenable=False)
    return kind(), paid
