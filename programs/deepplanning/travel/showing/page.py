"""Trips as one HTML file that needs nothing else: no script, no font, no image, no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from programs.deepplanning.travel.showing.outcome import Checked, ShownTrip
from programs.deepplanning.travel.showing.sketch import sketch
from programs.deepplanning.travel.showing.style import STYLE
from programs.deepplanning.travel.showing.view import COSTS, Line, ShownDay, amount
from programs.terminal import status_word

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>$title</title>
<style>
$style</style>
</head>
<body>
<a class="skip" href="#trips">Skip to the trips</a>
<header>
<h1>$title</h1>
$remarks
<nav aria-label="Tasks"><div class="wide" tabindex="0" role="region" aria-label="Overview">$overview</div></nav>
</header>
<main id="trips">
$trips
</main>
<footer><p class="note">Sketches show where places lie and the order in which one comes to them, not the roads.
Costs are in yuan for all who travel.</p></footer>
</body>
</html>
""")
_HEAD = (
    '<thead lang="en"><tr><th scope="col">time</th><th scope="col"><span class="hidden">place on the sketch</span></th>'
    '<th scope="col">what and where</th><th scope="col" class="cost">¥</th></tr></thead>'
)
_SIGNS = {True: ("✓", "good", "holds"), False: ("✗", "bad", "fails"), None: ("?", "unknown", "not known")}
_OVERVIEW = ("task", "verified", "commonsense", "personalized", "composite", "case", "strict", "LM calls", "tokens")


def page(trips: Sequence[ShownTrip], averages: Mapping[str, float], title: str, remarks: Sequence[str]) -> str:
    """The whole file.

    Args:
        averages: over all tasks, under the names of the rows' figures.
    """
    return _PAGE.substitute(
        title=escape(title),
        style=STYLE,
        remarks="\n".join(f'<p class="notice">{escape(text)}</p>' for text in remarks),
        overview=_overview(trips, averages),
        trips="\n".join(_trip(trip) for trip in trips),
    )


def _overview(trips: Sequence[ShownTrip], averages: Mapping[str, float]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in _OVERVIEW)
    rows = "".join(
        f'<tr><td><a href="#{escape(trip.id)}">{escape(trip.id)}</a></td><td>{status_word(trip.row["status"])}</td>'
        f"{_cells(_figures(trip.row))}</tr>"
        for trip in trips
    )
    mean = f'<tr><th scope="row">average</th><td></td>{_cells(_figures(averages))}</tr>'
    return f'<table class="overview"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot>{mean}</tfoot></table>'


def _figures(row: Mapping[str, Any]) -> Iterator[str]:
    for name in ("commonsense", "personalized", "composite", "official_pass", "strict_pass"):
        yield f"{float(row[name]):.2f}"
    yield f"{row['lm_calls']:.2f}".removesuffix(".00")
    yield f"{row['prompt_tokens'] + row['completion_tokens']:,.0f}"


def _cells(values: Iterator[str]) -> str:
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _trip(trip: ShownTrip) -> str:
    name = escape(trip.id)
    good = trip.row["verified"]
    status = f'<span class="pill {"good" if good else "bad"}">{escape(_status(trip.row["status"]))}</span>'
    case = bool(trip.row["official_pass"])
    passed = f'<span class="pill {"good" if case else "bad"}">case {"passed" if case else "failed"}</span>'
    problem = f'<p class="bad">{escape(trip.plan.problem)}</p>' if trip.plan.problem else ""
    days = "\n".join(_day(day, trip) for day in trip.plan.days)
    return f"""\
<article id="{name}" aria-labelledby="{name}-title">
<header><h2 id="{name}-title">{name}</h2>{status}{passed}</header>
<blockquote lang="{trip.language}">{escape(trip.request)}</blockquote>
{problem}<div class="trip-body">
<div>{days}</div>
<aside aria-label="Checks and costs of {name}">{_aside(trip)}</aside>
</div>
</article>"""


def _status(status: str) -> str:
    return "not verified" if status == "unverified" else status


def _day(day: ShownDay, trip: ShownTrip) -> str:
    name = escape(f"{trip.id}-day-{day.number}")
    drawn = sketch(day, f"{trip.id}-arrow-{day.number}")
    rows = "".join(_line(line) for line in day.lines)
    city = f'<small lang="{trip.language}">{escape(day.city)}</small>'
    return f"""\
<section class="day{" has-sketch" if drawn else ""}" aria-labelledby="{name}">
<h3 id="{name}">{escape(day.title)} {city}</h3>
<table lang="{trip.language}">{_HEAD}<tbody>{rows}</tbody></table>
{drawn}</section>"""


def _line(line: Line) -> str:
    badge = f'<span class="badge">{line.mark}</span>' if line.mark is not None else ""
    return (
        f'<tr class="{line.kind}"><th scope="row">{escape(line.time)}</th><td class="mark">{badge}</td>'
        f'<td><span class="what">{escape(line.what)}</span> <span class="where">{escape(line.where)}</span></td>'
        f'<td class="cost">{escape(amount(line.cost))}</td></tr>'
    )


def _aside(trip: ShownTrip) -> str:
    parts = [_costs(trip)] if trip.plan.days else []
    parts += [
        _checks(title, checks)
        for title, checks in (("Rules", trip.rules), ("Wishes", trip.wishes), ("Benchmark", trip.scored))
        if checks
    ]
    if reasons := trip.row["reasons"]:
        listed = "".join(f"<li><span></span><div>{escape(reason[:300])}</div></li>" for reason in reasons[:5])
        parts.append(f'<section><h3>Why not verified</h3><ul class="checks">{listed}</ul></section>')
    return "\n".join(parts)


def _costs(trip: ShownTrip) -> str:
    whole = sum(trip.plan.costs.values()) or 1
    shares = "".join(
        f'<span style="flex:{max(cost, 0) / whole:.4f};background:var(--{kind})"></span>'
        for kind, cost in trip.plan.costs.items()
        if cost > 0
    )
    items = "".join(
        f'<dt style="--own:var(--{kind})">{name}</dt><dd>{escape(amount(trip.plan.costs[kind]))}</dd>'
        for kind, name in COSTS.items()
    )
    total = "none given" if trip.plan.total is None else f"¥{amount(trip.plan.total)}"
    people = f"{trip.plan.people} {'person' if trip.plan.people == 1 else 'people'}"
    rooms = f"{trip.plan.rooms} room{'s' * (trip.plan.rooms != 1)}"
    return (
        f'<section><h3>Costs, {people}, {rooms}</h3><div class="bar" aria-hidden="true">{shares}</div><dl>{items}'
        f'<dt class="total">Total of the plan</dt><dd class="total">{escape(total)}</dd></dl></section>'
    )


def _checks(title: str, checks: Sequence[Checked]) -> str:
    held = sum(check.holds is True for check in checks)
    items = "".join(_check(check) for check in checks)
    return (
        f'<section><h3>{escape(title)} <span class="note">{held} of {len(checks)}</span></h3>'
        f'<ul class="checks">{items}</ul></section>'
    )


def _check(check: Checked) -> str:
    sign, style, word = _SIGNS[check.holds]
    text = f"<p>{escape(check.text)}</p>" if check.text else ""
    return (
        f'<li><span class="sign {style}" aria-hidden="true">{sign}</span><div><span class="hidden">{word}: </span>'
        f"{escape(check.label)}{text}</div></li>"
    )
