"""The recipes for files and git, as they stand in the README, with a model whose answers are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest

import pivot_dspy
from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.git_repository import GitEnvironment
from pivot_dspy.errors import CommitError
from tests.environments.trees import SECRET, fill, git, needs_sandbox, repository, state
from tests.readme_blocks import snippet
from tests.scripted import plan, rewrite, scripted, step, submit

DIRECTORY, GIT = snippet("DirectoryEnvironment"), snippet("GitEnvironment")

CALC = {
    "calc.py": "def double(x):\n    return x + 2\n", ".env": SECRET,
    "test_calc.py": "import unittest\nfrom calc import double\n\n\nclass Test(unittest.TestCase):\n"
    "    def test(self):\n        self.assertEqual(double(5), 10)\n",
}  # fmt: skip


def follow(recipe: str, lm: dspy.LM) -> Any:
    names: dict[str, Any] = {"pivot_dspy": pivot_dspy}
    with dspy.context(lm=lm):
        exec(recipe, names)
    return names["result"]


def asked(name: str, tool: str, **args: Any) -> dict[str, Any]:
    return {"id": name, "text": "It is asked for.", "call": {"tool": tool, "args": args}}


def test_a_recipe_is_short() -> None:
    for recipe in (DIRECTORY, GIT):
        assert len(recipe.strip().splitlines()) < 15


def test_the_recipe_for_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    root = fill(tmp_path / "notes", {"a.md": "Elk is big.\n", "b/c.md": "Ask Elk.\n", "other.txt": "x", ".env": SECRET})
    monkeypatch.chdir(tmp_path)
    lm = scripted(
        plan=plan(
            [
                step("find", "search_files", regex=r"\bElk\b"),
                step("edit", "edit_file", for_each="$find.matches[*].path", path="$item", old="Elk", new="Moose"),
                submit(answer="Done."),
            ],
            [asked("R1", "edit_file", old="Elk", new="Moose")],
        )
    )
    result = follow(DIRECTORY, lm)
    assert (result.verified, result.tier) == (True, "fork")
    assert capsys.readouterr().out == "changed files: a.md, b/c.md\n"
    assert (root / "a.md").read_text() == "Moose is big.\n" and (root / "b/c.md").read_text() == "Ask Moose.\n"
    assert not any(SECRET in prompt.text for prompt in lm.engine.prompts)


@needs_sandbox
def test_the_recipe_for_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first edit does not mend it: it is refined on copies, and the second is committed."""
    root = repository(tmp_path / "calc", CALC)
    monkeypatch.chdir(tmp_path)
    edit = {"path": "calc.py", "old": "return x + 2"}
    lm = scripted(
        plan=plan(
            [step("edit", "edit_file", **edit, new="return x + 3"), submit(summary="Mended.")],
            [asked("R1", "edit_file", path="calc.py")],
        ),
        evolve=rewrite([step("edit", "edit_file", **edit, new="return x * 2"), submit(summary="Mended.")]),
    )
    result = follow(GIT, lm)
    assert result.verified and len(result.history) > 1
    assert (root / "calc.py").read_text() == "def double(x):\n    return x * 2\n"
    assert git(root, "log", "--format=%s").splitlines() == ["Mend the failing test", "First"]
    assert git(root, "status", "--porcelain") == ""
    assert not any(SECRET in prompt.text for prompt in lm.engine.prompts)


CLASSES: list[Any] = [DirectoryEnvironment, GitEnvironment]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("meddled", ["a.md", "other.txt", "new.md"])
def test_a_commit_stops_where_the_files_have_changed_since(tmp_path: Path, kind: Any, meddled: str) -> None:
    """What was read or is to be replaced, in figures alone too; and then it is as it was."""
    root = repository(tmp_path / "real", {"a.md": "Elk 7\n", "other.txt": "10\n", "b.md": "Elk\n"})
    steps = [
        step("read", "read_file", path="other.txt"),
        step("list", "list_files", pattern="*.md"),
        step("write", "write_file", path="a.md", text="Moose\n"),
        step("edit", "edit_file", path="b.md", old="Elk", new="Moose"),
        submit(answer="Done."),
    ]
    calls = [asked("R1", "write_file", path="a.md"), asked("R2", "edit_file", path="b.md")]
    with dspy.context(lm=scripted(plan=plan(steps, calls))):
        result = pivot_dspy.Pivot("request -> answer: str", kind(root, commands="none"))(request="Elk is Moose now.")
    assert result.verified
    fill(root, {meddled: "Elk 8\n" if meddled == "a.md" else "20\n"})
    before = state(root)
    with pytest.raises(CommitError, match="all was rolled back, so nothing was done"):
        result.commit()
    assert state(root) == before and result.committed is None
