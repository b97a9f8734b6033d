"""The textbook case: a plan that is refused for want of a scope, and one that asks for it before all else.

The snapshots are the prompts as DSPy's adapter renders them; `UPDATE_SNAPSHOTS=1 python -m pytest
tests/programs/test_meeting_room.py` writes them anew. Read the difference as a model would before committing it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pivot_dspy.errors import CommitError
from programs.meeting_room import REQUEST, Outcome, Slot, Workspace, ask_first, main, reference, run
from programs.terminal import Narrator, choose_lm

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOTS = ROOT / "tests" / "snapshots"
PEOPLE = [f"{name}@example.org" for name in ("olu", "ana", "ben", "chioma")]
AT = datetime.fromisoformat


class Prompts(BaseCallback):  # type: ignore[misc]
    """Keeps what each call of the model was sent."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        turns = [f"=== {message['role']}\n\n{message['content'].strip()}\n" for message in inputs["messages"]]
        self.texts.append("\n".join(turns))


def refine(workspace: Workspace, *, commit: bool = True) -> tuple[Outcome, list[str], str]:
    """The outcome of a run on the offline model, the prompts, and what was printed."""
    prompts, printed = Prompts(), io.StringIO()
    lm = choose_lm(None, [reference()], slip=0.0, heed=1.0)
    with dspy.context(callbacks=[prompts]):
        outcome = run(lm, workspace, Narrator(Console(file=printed, width=100), workspace), commit=commit)
    return outcome, prompts.texts, printed.getvalue()


@pytest.fixture(scope="module")
def story() -> tuple[Outcome, list[str], str]:
    return refine(Workspace())


# ------------------------------------------------------------------------------------------------- as a user runs it


def test_runs_in_the_terminal_and_writes_its_figures(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, "-m", "programs.meeting_room", "--json", str(tmp_path / "figures.json"), "--seed", "3"]
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, encoding="utf-8"
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    phases = [line.split()[0] for line in ran.stdout.splitlines() if line.endswith("─")]
    assert phases == ["PLAN", "INSPECT", "GRADIENT", "EVOLVE", "INSPECT", "VERIFY", "COMMIT", "RESULT"]
    assert "simulated: says nothing of any real model" in " ".join(ran.stdout.split())
    assert "0 sent before commit, 1 after it" in ran.stdout
    assert "\x1b" not in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 100
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["lm"]["simulated"] and figures["verified"] and figures["committed"]
    assert figures["status"] == "judged"
    assert figures["losses"] == sorted(figures["losses"], reverse=True) and figures["losses"][-1] == 0
    assert (figures["sent_before_commit"], figures["sent_after_commit"]) == (0, 1)
    assert figures["gradients"][0]["locus"] == 0
    assert figures["trajectory"]["steps"][0]["tool"] == "request_scope"
    assert figures["ledger"]["phases"]["plan"]["lm_calls"] == 1


def test_sends_nothing_without_commit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-commit"]) == 0
    shown = capsys.readouterr().out
    assert "judged  run again from the start" in shown and "pending  d send_invitation" in shown
    assert "COMMIT" not in shown and "0 sent before commit, 0 after it" in shown


def test_says_what_is_missing_for_a_real_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["--lm", "openai/gpt-4.1-mini"]) == 2
    shown = capsys.readouterr()
    assert "OPENAI_API_KEY" in shown.out and not shown.err


def test_says_so_before_running_where_figures_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--json", str(tmp_path / "none" / "figures.json")])
    shown = capsys.readouterr()
    assert ended.value.code == 2 and "there is no folder" in shown.err and not shown.out


# ------------------------------------------------------------------------------------------------------- the story


def test_the_first_plan_is_refused_at_the_calendar(story: tuple[Outcome, list[str], str]) -> None:
    first = next(event for event in story[0].refined.history if event.kind == "inspect")
    assert first.execution is not None and first.loss is not None
    refused = first.execution.observations[0]
    assert first.execution.trajectory.steps[0].tool == "search_calendar"
    assert refused.status == "error" and refused.fault is not None
    assert "needs the scope calendar.read" in refused.fault.message
    assert {seen.status for seen in first.execution.observations[1:]} == {"blocked"}
    assert first.loss.hard_violations == first.loss.hard_count == 3


