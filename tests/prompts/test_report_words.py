"""What a report says in its declared words is read back by the functions beside them, whatever the words are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree

from hypothesis import given
from hypothesis import strategies as st

import pivot_dspy
from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts import report
from pivot_dspy.prompts.observations import ObservationBudget, render_results
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Fault, Observation, Step

WORDS = ("FAILED", "NOT_RUN", "WAITS_FOR_COMMIT", "SUBMITTED", "NOT_MET", "NOT_JUDGED_YET")
PACKAGE = Path(pivot_dspy.__file__).parent

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=80).filter(
    lambda text: not any(getattr(report, word) in text for word in WORDS)
)
results = st.text(max_size=80) | st.sampled_from(WORDS).map(lambda word: getattr(report, word))
findings = st.builds(
    Finding,
    requirement=st.sampled_from(["R1", "R2", "E_", "budget"]),
    status=st.sampled_from(["holds", "violated", "unjudged"]),
    evidence=texts,
    hint=texts,
)


def one_line(text: str) -> str:
    return " ".join(text.split())


@given(st.lists(findings, max_size=4, unique_by=lambda finding: finding.requirement), texts)
def test_what_is_unmet_is_read_back(found: list[Finding], text: str) -> None:
    settled = Requirements(items=tuple(Requirement(id=item.requirement, text=text or "x") for item in found))
    unmet = report.unmet_in(f"Cart: empty\n{report.render_unmet(settled, found)}")
    assert [(item.id, item.evidence.rstrip(), item.hint.rstrip()) for item in unmet] == [
        (item.requirement, one_line(item.evidence), one_line(item.hint)) for item in found if item.status == "violated"
    ]
    for item in unmet:  # as a reflection repeats it, after the id
        assert report.unmet_in(f"{item.id}: {item.to_text()}") == [item]


observations = st.one_of(
    st.builds(Observation, step=st.just("a"), value=results | st.integers() | st.lists(st.integers())),
    st.builds(Observation, step=st.just("a"), status=st.sampled_from(["blocked", "withheld"])),
    st.builds(
        Observation,
        step=st.just("a"),
        status=st.just("error"),
        fault=st.builds(Fault, kind=st.just("tool_error"), message=results),
    ),
)


@given(observations)
def test_the_status_of_a_step_is_read_back(observation: Observation) -> None:
    shown = render_results([(Step(id="a", tool="look"), observation)], Environment(), ObservationBudget())
    outcome = shown.splitlines()[0].removeprefix("a look ->").strip()
    assert report.status_of(outcome) == observation.status


RUN = """
import dspy
from pivot_dspy import Pivot, Reflexion, SelfRefine
from pivot_dspy.prompts import report
from pivot_dspy.simulator import offline_lm
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

words = set()
for seed in range(6):
    lm = offline_lm([reference()], slip=0.5, heed=0.6, seed=seed, cache=False)
    for kind in (Pivot, Reflexion, SelfRefine):
        with dspy.context(lm=lm):
            result = kind(Book, Rooms, timeout=None)(request=REQUEST)
        print(kind.__name__, result.trajectory.id, result.loss.total, result.verified, result.ledger.usage.total_tokens)
        asked = " ".join(message["content"] for entry in lm.history for message in entry["messages"])
        words |= {name for name in WORDS for mark in ("->", "-", ":") if f"{mark} {getattr(report, name)}" in asked}
print(sorted(words))
"""
OTHERS = {
    "FAILED": "broke", "NOT_RUN": "SKIPPED", "WAITS_FOR_COMMIT": "pending", "SUBMITTED": "handed in",
    "NOT_MET": "UNMET", "NOT_JUDGED_YET": "undecided",
}  # fmt: skip


def figures(package: Path) -> str:
    """What runs with a copy of the package give."""
    paths = os.pathsep.join(map(str, (package.parent, PACKAGE.parent)))
    code = RUN.replace("WORDS", repr(tuple(OTHERS)))
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_other_words_change_no_figure(tmp_path: Path) -> None:
    copy = copytree(PACKAGE, tmp_path / "pivot_dspy", ignore=lambda *_: {"__pycache__"})
    before = figures(copy)
    source = (copy / "prompts" / "report.py").read_text(encoding="utf-8")
    for name, word in OTHERS.items():
        source, changed = re.subn(rf'^{name} = ".*"$', f'{name} = "{word}"', source, flags=re.MULTILINE)
        assert changed == 1
    (copy / "prompts" / "report.py").write_text(source, encoding="utf-8")
    assert figures(copy) == before
    assert "'FAILED', 'NOT_MET', 'NOT_RUN'" in before  # else nothing was tried
