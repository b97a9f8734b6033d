"""The offline model writing programs: the reference in as few as it can, and what the prompt says failed put right."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from pivot_dspy import CodeActing
from pivot_dspy.phases.program import WriteProgram
from pivot_dspy.simulator import offline_lm
from pivot_dspy.simulator.python_code import NoPythonFor, line_of
from tests.simulator.asking import ADAPTERS
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

TOOLS = "\n".join(
    [
        "def list_rooms(day) -> [Room]  # Rooms that are free.",
        "def list_floors(day) -> [Room]",
        "def quote(room_id, day) -> Quote",
        "def book_room(room_id, day) -> Booking  # [write] Book it.",
        "def submit(booking)  # ends the task with its answer",
    ]
)
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(120)]


def model(**options: Any) -> dspy.LM:
    rates = {"slip": 0.0, "heed": 1.0, **options}
    return offline_lm([reference(task) for task in TASKS], cache=False, **rates)


SEEN = 'list_floors() -> [{"id": "r3", "projector": "yes"}]'


def turn(lm: dspy.LM, task: str, *past: tuple[str, str], known: str = SEEN) -> list[str]:
    """The lines of the next program after `past`: programs and what came of each."""
    history: dict[str, Any] = {}
    for number, (program, output) in enumerate(past):
        history |= {f"thought_{number}": "I go on.", f"program_{number}": program, f"output_{number}": output}
    form = dspy.Signature(f"{', '.join(history)} -> x") if history else None
    adapter = dspy.settings.adapter or dspy.ChatAdapter()
    shown = adapter.format_user_message_content(form, history) if form else ""
    rest = {**dict.fromkeys(("policy", "lessons", "user_requirements"), ""), "known": known}
    with dspy.context(lm=lm):
        return WriteProgram(Book)(tools=TOOLS, **rest, request=task, trajectory=shown).program.splitlines()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_reference_is_written_as_one_program_and_mended_where_it_failed(adapter: Any) -> None:
    lm = model()
    with dspy.context(adapter=adapter()):
        program = turn(lm, TASKS[0])
        assert [line.partition(" ")[0].partition("(")[0] for line in program] == ["a", "b", "c", "submit"]
        wrong = [program[0].replace("list_rooms", "list_floors"), *program[1:]]
        again = turn(lm, TASKS[0], ("\n".join(wrong), "Nothing was printed.\nIt failed:\n| line 1: RuntimeError: no"))
        assert again == program
        again = turn(lm, TASKS[0], ("\n".join(wrong), "Nothing was printed.\nIt failed:\n| line 3: KeyError: 'id'"))
        assert again == program  # what it reads is looked for where the line itself is right
        right = ("\n".join(program), "Nothing was printed.\nIt failed:\n| line 3: RuntimeError: it is taken")
        assert turn(lm, TASKS[0], right) == program[3:]  # nothing to see: it is left out


def test_it_prints_what_it_read_where_a_literal_is_not_known_and_goes_on_from_there() -> None:
    lm = model()
    look = turn(lm, TASKS[0], known="")
    assert look[0].startswith("a = list_rooms(") and look[1:] == ["print(a)"]
    shown = "| [{'id': 'r3', 'seats': 10, 'projector': 'yes', 'floor': 2}]"
    assert turn(lm, TASKS[0], ("\n".join(look), shown), known="") == turn(lm, TASKS[0])[1:]


def test_what_failed_is_mended_at_the_rate_of_heed() -> None:
    lm = model(heed=0.6)
    mended = 0
    for task in TASKS:
        program = turn(lm, task)
        wrong = "\n".join([program[0].replace("list_rooms", "list_floors"), *program[1:]])
        mended += turn(lm, task, (wrong, "It failed:\n| line 1: RuntimeError: no")) == program
    assert 0.45 * len(TASKS) < mended < 0.75 * len(TASKS)


def test_lines_slip_as_steps_of_a_plan_do() -> None:
    perfect = model()
    right = {task: turn(perfect, task) for task in TASKS}
    lm = model(slip=0.3)
    pairs = [(turn(lm, task)[:3], right[task][:3]) for task in TASKS]
    share = sum(line not in written for written, lines in pairs for line in lines) / (3 * len(TASKS))
    assert 0.2 < share < 0.4


def test_lines_that_did_not_run_are_copied_and_right_ones_break_at_the_rate_of_relapse() -> None:
    failed = "It failed:\n| line 1: RuntimeError: no"
    perfect = model()
    programs = {task: turn(perfect, task) for task in TASKS}
    for relapse, least, most in ((0.0, 0, 0), (0.5, 0.35, 0.65)):
        lm, broken = model(slip=1.0, relapse=relapse), 0
        for task, program in programs.items():
            wrong = program[0].replace("list_rooms", "list_floors")
            broken += turn(lm, task, ("\n".join([wrong, *program[1:]]), failed))[1:2] != program[1:2]
        assert least * len(TASKS) <= broken <= most * len(TASKS)


def test_an_unknown_task_is_submitted_at_once() -> None:
    assert turn(model(), "Sing a song.") == ["submit()"]


def test_it_solves_its_task_in_one_program() -> None:
    lm = model()
    with dspy.context(lm=lm):
        result = CodeActing(Book, Rooms)(request=TASKS[0])
    assert result.verified and result.ledger.phases["act"].lm_calls == 1 and result.loss.perfect


def test_a_binding_without_python_is_refused() -> None:
    for text in ("find_all($a.x, 'y')", "$a.*"):
        with pytest.raises(NoPythonFor):
            line_of({"id": "b", "tool": "find", "args": {"x": text}}, ["a"])
