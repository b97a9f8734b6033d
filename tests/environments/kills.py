"""Kills commits: `python -m tests.environments.kills directory|git FOLDER KILLS` prints how the tree stood after each.

Each commit runs in a forked child that ends itself by SIGKILL at one of the moments at which it touches the file
system or starts a program; the moments of a whole commit are counted first, and the kills spread over them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files.commit import recover
from pivot_dspy.environments.git_repository import GitEnvironment
from tests.environments.trees import fill, git, repository, texts

BEFORE = {f"src/{number}.txt": f"before {number}\n" for number in range(6)}
AFTER = {
    **{f"src/{number}.txt": f"after {number}\n" for number in range(3)},
    "src/4.txt": "before 4\n", "lib/5.txt": "before 5\n", "new/a/b.txt": "new\n",
}  # fmt: skip


def make(kind: str, root: Path) -> Any:
    if kind == "git":
        template = root.with_name("template")
        if not template.exists():
            repository(template, BEFORE)
        shutil.copytree(template, root)
        return GitEnvironment(root, message="Second", commands="none")
    return DirectoryEnvironment(fill(root, BEFORE), commands="none")


def commit(environment: Any) -> None:
    with environment.transaction():
        for number in range(3):
            environment.write_file(f"src/{number}.txt", f"after {number}\n")
        environment.delete_file("src/3.txt")
        environment.move_file("src/5.txt", "lib/5.txt")
        environment.write_file("new/a/b.txt", "new\n")


def killed_after(count: int | None, root: Path, recovering: bool, environment: Any) -> int:
    """Commit, or recover, in a child that dies at the moment of this number; how many moments there were without."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        moments = 0

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal moments
            if event.startswith(("os.", "shutil.", "subprocess.Popen")) or event == "open":
                moments += 1
                if moments == count:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        recover(root, environment._finish) if recovering else commit(environment)
        os.write(writer, str(moments).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        return int(told.read() or 0)


def standing(kind: str, root: Path) -> str:
    """Whether the tree is as before, as after, or in between; for git with the branch, the index and its objects."""
    names = {"before": BEFORE, "after": AFTER}
    name = next((name for name, files in names.items() if texts(root) == files), "between")
    if kind == "git":
        log = git(root, "log", "--format=%s").split()
        clean = not git(root, "status", "--porcelain", "--untracked-files=all")
        if log != {"before": ["First"], "after": ["Second", "First"]}.get(name) or not clean:
            return f"between: {name}, {log}, clean {clean}"
    return name


def main() -> None:
    kind, folder, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    total = killed_after(None, folder / "whole", False, make(kind, folder / "whole"))
    seen = []
    for number in range(kills):
        root = folder / str(number)
        environment = make(kind, root)
        killed_after(1 + number * total // kills, root, False, environment)
        at_death = standing(kind, root) if not (root / ".pivot-commit/plan.json").exists() else "planned"
        if number % 2 and at_death == "planned":
            killed_after(10 + number, root, True, environment)  # the recovery is killed, too
        type(environment)(root, commands="none")
        if kind == "git" and number % 6 == 0:
            git(root, "fsck", "--strict")
        seen.append([at_death, standing(kind, root), (root / ".pivot-commit").exists()])
        shutil.rmtree(root)
    print(json.dumps({"moments": total, "seen": seen}))


if __name__ == "__main__":
    main()
