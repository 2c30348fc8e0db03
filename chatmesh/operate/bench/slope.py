"""How fast something grows: the slope of samples, and how far it can be trusted. Pure.

A process takes memory in steps and gives some back, so no line is fitted by least squares: one late step would bend it.
The slope is the median of those between any two samples (Theil and Sen), and what it would be in each quarter of the time
says how steady it is. What leaks grows in every quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from chatmesh.operate.bench.quantiles import median

PARTS = 4
LEAST_SAMPLES = 3
"""In each part: fewer say nothing."""

Sample = tuple[float, float]
"""When, and how much there was."""


@dataclass(frozen=True, slots=True)
class Slope:
    """Per unit of time; `least` and `most` of the quarters. Growth is a `least` above 0: no step that happened to fall into the
    time."""

    value: float
    least: float
    most: float


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """The second half of the time. In the first one things are still being filled: pools, caches, the interpreter's heap."""
    if not samples:
        return []
    middle = (samples[0][0] + samples[-1][0]) / 2
    return [sample for sample in samples if sample[0] >= middle]


def slope(samples: Sequence[Sample]) -> Slope | None:
    """Of all of them; None where they are too few."""
    size = len(samples) // PARTS
    if size < LEAST_SAMPLES:
        return None
    rest = len(samples) - size * PARTS
    parts = [samples[rest + at * size : rest + (at + 1) * size] for at in range(PARTS)]
    quarters = [_between(part) for part in parts]
    return Slope(_between(samples), min(quarters), max(quarters))


def _between(samples: Sequence[Sample]) -> float:
    return median((b - a) / (later - earlier) for (earlier, a), (later, b) in combinations(samples, 2))