def test_the_gradient_names_step_one_by_rule(story: tuple[Outcome, list[str], str]) -> None:
    gradients = [event.gradient for event in story[0].refined.history if event.kind == "gradient"]
    assert [(found.locus, found.step, found.by) for found in gradients] == [(0, "a", "rule")]
    assert "calendar.read" in gradients[0].to_text()


def test_the_scope_is_asked_for_first_and_the_rest_is_kept(story: tuple[Outcome, list[str], str]) -> None:
    history = story[0].refined.history
    first = next(event.trajectory for event in history if event.kind == "plan")
    assert first is not None
    change = story[0].refined.trajectory.diff(first)
    assert [(step.tool, step.args) for step in change.added] == [("request_scope", {"scope": "calendar.read"})]
    assert story[0].refined.trajectory.steps[0] == change.added[0]
    assert not change.removed and not change.changed


def test_it_is_verified_in_three_calls_of_the_model(story: tuple[Outcome, list[str], str]) -> None:
    outcome, prompts, _ = story
    refined = outcome.refined
    assert refined.verified and refined.loss.perfect and refined.tier == "fork"
    assert refined.confirmation.startswith("Launch plan: 2026-03-12T10:30:00 in Birch")
    assert {finding.status for finding in refined.findings} == {"holds"}
    assert refined.ledger.usage.lm_calls == len(prompts) == 3  # plan, rewrite, and what the confirmation says in words


def test_the_invitation_goes_out_once_at_commit_and_never_before() -> None:
    workspace = Workspace()
    outcome, _, printed = refine(workspace, commit=False)
    assert outcome.refined.verified and not workspace.outbox and workspace.scopes == Workspace().scopes
    assert "preview: " in printed
    outcome.refined.commit()
    assert [(mail.room, mail.people) for mail in workspace.outbox] == [("Birch", PEOPLE)]
    with pytest.raises(CommitError, match="already committed"):
        outcome.refined.commit()
    assert len(workspace.outbox) == 1


def test_commit_stops_where_the_world_has_changed_since() -> None:
    workspace = Workspace()
    outcome, _, _ = refine(workspace, commit=False)
    workspace.busy["ana@example.org"].append(Slot(AT("2026-03-12T10:00"), AT("2026-03-12T12:00")))
    with pytest.raises(CommitError, match="step a"):
        outcome.refined.commit()
    assert not workspace.outbox and len(workspace.bookings) == 1


def test_what_is_printed_tells_the_story(story: tuple[Outcome, list[str], str]) -> None:
    printed = " ".join(story[2].split())
    for said in (
        "R1 invited", "403 insufficient_scope: this call needs the scope calendar.read", "step 1, a (tool_error)",
        "+ p1 request_scope scope=calendar.read", "= a, b, c, d, submit kept", "3 of 3 hard requirements violated",
        "judged run again from the start with the same results", "R3 check: Birch has 6 seats and a screen",
        "step d check: R1 does not hold without it", "pending d send_invitation", "once, in the real environment",
    ):  # fmt: skip
        assert said in printed


# ---------------------------------------------------------------------------------------------------- the workspace


def allowed() -> Workspace:
    workspace = Workspace()
    workspace.request_scope("calendar.read")
    return workspace


@given(people=st.lists(st.sampled_from(PEOPLE), min_size=1, unique=True), minutes=st.integers(1, 240))
def test_found_times_are_free_long_enough_and_in_order(people: list[str], minutes: int) -> None:
    workspace = allowed()
    found = workspace.search_calendar(people, AT("2026-03-12").date(), minutes)
    assert [slot.start for slot in found] == sorted({slot.start for slot in found})
    for slot in found:
        assert slot.end - slot.start == timedelta(minutes=minutes)
        assert not any(slot.overlaps(busy) for person in people for busy in workspace.busy[person])


@given(start=st.integers(0, 47), length=st.integers(1, 20), seats=st.integers(1, 14))
def test_found_rooms_can_be_booked_once(start: int, length: int, seats: int) -> None:
    workspace = Workspace()
    begin = AT("2026-03-12T00:00") + timedelta(minutes=30 * start)
    end = begin + timedelta(minutes=30 * length)
    for room in workspace.find_rooms(begin, end, seats):
        assert room.seats >= seats
        workspace.book_room(room.name, begin, end)
        with pytest.raises(ValueError, match="taken"):
            workspace.book_room(room.name, begin, end)
    assert workspace.find_rooms(begin, end, seats) == []


