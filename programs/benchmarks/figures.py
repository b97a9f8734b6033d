"""How benchmarks show their figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table


def show(title: str, figures: Mapping[str, float], limits: Mapping[str, float], file: Path | None = None) -> None:
    """The figures with the limits that some of them have, on the terminal and, as JSON, in a file."""
    table = Table(title=title, title_justify="left")
    for name in ("figure", "value", "limit"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}", f"{limits[name]:g}" if name in limits else "")
    Console().print(table)
    if file is not None:
        file.write_text(json.dumps(figures, indent=2), encoding="utf-8")
