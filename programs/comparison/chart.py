"""A line chart as inline SVG: pass rates over token counts, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from programs.comparison.report import amount

_COLOURS = ("#0a7fc2", "#d55e00", "#009e73", "#c15c96", "#b8860b", "#8c6bb1", "#3aa6b9", "#808890")
"""Told apart on light and dark ground, and by most of those who see colours otherwise."""

_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 22, 12, 44
_LABEL = 44
"""Pixels between labels of the token axis, at least."""

Curve = Sequence[Sequence[float]]


def colour(place: int) -> str:
    """Of the series at that place."""
    return _COLOURS[place % len(_COLOURS)]


def dashes(place: int) -> str:
    """The attribute that tells the series apart that have the same colour."""
    lap = place // len(_COLOURS)
    return f' stroke-dasharray="{("7 4", "2 3", "9 3 2 3")[(lap - 1) % 3]}"' if lap else ""


def chart(curves: Mapping[str, Curve]) -> str:
    """The chart of curves by name, each a list of pairs of a token count and a rate in [0, 1]."""
    counts = sorted({pair[0] for curve in curves.values() for pair in curve})
    low, high = math.log(counts[0]), math.log(counts[-1])

    def x(count: float) -> float:
        share = (math.log(count) - low) / (high - low) if high > low else 0.5
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(rate: float) -> float:
        return round(_TOP + (1 - rate) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Strict success over tokens" '
        'xmlns="http://www.w3.org/2000/svg">'
    ]
    for rate in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y(rate)}" x2="{_WIDTH - _RIGHT}" y2="{y(rate)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(rate) + 4}" text-anchor="end">{rate:.0%}</text>')
    taken = -math.inf
    for count in counts:
        if x(count) - taken >= _LABEL:
            taken = x(count)
            parts.append(f'<text x="{taken}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{amount(count)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">tokens a run, logarithmic scale</text>')
    for place, (name, curve) in reversed(list(enumerate(curves.items()))):  # the first one lies on top
        line = " ".join(f"{x(count)},{y(rate)}" for count, rate in curve)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour(place)}" stroke-width="2.5" '
            f'stroke-linejoin="round"{dashes(place)}/>'
        )
        for count, rate in curve:
            told = escape(f"{name}: {rate:.0%} at {amount(count)} tokens")
            parts.append(
                f'<circle cx="{x(count)}" cy="{y(rate)}" r="3.5" fill="{colour(place)}"><title>{told}</title></circle>'
            )
    return "\n".join([*parts, "</svg>"])
