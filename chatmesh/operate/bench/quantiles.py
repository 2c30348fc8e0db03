"""Numbers about many numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0 to 1) of them lie, interpolated. Raises ValueError where there is none."""
    return _at(sorted(values), share)


def median(values: Iterable[float]) -> float:
    return quantile(values, 0.5)


def curve(values: Iterable[float]) -> list[float]:
    """101 of them, from the least to the most: what a plot of a distribution needs."""
    ordered = sorted(values)
    return [round(_at(ordered, share / 100), 4) for share in range(101)] if ordered else []


def _at(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        raise ValueError("there is no quantile of nothing")
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
