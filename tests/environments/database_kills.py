"""Kills commits to a database: `python -m tests.environments.database_kills sqlite|postgres FOLDER KILLS`.

Each commit runs in a forked child, which is killed by SIGKILL at a random moment of the time that a whole one takes.
Printed is what stood in the database after each: nothing of the commit, all of it, or something between.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.environments.databases import PostgresWorld, SQLiteWorld, World
from tests.episode.committing import refined
from tests.scripted import step, submit

ORDERS = 6
STEPS = [
    *(step(f"o{n}", "execute", sql=f"INSERT INTO orders VALUES ({n}, 1, {n})") for n in range(1, ORDERS + 1)),
    step("t", "execute", sql="CREATE TABLE shipped (id INTEGER)"),
    step("c", "execute", sql="UPDATE customers SET credit = :left WHERE id = 1", parameters={"left": 7}),
    submit(answer="Ordered."),
]


def standing(world: World) -> str:
    """Whether all of the commit stands in the database, or nothing."""
    orders = world.run("SELECT count(*) FROM orders")[0][0]
    credit = world.run("SELECT credit FROM customers WHERE id = 1")[0][0]
    where = "sqlite_master WHERE name" if world.kind == "sqlite" else "pg_class WHERE relname"
    tables = world.run(f"SELECT count(*) FROM {where} = 'shipped'")[0][0]
    if world.kind == "sqlite" and world.run("PRAGMA integrity_check") != [("ok",)]:
        return "damaged"
    return {(0, 100, 0): "nothing", (ORDERS, 7, 1): "all"}.get((orders, credit, tables), "between")


def reset(world: World) -> None:
    for sql in ("DELETE FROM orders", "UPDATE customers SET credit = 100 WHERE id = 1", "DROP TABLE IF EXISTS shipped"):
        world.run(sql)


def ended(world: World) -> None:
    """Wait until the server has seen that its client is dead."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while world.kind == "postgres" and world.run(busy)[0][0]:
        time.sleep(0.005)


def main() -> None:
    kind, folder, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
    world: World = SQLiteWorld(Path(folder)) if kind == "sqlite" else PostgresWorld(folder)
    source = random.Random(7)
    result = refined(world.environment(), STEPS, status="judged")
    seen: list[str] = []
    whole = 0.0
    for number in range(kills + 1):
        begun, child = time.monotonic(), os.fork()
        if child == 0:
            result.commit()
            os._exit(0)
        if number == 0:
            os.waitpid(child, 0)
            whole = time.monotonic() - begun
        else:
            time.sleep(source.uniform(0.0, whole))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        ended(world)
        seen.append(standing(world))
        reset(world)
    world.close()
    print(json.dumps({"seconds": whole, "unkilled": seen[0], "seen": seen[1:]}))


if __name__ == "__main__":
    main()
