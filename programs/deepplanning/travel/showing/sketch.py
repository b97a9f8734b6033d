"""A day's way as inline SVG: its places where they lie, numbered in the order in which one comes to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from programs.deepplanning.travel.showing.view import Point, ShownDay

_WIDTH, _HEIGHT, _EDGE = 360, 240, 30
_RADIUS, _GAP = 11, 6
_KM_PER_DEGREE = 111.2
_NARROWEST = 0.3
"""Kilometres across that a sketch shows at least."""
_ROUNDS = 80
_BEND = 0.12
"""How far the way from one place to the next bends, so that the way back lies beside it."""

Spot = list[float]


def sketch(day: ShownDay, name: str) -> str:
    """The sketch of a day; empty where fewer than two of its places have coordinates.

    Args:
        name: unlike that of every other sketch on the page.
    """
    if len(day.points) < 2:
        return ""
    spots, scale = _placed(day.points)
    _push_apart(spots, [_half_width(point) for point in day.points])
    order = sorted((mark, place) for place, point in enumerate(day.points) for mark in point.marks)
    way = ", ".join(f"{mark} {day.points[place].name}" for mark, place in order)
    parts = [
        f'<svg class="sketch" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(f"Sketch of the way of day {day.number}: {way}")}">',
        f'<defs><marker id="{escape(name)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
        *_grid(),
    ]
    for (_, start), (_, end) in zip(order, order[1:], strict=False):
        if start != end:
            path = _path(spots[start], spots[end], _half_width(day.points[end]))
            parts.append(f'<path class="way" d="{path}" marker-end="url(#{escape(name)})"/>')
    parts += [_marker(point, spot) for point, spot in zip(day.points, spots, strict=True)]
    parts.append(_scale_bar(scale))
    return "\n".join([*parts, "</svg>"])


def _placed(points: Sequence[Point]) -> tuple[list[Spot], float]:
    """Where the points are drawn, north above, and how many units a kilometre takes."""
    middle = sum(point.latitude for point in points) / len(points)
    east = [point.longitude * _KM_PER_DEGREE * math.cos(math.radians(middle)) for point in points]
    south = [-point.latitude * _KM_PER_DEGREE for point in points]
    wide = max(max(east) - min(east), _NARROWEST)
    high = max(max(south) - min(south), _NARROWEST)
    scale = min((_WIDTH - 2 * _EDGE) / wide, (_HEIGHT - 2 * _EDGE) / high)
    x0, y0 = (max(east) + min(east)) / 2, (max(south) + min(south)) / 2
    spots = [[_WIDTH / 2 + (x - x0) * scale, _HEIGHT / 2 + (y - y0) * scale] for x, y in zip(east, south, strict=True)]
    return spots, scale


def _push_apart(spots: list[Spot], half_widths: Sequence[float]) -> None:
    """Moves markers that would cover each other, each as little as may be."""
    for _ in range(_ROUNDS):
        for place in range(len(spots)):
            for other in range(place):
                (x, y), (to_x, to_y) = spots[place], spots[other]
                apart = math.hypot(x - to_x, y - to_y)
                missing = half_widths[place] + half_widths[other] + _GAP - apart
                if missing > 0:
                    angle = math.atan2(y - to_y, x - to_x) if apart > 0.01 else 2.4 * place  # at one point: all around
                    for moved, sign in ((place, 1), (other, -1)):
                        spots[moved][0] += sign * math.cos(angle) * missing / 2
                        spots[moved][1] += sign * math.sin(angle) * missing / 2
        for spot, half in zip(spots, half_widths, strict=True):
            spot[0] = min(max(spot[0], half + 2), _WIDTH - half - 2)
            spot[1] = min(max(spot[1], _RADIUS + 2), _HEIGHT - _RADIUS - 16)


def _half_width(point: Point) -> float:
    return _RADIUS + 7.5 * (len(point.marks) - 1)


def _path(start: Spot, end: Spot, half_width: float) -> str:
    (x, y), (to_x, to_y) = start, end
    middle_x = (x + to_x) / 2 + (to_y - y) * _BEND
    middle_y = (y + to_y) / 2 - (to_x - x) * _BEND
    angle = math.atan2(middle_y - to_y, middle_x - to_x)
    # Where the way meets the marker, which is as wide as it has numbers.
    back = min(half_width / max(abs(math.cos(angle)), 0.01), _RADIUS / max(abs(math.sin(angle)), 0.01), half_width) + 2
    tip_x, tip_y = to_x + back * math.cos(angle), to_y + back * math.sin(angle)
    return f"M{x:.1f} {y:.1f}Q{middle_x:.1f} {middle_y:.1f} {tip_x:.1f} {tip_y:.1f}"


def _marker(point: Point, spot: Spot) -> str:
    x, y, half = spot[0], spot[1], _half_width(point)
    numbers = escape("·".join(map(str, point.marks)))
    return (
        f'<g class="{point.kind}"><title>{escape(point.name)}</title>'
        f'<rect x="{x - half:.1f}" y="{y - _RADIUS:.1f}" width="{2 * half:.1f}" height="{2 * _RADIUS}" rx="{_RADIUS}"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}">{numbers}</text></g>'
    )


def _grid() -> list[str]:
    step = 40
    lines = [f"M{x} 0V{_HEIGHT}" for x in range(step, _WIDTH, step)]
    lines += [f"M0 {y}H{_WIDTH}" for y in range(step, _HEIGHT, step)]
    return [f'<path class="grid" d="{"".join(lines)}"/>']


def _scale_bar(scale: float) -> str:
    """A length of 1, 2 or 5 times a power of ten, which takes at most a quarter of the width."""
    most = _WIDTH / 4 / scale
    power = 10.0 ** math.floor(math.log10(most))
    length = max(factor * power for factor in (1, 2, 5) if factor * power <= most)
    shown = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    x, y = 10, _HEIGHT - 8
    return (
        f'<path class="scale" d="M{x} {y - 4}V{y}H{x + length * scale:.1f}V{y - 4}"/>'
        f'<text class="scale" x="{x + length * scale + 6:.1f}" y="{y}">about {shown}</text>'
    )
