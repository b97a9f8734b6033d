"""The README: every snippet runs as it stands, every command works, and every name that it mentions exists."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pivot_dspy
from pivot_dspy.episode.result import RESERVED, Refined
from pivot_dspy.simulator import OfflineEngine, Rates, Reference
from tests.environment.mcp import desk_server
from tests.environments.trees import fill, repository
from tests.openai_server import OpenAIServer
from tests.readme_blocks import BLOCKS, README

ROOT = Path(__file__).resolve().parents[1]
PYTHON = [code for language, code in BLOCKS if language == "python"]
BASH = [code.strip() for language, code in BLOCKS if language == "bash"]
MODULES = sorted(set(re.findall(r"python -m ([\w.]+)", README)))

PANCAKES = "Order what we need to bake pancakes and do not have."
REFERENCES = [
    Reference(
        match=PANCAKES,
        requirements=[{"id": "R1", "check": "ordered", "args": {"item": "eggs"}}],
        steps=[
            {"id": "a", "tool": "count", "args": {"item": "eggs"}},
            {"id": "b", "tool": "order", "args": {"item": "eggs"}},
            {"id": "submit", "tool": "submit", "args": {"orders": "$b"}},
        ],
        serves={"b": "R1"},
    ),
    Reference(
        match="Order more flour.",
        requirements=[{"id": "R1", "check": "ordered", "args": {"item": "flour"}}],
        steps=[
            {"id": "a", "tool": "order", "args": {"item": "flour"}},
            {"id": "submit", "tool": "submit", "args": {"orders": "$a"}},
        ],
        serves={"a": "R1"},
    ),
    Reference(
        match="Order eggs.",
        steps=[
            {"id": "a", "tool": "order", "args": {"item": "eggs"}},
            {"id": "submit", "tool": "submit", "args": {"orders": "$a"}},
        ],
        truths={"No item is ordered twice.": '["eggs"]'},
    ),
    Reference(
        match="How many people live in Lyon?",
        steps=[
            {"id": "a", "tool": "population", "args": {"city": "Lyon"}},
            {"id": "submit", "tool": "submit", "args": {"answer": "$a"}},
        ],
    ),
]
AFTER = """
import json
print(json.dumps({
    "pantry": pantry.orders,
    "answer": agent(question="How many people live in Lyon?").answer,
    "logged": [step.tool for step in logged.steps],
    "refined": [refined.verified, [step.tool for step in refined.trajectory.steps]],
    "careful": [careful(request="Order eggs.").verified, evaluate(careful).score],
    "tier": mcp_desk.live_because,
    "seller": [*seller.session_factory.toolbox.tools],
    "desk": [desk(request="Order eggs.").orders, [finding.status for finding in desk(request="Order eggs.").findings]],
}))
"""


def _with_desk_server(folder: Path) -> Path:
    """A folder with the MCP server that a snippet starts by its name."""
    folder.mkdir()
    server = folder / "desk-mcp"
    run = f"import runpy; runpy.run_path({desk_server.__file__!r}, run_name='__main__')"
    server.write_text(f"#!{sys.executable}\n{run}\n")
    server.chmod(0o755)
    return folder


ORDERS = {
    "openapi": "3.1.0",
    "info": {"title": "Orders", "version": "1"},
    "paths": {
        "/orders": {
            "get": {"operationId": "orders", "responses": {"200": {"description": "All."}}},
            "post": {
                "operationId": "order",
                "requestBody": {"content": {"application/json": {"schema": {"properties": {"item": {}}}}}},
                "responses": {"201": {"description": "Made."}},
            },
        }
    },
}


def _furnish(folder: Path) -> None:
    """What the snippets on real state work on."""
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.executescript(
            "create table customers (id integer primary key, credit integer); insert into customers values (1, 100);"
            "create table orders (id integer primary key, customer integer, amount integer)"
        )
    fill(folder / "notes", {"a.md": "Elk is big."})
    repository(folder / "calc", {"calc.py": "x = 1\n"})
    (folder / "orders.json").write_text(json.dumps(ORDERS))


def test_the_snippets_run_one_after_the_other(tmp_path: Path) -> None:
    """As they stand, through DSPy's own client: behind the model's name is a server on the loopback."""
    script = tmp_path / "readme.py"
    script.write_text("\n".join([*PYTHON, AFTER]), encoding="utf-8")
    _furnish(tmp_path)
    with OpenAIServer(OfflineEngine(REFERENCES, Rates(slip=0.0, heed=1.0, relapse=0.0))) as server:
        environment = {
            **os.environ,
            "PATH": f"{_with_desk_server(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "x",
            "OPENAI_API_BASE": server.url,
            "DSPY_CACHEDIR": str(tmp_path / "cache"),
        }
        ran = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path
        )
        asked = {body["model"] for body in server.requests}
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[:5] == [
        "['eggs'] judged",  # nobody has said that it is eggs
        "checked [('U1', 'check'), ('step a', 'check')]",
        "['eggs', 'flour']",
        "no file is changed",  # the offline model has no reference for the snippets on real state
        "['eggs']",  # by a person's approval
    ]
    found = json.loads(lines[-1])
    assert found["pantry"] == ["eggs"]  # committed once, and nothing that came later
    assert found["answer"] == 520_000
    assert found["logged"][0] == "count" and "order" not in found["logged"]
    assert found["refined"] == [True, ["count", "order", "submit"]]
    assert found["careful"] == [True, 100.0]
    assert not found["tier"]  # trials act on sandboxes
    assert found["seller"] == ["orders", "order"]
    assert found["desk"] == [["eggs"], ["holds"]]
    assert asked == {"gpt-4.1-mini"}


def test_plain_functions_are_told_how_to_declare_their_effects() -> None:
    def population(city: str) -> int:
        """Inhabitants of a city."""
        return len(city)

    with pytest.raises(pivot_dspy.ConfigurationError, match='effects="read"'):
        pivot_dspy.Pivot("question -> answer: int", tools=[population])


def test_the_two_commands_install_with_extras_that_exist() -> None:
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1]
    assert len(BASH) == 2  # the two that .ci/run takes, word for word
    for command in BASH:
        install, then = command.split(" && ")
        extra = re.fullmatch(r'pip install -e "\.\[(\w+)\]"', install)
        assert extra and re.search(rf"^{extra[1]} = \[", extras, re.MULTILINE)
        assert shlex.split(then)[:2] == ["python", "-m"]


def test_the_first_command_runs_with_no_key_and_no_network(tmp_path: Path) -> None:
    _, module = shlex.split(BASH[0].split(" && ")[1])[1:]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    ran = subprocess.run(
        [sys.executable, "-m", module], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0 and "SIMULATED" in ran.stdout and not ran.stderr


def test_the_second_command_finds_pytest_and_uses_all_cores() -> None:
    assert shlex.split(BASH[1])[-4:] == ["-n", "auto", "--dist", "worksteal"]
    assert importlib.util.find_spec("pytest") and importlib.util.find_spec("xdist")


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("programs.")])
def test_every_program_says_how_it_is_used(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    rows = [line for line in README.splitlines() if f"-m {module}" in line]
    mentioned = {option for row in rows for option in re.findall(r"--\w+", row)}
    if module in ("programs.meeting_room", "programs.shopping"):
        mentioned.add("--lm")
    assert all(option in shown for option in mentioned)


def test_every_path_and_name_that_is_mentioned_exists() -> None:
    for quoted in re.findall(r"`([\w./]+\.(?:ipynb|py|md|toml))`", README):
        assert (ROOT / quoted).is_file(), quoted
    for name in re.findall(r"`pivot_dspy\.(\w+)`", README):
        assert importlib.util.find_spec(f"pivot_dspy.{name}") or hasattr(pivot_dspy, name), name
    for code in PYTHON:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pivot_dspy":
                assert node.attr in pivot_dspy.__all__, node.attr
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_every_field_in_the_table_is_one_of_the_result() -> None:
    table = README.split("| field | what it is |")[1].split("\n\n")[0]
    names = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)(?:\(\))?`", row.split("|")[1])]
    assert len(names) >= 9
    fields: tuple[Any, ...] = RESERVED
    assert all(name in fields or callable(getattr(Refined, name, None)) for name in names)


def test_the_readme_names_nothing_of_this_machine() -> None:
    assert not re.search(r"/(?:home|tmp|root|work|Users)/", README)
