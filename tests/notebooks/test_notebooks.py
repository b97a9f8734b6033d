"""Every notebook runs offline in a fresh kernel, and keeps its outputs.

`UPDATE_SNAPSHOTS=1 python -m pytest tests/notebooks` runs them and writes the outputs back.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def stored(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def executed(path: Path) -> Any:
    """The notebook with the outputs of a fresh run."""
    notebook = stored(path)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    # What the kernel says of itself differs from one machine to another.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def text_of(notebook: Any) -> str:
    return "\n".join(out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs(notebook))


def test_there_are_notebooks() -> None:
    assert "01_quickstart.ipynb" in {path.name for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_offline_in_a_fresh_kernel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):  # no way out: a call of a real model fails
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    notebook = executed(path)
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_keeps_outputs_and_names_no_machine(path: Path) -> None:
    notebook = stored(path)
    nbformat.validate(notebook)
    assert outputs(notebook), "run it and keep the outputs: UPDATE_SNAPSHOTS=1 python -m pytest tests/notebooks"
    written = path.read_text(encoding="utf-8")
    for place in (ROOT, Path.home(), Path(sys.prefix)):
        assert str(place) not in written
    assert all(len(line) <= 120 for cell in notebook.cells for line in cell.source.splitlines())


def test_the_quickstart_tells_its_story() -> None:
    told = text_of(stored(ROOT / "notebooks" / "01_quickstart.ipynb"))
    for said in ("gradient  step o", "verified", "Blame: step o", "reused", "(0, ['f1', 'm1', 's1'])", "refined"):
        assert said in told


def test_compiling_tells_its_story() -> None:
    told = text_of(stored(ROOT / "notebooks" / "02_compile.ipynb"))
    rows = {name: told.partition(f"\n{name} ")[2].split() for name in ("plain", "compiled", "loaded")}
    plain, compiled, loaded = (float(row[row.index("score") + 1]) for row in rows.values())
    assert plain < compiled == loaded
    assert '["organic", "==", true]' in told and "Brier score" in told
    assert "mended: in bindings of order the field is cents, not cents_value" in told


def test_real_state_is_shown_before_in_trial_and_after() -> None:
    notebook = stored(ROOT / "notebooks" / "04_real_state.ipynb")
    pictures = [out["data"]["text/html"] for out in outputs(notebook) if "text/html" in out.get("data", {})]
    before, real, after, _ = pictures
    assert before.count("ann@shop") == 2 and "one_mail" not in before
    assert "one_mail" not in real and real.count("ann@shop") == 2  # while the trial's copy had it
    assert after.count("ann@shop") == 1 and "one_mail" in after and ">30<" in after
    assert text_of(notebook).count("verified") >= 2 and "+    return x * 2" in pictures[-1]
