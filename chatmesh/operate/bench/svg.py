"""Plots as SVG text, in the colours of the page around them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 700
LABEL = 300
"""Left of bars: their names."""

ROW = 26
PLOT_HEIGHT = 220
MARGIN = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """`value`, with its spread `least` to `most`; 1 is the target. `shown` stands behind it."""

    name: str
    value: float
    least: float
    most: float
    shown: str
    is_good: bool


def targets(bars: Sequence[Bar]) -> str:
    """How much of each target is used up, as bars with their spread; a line where the target is."""
    reach = max([1.25, *(min(bar.most, 3.0) * 1.05 for bar in bars)])
    scale = (WIDTH - LABEL - 110) / reach
    height = ROW * len(bars) + 24
    rows = [_target_row(bar, 8 + at * ROW, scale, reach) for at, bar in enumerate(bars)]
    line = LABEL + scale
    mark = f'<line class="mark" x1="{line:.1f}" x2="{line:.1f}" y1="2" y2="{height - 18}"/>'
    name = f'<text class="small" x="{line:.1f}" y="{height - 4}" text-anchor="middle">target</text>'
    return _svg(height, [*rows, mark, name])


def _target_row(bar: Bar, top: float, scale: float, reach: float) -> str:
    kind = "good" if bar.is_good else "bad"
    width = min(bar.value, reach) * scale
    begin, end = (LABEL + min(each, reach) * scale for each in (bar.least, bar.most))
    middle = top + 8
    return (
        f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(bar.name)}</text>'
        f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{max(width, 1):.1f}" height="16" rx="2"/>'
        f'<line class="spread" x1="{begin:.1f}" x2="{end:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text class="small" x="{max(LABEL + width, end) + 6:.1f}" y="{top + 12}">{escape(bar.shown)}</text>'
    )


def stacks(rows: Sequence[tuple[str, Mapping[str, float]]], unit: str) -> str:
    """Bars made of parts, one colour for each part's name."""
    names = list(dict.fromkeys(name for _, parts in rows for name in parts))
    most = max((sum(parts.values()) for _, parts in rows), default=0.0) or 1.0
    scale = (WIDTH - LABEL - 110) / most
    drawn = [_stack(name, parts, names, 8 + at * ROW, scale, unit) for at, (name, parts) in enumerate(rows)]
    legend_top = 8 + len(rows) * ROW + 6
    legend = _legend(names, legend_top, LABEL)
    return _svg(legend_top + 16, [*drawn, legend])


def _stack(
    name: str, parts: Mapping[str, float], names: Sequence[str], top: float, scale: float, unit: str
) -> str:
    at, drawn = (
        float(LABEL),
        [f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>'],
    )
    for part, value in parts.items():
        width = value * scale
        title = escape(f"{part}: {value:.2f} {unit}")
        kind = names.index(part) % 5
        drawn.append(
            f'<rect class="part{kind}" x="{at:.1f}" y="{top}" width="{width:.1f}" height="16"><title>{title}</title></rect>'
        )
        at += width
    total = f"{sum(parts.values()):.1f} {unit}"
    return "".join(drawn) + f'<text class="small" x="{at + 6:.1f}" y="{top + 12}">{escape(total)}</text>'


def courses(times: Sequence[float], curves: Mapping[str, Sequence[float]], unit: str, time_unit: str) -> str:
    """How values went over time, one line and colour for each name; a line where the second half begins."""
    values = [0.0, *(value for curve in curves.values() for value in curve)]
    low, high = min(values), max(*values, min(values) + 1)
    across = (WIDTH - 2 * MARGIN) / ((times[-1] - times[0]) or 1.0)
    down = (PLOT_HEIGHT - 2 * MARGIN) / (high - low)
    bottom = PLOT_HEIGHT - MARGIN

    def line(curve: Sequence[float]) -> str:
        return " ".join(
            f"{MARGIN + (time - times[0]) * across:.1f},{bottom - (value - low) * down:.1f}"
            for time, value in zip(times, curve, strict=True)
        )

    paths = [
        f'<polyline class="line course{at % 5}" points="{line(curve)}"/>'
        for at, curve in enumerate(curves.values())
    ]
    middle = f'<line class="mark" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="{MARGIN}" y2="{bottom}"/>'
    heights = [(value, bottom - (value - low) * down) for value in (low, 0.0, high)]
    marks = [_height(f"{value:.1f} {unit}", at) for value, at in dict(heights).items()]
    ends = [
        _time(f"{time:.1f} {time_unit}", MARGIN + (time - times[0]) * across)
        for time in (times[0], times[-1])
    ]
    return _svg(PLOT_HEIGHT, [*marks, *ends, middle, *paths, _legend(list(curves), 14)])


def _height(shown: str, at: float) -> str:
    grid = f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{at:.1f}" y2="{at:.1f}"/>'
    return f'{grid}<text class="small" x="2" y="{at - 3:.1f}">{escape(shown)}</text>'


def _time(shown: str, at: float) -> str:
    return f'<text class="small" x="{at:.1f}" y="{PLOT_HEIGHT - MARGIN + 16}" text-anchor="middle">{escape(shown)}</text>'


def _legend(names: Sequence[str], top: float, left: float = MARGIN) -> str:
    return "".join(
        f'<rect class="part{at % 5}" x="{left + at * 90}" y="{top}" width="10" height="10"/>'
        f'<text class="small" x="{left + at * 90 + 14}" y="{top + 9}">{escape(name)}</text>'
        for at, name in enumerate(names)
    )


def distributions(curves: Sequence[tuple[str, Sequence[float]]], unit: str) -> str:
    """What share of all lies below a value, one line for each run; the values on a logarithmic axis. `curves` are names
    (a side) with 101 quantiles each."""
    values = [value for _, curve in curves for value in curve if value > 0]
    if not values:
        return ""
    low = max(math.floor(math.log10(min(values))), -1)
    high = max(math.ceil(math.log10(max(values))), low + 1)
    across = (WIDTH - 2 * MARGIN) / (high - low)
    down = (PLOT_HEIGHT - 2 * MARGIN) / 100

    def point(value: float, share: int) -> str:
        x = MARGIN + (math.log10(max(value, 10.0**low)) - low) * across
        return f"{x:.1f},{PLOT_HEIGHT - MARGIN - share * down:.1f}"

    paths = [
        f'<polyline class="line {escape(name)}" points="{" ".join(map(point, curve, range(101)))}"/>'
        for name, curve in curves
    ]
    return _svg(PLOT_HEIGHT, [*_axes(low, high, across, down, unit), *paths])


def _axes(low: int, high: int, across: float, down: float, unit: str) -> list[str]:
    bottom = PLOT_HEIGHT - MARGIN
    powers = [
        f'<line class="grid" x1="{MARGIN + at * across:.1f}" x2="{MARGIN + at * across:.1f}" y1="{MARGIN}" y2="{bottom}"/>'
        f'<text class="small" x="{MARGIN + at * across:.1f}" y="{bottom + 16}" text-anchor="middle">{10.0 ** (low + at):g} {unit}</text>'
        for at in range(high - low + 1)
    ]
    shares = [
        f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{bottom - share * down:.1f}" y2="{bottom - share * down:.1f}"/>'
        f'<text class="small" x="{MARGIN - 6}" y="{bottom - share * down + 4:.1f}" text-anchor="end">{share} %</text>'
        for share in (0, 50, 100)
    ]
    return [*powers, *shares]


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'