def test_copies_share_the_outbox_and_nothing_else() -> None:
    workspace = Workspace()
    copied = workspace.fork()
    assert isinstance(copied, Workspace)
    copied.book_room("Maple", AT("2026-03-12T13:00"), AT("2026-03-12T14:00"))
    copied.request_scope("calendar.read")
    copied.prepare_invitation("x", PEOPLE[:1], AT("2026-03-12T13:00"), AT("2026-03-12T14:00"), "Maple")
    assert len(workspace.bookings) == 1 and not workspace.invitations and "calendar.read" not in workspace.scopes
    assert copied.outbox is workspace.outbox and not workspace.outbox


@pytest.mark.parametrize(
    ("room", "day", "minutes", "wrong"),
    [
        ("Maple", "2026-03-12", 60, "room_is_booked_and_fits"),
        ("Elm", "2026-03-12", 60, "room_is_booked_and_fits"),
        ("Oak", "2026-03-13", 60, "invited"),
        ("Birch", "2026-03-12", 90, "invited"),
        ("Birch", "2026-03-12", 60, None),
    ],
)
def test_checks_see_what_is_wrong(room: str, day: str, minutes: int, wrong: str | None) -> None:
    workspace = Workspace()
    start = AT(f"{day}T10:30:00")
    end = start + timedelta(minutes=minutes)
    workspace.book_room(room, start, end)
    workspace.prepare_invitation("Launch plan", PEOPLE, start, end, room)
    found = {
        "invited": workspace.invited(PEOPLE, AT("2026-03-12").date(), 60),
        "room_is_booked_and_fits": workspace.room_is_booked_and_fits(4, screen=True),
    }
    assert [name for name, result in found.items() if not result.holds] == ([wrong] if wrong else [])
    assert all(result.evidence for result in found.values())


def test_a_clash_is_seen_and_told() -> None:
    workspace = Workspace()
    start = AT("2026-03-12T09:00:00")
    workspace.prepare_invitation("Launch plan", PEOPLE, start, start + timedelta(hours=1), "Elm")
    found = workspace.all_free()
    assert not found.holds and found.about == tuple(name for name in PEOPLE if "ben" not in name)


def test_refusals_name_their_cause() -> None:
    workspace = Workspace()
    with pytest.raises(PermissionError, match=r"calendar\.read"):
        workspace.search_calendar(PEOPLE, AT("2026-03-12").date())
    with pytest.raises(PermissionError, match="admin"):
        workspace.request_scope("admin")
    with pytest.raises(LookupError, match="Ash"):
        workspace.book_room("Ash", AT("2026-03-12T13:00"), AT("2026-03-12T14:00"))
    with pytest.raises(LookupError, match="nobody"):
        allowed().search_calendar(["nobody@example.org"], AT("2026-03-12").date())


def test_the_plan_knows_no_scope_until_a_prompt_shows_the_refusal() -> None:
    steps = list(reference().steps)
    assert not any(step["tool"] == "request_scope" for step in steps)
    assert ask_first({"tools": "request_scope: this needs the scope calendar.read"}, steps) == steps
    first = ask_first({"blame": "403: it needs the scope calendar.read."}, steps)[0]
    assert (first["tool"], first["args"]) == ("request_scope", {"scope": "calendar.read"})


# ------------------------------------------------------------------------------------------------------ the prompts


@pytest.mark.parametrize(("number", "phase"), [(0, "plan"), (1, "evolve")])
def test_prompts_are_as_they_were_read(story: tuple[Outcome, list[str], str], number: int, phase: str) -> None:
    path = SNAPSHOTS / f"meeting_room_{phase}.txt"
    prompt = story[1][number]
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(prompt, encoding="utf-8")
    assert REQUEST in prompt
    assert prompt == path.read_text(encoding="utf-8"), (
        f"the {phase} prompt has changed; read the difference, then UPDATE_SNAPSHOTS=1 python -m pytest {__file__}"
    )
