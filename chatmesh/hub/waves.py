"""How readers leave a pod: a few at once, many one part after the other, so that the pods they come to are not overrun."""

from __future__ import annotations

import math

PAUSE_SECONDS = 0.2
"""Between two waves."""

LEAST = 50
"""Readers in a wave, where there are so many: what any pod takes at once."""

MOST_WAVES = 10
"""More of them would keep the process without making it easier for others: readers spread over two seconds by `retry:`
as well."""


def waves(readers: int, seconds: float) -> list[int]:
    """How many readers leave in each wave; the first at once, all within `seconds`. The sum is `readers`."""
    within = 1 + math.floor(seconds / PAUSE_SECONDS)
    size = max(LEAST, math.ceil(readers / min(MOST_WAVES, within)))
    whole, rest = divmod(readers, size)
    return [size] * whole + ([rest] if rest else [])
