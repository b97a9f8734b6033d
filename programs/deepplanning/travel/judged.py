"""Scores the judged plans of DeepPlanning's travel domain again, and reads the recorded plan texts by rule.

Run as `python -m programs.deepplanning.travel.judged --data DIR`; the exit code is 1 where a score differs from the
official evaluator's."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from programs.deepplanning.travel.database import Language, TravelDatabase
from programs.deepplanning.travel.loader import TravelTask, load_gold, load_tasks, read_lines
from programs.deepplanning.travel.plan_text import parse_plan
from programs.deepplanning.travel.scoring.official import TravelScore, official_score
from programs.deepplanning.travel.strict import strict_score
from programs.options import DataError

_SHOWN = 5


@dataclass
class Agreement:
    """How far scores agree with recorded ones.

    Args:
        plans: how many there are, by source; so are the others.
        equal: those of which every score is equal.
        passed: those with a case accuracy of 1.
        strict: those of them that pass strictly, too.
        checks: how many checks were compared, over all sources.
        checks_equal: those that are equal.
        differences: in words, of each plan that is not equal.
    """

    plans: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    strict: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    checks_equal: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, name: str, source: str, score: TravelScore, recorded: Mapping[str, Any]) -> None:
        """Counts one plan by its score and the recorded ones."""
        different = differences(score, recorded)
        self.plans[source] += 1
        self.equal[source] += not different
        self.passed[source] += score.case_accuracy == 1.0
        self.checks += len(recorded["checks"])
        self.checks_equal += sum(score.checks.get(check) == passed for check, passed in recorded["checks"].items())
        if different:
            self.differences.append(f"{name} ({source}): {', '.join(different)}")


class Tasks:
    """The tasks and golds of a folder, read when one of their language is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks: dict[str, TravelTask] = {}
        self._gold: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> tuple[dict[str, Any], TravelDatabase]:
        """A task's gold and database. Raises DataError where there is no such task."""
        if name not in self._tasks:
            language = cast(Language, name.partition("-")[0])
            self._tasks |= {task.id: task for task in load_tasks(self._directory, language=language)}
            self._gold |= load_gold(self._directory, language=language)
        if name not in self._tasks or name not in self._gold:
            raise DataError(f"{self._directory}: no task {name}")
        return self._gold[name], self._tasks[name].database


def differences(score: TravelScore, recorded: Mapping[str, Any]) -> list[str]:
    """The names of the scores, checks and constraints that are not as recorded."""
    different = [
        name
        for group in ("checks", "dimensions", "hard_constraints")
        for name in sorted({*getattr(score, group), *recorded[group]})
        if getattr(score, group).get(name) != recorded[group].get(name)
    ]
    sums = {"commonsense": score.commonsense, "personalized": score.personalized, "composite": score.composite}
    sums["case_acc"] = score.case_accuracy
    return different + [name for name, value in sums.items() if value != recorded[name]]


def judge(directory: str | Path) -> Agreement:
    """Scores every plan of judged_plans.jsonl.gz.

    Raises:
        DataError: the data is missing or broken.
    """
    agreement, tasks = Agreement(), Tasks(Path(directory))
    for name, record in _records(Path(directory) / "judged_plans.jsonl.gz"):
        gold, database = tasks[name]
        score = official_score(record["plan"], gold, database)
        agreement.add(name, record["source"], score, record)
        if score.case_accuracy == 1.0:
            agreement.strict[record["source"]] += strict_score(record["plan"], gold, database).passed
    return agreement


def judge_texts(directory: str | Path) -> Agreement:
    """Scores what the parser makes of every text of recorded_runs.jsonl.gz, where another model was the parser.

    Raises:
        DataError: the data is missing or broken.
    """
    agreement, tasks = Agreement(), Tasks(Path(directory))
    for name, record in _records(Path(directory) / "recorded_runs.jsonl.gz"):
        gold, database = tasks[name]
        parsed = parse_plan(record["plan_text"])
        agreement.add(name, "recorded", official_score(parsed.plan, gold, database), record)
    return agreement


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f"{record['language']}-{record['id']}", record) for _, record in read_lines(file))


def show(judged: Agreement, texts: Agreement, console: Console) -> None:
    """Prints the counts by source, and the first few differences."""
    table = Table("source", title="judged plans")
    for heading in ("plans", "all scores equal", "pass", "pass strictly"):
        table.add_column(heading, justify="right")
    columns = (judged.plans, judged.equal, judged.passed, judged.strict)
    for source in judged.plans:
        table.add_row(escape(source), *(str(column[source]) for column in columns))
    table.add_section()
    table.add_row("all", *(str(column.total()) for column in columns))
    console.print(table)
    console.print(f"checks: {judged.checks_equal} of {judged.checks} equal", highlight=False)
    console.print(
        f"texts read by rule: {texts.checks_equal} of {texts.checks} checks equal, {texts.equal.total()} of "
        f"{texts.plans.total()} plans in every score ({texts.equal.total() / max(1, texts.plans.total()):.0%})",
        highlight=False,
    )
    for title, agreement in (("judged", judged), ("text", texts)):
        for difference in agreement.differences[:_SHOWN]:
            console.print(escape(f"{title} {difference}"), highlight=False)


def main(argv: list[str] | None = None) -> int:
    """The command: 0 where every score is equal, 1 where one is not, 2 where the data cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m programs.deepplanning.travel.judged", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder with databases, golds and judged plans")
    options = parser.parse_args(argv)
    try:
        judged, texts = judge(options.data), judge_texts(options.data)
    except DataError as error:
        Console(stderr=True).print(escape(str(error)))
        return 2
    show(judged, texts, Console())
    return 1 if judged.differences else 0


if __name__ == "__main__":
    sys.exit(main())
