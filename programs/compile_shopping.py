"""Compiles a refiner on shopping tasks of DeepPlanning (arXiv 2601.18137) and tests it on tasks it never trained on.

`python -m programs.compile_shopping` needs no key, no network and no data: it generates a store, and the offline model
plans, a simulated learner that errs in the same ways on every task (`--systematic`) until its prompt warns it, or what
it writes is mended by what was learned; `--slip` adds errors that teach nothing, since they come at random.
`--data DIR` (or `--data hub`) takes the published tasks, `--lm NAME` any model that DSPy reaches. The tests are run
before and after, with the memory filled at random instead, and once more in a fresh process from the saved file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError
from rich.console import Console
from rich.progress import Progress

from pivot_dspy import PivotError, PivotOptimizer, Refined, Refiner
from pivot_dspy.memory.records import Entries
from pivot_dspy.memory.wording import sentence
from pivot_dspy.simulator import is_simulated, offline_lm
from programs.compilation import report
from programs.compilation.control import at_random
from programs.compilation.split import Split, split
from programs.compilation.testing import outcomes, run_all, summary
from programs.deepplanning.environment import POLICY, PURCHASE, Market, Shopping, ShoppingEnvironment
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import hub_directory, load_cases, load_gold
from programs.deepplanning.outcome import cart_metric, training_task
from programs.deepplanning.readable import Readable, readable, warn
from programs.models import MODEL_OPTIONS, add_model_options, budget_of, named_lm, refuse_orphans
from programs.options import DataError, positive, writable
from programs.refiners import REFINERS

RATES = ("slip", "systematic", "heed", "relapse")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            record = Compilation(options, Path(scratch), console).run()
    except (DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    report.show(record, console)
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    return 0 if record.get("reloaded", {"same": True})["same"] else 1


class Compilation:
    """One compilation with its tests.

    Raises:
        DataError, PivotError, LMError: of any method: what was asked for cannot be done; the message says why.
    """

    def __init__(self, options: argparse.Namespace, scratch: Path, console: Console) -> None:
        self.options, self.scratch, self.console = options, scratch, console
        self.directory = self._directory()
        cases = tuple(load_cases(self.directory))
        known = Readable(cases)
        if options.lm is None:
            known = readable(self.directory, cases, policy=not options.no_policy)
        self.unread = known.unread
        warn(self.unread)
        self.split: Split = split(known.cases, options.train, options.val, options.test, options.seed)
        cases = tuple(case for part in self.split for case in part)
        self.references = [known.references[case.id] for case in cases if case.id in known.references]
        self.tasks = {
            name: [training_task(case, load_gold(self.directory, case.id)) for case in part]
            for name, part in self.split._asdict().items()
        }
        market = Market(cases, policy=PURCHASE if options.no_policy else POLICY)
        self.student = _refiner("refiner", options.refiner, market, options)
        self.teacher = _refiner("teacher", options.teacher, market, options) if options.teacher else None

    def run(self) -> dict[str, Any]:
        """The record that `--json` writes: either of a saved refiner, or of one that is compiled."""
        model = self._model()
        record: dict[str, Any] = {
            "program": "compile_shopping",
            "lm": {"name": model.model, "simulated": is_simulated(model)},
            "settings": self._settings(),
            "split": self.split.ids,
            "unread": dict(self.unread),
        }
        if self.options.load:
            try:
                self.student.load(str(self.options.load))
            except (OSError, ValueError) as error:
                raise DataError(f"--load {self.options.load.name}: {error}") from error
            return record | {"loaded": self._tested("loaded", self.student), "memory": _memory(self.student)}
        before = self._tested("before", self.student)
        compiled = self._compiled()
        after = self._tested("compiled", compiled)
        controls = {
            name: self._tested(report.COLUMNS[name], refiner)
            for name, refiner in self._at_random(compiled.memory.entries).items()
        }
        saved = self.options.save or self.scratch / "refiner.json"
        compiled.save(str(saved))
        again = self._in_a_fresh_process(saved)
        return record | {
            "before": before,
            "after": after,
            **controls,
            "memory": _memory(compiled),
            "compiling": compiled.detailed_results.model_dump(mode="json"),
            "reloaded": {"same": again == outcomes(after["tasks"]), "bytes": saved.stat().st_size},
        }

    def _compiled(self) -> Refiner:
        options = self.options
        optimizer = PivotOptimizer(
            metric=cart_metric,
            auto=options.auto,
            seed=options.seed,
            num_threads=options.threads,
            log_dir=str(options.log_dir) if options.log_dir else None,
            track_stats=True,
            display_progress=self.console.is_terminal,
        )
        with dspy.context(lm=self._model()):
            compiled: Refiner = optimizer.compile(
                self.student, trainset=self.tasks["train"], valset=self.tasks["val"], teacher=self.teacher
            )
        return compiled

    def _at_random(self, like: Entries) -> dict[str, Refiner]:
        """The student with as much in its memory, drawn from what its own runs of the training tasks teach: from all of
        it, and from what those that verified bear out."""
        found: list[tuple[dspy.Example, Refined]] = []
        with dspy.context(lm=self._model()):
            for task in self.tasks["train"]:
                found.append((task, self.student(**task.inputs())))
        drawn = partial(at_random, self.student, like, found, ShoppingEnvironment.__name__, self.options.seed)
        return {"random": drawn(), "random_borne_out": drawn(judged=True)}

    def _tested(self, name: str, refiner: Refiner) -> dict[str, Any]:
        tasks = self.tasks["test"]
        # A model of its own, so that no test depends on what was asked before it.
        with dspy.context(lm=self._model()), Progress(console=self.console, transient=True) as progress:
            bar = progress.add_task(f"testing: {name}", total=len(tasks))
            rows = run_all(refiner, tasks, self.options.threads, lambda: progress.advance(bar))
        return {"tasks": rows, "summary": summary(rows)}

    def _in_a_fresh_process(self, saved: Path) -> list[dict[str, Any]]:
        """What the saved refiner gives on the test tasks where nothing of this process is left."""
        file = self.scratch / "again.json"
        options = vars(self.options)
        command = [sys.executable, "-m", "programs.compile_shopping", "--load", str(saved.resolve())]
        command += ["--json", str(file), "--data", str(self.directory.resolve())]
        names = ["train", "val", "test", "refiner", "seed", "threads", *RATES]
        names += [name for name in MODEL_OPTIONS if options[name] is not None]
        command += [word for name in names for word in (f"--{name.replace('_', '-')}", str(options[name]))]
        command += ["--no-policy"] * self.options.no_policy + ["--constrained"] * self.options.constrained
        with self.console.status("testing: loaded in a fresh process"):
            ran = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
        if ran.returncode:
            raise DataError(f"the saved refiner could not be tested in a fresh process: {ran.stderr.strip()[-2000:]}")
        return outcomes(json.loads(file.read_text(encoding="utf-8"))["loaded"]["tasks"])

    def _model(self) -> dspy.LM:
        options = self.options
        if options.lm is not None:
            return named_lm(options)
        rates = {name: getattr(options, name) for name in RATES}
        return offline_lm(self.references, **rates, seed=options.seed, cache=False)  # so that every call is counted

    def _directory(self) -> Path:
        options = self.options
        if options.data == "hub":
            return hub_directory()
        if options.data is not None:
            return Path(options.data)
        folder = self.scratch / "store"
        generate(folder, seed=options.seed, tasks=options.train + options.val + options.test)
        return folder

    def _settings(self) -> dict[str, Any]:
        hidden = ("json", "data", "save", "load", "log_dir", "api_base")  # no path of this machine
        settings = {name: value for name, value in vars(self.options).items() if name not in hidden}
        settings["data"] = {None: "generated", "hub": "hub"}.get(self.options.data, "directory")
        if self.options.lm is not None:
            settings = {name: value for name, value in settings.items() if name not in RATES}
        return settings


def _refiner(option: str, name: str, market: Market, options: argparse.Namespace) -> Refiner:
    made = REFINERS[name](Shopping, market.open, budget=budget_of(options), constrained=options.constrained)
    if not isinstance(made, Refiner):
        raise DataError(f"--{option} {name} has no memory to compile; take one of the others")
    return made


def _memory(refiner: Refiner) -> dict[str, Any]:
    entries = refiner.memory.entries
    return {
        "demonstrations": len(entries.demonstrations),
        "lessons": [
            {"says": sentence(lesson), "requirement": lesson.requirement, "by": lesson.by} for lesson in entries.lessons
        ],
        "notes": len(entries.notes),
        "settings": refiner.memory.settings,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.compile_shopping", description=__doc__)
    add = parser.add_argument
    add("--data", metavar="DIR", help="the published layout, or 'hub' to download it (default: generated)")
    add("--train", type=positive, default=20, metavar="N", help="tasks to learn from (default: 20)")
    add("--val", type=positive, default=15, metavar="N", help="tasks that decide what is kept (default: 15)")
    add("--test", type=positive, default=24, metavar="N", help="tasks that only the tests see (default: 24)")
    add_model_options(parser)
    add("--refiner", choices=sorted(REFINERS), default="pivot")
    add("--teacher", choices=sorted(REFINERS), help="a refiner that shows what --refiner does not do right at first")
    add("--auto", choices=("light", "medium", "heavy"), default="light", help="what compiling may cost")
    add("--no-policy", action="store_true", help="do not tell that the buyer's profile binds: it has to be learned")
    add("--seed", type=int, default=0, help="of the split, the offline model, the optimizer and generated tasks")
    add("--threads", type=positive, default=2, help="tasks at a time")
    add("--slip", type=float, default=0.0, help="offline model: random slips per planned step (default: 0)")
    add("--systematic", type=float, default=0.3, metavar="RATE", help="offline model: share of arguments and fields "
        "that it gets wrong in the same way in every plan (default: 0.3)")  # fmt: skip
    add("--heed", type=float, default=0.85, help="offline model: how often it goes by what it is told (default: 0.85)")
    add("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step (default: 0.05)")
    add("--log-dir", type=Path, metavar="DIR", help="journal of the compilation; the same command resumes from it")
    add("--save", type=writable, metavar="PATH", help="keep the compiled refiner here (JSON)")
    add("--load", type=Path, metavar="PATH", help="test this saved refiner instead of compiling one")
    add("--json", type=writable, metavar="PATH", help="write the record of the run here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
