"""Writes programs over the tools: as many steps of the plan in mind as are known, one a line, with slips."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.simulator.plan import within_reach, written
from pivot_dspy.simulator.prompt import sections_in
from pivot_dspy.simulator.python_code import NoPythonFor, line_of
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import Surroundings, WrittenStep, spoil
from pivot_dspy.trajectory import SUBMIT

_PARTS = ("thought", "program", "output")
_NUMBER = re.compile(r"^\W*(?:thought|output)_(\d+)\b", re.MULTILINE)
_STUB = re.compile(r"^def (\w+\(.*?)(?:  # (\[\w+\])?.*)?$", re.MULTILINE)
_LINE = re.compile(rf"^(?:(\w+) = |{SUBMIT}\()")
_FAILED_AT = re.compile(r"^It failed:\n\| line (\d+)", re.MULTILINE)
_FAILED = re.compile(r"^It failed:$", re.MULTILINE)
_LEFT_OUT = re.compile(r"\bWithout step (\w+)\. ")


def program(turn: Turn) -> dict[str, Any]:
    """A thought and a program; of an unknown task, one that submits nothing."""
    stubs = turn.section("tools")
    listed = [f"- {call}{f'  {effect}' if effect else ''}" for call, effect in _STUB.findall(stubs)]
    return _Programming(turn.showing(tools="\n".join(listed))).answer()


class _Programming:
    """One program, after those that the prompt shows."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.steps: list[WrittenStep] = list(turn.reference.steps)
        self.ids = [str(step["id"]) for step in self.steps]
        self.lines: dict[str, str] = {}
        """The latest line that was written for each step."""
        self.done: set[str] = set()
        self.failed: str | None = None
        """The step at whose line the last program stopped."""
        text = turn.section("trajectory")
        numbers = sorted({int(number) for number in _NUMBER.findall(text)})
        parts = sections_in(turn.prompt.adapter, text, [f"{part}_{number}" for number in numbers for part in _PARTS])
        self.left_out = {*_LEFT_OUT.findall("\n".join(parts.get(f"thought_{number}", "") for number in numbers))}
        for number in numbers:
            self._read(parts.get(f"program_{number}", ""), parts.get(f"output_{number}", ""))

    def _read(self, code: str, output: str) -> None:
        """Takes in a program and what came of it."""
        lines = code.splitlines()
        at = _FAILED_AT.search(output)
        end = int(at[1]) - 1 if at else 0 if _FAILED.search(output) else len(lines)
        self.failed = None
        for place, line in enumerate(lines):
            head = _LINE.match(line)
            if head is None:
                continue
            step_id = head[1] or SUBMIT
            self.lines[step_id] = line
            if place < end:
                self.done.add(step_id)
            elif place == end:
                self.failed = step_id
        self.done.discard(SUBMIT)

    def answer(self) -> dict[str, Any]:
        right, again = self._mended()
        ahead = [step for step in self.steps if step["id"] not in self.done | self.left_out | right]
        reached = within_reach(ahead, self.turn, have=self.done | right)
        ahead = reached or [self.turn.guessed(step) for step in ahead]
        drafts = {str(draft["id"]): draft for draft in written(ahead, self.turn) if draft["id"] not in self.lines}
        drafts |= self._broken(ahead)
        lines, skipped = [], []
        copied = again.union(str(step["id"]) for step in ahead if step["id"] in self.lines) - drafts.keys()
        for step in self.steps:
            step_id = str(step["id"])
            draft = step if step_id in right else drafts.get(step_id)
            try:
                if step_id in copied:
                    lines.append(self.lines[step_id])
                elif draft is not None:
                    lines.append(line_of(draft, self.ids))
            except NoPythonFor:
                skipped.append(step_id)
        skipped += [str(step["id"]) for step in ahead if str(step["id"]) not in {*drafts, *copied}]
        if not reached or any(step["id"] == SUBMIT for step in ahead) or not lines:
            lines += [] if any(line.startswith(f"{SUBMIT}(") for line in lines) else [f"{SUBMIT}()"]
        else:
            lines += [f"print({step['id']})" for step in ahead if step["id"] in {*drafts, *copied}]
        given_up = sorted({*skipped, *self.left_out} - {SUBMIT, *self.done})
        thought = "".join(f"Without step {name}. " for name in given_up) + "I go on with the task."
        return {"thought": thought, "program": "\n".join(lines)}

    def _broken(self, ahead: Sequence[WrittenStep]) -> dict[str, WrittenStep]:
        """Those of the steps that were written before and not run, and that break as they are written again."""
        around = Surroundings(self.steps, self.turn.section("tools"), self.turn.shown.tells)
        broken = {}
        for step in ahead:
            step_id = str(step["id"])
            if step_id == SUBMIT or step_id not in self.lines or self._is_wrong(step_id):
                continue
            if self.turn.dice.falls(self.turn.rates.relapse, "relapse", step_id):
                broken[step_id] = spoil(step, around, self.turn.dice, "relapse", step_id) or step
        return broken

    def _mended(self) -> tuple[set[str], set[str]]:
        """The step that is now written as it should be, and those that are made again because they read its result.

        Where that is not seen, the step that failed is left out from now on.
        """
        if self.failed is None:
            return set(), set()
        wrong = next((name for name in self._sources(self.failed) if self._is_wrong(name)), None)
        if wrong is None or not self.turn.heeds("again", wrong, self.failed):
            self.left_out.add(self.failed)
            return set(), set()
        self.left_out.discard(wrong)
        again: set[str] = set()
        for step in self.steps:
            read = {*self._reads(str(step["id"]))}
            if step["id"] in self.done and read & {wrong, *again} and self.turn.only_reads(step["tool"]):
                again.add(str(step["id"]))
        return {wrong}, again

    def _sources(self, step_id: str) -> list[str]:
        """The step and those that it reads, at once or through others, the nearest first."""
        names = [step_id]
        for name in names:
            names += [other for other in self._reads(name) if other not in names]
        return names

    def _reads(self, step_id: str) -> tuple[str, ...]:
        step = next((step for step in self.steps if step["id"] == step_id), {})
        return bindings.dependencies([step.get("for_each"), step.get("args")], frozenset(self.ids))

    def _is_wrong(self, step_id: str) -> bool:
        step = next((step for step in self.steps if step["id"] == step_id), None)
        try:
            return step is not None and self.lines.get(step_id) != line_of(step, self.ids)
        except NoPythonFor:
            return False
