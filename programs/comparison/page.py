"""A comparison's record as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from programs.comparison.chart import chart, colour, dashes
from programs.comparison.report import LEGEND, Sheet, remarks, sheets, title

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c1e21; --faint: #6a6f76; --line: #d5d8dc; --page: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --faint: #9aa0a6; --line: #3a3f45; --page: #16181b; }
}
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--page); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--faint); font-weight: 600; }
p { max-width: 48rem; } .note { color: var(--faint); }
svg { width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 12px; }
svg .axis { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; padding: 0; list-style: none; }
.legend svg { width: 34px; height: 10px; margin-right: .4rem; }
</style>
</head>
<body>
<h1>$title</h1>
$remarks
$body
</body>
</html>
""")


def page(record: Mapping[str, Any]) -> str:
    """The whole file."""
    tables = list(sheets(record))
    body = [_sheet(tables[0], ""), f'<p class="note">{escape(LEGEND)}</p>']
    for sheet in tables[1:]:
        body.append(_sheet(sheet, escape(sheet.title)))
    curves = {name: found["curve"] for name, found in record["refiners"].items()}
    if any(curves.values()):
        body += ["<h2>Strict success over tokens</h2>", chart(curves), _legend(list(curves))]
    return _PAGE.substitute(
        title=escape(f"Refiners compared: {title(record)}"),
        remarks="\n".join(f"<p>{escape(text)}</p>" for text in remarks(record)),
        body="\n".join(body),
    )


def _sheet(sheet: Sheet, heading: str) -> str:
    return "\n".join([f"<h2>{heading}</h2>"] * bool(heading) + list(_rows(sheet)))


def _rows(sheet: Sheet) -> Iterator[str]:
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f'<th scope="col">{escape(name)}</th>' for name in sheet.columns)
    yield "</tr></thead><tbody>"
    for name, *cells in sheet.rows:
        yield f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</tbody></table></div>"


def _legend(names: Sequence[str]) -> str:
    samples = (
        f'<li><svg viewBox="0 0 34 10" aria-hidden="true"><line x1="1" y1="5" x2="33" y2="5" stroke="{colour(place)}" '
        f'stroke-width="3"{dashes(place)}/></svg>{escape(name)}</li>'
        for place, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(samples)}</ul>'
