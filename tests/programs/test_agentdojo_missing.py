"""Without the package agentdojo the program says how to get it. These tests need no package: its import is blocked."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from programs import agentdojo
from programs.office import package
from programs.office.data import load_cases
from tests.programs.office import AGENTDOJO

LINE = "pip install --no-deps agentdojo && pip install deepdiff docstring-parser email-validator"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was imported before counts for nothing, and is there again afterwards."""
    for known in list(sys.modules):
        if known.split(".")[0] == "agentdojo":
            monkeypatch.delitem(sys.modules, known)
    monkeypatch.setattr(package, "suites", package.suites.__wrapped__)
    monkeypatch.setattr("programs.office.data.suites", package.suites)
    yield


@pytest.mark.parametrize("options", [(), ("--gold",), ("--lm", "openai/gpt-4.1-mini"), ("--suite", "slack")])
def test_the_program_says_how_to_get_it(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "agentdojo", None)
    assert agentdojo.main(options) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and LINE in told.err and "Traceback" not in told.err


@AGENTDOJO
@pytest.mark.parametrize("name", ["deepdiff.diff", "docstring_parser"])
def test_what_the_suites_import_is_needed_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(package.MissingPackage, match=f"{name}.*{LINE}"):
        load_cases()


@AGENTDOJO
def test_no_client_of_a_model_provider_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("anthropic", "cohere", "google.genai", "langchain", "openai", "tenacity", "torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(load_cases()) == 97
    assert "agentdojo.agent_pipeline" not in sys.modules  # whoever wants the real one gets it


@AGENTDOJO
def test_suites_of_a_version_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "VERSION", "v9")
    with pytest.raises(package.MissingPackage, match="has no suites v9"):
        load_cases()
